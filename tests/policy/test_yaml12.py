from __future__ import annotations

import math
import time

import pytest

from proxy.policy.yaml12 import MAX_BYTES, parse


def said(text: str | bytes) -> list[str]:
    return [str(problem) for problem in parse(text, "p.yaml").problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("+5", 5),
        ("-0", 0),
        ("0o8", "0o8"),
        ("0xg", "0xg"),
        ("1.0", 1.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e-3", -0.0005),
        ("1e3", 1000.0),
        ("1e", "1e"),
        (".", "."),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("false", False),
        ("null", None),
        ("Null", None),
        ("~", None),
        ("NULL", None),
        (".inf", math.inf),
        ("+.INF", math.inf),
        ("-.Inf", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("2020-01-01", "2020-01-01"),
        ("=", "="),
        ("<<", "<<"),
        ('"5"', "5"),
        ("'true'", "true"),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("!!int 5", 5),
        ("!!float 5", 5.0),
        ("!!null ~", None),
        ("gpt-4.1*", "gpt-4.1*"),
        ("200ms", "200ms"),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(written: str, value: object) -> None:
    got = parse(f"a: {written}", "p.yaml")

    assert got.problems == []
    assert got.value["a"] == value
    assert type(got.value["a"]) is type(value)


def test_not_a_number_is_read() -> None:
    assert math.isnan(parse("a: .nan", "p.yaml").value["a"])


def test_a_key_that_yaml_1_1_would_take_for_a_truth_is_text() -> None:
    assert parse("on: 1\nno: 2", "p.yaml").value == {"on": 1, "no": 2}


def test_every_key_and_value_has_its_place() -> None:
    got = parse("a:\n  - b: x\n    c: [1, {d: 2}]\n", "p.yaml")

    assert got.values[("a", 0, "b")] == (2, 8)
    assert got.keys[("a", 0, "c")] == (3, 5)
    assert got.values[("a", 0, "c", 1, "d")] == (3, 16)
    assert str(got.place(("a", 0, "c", 1, "nowhere", 7))) == "p.yaml:3:12"
    assert str(got.place(("a", 0, "c"), of_key=True)) == "p.yaml:3:5"


def test_columns_count_characters_not_bytes() -> None:
    assert parse('{"é": "日本", b: 1}', "p.yaml").values[("b",)] == (1, 16)


def test_an_anchor_is_reused_and_a_merge_gives_way_to_what_is_written() -> None:
    got = parse("base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\na: *b\nc:\n  <<: [*b, *m]\n  x: 9\n", "p.yaml")

    assert got.problems == []
    assert got.value["a"] == {"x": 1, "y": 2}
    assert got.value["c"] == {"x": 9, "y": 2, "z": 4}
    assert got.values[("c", "z")] == (2, 20)


def test_a_merge_inside_a_merged_mapping_counts() -> None:
    assert parse("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}", "p.yaml").value["c"] == {"x": 1, "y": 2}


def test_a_byte_order_mark_and_crlf_change_nothing() -> None:
    got = parse("\ufeffa: 1\r\nb: 2\r\n".encode(), "p.yaml")

    assert (got.value, got.problems) == ({"a": 1, "b": 2}, [])
    assert got.keys[("b",)] == (2, 1)


def test_all_duplicates_and_tags_are_told_at_once() -> None:
    assert said("a: 1\nb: !x 2\na: 3\na: 4\n") == [
        "p.yaml:2:4: tag '!x' is not allowed; write the plain value",
        "p.yaml:3:1: duplicate key 'a' (first at line 1)",
        "p.yaml:4:1: duplicate key 'a' (first at line 1)",
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 500_000,
        "{a: " * 200_000,
        "- " * 300_000,
        "? " * 300_000,
        "&a " * 300_000,
        "!" * 900_000,
        '"' * 900_000,
        "'" * 900_001,
        "a: |\n" + " x\n" * 200_000 + "\tb",
        "a: &a [" + "x," * 1000 + "]\n" + "".join(f"k{i}: [*a, *a, *a]\n" for i in range(20_000)),
        "a: &a {x: 1}\n" + "".join(f"b{i}: &a {{<<: [*a, *a], y{i}: 1}}\n" for i in range(1_000)),
        "\n" * 1_000_000,
        "#" * 1_000_000,
        "a: " + "9" * 1_000_000,
        "a: 1e" + "9" * 1_000_000,
        "\x00" * 1000,
        "%TAG ! tag:x:\n---\n!a b",
    ],
    ids=lambda text: repr(text[:8]),
)
def test_a_hostile_file_gives_problems_in_bounded_time(hostile: str) -> None:
    began = time.perf_counter()
    problems = said(hostile)

    assert problems
    assert time.perf_counter() - began < 8


def test_a_file_over_the_limit_is_refused_unread() -> None:
    assert said(b"a" * (MAX_BYTES + 1)) == ["p.yaml:1:1: larger than 1 MiB; split it into several files"]


def test_a_text_from_memory_with_half_a_surrogate_pair_is_refused() -> None:
    assert said("a: \ud800") == ["p.yaml:1:4: character U+D800 is not allowed in YAML; remove it"]


def test_random_bytes_never_raise() -> None:
    import random

    draw = random.Random(7)
    signs = "\n\t -:[]{}&*!|>'\"%@`#,?a1~<\x85é\ud7ff"
    for _ in range(2_000):
        text = "".join(draw.choice(signs) for _ in range(draw.randint(0, 40)))
        parsed = parse(text, "p.yaml")

        assert parsed.problems or parsed.value is not None
        assert all(problem.line >= 1 and problem.column >= 1 for problem in parsed.problems)
