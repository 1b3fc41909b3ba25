"""status -- what the server says of itself on the admin port: ready or not, what is loaded, what was refused. Never a key's value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from proxy.adapters.metrics import Metrics
from proxy.assembly.generation import Generation
from proxy.assembly.reload import Reload
from proxy.policy.document import Policy
from proxy.policy.problems import PolicyError
from proxy.policy.upstreams import Upstream, is_plain_key


class Status:
    """A view of the server; each answer is made when it is asked for."""

    def __init__(
        self,
        metrics: Metrics,
        generation: Callable[[], Generation | None],
        reload: Callable[[], Reload | None],
        state: Callable[[], str | None],
        loaded_at_ns: Callable[[], int],
    ) -> None:
        self._metrics = metrics
        self._generation = generation
        self._reload = reload
        self._state = state
        self._loaded_at_ns = loaded_at_ns

    def not_ready(self) -> str | None:
        """Why no new calls should come (`starting`, `draining`); None: they may."""
        return self._state()

    def metrics(self) -> bytes:
        """Prometheus text."""
        return self._metrics.text()

    def policies(self) -> dict[str, object]:
        """What is loaded, and why the last change was refused, if it was."""
        generation = self._generation()
        if generation is None:
            return {"generation": 0}
        policies = generation.policies
        reload = self._reload()
        return {
            "generation": generation.number,
            "revision": policies.loaded.revision,
            "loaded_at": datetime.fromtimestamp(self._loaded_at_ns() / 1e9, UTC).isoformat(timespec="milliseconds"),
            "files": [str(file) for file in policies.loaded.files],
            "upstreams": [_upstream(each, each.name == policies.home) for each in policies.upstreams.values()],
            "states": [{"kind": shown.kind, **shown.labels, **shown.what} for shown in generation.shelf.shown()],
            "policies": [_policy(each) for each in policies.loaded.policies],
            "warnings": [str(warning) for warning in policies.warnings],
            "reload_failures": reload.failures if reload is not None else 0,
            "last_error": _error(reload.last_error) if reload is not None and reload.last_error is not None else None,
        }


def _policy(policy: Policy) -> dict[str, object]:
    """One policy, in force or not."""
    return {
        "name": policy.name,
        "mode": policy.mode,
        "kinds": list(policy.apply),
        "labels": dict(policy.labels),
        "where": str(policy.place("name")),
    }


def _upstream(upstream: Upstream, home: bool) -> dict[str, object]:
    spec = upstream.spec
    key = "written in the file" if is_plain_key(spec) else spec.key or ("the caller's" if home else "none")
    return {"name": upstream.name, "url": spec.url, "home": home, "key": key, "trace": spec.trace}


def _error(error: PolicyError | OSError) -> object:
    if isinstance(error, PolicyError):
        return {"problems": [problem.to_json() for problem in error.problems]}
    return {"problems": [{"message": str(error)}]}
