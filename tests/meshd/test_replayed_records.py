"""A record from before the end of its task, put under its key again with the credential of the bucket alone."""

from msgspec import structs

from protocol import ids
from protocol.events import TaskPutBack, TaskStarted
from tests.meshd.little_daemons import QUICK, Actor, Held, LittleDaemon, LittleDaemons, little_daemons

SWEEPING = structs.replace(QUICK, sweep_s=1.0)


async def _done_by(owner: LittleDaemon, held: Held, mesh: LittleDaemons) -> tuple[str, bytes]:
    """A task of node a that `owner` has done, and its record as it stood while it was awarded."""
    a = mesh.daemons["a"]
    task = await a.submit("x")
    await a.shows(task.id, "running")
    entry = mesh.bucket.entry(ids.task_key(task.id))
    assert entry is not None
    held.release.set()
    assert (await a.ended(task.id)).owner == owner.me.id
    return task.id, entry.frame


async def test_an_older_record_over_the_end_of_a_task_is_replaced_and_nothing_runs_again() -> None:
    async with little_daemons(SWEEPING) as mesh:
        held = Held()
        a, b = await mesh.start("a"), await mesh.start("b", Actor(do=held))
        task, older = await _done_by(b, held, mesh)
        replayed = mesh.bucket.put(ids.task_key(task), older, 0.0)
        assert (await a.service.task(task)).state == "done", "whoever remembers it shows the end at once"
        await a.until(lambda: a.said(TaskPutBack) or b.said(TaskPutBack), what="the end being put back")
        newcomer = await mesh.start("c")
        assert (await newcomer.service.task(task)).state == "done"
        entry = mesh.bucket.entry(ids.task_key(task))
        assert entry is not None
        assert entry.revision > replayed
        assert len(b.said(TaskStarted)) == 1
        told = a if a.said(TaskPutBack) else b
        assert "put back" in " ".join(told.service.status().attention)


async def test_an_owner_that_remembers_the_end_outweighs_a_home_that_forgot_it() -> None:
    async with little_daemons(structs.replace(QUICK, sweep_s=60.0)) as mesh:
        held = Held()
        await mesh.start("a")
        b = await mesh.start("b", Actor(do=held))
        task, older = await _done_by(b, held, mesh)
        await mesh.kill("a")
        mesh.bucket.put(ids.task_key(task), older, 0.0)
        a = await mesh.start("a")
        assert (await a.ended(task)).state == "done"
        await b.until(lambda: b.said(TaskPutBack), what="the end being put back by its owner")
        assert (len(b.said(TaskStarted)), a.node.ledger.watched) == (1, 0)
