"""Whatever a JSON text looks like, members and elements are found where the standard parser sees them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.openai.scan import elements_at, members
from tests.properties.json_texts import json_texts, objects

QUICK = settings(max_examples=500, deadline=None, derandomize=True)


@QUICK
@given(objects())
def test_members_are_those_of_the_standard_parser_in_order_with_repeats(text: str) -> None:
    pairs: list[list[tuple[str, Any]]] = []
    json.loads(text, object_pairs_hook=lambda found: pairs.append(found) or dict(found))
    raw = text.encode()
    found = members(raw)

    assert [member.key for member in found] == [key for key, _ in pairs[-1]]
    for member, (key, value) in zip(found, pairs[-1], strict=True):
        assert json.loads(raw[member.start : member.value].decode().strip().rstrip(": \t\n\r")) == key
        assert repr(json.loads(raw[member.value : member.end])) == repr(value)


@QUICK
@given(st.lists(json_texts(), max_size=5), st.sampled_from(["", " ", "\n\t"]))
def test_elements_are_those_that_were_written(items: list[str], gap: str) -> None:
    latin = f"x[{gap}{f'{gap},{gap}'.join(items)}{gap}]y".encode().decode("latin-1")

    assert [latin[start:end].encode("latin-1").decode() for start, end in elements_at(latin, 1)] == items


@QUICK
@given(objects(), st.integers(0, 400), st.sampled_from(["", '"', "\\", "}", "{", ",", ":", "x", "\x00", "\ufeff", "[", "]"]))
def test_a_damaged_text_is_read_only_where_the_standard_parser_reads_it(text: str, at: int, scrap: str) -> None:
    at = at % len(text)
    damaged = text[:at] + scrap + text[at + 1 :]
    try:
        value = json.loads(damaged)
    except ValueError:
        value = None
    try:
        keys = [member.key for member in members(damaged.encode())]
    except ValueError:
        assert not isinstance(value, dict)
    else:
        assert isinstance(value, dict)
        assert list(dict.fromkeys(keys)) == list(value)
