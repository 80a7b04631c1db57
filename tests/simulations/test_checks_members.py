"""Rules of views, each in a little world where it is kept, and where it is broken."""

import pytest

from protocol.effects import Spread
from protocol.events import PeerAlive, PeerDamped, PeerDead, PeerLeft, PeerSuspect
from protocol.inputs import LinkChanged
from protocol.wire.gossip import Left, Suspect
from simulations.checks import CHECKS
from simulations.host import Host
from simulations.scenario import parsed
from simulations.seen import Handled, Happened, Seen, Sight, Span
from simulations.timeline import ns
from simulations.world import World


def _world(since_s: float = 20.0, nodes: int = 3) -> tuple[World, list[Host]]:
    text = f'about = "x"\nnodes = {nodes}\nrun_s = 600\n[expect]\nalways = []\n'  # each is asked by itself
    world = World(parsed(text, origin="x"), seed=1)
    for host in world.hosts.values():
        host.start()
    _pass(world, since_s)
    return world, list(world.hosts.values())


def _pass(world: World, until_s: float) -> None:
    world.timeline.run(ns(until_s))


def _tick(host: Host) -> Handled:
    return Handled(host.name, host.life, "Tick", host.node.membership.incarnation)


def _said(rule: str, world: World, *sequence: Seen) -> list[str]:
    check = CHECKS[rule](world)
    return [problem for seen in sequence if (problem := check.on(seen)) is not None]


def _death(one: Host, gone: Host, *accusers: Host) -> Happened:
    ids = tuple(each.id for each in accusers)
    return Happened(one.name, one.life, PeerDead(gone.id, gone.name, gone.life, ids, "timeout", 5.0))


def _damped(one: Host, gone: Host, *accusers: Host) -> Happened:
    """The same, of a node that died often."""
    ids = tuple(each.id for each in accusers)
    told = PeerDamped(gone.id, gone.name, gone.life, "dead", 4, 600.0, 30.0, "timeout", ids, 5.0)
    return Happened(one.name, one.life, told)


def _accusation(by: Host, of: Host, *, incarnation: int = 0) -> Handled:
    fact = Spread(Suspect(of.id, of.life, incarnation, "timeout"))
    return Handled(by.name, by.life, "Tick", 0, effects=(fact,))


def test_a_death_needs_two_who_said_so_where_two_are_there() -> None:
    world, (n1, n2, n3) = _world()
    words = [_accusation(n1, n3), _accusation(n2, n3)]
    assert _said("proven-death", world, *words, _death(n1, n3, n1, n2)) == []
    assert _said("proven-death", world, words[0], _death(n1, n3, n1, n2))
    assert _said("proven-death", world, *words, _death(n1, n3, n1))


def test_a_death_that_is_told_as_damped_is_judged_like_any_other() -> None:
    world, (n1, n2, n3) = _world()
    words = [_accusation(n1, n3), _accusation(n2, n3)]
    down = Handled(n1.name, n1.life, "LinkChanged", 0, LinkChanged(up=False))
    assert _said("proven-death", world, *words, _damped(n1, n3, n1, n2)) == []
    assert _said("proven-death", world, words[0], _damped(n1, n3, n1, n2))
    assert _said("no-false-death", world, *words, _damped(n1, n3, n1, n2))
    assert _said("no-hasty-death", world, Span("pause", ("n3",), is_on=True), _damped(n1, n3, n1, n2))
    assert _said("own-word", world, _damped(n3, n3, n1, n2))
    assert _said("cut-off-judges-nobody", world, down, _damped(n1, n3, n1, n2))


def test_who_returns_from_a_death_that_was_told_as_damped_does_so_by_a_higher_incarnation() -> None:
    world, (n1, n2, n3) = _world()

    def returns(incarnation: int) -> Happened:
        told = PeerDamped(n3.id, n3.name, n3.life, "alive", 4, 600.0, 30.0, was="dead", incarnation=incarnation)
        return Happened(n1.name, n1.life, told)

    again = Happened(n1.name, n1.life, PeerAlive(n3.id, n3.name, n3.life, 2, "dead", 30.0))
    assert _said("rising-numbers", world, returns(1), _damped(n1, n3, n2), returns(2), again) == []
    assert _said("rising-numbers", world, returns(1), _damped(n1, n3, n2), returns(1))


def test_who_said_so_before_it_was_back_is_no_witness_for_those_who_cannot_hear_that_it_is() -> None:
    world, (n1, n2, n3, n4) = _world(nodes=4)
    world.network.cut(groups={"n1": 0, "n2": 1, "n3": 1, "n4": 0})
    _pass(world, 40.0)
    words = [_accusation(n2, n3), _accusation(n4, n3)]
    death = _death(n1, n3, n2, n4)
    assert _said("no-false-death", world, *words, death)
    check = CHECKS["no-false-death"](world)
    for word in words:
        check.on(word)
    n3.pause()
    _pass(world, 41.0)
    n3.resume()
    _pass(world, 51.0)
    assert check.on(death) is None
    assert check.on(_accusation(n2, n3, incarnation=1)) is None
    assert check.on(death), "it said so once more"


