"""What the mesh tells while it works, as lines for a reader: pure, fed with the events of `/v1/events`.

Invariant: an event that comes twice (each node is listened to, and a stream may be resumed) is told
once; a line says only what an event said. Neighbours: `demo` listens and kills, `demo_show` prints.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from meshd.observe.text import missed

Event = Mapping[str, object]
Tone = Literal["plain", "good", "work", "warn", "bad", "quiet"]

SHORT_ID_CHARS = 8
NAMED_TASKS_MAX = 4  # moves told one by one; the rest is counted in the proof
SHARES_TOLD = (10, 25, 50, 75, 90)


@dataclass(frozen=True)
class Line:
    """One thing to say; `node` is a name or "" for the mesh as a whole."""

    text: str
    node: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True)
class Held:
    """An award that stands: its number and its owner's name."""

    epoch: int
    owner: str


@dataclass(frozen=True)
class Share:
    """What one node has done and has in hand."""

    done: int
    running: int


@dataclass
class Story:
    """The audit as told so far. `total` pieces are expected; `goal` is the id of the task that asks for them."""

    nodes: tuple[str, ...]
    total: int
    goal: str = ""
    names: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)  # task → what it is about
    killed: str = ""  # at any time
    down: str = ""  # now
    dead: dict[str, float] = field(default_factory=dict)  # name → seconds after the first suspicion
    detached: set[str] = field(default_factory=set)
    moved: dict[str, tuple[str, str]] = field(default_factory=dict)  # task → from, to
    commits: dict[str, set[tuple[int, str]]] = field(default_factory=dict)
    refused: set[tuple[str, int]] = field(default_factory=set)
    _held: dict[str, Held] = field(default_factory=dict)
    _running: dict[str, int] = field(default_factory=dict)
    _lapsed: dict[str, tuple[int, str]] = field(default_factory=dict)
    _states: dict[str, str] = field(default_factory=dict)
    _told: set[tuple[object, ...]] = field(default_factory=set)

    def on_event(self, event: Event) -> list[Line]:
        """Fold one event in; what is new for a reader comes back."""
        tell = _TELLERS.get(str(event.get("kind")))
        return list(tell(self, event)) if tell else []

    def name(self, node: object) -> str:
        """The name of a node that an event names by its id, or by its name."""
        return self.names.get(str(node), str(node)[:SHORT_ID_CHARS])

    @property
    def done(self) -> int:
        """Pieces whose result was committed, as far as was heard."""
        return sum(task != self.goal for task in self.commits)

    def shares(self) -> dict[str, Share]:
        """What each node has done and is doing, the goal itself left out."""
        done = dict.fromkeys(self.nodes, 0)
        running = dict.fromkeys(self.nodes, 0)
        for task, commits in self.commits.items():
            owner = max(commits)[1]
            if task != self.goal and owner in done:
                done[owner] += 1
        for task in self._running:
            owner = self._held[task].owner if task in self._held else ""
            if task != self.goal and owner in running:
                running[owner] += 1
        return {node: Share(done[node], running[node]) for node in self.nodes}

    def running_on(self, node: str) -> list[str]:
        """Pieces that `node` began and has not ended, the longest running first."""
        return [
            task
            for task in self._running
            if task != self.goal and task in self._held and self._held[task].owner == node
        ]

    def label(self, task: str) -> str:
        """What people call a task: what it is about, else its short id."""
        if task == self.goal:
            return "the audit itself"
        about = self.labels.get(task)
        return f"{about} ({task[:SHORT_ID_CHARS]})" if about else f"task {task[:SHORT_ID_CHARS]}"

    def is_first(self, *what: object) -> bool:
        """True the first time that this is told."""
        if what in self._told:
            return False
        self._told.add(what)
        return True

    def hold(self, task: str, held: Held) -> str:
        """`held` stands unless a later award does; the owner before it comes back, "" when there was none."""
        former = self._held.get(task)
        if former is not None and former.epoch >= held.epoch:
            return ""
        self._held[task] = held
        self._running.pop(task, None)
        return former.owner if former else ""

    def begin(self, task: str, held: Held) -> None:
        """The owner's agent began."""
        self.hold(task, held)
        if task not in self.commits and self._held[task].epoch == held.epoch:
            self._running[task] = held.epoch

    def end(self, task: str) -> None:
        """Nobody works on it any more."""
        self._running.pop(task, None)

    def lapse(self, task: str, epoch: int, evidence: str) -> None:
        """The award with this number is lost."""
        self._lapsed[task] = (epoch, evidence)

    def lapsed(self, task: str, epoch: int) -> str:
        """Why the award before `epoch` was lost, or ""."""
        lost_epoch, evidence = self._lapsed.get(task, (0, ""))
        return evidence if lost_epoch < epoch else ""


