"""The agents of one node: given work, told to stop, and what they may ask for meanwhile."""

import asyncio
from collections.abc import Callable

import msgpack
import pytest
from msgspec import structs

from meshd import clock
from meshd.desk import PROGRESS_S
from meshd.engine import GRACE_S
from meshd.hosting import Hosting
from meshd.ports import BEGUN_TOO_LATE, Desk, Failed, Finished, Outcome, Work
from meshd.supervise import Supervisor
from protocol import limits
from protocol.calls import Answered
from protocol.effects import RunAgent, StopAgent
from protocol.envelope import Sealer
from protocol.errors import MeshError
from protocol.events import AgentChanged, Event
from protocol.inputs import Advertise, AgentFailed, AgentFinished, AgentProgress, AgentStopped, Input, MakeCall, Submit
from protocol.primitives import NS_PER_S
from protocol.records import work_digest
from protocol.wire.lineage import Work as LedBy
from protocol.wire.ops import Shape
from protocol.wire.task import Account, Answer, Failure, Running, Status, TaskRecord, TaskState
from tests.meshd.little_daemons import CAPABILITY, Actor, Do, Held
from tests.protocol.sealing import ALICE, NOW, TO_BOB
from tests.waiting import until

RECORD = TaskRecord(
    "child", "i2", "g", "i1", "work@1", "task/t", "k", "h", TaskState.OPEN, 0, "", 0, b"", False, 5, 0, 0, 1, ("t",)
)


def order(task: str = "t", epoch: int = 1, agent: str = "actor", **changes: object) -> RunAgent:
    fields: dict[str, object] = {
        "agent": agent,
        "task": task,
        "epoch": epoch,
        "attempt": 2,
        "capability": "work@1",
        "input": msgpack.packb({"n": 1}),
        "deadline_s": 60.0,
        "iid": "i1",
        "gid": "g1",
        "hops": 3,
        "ancestors": ("p", "q"),
        "lease_s": 3.0,
    }
    return RunAgent(**{**fields, **changes})  # type: ignore[arg-type]  # named fields


