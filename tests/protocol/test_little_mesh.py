"""Several nodes together: joining, dying, pausing, cutting, healing. Times are virtual."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.events import PeerAlive, PeerDead, PeerLeft, PeerSuspect
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, Capabilities, Dead
from tests.protocol.little_mesh import LittleMesh

NAMES = tuple("abcdefgh")


def names(count: int) -> tuple[str, ...]:
    return tuple(f"n{index:02}" for index in range(count))


def settled(*who: str, seed: int = 1) -> LittleMesh:
    mesh = LittleMesh(seed=seed).start(*who).run(15.0)
    assert mesh.agrees()
    return mesh


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_nodes_that_start_together_see_each_other_at_once_and_agree_soon(count: int) -> None:
    mesh = LittleMesh().start(*names(count)).run(0.1)
    assert set(map(len, mesh.alive().values())) == {count}
    assert mesh.run(15.0).agrees()
    assert mesh.deaths() == []


def test_a_joiner_knows_everything_after_one_exchange() -> None:
    mesh = settled(*names(20))
    for name in mesh.hosts:
        mesh.say(name, Capabilities(1, (Card("x", ("do@1",), 1),)))
    mesh.run(0.1).start("late").run(0.05)
    late, first = mesh.hosts["late"], mesh.hosts["n00"]
    assert len(late.membership.alive()) == 21
    assert late.gossip.facts.hashes() == first.gossip.facts.hashes()
    assert all("late" in seen for seen in mesh.alive().values())


@pytest.mark.parametrize("count", [2, 3, 4, 8, 20])
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_node_is_dead_everywhere_within_a_few_seconds(count: int, seed: int) -> None:
    mesh = settled(*names(count), seed=seed)
    mesh.kill("n01")
    killed = mesh.seconds
    mesh.run(6.0)
    deaths = mesh.deaths()
    assert sorted(who for who, _, _ in deaths) == [name for name in names(count) if name != "n01"]
    assert {whom for _, whom, _ in deaths} == {"n01"}
    assert max(at for _, _, at in deaths) - min(at for _, _, at in deaths) < 0.1
    assert min(at for _, _, at in deaths) - killed >= 2.0
    assert mesh.run(10.0).agrees()


@pytest.mark.parametrize("seed", range(3))
def test_a_node_that_hangs_is_dead_after_the_longer_wait_and_back_when_it_goes_on(seed: int) -> None:
    mesh = settled(*names(10), seed=seed)
    mesh.stop("n03")
    mesh.run(5.0)
    assert mesh.deaths() == []
    mesh.run(5.0)
    assert {whom for _, whom, _ in mesh.deaths()} == {"n03"}
    mesh.resume("n03")
    mesh.run(1.0)
    assert all("n03" in seen for seen in mesh.alive().values())
    assert mesh.run(15.0).agrees()
    assert {whom for _, whom, _ in mesh.deaths()} == {"n03"}


@pytest.mark.parametrize("paused_s", [2.0, 4.5])
def test_a_short_pause_kills_nobody_and_the_paused_accuses_nobody(paused_s: float) -> None:
    mesh = settled(*names(10))
    mesh.stop("n03")
    mesh.run(paused_s)
    mesh.resume("n03")
    mesh.run(15.0)
    assert mesh.deaths() == []
    suspected = {
        event.peer for host in mesh.hosts.values() for _, event in host.events if isinstance(event, PeerSuspect)
    }
    assert suspected <= {"n03"}
    assert mesh.agrees()


@pytest.mark.parametrize("down_s", [1.0, 60.0])
def test_a_broker_that_goes_away_and_comes_back_kills_nobody(down_s: float) -> None:
    mesh = settled(*names(10))
    mesh.link(names(10), is_up=False)
    mesh.run(down_s)
    for index, name in enumerate(names(10)):  # they come back one after another, not together
        mesh.link([name], is_up=True)
        mesh.run(0.02 * index)
    mesh.run(2.0)
    assert set(map(len, mesh.alive().values())) == {10}
    assert mesh.run(20.0).agrees()
    assert mesh.deaths() == []


@pytest.mark.parametrize(("count", "minority"), [(2, 1), (3, 1), (4, 2), (5, 2), (9, 4)])
@pytest.mark.parametrize("cut_s", [3.0, 30.0, 200.0])
def test_a_partition_heals_by_itself_to_one_view(count: int, minority: int, cut_s: float) -> None:
    mesh = settled(*names(count))
    mesh.cut(*names(count)[:minority])
    mesh.run(cut_s)
    mesh.heal()
    mesh.run(10.0)
    assert set(map(len, mesh.alive().values())) == {count}
    assert mesh.run(30.0).agrees()


def test_the_smaller_side_of_a_partition_declares_nobody_dead() -> None:
    mesh = settled(*names(9))
    small = names(9)[:4]
    mesh.cut(*small)
    mesh.run(120.0)
    assert {who for who, _, _ in mesh.deaths()} == set(names(9)[4:])
    assert {whom for _, whom, _ in mesh.deaths()} == set(small)


def test_a_small_side_that_is_back_does_not_believe_that_the_neighbours_it_reaches_are_dead() -> None:
    mesh = settled(*names(5))
    mesh.cut("n03", "n04")
    mesh.run(25.0)
    assert mesh.view("n00")["n04"] == "dead"
    mesh.heal()
    mesh.run(20.0)
    assert {who for who, _, _ in mesh.deaths()} == {"n00", "n01", "n02"}
    assert mesh.agrees()


def test_two_meshes_that_never_met_become_one() -> None:
    mesh = LittleMesh().start("a", "b", "c")
    mesh.cut("a", "b", "c")
    mesh.start("x", "y").run(30.0)
    assert mesh.alive()["a"] == ["a", "b", "c"]
    mesh.heal()
    mesh.run(10.0)
    assert mesh.agrees()


def test_a_restart_is_a_new_life_at_once_and_no_death_is_reported() -> None:
    mesh = settled(*names(5))
    mesh.kill("n02")
    mesh.run(0.2).start("n02").run(0.05)
    assert set(map(len, mesh.alive().values())) == {5}
    lives = {host.membership.life_of("n02") for host in mesh.hosts.values()}
    assert lives == {mesh.hosts["n02"].me.life}
    mesh.run(20.0)
    assert mesh.deaths() == []
    assert mesh.agrees()


def test_a_restart_after_burial_is_alive_at_once() -> None:
    mesh = settled(*names(5))
    mesh.kill("n02")
    mesh.run(10.0)
    assert mesh.view("n00")["n02"] == "dead"
    mesh.start("n02").run(0.05)
    assert set(map(len, mesh.alive().values())) == {5}
    assert mesh.run(15.0).agrees()


def test_a_rolling_restart_leaves_every_view_right_and_no_name_in_conflict() -> None:
    mesh = settled(*names(8))
    for name in names(8):
        mesh.kill(name)
        mesh.run(0.5).start(name).run(1.0)
    assert set(map(len, mesh.alive().values())) == {8}
    assert all(set(mesh.view(name)) == set(names(8)) for name in names(8))


def test_many_goodbyes_one_after_another_report_nobody_dead() -> None:
    mesh = settled(*names(12))
    mesh.loss = 0.02
    for name in names(12)[3:]:
        mesh.leave(name)
    mesh.run(20.0)
    assert mesh.deaths() == []
    assert set(map(len, mesh.alive().values())) == {3}
    left = {event.peer for _, event in mesh.hosts["n00"].events if isinstance(event, PeerLeft)}
    assert left == set(names(12)[3:])


def test_a_goodbye_that_was_missed_is_told_by_others_and_not_taken_for_a_death() -> None:
    mesh = settled(*names(6))
    mesh.cut("n05")
    leaver = mesh.hosts["n04"]
    mesh._perform(leaver, leaver.membership.leave(mesh.now))
    mesh.run(1.5)
    mesh.kill("n04")
    mesh.heal()
    mesh.run(20.0)
    assert mesh.view("n05")["n04"] == "left"
    assert mesh.deaths() == []


def test_the_dead_do_not_come_back_through_a_node_that_missed_their_death() -> None:
    mesh = settled(*names(6))
    mesh.link(["n05"], is_up=False)
    mesh.kill("n01")
    mesh.run(30.0)
    mesh.link(["n05"], is_up=True)
    mesh.run(20.0)
    assert mesh.view("n05")["n01"] == "dead"
    back = [event for _, event in mesh.hosts["n00"].events if isinstance(event, PeerAlive) and event.peer == "n01"]
    assert len(back) == 1, "it was seen alive once, at the beginning"
    assert mesh.agrees()


def test_a_joiner_is_told_of_the_dead_without_seeing_them_alive() -> None:
    mesh = settled(*names(6))
    mesh.kill("n01")
    mesh.run(6.0)
    mesh.kill("n02")  # it may have declared n01
    mesh.run(6.0)
    mesh.start("late").run(15.0)
    seen = {event.peer for _, event in mesh.hosts["late"].events if isinstance(event, PeerAlive)}
    assert seen == {"n00", "n03", "n04", "n05"}
    assert mesh.agrees()


def test_a_liar_with_a_valid_key_kills_nobody() -> None:
    mesh = settled(*names(5))
    victim = mesh.hosts["n03"]
    alive = next(frame for frame in mesh.hosts["n00"].gossip.facts.frames() if frame.startswith(b"n03."))
    for incarnation in (0, 1, 5, 1 << 19, 1 << 40):
        mesh.say("n04", Dead("n03", victim.me.life, incarnation, "timeout", (), alive))
        mesh.run(7.0)
    assert {whom for who, whom, _ in mesh.deaths() if who != "n04"} == set()
    assert all("n03" in mesh.alive()[name] for name in ("n00", "n01", "n02", "n03"))


def test_what_a_node_can_do_is_known_again_after_it_was_buried_by_mistake() -> None:
    mesh = settled(*names(5))
    mesh.say("n03", Capabilities(1, (Card("x", ("do@1",), 1),)))
    mesh.run(1.5)
    mesh.stop("n03")
    mesh.run(12.0)
    mesh.resume("n03")
    mesh.run(4.0)
    facts = [mesh._sealed[frame] for frame in mesh.hosts["n00"].gossip.facts.frames()]
    assert [fact.src for fact in facts if isinstance(fact.body, Capabilities)] == ["n03"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8), st.sampled_from([0.0, 0.05, 0.3]))
def test_facts_reach_everybody_however_many_frames_are_lost(seed: int, count: int, loss: float) -> None:
    mesh = LittleMesh(seed=seed, loss=loss).start(*names(count)).run(2.0)
    for name in names(count):
        for version in range(1, 4):
            mesh.say(name, Capabilities(version, (Card("x", (f"do@{version}",), 1),)))
    mesh.run(20.0)
    mesh.loss = 0.0
    assert mesh.run(40.0).agrees()
    assert (
        sum(isinstance(mesh._sealed[frame].body, Alive) for frame in mesh.hosts["n00"].gossip.facts.frames()) == count
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["kill", "start", "cut", "heal", "stop", "resume", "down", "up", "wait"]),
        st.sampled_from(names(6)),
        st.floats(0.1, 8.0),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 100))
def test_after_any_faults_all_views_are_one_again(steps: list[tuple[str, str, float]], seed: int) -> None:
    mesh = LittleMesh(seed=seed).start(*names(6)).run(3.0)
    for step, name, wait_s in steps:
        host = mesh.hosts.get(name)
        if step == "start" and host is None:
            mesh.start(name)
        elif step == "heal":
            mesh.heal()
        elif host is None:
            pass
        elif step == "kill" and len(mesh.hosts) > 1:
            mesh.kill(name)
        elif step == "cut":
            mesh.cut(name)
        elif step == "stop" and host.stopped_at is None:
            mesh.stop(name)
        elif step == "resume" and host.stopped_at is not None:
            mesh.resume(name)
        elif step in ("down", "up") and host.stopped_at is None and host.is_linked == (step == "down"):
            mesh.link([name], is_up=step == "up")
        mesh.run(wait_s)
    mesh.heal()
    for name, host in mesh.hosts.items():
        if host.stopped_at is not None:
            mesh.resume(name)
        if not host.is_linked:
            mesh.link([name], is_up=True)
    for name in names(6):
        if name not in mesh.hosts:
            mesh.start(name)
    mesh.run(60.0)
    assert mesh.alive() == {name: sorted(names(6)) for name in mesh.hosts}
    assert mesh.agrees()
    born = {event.peer for host in mesh.hosts.values() for _, event in host.events if isinstance(event, PeerDead)}
    assert born <= set(names(6))
