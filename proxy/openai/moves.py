"""moves -- which requests may go to another upstream than home, and why the others stay.

What has state on a server means nothing on another; what is outside of the API's own paths is not ours to place.
"""

from __future__ import annotations

from proxy.core.call import Call
from proxy.openai.endpoints import Endpoint, is_stateful
from proxy.openai.payload import Unread


def why_it_stays(call: Call) -> str | None:
    """The reason for which a call may not be moved to another upstream, None where it may."""
    request = call.request
    if request.upgrade is not None:
        return "an upgraded connection"
    if not is_api_path(request.target):
        return "a path outside of /v1"
    try:
        if is_stateful(Endpoint(call.endpoint), call.payload):
            return "it refers to state on its upstream"
    except Unread as unread:
        return f"its body cannot be read: {unread.why}"
    return None


def is_api_path(target: bytes) -> bool:
    """Whether the first segment is exactly `/v1`, undecoded: what an upstream's base path stands for."""
    return target.startswith(b"/v1") and target[3:4] in (b"/", b"?", b"")
