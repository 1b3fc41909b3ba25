"""A request of a test file becomes the bytes that an SDK would send."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from proxy.assembly.asking import asked
from proxy.core.request import Framing
from proxy.policy.case_spec import RequestSpec
from proxy.policy.shape import unfold


def of(**fields: Any) -> Any:
    value, found = unfold(RequestSpec, fields)
    assert not found
    return asked(RequestSpec.read(value))


@pytest.mark.parametrize(
    ("fields", "target", "body"),
    [
        ({"prompt": "Hi"}, b"/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}),
        (
            {"model": "m", "system": "Be brief.", "prompt": {"text": "a ", "times": 3}, "stream": True, "params": {"n": 1}},
            b"/v1/chat/completions",
            {
                "model": "m",
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a a a "}],
                "stream": True,
                "n": 1,
            },
        ),
        (
            {"endpoint": "responses", "system": "Be brief.", "prompt": "Hi"},
            b"/v1/responses",
            {"model": "gpt-4o", "instructions": "Be brief.", "input": "Hi"},
        ),
        ({"endpoint": "completions", "prompt": "Hi"}, b"/v1/completions", {"model": "gpt-4o", "prompt": "Hi"}),
        ({"endpoint": "embeddings", "prompt": "Hi"}, b"/v1/embeddings", {"model": "gpt-4o", "input": "Hi"}),
        ({"body": {"model": "m", "x": None}}, b"/v1/chat/completions", {"model": "m", "x": None}),
        (
            {"messages": [{"role": "user", "content": "a"}]},
            b"/v1/chat/completions",
            {"model": "gpt-4o", "messages": [{"role": "user", "content": "a"}]},
        ),
    ],
)
def test_the_short_form_is_written_out(fields: dict[str, Any], target: bytes, body: dict[str, Any]) -> None:
    found = of(**fields)

    assert (found.method, found.target) == (b"POST", target)
    assert json.loads(found.body) == body


def test_a_body_that_is_text_is_sent_as_it_stands() -> None:
    assert of(body="{not json").body == b"{not json"
    assert of(body="").body == b""


def test_a_request_without_a_body_is_a_get() -> None:
    found = of(path="/v1/models?limit=1")

    assert (found.method, found.target, found.body) == (b"GET", b"/v1/models?limit=1", b"")
    assert found.request().framing is Framing.NONE
    assert b"Content-Type" not in dict(found.headers)


def test_headers_of_a_test_replace_those_of_an_sdk_or_take_them_out() -> None:
    found = of(prompt="Hi", headers={"Authorization": "absent", "CONTENT-TYPE": "text/plain", "x-a": ["1", "2"]})
    names = [name.lower() for name, _ in found.headers]

    assert b"authorization" not in names
    assert [value for name, value in found.headers if name.lower() == b"content-type"] == [b"text/plain"]
    assert [value for name, value in found.headers if name == b"x-a"] == [b"1", b"2"]


def test_a_body_may_be_compressed() -> None:
    packed = of(prompt="Hi", encoding="gzip")

    assert json.loads(gzip.decompress(packed.body)) == json.loads(of(prompt="Hi").body)
    assert dict(packed.headers)[b"Content-Encoding"] == b"gzip"
    assert dict(packed.headers)[b"Content-Length"] == b"%d" % len(packed.body)
    assert zlib.decompress(of(prompt="Hi", encoding="deflate").body) == of(prompt="Hi").body
