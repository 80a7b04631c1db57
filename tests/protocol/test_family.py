"""A cancelled task and those that it led to, as conversations: none lives on, whatever comes first."""

from msgspec import structs

from protocol import ids, records
from protocol.effects import Effect, Read, Write
from protocol.family import AGAIN_S
from protocol.inputs import Retry
from protocol.records import Standing
from protocol.wire.task import Failure, TaskRecord, TaskState
from tests.protocol.work import ECHO, ME, SETTINGS, B, C, Home, awarded, frame, only_write, order, record, replies

GRAND = record("grand")
PARENT = structs.replace(record("parent"), ancestors=(GRAND.id,))
ANCESTORS = (GRAND.id, "call-b-1-1", PARENT.id)


def cancelled(one: TaskRecord, home: Home) -> TaskRecord:
    return records.cancelled(one, now=home.now)


def found(home: Home, key: str, one: TaskRecord | None, failed: str = "") -> list[Effect]:
    stands = Standing(one, 0 if one is None else 5, b"" if one is None else frame(one))
    return home.ledger.on_found(key, stands, failed, home.now)


def begun() -> tuple[Home, list[Effect]]:
    """A child whose first write stands."""
    home = Home({B: 1})
    return home, home.written(home.submit("child", ancestors=ANCESTORS))


def test_a_child_is_accepted_once_its_ancestors_are_seen_to_stand_and_calls_are_none() -> None:
    home, effects = begun()
    keys = [ids.task_key(GRAND.id), ids.task_key(PARENT.id)]
    assert [each.key for each in effects if isinstance(each, Read)] == keys
    assert replies(effects) == []
    assert replies(found(home, keys[0], GRAND)) == []
    assert replies(found(home, keys[1], None)) == [(1, "awarded")], "one that removed itself was not cancelled"


def test_a_child_of_a_task_that_was_cancelled_at_that_moment_is_refused_and_ends() -> None:
    home, _ = begun()
    effects = found(home, ids.task_key(GRAND.id), cancelled(GRAND, home))
    assert replies(effects) == [(1, "parent_cancelled")]
    assert only_write(effects).expect == home.revision
    home.written(effects)
    assert home.record.state is TaskState.CANCELLED
    assert home.record.failure is not None
    assert GRAND.id in home.record.failure.message
    assert home.ledger.watched == 0


def test_a_parent_that_failed_or_is_done_takes_no_child_with_it() -> None:
    home, _ = begun()
    found(home, ids.task_key(GRAND.id), records.failed(GRAND, failure=Failure("deadline", ""), now=home.now))
    done = records.done(awarded("parent"), result=b"\x02", started_ms=1, now=home.now)
    assert replies(found(home, ids.task_key(PARENT.id), done)) == [(1, "awarded")]


def test_an_ancestor_that_cannot_be_read_is_read_again_and_the_child_is_not_accepted_before() -> None:
    home, _ = begun()
    found(home, ids.task_key(PARENT.id), PARENT)
    assert replies(found(home, ids.task_key(GRAND.id), None, "is away")) == []
    assert Read(ids.task_key(GRAND.id)) in home.after(AGAIN_S)
    assert replies(found(home, ids.task_key(GRAND.id), GRAND)) == [(1, "awarded")]


def test_an_ancestor_that_a_node_not_known_here_wrote_is_read_again_once_its_admission_was_while_somebody_waits() -> (
    None
):
    home, _ = begun()
    found(home, ids.task_key(PARENT.id), PARENT)
    key, strange = ids.task_key(GRAND.id), Standing(None, 7, b"sealed", stranger=C)
    effects = home.ledger.on_found(key, strange, "", home.now)
    assert (effects, replies(effects)) == ([Read(ids.presence_key(C))], [])
    assert Read(key) in home.after(AGAIN_S)
    assert replies(found(home, key, cancelled(GRAND, home))) == [(1, "parent_cancelled")]

    home, _ = begun()
    found(home, ids.task_key(PARENT.id), PARENT)
    home.after(SETTINGS.answer_s)
    assert home.ledger.on_found(key, strange, "", home.now) == [], "a listing will bring a cancel, if it was one"
    assert Read(key) not in home.after(AGAIN_S)


def test_a_cancel_takes_along_what_is_watched_here_and_leaves_the_rest() -> None:
    home, _ = begun()
    home.written(home.submit("other", request=2))
    home.submit("parent", request=3, capability=ECHO)
    parent = record("parent")
    home.record, home.revision = parent, home.revision + 1
    write = Write(ids.task_key(parent.id), parent, 0, frame=frame(parent))
    home.ledger.on_written(write, parent, home.revision, home.now)
    effects = home.cancel(parent.id)
    effects = home.written(effects)
    assert [each.key for each in effects if isinstance(each, Write)] == [ids.task_key(record("child").id)]
    assert home.ledger.watches(record("other").id)


def test_a_cancel_that_comes_while_a_child_is_being_written_ends_it_right_after() -> None:
    home = Home({B: 1})
    first = home.submit("child", ancestors=ANCESTORS)
    effects = found(home, ids.task_key(GRAND.id), cancelled(GRAND, home))
    assert replies(effects) == [(1, "parent_cancelled")]
    effects = home.written(first)
    assert home.written(effects[-1:]) is not None
    assert home.record.state is TaskState.CANCELLED


def test_a_guardian_that_takes_up_a_child_looks_for_a_cancel_that_its_home_missed() -> None:
    home = Home({B: 1})
    child = structs.replace(awarded("child", home=C), ancestors=ANCESTORS)
    effects = home.ledger.adopt(child, 5, frame(child), home.now)
    assert Read(ids.task_key(PARENT.id)) in effects
    home.revision = 5
    effects = found(home, ids.task_key(PARENT.id), cancelled(PARENT, home))
    home.written(effects)
    assert home.record.state is TaskState.CANCELLED


def test_a_listing_that_brings_a_cancelled_task_makes_its_heirs_look_and_nobody_elses() -> None:
    home, _ = begun()
    assert home.ledger.on_elsewhere(cancelled(PARENT, home)) == [Read(ids.task_key(PARENT.id))]
    assert home.ledger.on_elsewhere(PARENT) == []
    assert home.ledger.on_elsewhere(cancelled(record("stranger"), home)) == []


def test_a_child_is_not_opened_again_while_its_parent_is_cancelled() -> None:
    home = Home({B: 1})
    child = cancelled(structs.replace(awarded("child", home=ME), ancestors=(PARENT.id,)), home)
    home.ledger.retry(Retry(5, child.id, "an operator"))
    home.revision = 5
    effects = home.written(found(home, ids.task_key(child.id), child))
    assert replies(effects) == []
    refused = found(home, ids.task_key(PARENT.id), cancelled(PARENT, home))
    assert replies(refused) == [(5, "parent_cancelled")]


def test_of_a_child_that_is_forgotten_no_ancestor_knows() -> None:
    home, _ = begun()
    ended = records.done(home.record, result=b"\x02", started_ms=1, now=home.now)
    home.result(ended)
    assert home.ledger.watched == 0
    assert found(home, ids.task_key(PARENT.id), cancelled(PARENT, home)) == []


def test_a_submit_with_no_ancestors_waits_for_no_look() -> None:
    home = Home({B: 1})
    assert replies(home.written(home.ledger.submit(order(), home.now))) == [(1, "awarded")]
