"""Stdout, for what ends with an exit code of its own: whoever stops reading changes nothing about that.

Invariant: what a stream did not take goes nowhere, and no interpreter complains of it at its end. Neighbours:
`python -m simulations` and `meshctl sim` print through it; `meshctl`, whose other commands end with their
reader, has only the nowhere in common with it.
"""

import os
import sys
from collections.abc import Callable
from typing import TextIO, cast

from protocol.errors import OK


class Unwritable(OSError):
    """Stdout is there, and takes nothing more."""


class Outlet:
    """A stream; when nobody reads it any more, what is printed goes nowhere, which is no failure."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lack: Unwritable | None = None

    def write(self, text: str) -> int:
        """Raises Unwritable where it has no room."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._end(error)
            return len(text)

    def flush(self) -> None:
        """Raises Unwritable where it has no room, again and again: a parser that prints its help ignores the first."""
        if self._lack is not None:
            raise self._lack
        try:
            self._stream.flush()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        silence(self._stream)
        if not isinstance(error, BrokenPipeError):
            self._lack = Unwritable(error.errno, error.strerror)
            raise self._lack from None

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def through_outlet(do: Callable[[], int]) -> int:
    """Do it, and print it to the end; its exit code, or that of the SystemExit it raises. Raises Unwritable."""
    stream = sys.stdout or nowhere()
    outlet = Outlet(stream)
    sys.stdout = cast(TextIO, outlet)
    try:
        try:
            code = do()
        except SystemExit as ended:  # how a parser says that it printed help, or what is wrong
            code = ended.code if isinstance(ended.code, int) else OK
        outlet.flush()
        return code
    finally:
        sys.stdout = stream


def told(error: OSError) -> tuple[str, str]:
    """What came to the door without having been told where it happened: what is wrong, and what to try."""
    why = (error.strerror or str(error)).lower()
    if isinstance(error, Unwritable):
        return f"stdout: {why}", "send it elsewhere"
    return f"{error.filename or 'this host'}: {why}", "mend that, and run it again"


def nowhere() -> TextIO:
    """Instead of a stream that was closed; it stays to the end."""
    return open(os.devnull, "w", encoding="utf-8")


def silence(stream: TextIO) -> None:
    """What is left in it is flushed once more at the end, and goes nowhere."""
    fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(fd, stream.fileno())
    os.close(fd)