def test_who_reaches_it_is_no_witness_where_those_it_cannot_be_heard_by_are_enough() -> None:
    world, (n1, n2, n3, n4) = _world(nodes=4)
    world.network.cut(groups={"n1": 0, "n2": 1, "n3": 1, "n4": 0})
    _pass(world, 40.0)
    words = [_accusation(n1, n3), _accusation(n4, n3), _accusation(n2, n3)]
    assert _said("no-false-death", world, *words, _death(n1, n3, n1, n2))
    assert _said("no-false-death", world, *words, _death(n1, n3, n1, n2, n4)) == []


def test_who_was_stopped_reads_what_was_said_in_a_cut_before_it_reads_that_it_is_over() -> None:
    world, (n1, n2, n3, n4) = _world(nodes=4)
    cut = world.network.cut(groups={"n3": 1})
    _pass(world, 40.0)
    check = CHECKS["no-false-death"](world)
    for word in (_accusation(n2, n3), _accusation(n4, n3)):
        check.on(word)
    n1.pause()
    world.network.heal(cut)
    _pass(world, 60.0)
    n1.resume()
    assert check.on(_death(n1, n3, n2, n4)) is None
    assert check.on(_death(n2, n3, n2, n4)), "it was there all along"
    check.on(_accusation(n2, n3, incarnation=1))
    assert check.on(_death(n1, n3, n2, n4)), "said since"


def test_what_is_said_of_a_node_it_has_begun_itself() -> None:
    world, (n1, n2, n3) = _world()
    began = [_tick(n2)]
    back = Happened(n1.name, n1.life, PeerAlive(n2.id, n2.name, n2.life, 0))
    assert _said("own-word", world, *began, back, _accusation(n1, n2)) == []
    assert _said("own-word", world, *began, _accusation(n1, n2, incarnation=1))
    assert _said("own-word", world, *began, Happened(n1.name, 1, PeerAlive(n2.id, n2.name, n2.life + 1, 0)))
    assert _said("own-word", world, Happened(n3.name, n3.life, PeerLeft(n3.id, n3.name, n3.life)))


def test_an_impostor_that_is_gone_is_believed_in_under_the_name_that_it_had_and_under_no_other() -> None:
    world, (n1, n2, n3) = _world()
    check = CHECKS["own-word"](world)
    n2.pose(known_as=n3.name, key_of=n2.name)
    check.on(_tick(n2))
    n2.pose(known_as=n2.name, key_of=n2.name)
    shown = f"{n3.name}#{n2.id[:8]}"
    assert check.on(Happened(n1.name, n1.life, PeerAlive(n2.id, shown, n2.life, 0))) is None
    assert check.on(Happened(n1.name, n1.life, PeerAlive(n2.id, n1.name, n2.life, 0)))


def test_who_crashed_stands_alive_nowhere_after_a_while() -> None:
    world, (n1, _, n3) = _world()
    check = CHECKS["dead-are-found"](world)
    n3._end()  # its view of itself goes, and nobody is told
    check.on(Span("crash", ("n3",), is_on=True))
    check.on(Span("crash", ("n3",), is_on=True))
    check.on(Span("crash", ("n3",), is_on=False))  # the other goes on
    world.timeline.now_ns = ns(35)
    assert check.on(_tick(n1)) is None
    world.timeline.now_ns = ns(41)
    assert check.on(_tick(n1))
    assert n1.node.membership.forget(n3.id) is False


def test_who_is_well_and_within_reach_does_not_stay_suspect() -> None:
    world, (n1, n2, _) = _world()
    suspect = Happened(n1.name, n1.life, PeerSuspect(n2.id, n2.name, n2.life, n1.id, "timeout"))
    back = Happened(n1.name, n1.life, PeerAlive(n2.id, n2.name, n2.life, 1))
    cleared = PeerDamped(n2.id, n2.name, n2.life, "alive", 3, 600.0, 30.0, was="suspect", incarnation=1)
    damped = Happened(n1.name, n1.life, cleared)
    cases: list[tuple[list[Seen], bool]] = [
        ([suspect], True),
        ([suspect, back], False),
        ([suspect, damped], False),
        ([suspect, Sight("n2", "lost")], False),
        ([suspect, Sight("n1", "harmed")], False),
        ([suspect, Sight("n2", "doubled")], True),
    ]
    for sequence, is_broken in cases:
        world.timeline.now_ns = ns(20)
        check = CHECKS["refuted-soon"](world)
        for seen in sequence:
            assert check.on(seen) is None
        world.timeline.now_ns = ns(22.5)
        assert (check.on(_tick(n1)) is not None) is is_broken


