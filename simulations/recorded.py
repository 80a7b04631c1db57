"""A trace in a file: JSON lines, the first a header, the last an end with digest, verdict and a sum of the lines.

Invariant: the header is all that is needed to run the world again; what cannot be read is refused
with the file and the line. Neighbours: `trace` makes lines, `comparison` and `lineage` read them.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO
from zlib import crc32

import msgspec
from msgspec import Struct, structs

from protocol.primitives import NS_PER_S
from simulations.people import STRANGER
from simulations.scenario import Scenario, ScenarioError, parsed
from simulations.trace import Line
from simulations.wording import reading, trouble_of
from simulations.world import Violation
from simulations.written import written

VERSION = 1
LINE_BYTES_MAX = 1 << 20  # a line of ours is a few hundred bytes, a header a few thousand
_TOO_LONG = "is no trace: its lines are too long"
_NO_NODES = frozenset({"world", STRANGER})  # what stands in the place of a node, and is none of the scenario


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: which world this was. `scenario` is TOML."""

    trace: int  # version of the format
    name: str
    seed: int
    scenario: str
    options: tuple[str, ...] = ()  # how the scenario was changed, as on the command line; the text has it all


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """A line between: what `trace.Line` is, with a check sum in the place of the content."""

    seq: int
    t: int  # nanoseconds
    node: str
    kind: str
    cause: int
    what: str
    size: int = 0
    crc: int = 0

    def line(self) -> Line:
        """As it is shown."""
        return Line(self.seq, self.t, self.node, self.kind, self.cause, self.what)


class End(Struct, frozen=True, forbid_unknown_fields=True):
    """The last line: how it ended."""

    digest: str
    broken: tuple[Violation, ...] = ()
    lines: str = ""  # of the file: a sum of all before and of this one without it; older traces have none


class _CutError(ScenarioError):
    """The lines end too early; those there are can be trusted."""


_RECORD = msgspec.json.Decoder(Record)
_END = msgspec.json.Decoder(End)


def record_of(line: Line) -> Record:
    """A line as it is kept."""
    content = line.content
    return Record(line.seq, line.at_ns, line.node, line.kind, line.cause, line.what, len(content), crc32(content))


def header_of(name: str, scenario: Scenario, *, seed: int, options: tuple[str, ...] = ()) -> Header:
    """The header of a run."""
    return Header(VERSION, name, seed, written(scenario), options)


class Recorder:
    """Writes one run to a file: `note` every line, then `end`."""

    def __init__(self, file: IO[bytes], header: Header) -> None:
        self._write: Callable[[bytes], object] = file.write
        self._encode = msgspec.json.Encoder().encode
        self._sum = blake2b(digest_size=16)
        self._put(header)

    def note(self, line: Line) -> None:
        """One line of the trace."""
        self._put(record_of(line))

    def end(self, end: End) -> None:
        """No more."""
        self._sum.update(self._encode(end) + b"\n")
        self._put(structs.replace(end, lines=self._sum.hexdigest()))

    def _put(self, value: Struct) -> None:
        raw = self._encode(value) + b"\n"
        self._sum.update(raw)
        self._write(raw)


class Recorded:
    """A trace that was opened. Raises ScenarioError for everything that it cannot be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.has_sum = False  # known once it was checked
        lines = self._raw()
        self.header = self._opened(next(lines, b""))
        self.scenario = parsed(self.header.scenario, origin=f"{path}: its scenario")

    def records(self) -> Iterator[Record | End]:
        """Every line in its order, and the end. Raises ScenarioError at a line that is none, or was changed."""
        lines = self._raw()
        whole = blake2b(next(lines), digest_size=16)
        names = _NO_NODES | frozenset(self.scenario.names)
        for seq, raw in enumerate(lines, start=1):
            record = self._decoded(raw, number=seq + 1)
            if isinstance(record, Record):
                if record.seq != seq:
                    raise self._wrong(seq + 1, f"line {record.seq} of the trace stands where {seq} belongs")
                if not 0 <= record.cause < seq:
                    raise self._wrong(seq + 1, f"its cause, {record.cause}, does not stand before it")
                if record.node not in names:
                    raise self._wrong(seq + 1, f"there is no node {record.node!r} in its scenario")
                whole.update(raw)
                yield record
                continue
            if next(lines, b""):
                raise self._wrong(seq + 2, "something stands after the end")
            end = structs.replace(record, lines="")
            whole.update(msgspec.json.encode(end) + b"\n")
            if record.lines and record.lines != whole.hexdigest():
                raise ScenarioError(f"{self._path} was changed after it was written: its check sum does not fit")
            self.has_sum = bool(record.lines)
            yield end
            return
        raise _CutError(f"{self._path} is cut: it has no end")

    def check(self) -> str:
        """Where it is cut, if it is. Raises ScenarioError when this is not what was written."""
        last: Record | End | None = None
        try:
            for record in self.records():
                last = record
        except _CutError:
            until = f"after line {last.seq}, at {last.t / NS_PER_S:g} s" if isinstance(last, Record) else "nor a line"
            return f"{self._path} is cut: it has no end, {until}; its run was stopped or crashed, or the file was cut"
        return ""

    def _raw(self) -> Iterator[bytes]:
        try:
            with reading(self._path) as file:
                while raw := file.readline(LINE_BYTES_MAX):
                    if not raw.endswith(b"\n") and len(raw) == LINE_BYTES_MAX:
                        raise ScenarioError(f"{self._path} {_TOO_LONG}")
                    yield raw
        except OSError as error:
            raise ScenarioError(f"{self._path} cannot be read: {trouble_of(error)}") from None

    def _opened(self, raw: bytes) -> Header:
        if not raw:
            raise ScenarioError(f"{self._path} is no trace: it is empty")
        try:
            version = msgspec.json.decode(raw, type=dict[str, object]).get("trace")
            if isinstance(version, int) and version != VERSION:
                raise ScenarioError(f"{self._path} is a trace of version {version}; this reads version {VERSION}")
            return msgspec.json.decode(raw, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ScenarioError(f"{self._path} is no trace: {str(error).replace('`', '')}") from None

    def _decoded(self, raw: bytes, *, number: int) -> Record | End:
        try:
            return _END.decode(raw) if raw.startswith(b'{"digest"') else _RECORD.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if not raw.endswith(b"\n"):
                raise _CutError(f"{self._path} is cut in line {number}") from None
            raise self._wrong(number, str(error)) from None

    def _wrong(self, number: int, why: str) -> ScenarioError:
        return ScenarioError(f"{self._path}, line {number}: {why.replace('`', '')}")