class Stage:
    """A hosting, what it told the engine, and what its agents asked."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self.events: list[Event] = []
        self.failures: list[BaseException] = []
        self.asked: list[tuple[Input, float | None]] = []
        self.answer: object = RECORD
        self.end = RECORD
        self.supervisor = Supervisor(lambda name, failure: self.failures.append(failure))
        self.hosting = Hosting(supervisor=self.supervisor, observers=(self.events.append,))
        self.hosting.bind(sink=self.inputs.append, ask=self._ask, wait_for=self._wait_for)

    async def _ask(self, make: Callable[[int], Input], *, timeout_s: float | None = None) -> object:
        self.asked.append((make(7), timeout_s))
        if isinstance(self.answer, MeshError):
            raise self.answer
        return self.answer

    async def _wait_for(self, task: str) -> TaskRecord:
        assert task == "child"
        return self.end

    async def take(self, *actors: Actor) -> "Stage":
        for actor in actors:
            actor.watcher = self.hosting.changed
        await self.hosting.take(actors)
        self.inputs.clear()
        return self

    async def report(self) -> Input:
        await until(lambda: self.inputs, what="a report")
        assert len(self.inputs) == 1
        return self.inputs[0]

    async def close(self) -> None:
        await self.hosting.close()
        await self.supervisor.close()
        assert self.failures == []


def returning(outcome: Outcome) -> Do:
    async def do(_work: Work, _desk: Desk) -> Outcome:
        return outcome

    return do


async def _turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_became_of_runs_is_counted_for_those_who_look() -> None:
    async def do(work: Work, _desk: Desk) -> Outcome:
        return Finished(1) if work.input == {"n": 1} else Failed(str(work.input), "no", retry=False)

    stage = await Stage().take(Actor(do=do))
    for number, input in enumerate(({"n": 1}, "agent_failed", "agent_unavailable", "bad_input")):
        stage.hosting.run(order(f"t{number}", input=msgpack.packb(input)))
    await until(lambda: len([each for each in stage.inputs if isinstance(each, AgentFinished | AgentFailed)]) == 4)
    stage.hosting.changed("actor", "restarting", "ended with exit code 3")
    ran = stage.hosting.tally.of("actor")
    assert (ran.done, ran.failed, ran.restarts, ran.last_error) == (1, 1, 1, "ended with exit code 3")
    await stage.close()


# --- bringing up


async def test_an_agent_that_is_slow_to_start_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshd.hosting.START_S_MAX", 0.01)

    class Slow(Actor):
        async def start(self) -> None:
            await asyncio.sleep(3_600)

    stage = Stage()
    await stage.take(Slow("slow"), quick := Actor("quick"))
    assert quick.state == "ready"
    assert AgentChanged("slow", "starting", "not ready after 0.01 s") in stage.events
    assert stage.hosting.problems == ()


async def test_who_is_ready_is_announced_with_every_change() -> None:
    stage, actor = Stage(), Actor()
    await stage.take(actor)
    actor.turn("restarting", "it crashed")
    actor.turn("ready")
    coming = structs.replace(
        actor.card, slots=0, problem="restarting: it crashed"
    )  # so that its work waits and is not refused
    shapes = (Shape("actor", CAPABILITY, b"true", b"true"),)
    assert stage.inputs == [Advertise((coming,), shapes), Advertise((actor.card,), shapes)]
    assert stage.events[-2:] == [AgentChanged("actor", "restarting", "it crashed"), AgentChanged("actor", "ready", "")]


# --- work


async def test_an_agent_is_given_all_that_it_is_promised_and_its_result_comes_back() -> None:
    stage, actor = Stage(), Actor(do=returning(Finished({"score": 0.5})))
    await stage.take(actor)
    stage.hosting.run(order())
    assert await stage.report() == AgentFinished("t", 1, msgpack.packb({"score": 0.5}))
    assert actor.runs == [Work("t", "work@1", {"n": 1}, 1, 2, 60.0, "i1", "g1", 3.0)]
    await stage.close()


@pytest.mark.parametrize(("left_s", "is_begun"), [(0, False), (60, True)])
async def test_exclusive_work_that_waited_for_longer_than_its_lease_is_not_begun(left_s: int, is_begun: bool) -> None:
    stage, actor = Stage(), Actor(do=returning(Finished(1)))
    await stage.take(actor)
    stage.hosting.run(structs.replace(order(), begin_by=clock.monotonic_ns() + left_s * NS_PER_S))
    late = AgentFailed("t", 1, "agent_unavailable", BEGUN_TOO_LATE, retry=True)
    assert (await stage.report() != late) is is_begun
    assert bool(actor.runs) is is_begun
    await stage.close()


async def test_a_failure_comes_back_with_its_code_and_a_message_of_bounded_length() -> None:
    stage = await Stage().take(Actor(do=returning(Failed("agent_crashed", "x" * 10_000, retry=True))))
    stage.hosting.run(order())
    message = "x" * limits.TEXT_CHARS_MAX
    assert await stage.report() == AgentFailed("t", 1, "agent_crashed", message, retry=True)
    await stage.close()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("x" * limits.OUTPUT_BYTES_MAX, "the result is 262149 bytes; the limit is 262144"),
        ({"a": {1, 2}}, "the result holds a set, which is no plain value"),
        (float("nan"), "the result holds a number that is not finite"),
    ],
)
async def test_an_output_that_cannot_be_kept_fails_the_task_for_good(output: object, said: str) -> None:
    stage = await Stage().take(Actor(do=returning(Finished(output))))
    stage.hosting.run(order())
    assert await stage.report() == AgentFailed("t", 1, "agent_output", said, retry=False)
    await stage.close()


async def test_work_for_an_agent_that_is_not_there_is_given_back() -> None:
    stage = Stage()
    stage.hosting.run(order(agent="gone"))
    assert await stage.report() == AgentFailed("t", 1, "agent_unavailable", "the agent gone is gone", retry=True)
    assert stage.hosting.hosted() == ()


async def test_an_input_that_is_no_plain_value_reaches_no_agent() -> None:
    stage, actor = Stage(), Actor()
    await stage.take(actor)
    stage.hosting.run(order(input=b"\xc1"))
    report = await stage.report()
    assert isinstance(report, AgentFailed)
    assert (report.code, report.retry) == ("bad_input", False)
    assert actor.runs == []


async def test_stopped_work_is_cancelled_and_says_no_more_than_that_it_is_over() -> None:
    stage, actor = Stage(), Actor(do=Held())
    await stage.take(actor)
    stage.hosting.run(order())
    await until(lambda: actor.runs)
    assert stage.hosting.hosted()[0].running == 1
    stage.hosting.stop(StopAgent("t", 1))
    await until(lambda: actor.stopped == ["t"])
    await _turns()
    assert stage.inputs == [AgentStopped("t", 1)]
    assert stage.hosting.hosted()[0].running == 0
    await stage.close()


async def test_a_result_that_an_agent_gives_instead_of_stopping_is_nobodys() -> None:
    async def stubborn(work: Work, _desk: Desk) -> Outcome:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            return Finished("all the same")
        return Finished("never")

    stage, actor = Stage(), Actor(do=stubborn)
    await stage.take(actor)
    stage.hosting.run(order())
    await until(lambda: actor.runs)
    stage.hosting.stop(StopAgent("t", 1))
    await until(lambda: stage.hosting.hosted()[0].running == 0)
    assert stage.inputs == [AgentStopped("t", 1)]
    await stage.close()


async def test_stopped_work_is_over_when_its_agent_has_ended_it() -> None:
    told, may_end = asyncio.Event(), asyncio.Event()

    async def slow_to_go(_work: Work, _desk: Desk) -> Outcome:
        try:
            await asyncio.Event().wait()
        finally:
            told.set()
            await may_end.wait()
        return Finished("never")

    stage, actor = Stage(), Actor(do=slow_to_go)
    await stage.take(actor)
    stage.hosting.run(order())
    await until(lambda: actor.runs)
    stage.hosting.stop(StopAgent("t", 1))
    await told.wait()
    await _turns()
    assert stage.inputs == []
    may_end.set()
    assert await stage.report() == AgentStopped("t", 1)
    await stage.close()


async def test_work_stopped_in_the_turn_that_began_it_never_reaches_the_agent() -> None:
    stage, actor = Stage(), Actor()
    await stage.take(actor)
    stage.hosting.run(order())
    stage.hosting.stop(StopAgent("t", 1))
    await _turns()
    assert actor.runs == []
    assert stage.inputs == [AgentStopped("t", 1)]
    assert stage.hosting.hosted()[0].running == 0
    await stage.close()


async def test_a_stop_for_another_epoch_or_of_what_does_not_run_stops_nothing() -> None:
    held = Held()
    stage, actor = Stage(), Actor(do=held)
    await stage.take(actor)
    stage.hosting.run(order(epoch=2))
    stage.hosting.stop(StopAgent("t", 1))
    stage.hosting.stop(StopAgent("other", 2))
    held.release.set()
    assert isinstance(await stage.report(), AgentFinished)
    await stage.close()


async def test_the_same_award_given_again_after_a_stop_is_reported_once() -> None:
    held = Held()
    stage, actor = Stage(), Actor(do=held)
    await stage.take(actor)
    stage.hosting.run(order())
    await until(lambda: actor.runs)
    stage.hosting.stop(StopAgent("t", 1))
    stage.hosting.run(order())
    await until(lambda: len(actor.runs) == 2)
    held.release.set()
    await until(lambda: len(stage.inputs) > 1)
    await _turns()
    assert [type(each) for each in stage.inputs] == [AgentStopped, AgentFinished]
    await stage.close()


async def test_closing_stops_work_and_agents_and_nobody_is_told_of_results() -> None:
    stage, actor = Stage(), Actor(do=Held())
    await stage.take(actor)
    stage.hosting.run(order())
    await until(lambda: actor.runs)
    await stage.hosting.close()
    await until(lambda: actor.stopped == ["t"])
    assert actor.state == "stopped"
    assert stage.inputs == [Advertise(())]
    await stage.supervisor.close()


# --- what agents ask for


def asking(ask: Callable[[Desk], object]) -> Do:
    """Work whose result is what came of a request, or the error's text."""

    async def do(_work: Work, desk: Desk) -> Outcome:
        try:
            return Finished(await ask(desk))  # type: ignore[misc]  # every request of a desk is awaited
        except MeshError as failure:
            return Failed("agent_failed", failure.message, retry=False)

    return do


