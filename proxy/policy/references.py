"""references -- what names what, over all files: duplicates, unknown names, cycles, home, targets without a key, secrets.

Stands over the single files and under `document`; works on the parts that are valid, so that one mistake hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import get_args

from pydantic import ValidationError

from proxy.policy.document_spec import DocumentSpec, LimitsSpec
from proxy.policy.match_spec import MatchSpec
from proxy.policy.named import secrets_in, signals_in, upstreams_in
from proxy.policy.problems import Path, Place, Problem, Severity, did_you_mean, listed, shortened
from proxy.policy.secrets import Env, Missing, ReadFile, Secret, check_references, has_reference
from proxy.policy.source import Source
from proxy.policy.units import Wrong
from proxy.policy.upstreams import Resolver, Upstream, UpstreamSpec, is_plain_key

MAX_SIGNAL_DEPTH = 16  # signals that name signals that name …
FLAG = "--upstream"


class References:
    """The merge of several files. `problems` is complete after `resolve`."""

    def __init__(self, sources: Sequence[Source], model: type[DocumentSpec], upstream: str | None) -> None:
        """`model`: of a file; `upstream`: home's url, over the files' own."""
        self.problems: list[Problem] = []
        self.limits = LimitsSpec.read({})
        self._sources = sources
        self._upstreams: dict[str, tuple[UpstreamSpec, Source | None]] = {}
        self._signals: dict[str, tuple[MatchSpec, Source]] = {}
        self._unsound: set[tuple[str, int]] = set()
        self._used_upstreams: set[str] = set()
        self._known_upstreams = {name for source in sources for name in source.names("upstreams")}
        self._known_signals = {name for source in sources for name in source.names("signals")}
        self._merge()
        self.home = self._home(upstream)
        self.sound_signals = self._check_signals()
        self._check_policies()
        self._check_wrong_parts(model)
        self._warn_unused()

    def is_sound(self, source: Source, index: int) -> bool:
        """Whether a policy can be compiled: its name is its own, and its signals exist."""
        return (source.file, index) not in self._unsound

    def resolve(self, env: Env, read: ReadFile, no_secrets: bool) -> dict[str, Upstream]:
        """The upstreams with their secrets."""
        severity = Severity.WARNING if no_secrets else Severity.ERROR
        out: dict[str, Upstream] = {}
        for name, (spec, source) in self._upstreams.items():
            resolver = Resolver(env, read)
            folder = FilePath(source.file).parent if source is not None else FilePath()
            out[name] = resolver.resolve(name, spec, folder, name == self.home)
            if source is None:
                continue
            at: Path = ("upstreams", name)
            self.problems.extend(source.problem((*at, *path), message, "", severity) for path, message in resolver.missing)
            self.problems.extend(source.problem((*at, *path), message, hint) for path, message, hint in resolver.wrong)
            if is_plain_key(spec):
                hint = "use ${NAME} or ${file:/path}"
                self.problems.append(source.problem((*at, "key"), "the key itself stands in the file", hint, Severity.WARNING))
        self.problems.extend(self._missing_of_wrong(env, read, severity))
        return out

    def _missing_of_wrong(self, env: Env, read: ReadFile, severity: Severity) -> Iterator[Problem]:
        for source in self._sources:
            for path, upstream in source.wrong_parts("upstreams"):
                for inside, text in secrets_in(upstream):
                    if not has_reference(text):
                        continue
                    try:
                        Secret(check_references(text), env, read)
                    except Missing as missing:
                        yield source.problem((*path, *inside), str(missing), "", severity)
                    except Wrong:
                        continue  # told already

    # Names

    def _merge(self) -> None:
        limits: tuple[LimitsSpec, Source] | None = None
        for source in self._sources:
            for name, upstream in source.upstreams.items():
                first = self._upstreams.setdefault(name, (upstream, source))
                if first[0] != upstream and first[1] is not None:
                    self._otherwise(source, first[1], ("upstreams", name))
            for name, signal in source.signals.items():
                before = self._signals.setdefault(name, (signal, source))
                if before[0] != signal:
                    self._otherwise(source, before[1], ("signals", name))
            if source.limits is not None:
                if limits is None:
                    limits = (source.limits, source)
                    self.limits = source.limits
                elif limits[0] != source.limits:
                    self._otherwise(source, limits[1], ("limits",))

    def _otherwise(self, source: Source, first: Source, path: Path) -> None:
        where = first.place(path, of_key=True)
        self.problems.append(source.problem(path, f"already set otherwise at {where}", "names are global to a folder", of_key=True))

    def _home(self, url: str | None) -> str | None:
        declared = [name for source in self._sources for name in source.names("upstreams")]
        home = "default" if "default" in declared else declared[0] if declared else None
        if url is None:
            return home
        home = home or "default"
        spec, source = self._upstreams.get(home, (None, None))
        if home in declared and spec is None:
            return home  # it is wrong, and its problems are told
        try:
            given = spec.model_dump(exclude_unset=True) if spec is not None else {}
            changed = UpstreamSpec.model_validate({**given, "url": url})
        except ValidationError as error:
            for each in error.errors(include_url=False):
                wrong = (each.get("ctx") or {}).get("error")
                hint = wrong.hint if isinstance(wrong, Wrong) else ""
                self.problems.append(Problem(FLAG, 0, 0, "", str(wrong or each["msg"]), hint))
            return home
        self._upstreams[home] = (changed, source)
        return home

    # Signals

    def _check_signals(self) -> dict[str, tuple[MatchSpec, Source]]:
        """Those whose every reference leads to a sound signal."""
        self._heights: dict[str, int | None] = {}
        for name in self._signals:
            self._height(name, ())
        return {name: signal for name, signal in self._signals.items() if self._heights.get(name) is not None}

    def _height(self, name: str, above: tuple[str, ...]) -> int | None:
        """How many signals deep a signal goes; None for one that cannot be used, its problem told."""
        if name in self._heights:
            return self._heights[name]
        spec, source = self._signals[name]
        height: int | None = 1
        for path, other in references(spec):
            at: Path = ("signals", name, *path)
            if other == name or other in above:
                ring = (*above, name)
                ring = (*ring[ring.index(other) :], other)
                self.problems.append(source.problem(at, f"signals go in a circle: {' -> '.join(ring)}"))
                inner = None
            elif other not in self._signals:
                self._unknown(source, at, "signal", other, self._known_signals)
                inner = None
            elif len(above) >= MAX_SIGNAL_DEPTH:
                self.problems.append(source.problem(at, f"signals name each other more than {MAX_SIGNAL_DEPTH} deep"))
                inner = None
            else:
                inner = self._height(other, (*above, name))
                if inner is not None and inner >= MAX_SIGNAL_DEPTH:
                    self.problems.append(source.problem(at, f"signals name each other more than {MAX_SIGNAL_DEPTH} deep"))
                    inner = None
            height = None if inner is None or height is None else max(height, inner + 1)
        self._heights[name] = height
        return height

    def _unknown(self, source: Source, path: Path, what: str, name: str, known: set[str]) -> None:
        """Told only where no file declares it, so that a mistake in the declaration is told once."""
        if name not in known:
            hint = did_you_mean(name, known) or (f"declared: {listed(sorted(known))}" if known else f"no {what} is declared")
            self.problems.append(source.problem(path, f"unknown {what} '{shortened(name)}'", hint))

    # Policies

    def _check_policies(self) -> None:
        taken: dict[str, Place] = {}
        for source in self._sources:
            for index, name in source.policy_names():
                at: Path = ("policies", index)
                place = source.place((*at, "name"))
                first = taken.setdefault(name, place)
                if first is not place:
                    self._unsound.add((source.file, index))
                    self.problems.append(source.problem((*at, "name"), f"the name '{shortened(name)}' is taken by the policy at {first}"))
            for index, policy in source.policies:
                at = ("policies", index)
                for path, signal in references(policy.match):
                    if signal not in self.sound_signals:
                        self._unsound.add((source.file, index))
                        self._unknown(source, (*at, "match", *path), "signal", signal, self._known_signals)
                for kind, spec in policy.apply.kinds().items():
                    for inside, name in spec.upstreams():
                        self._target(source, (*at, "apply", kind, *inside), name)

    def _check_wrong_parts(self, model: type[DocumentSpec]) -> None:
        """What a part that is wrong elsewhere names: else it would be told only when the rest is mended."""
        (policy_model, _) = get_args(model.model_fields["policies"].annotation)
        for source in self._sources:
            for path, signal in source.wrong_parts("signals"):
                for inside, name in signals_in(signal):
                    self._unknown(source, (*path, *inside), "signal", name, self._known_signals)
            for path, policy in source.wrong_parts("policies"):
                for inside, name in signals_in(policy.get("match") if isinstance(policy, dict) else None, ("match",)):
                    self._unknown(source, (*path, *inside), "signal", name, self._known_signals)
                for inside, name in upstreams_in(policy_model, policy):
                    self._target(source, (*path, *inside), name)

    def _target(self, source: Source, path: Path, name: str) -> None:
        self._used_upstreams.add(name)
        if name not in self._upstreams:
            self._unknown(source, path, "upstream", name, self._known_upstreams)
            return
        spec, declared_in = self._upstreams[name]
        if name != self.home and spec.key is None and declared_in is not None:
            where = declared_in.place(("upstreams", name), of_key=True)
            message = f"upstream '{name}' ({where}) has no key, and the caller's own goes to home alone"
            self.problems.append(source.problem(path, message, "give it a `key`, or `key: none` where it needs none"))

    def _warn_unused(self) -> None:
        told = [problem for source in self._sources for problem in source.problems] + self.problems
        if any(problem.severity is Severity.ERROR for problem in told):
            return  # what a broken policy uses is not known
        used: set[str] = set()
        waiting = [signal for source in self._sources for _, policy in source.policies for _, signal in references(policy.match)]
        while waiting:
            name = waiting.pop()
            if name not in used and name in self._signals:
                used.add(name)
                waiting.extend(other for _, other in references(self._signals[name][0]))
        for name, (_, source) in self._signals.items():
            if name not in used:
                self.problems.append(source.problem(("signals", name), "no policy uses this signal", "", Severity.WARNING, of_key=True))
        for name, (_, declared_in) in self._upstreams.items():
            if name != self.home and name not in self._used_upstreams and declared_in is not None:
                message = "no policy sends calls to this upstream"
                self.problems.append(declared_in.problem(("upstreams", name), message, "", Severity.WARNING, of_key=True))


def references(spec: MatchSpec) -> Iterator[tuple[Path, str]]:
    """The signals that a match names, each with its path inside."""
    for i, name in enumerate(spec.signals or ()):
        yield ("signals", i), name
    for key, group in (("all", spec.all), ("any", spec.any)):
        for i, each in enumerate(group or ()):
            for path, name in references(each):
                yield (key, i, *path), name
    if spec.not_ is not None:
        for path, name in references(spec.not_):
            yield ("not", *path), name
