"""What a record authorises waits until it is on disk; nothing else does; and a dead disk hangs nobody."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from msgspec import structs

from meshd.observe import journal as journal_module
from meshd.observe.audit import Audit, waits
from meshd.observe.journal import Journal
from meshd.observe.segments import records_of
from meshd.perform import Performer
from meshd.store.memory import MemoryBucket, MemoryStore
from meshd.supervise import Supervisor
from meshd.transport.memory import MemoryBus, MemoryTransport
from protocol import limits
from protocol.audit import Act
from protocol.effects import Effect, Emit, Reply, RunAgent, Send, StopAgent
from protocol.errors import MeshError
from protocol.events import PeerUnreachable, TaskAwarded, TaskStarted
from protocol.inputs import AgentFailed, Input, Received
from protocol.wire import swim, task
from tests.protocol.bodies import RECORD
from tests.waiting import until

RUN = RunAgent("w", "t", 1, 1, "a@1", b"", 60.0, "i", "g", 0, ())
CALL = RunAgent("w", "c-1", 0, 1, "a@1", b"", 60.0, "i", "g", 0, (), by="operator", src="b")
EVENT = structs.replace(CALL, topic="sales.orders", publisher="p")
STOP = StopAgent("t", 1)
GIVEN = structs.replace(RECORD, state=task.TaskState.AWARDED, failure=None)
AWARD = Send(to="b", life=1, body=task.Award("t", 1, 1, b""), subject="award", frame=b"a")
PING = Send(to="b", life=1, body=swim.Ping(1), subject="ping", frame=b"p")
STARTED = Emit(TaskStarted("t", "i", 1, "w"))


class SlowDisk:
    """Its sync ends when the test says so, or fails."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.fault = 0

    def __call__(self, fd: int) -> None:
        assert self.may_end.wait(20)
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault))


class Stage:
    """A performer behind the gate of an audit, on a disk that the test holds."""

    def __init__(self, folder: Path) -> None:
        self.disk = SlowDisk()
        self.inputs: list[Input] = []
        self.heard: list[Input] = []
        self.orders: list[object] = []
        self.drains: list[bool] = []
        self.failures: list[BaseException] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append(failure))
        self.journal = Journal(folder, node="n" * 32, life=1, sync=self.disk)
        self.audit = Audit(self.journal, on_failing=self.drains.append)
        bus = MemoryBus()
        self.transport, self.other = MemoryTransport(bus), MemoryTransport(bus)
        self.performer = Performer(
            transport=self.transport,
            store=MemoryStore(MemoryBucket()),
            workshop=self,
            observers=(self.audit.tell,),
            supervisor=self.supervisor,
            gate=self.audit,
        )
        self.performer.bind(self.inputs.append)

    async def open(self) -> None:
        await self.transport.open(self.inputs.append)
        await self.other.open(self.heard.append)
        for subject in ("award", "ping"):
            await self.other.subscribe(subject)
        self.inputs.clear()

    def run(self, order: RunAgent) -> None:
        self.orders.append(order)

    def stop(self, order: StopAgent) -> None:
        self.orders.append(order)

    def do(self, *effects: Effect) -> None:
        self.performer.submit(effects)

    @property
    def subjects(self) -> list[str]:
        return [each.subject for each in self.heard if isinstance(each, Received)]

    async def close(self) -> None:
        self.disk.may_end.set()
        await self.journal.close()
        await self.supervisor.close()
        assert self.failures == []


def test_only_awards_runs_answers_to_submits_and_what_takes_an_award_back_wait() -> None:
    awaited: tuple[Effect, ...] = (
        RUN,
        AWARD,
        structs.replace(AWARD, body=task.Withdraw("t", 1)),
        Reply(1, value=GIVEN),
    )
    ended = Reply(1, value=RECORD)
    free: tuple[Effect, ...] = (STOP, PING, STARTED, CALL, EVENT, ended, Reply(1, value=()), Reply(1, code="no_agent"))
    assert [waits(effect) for effect in (*awaited, *free)] == [True] * 4 + [False] * 8


