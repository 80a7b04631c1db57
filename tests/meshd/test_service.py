"""Work over some daemons in one process: submitted, called, listed, waited for, cancelled, cut off."""

import asyncio

import pytest
from msgspec import structs

from meshd import clock
from meshd.api import history, schemas
from meshd.ports import Desk, Failed, Finished, Outcome, Work
from protocol import ids, limits
from protocol.errors import MeshError
from protocol.events import TaskSubmitted
from protocol.inputs import Leave
from protocol.primitives import NS_PER_S
from protocol.wire.task import TaskRecord
from tests.meshd.little_daemons import CAPABILITY, Actor, Held, LittleDaemon, little_daemons
from tests.waiting import until, until_told

ANY = schemas.TaskFilter()


async def refused(asked: object) -> MeshError:
    with pytest.raises(MeshError) as caught:
        await asked  # type: ignore[misc]  # coroutines of every kind
    return caught.value


def call(input: object = None, **given: object) -> schemas.CallRequest:
    return schemas.CallRequest(input=input, **given)  # type: ignore[arg-type]  # named fields


# --- submit


async def test_a_task_submitted_on_one_node_is_done_by_another_and_waited_for_on_a_third() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", Actor())
        c = await mesh.start("c")
        task = await a.submit({"n": 7})
        shown = await c.ended(task.id)
        assert (shown.state, shown.result, shown.owner) == ("done", {"n": 7}, b.me.id)
        assert (shown.home_name, shown.owner_name, shown.submitter) == ("a", "b", "operator")
        assert await a.ended(task.id) == shown


async def test_the_same_key_is_the_same_task_through_any_node_and_other_work_is_a_conflict() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        b = await mesh.start("b")
        first = await a.submit("x", key="k")
        request = schemas.SubmitRequest(capability=CAPABILITY, input="x")
        for daemon in (a, b):
            again, is_new = await daemon.service.submit(request, key="k", principal="operator")
            assert (again.id, is_new) == (first.id, False)
            conflict = await refused(daemon.submit("y", key="k"))
            assert (conflict.code, conflict.fields["task"]) == ("key_reused", first.id)
        other, is_new = await b.service.submit(request, key="k", principal="somebody else")
        assert is_new
        assert other.id != first.id


async def test_without_a_key_every_submit_is_a_new_task() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        assert (await a.submit("x")).id != (await a.submit("x")).id


async def test_what_nobody_can_do_or_nobody_may_send_is_refused() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        request = schemas.SubmitRequest(capability="fly@1")
        assert (await refused(a.service.submit(request, key="", principal="p"))).code == "no_agent"
        assert (await refused(a.submit("x" * limits.INPUT_BYTES_MAX))).code == "too_large"
        assert (await refused(a.submit(float("inf")))).code == "bad_input"
        assert a.said(TaskSubmitted) == []


async def test_a_submit_waits_out_a_short_outage_and_is_refused_at_once_in_a_longer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        a.store.stall()
        mesh.bus.stop()
        await a.until(lambda: a.node.state == "detached")
        submit = asyncio.ensure_future(a.submit("short"))
        await asyncio.sleep(0)
        mesh.bus.start()
        a.store.resume()
        assert (await a.ended((await submit).id)).state == "done"
        monkeypatch.setattr("meshd.service.SUBMIT_GRACE_S", 0.05)
        a.store.stall()
        mesh.bus.stop()
        await a.until(lambda: a.node.state == "detached")
        assert (await refused(a.submit("waits a moment"))).code == "detached"
        assert a.node.ledger.watched == 0, "nothing of what was refused may be written later"
        mesh.bus.start()
        a.store.resume()
        await a.until(lambda: a.views.cut_off_s() == 0)
        a.store.stall()
        mesh.bus.stop()
        await a.until(lambda: a.views.cut_off_s() > 0.05)
        refusal = await refused(a.submit("long"))
        assert refusal.message == "this node is detached: it cannot reach the record now"
        mesh.bus.start()
        a.store.resume()
        await a.until(lambda: a.views.cut_off_s() == 0)
        assert (await a.ended((await a.submit("again")).id)).state == "done"


async def test_a_call_finds_the_slot_of_a_task_whose_end_waits_for_the_record() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a", actor := Actor(do=held, slots=1))
        await a.shows((await a.submit("x")).id, "running")
        a.store.stall()
        mesh.bus.stop()
        held.release.set()
        await a.until(lambda: a.views.agents()[0].free == 1 and a.node.holder.in_hand == 1)
        answer = await a.service.call(CAPABILITY, schemas.CallRequest(input="y", timeout_s=20.0))
        assert (answer.result, len(actor.runs), a.service.peer("a").load.free) == ("y", 2, 1)
        a.store.resume()


