"""A library that a daemon is started with, so that its disk and its wall clock do what a test says.

Invariant: only the processes it is given to are fooled. Compiled by the test, where there is a C compiler.
"""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")


def missing() -> str:
    """What this machine lacks for it; nothing when it can be done."""
    return "" if shutil.which("cc") else "needs a C compiler (cc)"


class Shim:
    """What one daemon is told; `prefix` is put before its commands."""

    def __init__(self, directory: Path) -> None:
        self._disk, self._clock, self._library = (directory / name for name in ("disk", "clock", "shim.so"))
        command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=60)

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("env", f"LD_PRELOAD={self._library}", f"SHIM_DISK={self._disk}", f"SHIM_CLOCK={self._clock}")

    def fsync_fails(self) -> None:
        """With EIO, from now on."""
        self._disk.write_text("eio\n")

    def disk_is_full(self) -> None:
        """Whatever it writes to a file fails with ENOSPC."""
        self._disk.write_text("full\n")

    def clock_is_off_by(self, seconds: int) -> None:
        """Its wall clock jumps; negative is back."""
        self._clock.write_text(f"{seconds}\n")

    def mend(self) -> None:
        """A sound disk and the right time again."""
        self._disk.unlink(missing_ok=True)
        self._clock.unlink(missing_ok=True)
