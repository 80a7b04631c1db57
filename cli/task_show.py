"""One task for people: its lines, its history, and how far it is while somebody waits."""

import sys
import time
from types import TracebackType

from cli.client import Answer
from cli.output import Item, age, details, is_colored, table, value_text, write
from cli.session import Session
from meshd.observe.text import shown

ENDED = frozenset({"done", "failed", "cancelled", "poison"})
RESULT_CHARS_MAX = 60  # of a result that was refused; all of it is in the JSON
PROGRESS_S = 1.0  # between two looks while a terminal shows how far it is


def why(task: Item) -> str:
    """Why a task has no result, or none yet; or nothing."""
    error = task["error"]
    return f"{error['code']}: {error['message']}" if error else waits(task)


def waits(task: Item) -> str:
    """What a task that nobody has waits for, or nothing."""
    told = task.get("waits_for")
    if not told:
        return ""
    since = f", for {age(told['since_ms'])} now" if told["since_ms"] else ""
    until = f", until {_clock(told['until_ms'])}" if told["until_ms"] else ""
    return f"waits: {told['message']}{since}{until}"


def shown_task(session: Session, answer: Answer) -> None:
    """Print one task with its history and its result."""
    task: Item = answer.value
    fields: list[tuple[str, object]] = [
        ("id", task["id"]),
        ("state", task["state"]),
        ("why", why(task)),
        ("capability", task["capability"]),
        ("owner", _node(task, "owner")),
        ("home", _node(task, "home")),
        ("epoch", task["epoch"]),
        ("submitted", f"{age(task['submitted_ms'])} ago"),
        ("waited", age(task["submitted_ms"], task["started_ms"]) if task["started_ms"] else ""),
        ("took", age(task["started_ms"], task["finished_ms"]) if task["finished_ms"] else ""),
        ("kept until", _moment(task.get("kept_until_ms"))),
        ("priority", task.get("priority")),
        ("exclusive", "yes" if task.get("exclusive") else ""),
        ("key", task.get("key")),
        ("interaction", task["iid"]),
        ("goal", task["gid"]),
        ("progress", value_text(task.get("progress"), indent=None) if task.get("progress") is not None else ""),
    ]
    details(session, answer, fields, name=task["id"])
    if session.output != "table":
        return
    if task["attempts"]:
        write("\nformer awards\n")
        rows = [
            [str(a["epoch"]), shown(a["owner_name"] or a["owner"][:8]), a["ended"], shown(a.get("detail", ""))]
            for a in task["attempts"]
        ]
        table(session, ("EPOCH", "OWNER", "ENDED", "DETAIL"), rows)
    if task.get("retried"):
        write(f"\nopened again, {_times(task['retries'])}\n")
        rows = [
            [
                _moment(r["at_ms"]),
                shown(r["by"]),
                r["state"],
                str(r["epoch"]),
                shown(r["owner_name"]),
                shown(r["error"]),
            ]
            for r in task["retried"]
        ]
        table(session, ("WHEN", "BY", "AFTER IT WAS", "EPOCH", "OWNER", "WHY"), rows)
    if task.get("refused"):
        write("\nlate results, refused\n")
        table(
            session, ("EPOCH", "OWNER", "FINISHED", "WHY", "RESULT"), [_refused(task, each) for each in task["refused"]]
        )
    if task["state"] == "done":
        write(f"\nresult\n{value_text(task['result'])}\n")


def _refused(task: Item, late: Item) -> list[str]:
    """A row of a result that came after its award was over."""
    moved = [a["ended"] for a in task["attempts"] if a["epoch"] == late["epoch"]]
    why = f"award {late['epoch']} was over: {shown(moved[0])}" if moved else f"the task was over: {task['state']}"
    result = value_text(late["result"], indent=None)
    brief = result if len(result) <= RESULT_CHARS_MAX else f"{result[:RESULT_CHARS_MAX]}…"
    return [str(late["epoch"]), shown(late["owner_name"] or late["owner"][:8]), _moment(late["at_ms"]), why, brief]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _clock(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1_000))


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1_000))


def _node(task: Item, role: str) -> str:
    name, node = task.get(f"{role}_name"), task[role]
    return f"{name} ({node[:8]})" if name and node else node


class Progress:
    """One line on a terminal that says how far a task is; nothing elsewhere."""

    def __init__(self, session: Session) -> None:
        self._is_on = sys.stderr.isatty() and is_colored(session, sys.stderr) and not session.is_quiet
        self._is_written = False

    @property
    def every_s(self) -> float | None:
        """How often the task should be looked at, or None when nobody watches."""
        return PROGRESS_S if self._is_on else None

    def show(self, task: Item) -> None:
        """Say how it stands."""
        if self._is_on:
            owner = f" on {shown(task['owner_name'])}" if task.get("owner_name") else ""
            done = f", {value_text(task['progress'], indent=None)[:60]}" if task.get("progress") is not None else ""
            line = f"{task['id'][:8]} {task['state']}{owner}, {age(task['submitted_ms'])}{done}"
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            self._is_written = True

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_written:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
