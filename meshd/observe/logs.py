"""The daemon's log on stderr: readable on a terminal, one JSON object a line off it.

Invariant: one event is one line, made by the table `LINES`; what others wrote in it is escaped.
Neighbours: the performer hands events in; every module of the daemon logs to `logging.getLogger("meshd.…")`.
"""

import json
import logging
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO, TypeAlias

import msgspec
from msgspec import Struct

from meshd.observe.fates import fate
from meshd.observe.rotation import Rotation
from meshd.observe.text import missed, shown
from protocol import events
from protocol.envelope import REFUSALS
from protocol.events import Event
from protocol.ids import short
from protocol.primitives import NodeId

ROOT = "meshd"
NameOf: TypeAlias = Callable[[NodeId], str]

LINES_WAITING_MAX = 10_000  # a few seconds of the worst storm, 2 MB
FLUSH_S = 2.0
LIBRARIES = ("asyncio", "aiohttp", "nats")  # what they complain of stands in the same log
AGAIN_S = 10.0  # a library that fails in a loop would say so a hundred times a second
WORDS_MAX = 100  # of libraries, that are known to have been said
WORD_CHARS_MAX = 1_000  # of one of them; what differs only behind that is the same
# Numbers, addresses and ids change from time to time; a place in a file is part of what is said.
VARYING = re.compile(r"\b(?:0x[0-9a-f]+|(?=\w*\d)\w{16,}|(?<!\.py:)(?<!line )\d+(?:\.\d+)?)\b", re.ASCII)
GATHER_S = 0.05  # lines are written together: a writer that wakes for each takes the processor from the engine

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
GRAVE = frozenset({"refused", "failed"})  # states of agents that somebody should see to
USUAL = frozenset({"not_known"})  # why frames are refused: at a start others are heard before they were introduced

# Fields that hold ids of nodes and of tasks: shown by name, and short.
NODES = frozenset({"peer", "peers", "accuser", "accusers", "owner", "former", "home", "holder", "claimant", "died"})
IDS = frozenset({"task", "src"})


class Line(Struct, frozen=True):
    """How one kind of event is told: how loud, and a sentence with the event's fields."""

    level: int
    sentence: str


LINES: Mapping[type, Line] = {
    events.PeerAlive: Line(INFO, "{name} {fate}"),
    events.PeerSuspect: Line(WARNING, "{name} {fate}"),
    events.PeerDead: Line(WARNING, "{name} {fate}"),
    events.PeerDamped: Line(INFO, "{name} {fate}"),
    events.PeerLeft: Line(INFO, "{name} left"),
    events.AccusationRefuted: Line(WARNING, "this node {fate}"),
    events.PeerUnreachable: Line(WARNING, "most of the mesh does not answer, so nobody is declared dead: {peers}"),
    events.ClockOff: Line(WARNING, "the clock of {name} is off by {ahead_ms:+d} ms, so it gets no tasks"),
    events.ClockRight: Line(INFO, "the clock of {name} is right again"),
    events.PeerMisbehaved: Line(WARNING, "{peer} broke a rule: {code} {detail}"),
    events.PeerForgotten: Line(INFO, "{peer} is shown no more: {by} asked for it"),
    events.NameConflict: Line(WARNING, "{claimant} calls itself {name}, as {holder} did first"),
    events.StateChanged: Line(INFO, "this node is {state}: {reason}"),
    events.FrameRefused: Line(WARNING, "{frames} refused: {rule} ({place})"),
    events.CapabilitiesChanged: Line(INFO, "{name} offers {capabilities}"),
    events.TaskSubmitted: Line(INFO, "task {task} was submitted: {capability}"),
    events.AuctionOpened: Line(DEBUG, "bids for task {task} are asked for by {gear}: {asked}"),
    events.BidReceived: Line(DEBUG, "{bidder} bids for task {task}: {agent}, score {score}"),
    events.AuctionClosed: Line(DEBUG, "bids for task {task} are in: {bids}, after {took_ms} ms"),
    events.TaskAwarded: Line(INFO, "task {task} was awarded to {owner}: {why}, epoch {epoch}"),
    events.TaskStarted: Line(DEBUG, "task {task} began: agent {agent}, epoch {epoch}"),
    events.TaskDone: Line(INFO, "task {task} is done: {owner} took {took_ms} ms"),
    events.TaskFailed: Line(WARNING, "task {task} failed: {code}: {message}"),
    events.TaskCancelled: Line(INFO, "task {task} was cancelled {together}"),
    events.TaskRetried: Line(INFO, "task {task}, which was {state}, is opened again: {by} asked for it"),
    events.TaskPoison: Line(ERROR, "task {task} is poison: {died} died of it"),
    events.AwardDeclined: Line(INFO, "{owner} declined task {task}: {reason} {detail}"),
    events.LeaseLapsed: Line(WARNING, "the lease of task {task} lapsed: {owner} {missed}"),
    events.ResultRefused: Line(WARNING, "a late result of task {task} from {owner}, epoch {epoch}, was refused: "
                                        "epoch {stands_epoch} stands, {stands_state}"),
    events.TasksAdopted: Line(INFO, "{tasks} tasks of {home} are watched here: {why}"),
    events.RecordLost: Line(WARNING, "the record of the mesh was lost, and came back without what stood there: "
                                     "what this node knows is written anew"),
    events.TaskPutBack: Line(WARNING, "the record of task {task} was {why}: it was put back, epoch {epoch}"),
    events.AgentChanged: Line(INFO, "agent {agent} is {state}: {detail}"),
    events.EventsLost: Line(WARNING, "agent {agent} lost events, {count} by now: {why} {detail}, the last of {topic}"),
    events.AuditDamaged: Line(ERROR, "the audit of this node is {how} at record {seq} of chain {chain}: {text}"),
    events.AuditRestarted: Line(WARNING, "chain {former} of the audit was set aside by {who}: {reason}; "
                                         "chain {chain} goes on"),
}  # fmt: skip


