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

NAMED_MAX = 4  # of those who were found dead: the list of peers has all
DOUBTED = ("suspect", "unreachable")  # as the list of peers has it


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
    """The status once the node is joined, with the whole mesh in view. Raises Refusal unreachable, or not_ready."""
    deadline = Deadline(wait_s)
    while True:
        try:
            answer = Client(session).get("v1", "status")
            waiting = _waiting(answer.value)
            if not waiting:
                return answer
            last = of(MeshError("not_ready", state=f"still {waiting} after {wait_s:g} s"))
        except Refusal as refusal:
            if refusal.body["code"] not in ("unreachable", "stands_still", "cut_off", "timed_out"):
                raise
            last = refusal
        if not deadline.pause():
            raise last


def _waiting(value: Item) -> str:
    """How it stands while it is not ready, or nothing."""
    state, complete = str(value["state"]), value["agreement"]["complete"]
    if state != "joined":
        return state
    if value.get("outlived"):
        return "outlived by a newer daemon with its key"
    return f"joined with {complete:.0%} of the mesh in view" if complete is not None and complete < 1 else ""


def sentence(value: Item, session: Session) -> str:
    """The state of a node in one sentence."""
    reason = f" ({shown(value['reason'])})" if value["reason"] else ""
    peers, tasks = count(value["peers_alive"], "peer"), count(value["tasks_running"], "task")
    waiting = f", {value['tasks_waiting']} waiting" if value["tasks_waiting"] else ""
    doubted = "".join(f", {value[f'peers_{each}']} {each}" for each in DOUBTED if value.get(f"peers_{each}"))
    seen = f"{peers} alive{doubted}{_found_dead(value.get('found_dead'))}{_agreement(value['agreement'])}"
    return (
        f"{painted(value['state'], session)} as {value['name']} in mesh {value['mesh']}{_region(value)}{reason}: "
        f"{seen}; here {tasks} running{waiting}; {_record(value['record'])}"
    )


def _region(value: Item) -> str:
    """Where it stands, once there is somewhere else."""
    others = value.get("other_regions")
    bridge = f", a bridge to {count(others, 'other')}" if others and value.get("bridge") else ""
    return f", region {shown(str(value['region']))}{bridge}" if others else ""


def _found_dead(told: Any) -> str:
    """Who has died in the last minutes."""
    if not told or not told["count"]:
        return ""
    names = [shown(str(name)) for name in told["names"][:NAMED_MAX]]
    who = ", ".join([*names, "..."] if told["count"] > len(names) else names)
    last = ", the last" if told["count"] > 1 else ""
    return f", {told['count']} found dead{last} {told['ago_s']:.0f} s ago ({who})"


def _agreement(told: Any) -> str:
    """Whether the others see the same, as far as they have said."""
    complete, heard, agreeing = told["complete"], told["heard"], told["agreeing"]
    if complete is not None and complete < 1:
        return f", {complete:.0%} of the mesh in view so far"
    if not heard:
        return ""
    unheard = f", {count(told['unheard'], 'peer')} not since it changed" if told["unheard"] else ""
    if agreeing == heard:
        return f", all of one view (heard within {told['oldest_s']:.0f} s{unheard})"
    old = f"as heard up to {told['oldest_s']:.0f} s ago: "
    return f", {agreeing} of {count(heard, 'other')} of this view ({old}{_slowest(told)}{unheard})"


def _slowest(told: Any) -> str:
    """Who differs, as far as it was heard to: it may agree by now."""
    name, since_s, ago_s = shown(str(told["slowest"])), told["slowest_s"], told.get("slowest_heard_s", 0.0)
    if since_s - ago_s < 1:
        return f"{name} differed {ago_s:.0f} s ago"
    return f"{name} has differed for {since_s:.0f} s, heard {ago_s:.0f} s ago"


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
        if value["agreement"]["agreeing"] < value["agreement"]["heard"]:
            write(
                "  - those who were of another view may be of this one by now; to ask them: meshctl peers --all-views\n"
            )
