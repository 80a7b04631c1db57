"""What an operator asks of a daemon: draining here and elsewhere, forgetting, and a look at how all stands."""

import logging
import threading
from collections.abc import Callable, Sequence

import pytest
from msgspec import structs

from meshd import clock, sights, upkeep
from meshd.api.view_schemas import Views
from meshd.observe import logs
from protocol import inquiries
from protocol.errors import MeshError
from protocol.inputs import Leave
from protocol.primitives import NodeId
from protocol.replica import Peer
from protocol.wire.ops import Report, Sights
from tests.meshd.little_daemons import Actor, Held, LittleDaemon, little_daemons


def _sees(daemon: LittleDaemon, name: str, wanted: str) -> Callable[[], bool]:
    def look() -> bool:
        return any(peer.name == name and peer.state == wanted for peer in daemon.node.membership.snapshot())

    return look


def _shows_draining(daemon: LittleDaemon, name: str, *, is_so: bool) -> Callable[[], bool]:
    return lambda: daemon.service.peer(name).load.draining is is_so


async def test_a_node_drains_at_another_nodes_word_finishes_what_it_has_and_is_given_nothing_new() -> None:
    async with little_daemons() as mesh:
        work = Held()
        held, other = Actor(do=work, slots=1), Actor(slots=1)
        a = await mesh.start("a")
        b = await mesh.start("b", held)
        first = await a.submit(1)
        await a.shows(first.id, "running")
        steered = await a.service.upkeep.steer("b", draining=True)
        assert (steered.name, steered.draining) == ("b", True)
        assert b.service.status().state == "draining"
        assert not b.service.ready().ready
        await a.until(_shows_draining(a, "b", is_so=True))
        await mesh.start("c", other)
        done = [await a.ended((await a.submit(n)).id) for n in range(3)]
        assert {task.owner_name for task in done} == {"c"}
        with pytest.raises(MeshError, match="draining"):
            await b.submit(2)
        work.release.set()
        assert (await a.ended(first.id)).owner_name == "b"

        await a.service.upkeep.steer("b", draining=False)
        await a.until(_shows_draining(a, "b", is_so=False))
        await mesh.kill("c")
        await a.until(_sees(a, "c", "suspect"))
        assert (await a.service.upkeep.diagnose()).lost == ("c",)
        assert (await a.ended((await a.submit(9)).id)).owner_name == "b"


async def test_a_node_drains_at_its_own_word_by_its_name() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        assert (await a.service.upkeep.steer("a", draining=True)).draining
        assert a.service.status().state == "draining"
        assert not (await a.service.upkeep.steer("a", draining=False)).draining
        assert a.service.status().state == "joined"


async def test_the_living_are_not_removed_and_the_gone_are_by_everybody() -> None:
    async with little_daemons() as mesh:
        a, b, _ = [await mesh.start(name) for name in "abc"]
        with pytest.raises(MeshError, match="b is alive, so it is not forgotten"):
            await a.service.upkeep.remove("b")
        await mesh.kill("c")
        with pytest.raises(MeshError, match="no peer is called d"):
            await a.service.upkeep.remove("d")
        for daemon in (a, b):
            await daemon.until(_sees(daemon, "c", "dead"), what="c being dead")
        for asked in (a.service.ping("c"), a.service.upkeep.steer("c", draining=True)):
            with pytest.raises(MeshError, match="c is dead, so it cannot be asked"):
                await asked
        removed = await a.service.upkeep.remove("c")
        assert (removed.removed_on, removed.silent) == (("a", "b"), ())
        for daemon in (a, b):
            assert [peer.name for peer in daemon.service.peers()] == ["a", "b"]
        assert (await mesh.start("c")).name == "c", "it may come back"


async def test_a_suspect_is_pinged_as_the_alive_are() -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a"), await mesh.start("b")
        mesh.bus.cut(b.transport)
        await a.until(_sees(a, "b", "suspect"), what="b being suspect")
        with pytest.raises(MeshError) as caught:
            await a.service.ping("b")
        assert (caught.value.code, caught.value.fields["seconds"]) == ("timed_out", f"{inquiries.WITHIN_S:g}")


