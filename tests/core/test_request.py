from __future__ import annotations

import pytest

from proxy.core.body import Body, Headers
from proxy.core.request import Framing, Request


def a_request(body: Body | None = None, minor: int = 1) -> Request:
    headers = [(b"Host", b"api"), (b"X-Two", b"first"), (b"x-two", b"second")]
    return Request(b"POST", b"/v1//a%2Fb?", minor, headers, Framing.CHUNKED, 0, body or Body())


@pytest.mark.parametrize(("name", "value"), [(b"host", b"api"), (b"x-two", b"first"), (b"x-none", None), (b"hos", None)])
def test_a_header_is_found_whatever_its_case_and_the_first_counts(name: bytes, value: bytes | None) -> None:
    assert a_request().header(name) == value


@pytest.mark.parametrize(("minor", "keep"), [(1, True), (0, False)])
def test_a_connection_is_kept_by_default_from_http_1_1_on(minor: int, keep: bool) -> None:
    assert a_request(minor=minor).keep is keep


def test_a_sender_that_waits_is_told_once_to_go_on() -> None:
    told: list[tuple[int, bytes, Headers]] = []
    request = a_request()
    request.expect = True
    request.interim = lambda status, reason, headers: told.append((status, reason, headers))
    request.go_on()
    request.go_on()

    assert told == [(100, b"Continue", [])]
    assert request.continued


@pytest.mark.parametrize("why", ["does not wait", "has sent it all"])
def test_a_sender_is_told_nothing_when_it(why: str) -> None:
    told: list[int] = []
    request = a_request(Body.of(b"all") if why == "has sent it all" else None)
    request.expect = why != "does not wait"
    request.interim = lambda status, reason, headers: told.append(status)
    request.go_on()

    assert told == []
    assert not request.continued


def test_a_derived_request_differs_in_what_was_said_and_nothing_else() -> None:
    request = a_request()
    changed = {"target": b"/x", "headers": [(b"A", b"b")], "framing": Framing.LENGTH, "length": 3, "body": Body.of(b"abc")}
    for name in set(Request.__slots__) - set(changed):  # `known` too, which speaks of the head as it came
        setattr(request, name, object())
    derived = request.derive(b"/x", [(b"A", b"b")], Framing.LENGTH, 3, body := Body.of(b"abc"))
    changed["body"] = body

    assert {name: getattr(derived, name) for name in changed} == changed
    assert [name for name in set(Request.__slots__) - set(changed) if getattr(derived, name) is not getattr(request, name)] == ["known"]
    assert derived.known is None
    assert request.derive(request.target, request.headers, request.framing, 7, body).known is request.known
    assert request.target == b"/v1//a%2Fb?"
