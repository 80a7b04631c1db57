"""Answers on stdout: as a table for people, as the API's own JSON for programs, as bare names for the shell.

Invariant: text of others never moves the cursor or turns a line around; colours and progress appear
on a terminal only. Neighbours: every noun declares its columns and calls `listing` or `details`.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO, TypeAlias

import msgspec

from cli.client import Answer
from cli.session import Session
from meshd import clock
from meshd.observe.text import shown

Item: TypeAlias = Mapping[str, Any]
Column: TypeAlias = tuple[str, Callable[[Item], object]]

NARROW = 60  # columns; on a wider screen a row that goes on in the next line is still read as one

GREEN, YELLOW, RED, DIM = "32", "33", "31", "2"
TONES = {
    **dict.fromkeys(("alive", "joined", "ready", "done"), GREEN),
    **dict.fromkeys(
        ("suspect", "damped", "unreachable", "starting", "restarting", "islanded", "detached", "draining"), YELLOW
    ),
    **dict.fromkeys(("dead", "failed", "poison"), RED),
    **dict.fromkeys(("left", "cancelled", "stopped", "elsewhere"), DIM),
}


def write(text: str) -> None:
    """Print to stdout at once. Raises OSError when it cannot be written, which `meshctl.run` tells."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(session: Session, text: str) -> None:
    """Say something to people, beside the answer."""
    if not session.is_quiet:
        with suppress(OSError):  # the answer is what counts
            sys.stderr.write(f"{text}\n")


def is_colored(session: Session, stream: TextIO | None = None) -> bool:
    """Whether this terminal wants colours (no-color.org)."""
    stream = stream or sys.stdout
    is_wanted = not session.is_plain and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return is_wanted and stream.isatty()


def painted(text: str, session: Session) -> str:
    """A word of state in its colour."""
    tone = TONES.get(text.strip()) if is_colored(session) else None
    return f"\x1b[{tone}m{text}\x1b[0m" if tone else text


def listing(
    session: Session,
    answer: Answer,
    items: Sequence[Item],
    columns: Sequence[Column],
    *,
    name: Callable[[Item], object],
    empty: str,
) -> None:
    """Print many of a kind. `items` are those of the answer; `empty` is said when there are none."""
    match session.output:
        case "json":
            write_json(answer)
        case "jsonl":
            for item in items:
                write(msgspec.json.encode(item).decode() + "\n")
        case "name":
            for item in items:
                write(f"{shown(str(name(item)))}\n")
        case _:
            if items:
                table(session, [heading for heading, _ in columns], [[_text(c(i)) for _, c in columns] for i in items])
            else:
                note(session, empty)


def details(session: Session, answer: Answer, fields: Sequence[tuple[str, object]], *, name: str) -> None:
    """Print one of a kind as lines of name and value; empty values are left out."""
    match session.output:
        case "json" | "jsonl":
            write_json(answer)
        case "name":
            write(f"{shown(name)}\n")
        case _:
            kept = [(label, _text(value)) for label, value in fields if value not in ("", None, (), [], {})]
            width = max((len(label) for label, _ in kept), default=0)
            for label, text in kept:
                write(f"{label:<{width}}  {painted(text, session)}\n")


def table(session: Session, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings, as wide as they need; on a narrow screen without room for that, one value a line."""
    widths = [max(len(row[n]) for row in (headings, *rows)) for n in range(len(headings))]
    if sys.stdout.isatty() and shutil.get_terminal_size().columns < min(NARROW, sum(widths) + 2 * len(widths) - 2):
        label = max(map(len, headings))
        stacks = [[(h.ljust(label), cell) for h, cell in zip(headings, row, strict=True) if cell] for row in rows]
        write("\n".join("".join(f"{h}  {painted(cell, session)}\n" for h, cell in stack) for stack in stacks))
        return
    lines = []
    if not session.is_quiet:
        lines.append("  ".join(h.ljust(w) for h, w in zip(headings, widths, strict=True)).rstrip())
    for row in rows:
        cells = [painted(cell.ljust(width), session) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    write("\n".join(lines) + "\n")


def write_json(answer: Answer) -> None:
    """Exactly what the API answered, and a line end."""
    write(answer.raw.decode("utf-8", "replace") + "\n")


def value_text(value: object, *, indent: int | None = 2) -> str:
    """A JSON value that is safe on a terminal: what is not printable is escaped, and it stays JSON."""
    encoded = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in encoded)


def age(since_ms: int | None, until_ms: int | None = None) -> str:
    """How long ago, or how long it took, in the unit that fits: 350ms, 12s, 5m, 3h, 2d."""
    if not since_ms:
        return ""
    passed_s = max(0, (until_ms or clock.wall_ms()) - since_ms) / 1_000
    if until_ms and passed_s < 10:
        return f"{passed_s:.2f}s" if passed_s >= 1 else f"{passed_s * 1_000:.0f}ms"
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if passed_s >= 2 * length_s:
            return f"{passed_s / length_s:.0f}{unit}"
    return f"{passed_s:.0f}s"


def count(number: int, thing: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return shown(", ".join(str(item) for item in value))
    return shown("" if value is None else str(value))


def _escaped(character: str) -> str:
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]
