"""`meshctl tasks`: work with a durable record.

Invariant: a submit carries an idempotency key, so that it can be sent again without doing the work
twice. Neighbours: `task_show` prints one task, `task_watch` follows what happens to all of them.
"""

import secrets
from pathlib import Path
from typing import Any

import click

from cli import completion, given
from cli.client import Answer, Client
from cli.exits import Refusal, of
from cli.output import Column, age, note, value_text, write, write_json
from cli.paging import listed
from cli.session import SECONDS, Session, noun
from cli.task_show import ENDED, Progress, shown_task, why
from cli.task_watch import follow
from cli.task_why import story, tree
from cli.waiting import Deadline
from meshd.observe.text import shown
from protocol import limits
from protocol.errors import OK, TASK_FAILED, MeshError
from protocol.gears import ROUTES

STATES = ("open", "awarded", "running", "done", "failed", "cancelled", "poison")
WAIT_S = 30.0  # one long poll; then it asks again
CUT_OFF = ("detached", "store")  # a node without its way to the record, for a while

COLUMNS: tuple[Column, ...] = (
    ("ID", lambda task: task["id"][:8]),
    ("STATE", lambda task: task["state"]),
    ("CAPABILITY", lambda task: task["capability"]),
    ("OWNER", lambda task: task.get("owner_name") or task["owner"][:8]),
    ("EPOCH", lambda task: task["epoch"]),
    ("AGE", lambda task: age(task["submitted_ms"])),
    ("TOOK", lambda task: age(task["started_ms"], task["finished_ms"]) if task["finished_ms"] else ""),
    ("WHY", why),
)


@noun("tasks")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only those in this state.")
@click.option("--capability", default="", metavar="NAME@MAJOR", help="Only those for this capability.")
@click.option("--home", default="", metavar="NODE", help="Only those this node accepted.")
@click.option("--gid", default="", help="Only those of this goal.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many at most.")
@click.option("--cursor", default="", help="Go on where the page before ended.")
@click.pass_context
def tasks(ctx: click.Context, /, limit: int, cursor: str, **filters: Any) -> None:
    """Tasks of the mesh, newest first."""
    if ctx.invoked_subcommand is None:
        session: Session = ctx.obj
        more = listed(
            session,
            Client(session),
            "tasks",
            COLUMNS,
            name=lambda task: task["id"],
            empty=_none(cursor, filters),
            limit=limit,
            cursor=cursor,
            **filters,
        )
        if more and session.output != "json":
            note(session, f"there are more: --cursor {more}")


def _none(cursor: str, filters: dict[str, Any]) -> str:
    """What an empty list means."""
    if cursor or any(filters.values()):
        return "there are no such tasks"
    return "there are no tasks yet\ntry: meshctl tasks submit CAPABILITY --input JSON"


@tasks.command("submit")
@click.argument("capability", shell_complete=completion.capabilities)
@given.input_options
@click.option("--wait", "is_awaited", is_flag=True, help="Print the result when it has ended, and fail if it failed.")
@click.option("--key", metavar="K", default="", help="Idempotency key: the same key and work is the same task.")
@click.option("--deadline", "deadline_s", type=SECONDS, metavar="S", help="It fails when it has not ended by then.")
@click.option("--priority", type=click.IntRange(0, limits.PRIORITY_MAX), help="9 goes first; 5 is usual.")
@click.option("--exclusive", is_flag=True, help="It must never run twice at once.")
@click.option("--route", type=click.Choice(ROUTES), help="How an owner is looked for; auto is usual.")
@click.option("--gid", default="", help="The goal it belongs to.")
@click.pass_obj
def submit(
    session: Session,
    /,
    capability: str,
    inline: str | None,
    file: Path | None,
    dash: str | None,
    is_awaited: bool,
    key: str,
    **order: Any,
) -> int:
    """Submit a task and print its id, or with --wait its result."""
    body = {name: value for name, value in order.items() if value is not None}
    body |= {"capability": capability, "input": given.value(inline, file, dash)}
    client, deadline, key = Client(session), Deadline(session.timeout_s), key or secrets.token_hex(16)
    try:
        answer = client.post("v1", "tasks", body=body, key=key)
    except Refusal as refusal:
        if refusal.body["code"] not in ("cut_off", "timed_out", "unsettled"):
            raise
        hint = f"send it again with --key {key}: it will not be done twice"
        raise Refusal({**refusal.body, "hint": hint}, refusal.exit_code) from None
    if is_awaited:
        return _awaited(session, client, answer, deadline)
    if session.wants_json():
        write_json(answer)
    else:
        write(f"{answer.value['id']}\n")
    return OK