async def test_a_call_inherits_goal_hops_and_ancestors_and_may_take_as_long_as_it_asks() -> None:
    stage = Stage()
    stage.answer = Answered(msgpack.packb("tea"), "n", "a", "i", "g")
    await stage.take(Actor(do=asking(lambda desk: desk.call("brew@1", "leaves", 50.0))))
    led = (LedBy("root@1", bytes(16)),)
    stage.hosting.run(order(lineage=led))
    assert await stage.report() == AgentFinished("t", 1, msgpack.packb("tea"))
    own = LedBy("work@1", work_digest(capability="work@1", input=order().input))
    call = MakeCall(7, "brew@1", msgpack.packb("leaves"), 50.0, hops=4, ancestors=("p", "q", "t"), gid="g1")
    call = structs.replace(call, lineage=(*led, own), by="task/t")
    assert stage.asked == [(call, 50.0 + GRACE_S)]
    await stage.close()


async def test_a_call_takes_no_longer_than_its_task_may() -> None:
    stage = Stage()
    stage.answer = Answered(b"", "n", "a", "i", "g")
    await stage.take(Actor(do=asking(lambda desk: desk.call("brew@1", None, 500.0))))
    stage.hosting.run(order())
    await stage.report()
    asked, within_s = stage.asked[0]
    assert isinstance(asked, MakeCall)
    assert 50.0 < asked.timeout_s <= 60.0  # what is left of the task's own time
    assert within_s == asked.timeout_s + GRACE_S
    await stage.close()