async def test_how_long_a_node_is_cut_off_counts_from_the_outage_and_not_from_the_first_question() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        assert a.views.cut_off_s() == 0
        for _ in range(2):
            mesh.bus.stop()
            await a.until(lambda: a.node.state == "detached")
            later = clock.monotonic_ns() + NS_PER_S // 10
            await until(lambda later=later: clock.monotonic_ns() > later)  # type: ignore[misc]  # binds the loop's variable
            assert 0.1 <= a.views.cut_off_s() < 5  # nobody had asked meanwhile
            mesh.bus.start()
            await a.until(lambda: a.node.state == "joined")
            assert a.views.cut_off_s() == 0


async def test_a_submit_that_the_store_does_not_acknowledge_names_its_task() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        a.store.stall()
        refusal = await refused(a.submit("x", key="k"))
        assert refusal.code == "unsettled"
        a.store.resume()
        assert (await a.ended(str(refusal.fields["task"]))).state == "done"


# --- waiting


async def test_a_wait_ends_after_its_time_and_shows_the_task_as_it_stands() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a", Actor(do=held))
        task = await a.submit()
        await a.shows(task.id, "running")
        assert (await a.service.wait(task.id, 0.01)).state == "running"
        held.release.set()
        assert (await a.ended(task.id)).state == "done"


async def test_those_who_go_away_while_they_wait_leave_nothing_behind() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a", Actor(do=held))
        b = await mesh.start("b")
        task = await a.submit()
        for daemon in (a, b):
            waits = [asyncio.ensure_future(daemon.service.wait(task.id, 30.0)) for _ in range(50)]
            await a.shows(task.id, "running")
            for wait in waits[1:]:
                wait.cancel()
            await asyncio.wait(waits[1:])
            await until(lambda daemon=daemon: daemon.performer.expected <= 1)  # type: ignore[misc]  # binds the loop's variable
        held.release.set()
        assert (await a.ended(task.id)).state == "done"
        await until(lambda: a.performer.expected == 0)


async def test_a_wait_goes_on_when_the_home_leaves_the_task_to_others() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a", Actor(do=held))
        b = await mesh.start("b")
        task = await b.submit("x")
        await b.shows(task.id, "running")
        wait = asyncio.ensure_future(a.ended(task.id))
        await mesh.kill("b")
        held.release.set()
        assert (await wait).state == "done"


async def test_an_unknown_task_is_an_error_whoever_asks_how() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        for asked in (a.service.task, a.service.cancel, lambda task: a.service.wait(task, 5.0)):
            assert (await refused(asked("a" * ids.TASK_CHARS))).code == "unknown_task"


# --- cancel


async def test_a_task_is_cancelled_from_any_node_and_its_agent_stopped() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        actor = Actor(do=Held())
        b = await mesh.start("b", actor)
        c = await mesh.start("c")
        for daemon in (a, b, c):
            task = await a.submit()
            await a.shows(task.id, "running")
            assert (await daemon.service.cancel(task.id)).state == "cancelled"
            await until(lambda task=task: task.id in actor.stopped)  # type: ignore[misc]  # binds the loop's variable
            again = await refused(daemon.service.cancel(task.id))
            assert again.code == "already_ended"
        await b.until(lambda: b.node.holder.in_hand == 0)


# --- agents


async def test_work_of_a_killed_owner_is_done_by_another() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", Actor(do=Held()))
        task = await a.submit("x")
        await a.shows(task.id, "running")
        c = await mesh.start("c", Actor())
        await mesh.kill("b")
        shown = await a.ended(task.id)
        assert (shown.state, shown.owner, shown.epoch) == ("done", c.me.id, 2)
        assert [each.owner for each in shown.attempts] == [b.me.id]
        assert shown.attempts[0].ended in ("absent", "silent")


async def test_a_late_result_is_shown_with_the_task_that_was_done_without_it() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a")
        b = await mesh.start("b", Actor(do=held))
        task = await a.submit("x")
        await a.shows(task.id, "running")
        c = await mesh.start("c", Actor())
        mesh.bus.cut(b.transport)
        assert (await a.ended(task.id)).owner == c.me.id
        held.release.set()  # the store is still in reach: its compare-and-set decides

        async def late() -> tuple[history.RefusedResult, ...]:
            return (await a.service.task(task.id)).refused

        found = await until_told(late, what="the refused result")
        assert [(each.owner, each.epoch, each.result) for each in found] == [(b.me.id, 1, "x")]


