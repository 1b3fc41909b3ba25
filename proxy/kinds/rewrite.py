"""rewrite -- ask another model, or another upstream, than the app named.

Floor CALL: inside refuse (a refused call goes nowhere), outside params, which are for the model chosen here.
It only chooses: the upstream adapter puts the model's name into the bytes, as fallback may choose again.
Cost: under a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from pydantic import ConfigDict, Field, model_validator

from proxy.core.call import Call, Target
from proxy.core.reply import Reply
from proxy.core.service import Service
from proxy.openai.moves import why_it_stays
from proxy.openai.parameters import WITH_BODY
from proxy.openai.payload import Unread
from proxy.policy.facts import NO_BODY
from proxy.policy.kind import Floor, Kind, Site
from proxy.policy.problems import shortened
from proxy.policy.spec import Spec, Wrong
from proxy.policy.view import View, Warned

MOVABLE = ("chat", "responses", "completions", "embeddings", "images", "audio", "models")  # the others refer to what an upstream keeps
ASKED_CHARS = 256  # of a model's name as the app gave it, in the journal: it may be anything


class RewriteSpec(Spec):
    """Ask another model, or another upstream, than the app named. A field that is left out keeps what another policy chose."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "examples": [{"model": "gpt-4o-mini"}]})
    model: str | None = Field(None, min_length=1, max_length=256, description="The model to ask for.")
    upstream: str | None = Field(None, description="The upstream to ask, one of `upstreams`; stateful requests stay where they are.")

    @model_validator(mode="after")
    def _says_something(self) -> RewriteSpec:
        if self.model is None and self.upstream is None:
            raise Wrong("needs `model` or `upstream`", got=False)
        return self

    def upstreams(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """The upstreams that it names, each with its place."""
        if self.upstream is not None:
            yield ("upstream",), self.upstream


def _fields(spec: RewriteSpec) -> frozenset[str]:
    return frozenset(name for name in ("model", "upstream") if getattr(spec, name) is not None)


def _differs(field: str, mine: str, other: RewriteSpec) -> bool:
    return getattr(other, field) not in (None, mine)


def _warn(spec: RewriteSpec, view: View) -> Iterable[Warned]:
    if spec.model is not None:
        yield from view.idle(WITH_BODY, "`rewrite.model`", ("model",))
        if "*" in spec.model:
            yield Warned(("model",), f"'{shortened(spec.model)}' is sent as it stands: globs are for `match`", "name one model")
        if view.models == (spec.model,) and not view.may_shadow_later(lambda other: other.model is not None):
            message = f"changes nothing: the policy matches only calls that ask for '{shortened(spec.model)}' already"
            yield Warned(("model",), message, "take it out, or match other models")
    if spec.upstream is not None:
        yield from view.idle(MOVABLE, "`rewrite.upstream`", ("upstream",))
        if spec.upstream == view.home and not view.may_shadow_later(lambda other: other.upstream is not None):
            message = f"changes nothing: calls go to '{spec.upstream}' anyway, as it is home"
            yield Warned(("upstream",), message, "take it out, or name another upstream")
    for field in ("model", "upstream"):
        mine = getattr(spec, field)
        if mine is None:
            continue
        for rival in view.sure_rivals(partial(_differs, field, mine)):
            message = f"where '{rival.name}' ({rival.where}) matches too, its `{field}: {getattr(rival.spec, field)}` wins: it comes first"
            yield Warned((field,), message, "make the two apart by `not`, or put the one that should win first")


class Rewrite:
    """Chooses the target. Notes what it changed, or why it could not."""

    __slots__ = ("_model", "_policy", "_upstream")

    def __init__(self, spec: RewriteSpec, site: Site) -> None:
        self._policy = site.policy
        self._model = spec.model if "model" in site.fields else None
        self._upstream = spec.upstream if "upstream" in site.fields else None

    async def __call__(self, call: Call, inner: Service) -> Reply:
        target = self.choose(call, shadow=False)
        return await inner(call if target is call.target else call.derive(target=target))

    def observe(self, call: Call) -> None:
        """The same choice, noted only."""
        self.choose(call, shadow=True)

    def choose(self, call: Call, shadow: bool) -> Target:
        """Where this call should go, the present target where nothing changes."""
        upstream, model = call.target.upstream, call.target.model
        what: dict[str, object] = {}
        if self._upstream is not None and self._upstream != upstream:
            if why := why_it_stays(call):
                call.journal.note("rewrite", self._policy, shadow=shadow, stays=upstream, why=why)
                return call.target
            what["upstream"] = upstream = self._upstream
        if self._model is not None:
            try:
                asked = model if model is not None else call.payload.model if call.payload is not None else None
            except Unread as unread:
                call.journal.note("rewrite", self._policy, shadow=shadow, skipped="unreadable", why=unread.why)
                return call.target
            if call.payload is None:
                call.journal.note("rewrite", self._policy, shadow=shadow, skipped="no_body", why=NO_BODY)
                return call.target
            if asked != self._model:
                what["model"] = model = self._model
                what["asked"] = asked and asked[:ASKED_CHARS]
                if call.target.model is None:
                    call.journal.model = asked
        if not what:
            return call.target
        call.journal.note("rewrite", self._policy, acted=not shadow, shadow=shadow, **what)
        return Target(upstream, model)


KIND = Kind(
    "rewrite",
    RewriteSpec,
    Floor.CALL,
    enforce=Rewrite,
    shadow=lambda spec, site: Rewrite(spec, site).observe,
    fields=_fields,
    warn=_warn,
    reads_body=lambda spec: True,  # the model is in it, and so is what makes a request stateful
)
