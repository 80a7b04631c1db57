"""`python -m simulations`: the door to `command`.

Invariant: the exit code is that of what was run, whoever reads along; only a stdout that takes nothing more is told.
"""

import os
import sys
from typing import TextIO, cast

from protocol.errors import INTERRUPTED
from simulations.command import main
from simulations.running import BAD_SCENARIO
from simulations.wording import trouble_of


class Outlet:
    """Stdout; when nobody reads it any more, what is printed goes nowhere, which is no failure."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Raises OSError where it has no room."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        """Raises OSError where it has no room."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            silence(self._stream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def silence(stream: TextIO) -> None:
    """What is left in it is flushed once more at the end, and goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def door() -> int:
    """Run what the command line says; its exit code. An end by Ctrl-C is a quiet one."""
    stream = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it was closed, and stays to the end
    sys.stdout = cast(TextIO, Outlet(stream))
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # all others are told where they happen
        silence(stream)
        print(f"error[bad_input]: stdout: {trouble_of(error)}\ntry: send it elsewhere", file=sys.stderr)
        return BAD_SCENARIO
    finally:
        sys.stdout = stream


if __name__ == "__main__":
    sys.exit(door())