async def test_a_late_result_of_a_task_that_was_cancelled_in_its_first_award_is_shown_by_every_node() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a, b = await mesh.start("a"), await mesh.start("b", Actor(do=held))
        task = await a.submit("x")
        await a.shows(task.id, "running")
        b.store.stall()
        held.release.set()  # its end waits, and then comes too late
        await b.until(lambda: b.performer.writes_waiting, what="the end on its way")
        await a.service.cancel(task.id)
        b.store.resume()
        for daemon in (a, b):

            async def late(daemon: LittleDaemon = daemon) -> tuple[history.RefusedResult, ...]:
                return (await daemon.service.task(task.id)).refused

            assert [each.epoch for each in await until_told(late, what="the refused result")] == [1]


async def test_an_agent_that_goes_away_before_its_order_arrives_gives_the_work_to_another() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("first"))
        a.hosting._agents.clear()  # it was announced, and is not there
        b = await mesh.start("b", Actor("second"))
        shown = await a.ended((await a.submit("x")).id)
        assert (shown.state, shown.owner) == ("done", b.me.id)
        assert shown.attempts[0].ended == "agent_unavailable"


async def test_an_agent_fails_a_task_for_good_and_the_reason_is_shown() -> None:
    async def fail(_work: Work, _desk: Desk) -> Outcome:
        return Failed("agent_failed", "no such customer", retry=False)

    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor(do=fail))
        shown = await a.ended((await a.submit()).id)
        assert (shown.state, shown.error) == ("failed", schemas.TaskError("agent_failed", "no such customer"))


async def test_a_task_submits_a_task_and_waits_for_it_under_one_goal() -> None:
    async def parent(work: Work, desk: Desk) -> Outcome:
        return Finished([await desk.submit("child@1", work.input, key="", is_awaited=True), "told"])

    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("parent", parent))
        await mesh.start("b", Actor("child", capability="child@1"))
        task = await a.ended((await a.submit("x")).id)
        assert task.result == ["x", "told"]
        both = await a.service.tasks(schemas.TaskFilter(gid=task.gid), after=None, limit=9)
        child = next(each for each in both if each.id != task.id)
        assert (child.parent_iid, child.submitter) == (task.iid, f"task/{task.id}")


# --- call


async def test_a_call_is_answered_by_whoever_has_room() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", Actor("clerk"))
        answer = await a.service.call(CAPABILITY, call({"n": 1}))
        assert (answer.result, answer.node, answer.agent) == ({"n": 1}, b.me.id, "clerk")
        assert (await refused(a.service.call(CAPABILITY, call(agent="nobody")))).code == "unknown_agent"
        assert (await refused(a.service.call("fly@1", call()))).code == "no_agent"
        assert (await refused(a.service.call(CAPABILITY, call("x" * limits.INPUT_BYTES_MAX)))).code == "too_large"


async def test_a_call_that_takes_too_long_or_finds_all_busy_says_so_and_its_slot_is_free_again() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a", Actor(do=held, slots=1))
        slow = await refused(a.service.call(CAPABILITY, call(timeout_s=0.05)))
        assert (slow.code, slow.fields["what"]) == ("timed_out", CAPABILITY)
        assert (await refused(a.service.call(CAPABILITY, call()))).code == "no_free_agent"
        held.release.set()

        async def answered() -> bool:
            try:
                return bool((await a.service.call(CAPABILITY, call("y"))).result == "y")
            except MeshError:
                return False

        await until_told(answered)


# --- lists


async def _some(daemon: LittleDaemon, count: int) -> list[str]:
    return [(await daemon.ended((await daemon.submit(number)).id)).id for number in range(count)]


async def test_tasks_are_listed_newest_first_in_pages_without_gap_or_double() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        b = await mesh.start("b")
        made = {*await _some(a, 7), *await _some(b, 4)}
        seen: list[schemas.Task] = []
        after = None
        while page := await b.service.tasks(ANY, after=after, limit=3):
            seen += page
            after = schemas.Cursor(page[-1].submitted_ms, page[-1].id)
        assert {task.id for task in seen} == made
        assert len(seen) == 11
        order = [(task.submitted_ms, task.id) for task in seen]
        assert order == sorted(order, reverse=True)


