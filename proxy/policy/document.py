"""document -- policy files to one Loaded: read, validate, merge, or refuse with every problem of every file.

The top of `policy`: the floor above asks only this module for configuration. Costs milliseconds for a usual folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from proxy.policy.conditions import Condition
from proxy.policy.document_spec import LimitsSpec, PolicySpec, document_model
from proxy.policy.match import Compiler
from proxy.policy.match_spec import MatchSpec
from proxy.policy.problems import Path, Place, PolicyError, Problem, Severity, ordered
from proxy.policy.references import References
from proxy.policy.secrets import Env, ReadFile, read_file
from proxy.policy.source import Source, read_source, source_of
from proxy.policy.spec import Spec
from proxy.policy.upstreams import Upstream
from proxy.policy.yaml12 import MAX_BYTES, Parsed

MAX_FILES = 1000


@dataclass(slots=True, frozen=True)
class Policy:
    """One policy, ready to be compiled into layers."""

    name: str
    mode: str  # enforce, shadow, off
    labels: Mapping[str, str]
    match: MatchSpec
    condition: Condition
    apply: Mapping[str, Spec]  # by kind
    source: Source = field(repr=False)  # the file as it stands, written secrets too
    index: int = 0  # in its file

    def place(self, *path: str | int) -> Place:
        """Where `path` of it stands."""
        return self.source.place(("policies", self.index, *path))

    def problem(self, path: Path, message: str, hint: str = "", severity: Severity = Severity.ERROR) -> Problem:
        """A problem of it, for checks of the floors above."""
        return self.source.problem(("policies", self.index, *path), message, hint, severity)


@dataclass(slots=True, frozen=True)
class Signal:
    """One named condition. All of those that it names are sound."""

    name: str
    match: MatchSpec
    condition: Condition
    source: Source = field(repr=False)

    def problem(self, path: Path, message: str, hint: str = "", severity: Severity = Severity.ERROR) -> Problem:
        """A problem of it, for checks of the floors above."""
        return self.source.problem(("signals", self.name, *path), message, hint, severity)


@dataclass(slots=True, frozen=True)
class Loaded:
    """All files as one: what a pipeline is made of. Nothing in it is read from a file again but its secrets."""

    files: tuple[str, ...]
    upstreams: Mapping[str, Upstream]  # in order of declaration
    home: str | None  # where calls go by default; None when no upstream is declared
    signals: Mapping[str, Signal]
    policies: tuple[Policy, ...]  # in order of precedence, those that are off too
    limits: LimitsSpec
    warnings: tuple[Problem, ...]
    notes: tuple[Problem, ...]  # what is meant, and worth a word: `check` tells it, the log does not
    revision: str  # changes with any byte of any file


Check = Callable[[Loaded], Iterable[Problem]]
"""A check of a floor above: it may return errors and warnings."""


@dataclass(slots=True, frozen=True)
class Setting:
    """What loading needs besides the files."""

    kinds: Mapping[str, type[Spec]]
    env: Env
    no_secrets: bool = False  # a missing secret is a warning
    upstream: str | None = None  # home's url, over the files' own
    checks: Sequence[Check] = ()
    read_secret: ReadFile = read_file


def load(
    path: str | os.PathLike[str],
    kinds: Mapping[str, type[Spec]],
    env: Env,
    *,
    no_secrets: bool = False,
    upstream: str | None = None,
    checks: Sequence[Check] = (),
) -> Loaded:
    """A file, or a folder read flat in name order. Raises PolicyError with all problems of all files."""
    problems: list[Problem] = []
    texts: list[tuple[str, bytes]] = []
    for file in _files(os.fspath(path), problems):
        data = _bytes_of(file, problems)
        if data is not None:
            texts.append((_shown(file), data))
    return _build(texts, Setting(kinds, env, no_secrets, upstream, checks), problems)


def load_text(
    text: str | bytes,
    name: str,
    kinds: Mapping[str, type[Spec]],
    env: Env,
    *,
    no_secrets: bool = False,
    upstream: str | None = None,
    checks: Sequence[Check] = (),
) -> Loaded:
    """The same of a text that stands in no file of its own; `name` stands for it in problems. Raises PolicyError."""
    return load_texts([(name, text)], kinds, env, no_secrets=no_secrets, upstream=upstream, checks=checks)


def load_texts(
    texts: Iterable[tuple[str, str | bytes] | Parsed],
    kinds: Mapping[str, type[Spec]],
    env: Env,
    *,
    no_secrets: bool = False,
    upstream: str | None = None,
    checks: Sequence[Check] = (),
    read_secret: ReadFile = read_file,
) -> Loaded:
    """Several texts as one folder, in the order given; what was parsed elsewhere keeps its places there. Raises PolicyError."""
    given = [each if isinstance(each, Parsed) else (each[0], _encoded(each[1])) for each in texts]
    return _build(given, Setting(kinds, env, no_secrets, upstream, checks, read_secret), [])


def _encoded(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def policy_files(folder: str | os.PathLike[str]) -> list[str]:
    """The policy files of a folder in name order: `*.yaml` and `*.yml`, no `*.test.yaml`, no name with a leading dot. Raises OSError."""
    found: list[str] = []
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if name.startswith(".") or suffix not in (".yaml", ".yml") or stem.endswith(".test"):
            continue
        file = os.path.join(folder, name)
        if not os.path.isdir(file):
            found.append(file)
    return found


def _files(path: str, problems: list[Problem]) -> list[str]:
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return [path]
        files = policy_files(path)
        problems.extend(_folders_inside(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.append(Problem(_shown(path), 0, 0, "", f"cannot be read: {reason}"))
        return []
    if not files:
        hint = "policies are *.yaml or *.yml; *.test.yaml are tests, and names with a leading dot are skipped"
        problems.append(Problem(_shown(path), 0, 0, "", "there is no policy file in this folder", hint))
    if len(files) > MAX_FILES:
        problems.append(Problem(_shown(path), 0, 0, "", f"holds more than {MAX_FILES} policy files"))
        return []
    return files


def _folders_inside(folder: str) -> Iterator[Problem]:
    """A warning for each folder that is named like a policy file."""
    for name in sorted(os.listdir(folder)):
        file = os.path.join(folder, name)
        if name.endswith((".yaml", ".yml")) and not name.startswith(".") and os.path.isdir(file):
            hint = "move its files up"
            yield Problem(_shown(file), 0, 0, "", "is a folder: folders inside are not read", hint, Severity.WARNING)


def _shown(file: str) -> str:
    """A file's name for people: one that is not UTF-8 can be printed all the same."""
    return file.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _bytes_of(file: str, problems: list[Problem]) -> bytes | None:
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            problems.append(Problem(_shown(file), 0, 0, "", "is not a regular file"))
            return None
        with open(file, "rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        problems.append(Problem(_shown(file), 0, 0, "", f"cannot be read: {error.strerror}"))
        return None


def _build(texts: Sequence[tuple[str, bytes] | Parsed], setting: Setting, problems: list[Problem]) -> Loaded:
    model = document_model(setting.kinds)
    sources = [source_of(each, model) if isinstance(each, Parsed) else read_source(each[1], each[0], model) for each in texts]
    for source in sources:
        problems.extend(source.problems)
    references = References(sources, model, setting.upstream)
    upstreams = references.resolve(setting.env, setting.read_secret, setting.no_secrets)
    compiler = Compiler({name: spec for name, (spec, _) in references.sound_signals.items()})
    policies = tuple(
        _policy(source, index, spec, compiler)
        for source in sources
        for index, spec in source.policies
        if references.is_sound(source, index)
    )
    problems.extend(references.problems)
    loaded = Loaded(
        tuple(source.file for source in sources),
        upstreams,
        references.home,
        {name: Signal(name, spec, compiler.signal(name), source) for name, (spec, source) in references.sound_signals.items()},
        policies,
        references.limits,
        (),
        (),
        _revision(texts),
    )
    for check in setting.checks:
        problems.extend(check(loaded))
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise PolicyError(problems)
    told = ordered(problems)
    return replace(
        loaded,
        warnings=tuple(each for each in told if each.severity is Severity.WARNING),
        notes=tuple(each for each in told if each.severity is Severity.NOTE),
    )


def _revision(texts: Sequence[tuple[str, bytes] | Parsed]) -> str:
    """Of names without their folder, so that a mounted copy has the revision of its source."""
    digest = hashlib.sha256()
    for each in texts:
        file, data = (each.file, repr(each.value).encode("utf-8", "surrogatepass")) if isinstance(each, Parsed) else each
        name = os.path.basename(file).encode("utf-8", "surrogateescape")
        digest.update(b"%d:%s%d:%s" % (len(name), name, len(data), data))
    return digest.hexdigest()[:12]


def _policy(source: Source, index: int, spec: PolicySpec, compiler: Compiler) -> Policy:
    condition = compiler.condition(spec.match, owner=spec.name)
    return Policy(spec.name, spec.mode, spec.labels, spec.match, condition, spec.apply.kinds(), source, index)
