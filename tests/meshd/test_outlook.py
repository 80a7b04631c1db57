"""Do others see the same, and what befell each of them: as status, figures and the story of a peer tell it."""

import pytest

from meshd import clock
from meshd.api.view_schemas import Agreement, FoundDead
from meshd.outlook import OUTLIVED, SHOWN_MAX, TWIN, convergence_of, disagreement, found_dead
from protocol import events, limits
from protocol.envelope import Refusal
from protocol.errors import MeshError
from protocol.inputs import Leave
from protocol.primitives import NS_PER_S, Instant
from protocol.replica import Peer, PeerState
from tests.meshd.little_daemons import LittleDaemon, little_daemons

OTHER = b"another."


def _hears(daemon: LittleDaemon, other: LittleDaemon, view: bytes, at_s: float) -> None:
    """Another node said that it sees this, so many seconds from now; those before now are past."""
    now = clock.now()
    moment = Instant(now.mono_ns + int(at_s * NS_PER_S), now.wall_ms)
    daemon.node.membership.agreement.hear(other.me.id, view, 3, moment)


async def test_a_mesh_of_one_view_says_so_and_a_node_alone_says_nothing() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        assert a.views.status().agreement == Agreement(view=a.node.membership.agreement.view.hex())
        b = await mesh.start("b")
        await a.until(lambda: a.views.status().agreement.share == 1.0, what="b saying what it sees")
        told = a.views.status().agreement
        assert (told.agreeing, told.differing, told.unheard, told.complete) == (1, (), 0, 1.0)
        assert told.view == b.node.membership.agreement.view.hex()
        figures = a.views.gauges(a.engine, a.performer)
        assert figures["meshd_views"] == {"same": 1.0, "other": 0.0, "unheard": 0.0}
        assert (figures["meshd_view_share"], figures["meshd_view_complete"]) == (1.0, 1.0)
        assert a.node.membership.prober.ended["answered"] >= 1
        assert figures["meshd_probes_ended_total"] == a.node.membership.prober.ended
        mesh.bus.stop()
        await a.until(lambda: a.node.state == "detached")
        assert a.views.status().agreement.share is None
        assert "meshd_view_share" not in a.views.gauges(a.engine, a.performer)


async def test_who_differs_for_long_is_named_and_somebody_should_see_to_it() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b")
        mesh.bus.detach(b.transport)  # it says no more than we put into its mouth
        _hears(a, b, OTHER, -70)
        told = a.views.status().agreement
        assert (told.share, told.differing, told.slowest) == (0.0, ("b",), "b")
        assert 70 <= told.slowest_s == told.slowest_heard_s < 80
        assert disagreement(convergence_of(a.node), a.views.name_of) == ()  # heard once: it may have agreed since
        assert a.views.gauges(a.engine, a.performer)["meshd_view_differs_seconds"] == 0.0
        _hears(a, b, OTHER, -5)
        gauges = a.views.gauges(a.engine, a.performer)
        assert gauges["meshd_view_differs_seconds"] == convergence_of(a.node).proven_s > 60
        (sentence,) = disagreement(convergence_of(a.node), a.views.name_of)
        assert 5 <= a.views.status().agreement.slowest_heard_s < 15
        assert sentence.startswith("b sees other nodes than this one, for 7")
        assert sentence in a.views.status().attention
        _hears(a, b, a.node.membership.agreement.view, 0)
        assert disagreement(convergence_of(a.node), a.views.name_of) == ()


async def test_the_story_of_a_peer_is_told_where_one_is_asked_for() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        await mesh.start("b")
        c = await mesh.start("c")
        await mesh.kill("c")
        await a.until(lambda: a.said(events.PeerDead), what="the death of c")
        shown = a.service.peer("c")
        assert [line.kind for line in shown.story] == ["peer_alive", "peer_suspect", "peer_dead"]
        alive, suspect, dead = shown.story
        assert alive.text == "is alive: seen for the first time"
        assert suspect.text.startswith("is suspect: the server told ")
        assert (suspect.evidence, suspect.life) == ("absent", c.me.life)
        assert dead.accusers == ("a", "b") == shown.accusers
        assert dead.text.startswith(
            "is dead: the server told a and b that nobody listens there, and it was suspect for 2."
        )
        assert dead.after_s is not None
        assert dead.unheard_s is not None
        assert dead.unheard_s >= dead.after_s
        assert all(peer.story == () for peer in a.views.peers())
        assert [line.kind for line in a.service.peer("a").story] == ["state_changed"]


