"""A daemon's look through its own journal: nothing in a sound one, the first fault in any other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from meshd.observe import inspection
from meshd.observe.inspection import Inspection
from meshd.observe.journal import Journal
from meshd.observe.segments import segments
from meshd.observe.shipping import WITNESS
from protocol.audit import RESTARTED, Act, Chain, Ending, Finding
from tests.meshd.observe.test_journal import ACT, NODE, taken_up


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = taken_up(tmp_path / "audit", segment_bytes=2_000)
    for _ in range(30):
        made.add(ACT)
        await made.settled()
    yield made
    await made.close()


async def looked(journal: Journal) -> Finding | None:
    return await Inspection(journal, node=NODE).look(pause_s=0.0)


def bend(path: Path, old: bytes = b"task/t", new: bytes = b"task/u") -> None:
    path.write_bytes(path.read_bytes().replace(old, new, 1))


async def test_a_sound_journal_is_found_to_be_so_while_it_grows(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "STEP", 3)
    own = Inspection(journal, node=NODE)
    looking = asyncio.ensure_future(own.look(pause_s=0.0))
    for _ in range(10):
        journal.add(ACT)
        await journal.settled()
    assert await looking is None
    assert own.seen == 30
    assert await own.look(pause_s=0.0) is None
    assert own.seen == 40


def _emptied(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()


DEEDS: dict[str, tuple[Callable[[list[Path]], object], Ending, str]] = {
    "a byte": (lambda paths: bend(paths[2]), Ending.ALTERED, "flipped"),
    "the newest": (lambda paths: bend(paths[-1]), Ending.ALTERED, "flipped"),
    "a segment": (lambda paths: paths[3].unlink(), Ending.GAP, "dropped"),
    "the first segment": (lambda paths: paths[0].unlink(), Ending.GAP, "cut"),
    "the last segment": (lambda paths: paths[-1].unlink(), Ending.GAP, "cut"),
    "everything": (_emptied, Ending.GAP, "cut"),
    "a segment emptied": (lambda paths: paths[1].write_bytes(b""), Ending.GAP, "dropped"),
    "a segment copied": (lambda paths: paths[1].write_bytes(paths[0].read_bytes()), Ending.ALTERED, "repeated"),
    "a note of nonsense": (
        lambda paths: (paths[0].parent / "000000000001.jsonl").write_bytes(b"\xff" * 90 + b"\n"),
        Ending.ALTERED,
        "flipped",
    ),
}


@pytest.mark.parametrize("name", DEEDS)
async def test_what_is_done_to_a_running_journal_is_found(journal: Journal, name: str) -> None:
    deed, ending, kind = DEEDS[name]
    deed(segments(journal.folder))
    found = await looked(journal)
    assert found is not None
    assert found.ending is ending
    assert found.kind in (kind, "swapped")


async def test_a_journal_that_was_written_anew_behind_the_daemons_back_is_found(journal: Journal) -> None:
    chain = Chain(NODE)
    lines = [chain.add(Act("x", "y", "done"), life=1, time_ms=1) for _ in range(30)]
    first, *others = segments(journal.folder)
    for path in others:
        path.unlink()
    first.write_bytes(b"".join(line + b"\n" for line in lines))
    found = await looked(journal)
    assert found is not None
    assert (found.ending, found.kind, found.seq) == (Ending.ALTERED, "replaced", 30)


async def test_what_was_the_end_at_one_look_is_there_at_the_next(journal: Journal) -> None:
    own = Inspection(journal, node=NODE)
    assert await own.look(pause_s=0.0) is None
    journal.add(ACT)  # not on disk yet: the look goes to record 30 alone, and its hash is known from the last one
    chain = Chain(NODE)
    lines = [chain.add(Act("x", "y", "done"), life=1, time_ms=1) for _ in range(30)]
    first, *others = segments(journal.folder)
    for path in others:
        path.unlink()
    first.write_bytes(b"".join(line + b"\n" for line in lines))
    found = await own.look(pause_s=0.0)
    assert found is not None
    assert found.seq == 30


async def test_a_note_that_nobody_of_this_node_signed_is_found(journal: Journal) -> None:
    (journal.folder / WITNESS).write_text(
        '{"node":"n","seq":3,"hash":"","stream":"m","stream_seq":1,"time_ms":1,"key":"00","signature":"00"}'
    )
    found = await looked(journal)
    assert found is not None
    assert (found.ending, found.kind) == (Ending.ALTERED, "foreign")


async def test_the_next_chain_is_looked_through_by_itself(journal: Journal) -> None:
    own = Inspection(journal, node=NODE)
    assert await own.look(pause_s=0.0) is None
    bend(segments(journal.folder)[0])
    assert await own.look(pause_s=0.0) is not None
    await journal.restart(Act(RESTARTED, "journal", "allow"))
    assert await own.look(pause_s=0.0) is None
    assert own.seen == 31
