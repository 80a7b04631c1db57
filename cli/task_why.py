"""Why a task went where it went, as a story; and the tasks of a goal as a tree.

Neighbours: `tasks` has the commands; the API has told all of it already, here it is only put into words.
"""

import time

from cli.client import Answer
from cli.output import Item, age, details, listing, table, write
from cli.session import Session
from cli.task_show import why
from meshd import clock
from meshd.observe.text import shown

_SAID = {
    "silent": "did not answer",
    "absent": "was not there",
    "late": "answered too late",
    "unheard": "was not waited for: somebody was good enough",
    "unasked": "answered unasked",
    "reserved": "had it reserved",
}
_ENDED = {
    "silent": "fell silent",
    "absent": "was gone",
    "node_restarted": "began a new life",
    "busy": "declined, all slots taken",
    "draining": "declined, taking no new work",
    "no_agent": "declined, having no such agent",
    "deadline": "declined, the deadline being past",
    "drained": "gave it back, leaving",
    "unrenewed": "gave it back, having been without the record for a lease",
}


def story(session: Session, answer: Answer) -> None:
    """Print what decided about one task, oldest first."""
    told, task = answer.value, answer.value["task"]
    if session.output != "table":
        details(session, answer, (), name=task["id"])
        return
    write(f"{_at(task['submitted_ms'])}  {shown(task.get('submitter') or 'somebody')} submitted {task['capability']}")
    retried = task.get("retried") or ()
    first_home = "" if retried else f" at {_name(task, 'home')}"  # who opens a task again is its home from then on
    write(f"{first_home}, route {task.get('route', 'auto')}\n")
    happened = [(each["at_ms"], _move(each)) for each in task["attempts"]]  # each is why the next search began
    happened += [(each["at_ms"], _search(each)) for each in told["rounds"]]
    happened += [(each["at_ms"], _reopened(each)) for each in retried]
    happened += [(each["at_ms"], _refused(each)) for each in task.get("refused") or ()]
    for at_ms, text in sorted(happened, key=lambda each: each[0]):
        write(f"{_at(at_ms)}  {text}\n")
    write(_end(task, told))


def _search(told: Item) -> str:
    given = f"given to {shown(told['owner_name'])}, epoch {told['epoch']}" if told["owner"] else "nobody took it"
    lines = [f"{told['gear']}, because {shown(told['why'])}: {given}"]
    if told["asked"]:
        lines[0] += f"; {told['asked']} asked, {told['took_ms']} ms"
    lines += [f"    {_said(each)}" for each in told["answers"]]
    if told["strays"]:
        lines.append(f"    {told['strays']} more answers came late, twice or unasked, and changed nothing")
    return "\n".join(lines)


def _said(told: Item) -> str:
    who = shown(told["node_name"])
    if told["said"] == "bid":
        terms = f"finish {told['finish_ms']:.0f} ms (queue {told['queue_delay_ms']}, takes {told['latency_ms']}"
        terms += f" ± {told['deviation_ms']}), success {told['success']:.2f}"
        terms += f", cost {told['cost_ms']:.0f}, lapses {told['lapses_ms']:.0f}"
        return f"{who} bid {told['score']:.0f}, from {terms}"
    if told["said"] == "pass":
        return f"{who} passed: {shown(told['reason'])}"
    return f"{who} {_SAID.get(told['said'], shown(told['said']))}"


def _move(told: Item) -> str:
    detail = f": {shown(told['detail'])}" if told.get("detail") else ""
    ended = _ENDED.get(told["ended"], f"gave it back, {shown(told['ended'])}")
    return f"{shown(told['owner_name'])} {ended}, epoch {told['epoch']}{detail}"


def _refused(told: Item) -> str:
    return f"a late result of {shown(told['owner_name'])}, epoch {told['epoch']}, was refused"


def _reopened(told: Item) -> str:
    why = f": {shown(told['error'])}" if told["error"] else ""
    return f"{shown(told['by'])} had it opened again, after it was {told['state']} in epoch {told['epoch']}{why}"


def _end(task: Item, told: Item) -> str:
    if told["next_try_ms"] is not None:
        left_s = max(0.0, told["next_try_ms"] / 1_000 - clock.wall_ms() / 1_000)
        return f"now       it waits after {told['failures']} failures; next try in {left_s:.1f} s\n"
    if task["finished_ms"]:
        reason = f": {shown(why(task))}" if task["error"] else f" by {_name(task, 'owner')}"
        return f"{_at(task['finished_ms'])}  {task['state']}{reason}\n"
    if task.get("waits_for"):
        return f"now       {task['state']}; {shown(why(task))}\n"
    return f"now       {task['state']}" + (f" at {_name(task, 'owner')}" if task["owner"] else "") + "\n"


def _name(task: Item, role: str) -> str:
    return shown(task.get(f"{role}_name") or task[role][:8])


def _at(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1_000))


def tree(session: Session, answer: Answer) -> None:
    """Print the tasks of a goal, each under its parent."""
    found: list[Item] = answer.value["tasks"]
    if session.output != "table":
        listing(session, answer, found, (), name=lambda line: line["task"]["id"], empty="")
        return
    rows = []
    for line in found:
        task = line["task"]
        took = age(task["started_ms"], task["finished_ms"]) if task["finished_ms"] and task["started_ms"] else ""
        name = f"{'  ' * line['depth']}{task['id'][:8]}"
        owner = _name(task, "owner") if task["owner"] else ""
        rows.append([name, task["state"], task["capability"], owner, took, shown(why(task))])
    table(session, ("TASK", "STATE", "CAPABILITY", "OWNER", "TOOK", "WHY"), rows)
    if answer.value["is_cut"]:
        write("and more, which are not shown\n")
