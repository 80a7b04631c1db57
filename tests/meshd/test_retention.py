"""Ended tasks are kept for as long as is said, and are gone afterwards, for every node."""

from meshd import clock
from meshd.ports import Desk, Outcome, Work
from protocol.errors import MeshError
from tests.meshd.little_daemons import Actor, Held, LittleDaemon, echo, little_daemons
from tests.waiting import until_told


async def _is_gone(daemon: LittleDaemon, task: str) -> bool:
    try:
        await daemon.service.task(task)
    except MeshError as failure:
        return failure.code == "unknown_task"
    return False


async def test_an_ended_task_says_until_when_it_is_kept_and_is_gone_then() -> None:
    async with little_daemons(keep_s=1.5) as mesh:
        a, b = await mesh.start("a", Actor()), await mesh.start("b")
        task = await b.submit({"n": 1})
        assert task.kept_until_ms is None
        ended = await b.ended(task.id)
        assert ended.state == "done"
        assert ended.finished_ms is not None
        assert ended.kept_until_ms == ended.finished_ms + 1_500
        assert (await a.service.task(task.id)).kept_until_ms == ended.kept_until_ms
        for daemon in (a, b):
            await until_told(lambda daemon=daemon: _is_gone(daemon, task.id), what="the end of its record")  # type: ignore[misc]  # a default that binds the loop's variable
        assert clock.wall_ms() >= ended.kept_until_ms


async def test_how_long_a_task_is_kept_is_its_homes_word_on_every_node() -> None:
    async with little_daemons(keep_s=1.2) as mesh:
        home = await mesh.start("home")
        mesh.keep_s = 7_200.0
        owner = await mesh.start("owner", Actor())
        task = await home.submit({"n": 1})
        ended = await home.ended(task.id)
        assert ended.finished_ms is not None
        assert ended.owner == owner.me.id
        assert ended.kept_until_ms == ended.finished_ms + 1_200
        assert (await owner.service.task(task.id)).kept_until_ms == ended.kept_until_ms
        await until_told(lambda: _is_gone(owner, task.id), what="the end of its record")


async def test_a_task_that_has_not_ended_is_not_removed_however_old_it_is() -> None:
    held = Held()

    async def work(work: Work, desk: Desk) -> Outcome:
        return await (held if work.input == "long" else echo)(work, desk)

    async with little_daemons(keep_s=0.3) as mesh:
        a = await mesh.start("a", Actor(do=work, slots=2))
        long = await a.submit("long")
        await a.shows(long.id, "running")
        short = await a.submit("short")
        await until_told(lambda: _is_gone(a, short.id), what="the end of a later one's record")
        assert (await a.service.task(long.id)).kept_until_ms is None
        held.release.set()
        assert (await a.ended(long.id)).state == "done"
