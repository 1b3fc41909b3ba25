"""parameters -- the API's own parameters by name, to tell a mistyped one from another vendor's, and where there are any.

For warnings at load; a name that is near none of them is somebody's extension, and fine.
"""

from __future__ import annotations

PARAMETERS = frozenset((
    "audio", "background", "best_of", "conversation", "dimensions", "echo", "encoding_format", "frequency_penalty", "function_call",
    "functions", "include", "input", "instructions", "language", "logit_bias", "logprobs", "max_completion_tokens", "max_output_tokens",
    "max_tokens", "max_tool_calls", "messages", "metadata", "modalities", "model", "moderation", "n", "output_compression",
    "output_format", "parallel_tool_calls", "prediction", "presence_penalty", "previous_response_id", "prompt", "prompt_cache_key",
    "prompt_cache_retention", "quality", "reasoning", "reasoning_effort", "response_format", "safety_identifier", "seed",
    "service_tier", "size", "speed", "stop", "store", "stream", "stream_options", "style", "suffix", "temperature", "text",
    "timestamp_granularities", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user", "verbosity", "voice",
    "web_search_options",
))  # fmt: skip
WITH_BODY = ("chat", "responses", "completions", "embeddings", "images", "audio", "batches", "other")
"""The endpoints whose requests may be JSON, with a model and parameters in it; the others are GETs, uploads and WebSockets."""
_OTHERS = frozenset(("top_k", "top_a", "top_n", "models", "dimension", "languages"))  # of other vendors, and near one of the API's
_LEAST = 5  # letters: shorter names are near too many others


def almost(name: str) -> str | None:
    """A hint where `name` is one slip away from a parameter (a letter missing, doubled, wrong, or two swapped); None for any other."""
    if name in PARAMETERS or name in _OTHERS or not _LEAST <= len(name) <= 64:
        return None
    plain = name.lower().replace("-", "_")
    near = sorted(known for known in PARAMETERS if len(known) >= _LEAST and _is_a_slip(plain, known))
    return f"did you mean '{near[0]}'?" if near else None


def _is_a_slip(written: str, meant: str) -> bool:
    if written == meant:
        return True
    if abs(len(written) - len(meant)) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(written, meant, strict=False)) if a != b), min(len(written), len(meant)))
    rest, other = written[at:], meant[at:]
    swapped = rest[:2] == other[1::-1] and rest[2:] == other[2:] and len(other) > 1
    return rest[1:] == other[1:] or rest[1:] == other or rest == other[1:] or swapped