def configure(
    *, level: str, format: str, stream: TextIO | None = None, rotation: Rotation | None = None
) -> logging.Logger:
    """Set up the log of this process and return its logger. `format` is auto, json or text.

    With `rotation` what it writes to is a file that is begun anew when it is full.
    """
    stream = stream if stream is not None else sys.stderr
    handler = PatientHandler(stream, rotation)
    is_text = format == "text" or (format == "auto" and stream.isatty())
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    logger = logging.getLogger(ROOT)
    for former in logger.handlers:
        former.close()
    logger.handlers = [handler]
    logger.propagate = False
    handler.addFilter(Repeats())
    for library in map(logging.getLogger, LIBRARIES):
        library.handlers = [each for each in library.handlers if not isinstance(each, PatientHandler)] + [handler]
    logger.setLevel(level.upper())
    return logger


def set_level(level: str) -> None:
    """From now on the least that is shown."""
    logging.getLogger(ROOT).setLevel(level.upper())


def log_event(logger: logging.Logger, event: Event, *, name_of: NameOf = short) -> None:
    """One line for one event; `name_of` turns node ids into names."""
    level = LINES[type(event)].level
    if isinstance(event, events.AgentChanged) and event.state in GRAVE:
        level = ERROR
    if isinstance(event, events.FrameRefused) and event.code in USUAL:
        level = INFO
    if logger.isEnabledFor(level):
        logger.log(level, "%s", told(event, name_of=name_of), extra={"event": event})


def told(event: Event, *, name_of: NameOf = short) -> str:
    """The event as one sentence."""
    fields: dict[str, object] = {"fate": fate(event, lambda node: shown(name_of(node)))}
    fields |= {field: _told_field(field, getattr(event, field), name_of) for field in event.__struct_fields__}
    if isinstance(event, events.LeaseLapsed):
        fields["missed"] = missed(event.evidence, event.silent_s)
    if isinstance(event, events.FrameRefused):
        fields |= _refused(event, name_of)
    if isinstance(event, events.TaskCancelled):
        fields["together"] = f"together with {event.ended_with}, which led to it" if event.ended_with else ""
    return LINES[type(event)].sentence.format_map(fields).rstrip(" :")


def _refused(event: events.FrameRefused, name_of: NameOf) -> dict[str, object]:
    """How many frames, in whose name the last of them came and where, and which rule they broke."""
    last = f" in the name of {shown(name_of(event.src))}" if event.src else ""
    many = f"{event.count} frames{f', the last{last},' if last else ''} were"
    return {
        "frames": f"a frame{last} was" if event.count == 1 else many,
        "rule": REFUSALS.get(event.code, "it broke a rule"),
        "place": f"{event.code}, on {shown(event.subject)}" if event.subject else event.code,
    }


def _told_field(field: str, value: object, name_of: NameOf) -> object:
    if isinstance(value, tuple):
        return ", ".join(str(_told_field(field, one, name_of)) for one in value) or "nothing"
    if not isinstance(value, str):
        return value
    if field in NODES:
        return shown(name_of(value)) if value else "nobody"
    return short(shown(value)) if field in IDS else shown(value)