def _int(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _node_is_up(story: Story, event: Event) -> Iterator[Line]:
    name = str(event.get("name") or "")
    if name:
        story.names[str(event.get("peer"))] = name
    if name in story.dead and story.is_first("back", name, event.get("life")):
        del story.dead[name]
        yield Line("is back", name, "good")


def _suspected(story: Story, event: Event) -> Iterator[Line]:
    name = story.name(event.get("peer"))
    # A node under load is suspected now and then, and answers; only the one that was killed is news.
    if name == story.killed and story.is_first("suspect", name, event.get("life")):
        accuser = story.name(event.get("accuser"))
        why = "nobody listens for it any more" if event.get("evidence") == "absent" else "it does not answer"
        yield Line(f"suspects {name}: {why}", accuser, "warn")


def _declared_dead(story: Story, event: Event) -> Iterator[Line]:
    name = story.name(event.get("peer"))
    if story.is_first("dead", name, event.get("life")):
        after_s = event.get("after_s")
        seconds = float(after_s) if isinstance(after_s, int | float) else 0.0
        story.dead[name] = seconds
        accusers = event.get("accusers")
        by = sorted(story.name(accuser) for accuser in accusers) if isinstance(accusers, list) else []
        said = f", by {' and '.join(by)}" if by else ""
        yield Line(f"declared dead {seconds:.1f} s after the first suspicion{said}", name, "bad")


def _left(story: Story, event: Event) -> Iterator[Line]:
    name = story.name(event.get("peer"))
    if story.is_first("left", name, event.get("life")):
        yield Line("left", name, "quiet")


def _state_changed(story: Story, event: Event) -> Iterator[Line]:
    name, state = story.name(event.get("node")), str(event.get("state"))
    former, story._states[name] = story._states.get(name), state
    if not story.killed or state == former:
        return
    if state in ("detached", "islanded"):
        story.detached.add(name)
        yield Line(f"{state}: goes on with what it holds, judges nobody", name, "warn")
    elif state == "joined" and name in story.detached:
        story.detached.discard(name)
        yield Line("joined again", name, "good")


def _awarded(story: Story, event: Event) -> Iterator[Line]:
    task, epoch, owner = str(event.get("task")), _int(event.get("epoch")), story.name(event.get("owner"))
    story.hold(task, Held(epoch, owner))
    evidence = story.lapsed(task, epoch)
    if not evidence or not story.is_first("moved", task, epoch):
        return
    former = story.moved.get(task, (story.name(event.get("former")) or story.killed, ""))[0]
    story.moved[task] = (former, owner)
    if len(story.moved) <= NAMED_TASKS_MAX:
        where = f"awards anew to {owner}" if owner != former else f"awards to {owner} once more"
        yield Line(f"{where}: {story.label(task)}, award {epoch}", story.name(event.get("node")), "work")


def _started(story: Story, event: Event) -> Iterator[Line]:
    story.begin(str(event.get("task")), Held(_int(event.get("epoch")), story.name(event.get("node"))))
    return iter(())


def _declined(story: Story, event: Event) -> Iterator[Line]:
    story.end(str(event.get("task")))
    return iter(())


def _done(story: Story, event: Event) -> Iterator[Line]:
    task, owner = str(event.get("task")), story.name(event.get("owner"))
    story.end(task)
    before = _percent(story)
    story.commits.setdefault(task, set()).add((_int(event.get("epoch")), owner))
    if any(before < share <= _percent(story) for share in SHARES_TOLD):
        counts = ", ".join(f"{node} {one.done}" for node, one in story.shares().items())
        yield Line(f"{story.done} of {story.total} pieces done ({counts})", "", "quiet")


def _percent(story: Story) -> float:
    return 100 * story.done / max(story.total, 1)


def _failed(story: Story, event: Event) -> Iterator[Line]:
    task = str(event.get("task"))
    story.end(task)
    if story.is_first("failed", task, event.get("epoch")):
        yield Line(f"{story.label(task)} failed: {event.get('message')}", story.name(event.get("node")), "bad")


def _lapsed(story: Story, event: Event) -> Iterator[Line]:
    task, epoch, owner = str(event.get("task")), _int(event.get("epoch")), story.name(event.get("owner"))
    evidence, silent_s = str(event.get("evidence")), event.get("silent_s")
    story.lapse(task, epoch, evidence)
    story.end(task)
    story.moved.setdefault(task, (owner, ""))
    if story.is_first("lapsed", owner, evidence):
        seconds = float(silent_s) if isinstance(silent_s, int | float) else 0.0
        watcher = story.name(event.get("node"))
        whose = f"owner {owner}" if owner != watcher else "its own earlier life"
        text = f"{whose} {missed(evidence, seconds)}: its tasks move on"
        if owner == watcher and evidence == "node_restarted":
            text = "it has restarted: the tasks of its earlier life move on"
        yield Line(text, watcher, "warn")


def _result_refused(story: Story, event: Event) -> Iterator[Line]:
    task, epoch = str(event.get("task")), _int(event.get("epoch"))
    story.refused.add((task, epoch))
    story.end(task)
    if story.is_first("refused", task, epoch):
        text = f"a late result of {story.label(task)} is refused: award {epoch} is over"
        yield Line(text, story.name(event.get("node")), "warn")


def _adopted(story: Story, event: Event) -> Iterator[Line]:
    node, home = story.name(event.get("node")), story.name(event.get("home"))
    if event.get("tasks") and story.killed and story.is_first("adopted", node, home, event.get("why")):
        whose = "its own tasks" if event.get("why") == "restarted" else f"the tasks of {home}"
        yield Line(f"takes up {whose} again" if home == node else f"takes up {whose}", node, "work")


_TELLERS: dict[str, Callable[[Story, Event], Iterator[Line]]] = {
    "peer_alive": _node_is_up,
    "peer_suspect": _suspected,
    "peer_dead": _declared_dead,
    "peer_left": _left,
    "state_changed": _state_changed,
    "task_awarded": _awarded,
    "task_started": _started,
    "award_declined": _declined,
    "task_done": _done,
    "task_failed": _failed,
    "lease_lapsed": _lapsed,
    "result_refused": _result_refused,
    "tasks_adopted": _adopted,
}