async def test_an_award_a_run_and_an_answer_wait_for_the_disk_and_a_probe_does_not(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.open()
    answer = stage.performer.expect(1)
    stage.do(RUN, AWARD, Reply(1, value=GIVEN), STARTED, Emit(TaskAwarded("t", "i", 1, "b", "gossip")), PING)
    await until(lambda: stage.subjects == ["ping"])
    assert (stage.orders, answer.done(), stage.journal.durable) == ([], False, 0)
    stage.disk.may_end.set()
    await until(lambda: "award" in stage.subjects)
    assert stage.orders == [RUN]
    assert (await answer).value is GIVEN
    await stage.close()
    actions = [record.action for record, _ in records_of(tmp_path, through=9)]
    assert actions == ["task.run", "task.award"]


async def test_a_run_does_not_wait_for_what_might_come_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "GATHER_S", 3_600.0)
    stage = Stage(tmp_path)
    stage.disk.may_end.set()
    stage.do(STARTED, RUN)
    await until(lambda: stage.orders == [RUN])
    await stage.close()


async def test_a_stop_never_overtakes_the_run_that_it_stops(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.do(STARTED, RUN)
    stage.do(STOP)
    assert stage.orders == []
    stage.disk.may_end.set()
    await until(lambda: stage.orders == [RUN, STOP])
    await stage.close()


async def test_a_run_that_goes_on_is_stopped_whatever_the_disk_does(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.do(STARTED, structs.replace(RUN, epoch=2))
    stage.do(Emit(TaskAwarded("t", "i", 2, "b", "silent")), STOP)
    assert stage.orders == [STOP], "of the award before"
    stage.disk.may_end.set()
    await stage.close()


async def test_what_nothing_is_recorded_for_does_not_wait(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.do(Emit(PeerUnreachable(("a",))), STOP)
    assert stage.orders == [STOP]
    await stage.close()


async def test_a_call_is_recorded_and_does_not_wait_for_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.do(CALL)
    assert (stage.orders, stage.journal.durable) == ([CALL], 0)
    await stage.close()
    ((record, _),) = records_of(tmp_path, through=9)
    assert (record.action, record.resource, record.more["call"]) == ("call.run", "agent/w", "c-1")
    assert (record.who, record.more["src"], record.iid, record.gid) == ("operator", "b", "i", "g")


async def test_an_event_is_given_to_its_agent_without_a_record(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.do(EVENT)
    assert (stage.orders, stage.journal.head.seq) == ([EVENT], 0)
    await stage.close()


async def test_an_end_is_told_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    answer = stage.performer.expect(1)
    stage.do(STARTED, Reply(1, value=RECORD))
    assert (answer.result().value, stage.journal.durable) == (RECORD, 0)
    await stage.close()


async def test_a_dead_disk_gives_runs_back_refuses_new_work_and_mends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "AGAIN_S", 0.01)
    stage = Stage(tmp_path)
    await stage.open()
    stage.disk.fault = errno.ENOSPC
    stage.disk.may_end.set()
    answer = stage.performer.expect(1)
    stage.do(STARTED, RUN, AWARD, Reply(1, value=GIVEN), STOP)
    async with asyncio.timeout(20):
        assert (await answer).code == "unaudited"
    (back,) = stage.inputs
    assert isinstance(back, AgentFailed)
    assert (back.task, back.epoch, back.code, back.retry) == ("t", 1, "agent_unavailable", True)
    assert (stage.orders, stage.subjects, stage.drains) == ([STOP], [], [True])
    with pytest.raises(MeshError, match="No space left"):
        stage.audit.check()
    stage.do(CALL)
    refused = stage.inputs.pop()
    assert isinstance(refused, AgentFailed)
    assert (refused.task, stage.orders) == ("c-1", [STOP])
    stage.disk.fault = 0
    await until(lambda: stage.drains == [True, False])
    stage.audit.check()
    stage.do(RUN)
    await until(lambda: stage.orders == [STOP, RUN])
    await stage.close()


async def test_what_rests_on_a_record_that_found_no_room_on_a_slow_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AUDIT_WAITING_MAX", 8)
    stage = Stage(tmp_path)
    await stage.open()
    for number in range(8):
        stage.audit.note(Act("task.award", f"task/{number}", "allow"))
    stage.do(STARTED, RUN)
    stage.do(CALL)
    assert stage.orders == []
    assert [each.task for each in stage.inputs if isinstance(each, AgentFailed)] == ["t", "c-1"]
    with pytest.raises(MeshError, match="its disk is behind by 8 records"):
        stage.audit.check()
    stage.disk.may_end.set()
    await until(lambda: stage.drains == [True, False])
    stage.do(STARTED, RUN)
    await until(lambda: stage.orders == [RUN])
    await stage.close()
