"""The generated parts of the docs are what the models say."""

from __future__ import annotations

import pytest

from proxy.assembly.reference import BLOCKS, filled
from tests.generate import PAGES, stale


def test_the_generated_parts_are_up_to_date() -> None:
    assert [path.name for path in stale()] == [], "run make generate"


def test_a_block_that_is_out_of_date_is_made_anew() -> None:
    text = "before\n<!-- generated: limits -->\nold\n<!-- end -->\nafter"

    made = filled(text)

    assert "`exchanges`" in made
    assert "old" not in made
    assert made.startswith("before\n")
    assert made.endswith("after")


def test_every_block_that_can_be_made_stands_on_a_page() -> None:
    pages = "".join(page.read_text() for page in PAGES)

    assert [name for name in BLOCKS if f"<!-- generated: {name} -->" not in pages] == []


def test_a_block_that_nothing_makes_is_an_error() -> None:
    with pytest.raises(KeyError):
        filled("<!-- generated: nothing-of-the-kind -->\n<!-- end -->")
