"""test -- runs the cases that stand beside policy files, through the proxy itself on virtual time, and says what is not as expected."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import click

from proxy.assembly.coverage import Coverage
from proxy.assembly.suite import Case, Suite, read_suite, suite_file_of
from proxy.assembly.trial import Tried, find, run
from proxy.cli import results, results_files
from proxy.cli.options import no_secrets, of_variable, policies_argument
from proxy.cli.selection import Test, Unclear, selection


class _Selected(click.ParamType):  # type: ignore[type-arg]
    name = "EXPR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Test:
        if callable(value):
            return value
        try:
            return selection(str(value))
        except Unclear as unclear:
            self.fail(f"{value!r} cannot be read: {unclear}", param, ctx)


@click.command()
@policies_argument
@click.option(
    "--select",
    "-k",
    "wanted",
    type=_Selected(),
    **of_variable("SELECT"),
    help="Only cases whose file or name has these words; with and, or, not and ( ).",
)
@click.option("--exitfirst", "-x", "stops", is_flag=True, **of_variable("EXITFIRST"), help="Stop at the first failure.")
@click.option("--verbose", "-v", is_flag=True, **of_variable("VERBOSE"), help="Tell each case.")
@click.option(
    "--coverage",
    "lists",
    is_flag=True,
    **of_variable("COVERAGE"),
    help="List the policies, conditions and settings that no case shows.",
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    **of_variable("MIN_COVERAGE"),
    help="Fail where less than this is shown.",
)
@click.option("--require-tests", is_flag=True, **of_variable("REQUIRE_TESTS"), help="Fail where a policy file has no test file.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    **of_variable("FORMAT"),
    help="For people, for tools, or for CI.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    **of_variable("OUTPUT"),
    help="Write the report there, and text here.",
)
@no_secrets
def test(
    path: Path,
    wanted: Test | None,
    stops: bool,
    verbose: bool,
    lists: bool,
    min_coverage: float | None,
    require_tests: bool,
    style: str,
    output: Path | None,
    no_secrets: bool,
) -> None:
    """Run the tests of the policies in PATH: a folder, a policy file (its NAME.test.yaml), or a test file.

    No test needs a secret: each ${NAME} that a test file does not set under `env` is <NAME>.

    Exit codes: 0 all is as expected, 1 it is not, a test file is wrong, or too little is tested, 2 usage.
    """
    begun = perf_counter()
    try:
        found = find(path)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None
    speaks = style == "text" or output is not None
    coverage = Coverage() if wanted is None else None
    tried: list[Tried] = []
    for file in found.tests:
        tried.append(_one(file, wanted, coverage, stops))
        if speaks:
            _tell(tried[-1], verbose)
        if stops and not tried[-1].passed:
            break
    _warn_untested(found.untested, require_tests)
    nothing = not any(each.verdicts or each.suite.problems for each in tried)
    took_s = perf_counter() - begun
    if not nothing and speaks:
        _conclude(tried, coverage, lists, took_s)
    if style != "text" or output is not None:
        _write(style, output, tried, coverage, took_s)
    if nothing:
        why = f"no case of {path} has what -k says" if wanted is not None and found.tests else f"{path} has no test file"
        click.echo(f"{why}; tests stand beside policies, in NAME.test.yaml", err=True)
    low = coverage is not None and min_coverage is not None and coverage.percent() < min_coverage
    if low and coverage is not None:
        click.echo(f"coverage is {coverage.percent():.1f} %, and at least {min_coverage:g} % is asked for", err=True)
    failed = nothing or low or (require_tests and found.untested) or not all(each.passed for each in tried)
    sys.exit(1 if failed else 0)


def _one(file: Path, wanted: Test | None, coverage: Coverage | None, stops: bool) -> Tried:
    def is_wanted(suite: Suite, case: Case) -> bool:
        return wanted is None or wanted(f"{file.name} {case.name}")

    tried = Tried(read_suite(file))
    for verdict in run(tried.suite, is_wanted, coverage):
        tried.verdicts.append(verdict)
        if stops and not verdict.passed:
            break
    return tried


def _tell(tried: Tried, verbose: bool) -> None:
    if not tried.verdicts and not tried.suite.problems:
        return
    click.echo(results.file_line(tried))
    for problem in tried.suite.problems:
        click.echo(f"  {problem}")
    for verdict in tried.verdicts:
        if verbose:
            click.echo(results.case_line(verdict))
        if not verdict.passed:
            click.echo("\n".join(results.failure(tried, verdict)))


def _warn_untested(files: Sequence[Path], is_error: bool) -> None:
    for file in files:
        warning = "" if is_error else "warning: "
        click.echo(f"{file}: {warning}no test file; write {suite_file_of(file).name} beside it", err=True)


def _conclude(tried: Sequence[Tried], coverage: Coverage | None, lists: bool, took_s: float) -> None:
    if coverage is not None and any(each.verdicts for each in tried):
        line = results.coverage_line(coverage)
        click.echo(line if lists or line.endswith("%") else f"{line} (--coverage lists them)")
        if lists:
            click.echo("".join(f"  {line}\n" for line in results.coverage_table(coverage)), nl=False)
    click.echo(results.summary(tried, took_s))


def _write(style: str, output: Path | None, tried: Sequence[Tried], coverage: Coverage | None, took_s: float) -> None:
    failures = [
        click.unstyle("\n".join(results.failure(each, verdict))) for each in tried for verdict in each.verdicts if not verdict.passed
    ]
    if style == "json":
        data = results_files.as_json(tried, coverage, took_s)
    elif style == "junit":
        data = results_files.as_junit(tried, failures, took_s)
    else:
        lines = [*(click.unstyle(results.file_line(each)) for each in tried), *failures, click.unstyle(results.summary(tried, took_s))]
        data = "\n".join(lines).encode()
    if output is None:
        click.echo(data)
        return
    try:
        output.write_bytes(data + b"\n")
    except OSError as error:
        raise click.UsageError(f"{output} cannot be written: {error.strerror}") from None
