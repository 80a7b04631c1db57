"""What people are shown of a node: nothing that it does not know, and what is wrong first."""

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from meshd import clock, views
from meshd.api import history, schemas
from meshd.observe.metrics import METRICS
from meshd.outlook import figures
from protocol import ids, limits
from protocol.calls import Answered
from protocol.effects import Effect, Send
from protocol.errors import MeshError
from protocol.events import PeerDamped, PeerDead, PeerSuspect, RecordLost, TaskPutBack
from protocol.inputs import Absent, Advertise, Drain, Input
from protocol.primitives import NS_PER_MS, Instant
from protocol.wire.auction import Attempt
from protocol.wire.swim import Ack
from protocol.wire.task import Failure, Status, TaskRecord, TaskState
from tests.meshd.little_daemons import CAPABILITY, Actor, Held, LittleDaemon, little_daemons
from tests.waiting import until

AWARDED = TaskRecord(
    "t", "i", "g", "", "a@1", "s", "k", "home", TaskState.AWARDED, 2, "own", 1, b"", False, 5, 10, 99, 0, (),
    attempts=(Attempt(1, "former", "silent", 12, "why"),),
)  # fmt: skip


async def state_of(daemon: LittleDaemon, state: str) -> schemas.Status:
    await daemon.until(lambda: daemon.views.status().state == state, what=state)
    return daemon.views.status()


async def test_a_status_counts_and_names_what_is_there() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a", Actor(do=held, slots=1))
        await mesh.start("b")
        task = await a.submit()
        await a.shows(task.id, "running")
        await a.submit()
        await a.until(lambda: a.views.status().tasks_waiting == 1)
        status = a.views.status()
        assert (status.name, status.node, status.life, status.mesh) == ("a", a.me.id, a.me.life, mesh.subjects.mesh)
        assert (status.state, status.reason, status.peers_alive, status.tasks_running) == ("joined", "", 2, 1)
        assert status.record == schemas.Record(0, "unknown")
        held.release.set()


async def test_a_status_says_why_a_node_takes_no_work() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        a.store.stall()
        assert (await state_of(a, "islanded")).reason == "writes are not answered, though the connection has not broken"
        assert a.service.ready() == schemas.Readiness(False, "islanded", a.views.status().reason)
        a.store.resume()
        await state_of(a, "joined")
        assert a.service.ready().ready
        mesh.bus.stop()
        assert (await state_of(a, "detached")).reason == "no server answers"
        mesh.bus.start()
        a.engine.put(Drain(on=True))
        assert (await state_of(a, "draining")).reason == "it was asked to take no new work"
        mesh.bus.stop()
        both = "no server answers, and it was asked to take no new work"
        assert (await state_of(a, "detached")).reason == both


async def test_what_is_wrong_with_the_agents_wants_attention(tmp_path: Path) -> None:
    async with little_daemons(folder=tmp_path) as mesh:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "broken.toml").write_text("name = ")
        a = await mesh.start("a")
        await a.crew.start()
        (said,) = a.views.status().attention
        assert said.startswith(f"{tmp_path / 'a' / 'broken.toml'}: ")


async def test_a_clock_that_is_off_is_named_with_the_amount_on_both_sides_and_gets_no_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a", Actor(slots=1)), await mesh.start("b", Actor())
        await a.until(lambda: len(a.node.membership.alive()) == 2)
        ahead_ms, handle = [10_800_000], b.node.handle

        def handled(given: Input, now: Instant) -> list[Effect]:
            return handle(given, structs.replace(now, wall_ms=now.wall_ms + ahead_ms[0]))

        monkeypatch.setattr(b.node, "handle", handled)
        await a.until(lambda: bool(a.node.time.off))
        assert a.views.status().attention == ("the clock of b is 3 h 0 min ahead of ours: it is given no tasks",)
        assert b.views.status().attention == ("the clock of a is 3 h 0 min behind ours: it is given no tasks",)
        assert [round(peer.clock_ahead_ms / 3_600_000) for peer in a.views.peers()] == [0, 3]
        assert a.views.gauges(a.engine, a.performer)["meshd_clocks_off"] == 1.0
        (asked,) = (await a.service.upkeep.diagnose()).peers
        assert (asked.answered, round((asked.skew_ms or 0) / 3_600_000)) == (True, 3)
        done = [await a.ended((await a.submit(number)).id) for number in range(3)]
        assert {task.owner_name for task in done} == {"a"}
        ahead_ms[0] = 0
        await a.until(lambda: not a.node.time.off and not b.node.time.off)
        assert a.views.status().attention == b.views.status().attention == ()
        assert a.views.gauges(a.engine, a.performer)["meshd_clocks_off"] == 0.0
        assert not [event for event in (*a.events, *b.events) if isinstance(event, PeerSuspect | PeerDead)]


