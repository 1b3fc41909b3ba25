"""features -- what a request carries besides its texts: the closed list that a policy's `has` speaks, and what ties it to its upstream.

Works on parsed JSON of any shape. Cost: a dictionary look-up, or half a microsecond a message where parts are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType

from proxy.openai.code import looks_like_code
from proxy.openai.endpoints import Endpoint
from proxy.openai.message import USER, said

Get = Callable[[str], object]

HAS = MappingProxyType(
    {
        "tools": "tools or functions that the model may call",
        "required_tool": "a tool that the model must call (`tool_choice: required`, or one by name)",
        "tool_calls": "tool calls in the history",
        "tool_results": "results of tool calls in the history",
        "empty_tool_result": "a tool that answered with nothing, in the latest turn: blank, null, none, `[]` or `{}`",
        "images": "images in the prompt",
        "audio": "audio in the prompt, or asked for",
        "files": "files in the prompt",
        "code": "program code in a user message: a fenced block, or lines that look like it",
        "json_schema": "an answer that must fit a JSON schema",
        "json_object": "an answer that must be a JSON object",
        "logprobs": "log probabilities asked for",
        "system": "a system or developer message, or instructions",
        "many_choices": "more than one answer asked for (`n`, `best_of`)",
        "reasoning": "a setting of the reasoning effort",
        "prediction": "a predicted output",
        "stop": "stop sequences",
        "seed": "a seed",
    }
)
_IMAGES = frozenset(("image_url", "input_image", "image", "computer_screenshot"))
_AUDIO = frozenset(("input_audio", "audio"))
_FILES = frozenset(("file", "input_file"))
_PARTS = {"images": _IMAGES, "audio": _AUDIO, "files": _FILES}
CODE_CHARACTERS = 64 * 1024  # of all user messages together: 0.5 ms
_RESULTS = ("tool", "function")
_OUTPUTS = frozenset(("function_call_output", "custom_tool_call_output", "local_shell_call_output", "shell_call_output"))
_TEXTS = frozenset(("text", "input_text", "output_text"))
_NOTHING = frozenset(("", "null", "none", "nil", "undefined", "[]", "{}", "()", '""', "''"))


def has(what: str, endpoint: Endpoint, get: Get) -> bool:
    """Whether a request carries `what`, one of HAS (else KeyError)."""
    if what in _PARTS:
        wanted = _PARTS[what]
        asked = what == "audio" and _asks_audio(get)
        return asked or any(part.get("type") in wanted for part in _parts(endpoint, get))
    return _CHECKS[what](endpoint, get)


def refers_to_state(endpoint: Endpoint, get: Get) -> bool:
    """What `endpoints.is_stateful` says of the body of a chat or Responses request."""
    if get("store") is True:
        return True
    if endpoint is Endpoint.RESPONSES:
        if any(_given(get(key)) for key in ("previous_response_id", "conversation", "prompt")) or get("background") is True:
            return True
        for tool in _dicts(get("tools")):
            if tool.get("vector_store_ids") or isinstance(tool.get("container"), str):
                return True
    return any(_is_reference(item) for item in _turns(endpoint, get)) or any(_names_file(part) for part in _parts(endpoint, get))


def _is_reference(item: dict[str, object]) -> bool:
    audio = item.get("audio")
    return (
        item.get("type") == "item_reference"
        or isinstance(item.get("encrypted_content"), str)
        or (isinstance(audio, dict) and isinstance(audio.get("id"), str))
    )


def _names_file(part: dict[str, object]) -> bool:
    inner = part.get("file")
    return isinstance(part.get("file_id"), str) or (isinstance(inner, dict) and isinstance(inner.get("file_id"), str))


def _asks_audio(get: Get) -> bool:
    modalities = get("modalities")
    return isinstance(modalities, list) and "audio" in modalities


def _tools(endpoint: Endpoint, get: Get) -> bool:
    return bool(_listed(get("tools")) or _listed(get("functions")))


def _required_tool(endpoint: Endpoint, get: Get) -> bool:
    choice = get("tool_choice")
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools", choice) if choice.get("type") == "allowed_tools" else None
        return allowed is None or (isinstance(allowed, dict) and allowed.get("mode") == "required")
    return choice == "required" or isinstance(get("function_call"), dict)


def _tool_calls(endpoint: Endpoint, get: Get) -> bool:
    return any(
        bool(turn.get("tool_calls")) or isinstance(turn.get("function_call"), dict) or str(turn.get("type", "")).endswith("_call")
        for turn in _turns(endpoint, get)
    )


def _tool_results(endpoint: Endpoint, get: Get) -> bool:
    return any(turn.get("role") in _RESULTS or str(turn.get("type", "")).endswith("_call_output") for turn in _turns(endpoint, get))


def _empty_tool_result(endpoint: Endpoint, get: Get) -> bool:
    """Looks at the answers since the model last spoke: an older one it has dealt with."""
    for turn in reversed(list(_turns(endpoint, get))):
        kind = turn.get("type")
        if turn.get("role") in _RESULTS:
            if _is_nothing(turn.get("content")):
                return True
        elif kind in _OUTPUTS:
            if _is_nothing(turn.get("output")):
                return True
        elif turn.get("role") == "assistant" or kind == "reasoning" or str(kind).endswith("_call"):
            return False
    return False


def _is_nothing(result: object) -> bool:
    """Whether a tool's result says nothing, as text (also that of a JSON or Python value) or in parts. An image is something."""
    if isinstance(result, str):
        return len(result) < 256 and "".join(result.split()).lower() in _NOTHING
    if isinstance(result, list):
        return all(isinstance(part, (str, dict)) and _is_nothing(_part_text(part)) for part in result)
    return result is None


