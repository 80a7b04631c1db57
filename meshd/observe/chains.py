"""The chains of one node on disk: `DIR/audit` is the one that goes on, `DIR/audit-1` and so on were set aside.

Invariant: at every moment either the former chain stands in its place or the next one does, its first record on
disk; what was set aside is never written again. Neighbours: `journal` writes the one that goes on.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from meshd.observe.segments import CHUNK_BYTES, first_of, opened, refused, segments
from protocol import limits
from protocol.audit import Checker, Finding, Head, read
from protocol.errors import MeshError
from protocol.primitives import NodeId

TAIL_BYTES = 1 << 20  # that a start looks through before it goes on: some thousand records, in some milliseconds


class Tail(Struct, frozen=True):
    """Where a journal ends: its last record, or the number that one would have if it is none (`is_sound` False)."""

    head: Head | None
    chain: int = 1
    is_sound: bool = True
    finding: Finding | None = None
    path: Path | None = None
    size: int = 0  # of that segment
    cut_bytes: int = 0  # what a kill had left of a line


def aside(folder: Path) -> list[tuple[int, Path]]:
    """The chains that were set aside, by number. Raises MeshError("directory")."""
    name = re.compile(re.escape(folder.name) + r"-([0-9]{1,6})")
    try:
        found = [(int(match[1]), entry) for entry in os.scandir(folder.parent) if (match := name.fullmatch(entry.name))]
    except FileNotFoundError:
        return []
    except OSError as failure:
        raise refused(folder.parent, failure) from None
    return sorted((number, folder.parent / entry.name) for number, entry in found)


def kept(folder: Path, number: int) -> Path:
    """Where the chain of that number lies, once it is set aside."""
    return folder.with_name(f"{folder.name}-{number}")


def take_up(folder: Path, node: NodeId) -> Tail:
    """Make the folder, or cut off what a kill left of a line at its end, and say how it ends.

    Raises MeshError("directory") for what can be neither read nor written.
    """
    try:
        _finish(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as failure:
        raise refused(folder, failure) from None
    number = max((number for number, _ in aside(folder)), default=0) + 1
    cut_bytes = 0
    last: Path | None = None
    for path in reversed(segments(folder)):
        last = last or path
        with opened(path, os.O_RDWR) as fd:
            content = b"".join(_chunks(fd))
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                os.ftruncate(fd, len(whole))
                os.fdatasync(fd)
                cut_bytes += len(content) - len(whole)
        if whole:
            tail = _tail(whole, path, node, number)
            size = tail.size if path == last else 0  # an empty segment behind it was made, and nothing written yet
            return Tail(tail.head, tail.chain, tail.is_sound, tail.finding, last, size, cut_bytes)
    return Tail(None, number, path=last, cut_bytes=cut_bytes)


def begin(folder: Path, *, former: int, name: str, line: bytes) -> int:
    """Set the folder aside as chain `former` and begin it anew with one segment: its descriptor. On disk at return.

    Raises MeshError("directory"); the former chain then stands where it stood.
    """
    fresh, place = _fresh(folder), kept(folder, former)
    if place.exists() or len(aside(folder)) >= limits.AUDIT_CHAINS_MAX:
        problem = "is there already" if place.exists() else f"would be one more than {limits.AUDIT_CHAINS_MAX}"
        raise MeshError("directory", path=place, problem=problem, cure="export it, and move it to another place")
    fd = -1
    try:
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        fd = os.open(fresh / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.pwrite(fd, line, 0)
        os.fdatasync(fd)
        sync_folder(fresh)
        os.rename(folder, place)
        try:
            os.rename(fresh, folder)
        except OSError:
            os.rename(place, folder)
            raise
        sync_folder(folder.parent)
    except OSError as failure:
        if fd >= 0:
            os.close(fd)
        raise refused(fresh, failure) from None
    _protect(place)
    return fd


def sync_folder(folder: Path) -> None:
    """What it lists is on disk at return. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _fresh(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.next")


def _finish(folder: Path) -> None:
    """What a kill left of `begin`: its first half is forgotten, its second half is done."""
    fresh = _fresh(folder)
    if fresh.exists():
        if folder.exists():
            shutil.rmtree(fresh)
        else:
            os.rename(fresh, folder)
            sync_folder(folder.parent)
    for _, kept in aside(folder):
        _protect(kept)


def _protect(kept: Path) -> None:
    """Nobody writes there by mistake. Without it all is as true, so a file system that has no modes is none's fault."""
    with suppress(OSError):
        for entry in os.scandir(kept):
            if entry.is_file(follow_symlinks=False):
                os.chmod(entry.path, 0o400)
        if stat.S_IMODE(kept.stat().st_mode) != 0o500:
            os.chmod(kept, 0o500)


def _tail(whole: bytes, path: Path, node: NodeId, number: int) -> Tail:
    """How a segment that has lines ends."""
    begins = whole.rfind(b"\n", 0, max(0, len(whole) - TAIL_BYTES)) + 1
    lines = whole[begins:-1].split(b"\n")
    record = read(lines[-1])
    if record is None or Checker(node=node).take(lines[-1]) is not None:
        head = Head(max(first_of(path) + whole.count(b"\n") - 1, 0), "")
        chains = (each.chain for line in reversed(lines) if (each := read(line)) is not None and each.node == node)
        return Tail(head, next(chains, number), is_sound=False, finding=_first_bad(lines, node), size=len(whole))
    return Tail(Head(record.seq, record.hash), record.chain, finding=_first_bad(lines, node), size=len(whole))


def _first_bad(lines: list[bytes], node: NodeId) -> Finding | None:
    checker = Checker(node=node)
    return next((found for line in lines if (found := checker.take(line)) is not None), None) or checker.end()


def _chunks(fd: int) -> Iterator[bytes]:
    offset = 0
    while chunk := os.pread(fd, CHUNK_BYTES, offset):
        yield chunk
        offset += len(chunk)
