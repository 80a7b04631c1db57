"""What the API answers while the record cannot be written."""

import asyncio

import pytest

from protocol.errors import MeshError
from tests.meshd.little_daemons import Actor, little_daemons


async def test_a_full_disk_refuses_a_submit_at_once_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        monkeypatch.setattr(a.views, "blocked", lambda: "the nats-server has no room on its disk")
        with pytest.raises(MeshError) as caught:
            await a.submit("x")
        assert caught.value.code == "disk_full"
        assert caught.value.message == "nothing can be recorded: the nats-server has no room on its disk"
        assert a.service.ready().ready is False
        assert a.service.ready().reason == "the nats-server has no room on its disk"


async def test_a_node_whose_store_refused_a_task_is_not_ready_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        refusals = ["is full: maximum bytes exceeded"]
        monkeypatch.setattr(a.views, "_refusal", lambda: refusals[0])
        assert a.service.ready().ready is False
        assert a.service.ready().reason == "the record is full: maximum bytes exceeded"
        assert a.views.gauges(a.engine, a.performer)["meshd_record_refusing"] == 1.0
        refusals[0] = ""
        assert a.service.ready().ready is True
        assert a.views.gauges(a.engine, a.performer)["meshd_record_refusing"] == 0.0


async def test_an_islanded_node_shows_the_tasks_that_it_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshd.service.LOOK_GRACE_S", 0.01)
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        task = await a.ended((await a.submit("x")).id)
        monkeypatch.setattr(a.store, "write", lambda *given, **named: asyncio.Event().wait())
        await a.until(lambda: a.node.state == "islanded" and a.views.cut_off_s() > 0.01)
        assert (await a.service.task(task.id)).state == "done"
