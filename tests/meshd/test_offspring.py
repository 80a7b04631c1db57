"""Cancelling a tree over several daemons in one process: no child lives on, wherever its home is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs

from meshd import offspring
from meshd.api import schemas
from meshd.api.task_schemas import RetryRequest
from meshd.ports import Desk, Finished, Outcome, Work
from meshd.shelf import Shelf
from protocol.errors import MeshError
from protocol.inputs import Cancel
from protocol.wire.task import TaskRecord
from tests.meshd.little_daemons import QUICK, Actor, Held, LittleDaemon, LittleDaemons, little_daemons
from tests.protocol.work import record
from tests.waiting import until, until_told

BRANCHES = ("b", "c", "d")
SWEPT = structs.replace(QUICK, sweep_s=1.0)


def forking(*capabilities: str) -> Callable[[Work, Desk], Awaitable[Outcome]]:
    """Submits a child for each, and waits for none of them, nor ever ends."""

    async def do(work: Work, desk: Desk) -> Outcome:
        for capability in capabilities:
            await desk.submit(capability, work.input, key="", is_awaited=False)
        await asyncio.Event().wait()
        return Finished(None)

    return do


async def grown(mesh: LittleDaemons) -> tuple[schemas.Task, list[Actor]]:
    """A root on a, a child on each of three nodes, and a grandchild that each of those submitted."""
    root = Actor("root", forking(*(f"mid-{name}@1" for name in BRANCHES)))
    a, actors = await mesh.start("a", root), [root]
    for name in BRANCHES:
        mid = Actor(f"mid-{name}", forking(f"leaf-{name}@1"), capability=f"mid-{name}@1")
        leaf = Actor(f"leaf-{name}", Held(), capability=f"leaf-{name}@1")
        await mesh.start(name, mid, leaf)
        actors += [mid, leaf]
    task = await a.submit("x")
    await until(lambda: all(actor.runs for actor in actors))
    return task, actors


async def states(daemon: LittleDaemon, gid: str) -> list[str]:
    found = await daemon.service.tasks(schemas.TaskFilter(gid=gid), after=None, limit=99)
    return [task.state for task in found]


async def withered(mesh: LittleDaemons, task: schemas.Task, actors: list[Actor]) -> None:
    """All seven tasks are cancelled, their agents stopped, and nobody holds or watches any."""

    async def is_over() -> bool:
        return await states(mesh.daemons["a"], task.gid) == ["cancelled"] * 7

    await until_told(is_over)
    await until(lambda: all(actor.stopped for actor in actors))
    for daemon in mesh.daemons.values():
        await daemon.until(lambda node=daemon.node: not node.holder.in_hand and not node.ledger.watched)  # type: ignore[misc]  # binds the loop's variable


async def test_a_cancel_ends_children_and_grandchildren_whose_homes_are_other_nodes_and_counts_them() -> None:
    async with little_daemons(SWEPT) as mesh:
        task, actors = await grown(mesh)
        cancelled = await mesh.daemons["d"].service.cancel(task.id)
        assert (cancelled.state, cancelled.with_it) == ("cancelled", 6)
        assert await states(mesh.daemons["b"], task.gid) == ["cancelled"] * 7, "when it is answered, they have ended"
        shelf = mesh.daemons["b"].shelf
        assert await offspring.unended(shelf, await shelf.one(task.id)) == []
        together = f"was cancelled together with {task.id}, which led to it"
        for each in await shelf.page(lambda row: row.gid == task.gid and row.id != task.id, after=None, count=9):
            assert each.failure is not None
            assert each.failure.message == f"the task {each.id} {together}"
        await withered(mesh, task, actors)


async def test_a_home_that_is_cut_off_at_that_moment_finds_its_tasks_ended_when_it_is_back() -> None:
    async with little_daemons(SWEPT) as mesh:
        task, actors = await grown(mesh)
        c = mesh.daemons["c"]
        c.store.stall()
        mesh.bus.cut(c.transport)
        await c.until(lambda: c.node.state == "detached")
        assert (await mesh.daemons["a"].service.cancel(task.id)).with_it == 6
        mesh.bus.restore(c.transport)
        c.store.resume()
        await withered(mesh, task, actors)


async def test_when_who_cancels_ends_at_once_the_watchers_end_the_rest() -> None:
    async with little_daemons(SWEPT) as mesh:
        task, actors = await grown(mesh)
        d = mesh.daemons["d"]
        await d.engine.ask(lambda request: Cancel(request, task.id))  # and no look at what it led to
        await withered(mesh, task, actors)


async def test_a_child_that_a_cancelled_task_submits_is_refused_by_name() -> None:
    told: list[MeshError] = []
    gate = asyncio.Event()

    async def late(work: Work, desk: Desk) -> Outcome:
        try:
            await gate.wait()
        except asyncio.CancelledError:  # it goes on although it was told to stop
            try:
                await desk.submit("leaf@1", work.input, key="", is_awaited=True)
            except MeshError as refusal:
                told.append(refusal)
            raise
        return Finished(None)

    async with little_daemons(SWEPT) as mesh:
        leaf = Actor("leaf", Held(), capability="leaf@1")
        a = await mesh.start("a", Actor("late", late), leaf)
        task = await a.submit("x")
        await a.shows(task.id, "running")
        await a.service.cancel(task.id)
        await until(lambda: told)
        assert told[0].code == "parent_cancelled"
        assert task.id in told[0].message
        await a.until(lambda: not a.node.ledger.watched and not a.node.holder.in_hand)


async def test_a_cancel_of_one_branch_leaves_its_parent_and_the_others_alone() -> None:
    async with little_daemons(SWEPT) as mesh:
        task, actors = await grown(mesh)
        branch = schemas.TaskFilter(gid=task.gid, capability="mid-b@1")
        (mid,) = await mesh.daemons["a"].service.tasks(branch, after=None, limit=9)
        assert (await mesh.daemons["c"].service.cancel(mid.id)).with_it == 1
        assert sorted(await states(mesh.daemons["a"], task.gid)) == ["cancelled"] * 2 + ["running"] * 5
        assert sum(bool(actor.stopped) for actor in actors) <= 2


async def test_what_ends_by_itself_meanwhile_is_no_failure_of_the_cancel_and_a_store_that_is_away_is_one() -> None:
    async with little_daemons(SWEPT) as mesh:
        task, _ = await grown(mesh)
        shelf = mesh.daemons["a"].shelf
        root = await shelf.one(task.id)
        asked: list[str] = []

        async def refuse(code: str, one: str, **fields: object) -> None:
            asked.append(one)
            raise MeshError(code, **fields)

        def over(one: str) -> Awaitable[None]:
            return refuse("already_ended", one, task=one, state="done")

        def away(one: str) -> Awaitable[None]:
            return refuse("store", one, problem="is away")

        assert await offspring.cancel(shelf, root, cancel_one=over) == 0
        assert len(set(asked)) == 6
        assert len(asked) == 6 * offspring.ROUNDS_MAX, "it looks again, and not for ever"
        with pytest.raises(MeshError, match="is away"):
            await offspring.cancel(shelf, root, cancel_one=lambda one: refuse("store", one, problem="is away"))


async def test_a_listing_that_fails_is_said_and_the_task_cancelled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away() -> None:
        raise MeshError("store", problem="holds too many keys")

    async with little_daemons(SWEPT) as mesh:
        task, actors = await grown(mesh)
        a = mesh.daemons["a"]
        monkeypatch.setattr(a.shelf, "refresh", away)
        cancelled = await a.service.cancel(task.id)
        assert (cancelled.state, cancelled.with_it) == ("cancelled", 0)
        assert "too many keys" in cancelled.missed
        monkeypatch.undo()
        await withered(mesh, task, actors)


async def test_what_was_cancelled_before_is_not_counted_again() -> None:
    async with little_daemons(SWEPT) as mesh:
        task, _ = await grown(mesh)
        a = mesh.daemons["a"]
        branch = schemas.TaskFilter(gid=task.gid, capability="mid-b@1")
        (mid,) = await a.service.tasks(branch, after=None, limit=9)
        assert (await mesh.daemons["c"].service.cancel(mid.id)).with_it == 1
        assert (await a.service.cancel(task.id)).with_it == 4


async def test_a_retry_below_a_cancelled_task_is_refused_before_anything_runs() -> None:
    async with little_daemons(SWEPT) as mesh:
        task, actors = await grown(mesh)
        await mesh.daemons["d"].service.cancel(task.id)
        await withered(mesh, task, actors)
        b = mesh.daemons["b"]
        page = await b.shelf.page(lambda row: row.gid == task.gid and row.id != task.id, after=None, count=9)
        for each in page:
            with pytest.raises(MeshError) as refused:
                await b.service.retry(each.id, RetryRequest(), principal="operator")
            assert refused.value.code == "parent_cancelled"
            assert (await b.shelf.one(each.id)).epoch == each.epoch


async def test_what_was_submitted_while_the_rest_was_being_cancelled_is_found_by_another_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, cancelled = [["one"], ["two"], []], []

    async def unended(shelf: Shelf, task: TaskRecord) -> list[str]:
        return looks.pop(0)

    async def cancel_one(task: str) -> None:
        cancelled.append(task)

    monkeypatch.setattr(offspring, "unended", unended)
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        assert await offspring.cancel(a.shelf, record(), cancel_one=cancel_one) == 0
    assert (cancelled, looks) == (["one", "two"], [])
