"""What is answered about the audit: pages of the stream or the journal, with bounds, and nobody else's word in them."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import nats
import pytest

from meshd import auditing as auditing_module
from meshd.api.audit_schemas import AuditPage, AuditQuery
from meshd.auditing import Auditing, Reading
from meshd.observe import custody
from meshd.observe import shipping as shipping_module
from meshd.observe.audit import Audit
from meshd.observe.metrics import METRICS
from meshd.observe.segments import Cursor, segments
from meshd.observe.shipping import read_witness
from meshd.observe.verify import beside_stream, verify
from meshd.ports import Kept
from meshd.settings import AuditSettings
from meshd.store.archive import JetStreamArchive
from protocol import limits
from protocol.audit import Act, Ending
from protocol.errors import MeshError
from protocol.events import AuditDamaged, AuditRestarted, Event
from protocol.replica import Me
from tests.meshd.observe.test_shipping import MemoryArchive, Stage
from tests.protocol.sealing import ALICE, LIFE, SUBJECTS, opener
from tests.servers import NatsServer
from tests.waiting import until


def _id_of(name: str) -> str:
    if name != "alice":
        raise MeshError("unknown_peer", peer=name)
    return ALICE.id


class Node:
    """An auditing over a stream in memory."""

    def __init__(self, folder: Path, archive: MemoryArchive | None = None, **settings: int) -> None:
        self.stage = Stage(folder, archive or MemoryArchive())
        self.events: list[Event] = []
        reading = Reading(
            subjects=SUBJECTS,
            open=lambda subject, frame: opener().open_audit(subject, frame),
            name_of=lambda node: "alice",
            id_of=_id_of,
        )
        self.auditing = Auditing(
            me=Me(id=ALICE.id, life=LIFE, name="alice", region="r", domain="d"),
            audit=Audit(self.stage.journal),
            shipping=self.stage.shipping,
            archive=self.stage.archive,
            reading=reading,
            settings=AuditSettings(**settings),
            supervisor=self.stage.supervisor,
            tell=self.tell,
        )

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self.auditing.gate.tell(event)

    async def note(self, *acts: Act) -> None:
        for act in acts:
            self.auditing.gate.note(act)
        await self.stage.journal.settled()
        await until(lambda: self.stage.shipping.shipped == self.stage.journal.durable)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping_module, "AGAIN_S", 0.02)
    monkeypatch.setattr(shipping_module, "GATHER_S", 0.001)
    monkeypatch.setattr(limits, "AUDIT_BATCH_MAX", 4)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path / "audit")
    made.auditing.start()
    yield made
    await made.stage.end()


def seqs(page: AuditPage) -> list[int]:
    return [record.seq for record in page.records]


async def test_a_life_begins_and_ends_on_record(node: Node) -> None:
    await node.auditing.stop(5.0)
    page = await node.auditing.page(AuditQuery())
    assert [record.action for record in page.records] == ["node.start", "node.stop"]
    assert page.records[0].more == {"name": "alice", "version": ""}
    assert page.records[0].node_name == "alice"


@pytest.mark.parametrize("here", [True, False], ids=["journal", "stream"])
async def test_pages_follow_each_other_without_a_gap_or_a_repeat(node: Node, here: bool) -> None:
    await node.note(*(Act("task.award", f"task/{number}", "allow") for number in range(20)))
    found: list[int] = []
    cursor = ""
    while True:
        page = await node.auditing.page(AuditQuery(limit=3, cursor=cursor, here=here))
        assert len(page.records) <= 3
        found += seqs(page)
        cursor = page.cursor
        if page.is_end:
            break
    assert found == list(range(1, 22))
    await node.note(Act("task.commit", "task/1", "done"))
    assert seqs(await node.auditing.page(AuditQuery(cursor=cursor, here=here))) == [22]


@pytest.mark.parametrize("here", [True, False], ids=["journal", "stream"])
async def test_every_filter_narrows_what_is_answered(node: Node, here: bool) -> None:
    await node.note(
        Act("task.submit", "task/tttt", "allow", who="operator", iid="iiii", gid="gggg"),
        Act("task.award", "task/tttt", "allow", iid="iiii", gid="gggg"),
        Act("frame.refuse", "node/x", "deny"),
        Act("task.submit", "task/uuuu", "allow", who="other", iid="jjjj", gid="hhhh", parent="iiii"),
    )

    async def found(**query: object) -> list[int]:
        return seqs(await node.auditing.page(AuditQuery(here=here, **query)))  # type: ignore[arg-type]  # by name

    assert await found(who="operator") == [2]
    assert await found(what="task") == [2, 3, 5]
    assert await found(what="task.award") == [3]
    assert await found(what="tas") == []
    assert await found(decision="deny") == [4]
    assert await found(id="ii") == [2, 3, 5]
    assert await found(id="gggg") == [2, 3]
    assert await found(id="uuuu") == [5]
    assert await found(resource="node/x") == [4]
    assert await found(since_ms=1 << 52) == []
    assert await found(node="alice", what="frame") == [4]


async def test_the_newest_come_from_near_the_end(node: Node) -> None:
    await node.note(*(Act("task.award", f"task/{number}", "allow") for number in range(40)))
    assert seqs(await node.auditing.page(AuditQuery(here=True, newest=True, limit=5))) == [37, 38, 39, 40, 41]
    newest = await node.auditing.page(AuditQuery(newest=True, limit=5))
    assert seqs(newest) == [37, 38, 39, 40, 41]
    assert newest.is_end


async def test_a_page_looks_at_a_bounded_part_and_says_that_there_is_more(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing_module, "FRAMES_MAX", 2)
    monkeypatch.setattr(auditing_module, "SCANNED_MAX", 5)
    await node.note(*(Act("task.award", f"task/{number}", "allow") for number in range(30)))
    for here in (True, False):
        page = await node.auditing.page(AuditQuery(what="nothing.such", here=here))
        assert (page.records, page.is_end) == ((), False)
        assert page.cursor


async def test_what_is_no_admitted_nodes_word_is_left_out_and_counted(node: Node) -> None:
    await node.note(Act("task.award", "task/1", "allow"))
    archive = node.stage.archive
    archive.frames.append(Kept(len(archive.frames) + 1, SUBJECTS.audit(src="m" * 32), b"MD nonsense"))
    page = await node.auditing.page(AuditQuery())
    assert (seqs(page), page.refused) == ([1, 2], 1)


async def test_junk_of_anybody_on_a_real_server_before_between_and_after_records_leaves_the_node_verified(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    server, subject = own_nats_server, SUBJECTS.audit(src=ALICE.id)
    archive = JetStreamArchive(
        [server.url],
        stream=SUBJECTS.audit_stream,
        subjects=SUBJECTS.audits(),
        name="t",
        rng=random.Random(7),
        user=server.user,
        password=server.password,
        keep_s=3_600.0,
        bytes_max=1 << 20,
    )
    await archive.open()
    raw = await nats.connect(server.url, user=server.user, password=server.password)
    for life in range(1, 3):
        await raw.jetstream().publish(subject, b"x")
        node = Node(tmp_path / "audit", cast("MemoryArchive", archive))
        node.auditing.start()
        await node.note(Act("task.award", "task/1", "allow"))
        await raw.jetstream().publish(subject, b"x")
        await node.note(Act("task.award", "task/2", "allow"))
        await raw.jetstream().publish(subject, b"x")
        assert node.auditing.attention() == ()
        page = await node.auditing.page(AuditQuery(node="alice"))
        assert (seqs(page), page.refused) == (list(range(1, 3 * life + 1)), 3 * life)
        report = beside_stream(verify(tmp_path), tmp_path, ((each.seq, each.hash) for each in page.records))
        assert report.ending is Ending.VERIFIED
        await node.stage.end()
    await raw.close()
    await archive.close()


async def test_an_unknown_node_and_a_stream_out_of_reach_are_errors_with_a_code(node: Node) -> None:
    with pytest.raises(MeshError, match="nobody"):
        await node.auditing.page(AuditQuery(node="nobody"))
    node.stage.archive.is_away = True
    node.stage.archive.frames.clear()
    head = node.auditing.head()
    assert (head.node, head.name, head.seq >= 1) == (ALICE.id, "alice", True)


async def test_every_figure_of_the_audit_has_a_row(node: Node) -> None:
    assert node.auditing.gauges().keys() <= {row.name for row in METRICS}


async def test_a_fork_wants_attention(node: Node) -> None:
    await node.note(Act("task.award", "task/1", "allow"))
    assert node.auditing.attention() == ()
    assert {name for name, value in node.auditing.gauges().items() if value} <= {"meshd_audit_checked"}
    node.stage.shipping._fork("the stream has another", 2)
    assert node.auditing.gauges()["meshd_audit_forked"] == 1.0
    assert "forked" in node.auditing.attention()[0]


async def test_what_an_operator_asks_is_on_record_allowed_or_refused(node: Node) -> None:
    node.auditing.requested("POST /v1/peers/b/drain", who="operator", resource="peer/b", iid="i1", words={}, code="")
    words = {"level": "x"}
    node.auditing.requested("PUT /v1/log", who="operator", resource="node", iid="i2", words=words, code="still_alive")
    node.auditing.refused("task.refuse", "capability/a@1", who="operator", code="no_agent", iid="i3", gid="g3")
    await node.note()
    page = await node.auditing.page(AuditQuery(who="operator"))
    assert [(each.action, each.decision, each.more.get("code", ""), each.iid, each.gid) for each in page.records] == [
        ("node.ask", "allow", "", "i1", ""),
        ("node.ask", "deny", "still_alive", "i2", ""),
        ("task.refuse", "deny", "no_agent", "i3", "g3"),
    ]


async def test_damage_is_found_told_once_to_all_and_set_aside_by_who_asks_for_it_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody, "LOOK_S", 0.01)
    first = Node(tmp_path / "audit")
    first.auditing.start()
    await first.note(Act("task.award", "task/1", "allow"), Act("task.award", "task/2", "allow"))
    await first.stage.end()
    (path,) = (tmp_path / "audit").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"task/1", b"task/7"))
    node = Node(tmp_path / "audit")
    node.stage.archive = first.stage.archive
    node.auditing.start()
    await until(lambda: node.events)
    (damaged,) = node.events
    assert isinstance(damaged, AuditDamaged)
    assert (damaged.how, damaged.chain) == ("altered", 1)
    head = node.auditing.head()
    assert (head.damage, head.damage_seq) == (damaged.text, damaged.seq)
    assert node.auditing.gauges()["meshd_audit_damaged"] == 1.0
    assert "meshctl audit restart" in node.auditing.attention()[0]
    node.auditing.gate.check()  # its end is sound, so work goes on
    head = await node.auditing.restart("a disk lost a sector", who="operator")
    assert (head.chain, head.damage, node.auditing.attention()) == (2, "", ())
    assert head.aside == f"{node.stage.journal.folder}-1"
    assert Path(head.aside).is_dir()
    assert isinstance(node.events[-1], AuditRestarted)
    page = await node.auditing.page(AuditQuery(here=True, what="audit.restart"))
    assert (page.records[0].who, page.records[0].more["reason"]) == ("operator", "a disk lost a sector")
    assert page.records[0].more["finding"] == "altered"
    with pytest.raises(MeshError) as refused:
        await node.auditing.restart("once more", who="operator")
    assert refused.value.code == "audit_sound"
    await node.stage.end()


async def test_a_node_whose_audit_has_no_end_starts_takes_no_work_and_says_so_until_the_next_chain(
    tmp_path: Path,
) -> None:
    first = Node(tmp_path / "audit")
    await first.stage.add(3)
    await first.stage.end()
    (path,) = (tmp_path / "audit").glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-30] + b"x" * 29 + b"\n")
    node = Node(tmp_path / "audit")
    node.auditing.start()
    await until(lambda: node.events)
    with pytest.raises(MeshError, match="meshctl audit restart"):
        node.auditing.gate.check()
    assert len(node.auditing.attention()) == 2
    await node.auditing.restart("a torn sector", who="operator")
    node.auditing.gate.check()
    await node.stage.journal.settled()
    actions = [each.action for each in (await node.auditing.page(AuditQuery(here=True))).records]
    assert actions == ["audit.restart", "node.start", "audit.find"]
    await node.stage.end()


async def test_what_waits_too_long_for_the_stream_is_said_and_too_much_of_it_stops_new_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody, "LOOK_S", 0.01)
    monkeypatch.setattr(custody, "STUCK_S", 0.0)
    node = Node(tmp_path / "audit", journal_bytes_max=200)
    node.stage.archive.is_away = True
    node.auditing.start()
    await until(lambda: node.auditing.gate.problem or node.stage.failures, 3.0)
    assert node.stage.failures == []
    assert "wait for the stream" in node.auditing.gate.problem
    with pytest.raises(MeshError):
        node.auditing.gate.check()
    await until(lambda: node.auditing.attention()[1:])
    _, stuck = node.auditing.attention()
    assert "is away" in stuck
    assert node.auditing.gauges()["meshd_audit_stuck_seconds"] > 0
    assert node.auditing.head().stuck_s >= 0
    node.stage.journal.add(Act("task.commit", "task/1", "done"))  # what ends is recorded all the same
    await node.stage.journal.settled()
    assert node.stage.journal.waiting == 0
    node.stage.archive.is_away = False
    await until(lambda: not node.auditing.gate.problem)
    assert node.auditing.attention() == ()
    await node.stage.end()


@pytest.mark.parametrize("where", ["read", "sent"])
async def test_a_chain_that_begins_while_the_former_is_sent_is_sent_like_any_other(
    node: Node, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    await node.note(*(Act("task.award", f"task/{number}", "allow") for number in range(6)))
    path = segments(node.stage.journal.folder)[0]
    path.write_bytes(path.read_bytes().replace(b"task/2", b"task/X"))
    reached, go_on = threading.Event(), threading.Event()
    take, append = Cursor.take, node.stage.archive.append

    def taken(cursor: Cursor, **bounds: int) -> list[bytes]:
        lines = take(cursor, **bounds)
        reached.set()
        go_on.wait(20.0)
        return lines

    async def appended(subject: str, frame: bytes, *, mark: str, expect: int) -> int | None:
        reached.set()
        await asyncio.to_thread(go_on.wait, 20.0)
        return await append(subject, frame, mark=mark, expect=expect)

    if where == "read":
        monkeypatch.setattr(Cursor, "take", taken)
    else:
        monkeypatch.setattr(node.stage.archive, "append", appended)
    node.auditing.gate.note(Act("task.award", "task/late", "allow"))
    await until(reached.is_set)
    head = await node.auditing.restart("a sector", who="operator")
    go_on.set()
    await node.note(*(Act("task.award", f"task/new{number}", "allow") for number in range(10)))
    assert (node.auditing.head().chain, node.auditing.head().damage) == (head.chain, "")
    assert node.auditing.attention() == ()
    witness = read_witness(node.stage.journal.folder)
    assert witness is not None
    assert witness.seq > head.seq