def _part_text(part: object) -> object:
    """The text of a part of a result (of a shell's output: what it wrote), or the part itself, which is something."""
    if isinstance(part, dict):
        if "stdout" in part or "stderr" in part:
            return f"{part.get('stdout') or ''}{part.get('stderr') or ''}"
        return part.get("text", part) if part.get("type") in _TEXTS else part
    return part


def _code(endpoint: Endpoint, get: Get) -> bool:
    """Looks at the user's messages from the last one on back."""
    left = CODE_CHARACTERS
    for role, text in reversed(list(said(endpoint, get))):
        if role == USER and left > 0:
            if looks_like_code(text):
                return True
            left -= len(text)
    return False


def _format(kind: str) -> Callable[[Endpoint, Get], bool]:
    def asks(endpoint: Endpoint, get: Get) -> bool:
        wanted = get("response_format")
        if isinstance(text := get("text"), dict):
            wanted = text.get("format", wanted)
        return isinstance(wanted, dict) and wanted.get("type") == kind

    return asks


def _logprobs(endpoint: Endpoint, get: Get) -> bool:
    include = get("include")
    wanted = get("logprobs")
    return (
        (isinstance(wanted, int) and wanted is not False)
        or isinstance(get("top_logprobs"), int)
        or (isinstance(include, list) and "message.output_text.logprobs" in include)
    )


def _system(endpoint: Endpoint, get: Get) -> bool:
    if endpoint is Endpoint.RESPONSES and _given(get("instructions")):
        return True
    return any(turn.get("role") in ("system", "developer") for turn in _turns(endpoint, get))


def _many_choices(endpoint: Endpoint, get: Get) -> bool:
    return any(isinstance(count := get(key), int) and count > 1 for key in ("n", "best_of"))


def _reasoning(endpoint: Endpoint, get: Get) -> bool:
    return _given(get("reasoning_effort")) or isinstance(get("reasoning"), dict)


_CHECKS: dict[str, Callable[[Endpoint, Get], bool]] = {
    "tools": _tools,
    "required_tool": _required_tool,
    "tool_calls": _tool_calls,
    "tool_results": _tool_results,
    "empty_tool_result": _empty_tool_result,
    "code": _code,
    "json_schema": _format("json_schema"),
    "json_object": _format("json_object"),
    "logprobs": _logprobs,
    "system": _system,
    "many_choices": _many_choices,
    "reasoning": _reasoning,
    "prediction": lambda endpoint, get: _given(get("prediction")),
    "stop": lambda endpoint, get: _given(get("stop")),
    "seed": lambda endpoint, get: _given(get("seed")),
}


def _given(value: object) -> bool:
    return isinstance(value, (str, int, float, list, dict))


def _listed(value: object) -> bool:
    return isinstance(value, list) and bool(value)


def _turns(endpoint: Endpoint, get: Get) -> Iterator[dict[str, object]]:
    """The messages or items of a prompt."""
    if endpoint is Endpoint.CHAT:
        yield from _dicts(get("messages"))
    elif endpoint is Endpoint.RESPONSES:
        yield from _dicts(get("input"))


def _parts(endpoint: Endpoint, get: Get) -> Iterator[dict[str, object]]:
    """The parts of all contents, and of what tools gave back."""
    for turn in _turns(endpoint, get):
        yield from _dicts(turn.get("content"))
        output = turn.get("output")
        yield from _dicts([output] if isinstance(output, dict) else output)


def _dicts(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item