async def test_a_look_compares_clocks_views_and_versions_with_every_peer() -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a"), await mesh.start("b")
        found = await a.service.upkeep.diagnose()
        (peer,) = found.peers
        assert (peer.name, peer.answered, peer.agrees, peer.alive, found.alive) == ("b", True, True, 2, 2)
        assert abs(peer.skew_ms or 0) < 1_000, "one clock"
        assert found.streams[0].problem == ""
        assert found.writes_waiting == 0

        await mesh.start("c")
        b.node.membership.agreement.view = b"another."  # for good: who is only believed gone is back in no time
        peers = {peer.name: peer for peer in (await a.service.upkeep.diagnose()).peers}
        assert (peers["b"].agrees, peers["b"].alive) == (False, 3)
        assert (peers["c"].agrees, peers["c"].alive) == (True, 3)


async def test_what_does_not_answer_is_said_to_be_silent() -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a"), await mesh.start("b")
        mesh.bus.detach(b.transport)
        a.store.stall()
        found = await a.service.upkeep.diagnose()
        assert [peer.answered for peer in found.peers] == [False]
        assert "gave no answer" in found.store_problem
        assert found.streams == ()
        a.store.resume()
        with pytest.raises(MeshError, match=r"b (did not answer|is dead)"):
            await a.service.upkeep.steer("b", draining=True)


async def test_a_node_that_has_said_goodbye_still_says_how_it_is() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        a.engine.put(Leave())
        found = await a.service.upkeep.diagnose()
        assert (found.alive, found.peers) == (0, ())


async def test_the_level_of_the_log_changes_while_it_runs_and_the_settings_say_so() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        logger = logging.getLogger(logs.ROOT)
        before = logger.level
        try:
            a.service.upkeep.set_log_level("debug")
            assert logger.isEnabledFor(logging.DEBUG)
            settings = {each.key: each for each in a.service.upkeep.settings().settings}
            assert (settings["log.level"].value, settings["log.level"].origin) == ("debug", "set while it runs")
            assert settings["tasks.lease_s"].origin == "default"
        finally:
            logger.setLevel(before)


def test_a_peers_clock_is_compared_with_ours_half_way_between_question_and_answer() -> None:
    peer = Peer("b" * 32, "b", 7, "alive", 0, "r", "d", 1)
    own, theirs = Report(1, 0, b"v", 2), Report(2, 1_800_000_007_050, b"w", 3, draining=True, version="9")
    said = upkeep._surveyed(peer, upkeep._Said(theirs, 0.0, 1_800_000_000_000, 100.0), own)
    assert (said.skew_ms, said.rtt_ms, said.agrees, said.alive, said.draining) == (7_000, 100.0, False, 3, True)
    off = upkeep._surveyed(peer, upkeep._Said(theirs, 0.0, 1_800_000_000_000, 100.0), own, off_ms=10_800_000)
    assert off.skew_ms == 10_800_000, "it was measured, and the peer itself goes by the mesh's time"
    silent = upkeep._surveyed(peer, upkeep._Said(None, 0.0, 0, 500.0), own)
    assert (silent.answered, silent.skew_ms, silent.agrees) == (False, None, None)


async def test_a_mesh_of_one_view_has_one_and_nobody_is_seen_otherwise() -> None:
    async with little_daemons() as mesh:
        a, _, _ = [await mesh.start(name) for name in "abc"]
        found = await a.service.upkeep.views(is_all=False)
        assert [(each.held_by, each.alive, each.ours) for each in found.views] == [(("a", "b", "c"), 3, True)]
        assert (found.subjects, found.silent, found.unasked) == ((), (), 0)
        whole = await a.service.upkeep.views(is_all=True)
        assert [each.name for each in whole.subjects] == ["a", "b", "c"]


async def test_who_sees_otherwise_is_shown_with_whom_and_who_is_cut_off_is_silent() -> None:
    async with little_daemons() as mesh:
        a, b, c = [await mesh.start(name) for name in "abc"]
        d = await mesh.start("d")
        mesh.bus.detach(d.transport)
        member = b.node.membership._roster.get(c.me.id)
        assert member is not None
        b.node.membership._roster.raise_up(member, "suspect", clock.now())
        found = await a.service.upkeep.views(is_all=False)
        assert [(each.held_by, each.ours) for each in found.views] == [(("a", "c"), True), (("b",), False)]
        (seen,) = (each for each in found.subjects if each.name == "c")
        assert [each.state for each in seen.seen] == ["alive", "suspect"]
        assert found.silent == ("d",)
        cut_off = await d.service.upkeep.views(is_all=False)
        assert [each.held_by for each in cut_off.views] == [("d",)]
        assert cut_off.silent == ("a", "b", "c")


