"""The generated parts of the docs are what the models say, and say it so that it can be read."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from proxy.assembly.reference import BLOCKS, Reference, filled
from proxy.assembly.schema import plain_schema
from proxy.assembly.stack import STACK
from proxy.core.faults import Fault
from proxy.policy.match_spec import MatchSpec
from proxy.policy.spec import Bytes, Json, OneOrMany, Percent, Seconds, Spec
from proxy.policy.upstreams import Name
from tests.generate import PAGES, stale


class InnerSpec(Spec):
    """A part of it."""

    size: Bytes = Field(4096, gt=0, description="How large.")
    share: Percent = Field(0.5, description="How many.")


class ShortSpec(Spec):
    """May be written as its wait."""

    shorthand: ClassVar[str | None] = "wait"
    wait: Seconds = Field(2.0, gt=0, le=3600, description="How long.", examples=["2s"])
    why: Fault | None = Field(None, description="Why.")


class OuterSpec(Spec):
    """All of it."""

    count: int = Field(ge=1, le=20_000, description="How many, `a|b`.")
    names: OneOrMany[Name] = Field(("x",), description="Who.")
    mode: Literal["one", "two"] = Field("one", description="Which.")
    part: InnerSpec = Field(default_factory=lambda: InnerSpec.read({}), description="The part.")
    parts: tuple[InnerSpec, ...] = Field((), description="Parts.")
    short: ShortSpec | None = Field(None, description="The short one.")
    by_name: dict[Name, Json] = Field(default_factory=dict, description="Any.")
    number: Annotated[int | float, Field(description="A number.", examples=[1, 2.5])] = 1


def rows(table: str) -> dict[str, list[str]]:
    """Key to the other cells of its row."""
    cells = [re.split(r" *(?<!\\)\| *", line)[1:-1] for line in table.splitlines() if line.startswith("| `")]
    return {each[0].strip("`"): each[1:] for each in cells}


def reference(model: type[Spec]) -> Reference:
    return Reference(plain_schema(model))


def test_the_generated_parts_are_up_to_date() -> None:
    assert [path.name for path in stale()] == [], "run make generate"


def test_types_defaults_and_bounds_are_told_in_words() -> None:
    table = rows(reference(OuterSpec).of().partition("\n\n")[0])

    assert table["count"] == ["whole number, 1 to 20,000", "**required**", r"How many, `a\|b`."]
    assert table["names"][:2] == ["name, or a list of them", "`[x]`"]
    assert table["mode"][:2] == ["`one` or `two`", "`one`"]
    assert table["part"][0] == "mapping (`size`, `share`)"
    assert table["parts"][:2] == ["list: mapping (`size`, `share`)", ""]
    assert table["short"][0] == "duration, or mapping (`wait`, `why`)"
    assert table["by_name"][0] == "mapping to any value"
    assert table["number"] == ["number", "`1`", "A number. Example: `1` or `2.5`."]


def test_what_is_inside_is_told_once_with_every_key_that_takes_it() -> None:
    text = reference(OuterSpec).of()

    assert text.count("A part of it.") == 1
    assert "`part`, `parts`: A part of it." in text
    assert rows(text)["size"] == ["size, more than 0B", "`4KiB`", "How large."]
    assert rows(text)["share"][:2] == ["share", "`50%`"]
    assert rows(text)["wait"] == ["duration, more than 0s, at most 1h", "`2s`", "How long. Example: `2s`."]
    assert rows(text)["why"][0].startswith("`connect`, `timeout`")


def test_every_condition_and_every_key_inside_one_is_told() -> None:
    told = rows(BLOCKS["match"]())

    for name, field in MatchSpec.model_fields.items():
        assert told[field.alias or name][0]
    assert {"below", "at_least", "any_of", "all_of", "none_of", "in", "equals", "present"} <= told.keys()


def test_every_kind_says_how_it_composes_and_what_it_needs() -> None:
    text = BLOCKS["kinds"]()
    sections = dict(zip(re.findall(r"^### (.+)$", text, re.M), re.split(r"^### .+$", text, flags=re.M)[1:], strict=True))

    assert list(sections) == list(dict.fromkeys(kind.name for kind in STACK))
    for kind in STACK:
        section = sections[kind.name]
        assert f"```yaml\napply: {{{kind.name}: " in section
        assert all(f"- {fact}: " in section for fact in ("Place", "Where several match", "In shadow", "Needs"))
        assert set(rows(section)) >= {field.alias or name for name, field in kind.spec.model_fields.items()}
    assert "the first in file order acts, alone" in sections["refuse"]
    assert "for each field" in sections["rewrite"]
    assert "all of them act" in sections["instruct"]
    assert "nothing of the body" in sections["refuse"]


def test_no_word_of_the_models_own_language_is_told() -> None:
    text = "".join(make() for make in BLOCKS.values())

    assert re.findall(r"\b(?:NoneType|tuple|dict|Optional|anyOf|\$ref|Spec|pydantic|Literal)\b", text) == []
    assert re.findall(r"\w+Spec\b", text) == []


def test_every_link_leads_to_a_heading_of_the_page() -> None:
    for page in PAGES:
        text = page.read_text()
        headings = {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", text, re.M)}

        assert {link for link in re.findall(r"\]\(#([^)]+)\)", text) if link not in headings} == set()


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