async def test_a_child_task_inherits_all_and_its_key_tells_equal_work_apart_by_its_number() -> None:
    async def three(_work: Work, desk: Desk) -> Outcome:
        ids = [await desk.submit("work@1", each, key="", is_awaited=False) for each in ("x", "x", "y")]
        return Finished(ids)

    keys = []
    for _ in range(2):  # as when the parent runs again
        stage = await Stage().take(Actor(do=three))
        stage.hosting.run(order())
        assert await stage.report() == AgentFinished("t", 1, msgpack.packb(["child"] * 3))
        submits = [asked for asked, _ in stage.asked if isinstance(asked, Submit)]
        assert {(s.submitter, s.gid, s.parent_iid, s.hops, s.ancestors) for s in submits} == {
            ("task/t", "g1", "i1", 4, ("p", "q", "t"))
        }
        keys.append([submit.key for submit in submits])
        await stage.close()
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 3


async def test_an_awaited_child_gives_its_result_or_its_failure() -> None:
    def ask(desk: Desk) -> object:
        return desk.submit("work@1", 1, key="mine", is_awaited=True)

    said = []
    for end in (RECORD, structs.replace(RECORD, failure=Failure("deadline", "too late"))):
        stage = Stage()
        stage.end = end
        await stage.take(Actor(do=asking(ask)))
        stage.hosting.run(order())
        said.append(await stage.report())
        assert isinstance(stage.asked[0][0], Submit)
        assert stage.asked[0][0].key == "mine"
        await stage.close()
    assert said == [
        AgentFinished("t", 1, msgpack.packb(None)),
        AgentFailed("t", 1, "agent_failed", "too late", retry=False),
    ]