async def test_peers_show_their_agents_slots_and_what_is_free_of_them() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", Actor("one", Held(), slots=2), Actor("two", capability="other@1", slots=3))
        task = await a.submit()
        await a.shows(task.id, "running")
        await a.until(lambda: a.views.peers()[1].load.free == 4)
        here, there = a.views.peers()
        assert (here.name, here.here, here.agents, here.load) == ("a", True, (), schemas.PeerLoad())
        assert (there.name, there.here, there.agents, there.load.slots) == ("b", False, ("one", "two"), 5)
        shown = a.service.peer("b")
        assert structs.replace(shown, story=(), load=there.load) == there
        assert (shown.load.age_s or -1) >= (there.load.age_s or -1) >= 0
        assert there.id == b.me.id


async def test_however_many_peers_the_catalogue_is_read_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        await mesh.start("b", Actor())
        await mesh.start("c", Actor())
        reads, read = 0, a.node.catalogue.capabilities

        def counted(now: object) -> object:
            nonlocal reads
            reads += 1
            return read(now)  # type: ignore[arg-type]  # passed on as it came

        monkeypatch.setattr(a.node.catalogue, "capabilities", counted)
        assert [peer.load.free for peer in a.views.peers()] == [2, 2, 2]
        assert reads == 1


async def test_agents_of_this_node_are_shown_in_every_state_and_those_of_others_unless_they_gave_up() -> None:
    async with little_daemons() as mesh:
        mine, theirs = Actor("mine"), Actor("theirs")
        a = await mesh.start("a", mine)
        await mesh.start("b", theirs)
        mine.turn("restarting", "it crashed")
        theirs.turn("failed", "given up")
        await a.until(lambda: len(a.views.agents()) == 1)
        (shown,) = a.views.agents()
        assert (shown.name, shown.state, shown.detail, shown.free, shown.here) == (
            "mine",
            "restarting",
            "it crashed",
            0,
            True,
        )
        theirs.turn("restarting", "it crashed: no memory")
        await a.until(lambda: len(a.views.agents()) == 2)
        other = a.views.agents()[1]
        assert (other.state, other.detail, other.free) == ("restarting", "it crashed: no memory", 0)
        mine.turn("ready")
        theirs.turn("ready")
        await a.until(
            lambda: [(each.name, each.node_name) for each in a.views.agents()] == [("mine", "a"), ("theirs", "b")]
        )


async def test_a_capability_sums_up_its_providers() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("one", slots=2))
        await mesh.start("b", Actor("two", slots=3))
        (shown,) = a.views.capabilities()
        assert (shown.name, shown.slots, shown.free) == (CAPABILITY, 5, 5)
        assert [(each.agent, each.node_name) for each in shown.providers] == [("one", "a"), ("two", "b")]


async def test_a_draining_node_has_no_free_slots_on_any_node() -> None:
    async with little_daemons() as mesh:
        a, b = await mesh.start("a", Actor(slots=2)), await mesh.start("b")
        a.engine.put(Drain(on=True))
        await a.until(lambda: a.node.state == "draining")
        await b.until(lambda: b.views.capabilities()[0].free == 0)
        for daemon in (a, b):
            (agent,), (capability,) = daemon.views.agents(), daemon.views.capabilities()
            free = {peer.name: (peer.load.free, peer.load.slots) for peer in daemon.views.peers()}
            assert (agent.free, agent.slots, capability.free, free["a"]) == (0, 2, 0, (0, 2))