async def test_lists_are_narrowed_by_state_capability_goal_and_home() -> None:
    async with little_daemons() as mesh:
        held = Held()
        a = await mesh.start("a", Actor(), Actor("slow", held, capability="slow@1", slots=1))
        b = await mesh.start("b")
        (done,) = await _some(b, 1)
        slow = schemas.SubmitRequest(capability="slow@1", gid="goal")
        running, _ = await a.service.submit(slow, key="", principal="p")
        await a.shows(running.id, "running")
        waiting, _ = await a.service.submit(slow, key="", principal="p")

        async def ids_of(**wanted: str) -> set[str]:
            found = await b.service.tasks(schemas.TaskFilter(**wanted), after=None, limit=9)
            return {task.id for task in found}

        assert await ids_of() == {done, running.id, waiting.id}
        assert await ids_of(state="done") == {done}
        assert await ids_of(state="running") == {running.id}
        assert await ids_of(state="open") == {waiting.id}
        assert await ids_of(state="awarded") == set()
        assert await ids_of(capability="slow@1", gid="goal") == {running.id, waiting.id}
        assert await ids_of(home="b") == {done}
        assert await ids_of(home="nobody") == set()
        held.release.set()


async def test_a_task_whose_home_is_silent_is_shown_as_awarded() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", Actor(do=Held()))
        task = await a.submit()
        await b.shows(task.id, "running")
        mesh.bus.cut(a.transport)
        assert (await b.service.task(task.id)).state == "awarded"


async def test_a_store_that_fails_is_said_by_every_reader() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        (task,) = await _some(a, 1)

        async def fail(_name: str) -> None:
            raise MeshError("store", problem="gave no answer within 5 s")

        a.store.read = a.store.changes = fail  # type: ignore[method-assign,assignment]  # a store that is away
        for asked in (a.service.task(task), a.service.tasks(ANY, after=None, limit=9), a.service.task(task[:6])):
            assert (await refused(asked)).code == "store"


async def test_a_record_that_no_node_signed_is_left_out_and_named() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        task = "t" * ids.TASK_CHARS
        mesh.bucket.put(ids.task_key(task), b"not a frame", 0.0)
        assert await a.service.tasks(ANY, after=None, limit=9) == []
        for name in (task, task[:8]):
            assert (await refused(a.service.task(name))).code == "bad_record"


async def test_a_result_that_is_no_plain_value_is_shown_as_none() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        (task,) = await _some(a, 1)
        record = await a.shelf.one(task)
        assert isinstance(record, TaskRecord)
        assert a.views.task(structs.replace(record, result=b"\xd4\x05x"), None).result is None


# --- peers and events


async def test_a_peer_is_found_by_name_id_or_prefix_and_pinged() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b")
        for name in ("b", b.me.id, b.me.id[:8]):
            assert a.service.peer(name).id == b.me.id
        for name in ("nobody", ""):
            with pytest.raises(MeshError, match="no peer is called"):
                a.service.peer(name)
        with pytest.raises(MeshError, match="too short"):
            a.service.peer(b.me.id[:3])
        assert (await a.service.ping("b")).rtt_ms >= 0
        mesh.bus.cut(b.transport)
        silent = await refused(a.service.ping("b"))
        assert (silent.code, silent.fields["what"]) == ("timed_out", "b")


async def test_of_two_nodes_of_one_name_the_first_keeps_it_where_that_is_known() -> None:
    async with little_daemons() as mesh:
        daemons = [await mesh.start(key, called=called) for key, called in (("a", "twin"), ("b", "twin"), ("c", "c"))]
        a, b, c = daemons
        names = [ids.distinct("twin", each.me.id) for each in (a, b)]
        for daemon, first in zip(daemons, ("twin", "twin", names[0]), strict=True):
            shown = {peer.id: peer.name for peer in daemon.service.peers()}
            assert shown == {a.me.id: first, b.me.id: names[1], c.me.id: "c"}
            for name, node in zip(names, (a, b), strict=True):
                assert daemon.service.peer(name).id == node.me.id
            (attention,) = daemon.service.status().attention
            assert attention.startswith(f"2 nodes are called twin: {first}, {names[1]}; ")
        assert [daemon.service.peer("twin").id for daemon in (a, b)] == [a.me.id] * 2
        with pytest.raises(MeshError) as caught:
            c.service.peer("twin")
        assert caught.value.code == "ambiguous"
        assert all(f"({each.me.id})" in str(caught.value.fields["candidates"]) for each in (a, b))
        assert [daemon.service.status().name for daemon in daemons] == ["twin", names[1], "c"]
        a.engine.put(Leave())
        await c.until(lambda: c.service.peer(a.me.id).state == "left")
        assert c.service.peer("twin").id == b.me.id
        assert c.service.status().attention == ()


async def test_what_happens_on_one_node_is_seen_in_the_stream_of_another() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor())
        b = await mesh.start("b")
        seen = []

        async def follow() -> None:
            async with b.service.follow(0) as following:
                async for each in following.events:
                    seen.append((each.node, each.event.__struct_config__.tag))

        following = asyncio.ensure_future(follow())
        await _some(a, 1)
        await until(lambda: (a.me.id, "task_done") in seen)
        b.stream.close()
        await following
