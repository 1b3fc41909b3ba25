"""Whatever happens to a body, in whatever order: nothing is lost, nothing is sent twice, and each stage hears its end once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.body import Body
from proxy.core.faults import Failure, Fault
from proxy.core.stage import Stage
from proxy.core.virtual import run
from tests.core.stages import Producer


class Wild(Stage):
    """Passes bytes on, some of them late; breaks with a bug at its `bug_at`th method, where that is not None."""

    def __init__(self, holds: int, bug_at: int | None) -> None:
        self.holds = holds
        self.bug_at = bug_at
        self.kept = b""
        self.ends = 0
        self.fed_after_end = False

    def _count(self) -> None:
        if self.bug_at is not None:
            self.bug_at -= 1
            if self.bug_at < 0:
                raise ZeroDivisionError

    def feed(self, data: bytes) -> bytes:
        self.fed_after_end |= self.ends > 0
        self._count()
        data = self.kept + data
        out, self.kept = data[: len(data) - self.holds], data[max(len(data) - self.holds, 0) :]
        return out if len(data) > self.holds else b""

    def end(self) -> bytes:
        self.ends += 1
        self._count()
        return self._given_up()

    def fail(self, failure: Failure) -> bytes:
        self.ends += 1
        return self._given_up()

    def rest(self) -> bytes:
        return self._given_up()

    def _given_up(self) -> bytes:
        kept, self.kept = self.kept, b""
        return kept


@dataclass
class Story:
    """What happens to a body, step by step."""

    steps: list[tuple[str, object]]
    broken: bool
    closed: bool
    fed: bytes = b""
    stages: list[Wild] = field(default_factory=list)
    out: bytes = b""
    whys: list[Failure | None] = field(default_factory=list)

    async def play(self) -> Body:
        body = Body(Producer())
        body.after(self.whys.append)
        for what, value in self.steps:
            if what == "feed":
                assert isinstance(value, bytes)
                self.fed += value
                body.feed(value)
            elif what == "attach":
                assert isinstance(value, tuple)
                stage = Wild(*value)
                self.stages.append(stage)
                body.attach(stage)
            elif what == "take":
                if not self.stages:
                    self.out += body.take()
            elif self.broken:
                body.fail(Failure(Fault.TRUNCATED, "upstream", "cut"))
            elif not self.closed:
                body.end()
            if self.closed and what == "over":
                body.close()
        if not self.closed:
            try:
                while data := await body.read():
                    self.out += data
            except Failure:
                pass
        body.close()
        return body


steps = st.one_of(
    st.tuples(st.just("feed"), st.binary(max_size=9)),
    st.tuples(st.just("attach"), st.tuples(st.integers(0, 6), st.one_of(st.none(), st.integers(0, 5)))),
    st.tuples(st.just("take"), st.none()),
)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    before = draw(st.lists(steps, max_size=12))
    after = [step for step in draw(st.lists(steps, max_size=4)) if step[0] == "attach"]
    broken = draw(st.booleans())
    closed = not broken and draw(st.booleans()) and not after
    return Story([*before, ("over", None), *after], broken, closed)


@settings(max_examples=400, deadline=None)
@given(stories())
def test_nothing_is_lost_or_doubled_and_each_stage_hears_its_end_once(story: Story) -> None:
    body = run(story.play())

    if not story.closed:
        assert story.out == story.fed
    assert [stage.ends for stage in story.stages] == [1] * len(story.stages)
    assert not any(stage.fed_after_end for stage in story.stages)
    assert len(story.whys) == 1
    assert (story.whys[0] is None) == (not story.broken and not story.closed)
    assert body.stages == ()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20), st.integers(0, 20), st.integers(0, 30))
def test_a_pipe_gives_the_same_bytes_wherever_it_begins(chunks: list[bytes], begins: int, holds: int) -> None:
    async def main() -> bytes:
        body = Body(Producer())
        body.attach(Wild(holds, None))
        out: list[bytes] = []
        piping: asyncio.Task[None] | None = None
        for i, chunk in enumerate(chunks):
            if i == begins:
                piping = asyncio.get_running_loop().create_task(body.pipe(out.append))
                await asyncio.sleep(0)
            body.feed(chunk)
        body.end()
        await (piping or body.pipe(out.append))
        return b"".join(out)

    assert run(main()) == b"".join(chunks)
