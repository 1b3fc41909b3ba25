"""endpoints -- which API a request is for, by method and path, and whether it refers to what its upstream remembers.

Pure functions. Cost: about a microsecond; whoever asks for each request keeps a small cache of the answers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.openai.payload import Payload


class Endpoint(StrEnum):
    """The APIs that policies know apart."""

    CHAT = "chat"
    RESPONSES = "responses"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    IMAGES = "images"
    AUDIO = "audio"
    FILES = "files"
    BATCHES = "batches"
    MODELS = "models"
    REALTIME = "realtime"
    OTHER = "other"


MEANINGS = {
    Endpoint.CHAT: "POST …/chat/completions",
    Endpoint.RESPONSES: "POST …/responses",
    Endpoint.COMPLETIONS: "POST …/completions, the older form without messages",
    Endpoint.EMBEDDINGS: "POST …/embeddings",
    Endpoint.IMAGES: "POST …/images/generations, …/edits, …/variations",
    Endpoint.AUDIO: "POST …/audio/speech, …/transcriptions, …/translations",
    Endpoint.FILES: "…/files: upload, list, read and delete",
    Endpoint.BATCHES: "…/batches: make, list, read and cancel",
    Endpoint.MODELS: "…/models: list, read and delete",
    Endpoint.REALTIME: "GET …/realtime, the WebSocket",
    Endpoint.OTHER: "all else: fine-tuning, stored answers, vector stores, …",
}

_POSTED = {
    b"responses": Endpoint.RESPONSES,
    b"completions": Endpoint.COMPLETIONS,
    b"embeddings": Endpoint.EMBEDDINGS,
}
_POSTED_UNDER = {
    (b"chat", b"completions"): Endpoint.CHAT,
    (b"images", b"generations"): Endpoint.IMAGES,
    (b"images", b"edits"): Endpoint.IMAGES,
    (b"images", b"variations"): Endpoint.IMAGES,
    (b"audio", b"speech"): Endpoint.AUDIO,
    (b"audio", b"transcriptions"): Endpoint.AUDIO,
    (b"audio", b"translations"): Endpoint.AUDIO,
}
_STORES = {b"files": Endpoint.FILES, b"batches": Endpoint.BATCHES}
_ACTIONS = {(Endpoint.FILES, b"GET", b"content"), (Endpoint.BATCHES, b"POST", b"cancel")}
_READS = (b"GET", b"HEAD")


def endpoint_of(method: bytes, target: bytes) -> Endpoint:
    """The API that a request is for; `other` where no rule holds. Never raises.

    The path is the target before `?` or `#`, undecoded, without one trailing slash, cut at each `/`. Only its last segments are looked
    at, so any prefix may stand before them:

    - POST: `chat/completions`, `responses`, `completions`, `embeddings`, `images/(generations|edits|variations)`,
      `audio/(speech|transcriptions|translations)`;
    - GET: `realtime`;
    - `files` and `batches`: GET and POST of the list, GET of `files/ID`, `files/ID/content` and `batches/ID`, DELETE of `files/ID`, POST
      of `batches/ID/cancel`; but not what belongs to something else, as `vector_stores/ID/files`;
    - GET of `models` and of `models/ID`, where the ID may hold slashes; DELETE of `models/ID`.

    All else, as a stored `chat/completions/ID`, `responses/ID` or `responses/ID/cancel`, is `other`.
    """
    path = target.partition(b"?")[0].partition(b"#")[0]
    segments = path.removesuffix(b"/").split(b"/")
    last = segments[-1]
    if method == b"POST":
        if len(segments) > 1 and (found := _POSTED_UNDER.get((segments[-2], last))) is not None:
            return found
        if (found := _POSTED.get(last)) is not None:
            return found
    elif method in _READS:
        if last == b"realtime" and method == b"GET":
            return Endpoint.REALTIME
        if b"models" in segments:
            return Endpoint.MODELS
    elif method == b"DELETE" and segments[-2:-1] == [b"models"]:
        return Endpoint.MODELS
    return _stored(method, segments)


def _stored(method: bytes, segments: list[bytes]) -> Endpoint:
    """Files and batches: the list, one of them, or an action on one."""
    for after in (0, 1, 2):
        at = len(segments) - 1 - after
        if at < 0 or (endpoint := _STORES.get(segments[at])) is None:
            continue
        if at >= 2 and segments[at - 2] in (b"vector_stores", b"containers", b"assistants"):
            return Endpoint.OTHER
        if after == 0:
            fits = method == b"POST" or method in _READS
        elif after == 1:
            fits = method in _READS or (method == b"DELETE" and endpoint is Endpoint.FILES)
        else:
            fits = (endpoint, b"GET" if method == b"HEAD" else method, segments[-1]) in _ACTIONS
        return endpoint if fits else Endpoint.OTHER
    return Endpoint.OTHER


_WITHOUT_STATE = frozenset((Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS, Endpoint.IMAGES, Endpoint.AUDIO, Endpoint.MODELS, Endpoint.REALTIME))
_WITH_STATE = frozenset((Endpoint.FILES, Endpoint.BATCHES, Endpoint.OTHER))


def is_stateful(endpoint: Endpoint, payload: Payload | None) -> bool:
    """Whether a request refers to, or leaves behind, what only its upstream remembers; then it may not be moved, cached or hedged.

    Always so: files, batches, and `other`, where nothing is known (fine-tuning, stored answers, threads). Chat and Responses: where the
    body has `previous_response_id`, `conversation`, `store: true`, `background: true` or a stored `prompt`, or names things of the
    upstream in its messages (file ids, item references, encrypted reasoning). Raises Unread where the body cannot be read, or is not held.
    """
    if endpoint in _WITHOUT_STATE:
        return False
    if endpoint in _WITH_STATE:
        return True
    if payload is None:
        from proxy.openai.payload import Unread

        raise Unread("the body is not held")
    return payload.refers_to_state()
