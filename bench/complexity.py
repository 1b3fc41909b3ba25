"""complexity -- fits the weights of the complexity score to labelled prompts, and says how good it is on prompts it has not seen.

`python -m bench.complexity` prints the tables; `--write` writes the weights file. Plain Python without chance: each run gives the same.
The model is a logistic regression with a penalty on large weights; each weight keeps the direction that its signal has by its meaning.
The word lists were written by people who had seen the prompts, so the fit sees each prompt again in copies from which a third of the known
words is taken out, and the threshold is set on such copies of prompts that the fit has not seen: prompts to come use words of no list.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import exp, log
from pathlib import Path
from statistics import median
from time import perf_counter

from proxy.openai.endpoints import Endpoint
from proxy.openai.payload import Payload
from proxy.policy import complexity_words
from proxy.policy.complexity import WEIGHTS_FILE, request_of, shipped
from proxy.policy.complexity_signals import SIGNALS, View, values, view
from proxy.policy.complexity_words import Found

DATA = Path(__file__).resolve().parent.parent / "tests/data"
LABELLED = "routing.jsonl"  # labelled by an expert of another team
TUNED = (LABELLED, "routing_more.jsonl")  # the weights are fitted to both; the second was written for it, by the same rules
HELD_OUT = "routing_held_out.jsonl"  # written when words and weights stood; never fitted to
PENALTY = 2.0
COPIES = 2  # of each prompt, with words taken out
LOST = 50  # percent of the known words that are taken out of a copy
FORMS = frozenset(("polite", "own", "situation", "bounds", "common"))  # closed classes: of these none is missing in the lists
MISSED = 0.035  # of the copies of complex prompts lie below the threshold
THRESHOLD = 0.4  # the score at that place
FOLDS = 6
LEAST_BEND = 0.02  # of a prompt that the model is sure of, so that no step is too wide

Model = tuple[float, Sequence[float]]  # intercept, weights


@dataclass(slots=True, frozen=True)
class Case:
    """A labelled prompt: the signals that are not zero, by their place; and the same for its copies."""

    name: str
    is_complex: bool
    why: str
    values: Mapping[int, float]
    copies: tuple[Mapping[int, float], ...]


def rows(path: Path) -> Iterator[dict[str, object]]:
    """The labelled prompts of a file."""
    for line in path.read_text("utf-8").splitlines():
        yield json.loads(line)


def payload(row: Mapping[str, object]) -> Payload:
    """The request of a labelled prompt."""
    body = {key: row[key] for key in ("messages", "tools", "response_format") if key in row}
    return Payload(json.dumps({"model": "m", **body}, ensure_ascii=False, separators=(",", ":")).encode(), Endpoint.CHAT)


def cases(*names: str) -> tuple[Case, ...]:
    """The labelled prompts of files in tests/data, looked at."""
    lexicon = complexity_words.load()
    found = []
    for row in chain.from_iterable(rows(DATA / name) for name in names):
        seen = view(request_of(payload(row)), lexicon)
        copies = tuple(_values(replace(seen, found=_poorer(seen.found, f"{row['id']} {copy}"))) for copy in range(COPIES))
        found.append(Case(str(row["id"]), row["label"] == "complex", str(row["why"]), _values(seen), copies))
    return tuple(found)


def _values(seen: View) -> dict[int, float]:
    found = values(seen)
    return {i: found[name] for i, name in enumerate(SIGNALS) if name in found}


def _poorer(found: Found, name: str) -> Found:
    """Without some of the words that it knows."""
    kept = {
        each: {at for at in places if each in FORMS or zlib.crc32(f"{name} {each} {at}".encode()) % 100 >= LOST}
        for each, places in found.places.items()
    }
    return Found(found.words, found.size, {each: places for each, places in kept.items() if places})


def fit(seen: Sequence[Case], start: Model | None = None) -> Model:
    """Intercept and weights. From any `start` to the same place: there is one best."""
    directions = [signal.direction for signal in SIGNALS.values()]
    given = [signal.given for signal in SIGNALS.values()]
    lines = [(found, case.is_complex) for case in seen for found in (case.values, *case.copies)]
    columns: list[list[tuple[int, float]]] = [[] for _ in directions]
    for at, (found, _) in enumerate(lines):
        for i, value in found.items():
            columns[i].append((at, value))
    intercept, weights = start[0] if start else 0.0, list(start[1]) if start else [0.0] * len(directions)
    weights = [weight if column else 0.0 for weight, column in zip(weights, columns, strict=True)]
    weights = [weight if fixed is None else fixed for weight, fixed in zip(weights, given, strict=True)]
    for _ in range(40):
        logits = [logit(found, (intercept, weights)) for found, _ in lines]
        chances = [_chance(z) for z in logits]
        bends = [max(chance * (1 - chance), LEAST_BEND) for chance in chances]
        left = [is_complex - chance for chance, (_, is_complex) in zip(chances, lines, strict=True)]  # what is not explained yet
        before = (intercept, *weights)
        for _ in range(8):
            moved = step = sum(left) / sum(bends)
            intercept += step
            left = [rest - bend * step for rest, bend in zip(left, bends, strict=True)]
            moved = abs(moved)
            for i, column in enumerate(columns):
                if given[i] is None and column:
                    step = _step(column, left, bends, weights[i], directions[i])
                    if step:
                        weights[i] += step
                        moved = max(moved, abs(step))
                        for at, value in column:
                            left[at] -= bends[at] * step * value
            if moved < 1e-3:
                break
        if max(abs(new - old) for new, old in zip((intercept, *weights), before, strict=True)) < 2e-3:
            break
    return intercept, tuple(weights)


def _step(column: list[tuple[int, float]], left: list[float], bends: list[float], weight: float, direction: int) -> float:
    """How far one weight moves, all others at rest, within its direction."""
    slope, bend = -PENALTY * weight, PENALTY
    for at, value in column:
        slope += value * left[at]
        bend += value * value * bends[at]
    new = weight + slope / bend
    return (max(0.0, new) if direction > 0 else min(0.0, new)) - weight


def _chance(logit: float) -> float:
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


def logit(found: Mapping[int, float], model: Model) -> float:
    """What the model says."""
    return model[0] + sum(model[1][i] * value for i, value in found.items())


def folds(seen: Sequence[Case], count: int, turn: int) -> list[list[Case]]:
    """Parts of equal size and equal shares of the labels, another division for each `turn`."""
    parts: list[list[Case]] = [[] for _ in range(count)]
    for label in (False, True):
        mine = sorted((case for case in seen if case.is_complex is label), key=lambda case: zlib.crc32(f"{turn} {case.name}".encode()))
        for i, case in enumerate(mine):
            parts[i % count].append(case)
    return parts


def unseen(seen: Sequence[Case], count: int = FOLDS, turn: int = 0, start: Model | None = None) -> Iterator[tuple[Case, Model]]:
    """Each prompt with a model that has not seen it nor its copies."""
    parts = folds(seen, count, turn)
    for i, part in enumerate(parts):
        start = fit([case for j, other in enumerate(parts) if j != i for case in other], start)
        for case in part:
            yield case, start


def place(judged: Iterable[tuple[Case, Model]]) -> float:
    """The threshold: below it lies the share MISSED of the copies of complex prompts, as models that have not seen them judge."""
    ordered = sorted(logit(copy, model) for case, model in judged if case.is_complex for copy in case.copies)
    return ordered[int(MISSED * len(ordered))]


@dataclass(slots=True, frozen=True)
class Figures:
    """Shares: of all prompts to the cheap model; of the complex ones sent there; of the simple ones not sent there."""

    cheap: float
    missed: float
    spared: float

    def __str__(self) -> str:
        return f"{self.cheap:5.1%} to the cheap model, {self.missed:5.1%} of the complex among them, {self.spared:5.1%} of the simple not"


def figures(below: Iterable[tuple[Case, bool]]) -> Figures:
    """The shares, of prompts and whether each lies below the threshold."""
    told = list(below)
    complex_ones = [is_below for case, is_below in told if case.is_complex]
    simple_ones = [is_below for case, is_below in told if not case.is_complex]
    return Figures(
        sum(is_below for _, is_below in told) / len(told),
        sum(complex_ones) / max(1, len(complex_ones)),
        1 - sum(simple_ones) / max(1, len(simple_ones)),
    )


def nested(seen: Sequence[Case], turn: int = 0, outer: int = FOLDS, inner: int = 5) -> list[tuple[Case, bool]]:
    """Whether each prompt lies below the threshold, where weights and threshold both come from other prompts than those they judge."""
    parts = folds(seen, outer, turn)
    told: list[tuple[Case, bool]] = []
    model: Model | None = None
    for i, part in enumerate(parts):
        rest = [case for j, other in enumerate(parts) if j != i for case in other]
        model = fit(rest, model)
        at = place(unseen(rest, inner, turn + 1, model))
        told += [(case, logit(case.values, model) < at) for case in part]
    return told


def calibrated(seen: Sequence[Case]) -> tuple[float, dict[str, float]]:
    """The base and the weights that are shipped: where the threshold stands in cross-validation, the score is THRESHOLD."""
    intercept, weights = fit(seen)
    at = place(unseen(seen))
    base = intercept - at + log(THRESHOLD / (1 - THRESHOLD))
    return round(base, 2), {name: round(weight, 2) for name, weight in zip(SIGNALS, weights, strict=True)}


def written(seen: Sequence[Case]) -> str:
    """The weights file."""
    base, weights = calibrated(seen)
    return json.dumps({"base": base, "weights": weights}, indent=2) + "\n"


def shipped_on(seen: Sequence[Case], below: float = THRESHOLD) -> Figures:
    """The figures of the weights file."""
    kept = json.loads(WEIGHTS_FILE.read_text("utf-8"))
    model = (kept["base"], tuple(kept["weights"][name] for name in SIGNALS))
    return figures((case, _chance(logit(case.values, model)) < below) for case in seen)


def speed(name: str) -> tuple[float, float]:
    """Median and 99th percentile of a score's microseconds, the reading of the texts included, over the prompts of a file."""
    scale = shipped()
    taken = []
    for row in rows(DATA / name):
        body = payload(row)
        body.value("messages")  # the body is parsed for any condition on it
        best = []
        for _ in range(5):
            begun = perf_counter()
            scale.score(request_of(body))
            best.append(perf_counter() - begun)
        taken.append(min(best) * 1e6)
    taken.sort()
    return median(taken), taken[int(0.99 * len(taken))]


