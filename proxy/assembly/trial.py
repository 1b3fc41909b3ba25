"""trial -- the test files of a path, and their cases run: what `chassis test` does, without its words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from proxy.assembly.coverage import Coverage
from proxy.assembly.load import Policies
from proxy.assembly.rehearse import rehearse
from proxy.assembly.suite import Case, Suite
from proxy.assembly.verdict import Verdict, of_calls, of_policies
from proxy.policy.document import policy_files

ENDINGS = (".test.yaml", ".test.yml")
Wanted = Callable[[Suite, Case], bool]


@dataclass(slots=True)
class Found:
    """What is at a path. `untested`: policy files that have no test file."""

    tests: list[Path] = field(default_factory=list)
    untested: list[Path] = field(default_factory=list)


@dataclass(slots=True)
class Tried:
    """One test file, run. Cases that were not wanted are not in it."""

    suite: Suite
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether all of it is as expected."""
        return not self.suite.problems and all(verdict.passed for verdict in self.verdicts)


def is_test_file(path: Path) -> bool:
    """Whether a name is that of a test file."""
    return path.name.endswith(ENDINGS)


def find(path: Path) -> Found:
    """The test files at a path: itself, the one of a policy file, or those of a folder, read flat in name order. Raises OSError."""
    if not path.is_dir():
        path.stat()
        if is_test_file(path):
            return Found([path])
        return _of_policies([path])
    found = _of_policies([Path(file) for file in policy_files(path)])
    others = (file for file in path.iterdir() if is_test_file(file) and not file.name.startswith(".") and not file.is_dir())
    return Found(sorted({*found.tests, *others}), found.untested)


def _of_policies(files: list[Path]) -> Found:
    found = Found()
    for file in files:
        test = next((each for ending in ENDINGS if (each := file.with_name(file.stem + ending)).is_file()), None)
        if test is None:
            found.untested.append(file)
        else:
            found.tests.append(test)
    return found


def run(suite: Suite, wanted: Wanted, coverage: Coverage | None = None) -> Iterator[Verdict]:
    """The cases of a suite, one by one as they are asked for; none where the file itself is wrong."""
    if coverage is not None and suite.covers is not None:
        coverage.declare(suite.covers)
    for case in suite.cases if not suite.problems else ():
        if wanted(suite, case):
            yield judge(suite, case, coverage)


def judge(suite: Suite, case: Case, coverage: Coverage | None = None) -> Verdict:
    """Plays one case and compares."""
    assert suite.spec is not None
    begun = perf_counter()
    verdict = Verdict(case)
    verdict.misses, verdict.refused = of_policies(case)
    is_played = case.spec.request is not None or case.spec.steps is not None
    if isinstance(case.policies, Policies) and is_played:
        explains = coverage is not None and not case.own
        verdict.played = rehearse(case.policies, suite.spec, case.spec, explains=explains)
        verdict.misses.extend(of_calls(case, verdict.played))
        for heard in verdict.played.heard:
            if coverage is not None and heard.explained:
                coverage.add(case.policies.rules, heard.explained)
    verdict.took_s = perf_counter() - begun
    return verdict
