"""Where a node's state lies on this host, and for whom. Imports nearly nothing: the commands read it at every start."""

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from protocol.errors import MeshError

CURE = "give --dir or MESHD_DIR the state directory of a daemon, or a path where nothing is yet"


def state_dir(given: Path | None) -> Path:
    """The state directory that is meant, `given` or the default one, there or not.

    Raises MeshError("directory") when something else is there.
    """
    path = given or default_dir()
    try:
        is_one = stat.S_ISDIR(path.stat().st_mode)
    except NotADirectoryError:
        is_one = False
    except OSError:  # nothing is there, or whoever uses it says why not
        is_one = True
    if not is_one:
        raise MeshError("directory", path=str(path), problem="is no directory", cure=CURE)
    return path


def open_to_others(mode: int, what: str) -> str:
    """A clause on a path of this mode, which `what` must not have."""
    return f"is open to others (mode {mode:04o}), and {what} is for its owner alone"


def default_dir(environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> Path:
    """The state directory when no `--dir` is given: `MESHD_DIR`, else the platform's place for state.

    `~/Library/Application Support/meshd` on macOS, else `$XDG_STATE_HOME/meshd`, else
    `~/.local/state/meshd` (XDG base directory specification 0.8: a relative path there is ignored).
    """
    if chosen := environ.get("MESHD_DIR"):
        return Path(chosen).expanduser()
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    if platform == "darwin":
        return home / "Library" / "Application Support" / "meshd"
    base = environ.get("XDG_STATE_HOME", "")
    return (Path(base) if os.path.isabs(base) else home / ".local" / "state") / "meshd"
