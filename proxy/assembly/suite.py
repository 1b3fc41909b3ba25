"""suite -- a test file of policies, read: its cases, the policies of each, and every mistake in it with its place.

What is written wrong in a test file is an error and never a pass: an unknown key, a kind that no journal has, a policy that does not exist.
Policies are loaded once for all cases that share them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxy.assembly.load import Policies, load_texts
from proxy.assembly.stack import KINDS
from proxy.policy.case_spec import CaseSpec, SuiteSpec
from proxy.policy.expect_spec import EntrySpec, ExpectSpec, SentSpec
from proxy.policy.messages import in_file, problems_of, shown
from proxy.policy.problems import Path as At
from proxy.policy.problems import Place, PolicyError, Problem, Severity, did_you_mean, listed, ordered, problem_at, shortened
from proxy.policy.shape import unfold
from proxy.policy.yaml12 import MAX_BYTES, Parsed, parse

ENDING = ".test.yaml"
DEFAULT_URL = "https://upstream.test/v1"  # of home, where the policies declare none: `serve` is given it by --upstream
NOTED = frozenset(  # what the engine itself, `prime`, the upstream adapter, and kinds under another name write into a journal
    (
        *("body_too_large", "body_unread", "layer_fault", "not_replayable", "oddity", "retry_budget", "shadow_skipped", "shadowed"),
        *("breaker", "patience", "queued", "shed", "timeout", "too_late", "tries_spent", "unknown", "unreadable", "upstream"),
    )
)
_is_glob = re.compile(r"[*?]").search


@dataclass(slots=True, frozen=True)
class Case:
    """One case, ready to be played. `policies` is the PolicyError of those that are refused."""

    name: str
    index: int
    place: Place
    spec: CaseSpec
    policies: Policies | PolicyError
    own: bool  # its policies are not the file's


@dataclass(slots=True)
class Suite:
    """One test file. With `problems` none of its cases is played. `covers`: the policies under test, where they can be loaded."""

    file: str
    parsed: Parsed
    spec: SuiteSpec | None = None
    cases: list[Case] = field(default_factory=list)
    covers: Policies | None = None
    problems: tuple[Problem, ...] = ()

    def place(self, path: At, of_key: bool = False) -> Place:
        """Where `path` stands, or what is nearest around it."""
        return self.parsed.place(in_file(path, self.parsed.value)[0], of_key)


def policy_file_of(test_file: Path) -> Path | None:
    """The policies that a test file is about by its name, None where there are none."""
    stem = test_file.name.removesuffix(ENDING)
    return next((file for suffix in (".yaml", ".yml") if (file := test_file.with_name(stem + suffix)).is_file()), None)


def suite_file_of(policy_file: Path) -> Path:
    """Where the tests of a policy file stand."""
    return policy_file.with_name(policy_file.stem + ENDING)


def read_suite(path: Path) -> Suite:
    """Reads a test file and loads its policies."""
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        return Suite(str(path), Parsed(str(path)), problems=(Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}"),))
    return _Reader(path, parse(data, str(path))).read()


class _Reader:
    """Makes a Suite of what was parsed."""

    def __init__(self, path: Path, parsed: Parsed) -> None:
        self._path = path
        self._suite = Suite(str(path), parsed)
        self._problems: list[Problem] = []
        self._loaded: dict[object, Policies | PolicyError] = {}

    def read(self) -> Suite:
        """The suite, or its problems."""
        suite = self._suite
        suite.spec = self._spec()
        if suite.spec is not None:
            suite.cases = list(self._cases(suite.spec))
            self._check_names(suite.spec)
            self._check_words(suite.cases)
        suite.problems = ordered(self._problems)
        return suite

    def _problem(self, path: At, message: str, hint: str = "", of_key: bool = False) -> None:
        parsed = self._suite.parsed
        found = in_file(path, parsed.value)[0]
        self._problems.append(problem_at(parsed.place(found, of_key), found, message, hint))

    def _spec(self) -> SuiteSpec | None:
        parsed = self._suite.parsed
        if parsed.value is None:
            told = [problem for problem in parsed.problems if problem.message != "the file is empty"]
            self._problems.extend(told or [Problem(parsed.file, 1, 1, "", "the file is empty", "a test file has `cases`")])
            return None
        self._problems.extend(parsed.problems)
        if not isinstance(parsed.value, dict):
            self._problem((), f"must be a mapping, got {shown(parsed.value)}", "a test file has `cases`")
            return None
        unfolded, found = unfold(SuiteSpec, parsed.value)
        for path, message, hint in found:
            self._problem(path, message, hint)
        try:
            spec = SuiteSpec.read(unfolded)
        except ValidationError as error:
            self._problems.extend(problems_of(error, SuiteSpec, parsed, {path for path, _, _ in found}))
            return None
        return None if self._problems else spec

    # Policies

    def _cases(self, spec: SuiteSpec) -> Iterator[Case]:
        default = self._default(spec)
        self._suite.covers = default if isinstance(default, Policies) else None
        for index, case in enumerate(spec.cases):
            own = case.policies is not None
            at: At = ("cases", index, "policies") if own else ("policies",)
            given = case.policies if own else spec.policies
            policies = self._policies(given, at, {**spec.env, **case.env}) if own or case.env else default
            if policies is default and isinstance(default, PolicyError) and (case.expect is None or case.expect.problem is None):
                self._problems.extend(problem for problem in default.problems if problem.severity is Severity.ERROR)  # told once
            elif policies is not None:
                yield Case(case.name, index, self._suite.place(("cases", index, "name")), case, policies, own)

    def _default(self, spec: SuiteSpec) -> Policies | PolicyError | None:
        if all(case.policies is not None for case in spec.cases) and spec.policies is None and policy_file_of(self._path) is None:
            return None
        return self._policies(spec.policies, ("policies",), spec.env)

    def _policies(self, given: Any, at: At, env: Mapping[str, str]) -> Policies | PolicyError | None:
        """The policies that are meant. None where they cannot be found: then it is told."""
        key = (repr(given), tuple(sorted(env.items())))
        if key not in self._loaded:
            texts = self._texts(given, at)
            if texts is None:
                return None
            self._loaded[key] = _load(texts, env)
        return self._loaded[key]

    def _texts(self, given: Any, at: At) -> list[tuple[str, bytes | str] | Parsed] | None:
        parsed = self._suite.parsed
        if isinstance(given, dict):
            return [_part_of(parsed, in_file(at, parsed.value)[0], given)]
        if isinstance(given, str) and "\n" in given:
            return [(f"{parsed.file}: the policies at line {parsed.place(at).line}", given)]
        if given is None:
            file = policy_file_of(self._path)
            if file is None:
                name = self._path.name.removesuffix(ENDING) + ".yaml"
                self._problem((), f"there is no {name} beside it to be tested", "name the files under `policies`")
                return None
            files = [file]
        else:
            files = [self._path.parent / name for name in (given if isinstance(given, list) else [given])]
        texts: list[tuple[str, bytes | str] | Parsed] = []
        for place, file in enumerate(files):
            try:
                texts.append((str(file), file.read_bytes()[: MAX_BYTES + 1]))
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                self._problem((*at, place), f"the policy file {shortened(str(file))} cannot be read: {why}")
        return texts if len(texts) == len(files) else None

    # Names

    def _check_names(self, spec: SuiteSpec) -> None:
        first: dict[str, int] = {}
        for index, case in enumerate(spec.cases):
            if first.setdefault(case.name, index) != index:
                line = self._suite.place(("cases", first[case.name], "name")).line
                message = f"the name '{shortened(case.name)}' is taken by the case at line {line}"
                self._problem(("cases", index, "name"), message)

    def _check_words(self, cases: Iterable[Case]) -> None:
        """Whatever a case names must exist: an expectation about nothing would hold for ever."""
        for case in cases:
            if not isinstance(case.policies, Policies):
                continue
            names = _Names(case.policies)
            at: At = ("cases", case.index)
            self._check_known((*at, "upstreams"), case.spec.upstreams, names.upstreams, "upstream", of_key=True)
            self._check_expect((*at, "expect"), case.spec.expect, names)
            for place, step in enumerate(case.spec.steps or ()):
                self._check_known((*at, "steps", place, "upstreams"), step.upstreams, names.upstreams, "upstream", of_key=True)
                self._check_expect((*at, "steps", place, "expect"), step.expect, names)
        if self._suite.covers is not None and self._suite.spec is not None:
            known = _Names(self._suite.covers).upstreams
            self._check_known(("upstreams",), self._suite.spec.upstreams, known, "upstream", of_key=True)

    def _check_known(self, at: At, given: Iterable[str], known: Iterable[str], what: str, of_key: bool = False) -> None:
        for place, name in enumerate(given):
            if name not in known:
                hint = did_you_mean(name, known) or f"known: {listed(sorted(known)) or 'none'}"
                self._problem((*at, name if of_key else place), f"unknown {what} '{shortened(name)}'", hint, of_key)

    def _check_expect(self, at: At, expect: ExpectSpec | None, names: _Names) -> None:
        if expect is None:
            return
        for field_name in ("policies", "matched", "shadow"):
            self._check_known((*at, field_name), getattr(expect, field_name) or (), names.policies, "policy")
        for field_name in ("journal", "not_journal"):
            for place, entry in enumerate(getattr(expect, field_name) or ()):
                self._check_entry((*at, field_name, place), entry, names)
        if expect.upstream is not None:
            self._check_sent((*at, "upstream"), expect.upstream, names)
        for place, sent in enumerate(expect.exchanges if isinstance(expect.exchanges, tuple) else ()):
            self._check_sent((*at, "exchanges", place), sent, names)

    def _check_entry(self, at: At, entry: EntrySpec, names: _Names) -> None:
        kinds = {*KINDS, *NOTED}
        if entry.kind not in kinds:
            hint = did_you_mean(entry.kind, kinds) or f"known: {listed(sorted(kinds))}"
            self._problem((*at, "kind"), f"no journal has the kind '{shortened(entry.kind)}'", hint)
        if entry.policy is not None:
            self._check_one((*at, "policy"), entry.policy, names.policies, "policy")

    def _check_sent(self, at: At, sent: SentSpec, names: _Names) -> None:
        if sent.name is not None:
            self._check_one((*at, "name"), sent.name, names.upstreams, "upstream")
        if sent.to is not None:
            self._check_one((*at, "to"), sent.to.split(" ")[0], names.upstreams, "upstream")

    def _check_one(self, at: At, name: str, known: Iterable[str], what: str) -> None:
        if name not in known and not _is_glob(name):
            hint = did_you_mean(name, known) or f"known: {listed(sorted(known)) or 'none'}"
            self._problem(at, f"unknown {what} '{shortened(name)}'", hint)


class _Names:
    """What the policies of a case declare."""

    __slots__ = ("policies", "upstreams")

    def __init__(self, policies: Policies) -> None:
        self.policies = frozenset(policy.name for policy in policies.loaded.policies)
        self.upstreams = frozenset(policies.upstreams)


class _Placeholders(Mapping[str, str]):
    """The variables that a test gives; any other is its own name in angle brackets, so that no test needs a secret."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def __getitem__(self, name: str) -> str:
        return self._given.get(name, f"<{name}>")

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def _load(texts: list[tuple[str, bytes | str] | Parsed], env: Mapping[str, str]) -> Policies | PolicyError:
    """Files of keys and certificates need not be there."""
    variables = _Placeholders(env)
    try:
        policies = load_texts(texts, variables, no_secrets=True, read_secret=_placeholder)
        if not policies.upstreams:
            policies = load_texts(texts, variables, no_secrets=True, read_secret=_placeholder, upstream=DEFAULT_URL)
    except PolicyError as error:
        return error
    return policies


def _placeholder(path: str) -> bytes:
    return f"<{path}>".encode()


def _part_of(parsed: Parsed, at: At, value: Any) -> Parsed:
    """Policies that stand within a test file, as a file of their own whose places are there."""
    size = len(at)
    keys = {path[size:]: place for path, place in parsed.keys.items() if path[:size] == at and len(path) > size}
    values = {path[size:]: place for path, place in parsed.values.items() if path[:size] == at}
    return Parsed(parsed.file, value, keys, values)
