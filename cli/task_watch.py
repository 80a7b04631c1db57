"""`meshctl tasks watch`: what happens to tasks, as it happens.

Invariant: nothing is left out silently: what the stream lost is said on stderr, and so is a daemon that went away;
when it is back, within `AWAY_S`, the stream goes on where it was. Neighbours: the events are those of
`protocol.events`, read as plain JSON.
"""

import time

import msgspec

from cli.client import Client
from cli.exits import Refusal
from cli.output import Item, note, painted, write
from cli.session import Session
from cli.waiting import Deadline
from meshd.observe.text import shown

AWAY_S = 60.0  # a daemon that is started again is back by then
GONE = ("unreachable", "cut_off")
STAMP = frozenset({"seq", "time_ms", "node", "kind", "task", "iid", "epoch"})
NODES = frozenset({"owner", "former", "home"})


class Names:
    """Names of nodes by id, read again when an unknown one turns up."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._by_id: dict[str, str] = {}

    def of(self, node: str) -> str:
        """The name, or the beginning of the id of a node that nobody knows."""
        if node and node not in self._by_id:
            peers = self._client.get("v1", "peers").value["peers"]
            self._by_id |= {node: node[:8]} | {peer["id"]: peer["name"] for peer in peers}
        return shown(self._by_id.get(node, ""))


def follow(session: Session, id_: str) -> None:
    """Print events of tasks, or of the one whose id begins with `id_`, until the daemon goes for good.

    Raises Refusal.
    """
    client = Client(session)
    task = str(client.get("v1", "tasks", id_).value["id"]) if id_ else ""
    names, last_id, has_begun, away = Names(client), "", False, Deadline(None)
    while True:
        is_over = True
        try:
            for seen_id, kind, line in client.events(last_id):
                last_id, has_begun, away = seen_id or last_id, True, Deadline(None)
                if kind == "lagged":
                    is_over = False  # it goes on where it was, and says what it missed
                elif kind == "missed":
                    note(session, f"some events were missed: {_missed(line)}")
                else:
                    _print(session, names, task, line)
            has_begun = True
        except Refusal as refusal:
            if not has_begun or refusal.body["code"] not in GONE:
                raise
        if is_over and away.seconds is None:
            away = Deadline(AWAY_S)
            note(session, f"the daemon at {client.where} went away; it is waited for, {AWAY_S:g} s at most")
        if is_over and not away.pause():
            raise client.gone()


def _missed(line: bytes) -> str:
    said: Item = msgspec.json.decode(line)
    between = f"{said['from']} to {said['to']}, " if "from" in said else ""
    return shown(f"{between}{said['why']}")


def _print(session: Session, names: Names, task: str, line: bytes) -> None:
    event: Item = msgspec.json.decode(line)
    concerned = event.get("task", "")
    if task not in ("", concerned) or (not concerned and event["kind"] != "tasks_adopted"):
        return
    match session.output:
        case "json" | "jsonl":
            write(line.decode("utf-8", "replace") + "\n")
        case "name":
            write(f"{shown(str(concerned))}\n")
        case _:
            write(f"{_sentence(session, names, event)}\n")


def _sentence(session: Session, names: Names, event: Item) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(event["time_ms"] / 1_000))
    rest = [
        f"{name}={names.of(str(value)) if name in NODES else shown(str(value))}"
        for name, value in event.items()
        if name not in STAMP and value not in ("", None, [])
    ]
    epoch = f" #{event['epoch']}" if event.get("epoch") else ""
    kind = str(event["kind"]).removeprefix("task_")
    where, task = names.of(str(event["node"])), shown(str(event.get("task", ""))[:8])
    return f"{at}  {where:<8}  {painted(f'{kind:<15}', session)}  {task}{epoch}  {' '.join(rest)}"
