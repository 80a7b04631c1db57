"""The course of the demo: nodes up, work out, one node killed, the answer and the proof.

Invariant: what is shown and judged was said by a node; the director's own knowledge is whom it
killed, and when. Neighbours: `demo_mesh` has the processes, `demo_story` the words, `demo` the end.
"""

import queue
from collections.abc import Callable
from dataclasses import dataclass

from cli.demo_listen import Event, Listener
from cli.demo_mesh import HOST, NAMES, DemoError, Mesh, until
from cli.demo_proof import Proof, prove
from cli.demo_show import Screen
from cli.demo_story import Line, Story, Tone
from cli.exits import Refusal
from cli.output import count
from meshd.demo.pieces import Installation

GOAL = "environment-audit@1"
PIECE = "package-audit@1"
AT_ONCE = 12  # twice the slots of three nodes: the next piece is at hand when one ends
MEET_S = 30.0
WORK_S = 600.0
POLL_S = 0.5
WARM_S = 2.5  # by then every node has its share
WARM_PARTS = 10  # or when a tenth is done
LONG_S = 0.15  # a task that has run for so long is none of the small ones: it is still running when the signal comes
DETACH_S = 15.0
OUTAGE_S = 6.0  # longer than a lease and than the shortest suspicion: time enough for a false word
DEAD_S = 20.0
PAGE = 200

Value = dict[str, object]


@dataclass(frozen=True)
class Outcome:
    """What the mesh answered, and what its record proves."""

    report: Value
    proof: Proof


