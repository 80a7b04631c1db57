"""The audit on disk: `DIR/audit/<first seq>.jsonl`, one record a line, read without trusting any of it.

Invariant: a link, a pipe or a device is never followed, and no line is held that is longer than a record
can be. Neighbours: `journal` writes these; the shipping, the API and `meshctl audit` read them.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from protocol import limits
from protocol.audit import Record, read
from protocol.errors import MeshError

FOLDER = "audit"
SEGMENT = re.compile(r"([0-9]{12})\.jsonl")
CHUNK_BYTES = 1 << 20
_LOOK = "look at it with: meshctl audit verify, then move it away"


def name_of(first_seq: int) -> str:
    """The name of the segment that begins with this record."""
    return f"{first_seq:012d}.jsonl"


def segments(folder: Path) -> list[Path]:
    """The segments, oldest first; nothing when there is no folder. Raises MeshError("directory")."""
    try:
        found = [entry.name for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []
    except OSError as failure:
        raise refused(folder, failure) from None
    return [folder / name for name in sorted(found) if SEGMENT.fullmatch(name)]


def first_of(path: Path) -> int:
    """The number of a segment's first record, by its name."""
    found = SEGMENT.fullmatch(path.name)
    return int(found[1]) if found else 0


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A file descriptor of a regular file. Raises MeshError("directory")."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as failure:
        raise refused(path, failure) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise MeshError("directory", path=path, problem="is not a regular file", cure=_LOOK)
        yield fd
    except OSError as failure:
        raise refused(path, failure) from None
    finally:
        os.close(fd)


def lines_of(path: Path, *, offset: int = 0, until: int | None = None) -> Iterator[bytes]:
    """Every line without its end; the last one keeps what follows the last line end, and is left out when empty.

    A line that is longer than a record can be comes as its first bytes, and ends the reading.
    """
    with opened(path) as fd:
        rest = b""
        while until is None or offset < until:
            wanted = CHUNK_BYTES if until is None else min(CHUNK_BYTES, until - offset)
            chunk = os.pread(fd, wanted, offset)
            if not chunk:
                break
            offset += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            if len(rest) > limits.AUDIT_LINE_BYTES_MAX:
                yield rest
                return
    if rest:
        yield rest


def records_of(folder: Path, *, after: int = 0, through: int) -> Iterator[tuple[Record, bytes]]:
    """Records above `after`, up to `through`, oldest first. What is no record is left out: `verify` names it."""
    paths = segments(folder)
    for path, following in zip_longest(paths, paths[1:]):
        if following is not None and first_of(following) <= after + 1:
            continue
        if first_of(path) > through:
            return
        for line in lines_of(path):
            record = read(line)
            if record is not None and record.seq > through:
                return
            if record is not None and record.seq > after:
                yield record, line


class Cursor:
    """A place in the journal of which everything up to `seq` is behind; goes on over segments."""

    def __init__(self, folder: Path, *, after: int) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._offset = 0
        self.seq = after

    def take(self, *, through: int, limit: int, bytes_max: int) -> list[bytes]:
        """The next lines, at most up to record `through`, which must be on disk. Raises MeshError("directory")."""
        if self._path is None:
            self._find()
        taken: list[bytes] = []
        room = bytes_max
        while self._path is not None and self.seq < through and len(taken) < limit:
            for line in lines_of(self._path, offset=self._offset):
                if self.seq >= through or len(taken) >= limit or (taken and len(line) + 1 > room):
                    return taken
                taken.append(line)
                room -= len(line) + 1
                self._offset += len(line) + 1
                self.seq += 1
            following = self._folder / name_of(self.seq + 1)
            if following == self._path or not following.exists():
                break
            self._path, self._offset = following, 0
        return taken

    def _find(self) -> None:
        """Where the record after `seq` stands; the oldest that is kept when it is not there any more."""
        paths = segments(self._folder)
        if not paths:
            return
        self._path = next((path for path in reversed(paths) if first_of(path) <= self.seq + 1), paths[0])
        self._offset = 0
        behind = self.seq - first_of(self._path) + 1
        self.seq = max(self.seq, first_of(self._path) - 1)
        for line, _ in zip(lines_of(self._path), range(behind), strict=False):
            self._offset += len(line) + 1


def refused(path: Path, failure: OSError) -> MeshError:
    """What could not be done with a file of the audit, and what to do."""
    if failure.errno == errno.ELOOP:
        return MeshError("directory", path=path, problem="is a symbolic link", cure="put the file itself there")
    if failure.errno == errno.ENOSPC:
        return MeshError("directory", path=path, problem="cannot be written: the disk is full", cure="make room on it")
    reason = failure.strerror or str(failure)
    return MeshError("directory", path=path, problem=f"cannot be used: {reason}", cure="mend its owner, mode or disk")


def whole_bytes(path: Path) -> int:
    """How many bytes there are up to the last line end; a line that is still being written comes after it."""
    with opened(path) as fd:
        size = os.fstat(fd).st_size
        start = max(0, size - 2 * limits.AUDIT_LINE_BYTES_MAX)
        end = os.pread(fd, size - start, start).rfind(b"\n")
    return size if end < 0 and size > start + limits.AUDIT_LINE_BYTES_MAX else start + end + 1
