"""Edits on bytes."""

from __future__ import annotations

import pytest

from proxy.openai.scan import members
from proxy.openai.splice import SHARED_BYTES, Splice, removals, spliced, written
from proxy.openai.unread import Unread


def test_every_byte_outside_of_the_splices_stays() -> None:
    pieces = spliced(b"0123456789", [Splice(5, 5, b"+"), Splice(1, 3, b"ab"), Splice(8, 10, b"")])

    assert b"".join(pieces) == b"0ab34+567"


def test_a_large_body_is_not_copied() -> None:
    raw = bytes(10 * SHARED_BYTES)

    pieces = spliced(raw, [Splice(3, 4, b"x")])

    assert [type(piece) for piece in pieces] == [bytes, bytes, memoryview]
    assert pieces[2].obj is raw  # type: ignore[union-attr]
    assert b"".join(pieces) == b"\0\0\0x" + raw[4:]


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        (["a"], b'{ "b" : 2 ,\n"c":3 }'),
        (["b"], b'{ "a":1, "c":3 }'),
        (["c"], b'{ "a":1, "b" : 2 }'),
        (["a", "b"], b'{ "c":3 }'),
        (["b", "c"], b'{ "a":1 }'),
        (["a", "c"], b'{ "b" : 2 }'),
        (["a", "b", "c"], b"{  }"),
        (["z"], b'{ "a":1, "b" : 2 ,\n"c":3 }'),
    ],
)
def test_members_go_with_the_comma_that_nobody_needs(keys: list[str], left: bytes) -> None:
    text = b'{ "a":1, "b" : 2 ,\n"c":3 }'

    assert b"".join(spliced(text, removals(members(text), keys))) == left


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("caf\u00e9", '"caf\u00e9"'.encode()),
        ({"a": [1, 0.5, None, True]}, b'{"a":[1,0.5,null,true]}'),
        ("\ud800", b'"\\ud800"'),
        (10**30, b"1" + b"0" * 30),
    ],
)
def test_a_value_is_written_as_json(value: object, text: bytes) -> None:
    assert written(value) == text


@pytest.mark.parametrize("value", [object(), {1, 2}, [10**30, float("nan")]])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(Unread, match="no JSON value"):
        written(value)
