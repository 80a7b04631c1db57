"""Rules of any node, as they depend on time and on the size of the mesh."""

import pytest

from protocol.effects import List
from protocol.ids import task_key
from protocol.inputs import Tick
from protocol.prober import ASKS
from simulations.checks import CHECKS
from simulations.checks_bounds import (
    EFFECTS_MAX,
    EFFECTS_PER_NODE,
    IDLE_PER_ASK,
    IDLE_PER_PROBE,
    IDLE_PER_S,
    IDLE_S,
    QUIET_S,
    SAID_PER_S_MAX,
    SAID_PER_S_PER_NODE,
    SAID_PER_WRITE,
    TORN,
)
from simulations.scenario import parsed
from simulations.seen import Handled, Said, Seen, Span, Stored
from simulations.timeline import ns
from simulations.world import World
from tests.simulations.test_checks import AWARDED, DONE


@pytest.mark.parametrize("nodes", [2, 5])
def test_an_idle_mesh_whose_links_lose_asks_again_and_is_quiet(nodes: int) -> None:
    text = f'about = "x"\nnodes = {nodes}\nrun_s = 45\npreset = "local"\nstart = "known"\n[link]\nloss = 0.2\n'
    assert World(parsed(text + '[expect]\nalways = ["quiet"]\n', origin="x"), seed=1).run().violations == ()


def test_an_idle_mesh_says_little_once_nothing_is_left_to_say() -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 600\n', origin="x"), seed=1)
    most = int((IDLE_PER_S + IDLE_PER_PROBE / world.settings.membership.probe_interval_s) * IDLE_S * 3)
    assert world.network.round_trip_s < world.settings.membership.probe_timeout_s / ASKS
    for at_s, count, is_broken in ((QUIET_S + 1, most, False), (QUIET_S + 1, most + 1, True), (1.0, most + 1, False)):
        check = CHECKS["quiet"](world)
        check.on(Span("crash", ("n1",), is_on=True))
        world.timeline.now_ns = ns(at_s)
        said = [check.on(Said("n1", "Digest")) for _ in range(count)]
        assert any(each is not None for each in said) is is_broken
        world.timeline.now_ns = 0


def test_owners_of_tasks_that_are_under_way_may_be_asked_how_it_goes() -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 600\n', origin="x"), seed=1)
    most = int((IDLE_PER_S + IDLE_PER_PROBE / world.settings.membership.probe_interval_s) * IDLE_S * 3)
    asked = int(IDLE_PER_ASK / world.settings.tasks.ask_interval_s * IDLE_S)
    for writes, bound in (([AWARDED], most + asked), ([AWARDED, DONE], most)):
        check = CHECKS["quiet"](world)
        for record in writes:
            check.on(Stored("n1", task_key("t"), 1, record))
        world.timeline.now_ns = ns(QUIET_S + 1)
        said = [check.on(Said("n1", "Ask")) for _ in range(bound + 1)]
        assert [each is not None for each in said] == [False] * bound + [True]
        world.timeline.now_ns = 0


@pytest.mark.parametrize(
    "fault",
    [
        "kind = 'starve'\nnode = 'n1'\nat_s = 1",
        "kind = 'attack'\nshape = 'accuse'\nnode = 'n1'\nat_s = 1\nfor_s = 60",
        "kind = 'links'\none = ['n1']\nlink = { duplicate = 1 }\nat_s = 1",
    ],
)
def test_a_mesh_in_which_something_goes_on_for_ever_is_no_idle_one(fault: str) -> None:
    head = 'about = "x"\nnodes = 3\nrun_s = 2\nexpect.always = []\nstart = "known"\n[[fault]]\n'
    for text in ("", fault):
        world = World(parsed(head + (text or "kind = 'leave'\nnode = 'n3'\nat_s = 1"), origin="x"), seed=1)
        check = CHECKS["quiet"](world)
        world._rules[Span] = [("quiet", check.on)]
        world.run()
        world.timeline.now_ns = ns(QUIET_S + 9)
        said = [check.on(Said("n1", "Digest")) for _ in range(1_000)]
        assert any(each is not None for each in said) is not bool(text)


def test_who_is_in_part_apart_doubts_and_refutes_without_end_and_a_clean_cut_does_not() -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 600\n', origin="x"), seed=1)
    most = int((IDLE_PER_S + IDLE_PER_PROBE / world.settings.membership.probe_interval_s) * IDLE_S * 3)
    n1_and_n2 = frozenset({("n1", "n2"), ("n2", "n1")})  # both reach n3
    for groups, pairs, bound in (({"n1": 1}, frozenset(), most), ({}, n1_and_n2, TORN * most)):
        check = CHECKS["quiet"](world)
        cut = world.network.cut(groups=groups, pairs=pairs)
        check.on(Span("partition", (), is_on=True))
        world.timeline.now_ns = ns(QUIET_S + 1)
        said = [check.on(Said("n1", "Suspect")) for _ in range(bound + 1)]
        assert [each is not None for each in said] == [False] * bound + [True]
        world.network.heal(cut)
        world.timeline.now_ns = 0


def test_a_node_that_floods_is_found_unless_its_writes_or_what_it_could_not_say_explain_it() -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 600\n', origin="x"), seed=1)
    host = world.hosts["n1"]
    host.start()
    world.timeline.now_ns = ns(10)
    most = SAID_PER_S_MAX + 3 * SAID_PER_S_PER_NODE
    written = Stored("n1", "p00.x", 1, None)
    cases: list[tuple[list[Seen], int, bool]] = [
        ([], most, False),
        ([], most + 1, True),
        ([written, written], most + 2 * SAID_PER_WRITE, False),
        ([written, written], most + 2 * SAID_PER_WRITE + 1, True),
        ([Stored("n2", "p00.x", 1, None)], most + 1, True),
    ]
    for before, count, is_broken in cases:
        check = CHECKS["calm"](world)
        for seen in before:
            check.on(seen)
        said = [check.on(Said("n1", "Ping")) for _ in range(count)]
        assert any(each is not None for each in said) is is_broken
    host.intake.hold()
    host.receive(Tick(), host.life)
    assert check.on(Said("n1", "Ack")) is None, "it answers what waited"


@pytest.mark.parametrize("fault", ["hold", "block"])
def test_when_all_that_was_held_is_given_at_once_a_burst_of_answers_is_none_of_the_node(fault: str) -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 600\n', origin="x"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.timeline.run(ns(20))
    check = CHECKS["calm"](world)
    check.on(Span(fault, (), is_on=False))
    assert all(check.on(Said("n1", "Ack")) is None for _ in range(1_000))
    world.timeline.run(ns(22.5))
    assert any(check.on(Said("n1", "Ack")) is not None for _ in range(1_000))


def test_what_is_done_about_one_input_is_bounded() -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 600\n', origin="x"), seed=1)
    check, most = CHECKS["bounded"](world), EFFECTS_MAX + 3 * EFFECTS_PER_NODE
    wanted = [Handled("n1", 1, "Written", 0, effects=[List((0,))] * count) for count in (most, most + 1)]
    assert [check.on(seen) is not None for seen in wanted] == [False, True]
