"""What a daemon told of its mesh: what becomes of it, and what is refused."""

import pytest

from simulations.live import heard
from simulations.placed import PLACED_MAX
from simulations.scenario import ScenarioError
from tests.simulations.live_answers import a_task, answers, node_id


def test_nodes_are_numbered_by_name_and_keep_region_and_slots() -> None:
    mesh = heard(answers())
    assert [(node.stand_in, node.name, node.region, node.slots) for node in mesh.nodes][:2] == [
        ("n1", "a", "east", 2),
        ("n2", "b", "east", 2),
    ]
    assert mesh.regions == ("east", "west")
    assert mesh.server is not None
    assert mesh.server.name == "a"


def test_settings_that_are_not_as_in_the_preset_are_taken_over() -> None:
    mesh = heard(answers())
    assert mesh.preset == "local"
    assert mesh.membership == {"verifiers": 2}
    assert mesh.timers.lease_s == 2.0
    assert mesh.routing == "least-loaded"
    assert mesh.gossip.digest_interval_s == 4.0
    assert mesh.writes.islanded_after_s == 1.5
    assert mesh.keep_s == 600.0
    assert mesh.settings_left_out == ("agents.drain_s", "tasks.of_a_later_version")


@pytest.mark.parametrize(
    ("key", "value"),
    [("gossip.repeat_s", 0), ("link.beat_s", "soon"), ("results.keep_s", "long"), ("results.keep_s", True)],
)
def test_a_setting_that_is_none_is_refused_with_its_group(key: str, value: object) -> None:
    told = answers()
    told["settings"] = [each for each in told["settings"] if each["key"] != key] + [{"key": key, "value": value}]
    with pytest.raises(ScenarioError, match=f"the daemon's (settings of )?{key.partition('.')[0]}"):
        heard(told)


def test_a_task_under_way_knows_who_else_could_do_it() -> None:
    told = answers()
    told["agents"][1]["state"] = "restarting"  # c
    told["peers"][4]["load"]["draining"] = True  # e
    [first, second] = heard(told).tasks
    assert (first.placed.home, first.placed.owner, first.placed.others) == ("n1", "n4", ("n2",))
    assert (second.placed.owner, second.placed.others) == ("n2", ("n4",))


def test_who_is_gone_is_named_and_not_played_nor_are_its_tasks() -> None:
    told = answers()
    told["peers"][3]["state"] = "dead"
    mesh = heard(told)
    assert mesh.gone == ("d",)
    assert [node.name for node in mesh.nodes] == ["a", "b", "c", "e"]
    assert [task.id for task in mesh.tasks] == ["task2"]
    assert mesh.tasks_left_out == 1


def test_tasks_that_nobody_has_are_counted_and_not_played() -> None:
    told = answers()
    told["tasks"] = [{**a_task(1, owner="b", home="a", state="open"), "owner": ""}]
    mesh = heard(told)
    assert (mesh.tasks, mesh.tasks_left_out, mesh.tasks_open) == ((), 0, 1)


def test_more_tasks_than_a_scenario_takes_are_counted() -> None:
    told = answers()
    told["tasks"] = [a_task(number, owner="b", home="a") for number in range(PLACED_MAX + 5)]
    mesh = heard(told)
    assert (len(mesh.tasks), mesh.tasks_left_out) == (PLACED_MAX, 5)
    assert mesh.nodes[1].slots == PLACED_MAX, "who does so many has the slots for it"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("peers",), [], "0 nodes are in view"),
        (("peers",), 7, "not understood"),
        (("peers", 0, "name"), 7, "not understood"),
        (("tasks", 0, "owner"), None, "not understood"),
        (("status", "record"), {}, "not understood"),
        (("settings", 0, "value"), "moon", "membership.preset is 'moon'"),
        (("settings", 1, "value"), -1, "settings of membership"),
        (("settings", 3, "value"), "long", "settings of tasks"),
    ],
)
def test_an_answer_that_does_not_fit_is_one_sentence(path: tuple[str | int, ...], value: object, said: str) -> None:
    told = answers()
    *way, last = path
    place = told
    for step in way:
        place = place[step]  # type: ignore[index]  # a list by number, a table by name
    place[last] = value  # type: ignore[index]  # as above
    with pytest.raises(ScenarioError, match=said) as refused:
        heard(told)
    assert "\n" not in str(refused.value)


def test_a_node_may_have_any_name() -> None:
    told = answers()
    told["peers"][2]["name"] = "c\x1b[31m\n\u202e"
    assert heard(told).nodes[2].id == node_id("c")
