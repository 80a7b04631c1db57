"""A record that is damaged under its key: its watcher puts back what it knows, and does not fight for ever."""

import pytest
from msgspec import structs

from protocol import ids
from protocol.effects import Effect, Read, Write
from protocol.events import TaskPutBack
from protocol.records import Standing
from protocol.wire.task import Award, TaskRecord, TaskState
from tests.protocol.work import KEEP_S, SETTINGS, B, C, Home, bodies, frame, only_write, replies, said

MISSING, JUNK = Standing(None, 0, b""), Standing(None, 8, b"junk")


def _held() -> Home:
    """A task that B has accepted, at revision 1."""
    home = Home({B: 1})
    home.awarded()
    home.accepted()
    return home


def _found(home: Home, stands: Standing) -> list[Effect]:
    return home.ledger.on_found(ids.task_key(home.record.id), stands, "", home.now)


def _older(home: Home, revision: int = 8) -> Standing:
    before = Home({B: 1})
    before.awarded()
    assert before.record.epoch < home.record.epoch
    return Standing(before.record, revision, frame(before.record))


def _writes(effects: list[Effect]) -> list[Write]:
    return [each for each in effects if isinstance(each, Write)]


@pytest.mark.parametrize(("stands", "why"), [(MISSING, "missing"), (JUNK, "unreadable")])
def test_what_is_no_record_any_more_is_written_back_as_it_was_and_its_owner_goes_on(stands: Standing, why: str) -> None:
    home = _held()
    known = home.record
    write = only_write(_found(home, stands))
    assert (write.record, write.expect) == (known, stands.revision)
    effects = home.written([write])
    assert [(event.epoch, event.why) for event in said(effects, TaskPutBack)] == [(1, why)]
    assert not bodies(effects, Award), "nobody else gets it"
    assert not _writes(home.after(SETTINGS.lease_s / 2))
    home.answered()
    assert home.ledger.status((known.id,))[0].running


def test_an_older_version_is_replaced_by_what_is_known() -> None:
    home = _held()
    home.written(home.declined("drained") + home.after(SETTINGS.lease_s))
    home.accepted()
    assert home.record.epoch == 2
    write = only_write(_found(home, _older(home)))
    assert (write.record, write.expect) == (home.record, 8)
    assert [event.why for event in said(home.written([write]), TaskPutBack)] == ["older"]


def test_a_listing_that_shows_an_older_version_puts_it_back() -> None:
    home = _held()
    home.written(home.declined("drained") + home.after(SETTINGS.lease_s))
    older = _older(home)
    assert older.record is not None
    write = only_write(home.ledger.adopt(older.record, 8, older.frame, home.now))
    assert (write.record, write.expect) == (home.record, 8)


def test_a_change_that_meets_nothing_is_followed_by_what_was_known_and_then_made() -> None:
    home = _held()
    home.mesh.free[C] = 1
    moving = only_write(home.declined("drained"))
    assert moving.expect == 1
    back = only_write(home.ledger.on_lost(moving, MISSING, home.now))
    assert isinstance(back.record, TaskRecord)
    assert (back.expect, back.record.epoch) == (0, 1)
    assert [each.ended for each in back.record.attempts] == ["drained"]
    home.written(home.written([back]))
    assert (home.record.owner, home.record.epoch) == (C, 2)


def test_who_fights_is_answered_more_and_more_slowly() -> None:
    home = _held()
    written = 0
    for second in range(600):
        effects = home.after(1)
        home.answered()
        effects += _found(home, Standing(None, 10 + 2 * second, b"junk"))
        for write in _writes(effects):
            written += 1
            home.ledger.on_written(write, home.record, 11 + 2 * second, home.now)
    assert 8 < written < 20


def test_what_was_not_confirmed_for_as_long_as_an_end_is_kept_is_not_written_back() -> None:
    home = _held()
    for _ in range(int(KEEP_S) + 1):
        home.answered()
        home.after(1)
    home.ledger.wait(7, home.record.id)
    assert replies(_found(home, MISSING)) == [(7, "unknown_task")]
    assert home.ledger.watched == 0


def test_a_record_by_a_node_that_is_not_introduced_yet_is_looked_at_again() -> None:
    home = _held()
    stranger = Standing(None, 8, b"sealed", stranger=C)
    assert _found(home, stranger) == [Read(ids.presence_key(C))]
    assert Read(ids.task_key(home.record.id)) in home.after(1)
    moved = structs.replace(home.record, epoch=2, owner=C)
    assert not _writes(_found(home, Standing(moved, 8, frame(moved))))
    assert home.ledger.watched == 1


def test_a_stranger_that_nobody_introduces_has_written_junk() -> None:
    home = _held()
    effects: list[Effect] = []
    for _ in range(6):
        effects = _found(home, Standing(None, 8, b"sealed", stranger=C))
        if not _writes(effects):
            home.answered()
            home.after(1)
    assert only_write(effects).expect == 8


def test_the_loss_of_the_whole_record_puts_everything_back() -> None:
    home = Home({B: 2})
    for key in ("one", "two"):
        home.awarded(key)
        home.accepted()
    writes = _writes(home.ledger.on_record_lost(home.now))
    assert [(write.expect, write.urgent) for write in writes] == [(0, True), (0, True)]


def test_an_end_is_believed_whatever_its_revision() -> None:
    home = _held()
    home.ledger.wait(7, home.record.id)
    done = structs.replace(home.record, state=TaskState.DONE)
    assert replies(_found(home, Standing(done, 1, frame(done)))) == [(7, "done")]