@tasks.command("show")
@click.argument("id_", metavar="ID", shell_complete=completion.tasks)
@click.pass_obj
def show(session: Session, id_: str) -> None:
    """One task with its history, by its id or the beginning of it."""
    shown_task(session, Client(session).get("v1", "tasks", id_))


@tasks.command("why")
@click.argument("id_", metavar="ID", shell_complete=completion.tasks)
@click.pass_obj
def why_(session: Session, id_: str) -> None:
    """Who was asked, who bid what, who won, and why it moved on: the story of a task."""
    story(session, Client(session).get("v1", "tasks", id_, "why"))


@tasks.command("tree")
@click.argument("gid", shell_complete=completion.goals)
@click.pass_obj
def tree_(session: Session, gid: str) -> None:
    """The tasks of a goal, each under the one that submitted it."""
    tree(session, Client(session).get("v1", "goals", gid))


@tasks.command("wait")
@click.argument("id_", metavar="ID", shell_complete=completion.tasks)
@click.pass_obj
def wait(session: Session, id_: str) -> int:
    """Wait until a task has ended and print its result; --timeout S bounds it."""
    client, deadline = Client(session), Deadline(session.timeout_s)
    return _awaited(session, client, client.get("v1", "tasks", id_), deadline)


@tasks.command("cancel")
@click.argument("id_", metavar="ID", shell_complete=completion.tasks)
@click.pass_obj
def cancel(session: Session, id_: str) -> None:
    """End a task that has not ended, and all that it led to."""
    answer = Client(session).post("v1", "tasks", id_, "cancel", body={})
    if session.wants_json():
        write_json(answer)
        return
    write(f"{answer.value['id']}\n")
    if missed := answer.value["missed"]:
        note(session, f"what it led to ends soon by itself, for it was not all found at once: {missed}")
    elif count := answer.value["with_it"]:
        note(session, "and one task that it led to" if count == 1 else f"and {count} tasks that it led to")


@tasks.command("retry")
@click.argument("id_", metavar="ID", shell_complete=completion.retriable)
@click.option("--deadline", "deadline_s", type=SECONDS, metavar="S", help="From now; as long as it had when left out.")
@click.option("--wait", "is_awaited", is_flag=True, help="Print the result when it has ended, and fail if it failed.")
@click.pass_obj
def retry(session: Session, id_: str, deadline_s: float | None, is_awaited: bool) -> int:
    """Open a task again that failed, was cancelled, or is poison: the same id, a new start."""
    client, deadline = Client(session), Deadline(session.timeout_s)
    body = {} if deadline_s is None else {"deadline_s": deadline_s}
    answer = client.post("v1", "tasks", id_, "retry", body=body)
    if is_awaited:
        return _awaited(session, client, answer, deadline)
    if session.wants_json():
        write_json(answer)
    else:
        write(f"{answer.value['id']}\n")
    return OK


@tasks.command("watch")
@click.argument("id_", metavar="[ID]", required=False, default="", shell_complete=completion.tasks)
@click.pass_obj
def watch(session: Session, id_: str) -> None:
    """Print what happens to tasks, as it happens, until Ctrl-C."""
    follow(session, id_)


def _awaited(session: Session, client: Client, answer: Answer, deadline: Deadline) -> int:
    """Wait for the end of a task, print its result, and return the exit code for it."""
    task = answer.value
    with Progress(session) as progress:
        while task["state"] not in ENDED:
            progress.show(task)
            wait_s = deadline.left_s(progress.every_s or WAIT_S)
            if wait_s <= 0:
                raise of(MeshError("unfinished", task=task["id"], seconds=f"{deadline.seconds:g}"))
            try:
                answer = client.get("v1", "tasks", task["id"], wait_s=max(wait_s, 0.001))
            except Refusal as refusal:
                if refusal.body["code"] not in CUT_OFF:
                    raise
                deadline.pause()  # the record is there; the way to it comes back
            task = answer.value
    if session.wants_json():
        write_json(answer)
    elif session.output == "name":
        write(f"{task['id']}\n")
    elif task["state"] == "done":
        write(f"{value_text(task['result'])}\n")
    if task["state"] == "done":
        return OK
    if not session.wants_json():
        error = task["error"] or {"code": "task_failed", "message": f"the task is {task['state']}"}
        hint = f"see what happened with: meshctl tasks show {task['id'][:8]}"
        where = {"node": task["owner"], "node_name": task.get("owner_name", "")}
        body = {"code": shown(error["code"]), "message": error["message"], "hint": hint, **where}
        raise Refusal(body, TASK_FAILED)
    return TASK_FAILED
