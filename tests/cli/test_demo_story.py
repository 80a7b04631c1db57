"""The demo's story, told from recorded events."""

import pytest

from cli.demo_story import Line, Share, Story
from tests.cli.demo_events import NODES, Event, all_up, awarded, done, lapsed, said, started, up


@pytest.fixture
def story() -> Story:
    story = Story(nodes=("a", "b", "c"), total=8, goal="goal")
    tell(story, *all_up())
    return story


def tell(story: Story, *events: Event) -> list[Line]:
    return [line for event in events for line in story.on_event(event)]


def ran(task: str, owner: str) -> list[Event]:
    return [awarded(task, 1, owner), started(task, 1, owner), done(task, 1, owner)]


def test_what_each_node_did_and_does_is_counted_without_the_goal(story: Story) -> None:
    tell(story, awarded("goal", 1, "a"), started("goal", 1, "a"))
    tell(story, *ran("t1", "a"), *ran("t2", "b"), awarded("t3", 1, "c"), started("t3", 1, "c"))
    assert story.shares() == {"a": Share(1, 0), "b": Share(1, 0), "c": Share(0, 1)}
    assert story.done == 2
    assert story.running_on("c") == ["t3"]


def test_an_event_that_is_heard_twice_is_told_and_counted_once(story: Story) -> None:
    events = [*ran("t1", "b"), awarded("t2", 1, "c"), lapsed("t2", 1, "c"), awarded("t2", 2, "b", former="c")]
    first = tell(story, *events)
    assert first != []
    assert tell(story, *events) == []
    assert story.shares()["b"].done == 1


def test_events_of_two_nodes_may_come_in_any_order(story: Story) -> None:
    tell(story, done("t1", 1, "b"), started("t1", 1, "b"), awarded("t1", 1, "b"))
    assert story.shares()["b"] == Share(1, 0)


def test_the_first_lapse_says_how_the_owner_was_missed_and_each_new_award_where_the_task_went(story: Story) -> None:
    tell(story, awarded("t1", 1, "c"), started("t1", 1, "c"), awarded("t2", 1, "c"), started("t2", 1, "c"))
    story.labels["t1"] = "click"
    lines = tell(
        story,
        lapsed("t1", 1, "c"),
        awarded("t1", 2, "b", former="c", why="absent"),
        lapsed("t2", 1, "c"),
        awarded("t2", 2, "a", former="c", why="absent"),
    )
    assert [(line.node, line.text) for line in lines] == [
        ("a", "owner c is absent, says the broker: its tasks move on"),
        ("a", "awards anew to b: click (t1), award 2"),
        ("a", "awards anew to a: task t2, award 2"),
    ]
    assert story.moved == {"t1": ("c", "b"), "t2": ("c", "a")}
    assert story.running_on("c") == []


def test_a_silent_owner_is_called_silent(story: Story) -> None:
    (line,) = tell(story, lapsed("t1", 1, "c", evidence="silent", silent_s=3.04))
    assert line.text == "owner c is silent for 3.0 s: its tasks move on"


def test_only_the_first_moves_are_told_one_by_one(story: Story) -> None:
    tasks = [f"t{number}" for number in range(9)]
    lines = tell(story, *(event for task in tasks for event in (lapsed(task, 1, "c"), awarded(task, 2, "b"))))
    assert sum("awards anew" in line.text for line in lines) == 4
    assert len(story.moved) == 9


def test_an_award_after_a_mere_refusal_is_no_move(story: Story) -> None:
    declined = said("a", "award_declined", task="t1", iid="i", epoch=1, owner=NODES["c"], reason="busy", detail="")
    assert tell(story, awarded("t1", 1, "c"), declined, awarded("t1", 2, "b", former="c", why="busy")) == []
    assert story.moved == {}


def test_a_suspicion_and_a_death_are_told_once_whoever_says_them(story: Story) -> None:
    story.killed = "c"
    suspicion = {"peer": NODES["c"], "name": "c", "life": 1, "evidence": "absent"}
    death = {"peer": NODES["c"], "name": "c", "life": 1, "evidence": "absent", "after_s": 2.21}
    lines = tell(
        story,
        said("a", "peer_suspect", accuser=NODES["a"], **suspicion),
        said("b", "peer_suspect", accuser=NODES["a"], **suspicion),
        said("b", "peer_dead", accusers=[NODES["a"], NODES["b"]], **death),
        said("a", "peer_dead", accusers=[NODES["a"], NODES["b"]], **death),
    )
    assert [(line.node, line.text) for line in lines] == [
        ("a", "suspects c: nobody listens for it any more"),
        ("c", "declared dead 2.2 s after the first suspicion, by a and b"),
    ]
    assert story.dead == {"c": 2.21}