class Director:
    """Runs one demo on `mesh`. `step` says what is being done, for whoever has to report a failure."""

    def __init__(self, mesh: Mesh, screen: Screen, *, victim: str, pieces: int, seconds: Callable[[], float]) -> None:
        self._mesh = mesh
        self._screen = screen
        self._victim = victim
        self._seconds = seconds
        self._pieces = Installation().pieces()[: pieces or None]
        self._story = Story(nodes=NAMES, total=len(self._pieces))
        self._heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._listeners: list[Listener] = []
        self._killed_at = self._began_at = 0.0
        self._seen: dict[str, float] = {}  # running task → when it was first seen running
        self.step = "beginning"

    def run(self) -> Outcome:
        """From nothing to the proof. Raises DemoError, Refusal."""
        try:
            self._start()
            self._meet()
            goal = self._submit()
            ended = self._follow(goal)
            self._see_the_dead()
        finally:
            self._screen.clear_bar()
            for listener in self._listeners:
                listener.close()
        return self._judge(goal, ended)

    # --- the steps

    def _start(self) -> None:
        self.step = "starting the nodes"
        for node in self._mesh.nodes.values():
            node.prepare()
        host = self._mesh[HOST]
        host.begin()
        host.ready()
        self._say("up; it hosts the nats-server, and so the record", HOST, "good")
        token = self._mesh.invitation()
        guests = [self._mesh[name] for name in NAMES if name != HOST]
        for guest in guests:
            guest.begin("--join", token)
        for guest in guests:
            guest.ready()
            self._say("up, with an invitation from a", guest.name, "good")

    def _meet(self) -> None:
        self.step = "finding each other"
        if not until(lambda: all(self._sees_all(name) for name in NAMES), MEET_S):
            raise DemoError(f"the nodes did not find each other within {MEET_S:.0f} s", self._mesh[HOST])
        self._say(f"each node sees three alive, and {PIECE} on all of them", tone="good")

    def _sees_all(self, name: str) -> bool:
        try:
            peers = _rows(self._ask(name, "peers"), "peers")
            capabilities = _rows(self._ask(name, "capabilities"), "capabilities")
        except Refusal:
            return False
        self._story.names |= {str(peer["id"]): str(peer["name"]) for peer in peers}
        providers = [row.get("providers") for row in capabilities if row["name"] == PIECE]
        is_offered = any(isinstance(found, list) and len(found) == len(NAMES) for found in providers)
        return is_offered and sum(peer["state"] == "alive" for peer in peers) == len(NAMES)

    def _submit(self) -> str:
        self.step = "submitting the audit"
        for name in NAMES:
            if name != self._victim:
                self._listeners.append(Listener(name, self._mesh[name].client, self._heard))
        wanted = {"capability": GOAL, "input": {"pieces": len(self._pieces), "at_once": AT_ONCE}}
        goal = str(self._mesh[HOST].client().post("v1", "tasks", body=wanted, key="demo").value["id"])
        self._story.goal = goal
        self._began_at = self._seconds()
        self._say(f"takes the task: audit this Python, {count(len(self._pieces), 'piece')}, a task each", HOST)
        return goal

    def _follow(self, goal: str) -> Value:
        """Tell what happens until the goal has ended; kill, and bring back, on the way."""
        self.step = "working"
        polled_at = 0.0
        while self._seconds() - self._began_at < WORK_S:
            self._hear()
            if not self._story.killed:
                if self._is_time():
                    self._kill()
            elif self._story.down == HOST and self._has_been_away():
                self._bring_back()
            if self._seconds() - polled_at >= POLL_S and self._story.down != HOST:
                polled_at = self._seconds()
                self._look_after_the_others()
                task = self._task(goal)
                self._learn_total(task)
                if task is not None and task["state"] in ("done", "failed", "cancelled", "poison"):
                    return self._ended(task)
        raise DemoError(f"the audit did not end within {WORK_S:.0f} s", self._mesh[self._reader])

    def _learn_total(self, task: Value | None) -> None:
        """How many pieces there are is for the agent to say."""
        progress = task.get("progress") if task else None
        if isinstance(progress, dict) and isinstance(progress.get("of"), int):
            self._story.total = progress["of"]

    def _look_after_the_others(self) -> None:
        for name in NAMES:
            if name != self._story.down and not self._mesh[name].is_running():
                raise DemoError(f"node {name} ended, and nobody killed it", self._mesh[name])

    def _ended(self, task: Value) -> Value:
        if task["state"] != "done":
            raise DemoError(f"the audit ended {task['state']}: {task.get('error')}", self._mesh[self._reader])
        if not self._story.killed:
            raise DemoError(f"the work was over before {self._victim} held any of it; take more pieces")
        self._hear()
        self._screen.clear_bar()
        report = _report(task)
        self._say(f"the audit is done: {report['pieces']} of {len(_asked(report))} pieces are in it", HOST, "good")
        return task

    def _see_the_dead(self) -> None:
        """A killed node is declared dead in its own time, maybe after the work is over."""
        self.step = "waiting for the verdict on the killed node"
        if self._victim == HOST:
            return
        if not until(self._is_declared_dead, DEAD_S):
            raise DemoError(f"{self._victim} was not declared dead within {DEAD_S:.0f} s", self._mesh[self._reader])

    def _is_declared_dead(self) -> bool:
        self._hear()
        return self._victim in self._story.dead

    def _judge(self, goal: str, ended: Value) -> Outcome:
        """Read the record back through a node that did not accept the work, and through another."""
        self.step = "reading the record back"
        reader = self._reader
        heard_twice = [task for task, commits in self._story.commits.items() if len(commits) > 1]
        if heard_twice:  # the record keeps one end only, so this is asked of the events
            raise DemoError(f"two commits of one task were heard: {', '.join(heard_twice)}", self._mesh[reader])
        status = self._ask(reader, "status")
        record = status["record"]
        copies, where = (record["copies"], record["where"]) if isinstance(record, dict) else (0, "?")
        tasks = self._read(reader, str(ended["gid"]))
        second = next(name for name in NAMES if name != reader and (name != self._victim or name == HOST))
        if _ends(tasks) != _ends(self._read(second, str(ended["gid"]))):
            raise DemoError(f"{reader} and {second} read different records", self._mesh[reader])
        report = _report(ended)
        proof = prove(
            tasks,
            goal=goal,
            pieces=_asked(report),
            read_from=reader,
            read_alike_by=second,
            copies=int(str(copies)),
            kept_on=str(where),
        )
        return Outcome(report, proof)

    # --- killing

    def _is_time(self) -> bool:
        """True when the victim (for the host of the record: another node) is in the middle of a task."""
        busy = [name for name in NAMES if (name != HOST if self._victim == HOST else name == self._victim)]
        running = {task for name in busy for task in self._story.running_on(name)}
        self._seen = {task: self._seen.get(task, self._seconds()) for task in running}
        is_long = any(self._seconds() - since >= LONG_S for since in self._seen.values())
        is_spread = self._story.done * WARM_PARTS >= self._story.total
        if is_long and (is_spread or self._seconds() - self._began_at >= WARM_S):
            return True
        return bool(running) and self._story.done * 2 >= self._story.total  # there may be no long ones

    def _kill(self) -> None:
        ended = self._mesh[self._victim].kill()
        self._story.killed = self._story.down = self._victim
        self._killed_at = self._seconds()
        server = ", nats-server too" if self._victim == HOST else ""
        self._say(f"kill -9 in the middle of its work{server}: {len(ended)} processes", self._victim, "bad")

    def _has_been_away(self) -> bool:
        away_s = self._seconds() - self._killed_at
        are_detached = self._story.detached >= set(NAMES) - {HOST}
        return away_s >= DETACH_S or (are_detached and away_s >= OUTAGE_S)

    def _bring_back(self) -> None:
        away_s = self._seconds() - self._killed_at
        dead = ", ".join(sorted(self._story.dead)) or "nobody"
        self._say(f"is started again after {away_s:.0f} s; declared dead meanwhile: {dead}", HOST)
        self._mesh[HOST].begin()
        self._mesh[HOST].ready()
        self._story.down = ""
        self._say("up again, and its record with it", HOST, "good")

    # --- asking

    @property
    def _reader(self) -> str:
        """The first node that neither accepted the work nor was killed."""
        return next(name for name in NAMES if name not in (HOST, self._victim))

    def _hear(self) -> None:
        """Take in what was heard, waiting a moment for the first."""
        try:
            heard = [self._heard.get(timeout=0.1)]
            while not self._heard.empty():
                heard.append(self._heard.get_nowait())
        except queue.Empty:
            return
        finally:
            self._screen.bar(self._story)
        for event in heard:
            if event["kind"] == "lease_lapsed":
                self._name(str(event.get("task")))
            for line in self._story.on_event(event):
                self._screen.say(line)
        self._screen.bar(self._story)

    def _ask(self, name: str, *path: str, gid: str = "", cursor: str = "") -> Value:
        limit = PAGE if gid else None
        value = self._mesh[name].client().get("v1", *path, gid=gid, cursor=cursor, limit=limit).value
        return value if isinstance(value, dict) else {}

    def _name(self, task: str) -> None:
        """Learn what a task that is about to move is about: its key ends in kind and name of the piece."""
        if task not in self._story.labels and task != self._story.goal:
            key = str((self._task(task) or {}).get("key", ""))
            self._story.labels[task] = key.rpartition("/")[2]

    def _task(self, task: str) -> Value | None:
        try:
            return self._ask(self._reader, "tasks", task)
        except Refusal:
            return None  # the record is out of reach just now; asked again soon

    def _read(self, name: str, gid: str) -> list[Value]:
        """Every task of the goal, as this node reads the record."""
        tasks: list[Value] = []
        cursor = ""
        while True:
            page = self._ask(name, "tasks", gid=gid, cursor=cursor)
            tasks += _rows(page, "tasks")
            cursor = str(page.get("next") or "")
            if not cursor:
                return tasks

    def _say(self, text: str, node: str = "", tone: Tone = "plain") -> None:
        self._screen.say(Line(text, node, tone))


def _report(task: Value) -> Value:
    report = task["result"]
    if not isinstance(report, dict):
        raise DemoError("the audit's result is no report")
    return report


def _asked(report: Value) -> list[str]:
    """The pieces that the audit asked for, as its record says."""
    asked = report.get("asked")
    return [str(piece) for piece in asked] if isinstance(asked, list) else []


def _rows(page: Value, name: str) -> list[Value]:
    rows = page.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _ends(tasks: list[Value]) -> list[tuple[object, ...]]:
    """What two readers of one record must agree on."""
    return sorted((str(task["id"]), task["state"], task["epoch"], task["owner"], task["finished_ms"]) for task in tasks)