def test_who_cannot_hear_its_accuser_has_until_it_is_asked_to_refute() -> None:
    world, (n1, n2, n3) = _world()
    suspect = Happened(n1.name, n1.life, PeerSuspect(n2.id, n2.name, n2.life, n3.id, "timeout"))
    for pairs, is_broken in ((frozenset({("n3", "n2")}), False), (frozenset({("n3", "n1")}), True)):
        world.timeline.now_ns = ns(20)
        cut = world.network.cut(groups={}, pairs=pairs)
        check = CHECKS["refuted-soon"](world)
        assert check.on(suspect) is None
        world.timeline.now_ns = ns(22.5)
        world.network.heal(cut)
        assert (check.on(_tick(n1)) is not None) is is_broken


def test_a_goodbye_is_heard_by_everybody_within_a_second() -> None:
    world, (n1, n2, _) = _world()
    goodbye = Handled(n2.name, n2.life, "Leave", 0, effects=(Spread(Left(0)),))
    check = CHECKS["goodbyes-heard"](world)
    assert check.on(goodbye) is None
    world.timeline.now_ns = ns(20.5)
    assert check.on(_tick(n1)) is None
    world.timeline.now_ns = ns(21.5)
    assert check.on(_tick(n1))  # it goes on seeing it, for nobody told it anything
    for sight in (Sight("n2", "lost"), Sight("n1", "harmed"), Sight("n1", "overrun")):
        world.timeline.now_ns = ns(21.5)
        lossy = CHECKS["goodbyes-heard"](world)
        lossy.on(goodbye)
        lossy.on(sight)
        world.timeline.now_ns = ns(23)
        assert lossy.on(_tick(n1)) is None
    world.timeline.now_ns = ns(30)
    n2.unlink()
    check.on(goodbye)
    world.timeline.now_ns = ns(31.5)
    assert check.on(_tick(n1)) is None, "it was not connected, and nobody could hear it"


@pytest.mark.parametrize(("after_s", "is_broken"), [(4.0, True), (5.5, False)])
def test_who_stopped_a_moment_ago_is_not_dead_yet(after_s: float, is_broken: bool) -> None:
    world, (n1, n2, n3) = _world()
    check = CHECKS["no-hasty-death"](world)
    check.on(Span("pause", ("n3",), is_on=True))
    world.timeline.now_ns += ns(after_s)
    assert (check.on(_death(n1, n3, n1, n2)) is not None) is is_broken
    world.network.cut(groups={"n2": 1})
    assert check.on(_death(n1, n3, n1, n2)) is None, "n2 did not reach it anyway"


@pytest.mark.parametrize(("ended", "is_broken"), [(1, True), (2, False)])
def test_who_is_stopped_by_two_faults_is_until_both_have_ended(ended: int, is_broken: bool) -> None:
    world, (n1, n2, n3) = _world()
    check = CHECKS["no-hasty-death"](world)
    for is_on in (True, True, *[False] * ended):
        check.on(Span("crash", ("n3",), is_on=is_on))
        world.timeline.now_ns += ns(0.2)
    assert (check.on(_death(n1, n3, n1, n2)) is not None) is is_broken


def test_who_was_stopped_long_ago_may_be_dead_a_moment_after_another_fault_began() -> None:
    world, (n1, n2, n3) = _world()
    check = CHECKS["no-hasty-death"](world)
    check.on(Span("pause", ("n3",), is_on=True))
    _pass(world, 32.0)
    check.on(Span("stall", (), is_on=True))
    assert check.on(_death(n1, n3, n1, n2)) is None
    for fault in ("pause", "stall"):
        check.on(Span(fault, ("n3",), is_on=False))
    _pass(world, 44.0)
    check.on(Span("stall", (), is_on=True))
    assert check.on(_death(n1, n3, n1, n2)), "well for long, and silent for a moment"


def test_whose_link_is_down_or_hardly_back_accuses_nobody() -> None:
    world, (n1, n2, _) = _world()
    check = CHECKS["cut-off-judges-nobody"](world)
    suspect = Happened(n1.name, n1.life, PeerSuspect(n2.id, n2.name, n2.life, n1.id, "absent"))
    assert check.on(suspect) is None
    check.on(Handled("n1", n1.life, "LinkChanged", 0, LinkChanged(up=False)))
    assert check.on(suspect)
    check.on(Handled("n1", n1.life, "LinkChanged", 0, LinkChanged(up=True)))
    assert check.on(suspect)
    world.timeline.now_ns += ns(2.5)
    assert check.on(suspect) is None
    check.on(Handled("n1", n1.life, "LinkChanged", 0, LinkChanged(up=False)))
    check.on(Handled("n1", n1.life + 1, "LinkChanged", 0, LinkChanged(up=True)))
    assert check.on(Happened(n1.name, n1.life + 1, suspect.event)) is None, "a new life was not cut off"
