"""Values of the bucket, opened: the record under a task's key, or who wrote what cannot be read yet.

Invariant: what is no record of this mesh is counted and has no other effect here; an end that was seen
outweighs what was put over it, and is put back. What follows from a record is said by `ledger` and `holder`.
Neighbour: `node` hands over what the store brought.
"""

from msgspec import structs

from protocol import ids, limits, records
from protocol.effects import Effect, Emit, Write
from protocol.endings import Endings
from protocol.envelope import Envelope, Opener, Refusal
from protocol.events import TaskPutBack
from protocol.inputs import Lost, Unsent, Written
from protocol.primitives import Instant
from protocol.records import Standing
from protocol.refusals import Refusals
from protocol.wire.task import ENDED, TaskRecord


class Reader:
    """Opens records; what is to be told or written because of them waits until it is taken."""

    def __init__(self, *, opener: Opener, refusals: Refusals, keep_s: float) -> None:
        self._opener = opener
        self._refusals = refusals
        self._keep_s = keep_s
        self._endings = Endings()
        self._refused: dict[str, int] = {}  # key → revision of what was told already
        self._wounds: dict[str, str] = {}  # key → why its end is being written again
        self._untold: list[Effect] = []

    def read(self, key: str, frame: bytes, now: Instant, *, revision: int = 0) -> Standing:
        """What stands under a key, from its frame; empty when there is nothing. `revision` is 0 for a copy."""
        opened = self._opener.open_record(key, frame) if frame else None
        if isinstance(opened, Refusal):
            self._tell(opened, key, revision, now)
            stands = Standing(None, revision, frame, stranger=opened.src if opened.code == "not_admitted" else "")
        else:
            stands = Standing(records.under(key, opened.body) if opened is not None else None, revision, frame)
        return self._weighed(key, stands, now) if ids.is_task_key(key) else stands

    def on_outcome(self, outcome: Written | Lost | Unsent, write: Write, now: Instant) -> list[Effect]:
        """What became of an end that was put back."""
        wound = self._wounds.pop(write.key, "")
        if isinstance(outcome, Lost):
            self.read(write.key, outcome.frame, now, revision=outcome.revision)
        if not isinstance(outcome, Written) or not isinstance(write.record, TaskRecord):
            return []
        record = write.record
        return [Emit(TaskPutBack(record.id, record.iid, record.epoch, wound, record.gid))]

    def on_written(self, write: Write) -> None:
        """A record that this node wrote stands."""
        if isinstance(write.record, TaskRecord):
            if not write.expect:
                self._endings.gone(write.record.id)
            self._seen(write.record, write.frame)

    def on_told(self, record: TaskRecord, frame: bytes) -> None:
        """The end of a task stands, says its owner, which alone could write it."""
        if record.state in ENDED:
            self._seen(record, frame)

    def _seen(self, record: TaskRecord, frame: bytes) -> None:
        """This stands."""
        if record.state in ENDED:
            self._endings.keep(record, frame)
        else:
            self._endings.undo(record)

    def take_untold(self) -> list[Effect]:
        """The events about values that were no good, and the ends to be put back, since this was last asked."""
        untold, self._untold = self._untold, []
        return untold

    def _weighed(self, key: str, stands: Standing, now: Instant) -> Standing:
        """What stands there, or the end that was seen under this key before, when nothing else can follow it."""
        record = stands.record
        if record is not None and not self._endings.has_outlived(record):
            if stands.revision:
                self._seen(record, stands.frame)
            return stands
        if not stands.frame or stands.stranger:
            return stands
        task = ids.task_of(key)
        frame = self._endings.frame_of(task)
        ended = self._opener.open_record(key, frame) if frame else None
        if not isinstance(ended, Envelope) or not isinstance(ended.body, TaskRecord):
            if record is not None and stands.revision:  # its end is not kept: at least nobody takes this up
                self._tell(Refusal("outdated", "", key), key, stands.revision, now)
            return structs.replace(stands, record=None)
        if stands.revision and self._endings.may_put_back(task, now):
            self._wounds[key] = "unreadable" if record is None else "older"
            keep_s = records.keep_s(ended.body, self._keep_s)
            self._untold.append(Write(key, ended.body, expect=stands.revision, keep_s=keep_s, urgent=True))
        return Standing(ended.body, stands.revision, frame)

    def _tell(self, refusal: Refusal, key: str, revision: int, now: Instant) -> None:
        """Said once of each revision: it is read again in every sweep."""
        if revision and self._refused.get(key) == revision:
            return
        self._refused.pop(key, None)
        self._refused[key] = revision
        if len(self._refused) > limits.REFUSED_KEPT:
            del self._refused[next(iter(self._refused))]
        self._untold += self._refusals.told(refusal, now)