async def test_who_asks_for_a_node_that_is_not_in_view_by_a_short_name_is_told_that() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        given = a.me.id[:2]
        with pytest.raises(MeshError, match=f"^no peer is called {given}, and it is too short for the beginning of"):
            views.named(tuple(a.node.membership.snapshot()), given)


async def test_a_name_that_is_not_known_is_the_short_id() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b")
        assert [a.views.name_of(node) for node in (a.me.id, b.me.id, "q" * 52)] == ["a", "b", ids.short("q" * 52)]


async def test_a_task_runs_when_its_home_says_so_and_not_by_its_record_alone() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        line = Status("t", True, 15, b"\x01")
        shown = a.views.task(AWARDED, line)
        assert (shown.state, shown.started_ms, shown.progress) == ("running", 15, 1)
        assert a.views.task(AWARDED, None).state == "awarded"
        assert a.views.task(AWARDED, structs.replace(line, running=False)).state == "awarded"
        done = structs.replace(AWARDED, state=TaskState.DONE, result=b"\x02", started_ms=14, finished_ms=20)
        shown = a.views.task(done, line)
        assert (shown.state, shown.started_ms, shown.finished_ms, shown.result) == ("done", 14, 20, 2)
        assert shown.attempts == (history.AttemptView(1, "former", "former", "silent", 12, detail="why"),)
        failed = structs.replace(AWARDED, state=TaskState.FAILED, failure=Failure("deadline", "too late"))
        shown = a.views.task(failed, None, late=[done])
        assert shown.error == schemas.TaskError("deadline", "too late")
        assert shown.refused == (history.RefusedResult(2, "own", "own", 20, 2),)


async def test_a_task_that_nobody_has_says_what_it_waits_for() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        task = structs.replace(AWARDED, state=TaskState.OPEN, capability=CAPABILITY)
        assert a.views.task(task, None).waits_for is None, "somebody has room for it"
        a.engine.put(Advertise(()))
        await until(lambda: not a.node.catalogue.offered(CAPABILITY, clock.now()))
        waits = a.views.task(task, None).waits_for
        assert waits is not None
        assert (waits.reason, waits.message) == ("nobody", f"nobody offers {CAPABILITY}")
        assert waits.since_ms is not None
        assert a.views.task(structs.replace(task, state=TaskState.DONE), None).waits_for is None


async def test_progress_that_is_no_value_is_not_shown() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        assert a.views.task(AWARDED, Status("t", True, 15, b"\xc1")).progress is None


async def test_an_answer_that_is_no_value_is_an_error_and_not_a_result() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        with pytest.raises(MeshError, match="a value in the mesh cannot be read"):
            a.views.answer("a@1", Answered(b"\xc1", a.me.id, "x", "i", "g"), 1.0)
        with pytest.raises(MeshError, match="the daemon made a mistake"):
            a.views.answer("a@1", None, 1.0)


async def test_how_many_copies_there_are_is_known_and_what_was_known_last_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "COPIES_S", 0.0)

    class Copies:
        asked = 0

        async def copies(self) -> tuple[int, str]:
            self.asked += 1
            if self.asked > 1:
                raise MeshError("store", problem="is away")
            return 3, b.me.id

    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b")
        store = Copies()
        keeping = asyncio.ensure_future(a.views.keep_copies_known(store))  # type: ignore[arg-type]  # the one method that is used
        await until(lambda: store.asked > 3)
        assert a.views.status().record == schemas.Record(3, "b")
        twin = await mesh.start("twin", called="b")
        assert a.views.status().record == schemas.Record(3, ids.distinct("b", b.me.id)), "as it is called by now"
        assert twin.views.status().name == ids.distinct("b", twin.me.id)
        keeping.cancel()


