"""facts -- what conditions read of one call: each answer found once, what cannot be read kept as unknown, with its reason.

Stands between the conditions and the payload. Reading the head costs tens of nanoseconds, a text once what its scan costs.
None always means unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from proxy.openai.tokens import TOKEN_BYTES
from proxy.openai.unread import MISSING, Unread
from proxy.policy.keywords import Text

if TYPE_CHECKING:
    from proxy.openai.payload import Payload
    from proxy.openai.tokens import Tokens

NO_BODY = "the body is not JSON that is held"
_T = TypeVar("_T")
_UNASKED: Any = object()


class Slow(Protocol):
    """A condition that may need the loop to give way while it is found out."""

    async def settle(self, facts: Facts) -> None:
        """Puts the verdict into `facts.memo`."""


class TakesLong(Exception):
    """To answer would hold the loop for over a millisecond: await `Facts.settle(limit)` and ask again.

    `limit`: of tokens, or the condition that reads a long text.
    """

    def __init__(self, limit: int | Slow) -> None:
        super().__init__(f"counting to {limit} tokens takes long" if isinstance(limit, int) else "reading a long text takes long")
        self.limit = limit


class Facts:
    """One call, as conditions see it."""

    __slots__ = (
        "_asked",
        "_features",
        "_headers",
        "_least",
        "_messages",
        "_model",
        "_most",
        "_path",
        "_payload",
        "_spoken",
        "_stream",
        "_texts",
        "_tokens",
        "_wall_ns",
        "_why",
        "endpoint",
        "headers",
        "kept",
        "memo",
        "method",
        "target",
        "unknown",
    )

    def __init__(
        self,
        endpoint: str,
        method: bytes,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        payload: Payload | None = None,
        tokens: Tokens | None = None,
        why: str = NO_BODY,
        wall_ns: Callable[[], int] | None = None,
    ) -> None:
        """`why` says why there is no payload, where there is none; `wall_ns` is the clock's Unix time, in nanoseconds."""
        self.endpoint = endpoint
        self.method = method
        self.target = target
        self.headers = headers
        self.unknown: list[str] = []  # why conditions were unknown, each reason once
        self.memo: dict[object, bool | None] = {}  # verdicts of dear conditions that several policies share
        self.kept: dict[str, Any] = {}  # what conditions have found that others ask for too: see `once`
        self._payload = payload
        self._tokens = tokens
        self._why = why
        self._wall_ns = wall_ns
        self._model: str | None = _UNASKED
        self._stream: bool | None = _UNASKED
        self._messages: int | None = _UNASKED
        self._path: str = _UNASKED
        self._asked: tuple[Any, Any] | None = _UNASKED  # the prompt's texts and ids, as they are counted
        self._spoken: dict[frozenset[str], tuple[str, ...] | None] = {}
        self._texts: dict[frozenset[str], Text | None] = {}
        self._features: dict[str, bool | None] = {}
        self._headers: dict[bytes, tuple[str, ...]] = {}
        self._least = 0  # the prompt has at least this many tokens
        self._most = 1 << 62  # and fewer than this

    # The head: always known

    @property
    def path(self) -> str:
        """The path as sent, undecoded, without the query."""
        if self._path is _UNASKED:
            self._path = _text(self.target.partition(b"?")[0])
        return self._path

    def header(self, name: bytes) -> tuple[str, ...]:
        """All values of a header in order; `name` is lower case."""
        values = self._headers.get(name)
        if values is None:
            size = len(name)
            values = tuple([_text(value) for key, value in self.headers if len(key) == size and key.lower() == name])
            self._headers[name] = values
        return values

    # What single conditions find out by themselves

    @property
    def wall_s(self) -> float | None:
        """Unix time in seconds, the same whenever it is asked."""
        return self.once("wall_s", lambda: self._wall_ns() / 1e9 if self._wall_ns is not None else None)

    def once(self, name: str, find: Callable[[], _T]) -> _T:
        """What `find` gives, sought once a call."""
        if name not in self.kept:
            self.kept[name] = find()
        found: _T = self.kept[name]
        return found

    def read(self, ask: Callable[[Payload], _T]) -> _T | None:
        """The payload's answer, None where it cannot be known; then the reason is noted."""
        found = self._read(ask)
        return None if found is _UNASKED else found

    def cannot(self, why: str) -> None:
        """Notes why a condition does not know, where that is not the body's fault."""
        self._note(why)

    # The body: None where it cannot be read

    @property
    def model(self) -> str | None:
        """The model asked for, empty when there is none."""
        if self._model is _UNASKED:
            model = self._read(_model_of)
            self._model = None if model is _UNASKED else model
        return self._model

    @property
    def stream(self) -> bool | None:
        """Whether a stream was asked for."""
        if self._stream is _UNASKED:
            stream = self._read(lambda payload: payload.stream)
            self._stream = None if stream is _UNASKED else bool(stream)
        return self._stream

    @property
    def messages(self) -> int | None:
        """How many messages or input items there are."""
        if self._messages is _UNASKED:
            count = self._read(_message_count)
            self._messages = None if count is _UNASKED else count
        return self._messages

    def has(self, feature: str) -> bool | None:
        """Whether the request carries `feature`, one of `proxy.openai.payload.HAS`."""
        if feature not in self._features:
            found = self._read(lambda payload: payload.has(feature))
            self._features[feature] = None if found is _UNASKED else bool(found)
        return self._features[feature]

    def texts(self, roles: frozenset[str]) -> tuple[str, ...] | None:
        """The texts of messages of `roles`; of no roles the last user message."""
        if roles not in self._spoken:
            texts = self._read((lambda payload: payload.texts(roles)) if roles else _last_user)
            self._spoken[roles] = None if texts is _UNASKED else tuple(texts)
        return self._spoken[roles]

    def text(self, roles: frozenset[str]) -> Text | None:
        """The same, folded for keywords. For a long text this takes long: see `keywords.slices`."""
        if roles not in self._texts:
            texts = self.texts(roles)
            self._texts[roles] = None if texts is None else Text(texts)
        return self._texts[roles]

    # Tokens: known between bounds, which narrow with each question

    def prompt_below(self, limit: int) -> bool | None:
        """Whether the prompt has fewer than `limit` tokens. Raises TakesLong."""
        if limit <= self._least:
            return False
        if limit >= self._most:
            return True
        prompt = self._prompt()
        if prompt is None or self._tokens is None:
            return None
        below: bool | None = self._tokens.below(prompt[0], limit, prompt[1])
        if below is None:
            raise TakesLong(limit)
        self._learn(limit, below)
        return below

    @property
    def prompt_bounds(self) -> tuple[int, int] | None:
        """The fewest and the most tokens that the prompt may have, by its bytes: a token is one to 128 of them."""
        prompt = self._prompt()
        if prompt is None:
            return None
        texts, ids = prompt
        chars = sum(map(len, texts))
        most = chars if all(map(str.isascii, texts)) else 4 * chars
        return max(self._least, ids + chars // TOKEN_BYTES), min(self._most, ids + most)

    async def settle(self, limit: int | Slow) -> None:
        """Finds out, the loop having its turns, what a TakesLong could not; the conditions then know."""
        if not isinstance(limit, int):
            await limit.settle(self)
            return
        prompt = self._prompt()
        if prompt is not None and self._tokens is not None and self._least < limit < self._most:
            self._learn(limit, await self._tokens.below_slowly(prompt[0], limit, prompt[1]))

    async def answer(self, ask: Callable[[Facts], _T], long: TakesLong | None = None) -> _T:
        """What `ask` says of these facts, however long it takes. `long`: what it has raised already."""
        while True:
            if long is not None:
                await self.settle(long.limit)
            try:
                return ask(self)
            except TakesLong as more:
                long = more

    async def count(self) -> None:
        """Counts the prompt to its end, however long, where it can be read: for an explanation that tells the number."""
        known = len(self.unknown)
        prompt = self._prompt()
        del self.unknown[known:]  # nobody has asked yet
        if prompt is not None and self._tokens is not None:
            tokens = await self._tokens.count(prompt[0]) + prompt[1]
            self._least, self._most = tokens, tokens + 1

    @property
    def prompt_seen(self) -> str:
        """What is known of the prompt's size, for an explanation."""
        if self._most == self._least + 1:
            return f"{self._least:,} token{'s' if self._least != 1 else ''}"
        if self._least and self._most < 1 << 62:
            return f"{self._least} to {self._most - 1} tokens"
        if self._most < 1 << 62:
            return f"fewer than {self._most} tokens"
        return f"at least {self._least} tokens" if self._least else "not counted"

    def _prompt(self) -> tuple[Any, Any] | None:
        if self._asked is _UNASKED:
            self._asked = self._read_prompt()
        return self._asked

    def _read_prompt(self) -> tuple[Any, Any] | None:
        if self._tokens is None:
            self._note("no token counter is loaded")
            return None
        found = self._read(_prompt_of)
        return None if found is _UNASKED else found

    def _learn(self, limit: int, below: bool) -> None:
        if below:
            self._most = min(self._most, limit)
        else:
            self._least = max(self._least, limit)

    def _read(self, ask: Callable[[Payload], _T]) -> _T | Any:
        """The payload's answer, `_UNASKED` where it cannot be known."""
        if self._payload is None:
            self._note(self._why)
            return _UNASKED
        try:
            return ask(self._payload)
        except Unread as unread:
            self._note(unread.why)
            return _UNASKED

    def _note(self, why: str) -> None:
        if why not in self.unknown:
            self.unknown.append(why)


def _model_of(payload: Payload) -> str:
    return payload.model or ""


def _prompt_of(payload: Payload) -> tuple[tuple[str, ...], int]:
    return payload.prompt_texts(), payload.prompt_ids()


def _last_user(payload: Payload) -> tuple[str, ...]:
    text = payload.last_user()
    return () if text is None else (text,)


def _message_count(payload: Payload) -> int:
    for key in ("messages", "input"):
        value = payload.value(key)
        if value is not MISSING:
            return len(value) if isinstance(value, list) else 1
    return 0


def _text(value: bytes) -> str:
    """A header's or target's bytes: UTF-8 where they are, else Latin-1, which takes any."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
