"""An agent in a region where its manifest does not let it run: shown with the reason, never run."""

from pathlib import Path

from meshd.agents.elsewhere import STATE
from protocol.inputs import AgentFailed
from tests.meshd.crew_stage import Stage, text
from tests.waiting import until

WHY = "it may run in west, north only, and its node stands in east"


async def test_an_agent_of_other_regions_is_shown_and_announced_without_slots_and_never_runs(tmp_path: Path) -> None:
    stage = Stage(tmp_path, region="east")
    stage.write(text(region=["west", "north"], topics=["sales.all"]))
    async with stage:
        assert stage.states() == {"worker": STATE}
        assert [each.detail for each in stage.hosting.hosted()] == [WHY]
        (card,) = stage.cards
        assert (card.name, card.slots, card.topics, card.problem) == ("worker", 0, (), f"elsewhere: {WHY}")
        assert stage.said("elsewhere") == ["worker"]
        failure = await stage.end(stage.give())  # by mistake
        assert isinstance(failure, AgentFailed)
        assert (failure.code, failure.message, failure.retry) == ("agent_unavailable", WHY, True)
        assert stage.hosting.log("worker") == (0, [])


async def test_an_agent_runs_in_each_region_that_its_manifest_names(tmp_path: Path) -> None:
    stage = Stage(tmp_path, region="east")
    stage.write(text(region=["west", "east"]))
    async with stage:
        assert stage.states() == {"worker": "ready"}
        assert await stage.end(stage.give()) == "one"


async def test_an_agent_that_is_forbidden_its_region_ends_what_it_has_and_gets_nothing_new(tmp_path: Path) -> None:
    stage = Stage(tmp_path, region="east")
    stage.write(text())
    async with stage:
        held = stage.give("hold")
        stage.write(text(region=["west"]))
        stage.look_twice()
        await until(lambda: stage.states() == {"worker": "elsewhere"})
        assert [card.slots for card in stage.cards] == [0]
        assert isinstance(await stage.end(stage.give()), AgentFailed)
        stage.release()
        assert await stage.end(held) == "one"
        assert stage.problems() == []


async def test_an_operator_adds_stops_and_starts_it_as_any_other_and_it_runs_where_it_may_again(tmp_path: Path) -> None:
    async with Stage(tmp_path, region="east") as stage:
        added = await stage.crew.add(text(region=["west"]))
        assert (added.state, stage.announced) == ("elsewhere", ["worker"])
        assert (await stage.crew.stop_one("worker")).state == "stopped"
        assert stage.announced == []
        assert (await stage.crew.start_one("worker")).state == "elsewhere"
        added = await stage.crew.add(text(region=["west", "east"]), is_replacement=True)
        assert (added.state, await stage.end(stage.give())) == ("ready", "one")


async def test_of_many_regions_the_first_are_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path, region="east")
    stage.write(text(region=list("abcde")))
    async with stage:
        (hosted,) = stage.hosting.hosted()
        assert hosted.detail == "it may run in a, b, c and 2 more only, and its node stands in east"
