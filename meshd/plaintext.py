"""Text out of files that people wrote, whatever they wrote it with.

Invariant: text is UTF-8, and the mark that some editors put before it is no part of it; no file is waited for that
nobody writes to. Neighbours: settings, manifests, credentials, input and invitations are read by this.
"""

import errno
import os
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path


def content_of(path: Path, bytes_max: int) -> bytes:
    """So many bytes of a file at most, or of a pipe (`<(...)`). Raises OSError, for a pipe without a writer, too."""
    with open(path, "rb", buffering=0, opener=_at_once) as file:
        found = file.read(bytes_max)  # none of a pipe whose writer has said nothing yet, empty without a writer
        if found == b"" and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.ENXIO, "it is a pipe that nobody writes to")
        os.set_blocking(file.fileno(), True)
        content = found or b""
        while len(content) < bytes_max and (more := file.read(bytes_max - len(content))):
            content += more
    return content


def text_of(content: bytes) -> str:
    """The text in `content`. Raises ValueError with a clause on what is wrong with it."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):  # so does PowerShell's `>`
        raise ValueError("is UTF-16: save it as UTF-8")
    try:
        return content.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        raise ValueError(f"is not UTF-8 at line {line}") from None


def _at_once(path: str, flags: int) -> int:
    """An opener that waits for nobody to open the other end."""
    return os.open(path, flags | os.O_NONBLOCK)
