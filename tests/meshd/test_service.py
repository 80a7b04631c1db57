"""Work over three daemons in one process: submitted, called, listed, waited for, cancelled."""

from tests.meshd.little_daemons import Actor, Held, little_daemons


async def test_a_task_submitted_on_one_node_is_done_by_another_and_waited_for_on_a_third() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", Actor())
        c = await mesh.start("c")
        task = await a.submit({"n": 7})
        shown = await c.ended(task.id)
        assert (shown.state, shown.result, shown.owner) == ("done", {"n": 7}, b.me.id)