async def test_who_is_back_from_its_third_death_is_shown_as_damped_with_why_and_until_when() -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a"), await mesh.start("b")
        await a.until(lambda: len(a.node.membership.alive()) == 2)
        died = events.PeerDead(b.me.id, "b", b.me.life, (a.me.id,), "timeout", 6.0)
        for _ in range(3):
            a.node.flaps.told(died, clock.now())
        a.node.flaps.told(events.PeerAlive(b.me.id, "b", b.me.life, 3, "dead", 9.0), clock.now())
        shown = a.service.peer("b")
        assert (shown.state, shown.damped[:62]) == (
            "damped",
            "died 3 times in 10 min: gets work that others can do in 30 s",
        )
        assert a.views.gauges(a.engine, a.performer)["meshd_damped"] == 1.0
        assert (a.service.peer("a").state, a.service.peer("a").damped) == ("alive", "")
        a.node.flaps.told(events.PeerSuspect(b.me.id, "b", b.me.life, a.me.id, "timeout"), clock.now())
        assert a.service.peer("b").damped.endswith("when it is no suspect any more, and quiet then")


async def test_most_of_the_mesh_is_unreachable_and_not_suspect_in_the_list_and_in_the_status() -> None:
    async with little_daemons() as mesh:
        a, b, c = [await mesh.start(name) for name in "abc"]
        for other in (b, c):
            mesh.bus.detach(other.transport)
        await a.until(lambda: a.views.status().peers_unreachable == 2, what="both being unreachable")
        assert a.views.status().peers_suspect == 0
        assert [peer.state for peer in a.views.peers()] == ["alive", "unreachable", "unreachable"]


async def test_who_was_accused_says_by_whom_and_that_it_refuted_that() -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a"), await mesh.start("b")
        a.views.on_event(events.AccusationRefuted(b.me.id, "suspect", a.me.life, 1))
        told = a.service.peer("a").story[-1]
        assert told.text == "was called suspect by b: it refuted that (incarnation 1)"
        assert (told.kind, told.accusers, told.life) == ("accusation_refuted", ("b",), a.me.life)


async def test_a_node_that_is_outlived_by_its_twin_says_so_and_nothing_of_the_others() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        await mesh.start("b")
        await a.until(lambda: a.views.status().agreement.share == 1.0, what="b saying what it sees")
        a.node.refusals.told(Refusal("twin", a.me.id, "", life=a.me.life + 1), clock.now())
        status = a.views.status()
        assert (status.attention[0], status.outlived) == (OUTLIVED, True)
        assert status.agreement.share is None


async def test_a_node_whose_twin_has_fallen_silent_says_that_and_what_to_do() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        now = clock.now()
        before = Instant(now.mono_ns - 41 * NS_PER_S, now.wall_ms - 41_000)
        a.node.refusals.told(Refusal("twin", a.me.id, "", life=a.me.life + 1), before)
        status = a.views.status()
        assert round(status.twin_silent_s) == 41
        assert status.attention[0].startswith("a newer daemon ran with this node's key, and was not heard for 41 s")
        assert status.attention[0].endswith("start this one anew, if that one is gone")


async def test_others_see_that_two_daemons_run_with_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TWIN_MS", 0)
    async with little_daemons() as mesh:
        a, b = await mesh.start("a"), await mesh.start("b")
        assert (a.views.status().attention, a.service.peer("b").twin) == ((), "")
        await mesh.start("b")
        try:
            await a.until(lambda: a.views.status().attention, what="the older of the two being heard")
            assert a.views.status().attention == (f"b {TWIN}: stop one of the two",)
            assert a.service.peer("b").twin == f"it {TWIN}"
            await b.until(lambda: b.node.refusals.is_outlived, what="the older of the two knowing it")
        finally:
            await b.kill()


async def test_who_left_before_a_node_began_is_remembered_there_and_listed_by_who_saw_it() -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a"), await mesh.start("b")
        b.engine.put(Leave())
        await a.until(lambda: "left" in [peer.state for peer in a.views.peers()], what="b having left")
        await mesh.kill("b")
        c = await mesh.start("c")
        await c.until(lambda: c.node.gossip.facts.gone == 1, what="the goodbye having come by a digest")
        assert [peer.name for peer in c.views.peers()] == ["a", "c"]
        with pytest.raises(MeshError, match="no peer is called b"):
            c.service.peer("b")
        assert (await a.service.upkeep.remove("b")).removed_on == ("a", "c")


def _peer(name: str, state: PeerState, since_s: float) -> Peer:
    return Peer(name, name, 1, state, 0, "r", "d", round(since_s * 1_000))


def test_who_was_found_dead_in_the_last_minutes_is_told_the_last_first() -> None:
    peers = [_peer("a", "dead", 1_000), _peer("b", "dead", 1_090), _peer("c", "left", 1_090), _peer("d", "dead", 400)]
    assert found_dead(peers, 1_100_000) == FoundDead(2, ("b", "a"), 10.0)
    assert found_dead(peers[2:], 1_100_000) == FoundDead()
    many = [_peer(f"n{number}", "dead", number) for number in range(SHOWN_MAX + 2)]
    told = found_dead(many, 100_000)
    assert (told.count, len(told.names), told.names[0]) == (SHOWN_MAX + 2, SHOWN_MAX, f"n{SHOWN_MAX + 1}")
