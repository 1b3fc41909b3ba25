"""asking -- a request of a test file as the app sends it: the short form written out, an SDK's headers around it. Pure functions."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.body import Body, Headers
from proxy.core.request import Framing, Request
from proxy.openai.endpoints import Endpoint
from proxy.policy.case_spec import RequestSpec

PATHS = {
    Endpoint.CHAT: "/v1/chat/completions",
    Endpoint.RESPONSES: "/v1/responses",
    Endpoint.COMPLETIONS: "/v1/completions",
    Endpoint.EMBEDDINGS: "/v1/embeddings",
}
ABSENT = ("absent",)
MODEL = "gpt-4o"  # of the short form, where it names none
CREDENTIAL = "Bearer sk-app"


@dataclass(slots=True, frozen=True)
class Asked:
    """What the app sends, byte for byte."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes

    def request(self) -> Request:
        """The request, its body whole."""
        framing = Framing.LENGTH if self.body else Framing.NONE
        return Request(self.method, self.target, 1, list(self.headers), framing, len(self.body), Body.of(self.body))


def asked(spec: RequestSpec) -> Asked:
    """The bytes of a request."""
    body = _body(spec)
    if spec.encoding == "gzip":
        body = gzip.compress(body, mtime=0)
    elif spec.encoding == "deflate":
        body = zlib.compress(body)
    method = spec.method or ("POST" if body else "GET")
    path = spec.path or PATHS[spec.endpoint or Endpoint.CHAT]
    return Asked(method.encode(), path.encode(), _headers(spec, body), body)


def _body(spec: RequestSpec) -> bytes:
    if "body" in spec.model_fields_set:
        return spec.body.encode("utf-8", "surrogatepass") if isinstance(spec.body, str) else orjson.dumps(spec.body)
    if not spec.model_fields_set & {"endpoint", "model", "system", "prompt", "messages", "stream", "params"}:
        return b""
    return orjson.dumps(_written_out(spec))


def _written_out(spec: RequestSpec) -> dict[str, Any]:
    endpoint = spec.endpoint or Endpoint.CHAT
    prompt = spec.prompt.whole if spec.prompt is not None else None
    body: dict[str, Any] = {"model": spec.model if spec.model is not None else MODEL}
    if endpoint is Endpoint.CHAT:
        messages = list(spec.messages) if isinstance(spec.messages, list) else []
        if spec.system is not None:
            messages.insert(0, {"role": "system", "content": spec.system})
        if prompt is not None:
            messages.append({"role": "user", "content": prompt})
        body["messages"] = messages
    elif endpoint is Endpoint.RESPONSES:
        if spec.system is not None:
            body["instructions"] = spec.system
        body["input"] = spec.messages if spec.messages is not None else prompt or ""
    elif endpoint is Endpoint.COMPLETIONS:
        body["prompt"] = prompt or ""
    else:
        body["input"] = prompt or ""
    if spec.stream is not None:
        body["stream"] = spec.stream
    return body | spec.params


def _headers(spec: RequestSpec, body: bytes) -> Headers:
    """What an SDK sends anyway, then what the test says."""
    usual = {"Host": "127.0.0.1:4141", "Accept": "application/json"}
    if body:
        usual |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    if spec.encoding is not None:
        usual["Content-Encoding"] = spec.encoding
    usual["Authorization"] = CREDENTIAL
    given = {name.lower() for name in spec.headers}
    pairs = [(name.encode(), value.encode()) for name, value in usual.items() if name.lower() not in given]
    for name, values in spec.headers.items():
        if values != ABSENT:
            pairs += [(name.encode(), value.encode()) for value in values]
    return pairs
