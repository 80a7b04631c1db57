"""Two regions of real engines on one bus: who hears what, who bridges, and what people are shown of it."""

import pytest

from tests.meshd.little_daemons import Actor, Held, LittleDaemon, LittleDaemons, little_daemons

EAST, WEST = "abcde", "xy"


@pytest.fixture(autouse=True)
def _soon_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.bridging.NARROW_S", 0.1)


async def _two_regions(mesh: LittleDaemons) -> dict[str, LittleDaemon]:
    """Five in the east, of whom three bridge and `b` has the agent, and two in the west, which both do."""
    regions = dict.fromkeys(EAST, "east") | dict.fromkeys(WEST, "west")
    for name, region in regions.items():
        await mesh.start(name, *([Actor()] if name == "b" else []), region=region)
    return mesh.daemons


def _bridges(mesh: LittleDaemons, region: str) -> set[str]:
    """Who hears the facts of all regions, by its subscriptions."""
    elsewhere = mesh.subjects.fact(region="nowhere", src="x")
    own = mesh.subjects.fact(region=region, src="x")
    living = [each for each in mesh.daemons.values() if each.me.region == region]
    assert all(each.transport.listens(own) for each in living)
    return {each.name for each in living if each.transport.listens(elsewhere)}


def _named(mesh: LittleDaemons, region: str) -> set[str]:
    """Who should, as every node of the mesh says it of them."""
    told = [
        {peer.name for peer in each.views.peers() if peer.bridge and peer.region == region and peer.state == "alive"}
        for each in mesh.daemons.values()
    ]
    assert all(names == told[0] for names in told)
    return told[0]


async def test_three_of_a_region_hear_all_and_another_takes_the_place_of_one_that_is_killed() -> None:
    async with little_daemons() as mesh:
        nodes = await _two_regions(mesh)
        await nodes["a"].until(lambda: len(_bridges(mesh, "east")) == 3, what="three bridges of five")
        assert _bridges(mesh, "east") == _named(mesh, "east")
        assert _bridges(mesh, "west") == _named(mesh, "west") == {"x", "y"}
        lost = await mesh.kill(sorted(_bridges(mesh, "east"))[0])
        left = next(iter(mesh.daemons.values()))
        await left.until(lambda: len(_bridges(mesh, "east")) == 3, what="another bridge")
        await left.until(lambda: all(_is_dead(lost, each) for each in mesh.daemons.values()), what="all seeing it gone")
        assert _bridges(mesh, "east") == _named(mesh, "east")
        assert all(each.me.id in {peer.id for peer in left.views.peers()} for each in mesh.daemons.values())


def _is_dead(lost: LittleDaemon, seen_by: LittleDaemon) -> bool:
    return any(peer.id == lost.me.id and peer.state == "dead" for peer in seen_by.views.peers())


async def test_work_stays_in_its_region_while_somebody_there_is_free_and_goes_to_the_other_then() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a", region="east")
        await mesh.start("b", Actor(do=held, slots=1), region="east")
        x = await mesh.start("x", Actor(do=held, slots=2), region="west")
        tasks = [await a.submit(number) for number in range(3)]
        await a.until(lambda: a.views.status().tasks_running == 0 and len(x.actors[0].runs) == 2, what="all at work")
        held.release.set()
        assert [(await a.ended(task.id)).owner_name for task in tasks] == ["b", "x", "x"]


async def test_a_task_that_only_the_other_region_can_do_is_done_there() -> None:
    async with little_daemons() as mesh:
        nodes = await _two_regions(mesh)
        task = await nodes["x"].submit("there")
        assert (await nodes["x"].ended(task.id)).owner_name == "b"


async def test_a_status_tells_of_other_regions_and_whether_this_node_is_a_bridge() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", region="east")
        assert (a.views.status().region, a.views.status().other_regions, a.views.status().bridge) == ("east", 0, False)
        assert [peer.bridge for peer in a.views.peers()] == [False]  # there is nowhere to bridge to
        await mesh.start("x", region="west")
        assert (a.views.status().other_regions, a.views.status().bridge) == (1, True)
        assert [(peer.name, peer.region, peer.bridge) for peer in a.views.peers()] == [
            ("a", "east", True),
            ("x", "west", True),
        ]
