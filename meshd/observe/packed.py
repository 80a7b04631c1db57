"""The lines of a file that may be compressed with gzip, read without trusting any of it.

Invariant: no more is held than a chunk and a line, whatever a file unpacks to. Neighbours: `verify` reads by it.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from meshd.observe.segments import CHUNK_BYTES, lines_of, opened
from protocol import limits
from protocol.audit import Ending

MAGIC = b"\x1f\x8b"


class Packed(Exception):
    """A compressed file ends too early, or is damaged."""

    def __init__(self, ending: Ending, kind: str, text: str) -> None:
        self.ending, self.kind, self.text = ending, kind, text
        super().__init__(text)


def lines_in(path: Path) -> Iterator[bytes]:
    """As `lines_of`, of what is packed in the file if it is. Raises MeshError("directory"), Packed."""
    with opened(path) as fd:
        if os.pread(fd, len(MAGIC), 0) != MAGIC:
            yield from lines_of(path)
            return
        with os.fdopen(os.dup(fd), "rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
            yield from _unpacked(unpacked)


def _unpacked(file: gzip.GzipFile) -> Iterator[bytes]:
    rest = b""
    while True:
        try:
            chunk = file.read1(CHUNK_BYTES)
        except EOFError:
            raise Packed(Ending.GAP, "cut", "the file ends before what is compressed in it does") from None
        except (gzip.BadGzipFile, zlib.error):
            raise Packed(Ending.ALTERED, "flipped", "what is compressed in the file is damaged") from None
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > limits.AUDIT_LINE_BYTES_MAX:
            break
    if rest:
        yield rest
