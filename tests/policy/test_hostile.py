"""Whatever a file says, loading it gives a Loaded or a PolicyError with places, and nothing else."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import yaml

from proxy.policy.document import Loaded, load_text
from proxy.policy.problems import PolicyError
from tests.policy.kinds_for_tests import KINDS
from tests.policy.test_document import EXAMPLE

JUNK: list[Any] = [
    None, True, False, 0, -1, 2**70, 1.5, float("inf"), "", " ", "x", "none", "${X}", "${", "chat", "2s", "5%", "https://a/v1", "é\u0301",
    "a" * 5000, [], [[]], [None], ["x"], [1], {}, {"x": 1}, {"": ""}, {"not": {"not": {}}}, {"signals": ["legal"]}, {"url": "https://a/v1"},
    {"below": 1}, {"any_of": ["a"]}, {"model": "m"}, [{"model": "m"}, 5], {"targets": {"model": None}}, {"equals": None, "present": None},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    out = [path]
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        out += places(each, (*path, key))
    return out


def mutated(value: Any, draw: random.Random) -> Any:
    value = copy.deepcopy(value)
    for _ in range(draw.randint(1, 4)):
        path = draw.choice([place for place in places(value) if place])
        parent = value
        for part in path[:-1]:
            parent = parent[part]
        action = draw.randint(0, 3)
        if action == 0 or isinstance(parent, list):
            parent[path[-1]] = copy.deepcopy(draw.choice(JUNK))
        elif action == 1:
            del parent[path[-1]]
            if not value:
                break
        elif action == 2:
            parent[draw.choice(["x", "match", "apply", "key", "any", "in", "not", "keywords", "url", "fallback"])] = draw.choice(JUNK)
        else:
            parent[path[-1] + "s"] = parent.pop(path[-1])
    return value


def outcome(text: str | bytes) -> Loaded | PolicyError:
    try:
        return load_text(text, "p.yaml", KINDS, {"GROQ_API_KEY": "k", "X": "x"})
    except PolicyError as error:
        return error


def test_a_mutated_policy_file_is_taken_or_refused_with_places() -> None:
    draw = random.Random(11)
    whole = yaml.safe_load(EXAMPLE)
    refused = 0
    for _ in range(1_500):
        wrong = mutated(whole, draw)
        got = outcome(json.dumps(wrong).replace("Infinity", ".inf"))

        if isinstance(got, PolicyError):
            refused += 1
            assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in got.problems), wrong
            assert all("\n" not in str(problem) and len(str(problem)) < 900 for problem in got.problems), wrong
    assert 800 < refused < 1_500


def test_a_cut_policy_file_is_taken_or_refused_with_places() -> None:
    for end in range(0, len(EXAMPLE), 3):
        got = outcome(EXAMPLE[:end].encode())

        assert isinstance(got, Loaded) or all(problem.line >= 1 for problem in got.problems)


def test_a_file_with_one_byte_changed_is_taken_or_refused_with_places() -> None:
    draw = random.Random(5)
    data = EXAMPLE.encode()
    for _ in range(600):
        at = draw.randrange(len(data))
        got = outcome(data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :])

        assert isinstance(got, Loaded) or all(problem.line >= 1 for problem in got.problems)
