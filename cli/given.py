"""The input of a task or call as it is given on the command line: `--input JSON`, `--file F` or `-`."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from meshd.plaintext import content_of, text_of
from protocol import limits
from protocol.errors import MeshError

F = TypeVar("F", bound=Callable[..., Any])
BYTES_MAX = 4 * limits.INPUT_BYTES_MAX  # as JSON; the daemon measures it packed


def input_options(command: F) -> F:
    """Add the three ways to give an input."""
    command = click.argument("dash", metavar="[-]", required=False, type=click.Choice(["-"]))(command)
    file = click.Path(path_type=Path, dir_okay=False)
    command = click.option("--file", type=file, metavar="F", help="A file that holds the input as JSON.")(command)
    return click.option("--input", "inline", metavar="JSON", help="The input; `-` reads it from stdin.")(command)


def value(inline: str | None, file: Path | None, dash: str | None) -> object:
    """The value that was given; null when none was. Raises MeshError bad_input or too_large, UsageError for two."""
    if sum(given is not None for given in (inline, file, dash)) > 1:
        raise click.UsageError("give the input once: --input JSON, --file F or -")
    if inline is not None:
        return parsed(inline.encode("utf-8", "surrogateescape"), "--input")
    if file is not None:
        try:
            return parsed(content_of(file, BYTES_MAX + 1), str(file))
        except OSError as failure:
            raise MeshError("bad_input", what=f"{file} cannot be read: {failure.strerror}") from None
    if dash is not None:
        return parsed(sys.stdin.buffer.read(BYTES_MAX + 1), "stdin")
    return None


def parsed(text: bytes, origin: str) -> object:
    """JSON as RFC 8259 has it, without NaN. Raises MeshError naming line and column of what is wrong."""
    if len(text) > BYTES_MAX:
        raise MeshError("too_large", what=f"the input from {origin}", bytes=f"over {BYTES_MAX}", limit=BYTES_MAX)
    try:
        plain = text_of(text)
    except ValueError as failure:
        raise MeshError("bad_input", what=f"{origin} {failure}") from None
    try:
        found: object = json.loads(plain, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as failure:
        place = f"line {failure.lineno}, column {failure.colno}"
        raise MeshError("bad_input", what=f"{origin} is no JSON: {failure.msg} at {place}") from None
    except RecursionError:
        raise MeshError("bad_input", what=f"{origin} is nested deeper than {limits.DEPTH_MAX} levels") from None
    except ValueError as failure:
        raise MeshError("bad_input", what=f"{origin} is no JSON: {failure}") from None
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
