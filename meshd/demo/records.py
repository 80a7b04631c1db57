"""Files against what their distribution recorded: present, readable, and of the recorded hash.

Invariant: every recorded file is in exactly one of the counts of `Checked`; no file is trusted for its size or date.
Neighbours: `pieces` reads the RECORD, `package_audit` reports.
"""

import base64
import hashlib
from dataclasses import dataclass

from meshd.demo.pieces import RecordedFile

_CHUNK_BYTES = 1 << 20
_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})  # what PEP 376 and wheels allow


@dataclass(frozen=True)
class Checked:
    """`altered` and `missing` name files; `unreadable` says why; sizes are in bytes of what is there."""

    files: int
    size_bytes: int
    verified: int
    unrecorded: int
    altered: tuple[str, ...]
    missing: tuple[str, ...]
    unreadable: tuple[str, ...]


def check(files: tuple[RecordedFile, ...]) -> Checked:
    """Read every file once. A file without a recorded hash is read all the same, and counted as unrecorded."""
    size_bytes = present = verified = unrecorded = 0
    altered: list[str] = []
    missing: list[str] = []
    unreadable: list[str] = []
    for file in files:
        is_judged = file.algorithm in _ALGORITHMS
        try:
            read_bytes, digest = _digest(file, file.algorithm if is_judged else "sha256")
        except (FileNotFoundError, NotADirectoryError):
            missing.append(file.shown)
            continue
        except OSError as error:
            unreadable.append(f"{file.shown}: {error.strerror or error}")
            continue
        present += 1
        size_bytes += read_bytes
        if not is_judged:
            unrecorded += 1
        elif digest == file.digest.rstrip("="):
            verified += 1
        else:
            altered.append(file.shown)
    return Checked(
        files=present,
        size_bytes=size_bytes,
        verified=verified,
        unrecorded=unrecorded,
        altered=tuple(altered),
        missing=tuple(missing),
        unreadable=tuple(unreadable),
    )


def _digest(file: RecordedFile, algorithm: str) -> tuple[int, str]:
    hasher = hashlib.new(algorithm)
    read_bytes = 0
    with file.path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
            read_bytes += len(chunk)
    return read_bytes, base64.urlsafe_b64encode(hasher.digest()).decode().rstrip("=")
