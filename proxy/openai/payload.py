"""payload -- a request body that policies read and edit: values and texts from a copy, edits as splices on the bytes that came.

Nothing is parsed until something is asked; an edit gives a new Payload over the same parsed copy. An unedited one sends what came.
Cost: 0.4 µs to make; the first question 2 µs for 1 KB and 20 µs for 32 KB; an edit and its bytes 3 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from proxy.openai import features, message
from proxy.openai.document import Document
from proxy.openai.encoding import decoded
from proxy.openai.endpoints import Endpoint
from proxy.openai.features import HAS
from proxy.openai.instructions import BLANK_LINE, Place, place_of
from proxy.openai.message import PROMPT_KEYS, ROLES
from proxy.openai.splice import Splice, removals, spliced, written
from proxy.openai.unread import MISSING, Unread

__all__ = ["HAS", "MISSING", "ROLES", "Edit", "Payload", "Unread"]

Edit = tuple[str, object, object]  # path, old value, new value; MISSING where there was, or will be, none
_UNCHANGED: Mapping[str, tuple[object, bytes | None]] = MappingProxyType({})


class Payload:
    """One request body. Nobody changes a Payload, or a value that it gives; `set`, `remove` and `instruct` give a new one.

    `encoding`: the Content-Encoding; gzip and deflate are read as a copy of at most 64 MiB. Any method may raise Unread.
    """

    __slots__ = ("_appends", "_changes", "_document", "_done", "_edited", "_place", "_prepends", "_said", "encoding", "endpoint", "raw")

    def __init__(self, raw: bytes, endpoint: Endpoint, encoding: bytes | None = None) -> None:
        self.raw = raw
        self.endpoint = endpoint
        self.encoding = encoding
        self._document: Document | str | None = None  # the text: why it cannot be read
        self._changes = _UNCHANGED  # by top-level key: the new value and its bytes, MISSING and None where it is taken out
        self._prepends: tuple[str, ...] = ()
        self._appends: tuple[str, ...] = ()
        self._place: Place | None = None
        self._done: list[Splice] | None = None
        self._edited: Payload | None = None
        self._said: list[message.Said] | None = None  # as it is sent

    # Reading

    def value(self, key: str) -> object:
        """A top-level value as JSON readers give it, MISSING where there is none. Shared: nobody may change it.

        Unread: the body is no JSON object, or has this key twice. In a list or object of a body
        over 512 KiB, a run of base64 over 16 KiB is a short stand-in.
        """
        if key in self._changes:
            return self._changes[key][0]
        if (self._prepends or self._appends) and key in PROMPT_KEYS[self.endpoint]:
            return self._now().value(key)
        document = self._document
        return (document if type(document) is Document else self._read()).value(key)

    @property
    def model(self) -> str | None:
        """`model`, where it is a text."""
        value = self.value("model")
        return value if isinstance(value, str) else None

    @property
    def stream(self) -> bool:
        """Whether `stream` is true."""
        return self.value("stream") is True

    def texts(self, roles: frozenset[str]) -> tuple[str, ...]:
        """What the given ROLES say, in the order of turns, one text for each part. `developer` and `instructions` are `system`."""
        document = self._now()._read() if self.edited else self._read()
        said = self._said
        if said is None:
            self._said = said = message.said(self.endpoint, document.once)
        texts = tuple([text for role, text in said if role in roles])
        return tuple(map(document.restored, texts)) if document.has_stand_ins else texts

    def last_user(self) -> str | None:
        """The text of the last user message, its parts on lines of their own; of completions and embeddings, all prompts."""
        document = self._now()._read() if self.edited else self._read()
        text = message.last_user(self.endpoint, document.once)
        return document.restored(text) if text is not None and document.has_stand_ins else text

    def opening(self, most: int) -> tuple[str, ...]:
        """What the conversation began with: see `message.opening`. Of a text over `most` characters its length and its ends."""
        ends = self._now()._read().ends
        return tuple(ends(text, most) for text in message.opening(self.endpoint, self._prompt))

    def prompt_texts(self) -> tuple[str, ...]:
        """What `prompt_tokens` counts: all message texts and instructions, without tools, images or overhead."""
        return self.texts(ROLES)

    def prompt_ids(self) -> int:
        """How many tokens the prompt gives as ids."""
        return message.token_ids(self.endpoint, self._prompt) if self.endpoint in message.TAKES_IDS else 0

    def has(self, what: str) -> bool:
        """Whether the request carries `what`, one of HAS. Raises KeyError for another word."""
        if what not in HAS:
            raise KeyError(what)
        return features.has(what, self.endpoint, self._prompt)

    def refers_to_state(self) -> bool:
        """Whether the body ties the request to its upstream: see `endpoints.is_stateful`."""
        return features.refers_to_state(self.endpoint, self._prompt)

    # Editing

    def set(self, key: str, value: object) -> Payload:
        """With a top-level value in the place of the present one, or as a new last member. Of two for one key the last one holds."""
        self._may_change(key)
        change = (value, written(value))
        return self._with({**self._changes, key: change} if self._changes else {key: change})

    def remove(self, key: str) -> Payload:
        """Without a top-level member; the same Payload where there is none."""
        self._may_change(key)
        if self._read().member(key) is not None:
            return self._with({**self._changes, key: (MISSING, None)})
        if key in self._changes:
            return self._with({other: change for other, change in self._changes.items() if other != key})
        return self

    def instruct(self, prepend: str | None, append: str | None) -> Payload:
        """With text before and after the app's instructions, a blank line between. Several add up, in the order of the calls."""
        if not prepend and not append:
            return self
        if any(key in self._changes for key in PROMPT_KEYS.get(self.endpoint, ())):
            raise Unread("the prompt was replaced by another edit")
        new = self._with(self._changes)
        new._place = self._place or place_of(self._read(), self.endpoint)
        new._prepends = (*self._prepends, prepend) if prepend else self._prepends
        new._appends = (*self._appends, append) if append else self._appends
        return new

    # What is sent

    @property
    def edited(self) -> bool:
        """Whether other bytes are sent than those that came."""
        return True if self._changes or self._prepends or self._appends else False  # noqa: SIM210 -- three times as quick as bool()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What will be changed, for people. Text put before or after instructions is given by itself, with None as the old value."""
        if not self.edited:
            return ()
        listed: list[Edit] = [(key, self._read().value(key), value) for key, (value, _) in self._changes.items()]
        if self._prepends or self._appends:
            path = self._place.path if self._place is not None else "instructions"
            listed += [(f"{path} (before)", None, text) for text in self._prepends]
            listed += [(f"{path} (after)", None, text) for text in self._appends]
        return tuple(listed)

    @property
    def decoded(self) -> bool:
        """Whether what is sent is no longer encoded as what came was: whoever sends it drops Content-Encoding."""
        return self.edited and self._read().raw is not self.raw

    def pieces(self) -> list[bytes | memoryview]:
        """The bytes to send: what came, as it came, where nothing is edited; else slices of it (decoded) between what is new."""
        if not self.edited:
            return [self.raw]
        splices = self._done
        return spliced(self._read().raw, self._splices() if splices is None else splices)

    @property
    def size_bytes(self) -> int:
        """How many bytes `pieces` gives."""
        if not self.edited:
            return len(self.raw)
        return len(self._read().raw) + sum(len(new) - (end - start) for start, end, new in self._splices())

    @property
    def spans(self) -> tuple[tuple[int, int, int], ...]:
        """Where other bytes are sent: from, up to (in what came, decoded), and how many stand there instead. In order."""
        return tuple((start, end, len(new)) for start, end, new in sorted(self._splices())) if self.edited else ()

    def _splices(self) -> list[Splice]:
        if self._done is None:
            document = self._read()
            splices = self._planned(document)
            if document.is_shifted:
                splices = [Splice(document.at(start), document.at(end), new) for start, end, new in splices]
            self._done = splices
        return self._done

    def _planned(self, document: Document) -> list[Splice]:
        """The splices, on the document's text."""
        splices: list[Splice] = []
        removed: list[str] = []
        added: list[bytes] = []
        for key, (_, new) in self._changes.items():
            if new is None:
                removed.append(key)
            elif (member := document.member(key)) is not None:
                splices.append(Splice(member.value, member.end, new))
            else:
                added.append(b"%b:%b" % (written(key), new))
        if self._prepends or self._appends:
            if self._place is not None:
                splices += self._place.splices(self._prepends, self._appends)
            else:
                added.append(b'"instructions":' + written(BLANK_LINE.join((*self._prepends, *self._appends))))
        is_empty = False
        if removed:
            splices += removals(document.members, removed)
            is_empty = len(removed) == len(document.members)
        if added:
            at, follows = document.tail
            splices.append(Splice(at, at, (b"," if follows and not is_empty else b"") + b",".join(added)))
        return splices

    def _may_change(self, key: str) -> None:
        if (self._prepends or self._appends) and key in PROMPT_KEYS[self.endpoint]:
            raise Unread(f"'{key}' was edited before")
        self._read().member(key)

    def _with(self, changes: Mapping[str, tuple[object, bytes | None]]) -> Payload:
        new = Payload(self.raw, self.endpoint, self.encoding)
        new._document = self._document
        new._changes = changes
        new._prepends = self._prepends
        new._appends = self._appends
        new._place = self._place
        return new

    def _read(self) -> Document:
        document = self._document
        if type(document) is Document:
            return document
        if document is None:
            try:
                raw = decoded(self.raw, self.encoding) if self.encoding else self.raw
                document = Document(raw)
            except Unread as unread:
                document = unread.why
            self._document = document
            if isinstance(document, Document):
                return document
        assert isinstance(document, str)
        raise Unread(document)

    def _now(self) -> Payload:
        """This, or, where the prompt is edited, a Payload of the edited bytes: what is asked of texts then is what is sent."""
        if not self.edited:
            return self
        if self._edited is None:
            self._edited = Payload(b"".join(self.pieces()), self.endpoint)
        return self._edited

    @property
    def _prompt(self) -> Callable[[str], object]:
        return self._now()._read().once
