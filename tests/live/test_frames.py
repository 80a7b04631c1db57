"""Frames that no honest node sends, on the wire of a real mesh: each is counted by its rule, none has effect."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meshd import clock
from protocol import ids
from protocol.envelope import MAGIC, VERSION, Header
from protocol.identity import Identity
from protocol.limits import FRAME_BYTES_MAX, SWIM_BYTES_MAX, TWIN_MS
from protocol.primitives import Instant
from protocol.wire.ops import Survey
from tests.live.hosts import Host, Mesh, mesh
from tests.live.stranger import Stranger, life_of, node_of, sealed, stranger
from tests.waiting import until_told

pytestmark = pytest.mark.live

MALLORY = Identity(b"\x07" * 32)  # never admitted
BURST = 20_000


def _now(*, later_s: float = 0.0) -> Instant:
    now = clock.now()
    return Instant(mono_ns=now.mono_ns, wall_ms=now.wall_ms + round(later_s * 1_000))


async def _view(host: Host) -> list[tuple[str, str, int, int]]:
    peers = (await host.ask("GET", "/v1/peers"))["peers"]
    return sorted((peer["name"], peer["state"], peer["life"], peer["incarnation"]) for peer in peers)


async def _is_well(m: Mesh) -> None:
    """Everybody is joined, works for everybody, and complains of nothing."""
    for host in m.hosts.values():
        assert (await host.ask("GET", "/v1/status"))["state"] == "joined"
        answer = await host.ask("POST", "/v1/call/work@1", {"input": {"n": 7}})
        assert answer.get("result", {}).get("n") == 7, answer
        assert host.complaints() == []


def _of_kind(kind: str, *, subject: str, signer: Identity, life: int) -> bytes:
    """A frame of any kind, with a signature of zeros."""
    header = msgspec.msgpack.encode(Header(signer.public_key, subject, kind, life, 1, clock.wall_ms(), 30_000))
    return MAGIC + bytes((VERSION, 0)) + len(header).to_bytes(2, "big") + header + bytes(64)


async def _nonsense_is_refused(s: Stranger, to: Host, src: str) -> None:
    subject = s.inbox(to, src)
    right = sealed(MALLORY, subject=subject, at=_now(), life=1)
    await s.is_refused("too_short", subject, b"")
    await s.is_refused("too_short", subject, right[:60])
    await s.is_refused("too_short", subject, right[:100])
    await s.is_refused("bad_magic", subject, os.urandom(300))
    await s.is_refused("bad_version", subject, right[:2] + b"\xff" + right[3:])
    await s.is_refused("bad_header", subject, right[:6] + b"\xc1" * 800)
    await s.is_refused("too_large", subject, bytes(FRAME_BYTES_MAX + 1))
    await s.is_refused("too_large", subject, right[:-64] + bytes(SWIM_BYTES_MAX) + right[-64:])


async def _what_is_nearly_right_is_refused(s: Stranger, to: Host, src: Host, life: int) -> None:
    """Frames in the name of `src`, some of them with its own key."""
    node = node_of(src)
    subject = s.inbox(to, node.id)
    await s.is_refused("unknown_kind", subject, _of_kind("gift", subject=subject, signer=node, life=life))
    await s.is_refused("bad_signature", subject, _of_kind("ping", subject=subject, signer=node, life=life))
    right = sealed(node, subject=subject, at=_now(), life=life + 1)
    await s.is_refused("bad_signature", subject, right[:-1] + bytes([right[-1] ^ 1]))
    await s.is_refused("wrong_signer", subject, sealed(MALLORY, subject=subject, at=_now(), life=life))
    own = s.inbox(to, MALLORY.id)
    await s.is_refused("not_admitted", own, sealed(MALLORY, subject=own, at=_now(), life=life))
    for code, later_s in (("expired", -120), ("from_future", 120)):  # a probe alone needs no date
        misdated = sealed(node, subject=subject, at=_now(later_s=later_s), life=life, body=Survey(1))
        await s.is_refused(code, subject, misdated)
    begun = Instant(clock.monotonic_ns(), life)
    await s.is_refused("old_life", subject, sealed(node, subject=subject, at=begun, life=life - 1))
    long_after = Instant(clock.monotonic_ns(), life + TWIN_MS)
    await s.is_refused("two_lives", subject, sealed(node, subject=subject, at=long_after, life=life - 1))
    elsewhere = s.inbox(src, node.id)
    await s.is_refused("wrong_subject", subject, sealed(node, subject=elsewhere, at=_now(), life=life))
    fact = s.subjects.fact(region="local", src=node.id)
    await s.is_refused("wrong_family", fact, sealed(node, subject=fact, at=_now(), life=life))


async def test_every_frame_that_breaks_a_rule_is_counted_by_its_rule_and_has_no_effect(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="a") as m, stranger(m.a) as s:
        before = await _view(m.a)
        await _nonsense_is_refused(s, m.a, node_of(m.b).id)
        heard = await s.overheard(s.inbox(m.a, node_of(m.b).id))
        await s.is_refused("replayed", heard.subject, heard.data)
        await s.is_refused("wrong_subject", s.inbox(m.a, node_of(m.b).id), await _overheard_elsewhere(s, m))
        await _what_is_nearly_right_is_refused(s, m.a, m.b, life_of(m.b))
        assert await _view(m.a) == before
        await _is_well(m)


async def _overheard_elsewhere(s: Stranger, m: Mesh) -> bytes:
    """A real frame to b, to be delivered to a."""
    return (await s.overheard(s.inbox(m.b, node_of(m.a).id))).data


async def test_a_flood_of_junk_is_counted_and_stops_nobody(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="a") as m, stranger(m.a) as s:
        before = await _view(m.a)
        subject = s.inbox(m.a, node_of(m.b).id)
        await s.publish(subject, *(os.urandom(80) for _ in range(BURST)))

        async def look() -> bool:
            await s.publish(subject, os.urandom(80))  # what a flood left untold is told with the next of its kind
            return sum((await s.refused()).values()) > 0.5 * BURST

        await until_told(look, what="most of the flood being counted")
        assert await _view(m.a) == before
        assert m.a.events("peer_suspect") == m.b.events("peer_dead") == []
        assert len(m.a.events("frame_refused")) < 0.05 * BURST
        await _is_well(m)


async def test_a_record_overwritten_with_garbage_costs_that_task_at_most(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", "b", workers="a", slots=4) as m, stranger(m.a) as s:
        done = await m.b.submit(input={"n": 1})
        await m.b.ended(done["id"])
        others = [await m.b.submit(input={"s": 0.5, "n": number}) for number in range(3)]
        running = await m.b.submit(input={"s": 2.0})
        await m.b.until_state(running["id"], "running")
        for task in (done, running):
            await s.put(ids.task_key(task["id"]), b"garbage")
        await s.put("p00.no-task-at-all", b"garbage")
        ended = [await m.b.ended(task["id"]) for task in others]
        assert [task["state"] for task in ended] == ["done"] * 3
        waited = await m.b.ask("GET", f"/v1/tasks/{running['id']}?wait_s=20")
        assert waited["error"]["code"] == "bad_record"
        for host in m.hosts.values():
            assert (await host.ended(done["id"]))["state"] == "done", "whoever saw its end puts it back"
            await until_told(partial(_lists, host, done, *others, but=running), what="the whole list")
        await until_told(lambda: _watches_nothing(m.b), what="b letting go of the task")
        assert (await s.refused())["too_short"] > 0
        await _is_well(m)


async def _lists(host: Host, *tasks: dict[str, Any], but: dict[str, Any]) -> bool:
    listed = (await host.ask("GET", "/v1/tasks"))["tasks"]
    return {task["id"] for task in listed} - {but["id"]} == {task["id"] for task in tasks}


async def _watches_nothing(host: Host) -> bool:
    return "meshd_tasks_watched 0.0" in await host.metrics()