async def test_what_the_mesh_refuses_is_an_error_for_the_agent() -> None:
    stage = Stage()
    stage.answer = MeshError("no_agent", capability="brew@1")
    await stage.take(Actor(do=asking(lambda desk: desk.call("brew@1", None, 1.0))))
    stage.hosting.run(order())
    report = await stage.report()
    assert isinstance(report, AgentFailed)
    assert report.message == "nobody in the mesh has the capability brew@1"
    await stage.close()


@pytest.mark.parametrize("kind", ["call", "submit"])
async def test_an_input_that_an_agent_may_not_send_is_refused_before_it_leaves(kind: str) -> None:
    large = "x" * limits.INPUT_BYTES_MAX

    def ask(desk: Desk) -> object:
        return desk.call("a@1", large, 1.0) if kind == "call" else desk.submit("a@1", large, key="", is_awaited=False)

    stage = await Stage().take(Actor(do=asking(ask)))
    stage.hosting.run(order())
    report = await stage.report()
    assert isinstance(report, AgentFailed)
    assert "the input is 262149 bytes" in report.message
    assert stage.asked == []
    await stage.close()


async def test_progress_is_told_and_what_is_too_long_or_no_value_is_not() -> None:
    stage, heard = Stage(), asyncio.Event()

    async def tell(_work: Work, desk: Desk) -> Outcome:
        for value in ({"at": 1}, "x" * limits.PROGRESS_BYTES_MAX, {1, 2}, {"at": 2}):
            desk.progress(value)
            asyncio.get_running_loop().call_later(2 * PROGRESS_S, heard.set)  # each word has its turn
            await heard.wait()
            heard.clear()
        return Finished(None)

    await stage.take(Actor(do=tell))
    stage.hosting.run(order())
    await until(lambda: len(stage.inputs) == 3)
    told = [AgentProgress("t", 1, msgpack.packb({"at": at})) for at in (1, 2)]
    assert stage.inputs == [*told, AgentFinished("t", 1, msgpack.packb(None))]
    await stage.close()


async def test_an_agent_that_talks_without_end_is_heard_by_its_last_word_now_and_then() -> None:
    stage, done = Stage(), asyncio.Event()

    async def tell(_work: Work, desk: Desk) -> Outcome:
        for number in range(10_000):
            desk.progress(number)
        await done.wait()
        return Finished(None)

    await stage.take(Actor(do=tell))
    stage.hosting.run(order())
    last = AgentProgress("t", 1, msgpack.packb(9_999))
    await until(lambda: last in stage.inputs)
    assert len(stage.inputs) <= 20
    done.set()
    await stage.close()


def test_the_progress_of_all_tasks_of_one_ask_fits_into_one_answer() -> None:
    told = b"x" * limits.PROGRESS_BYTES_MAX
    tasks = ["x" * 26] * limits.TASKS_PER_ASK_MAX
    answer = Answer(1 << 40, tuple(Running(task, 1 << 40, 1 << 60, told) for task in tasks), (), ())
    account = Account(1 << 40, tuple(Status(task, True, 1 << 60, told) for task in tasks))
    for body in (answer, account):
        assert len(Sealer(signer=ALICE, life=1).seal(body, subject=TO_BOB, now=NOW)) < limits.FRAME_BYTES_MAX


async def test_before_the_engine_is_bound_an_agent_is_told_that_the_node_starts() -> None:
    hosting = Hosting(supervisor=Supervisor(lambda name, failure: None), observers=())
    with pytest.raises(MeshError, match="this node is starting"):
        await hosting.asked(lambda number: Submit(number, "a@1", b"", "s", "k"))
    with pytest.raises(MeshError, match="this node is starting"):
        await hosting.ended("t")
