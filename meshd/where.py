"""Where a node's state lies on this host. Imports nearly nothing: the commands read it at every start."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path


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
