"""Whether an audit on disk is what its node wrote: a directory, one segment, or what `export` made; no daemon needed.

Invariant: nothing that is read is trusted, not even the note of what the stream acknowledged, which counts
only when the node has signed it. Neighbours: `protocol.audit` checks the chain; `meshctl audit` prints this.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from meshd.observe.segments import FOLDER, lines_of, opened, segments
from meshd.observe.shipping import WITNESS, read_witness
from protocol import limits
from protocol.audit import Checker, Ending, Finding, Witness
from protocol.errors import MeshError
from protocol.primitives import NodeId

WITNESS_LINE = b'{"witness":'  # the first line of an export


class Verdict(Struct, frozen=True):
    """What was found. `ending` is the exit code; without a finding `seq` and `hash` are the end of the chain."""

    ending: Ending
    node: NodeId
    records: int
    first_seq: int
    seq: int
    hash: str
    witnessed: int
    finding: Finding | None = None
    file: str = ""
    line: int = 0
    torn_bytes: int = 0


class _Exported(Struct, frozen=True):
    witness: Witness


def verify(path: Path) -> Verdict:
    """Read all of it. Raises MeshError directory or bad_input when there is nothing to verify."""
    if not path.is_dir():
        return _verified([path], _exported(path), is_whole=False)
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    paths, witness = segments(folder), read_witness(folder)
    if not paths and witness is None:
        raise MeshError("bad_input", what=f"{path} holds no audit")
    if witness is None and (folder / WITNESS).exists():
        finding = Finding(Ending.ALTERED, 0, "unreadable", "the note of what the stream acknowledged is no such note")
        return Verdict(Ending.ALTERED, "", 0, 0, 0, "", 0, finding, str(folder / WITNESS))
    return _verified(paths, witness, is_whole=True)


def export(folder: Path) -> Iterator[bytes]:
    """The whole journal as one file that verifies elsewhere: what the stream acknowledged, then every record."""
    witness = read_witness(folder)
    paths = segments(folder)
    if not paths:
        raise MeshError("bad_input", what=f"{folder} holds no audit")
    if witness is not None:
        yield msgspec.json.encode(_Exported(witness)) + b"\n"
    for path in paths:
        for line in lines_of(path, until=_whole(path)):
            yield line + b"\n"


def _verified(paths: list[Path], witness: Witness | None, *, is_whole: bool) -> Verdict:
    if witness is not None and not witness.is_genuine:
        text = "the note of what the stream acknowledged was not signed by its node"
        finding = Finding(Ending.ALTERED, witness.seq, "foreign", text)
        return Verdict(Ending.ALTERED, witness.node, 0, 0, 0, "", 0, finding, str(paths[0].parent if paths else ""))
    checker = Checker(witness=witness, is_whole=is_whole)
    found, file, number, torn_bytes = None, "", 0, 0
    for path in paths:
        until = None if path is not paths[-1] else _whole(path)
        torn_bytes = 0 if until is None else path.stat().st_size - until
        found, number = _first_bad(checker, path, until)
        if found is not None:
            file = str(path)
            break
    if found is None:
        found = checker.end()
        file, number = (str(paths[-1]), 0) if found is not None and paths else ("", 0)
    if found is not None:
        ending = found.ending
    else:
        ending = Ending.VERIFIED if checker.is_witnessed and not torn_bytes else Ending.UNWITNESSED
    return Verdict(
        ending=ending,
        node=checker.node,
        records=checker.records,
        first_seq=checker.first_seq,
        seq=checker.seq,
        hash=checker.hash,
        witnessed=0 if witness is None else witness.seq,
        finding=found,
        file=file,
        line=number,
        torn_bytes=torn_bytes,
    )


def _first_bad(checker: Checker, path: Path, until: int | None) -> tuple[Finding | None, int]:
    """The first finding in a file, and the number of its line."""
    take = checker.take
    number = 0
    for number, line in enumerate(lines_of(path, until=until), start=1):
        if number == 1 and line.startswith(WITNESS_LINE):
            continue
        finding = take(line)
        if finding is not None:
            return finding, number
    return None, number


def _exported(path: Path) -> Witness | None:
    """What the first line of an export says; None in a plain segment. Raises MeshError bad_input, directory."""
    first = next(iter(lines_of(path)), None)
    if first is None:
        raise MeshError("bad_input", what=f"{path} holds no audit: it is empty")
    if not first.startswith(WITNESS_LINE):
        return None
    try:
        return msgspec.json.decode(first[: limits.AUDIT_LINE_BYTES_MAX], type=_Exported).witness
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MeshError("bad_input", what=f"{path}: line 1 is no note of what the stream acknowledged") from None


def _whole(path: Path) -> int:
    """How many bytes there are up to the last line end; a line that is still being written comes after it."""
    with opened(path) as fd:
        size = os.fstat(fd).st_size
        start = max(0, size - 2 * limits.AUDIT_LINE_BYTES_MAX)
        end = os.pread(fd, size - start, start).rfind(b"\n")
    return size if end < 0 and size > start + limits.AUDIT_LINE_BYTES_MAX else start + end + 1