async def test_gauges_count_what_is_there_and_lag_is_told_once() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor(slots=2))
        await mesh.start("b")
        a.engine.take_lag_ms()
        gauges = a.views.gauges(a.engine, a.performer)
        assert gauges["meshd_build_info"] == {a.me.version: 1.0}
        assert gauges["meshd_agents"] == {"ready": 1}
        assert gauges["meshd_connected"] == 1.0
        assert gauges["meshd_state"] == {"joined": 1.0}
        assert gauges["meshd_peers"] == {"alive": 2}
        assert gauges["meshd_slots_free"] == 2.0
        a.performer.dropped = 3
        assert a.views.gauges(a.engine, a.performer)["meshd_messages_dropped_total"] == 3.0
        assert gauges["meshd_tasks_running"] == gauges["meshd_tasks_watched"] == 0.0


async def test_a_status_says_what_was_wrong_with_the_record() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        assert a.views.status().attention == ()
        a.views.on_event(RecordLost(0))
        for number in range(2):
            a.views.on_event(TaskPutBack(f"t{number}", "iid", 1, "missing"))
        lost, back = a.views.status().attention
        assert "was lost" in lost
        assert back.startswith("2 records of tasks")


async def test_since_when_nobody_offers_something_is_known_of_a_damped_death_too() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        a.views._gone.note(frozenset({CAPABILITY}), 1)
        a.views.on_event(PeerDamped("b", "b", 1, "dead", 4, 600.0, 30.0))
        assert a.views._gone.since(CAPABILITY) is not None


async def test_every_gauge_has_a_source_and_moves() -> None:
    moved: dict[str, set[str]] = {}

    def look(daemon: LittleDaemon, *names: str) -> bool:
        for name, value in daemon.views.gauges(daemon.engine, daemon.performer).items():
            moved.setdefault(name, set()).add(repr(value))
        return all(len(moved[name]) > 1 for name in names)

    async with little_daemons() as mesh:
        held = Held()
        actor = Actor(do=held, slots=2)
        a = await mesh.start("a", actor)
        look(a)
        await mesh.start("b")
        await a.submit()
        busy = ("meshd_peers", "meshd_tasks_running", "meshd_tasks_watched", "meshd_slots_free")
        await a.until(lambda: look(a, *busy), what="a node at work")
        a.store.stall()
        submitting = asyncio.ensure_future(a.submit())
        await a.until(lambda: look(a, "meshd_writes_waiting"), what="a write that waits")
        a.store.resume()
        await submitting
        late = asyncio.ensure_future(a.submit())
        await a.until(lambda: look(a, "meshd_tasks_waiting"), what="a task that waits for a slot")
        actor.turn("failed")
        assert look(a, "meshd_agents")
        actor.turn("ready")
        for _ in range(limits.INBOX_MAX + 1):
            a.engine.put(Absent(probe=1))
        assert look(a, "meshd_inbox_inputs", "meshd_inbox_refused_total")
        stands_until = clock.monotonic_ns() + 300 * NS_PER_MS
        while clock.monotonic_ns() < stands_until:
            pass
        await a.until(lambda: look(a, "meshd_loop_lag_seconds"), what="a loop that was late")
        mesh.bus.stop()
        a.performer.submit([Send("b", 1, Ack(1, 0), subject="x", frame=b"frame")])
        await a.until(lambda: look(a, "meshd_messages_dropped_total", "meshd_state"), what="a node without a server")
        held.release.set()
        late.cancel()
    at_the_edges = {"meshd_transport_faults_total", "meshd_events_malformed_total"}  # see tests/meshd/test_wiring.py
    at_the_edges |= {"meshd_clocks_off"}  # see above
    of_the_audit = {
        row.name for row in METRICS if row.name.startswith("meshd_audit_")
    }  # see tests/meshd/test_auditing.py
    of_the_view = set(figures(a.node)) | {"meshd_view_share", "meshd_view_complete"}  # see tests/meshd/test_outlook.py
    read = {row.name for row in METRICS if row.share is None}
    assert moved.keys() | at_the_edges | of_the_audit | of_the_view == read
    still = {name for name, values in moved.items() if len(values) < 2} - of_the_view
    refusing = "meshd_record_refusing"  # see tests/meshd/test_service_outages.py
    assert still == {"meshd_build_info", "meshd_clocks_off", refusing}
