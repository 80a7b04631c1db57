"""`meshctl top`: peers, agents and tasks of the mesh, again and again, or once.

Invariant: one frame is a plain value made of what the API answered; the terminal program and `--once`
show the same one. Neighbours: `screen` draws it, and is imported when somebody wants to see it.
"""

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click
from msgspec import Struct

from cli.client import Client
from cli.exits import of
from cli.output import Item, age, table, write
from cli.session import SECONDS, Session, verb
from meshd import clock
from meshd.observe.text import shown
from protocol.errors import MeshError

REFRESH_S = 2.0
TASKS_MAX = 200  # the newest; a page of them is read at every refresh
RATE_MS = 60_000
WIDTH = 80  # of a frame that goes into a file or a mail
COLUMN_MIN = 6
STATES = ("open", "awarded", "running", "done", "failed", "cancelled", "poison")


class Panel(Struct, frozen=True):
    """One table of a frame."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Frame(Struct, frozen=True):
    """What is seen at one moment: lines about the node, and tables about the mesh."""

    lines: tuple[str, ...]
    panels: tuple[Panel, ...]


@verb("top")
@click.option("--once", "is_once", is_flag=True, help="Print one plain frame and end; needs no extra.")
@click.option("--every", "every_s", type=SECONDS, metavar="S", default=REFRESH_S, help="Seconds between two looks.")
@click.pass_obj
def top(session: Session, is_once: bool, every_s: float) -> None:
    """Peers, agents and tasks as they are now; `q` ends it. One plain frame where there is no terminal."""
    client = Client(session)
    if session.wants_json():
        write(json.dumps(_asked(client)) + "\n")
    elif session.output == "name":
        write("".join(f"{shown(str(peer['name']))}\n" for peer in client.get("v1", "peers").value["peers"]))
    elif is_once or not sys.stdout.isatty():
        _print(session, look(client))
    else:
        _screen_of()(lambda: look(client), every_s).run()


def _screen_of() -> Any:
    try:
        from cli.screen import Screen
    except ImportError as failure:
        if failure.name is None or failure.name.partition(".")[0] != "textual":
            raise
        raise of(MeshError("no_extra", what="meshctl top", extra="tui", otherwise="meshctl top --once")) from None
    return Screen


def look(client: Client) -> Frame:
    """One frame, asked for now. Raises Refusal."""
    return drawn(_asked(client), clock.wall_ms())


def _asked(client: Client) -> dict[str, Any]:
    asked = {name: client.get("v1", name).value for name in ("status", "diagnosis", "peers", "agents")}
    asked["tasks"] = client.get("v1", "tasks", limit=TASKS_MAX).value
    return asked


def drawn(asked: Item, now_ms: int) -> Frame:
    """The frame that these answers make."""
    tasks: list[Item] = asked["tasks"]["tasks"]
    return Frame(
        lines=_lines(asked, tasks, now_ms),
        panels=(
            _peers(asked["peers"]["peers"], asked["diagnosis"]["peers"], now_ms),
            _agents(asked["agents"]["agents"]),
            _tasks(tasks, now_ms),
        ),
    )


def _lines(asked: Item, tasks: Sequence[Item], now_ms: int) -> tuple[str, ...]:
    status, found = asked["status"], asked["diagnosis"]
    states = Counter(str(task["state"]) for task in tasks)
    counted = "  ".join(f"{states[state]} {state}" for state in STATES if states[state]) or "none"
    which = f"of the newest {TASKS_MAX}" if asked["tasks"]["next"] else "in all"
    ended = sum(now_ms - (task["finished_ms"] or 0) < RATE_MS for task in tasks)
    begun = sum(now_ms - task["submitted_ms"] < RATE_MS for task in tasks)
    return (
        f"{shown(str(status['name']))} is {status['state']} in mesh {status['mesh']}, "
        f"{status['peers_alive']} alive, up {age(status['life'], None)}",
        f"tasks {which}: {counted}",
        f"last minute: {begun} submitted, {ended} ended",
        f"this node: {found['lag_ms']:.1f} ms to answer, {found['inbox_waiting']} in the inbox, "
        f"{found['writes_waiting']} writes waiting",
        *(f"! {shown(str(text))}" for text in status["attention"]),
    )


def _peers(peers: Sequence[Item], surveyed: Sequence[Item], now_ms: int) -> Panel:
    said = {each["id"]: each for each in surveyed if each["answered"]}
    rows = []
    for peer in peers:
        load, own = peer["load"], said.get(peer["id"])
        rows.append(
            (
                shown(str(peer["name"])) + (" *" if peer["here"] else ""),
                "draining" if load["draining"] and peer["state"] == "alive" else str(peer["state"]),
                age(peer["since"]),
                f"{load['running']}/{load['slots']}",
                str(load["waiting"]),
                f"{own['rtt_ms']:.1f} ms" if own else "",
            )
        )
    return Panel("peers", ("NAME", "STATE", "SINCE", "BUSY", "WAITING", "ROUND TRIP"), tuple(rows))


def _agents(agents: Sequence[Item]) -> Panel:
    rows = tuple(
        (
            shown(str(agent["name"])),
            shown(str(agent["node_name"])),
            str(agent["state"]),
            f"{agent['free']}/{agent['slots']}",
            shown(", ".join(agent["capabilities"])),
        )
        for agent in agents
    )
    return Panel("agents", ("NAME", "NODE", "STATE", "FREE", "CAPABILITIES"), rows)


def _tasks(tasks: Sequence[Item], now_ms: int) -> Panel:
    open_first = sorted(tasks, key=lambda task: task["finished_ms"] is not None)
    rows = tuple(
        (
            str(task["id"])[:8],
            shown(str(task["capability"])),
            str(task["state"]),
            shown(str(task["owner_name"])),
            str(task["epoch"]),
            age(task["submitted_ms"]),
            age(task["started_ms"], task["finished_ms"]) if task["finished_ms"] else "",
        )
        for task in open_first[:50]
    )
    return Panel("tasks", ("ID", "CAPABILITY", "STATE", "OWNER", "EPOCH", "AGE", "TOOK"), rows)


def _print(session: Session, frame: Frame) -> None:
    """A plain frame, as wide as the terminal, or 80 columns: what has no room is cut, and stands in the JSON."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    for line in frame.lines:
        write("\n".join(textwrap.wrap(line, width, subsequent_indent="  ")) + "\n")
    for panel in frame.panels:
        write(f"\n{panel.title}{'' if panel.rows else ': none'}\n")
        if panel.rows:
            table(session, panel.headings, fitted(panel, width))


def fitted(panel: Panel, width: int) -> list[tuple[str, ...]]:
    """The rows, with their widest columns cut until the table has room, but none below its heading."""
    widths = [max(map(len, column)) for column in zip(panel.headings, *panel.rows, strict=True)]
    least = [max(len(heading), COLUMN_MIN) for heading in panel.headings]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        spare = [have - need for have, need in zip(widths, least, strict=True)]
        if max(spare) <= 0:
            break
        widths[spare.index(max(spare))] -= 1
    return [tuple(_cut(cell, room) for cell, room in zip(row, widths, strict=True)) for row in panel.rows]


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"
