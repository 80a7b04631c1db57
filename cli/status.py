"""`meshctl status`: one sentence of state, then what needs attention."""

from typing import Any

import click

from cli.client import Answer, Client
from cli.exits import Refusal, of
from cli.output import Item, count, painted, write, write_json
from cli.session import SECONDS, Session, verb
from cli.waiting import Deadline
from meshd.observe.text import shown
from protocol.errors import DEGRADED, OK, MeshError


@verb("status")
@click.option("--wait", "wait_s", type=SECONDS, metavar="S", help="Wait until the node is ready, at most this long.")
@click.pass_obj
def status(session: Session, wait_s: float | None) -> int:
    """How this node stands. Exit code 9 when something needs attention, 0 when it is well."""
    answer = _awaited(session, wait_s) if wait_s else Client(session).get("v1", "status")
    value: Item = answer.value
    match session.output:
        case "json" | "jsonl":
            write_json(answer)
        case "name":
            write(f"{shown(str(value['name']))}\n")
        case _:
            write(f"{sentence(value, session)}\n")
            _remarks(session, value)
    is_well = value["state"] == "joined" and (bool(wait_s) or not value["attention"])
    return OK if is_well else DEGRADED


def _awaited(session: Session, wait_s: float) -> Answer:
    """The status once the node is ready. Raises Refusal unreachable, or not_ready when it answers but is not."""
    deadline = Deadline(wait_s)
    while True:
        try:
            answer = Client(session).get("v1", "status")
            state = answer.value["state"]
            if state == "joined":
                return answer
            last = of(MeshError("not_ready", state=f"still {state} after {wait_s:g} s"))
        except Refusal as refusal:
            if refusal.body["code"] not in ("unreachable", "stands_still", "cut_off", "timed_out"):
                raise
            last = refusal
        if not deadline.pause():
            raise last


def sentence(value: Item, session: Session) -> str:
    """The state of a node in one sentence."""
    reason = f" ({shown(value['reason'])})" if value["reason"] else ""
    peers, tasks = count(value["peers_alive"], "peer"), count(value["tasks_running"], "task")
    waiting = f", {value['tasks_waiting']} waiting" if value["tasks_waiting"] else ""
    return (
        f"{painted(value['state'], session)} as {value['name']} in mesh {value['mesh']}{reason}: "
        f"{peers} alive; here {tasks} running{waiting}; {_record(value['record'])}"
    )


def _record(record: Any) -> str:
    match record["copies"]:
        case 0:
            return "the record is out of reach"
        case 1:
            return f"one copy of the record, on {shown(record['where'])}"
        case copies:
            return f"{copies} copies of the record, on {shown(record['where'])}"


def _remarks(session: Session, value: Item) -> None:
    for text in value["attention"]:
        write(f"  ! {shown(text)}\n")
    if not session.is_quiet:
        for text in value["notes"]:
            write(f"  - {shown(text)}\n")
