"""The ends of tasks that this node has seen: nothing that stands under such a key later makes them undone.

Invariant: a task that ended is never taken up again here, whoever writes an older record over its end;
the same work submitted anew, after the end removed itself, is another task. Pure leaf; `reading` asks.
"""

from msgspec import Struct

from protocol import limits, records
from protocol.primitives import Instant, Mono
from protocol.wire.task import ENDED, TaskRecord


class _Ending(Struct):
    """One end. Mutable; `frame` is empty when it was too large to keep, or had to make room."""

    iid: str
    retries: int
    epoch: int
    submitted_ms: int
    frame: bytes
    is_gone: bool = False  # it removed itself: other work under its id is new, whatever its date says
    is_undone: bool = False  # the task was opened again: what is older than that is refused, and not put back
    put_backs: int = 0
    quiet_until: Mono = 0  # no putting back before


class Endings:
    """The last ends, by task."""

    def __init__(self) -> None:
        self._ended: dict[str, _Ending] = {}
        self._kept: dict[str, int] = {}  # bytes of the frames that are kept, the oldest first
        self._kept_bytes = 0

    def keep(self, record: TaskRecord, frame: bytes) -> None:
        """This end stands."""
        known = self._ended.pop(record.id, None)
        self._let_go(record.id)
        is_small = len(frame) <= limits.ENDING_BYTES_MAX
        ending = _Ending(record.iid, record.retries, record.epoch, record.submitted_ms, frame if is_small else b"")
        if known is not None and (known.iid, known.retries) == (record.iid, record.retries):
            ending.put_backs, ending.quiet_until = known.put_backs, known.quiet_until
        self._ended[record.id] = ending
        if ending.frame:
            self._kept[record.id] = len(frame)
            self._kept_bytes += len(frame)
        while self._kept_bytes > limits.ENDINGS_BYTES_MAX:
            self._let_go(next(iter(self._kept)))
        if len(self._ended) > limits.ENDINGS_KEPT:
            oldest = next(iter(self._ended))
            self._let_go(oldest)
            del self._ended[oldest]

    def undo(self, record: TaskRecord) -> None:
        """This record stands: if it was opened again after the end that is known, that end is none any more."""
        known = self._ended.get(record.id)
        if known is not None and record.iid == known.iid and record.retries > known.retries:
            self._let_go(record.id)
            self._ended[record.id] = _Ending(
                record.iid, record.retries, record.epoch, record.submitted_ms, b"", is_undone=True
            )

    def gone(self, task: str) -> None:
        """Nothing stood under its key any more when this node wrote there."""
        if task in self._ended:
            self._ended[task].is_gone = True

    def has_outlived(self, record: TaskRecord) -> bool:
        """True for what stood there before the end that is known: only a retry follows an end, so it was put back."""
        known = self._ended.get(record.id)
        if known is None:
            return False
        if record.iid != known.iid:
            return not known.is_gone and record.submitted_ms < known.submitted_ms
        if record.retries != known.retries:
            return record.retries < known.retries
        return not known.is_undone and (record.state not in ENDED or record.epoch < known.epoch)

    def frame_of(self, task: str) -> bytes:
        """The sealed record of the end, or nothing when it is not kept."""
        known = self._ended.get(task)
        return b"" if known is None else known.frame

    def may_put_back(self, task: str, now: Instant) -> bool:
        """True when the end may be written once more; each time there is a longer pause before the next."""
        known = self._ended[task]
        if now.mono_ns < known.quiet_until:
            return False
        known.quiet_until = now.after(records.quiet_s(known.put_backs))
        known.put_backs += 1
        return True

    def _let_go(self, task: str) -> None:
        """Keep its frame no longer; that it has ended is still known."""
        size = self._kept.pop(task, 0)
        self._kept_bytes -= size
        if task in self._ended:
            self._ended[task].frame = b""
