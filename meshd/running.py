"""Which daemons of this user run on this host: a small file each, so that a command can name them.

Invariant: a convenience that nothing rests on: what cannot be written is left out, and who reads looks
whether a daemon is really there. Neighbours: `app` announces, the commands read.
"""

import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

ANNOUNCED_MAX = 64  # more daemons of one user on one host are not listed
BYTES_MAX = 4_096  # of one path

LOCK = "lock"  # in the state directory, with the process id of the daemon that holds it

_ENDING = ".running"
_FILES_MAX = re.compile(rb"^Max open files +(\d+) ", re.MULTILINE)


def announce(directory: Path, environ: Mapping[str, str] = os.environ) -> None:
    """A daemon begins here; what others left behind that is gone goes."""
    folder = _folder(environ)
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(folder):
            announced(environ)
            file = folder / _name(directory)
            fresh = file.with_suffix(".new")
            fresh.write_bytes(os.fsencode(directory))
            fresh.replace(file)


def withdraw(directory: Path, environ: Mapping[str, str] = os.environ) -> None:
    """It ends."""
    folder = _folder(environ)
    if _is_ours(folder):
        with suppress(OSError):
            (folder / _name(directory)).unlink(missing_ok=True)


def announced(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The state directories that were announced and are still there, sorted; some may have been killed."""
    folder = _folder(environ)
    if not _is_ours(folder):
        return []
    found = []
    for file in sorted(folder.glob(f"*{_ENDING}"))[:ANNOUNCED_MAX]:
        with suppress(OSError):
            with file.open("rb") as opened:
                directory = Path(os.fsdecode(opened.read(BYTES_MAX)))
            if directory.is_absolute() and _name(directory) == file.name and (directory / "api.json").exists():
                found.append(directory)
            else:
                file.unlink(missing_ok=True)
    return sorted(found)


def standing_still(directory: Path) -> int:
    """The process id of a directory's daemon that a signal (SIGSTOP) has stopped; 0 for any other."""
    pid, state = _holder(directory)
    return pid if state == b"T" else 0


def silent(directory: Path) -> int:
    """The process id of a directory's daemon that is there; of use when nobody answers: it starts, stops, begins anew.

    0 when there is none: what stands in the lock may be of one that was killed.
    """
    return _holder(directory)[0]


def out_of_files(directory: Path) -> tuple[int, int]:
    """The process id of a directory's daemon that may open no more files, and how many it may; zeros for any other.

    A number at or above its limit is of before that was lowered.
    """
    pid, _ = _holder(directory)
    try:
        (words,) = _FILES_MAX.findall(Path(f"/proc/{pid}/limits").read_bytes())
        numbers = {int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir()}
    except (OSError, ValueError):  # it is gone, there is none, or it has no such limit
        return 0, 0
    most = int(words)
    return (pid, most) if sum(number < most for number in numbers) >= most else (0, 0)


def _holder(directory: Path) -> tuple[int, bytes]:
    """The process id that the lock names, and its state as the kernel has it; 0 and nothing without one.

    Another process that was given the number of a killed daemon has not the lock open. That is looked at and the
    lock not tried: a daemon that starts at this moment must find it free. Without /proc nothing is known.
    """
    try:
        with (directory / LOCK).open("rb") as lock:
            pid, held = int(lock.read(32)), os.fstat(lock.fileno())
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        files = list(Path(f"/proc/{pid}/fd").iterdir())
    except (OSError, ValueError, IndexError):
        return 0, b""
    return (pid, state) if any(_is_same(file, held) for file in files) else (0, b"")


def _is_same(file: Path, other: os.stat_result) -> bool:
    try:
        return os.path.samestat(file.stat(), other)
    except OSError:  # closed meanwhile
        return False


def _folder(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_RUNTIME_DIR", "")
    return Path(base if os.path.isabs(base) else tempfile.gettempdir()) / f"meshd-{os.getuid()}"


def _is_ours(folder: Path) -> bool:
    """Whether nobody else could have written there."""
    try:
        seen = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and not seen.st_mode & 0o077


def _name(directory: Path) -> str:
    return blake2b(os.fsencode(directory), digest_size=8).hexdigest() + _ENDING
