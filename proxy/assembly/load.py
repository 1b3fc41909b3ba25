"""load -- from files to policies that can run: read, checked with all kinds, compiled. Raises PolicyError with every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.adapters.upstream import tls_files
from proxy.assembly.rules import Part, Rule
from proxy.assembly.stack import KINDS, STACK
from proxy.assembly.warnings import warned
from proxy.policy import document
from proxy.policy.document import Loaded
from proxy.policy.problems import PolicyError, Problem
from proxy.policy.secrets import Env, ReadFile, read_file
from proxy.policy.upstreams import Upstream as Declared
from proxy.policy.yaml12 import Parsed

NO_UPSTREAM = "default"  # home's name while none is declared: `check` and `explain` need no url
_SPECS = {name: kind.spec for name, kind in KINDS.items()}


@dataclass(slots=True, frozen=True)
class Policies:
    """What was loaded. `home` names the upstream that calls go to by default."""

    loaded: Loaded
    rules: tuple[Rule, ...]
    upstreams: Mapping[str, Declared]
    home: str

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is not wrong, but not meant either."""
        return self.loaded.warnings

    @property
    def exchanges(self) -> int:
        """The allowance of one call."""
        return self.loaded.limits.exchanges

    @property
    def other_files(self) -> tuple[Path, ...]:
        """The files that keys, headers and certificates come from, to be watched."""
        declared = self.upstreams.values()
        secret = [Path(file) for upstream in declared for secret in upstream.secrets for file in secret.files]
        return (*secret, *(file for upstream in declared for file in tls_files(upstream)))


def load(path: Path | None, env: Env, *, no_secrets: bool = False, upstream: str | None = None, bypass: bool = False) -> Policies:
    """The policies of a file or folder; without a path none; with `bypass` none that changes a byte: where home is, and its key."""
    if path is None:
        loaded = document.load_texts([], _SPECS, env, no_secrets=no_secrets, upstream=upstream)
    else:
        loaded = document.load(path, _SPECS, env, no_secrets=no_secrets, upstream=upstream, checks=(unobservable, warned))
    home = loaded.home or NO_UPSTREAM
    if bypass:
        return Policies(replace(loaded, policies=()), (), {name: _untouched(declared) for name, declared in loaded.upstreams.items()}, home)
    return Policies(loaded, compiled(loaded), loaded.upstreams, home)


def _untouched(declared: Declared) -> Declared:
    """An upstream without its own names for models, which change bodies."""
    return replace(declared, spec=declared.spec.model_copy(update={"models": {}}))


def load_text(text: str, name: str, env: Env, *, no_secrets: bool = False, upstream: str | None = None) -> Policies:
    """The same of one text."""
    return load_texts([(name, text)], env, no_secrets=no_secrets, upstream=upstream)


def load_texts(
    texts: Iterable[tuple[str, str | bytes] | Parsed],
    env: Env,
    *,
    no_secrets: bool = False,
    upstream: str | None = None,
    read_secret: ReadFile = read_file,
) -> Policies:
    """The same of several texts, as one folder."""
    checks = (unobservable, warned)
    loaded = document.load_texts(texts, _SPECS, env, no_secrets=no_secrets, upstream=upstream, checks=checks, read_secret=read_secret)
    return Policies(loaded, compiled(loaded), loaded.upstreams, loaded.home or NO_UPSTREAM)


def compiled(loaded: Loaded) -> tuple[Rule, ...]:
    """The policies that are not off, in file order."""
    return tuple(
        Rule(
            place,
            policy.name,
            policy.mode == "shadow",
            policy.condition,
            tuple(Part.of(kind, spec) for name, spec in policy.apply.items() for kind in STACK if kind.name == name and kind.acts(spec)),
            tuple(policy.labels.items()),
            str(policy.place("name")),
        )
        for place, policy in enumerate(loaded.policies)
        if policy.mode != "off"
    )


def refuse_without_upstream(policies: Policies) -> None:
    """Raises PolicyError where there is nowhere to send a call."""
    if not policies.upstreams:
        hint = "give --upstream URL (or CHASSIS_UPSTREAM), or declare one under `upstreams`"
        file = policies.loaded.files[0] if policies.loaded.files else "--upstream"
        raise PolicyError([Problem(file, 0, 0, "", "there is no upstream to send calls to", hint)])


def refuse_own_listener(policies: Policies, host: str, port: int) -> None:
    """Raises PolicyError where an upstream is the port that we listen on: calls would go round for ever."""
    own = {host, "localhost"} if host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::") else {host}
    for upstream in policies.upstreams.values():
        address = upstream.address
        if address.port == port and (address.host in own or (address.loopback and "localhost" in own)):
            file = policies.loaded.files[0] if policies.loaded.files else "--upstream"
            message = f"upstream '{upstream.name}' is this proxy itself ({address.origin})"
            raise PolicyError([Problem(file, 0, 0, "", message, "name the API that the app used before, or another --port")])


def unobservable(loaded: Loaded) -> Iterator[Problem]:
    """Policies in shadow of a kind that cannot be observed."""
    for policy in loaded.policies:
        if policy.mode == "shadow":
            for name in policy.apply:
                if KINDS[name].shadow is None:
                    yield policy.problem(("apply", name), f"'{name}' cannot run in shadow", "use mode: enforce or mode: off")
