"""What would happen to a live mesh: told in its own names, the same each time, and kept as a scenario."""

from typing import Any

import pytest

from simulations.forecast import Forecast, foretold, planned, told
from simulations.live import heard
from simulations.scenario import ScenarioError, parsed
from simulations.wishes import Kind, Wish
from tests.simulations.live_answers import answers


def forecast(*wishes: tuple[Kind, str], run_s: float = 30.0, live: dict[str, Any] | None = None) -> Forecast:
    mesh = heard(live or answers())
    return foretold(planned(mesh, [Wish(*wish) for wish in wishes], run_s=run_s), seed=1)


def test_a_kill_is_noticed_by_all_others_and_its_task_moves_to_who_can_do_it() -> None:
    found = forecast(("kill", "d@5s"))
    dead = next(notice for notice in found.notices if notice.what == "dead")
    assert (dead.node, sorted(dead.by), dead.of) == ("d", ["a", "b", "c", "e"], 4)
    assert 5.0 < dead.first_s <= dead.last_s < 10.0
    [move] = found.moves
    assert (move.task, move.former) == ("task1", "d")
    assert move.owner in ("b", "c", "e")
    assert found.waiting == ()
    assert found.one_view_s is not None
    assert "  1 of 2 stay where they are" in told(found)


def test_where_all_are_killed_nobody_is_left_and_there_is_no_view() -> None:
    found = forecast(("kill", "a,b,c,d,e@5s"), run_s=8.0)
    assert (found.one_view_s, found.lacking) == (None, "nobody is left")
    lines = told(found)
    assert "  nobody is left to notice anything" in lines
    assert lines[-1] == "nobody is left"


def test_a_cut_that_heals_ends_in_one_view_and_one_that_stays_does_not() -> None:
    healed = forecast(("cut", "region:east,region:west@3s+6s"))
    assert healed.one_view_s is not None
    assert {notice.node for notice in healed.notices if notice.what == "alive again"} >= {"d", "e"}
    stays = forecast(("cut", "region:east,region:west@3s"))
    assert stays.one_view_s is None
    assert stays.lacking == "a sees as alive: a, b, c"
    assert {change.node for change in stays.changes if change.what.startswith("detached")} == {"d", "e"}
    assert told(stays)[-1] == "no one view by the end: a sees as alive: a, b, c"


def test_a_task_that_nobody_else_can_do_waits_and_is_named() -> None:
    live = answers()
    live["agents"] = [agent for agent in live["agents"] if agent["node"].startswith("d")]
    live["tasks"] = live["tasks"][:1]
    found = forecast(("kill", "d@3s"), live=live)
    assert (found.moves, found.waiting) == ((), ("task1",))
    assert "  task1 waits in the end: nobody who can do it is there and free" in told(found)


def test_nothing_is_noticed_of_a_stop_that_is_too_short() -> None:
    found = forecast(("pause", "e@3s+50ms"))
    assert not [notice for notice in found.notices if notice.what == "dead"]
    assert found.broken == ()


def test_the_same_question_has_the_same_answer() -> None:
    assert forecast(("kill", "d@5s"), ("broker-down", "10s+2s")) == forecast(
        ("kill", "d@5s"), ("broker-down", "10s+2s")
    )


def test_nodes_stand_where_they_do_in_the_live_mesh_so_that_bridges_are_played() -> None:
    live = answers()
    live["peers"][1]["region"] = "west"  # b, between a and c
    scenario = planned(heard(live), [Wish("kill", "e@5s")], run_s=20.0).scenario
    assert scenario.regions == {"east": ("n1", "n3"), "west": ("n2", "n4-n5")}
    for peer in live["peers"]:
        peer["region"] = "east"
    assert planned(heard(live), [Wish("kill", "e@5s")], run_s=20.0).scenario.regions == {}


def test_a_region_that_no_daemon_could_have_is_refused_in_one_sentence() -> None:
    live = answers()
    live["peers"][1]["region"] = 'b"\n[[fault]]'
    with pytest.raises(ScenarioError, match=r"from-live: regions: .* is no name of a region"):
        planned(heard(live), [Wish("kill", "e@5s")], run_s=20.0)


def test_a_question_without_a_fault_is_refused() -> None:
    with pytest.raises(ScenarioError, match="nothing is to happen"):
        forecast()


def test_what_is_kept_is_a_scenario_whatever_the_nodes_are_called() -> None:
    live = answers()
    live["peers"][1]["name"] = 'b"\n[[fault]]\x1b\u202e'
    plan = planned(heard(live), [Wish("kill", "e@5s")], run_s=20.0)
    text = plan.text()
    assert parsed(text, origin="kept") == plan.scenario
    assert text.isprintable() or all(char.isprintable() or char == "\n" for char in text)
    assert '# n1 is "a", region "east"' in text


def test_the_world_has_the_settings_of_the_mesh_and_what_it_has_not_is_told_on_a_line() -> None:
    plan = planned(heard(answers()), [Wish("kill", "d@5s")], run_s=10.0)
    nodes = plan.scenario.settings()
    assert nodes.gossip.digest_interval_s == 4.0
    assert nodes.link.islanded_after_s == 1.5
    assert nodes.keep_s == 600.0
    assert nodes.tasks.lease_s == 2.0
    assert parsed(plan.text(), origin="saved").settings() == nodes
    lines = told(foretold(plan, seed=1))
    unplayed = "those of other nodes (all play with a's), agents.drain_s, tasks.of_a_later_version"
    assert f"  not played: settings: {unplayed}" in lines
