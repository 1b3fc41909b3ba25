"""message -- the texts of a prompt, in every form that the API takes them, each with the role of who says it.

Works on parsed JSON, and takes any shape: what is not of a known form has no text. Images, audio and files have none.
Cost: half a microsecond a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from proxy.openai.endpoints import Endpoint

SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"
ROLES = frozenset((SYSTEM, USER, ASSISTANT, TOOL))
INSTRUCTING = ("system", "developer")
_SPEAKERS = (USER, ASSISTANT, SYSTEM, TOOL)  # compared in turn: a set would not take what JSON may put in the place of a name
_ROLE = {"developer": SYSTEM, "function": TOOL}  # under another name
_MUTE = frozenset(("image_url", "input_image", "input_audio", "audio", "file", "input_file", "image", "computer_screenshot"))

TAKES_IDS = (Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS)

_SAYING = ("text", "refusal", "image_url", "url", "input_audio", "file", "data", "file_id", "file_data", "file_url")

Get = Callable[[str], object]
Said = tuple[str, str]  # role, text

# Where the prompt of an endpoint is; "system" where the key holds instructions
PROMPT_KEYS: Mapping[Endpoint, tuple[str, ...]] = {
    Endpoint.CHAT: ("messages",),
    Endpoint.RESPONSES: ("instructions", "prompt", "input"),
    Endpoint.COMPLETIONS: ("prompt",),
    Endpoint.EMBEDDINGS: ("input",),
    Endpoint.IMAGES: ("prompt",),
    Endpoint.AUDIO: ("instructions", "input"),
}


def said(endpoint: Endpoint, get: Get) -> list[Said]:
    """All that a prompt says, as (role, text), in the body's order of turns; instructions first."""
    out: list[Said] = []
    for key in PROMPT_KEYS.get(endpoint, ()):
        value = get(key)
        if key == "messages":
            _add_messages(out, value)
        elif key == "instructions":
            out += [(SYSTEM, text) for text in parts_of(value)]
        elif key == "prompt" and endpoint is Endpoint.RESPONSES:
            out += _said_in_template(value)
        elif isinstance(value, str):
            out.append((USER, value))
        elif isinstance(value, list):
            out += _said_in_input(endpoint, value)
    return out


def _add_messages(out: list[Said], messages: object) -> None:
    if not isinstance(messages, list):
        return
    for message in messages:
        if isinstance(message, dict):
            content = message.get("content")
            if len(message) == 2 and isinstance(content, str) and (role := message.get("role")) in _SPEAKERS:
                out.append((role, content))  # the usual form, of nothing but a role and a text
            else:
                out += said_in(message)


def last_user(endpoint: Endpoint, get: Get) -> str | None:
    """The text of the last user turn, its parts on lines of their own; None where no user says anything."""
    if endpoint is Endpoint.CHAT or endpoint is Endpoint.RESPONSES:
        turns = get("messages" if endpoint is Endpoint.CHAT else "input")
        if not isinstance(turns, list):
            return turns if isinstance(turns, str) and endpoint is Endpoint.RESPONSES else None
        for turn in reversed(turns):
            if isinstance(turn, dict) and turn.get("role") == USER:
                content = turn.get("content")
                return content if isinstance(content, str) else "\n".join(parts_of(content))
        return None
    texts = [text for role, text in said(endpoint, get) if role == USER]
    return "\n".join(texts) if texts else None


def opening(endpoint: Endpoint, get: Get) -> list[str]:
    """What a conversation begins with, and so the same at each of its turns: texts, links and data of the first user turn.

    Where no user says anything, and of other endpoints: all texts. Of a prompt of token ids: its first 1,000.
    """
    texts: list[str] = []
    if endpoint is Endpoint.CHAT or endpoint is Endpoint.RESPONSES:
        turns = get("messages" if endpoint is Endpoint.CHAT else "input")
        for turn in turns if isinstance(turns, list) else ():
            if isinstance(turn, dict) and turn.get("role") == USER:
                texts += _leaves(turn.get("content"), 0)
                break
    if not texts:
        texts += [text for _, text in said(endpoint, get)]
    if not texts and token_ids(endpoint, get):
        ids = get(PROMPT_KEYS[endpoint][0])
        texts.append(repr(ids[:1000] if isinstance(ids, list) else ids)[:16_000])
    return texts


def _leaves(value: object, depth: int) -> Iterator[str]:
    """The strings of a content that say something: not the names of types, not settings that may change from turn to turn."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < 4:
        for item in value:
            yield from _leaves(item, depth + 1)
    elif isinstance(value, dict) and depth < 4:
        for key in _SAYING:
            if key in value:
                yield from _leaves(value[key], depth + 1)


def said_in(message: dict[str, object]) -> Iterator[Said]:
    """What one chat message says: its content, a refusal, the arguments of its tool calls (as the assistant's text)."""
    role = role_of(message)
    for text in parts_of(message.get("content")):
        yield role, text
    if isinstance(refusal := message.get("refusal"), str):
        yield role, refusal
    for call in _dicts(message.get("tool_calls")):
        yield from _arguments(call.get("function"))
        yield from _arguments(call.get("custom"))
    yield from _arguments(message.get("function_call"))


def role_of(message: dict[str, object]) -> str:
    """One of ROLES. A role that the API does not know counts as the user: a guard must not overlook it."""
    role = message.get("role")
    if not isinstance(role, str):
        return USER
    role = _ROLE.get(role, role)
    return role if role in ROLES else USER


def parts_of(content: object) -> Iterator[str]:
    """The texts of a content: a string, or parts (`text`, `input_text`, `output_text`, `refusal`, a bare string)."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                yield part
            elif isinstance(part, dict) and part.get("type") not in _MUTE:
                text = part.get("text", part.get("refusal"))
                if isinstance(text, str):
                    yield text


def token_ids(endpoint: Endpoint, get: Get) -> int:
    """How many tokens a prompt gives as ids: in a list, or in lists of lists."""
    if endpoint not in TAKES_IDS:
        return 0
    value = get(PROMPT_KEYS[endpoint][0])
    if not isinstance(value, list):
        return 0
    return sum(1 if type(item) is int else sum(type(inner) is int for inner in item) if isinstance(item, list) else 0 for item in value)


def _said_in_input(endpoint: Endpoint, items: list[object]) -> Iterator[Said]:
    for item in items:
        if isinstance(item, str):
            yield USER, item
        elif isinstance(item, dict) and endpoint is Endpoint.RESPONSES:
            yield from _said_in_item(item)


def _said_in_item(item: dict[str, object]) -> Iterator[Said]:
    """A Responses item: a message, a tool call (the assistant's text), or what a tool gave back."""
    kind = item.get("type")
    if kind in (None, "message"):
        yield from said_in(item)
        return
    for key, role in (("arguments", ASSISTANT), ("input", ASSISTANT), ("output", TOOL)):
        for text in parts_of(item.get(key)):
            yield role, text


def _said_in_template(prompt: object) -> Iterator[Said]:
    """The variables that fill a stored prompt: the user's words."""
    if isinstance(prompt, dict) and isinstance(variables := prompt.get("variables"), dict):
        for value in variables.values():
            for text in parts_of([value]):
                yield USER, text


def _arguments(call: object) -> Iterator[Said]:
    if isinstance(call, dict):
        for key in ("arguments", "input"):
            if isinstance(text := call.get(key), str):
                yield ASSISTANT, text


def _dicts(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item
