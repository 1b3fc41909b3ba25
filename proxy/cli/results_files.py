"""results_files -- the outcome of `chassis test` for tools: JSON of our own, and the JUnit XML that CI systems read."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as Xml

import orjson

from proxy.assembly.coverage import Coverage
from proxy.assembly.heard import Heard
from proxy.assembly.sent import sent_as
from proxy.assembly.trial import Tried
from proxy.assembly.verdict import Verdict
from proxy.policy.problems import dotted

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").sub


def as_json(tried: Sequence[Tried], coverage: Coverage | None, took_s: float) -> bytes:
    """The whole run."""
    verdicts = [verdict for each in tried for verdict in each.verdicts]
    said: dict[str, Any] = {
        "passed": sum(verdict.passed for verdict in verdicts),
        "failed": sum(not verdict.passed for verdict in verdicts),
        "took_s": round(took_s, 3),
        "files": [_file(each) for each in tried],
    }
    if coverage is not None:
        lacking = [point for point in coverage.points() if not point.seen]
        said["coverage"] = {
            "percent": round(coverage.percent(), 1),
            "lacking": [{"policy": each.policy, "where": each.where, "what": each.what, "lacks": each.lacks} for each in lacking],
        }
    return orjson.dumps(said, option=orjson.OPT_INDENT_2, default=str)


def _file(tried: Tried) -> dict[str, Any]:
    problems = [problem.to_json() for problem in tried.suite.problems]
    return {"file": tried.suite.file, "problems": problems, "cases": [_case(verdict) for verdict in tried.verdicts]}


def _case(verdict: Verdict) -> dict[str, Any]:
    case = verdict.case
    return {
        "name": case.name,
        "line": case.place.line,
        "passed": verdict.passed,
        "took_ms": round(verdict.took_s * 1000, 2),
        "virtual_s": round(verdict.played.took_s, 6),
        "misses": [
            {"path": dotted(miss.path), "expected": miss.expected, "seen": miss.seen, **({"note": miss.note} if miss.note else {})}
            for miss in verdict.misses
        ],
        "refused": [problem.to_json() for problem in verdict.refused],
        "bugs": [{"what": what, "trace": "".join(traceback.format_exception(bug))} for what, bug in verdict.played.bugs],
        "calls": [_call(heard) for heard in verdict.played.heard],
    }


def _call(heard: Heard) -> dict[str, Any]:
    return {
        "exchanges": [{"to": sent_as(each), "status": each.status, "failure": each.failure} for each in heard.exchanges],
        "journal": [
            {"at_s": round(each.at - heard.begun, 6), "kind": each.kind, "policy": each.policy, "acted": each.acted, "shadow": each.shadow}
            | {"what": each.what}
            for each in heard.entries
        ],
        "status": heard.status,
        "left": heard.left,
        "broke": heard.broke,
    }


def as_junit(tried: Sequence[Tried], failures: Sequence[str], took_s: float) -> bytes:
    """The run as `testsuites`; `failures` are the texts of the cases that failed, in their order."""
    texts = iter(failures)
    root = Xml.Element("testsuites", name="chassis test", time=f"{took_s:.3f}")
    for each in tried:
        failed = sum(not verdict.passed for verdict in each.verdicts)
        errors = 1 if each.suite.problems else 0
        size = str(len(each.verdicts) + errors)
        suite = Xml.SubElement(root, "testsuite", name=each.suite.file, tests=size, failures=str(failed), errors=str(errors))
        if each.suite.problems:
            case = Xml.SubElement(suite, "testcase", classname=each.suite.file, name="the test file", file=each.suite.file, line="1")
            Xml.SubElement(case, "error", message="the test file is wrong").text = _clean("\n".join(map(str, each.suite.problems)))
        for verdict in each.verdicts:
            known = {"classname": each.suite.file, "name": _clean(verdict.case.name), "time": f"{verdict.took_s:.4f}"}
            known |= {"file": each.suite.file, "line": str(verdict.case.place.line)}
            case = Xml.SubElement(suite, "testcase", known)
            if not verdict.passed:
                Xml.SubElement(case, "failure", message=_clean(_in_short(verdict))).text = _clean(next(texts))
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _in_short(verdict: Verdict) -> str:
    if verdict.played.bugs:
        return verdict.played.bugs[0][0]
    if verdict.refused:
        return "the policies are refused"
    miss = verdict.misses[0]
    return f"{dotted(miss.path)}: expected {miss.expected}, seen {miss.seen}"


def _clean(text: str) -> str:
    """Without what XML cannot carry."""
    return _NO_XML("\ufffd", text)
