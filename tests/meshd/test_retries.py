"""A task that is opened again, over some daemons in one process: from any node, and whoever died of it before."""

import pytest

from meshd.api import schemas
from meshd.api.task_schemas import RetryRequest
from meshd.ports import Desk, Failed, Finished, Outcome, Work
from protocol.errors import MeshError
from protocol.events import TaskRetried
from tests.meshd.little_daemons import Actor, Held, LittleDaemon, little_daemons
from tests.waiting import until


class Moody:
    """Fails until it is told otherwise."""

    def __init__(self) -> None:
        self.is_well = False

    async def __call__(self, work: Work, _desk: Desk) -> Outcome:
        if self.is_well:
            return Finished(work.input)
        return Failed("agent_failed", "not in the mood", retry=False)


async def again(daemon: LittleDaemon, task: str, deadline_s: float | None = None) -> schemas.Task:
    return await daemon.service.retry(task, RetryRequest(deadline_s), principal="operator")


async def test_a_failed_task_is_done_after_a_retry_from_any_node_and_tells_of_its_former_end() -> None:
    async with little_daemons() as mesh:
        a, mood = await mesh.start("a"), Moody()
        b, c = await mesh.start("b", Actor(do=mood)), await mesh.start("c")
        task = await a.submit("x", key="k")
        assert (await a.ended(task.id)).state == "failed"

        mood.is_well = True
        opened = await again(c, task.id)
        assert (opened.id, opened.iid, opened.home_name) == (task.id, task.iid, "c")
        for daemon in (a, b, c):
            assert (await daemon.ended(task.id)).state == "done"
        ended = await a.ended(task.id)
        assert (ended.epoch, ended.result, ended.retries) == (2, "x", 1)
        (end,) = ended.retried
        assert (end.by, end.state, end.epoch, end.owner_name) == ("operator", "failed", 1, "b")
        assert end.error == "agent_failed: not in the mood"
        (told,) = c.said(TaskRetried)
        assert isinstance(told, TaskRetried)
        assert (told.by, told.state) == ("operator", "failed")
        assert (await a.submit("x", key="k")).id == task.id


@pytest.mark.parametrize(("state", "code"), [("done", "done_already"), ("running", "under_way")])
async def test_what_is_done_or_under_way_is_not_opened_again(state: str, code: str) -> None:
    async with little_daemons() as mesh:
        held = Held()
        a, b = await mesh.start("a", Actor(do=held)), await mesh.start("b")
        task = await a.submit("x")
        await a.shows(task.id, "running")
        if state == "done":
            held.release.set()
            await a.ended(task.id)
        for daemon in (a, b):
            with pytest.raises(MeshError) as refused:
                await again(daemon, task.id)
            assert (refused.value.code, refused.value.exit, refused.value.status) == (code, 8, 409)


async def test_a_retry_whose_home_is_dead_is_watched_by_whoever_was_asked_and_wakes_who_waits() -> None:
    async with little_daemons() as mesh:
        mood = Moody()
        await mesh.start("a")
        b, _ = await mesh.start("b", Actor(do=mood)), await mesh.start("c")
        task = await mesh.daemons["a"].submit("x")
        await b.ended(task.id)
        await mesh.kill("a")
        mood.is_well = True
        assert (await again(b, task.id)).home_name == "b"
        assert (await mesh.daemons["c"].ended(task.id)).state == "done"


async def test_a_cancelled_task_is_cancelled_again_after_a_retry_and_has_the_deadline_that_was_asked_for() -> None:
    async with little_daemons() as mesh:
        actor = Actor(do=Held())
        a = await mesh.start("a", actor)
        task = await a.submit("x")
        await a.shows(task.id, "running")
        await a.service.cancel(task.id)
        opened = await again(a, task.id, 30.0)
        assert opened.deadline_ms - opened.retried[-1].at_ms == 30_000
        await a.shows(task.id, "running")
        assert (await a.service.cancel(task.id)).state == "cancelled"
        await until(lambda: len(actor.stopped) == 2)
        assert [each.state for each in (await a.service.task(task.id)).retried] == ["cancelled"]


async def test_a_parent_that_is_opened_again_opens_its_failed_children_again_once_and_keeps_what_is_done() -> None:
    mood = Moody()

    async def parent(work: Work, desk: Desk) -> Outcome:
        try:
            good = await desk.submit("good@1", work.input, key="", is_awaited=True)
            return Finished([good, await desk.submit("bad@1", work.input, key="", is_awaited=True)])
        except MeshError as failure:
            return Failed("agent_failed", failure.message, retry=False)

    async with little_daemons() as mesh:
        good = Actor("good", capability="good@1")
        a = await mesh.start("a", Actor("parent", parent), good)
        await mesh.start("b", Actor("bad", mood, capability="bad@1"))
        task = await a.submit("x")
        for _ in range(2):
            assert (await a.ended(task.id)).state == "failed"
            await again(a, task.id)
            assert (await a.ended(task.id)).state == "failed", "the child was tried again, and failed again"
        mood.is_well = True
        await again(a, task.id)
        assert (await a.ended(task.id)).result == ["x", "x"]
        assert len(good.runs) == 1
        (child,) = [
            each
            for each in await a.service.tasks(schemas.TaskFilter(gid=task.gid), after=None, limit=9)
            if each.capability == "bad@1"
        ]
        assert [each.by for each in child.retried] == [f"task/{task.id}/{number}" for number in (1, 2, 3)]