def test_a_node_that_comes_back_with_a_new_life_is_not_dead_any_more(story: Story) -> None:
    tell(story, said("a", "peer_dead", peer=NODES["c"], name="c", life=1, evidence="timeout", accusers=[], after_s=5.0))
    (line,) = tell(story, up("a", "c", life=2))
    assert (line.node, line.text) == ("c", "is back")
    assert story.dead == {}


def test_states_before_the_kill_are_no_news_and_after_it_they_are(story: Story) -> None:
    assert tell(story, said("b", "state_changed", state="joined", reason="")) == []
    story.killed = "a"
    lines = tell(
        story,
        said("b", "state_changed", state="detached", reason="no server"),
        said("b", "state_changed", state="joined", reason=""),
    )
    assert [line.text for line in lines] == [
        "detached: goes on with what it holds, judges nobody",
        "joined again",
    ]
    assert story.detached == set()


def test_the_share_of_the_work_is_told_now_and_then(story: Story) -> None:
    story.total = 16
    lines = tell(story, *(event for number in range(16) for event in ran(f"t{number}", "abc"[number % 3])))
    assert [line.text for line in lines] == [
        "2 of 16 pieces done (a 1, b 1, c 0)",
        "4 of 16 pieces done (a 2, b 1, c 1)",
        "8 of 16 pieces done (a 3, b 3, c 2)",
        "12 of 16 pieces done (a 4, b 4, c 4)",
        "15 of 16 pieces done (a 5, b 5, c 5)",
    ]
    assert tell(story, done("t15", 1, "a")) == []


def test_two_commits_of_one_task_are_both_kept_for_the_count(story: Story) -> None:
    tell(story, done("t1", 1, "c"), done("t1", 2, "b"))
    assert story.commits["t1"] == {(1, "c"), (2, "b")}
    assert story.shares()["b"].done == 1
    assert story.shares()["c"].done == 0


def test_a_refused_late_result_is_told(story: Story) -> None:
    late = said(
        "c", "result_refused", task="t1", iid="i", epoch=1, owner=NODES["c"], stands_epoch=2, stands_state="done"
    )
    (line,) = tell(story, late)
    assert line.text == "a late result of task t1 is refused: award 1 is over"


def test_an_unknown_kind_and_an_empty_event_say_nothing(story: Story) -> None:
    assert tell(story, said("a", "frame_refused", code="replay"), {}) == []


def test_a_home_that_came_back_says_that_its_earlier_life_was_lost(story: Story) -> None:
    story.killed = "a"
    adopted = said("a", "tasks_adopted", home=NODES["a"], tasks=3, why="restarted")
    lines = tell(story, adopted, adopted, lapsed("t1", 1, "a", evidence="silent", silent_s=3.4))
    assert [line.text for line in lines] == [
        "takes up its own tasks again",
        "its own earlier life is silent for 3.4 s: its tasks move on",
    ]


def test_a_node_that_finds_its_tasks_after_its_own_restart_says_so_and_not_how_long_it_was_silent(story: Story) -> None:
    for owner, text in (
        ("a", "it has restarted: the tasks of its earlier life move on"),
        ("c", "owner c has restarted: its tasks move on"),
    ):
        (line,) = tell(story, lapsed("t1", 1, owner, evidence="node_restarted", silent_s=0.0))
        assert line.text == text


def test_a_suspicion_of_a_node_that_was_not_killed_is_no_news(story: Story) -> None:
    story.killed = "c"
    suspicion = {"peer": NODES["b"], "name": "b", "life": 1, "evidence": "timeout", "accuser": NODES["a"]}
    assert tell(story, said("a", "peer_suspect", **suspicion)) == []


def test_an_award_that_is_heard_late_takes_nothing_from_the_one_that_stands(story: Story) -> None:
    tell(story, awarded("t1", 2, "b"), started("t1", 2, "b"), awarded("t1", 1, "c"), started("t1", 1, "c"))
    assert story.running_on("b") == ["t1"]
    assert story.running_on("c") == []