def main() -> None:
    """Fits, prints, and writes where it is asked to."""
    parser = argparse.ArgumentParser(description="Fit the complexity score and say how good it is.")
    parser.add_argument("--write", action="store_true", help="write the weights file")
    parser.add_argument("--turns", type=int, default=5, help="divisions of the cross-validation (default 5)")
    asked = parser.parse_args()
    seen = cases(*TUNED)
    if asked.write:
        WEIGHTS_FILE.write_text(written(seen), "utf-8")
    print(f"nested cross-validation on {len(seen)} prompts; of those in {LABELLED}:")
    expert = {case.name for case in cases(LABELLED)}
    for turn in range(asked.turns):
        told = nested(seen, turn)
        print(f"  division {turn + 1}: {figures(one for one in told if one[0].name in expert)}; of all: {figures(told)}")
    print("the shipped weights:")
    for name in (*TUNED, HELD_OUT):
        print(f"  {name:24} {shipped_on(cases(name))}")
    print(f"the shipped weights on {HELD_OUT}, by threshold:")
    for below in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8):
        print(f"  below {below}: {shipped_on(cases(HELD_OUT), below)}")
    middle, worst = speed(LABELLED)
    print(f"a score takes {middle:.0f} µs (median), {worst:.0f} µs (99th percentile)")


if __name__ == "__main__":
    main()