async def test_views_that_differ_are_looked_at_once_a_few_at_a_time_and_compared_outside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with little_daemons() as mesh:
        a, *others = [await mesh.start(name) for name in "abcd"]
        for daemon in others:
            daemon.node.membership.agreement.view = daemon.name.encode() * 8
        began: list[NodeId] = []
        at_once: list[int] = []
        threads: list[threading.Thread] = []
        look, compare = a.service.upkeep._seen_by, sights.compared

        async def looks(node: NodeId) -> Sights | None:
            began.append(node)
            under_way.add(node)
            at_once.append(len(under_way))
            try:
                return await look(node)
            finally:
                under_way.remove(node)

        def compares(own: sights.Group, others: Sequence[sights.Group], *, is_all: bool) -> Views:
            threads.append(threading.current_thread())
            return compare(own, others, is_all=is_all)

        under_way: set[NodeId] = set()
        monkeypatch.setattr(a.service.upkeep, "_seen_by", looks)
        monkeypatch.setattr(sights, "compared", compares)
        found = await a.service.upkeep.views(is_all=False)
        assert [view.told for view in found.views] == [True] * 4
        assert sorted(began) == sorted(daemon.me.id for daemon in others)
        assert max(at_once) == upkeep.LOOKS_AT_ONCE
        assert threading.main_thread() not in threads
        assert len(threads) == 1


async def test_no_more_nodes_are_asked_and_no_more_views_told_than_there_is_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with little_daemons() as mesh:
        a, b, c = [await mesh.start(name) for name in "abc"]
        for daemon in (b, c):
            daemon.node.membership.agreement.view = daemon.name.encode() * 8
        monkeypatch.setattr(upkeep, "LOOKED_MAX", 1)
        found = await a.service.upkeep.views(is_all=True)
        assert [(each.held_by, each.told) for each in found.views] == [
            (("a",), True),
            (("b",), True),
            (("c",), False),
        ]
        assert {len(each.seen) for each in found.subjects} == {2}
        monkeypatch.setattr(upkeep, "VIEWS_MAX", 1)
        assert (await a.service.upkeep.views(is_all=False)).unasked == 1


async def test_a_node_that_is_asked_too_often_says_so_at_once_and_is_named() -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a"), await mesh.start("b")
        b.node.duty.hears = lambda asker, now: False  # type: ignore[method-assign]  # more than it takes were before
        with pytest.raises(MeshError, match=r"b refused this \(steer\): from one node it takes 32 ") as refused:
            await a.service.upkeep.steer("b", draining=True)
        assert (refused.value.status, refused.value.exit) == (429, 1)
        assert b.service.status().state == "joined"


async def test_a_look_asks_once_more_when_who_refused_has_rested_and_then_says_that_it_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with little_daemons() as mesh:
        a, b, _ = [await mesh.start(name) for name in "abc"]
        await mesh.kill("c")
        for daemon in (a, b):
            await daemon.until(_sees(daemon, "c", "dead"), what="c being dead")
        hears, refusals = b.node.duty.hears, iter([False])
        monkeypatch.setattr(b.node.duty, "hears", lambda asker, now: next(refusals, hears(asker, now)))
        (told,) = (await a.service.upkeep.diagnose()).peers
        assert (told.name, told.answered, told.again_s) == ("b", True, 0.0)

        monkeypatch.setattr(b.node.duty, "hears", lambda asker, now: False)
        (told,) = (await a.service.upkeep.diagnose()).peers
        assert (told.name, told.answered, told.again_s) == ("b", False, 1.0)
        found = await a.service.upkeep.views(is_all=False)
        assert (found.silent, found.refused, found.again_s) == ((), ("b",), 1.0)
        removed = await a.service.upkeep.remove("c")
        assert (removed.removed_on, removed.silent, removed.refused) == (("a",), (), ("b",))


async def test_a_look_tells_after_what_time_a_probe_is_asked_again_and_who_set_that() -> None:
    async with little_daemons() as mesh:
        found = await (await mesh.start("a")).service.upkeep.diagnose()
        assert found.probe_again_ms == 125.0
        assert found.probe_origin == "default"


async def test_whose_answer_is_late_is_asked_once_more_before_it_is_taken_for_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with little_daemons() as mesh:
        a, _ = await mesh.start("a"), await mesh.start("b")
        late = iter([1_000.0])
        seen = upkeep._surveyed
        monkeypatch.setattr(
            upkeep, "_surveyed", lambda *said, **off: structs.replace(seen(*said, **off), rtt_ms=next(late, 1.0))
        )
        (told,) = (await a.service.upkeep.diagnose()).peers
        assert (told.name, told.rtt_ms) == ("b", 1.0)
