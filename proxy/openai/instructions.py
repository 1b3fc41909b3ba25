"""instructions -- where in a prompt the app's instructions stand, so that text can be put before and after them.

Chat: the first system or developer message, a new one at the front where there is none. Responses: `instructions`. No other has a place.
Cost: 5 µs for a short message; what stands before the place is scanned once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.openai.document import Document
from proxy.openai.endpoints import Endpoint
from proxy.openai.message import INSTRUCTING
from proxy.openai.scan import EXACT_BYTES, Member, elements_at, members_at
from proxy.openai.splice import Splice, written
from proxy.openai.unread import MISSING, Unread

BLANK_LINE = "\n\n"
NO_PLACE = "no place for instructions"


@dataclass(frozen=True, slots=True)
class Place:
    """Where texts go. Offsets are those of the document's text.

    With `whole`: `first` to `last` is replaced by (or, where they are the same, gets) a new string between `whole[0]` and `whole[1]`.
    Without: `first` is where the app's text begins, `last` where it ends, both inside of the quotes.
    """

    path: str
    first: int
    last: int
    whole: tuple[bytes, bytes] | None = None
    is_empty: bool = False

    def splices(self, prepends: Sequence[str], appends: Sequence[str]) -> list[Splice]:
        """The edit that puts the texts there, each a blank line from the next."""
        if self.whole is not None:
            before, after = self.whole
            return [Splice(self.first, self.last, before + written(BLANK_LINE.join((*prepends, *appends))) + after)]
        if self.is_empty:
            return [Splice(self.first, self.last, _inside(BLANK_LINE.join((*prepends, *appends))))]
        splices = []
        if prepends:
            splices.append(Splice(self.first, self.first, _inside(BLANK_LINE.join((*prepends, "")))))
        if appends:
            splices.append(Splice(self.last, self.last, _inside(BLANK_LINE.join(("", *appends)))))
        return splices


def place_of(document: Document, endpoint: Endpoint) -> Place | None:
    """The place, None where a top-level member `instructions` must be made. Raises Unread where there is none."""
    try:
        if endpoint is Endpoint.CHAT:
            return _in_messages(document)
        if endpoint is Endpoint.RESPONSES:
            return _in_instructions(document)
    except RecursionError as error:
        raise Unread("nested too deeply") from error
    except ValueError as error:
        raise Unread(f"not JSON: {error}") from error
    raise Unread(NO_PLACE)


def _in_instructions(document: Document) -> Place | None:
    value = document.value("instructions")
    if value is MISSING:
        return None
    member = document.member("instructions")
    assert member is not None
    if value is None:
        return Place("instructions", member.value, member.end, (b"", b""))
    if not isinstance(value, str):
        raise Unread(f"{NO_PLACE}: `instructions` is no text")
    return _text("instructions", member.value, member.end)


def _in_messages(document: Document) -> Place:
    messages = document.once("messages")
    member = document.member("messages")
    if not isinstance(messages, list) or member is None:
        raise Unread(f"{NO_PLACE}: `messages` is no list")
    index = next((i for i, message in enumerate(messages) if isinstance(message, dict) and message.get("role") in INSTRUCTING), None)
    if index is None:
        comma = b"," if messages else b""
        at = member.value + 1
        return Place("messages[0]", at, at, (b'{"role":"system","content":', b"}" + comma))
    if member.end - member.value > EXACT_BYTES:
        raise Unread(f"`messages` is over {EXACT_BYTES >> 20} MiB")
    latin = document.text[member.value : member.end].decode("latin-1")
    begin = _nth(latin, 0, index)
    content = next((found for found in members_at(latin, begin) if found.key == "content"), None)
    if content is None:
        raise Unread(f"{NO_PLACE}: a system message without content")
    value = messages[index]["content"]
    path = f"messages[{index}].content"
    place = _moved(member.value)
    if value is None:
        return place(path, content.value, content.end, (b"", b""))
    if isinstance(value, str):
        return _text(path, member.value + content.value, member.value + content.end)
    if isinstance(value, list):
        return _in_parts(latin, content, value, path, member.value)
    raise Unread(f"{NO_PLACE}: a system message without text")


def _in_parts(latin: str, content: Member, parts: list[object], path: str, base: int) -> Place:
    """Before the first text part and after the last one; a new part at the front where there is none."""
    texts = [i for i, part in enumerate(parts) if isinstance(part, dict) and _is_text(part)]
    if not texts:
        at = base + content.value + 1
        return Place(f"{path}[0]", at, at, (b'{"type":"text","text":', b"}," if parts else b"}"))
    spans = list(elements_at(latin, content.value))
    first, last = (next(found for found in members_at(latin, spans[i][0]) if found.key == "text") for i in (texts[0], texts[-1]))
    is_empty = texts[0] == texts[-1] and first.end - first.value == 2
    return Place(f"{path}[{texts[0]}].text", base + first.value + 1, base + last.end - 1, None, is_empty)


def _is_text(part: dict[str, object]) -> bool:
    return part.get("type") in ("text", "input_text") and isinstance(part.get("text"), str)


def _nth(latin: str, array: int, index: int) -> int:
    for i, (start, _) in enumerate(elements_at(latin, array)):
        if i == index:
            return start
    raise Unread(NO_PLACE)


def _text(path: str, value: int, end: int) -> Place:
    """Inside of the string that stands from `value` to `end`."""
    return Place(path, value + 1, end - 1, None, end - value == 2)


def _moved(base: int) -> Callable[..., Place]:
    def place(path: str, first: int, last: int, whole: tuple[bytes, bytes]) -> Place:
        return Place(path, base + first, base + last, whole)

    return place


def _inside(text: str) -> bytes:
    """A text as it is written between the quotes of a JSON string."""
    return written(text)[1:-1]