class Repeats:
    """Lets what a library says through once in `AGAIN_S`, with how often it was said since; our own words always.

    What differs in numbers alone is the same; what differs in any word, or in the error behind it, is not.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[float, int]] = {}  # by source and word: when, and how often since

    def __call__(self, record: logging.LogRecord) -> bool:
        """Whether this line is to be written."""
        if record.name.partition(".")[0] == ROOT:
            return True
        word = (record.name, _word(record))
        at_s, more = self._told.pop(word, (-AGAIN_S, 0))
        is_due = abs(record.created - at_s) >= AGAIN_S
        self._told[word] = (record.created, 0) if is_due else (at_s, more + 1)
        if len(self._told) > WORDS_MAX:
            del self._told[next(iter(self._told))]
        if is_due and more:
            record.msg, record.args = f"{_said(record)} (and {more} times since this was told last)", ()
        return is_due


def _word(record: logging.LogRecord) -> str:
    """What is said, without what varies."""
    error = record.exc_info[1] if record.exc_info else None
    said = _said(record) if error is None else f"{_said(record)}: {type(error).__name__}: {_text(error)}"
    return VARYING.sub("#", said[:WORD_CHARS_MAX])


def _said(record: logging.LogRecord) -> str:
    """The line, or its pattern where they do not fit: a library is not to fail by what it says."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 whatever an argument raises; when it is written, logging tells that it did
        return str(record.msg)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 whatever it raises
        return ""


class TextFormatter(logging.Formatter):
    """`12:03:04.120 warning  broker: the server ended`: for people, in their own time zone."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and after it the traceback, if there is one."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone()
        source = record.name.removeprefix(ROOT).lstrip(".")
        said = f"{source}: {shown(record.getMessage())}" if source else shown(record.getMessage())
        lines = [f"{at:%H:%M:%S}.{int(record.msecs):03d} {record.levelname.lower():<7} {said}"]
        if record.exc_info:
            lines += [shown(line) for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """`{"time": …, "level": …, "source": …, "message": …, "event": {…}}`: for programs, in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback and the event's own fields are members of the object."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "source": record.name,
            "message": shown(record.getMessage()),
        }
        event = getattr(record, "event", None)
        if event is not None:
            line["event"] = event
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        encoded = msgspec.json.encode(line)
        # Beyond ASCII everything is escaped, so that no terminal takes it for a command.
        return encoded.decode() if encoded.isascii() else json.dumps(json.loads(encoded))


class PatientHandler(logging.Handler):
    """Hands lines to a thread that writes them: a reader that stalls costs lines, never a heartbeat."""

    def __init__(self, stream: TextIO, rotation: Rotation | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._rotation = rotation
        self._lost = 0
        self._waiting: queue.Queue[str | threading.Event] = queue.Queue(LINES_WAITING_MAX)
        self._hurry = threading.Event()  # somebody waits for what was taken
        self._closing = False
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; it is dropped and counted when too many wait."""
        try:
            self._waiting.put_nowait(self.format(record) + "\n")
        except queue.Full:
            self._lost += 1
        if record.levelno >= ERROR:
            self._hurry.set()

    def flush(self) -> None:
        """Return when all that was taken has been written, or after `FLUSH_S`."""
        written = threading.Event()
        self._hurry.set()
        try:
            self._waiting.put(written, timeout=FLUSH_S)
        except queue.Full:
            return
        written.wait(FLUSH_S)

    def close(self) -> None:
        """Write what waits and end the thread; at the latest when the process ends."""
        if not self._closing:
            self._closing = True
            self.flush()
        super().close()

    def _write(self) -> None:
        while not (self._closing and self._waiting.empty()):
            lines = [self._waiting.get()]
            if isinstance(lines[0], str):
                self._hurry.wait(GATHER_S)
            self._hurry.clear()
            while not self._waiting.empty():
                lines.append(self._waiting.get())
            self._write_all(lines)

    def _write_all(self, lines: list[str | threading.Event]) -> None:
        try:
            for line in lines:
                if isinstance(line, str):
                    self._make_room()
                    self._stream.write(line)
                if self._lost:
                    lost, self._lost = self._lost, 0
                    self._stream.write(f"{lost} lines of the log were lost: nobody took them in time\n")
            self._stream.flush()
        except (OSError, ValueError):  # the reader has gone, or the stream was closed: nowhere is left to say it
            pass
        for line in lines:
            if isinstance(line, threading.Event):
                line.set()

    def _make_room(self) -> None:
        if self._rotation is not None:
            self._stream.flush()  # what it holds belongs to the file that it was written to
            with suppress(OSError):  # the file that is full goes on
                self._rotation.make_room()
