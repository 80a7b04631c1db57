"""What would happen to a live mesh: a scenario made of it and of faults, one run, and who noticed what when.

Invariant: the answer speaks of the nodes by their live names, and in seconds from the moment that was asked
about; the same mesh, wishes and seed give the same answer. Neighbours: `live`, `wishes`; `written` keeps it.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import Struct

from protocol.events import PeerAlive, PeerDamped, PeerDead, PeerLeft, PeerSuspect, PeerUnreachable, StateChanged
from protocol.wire.task import TaskState
from simulations.agents import AgentModel, Oddity
from simulations.crowds import spans
from simulations.ends import ENDS
from simulations.live import LiveMesh
from simulations.progress import Course
from simulations.reports import files
from simulations.reports.building import Occasion, run_report
from simulations.reports.observer import Observer
from simulations.reports.shapes import Commands
from simulations.scenario import Expectation, Scenario, ScenarioError, checked
from simulations.seen import Happened, Seen, Stored
from simulations.setting import Setting
from simulations.wishes import Granted, Wish, granted
from simulations.work import WorkModel
from simulations.world import World
from simulations.written import written

FROM_S = 20.0  # by then all know each other, and tasks are where they were wanted
RULES = ("no-exception", "own-word", "one-result")  # what cannot be broken by what one is curious about
NOBODY = "nobody is left"
NOTICES_SHOWN = 30
NAMES_SHOWN = 3
VIEW = (PeerAlive, PeerDamped, PeerSuspect, PeerDead, PeerLeft)

_STAND_IN = re.compile(r"\bn([0-9]+)\b", re.ASCII)


class Notice(Struct, frozen=True):
    """Something about a node that others came to see: the first and the last of them, and who they are."""

    node: str
    what: str
    first_s: float
    last_s: float
    by: tuple[str, ...]
    of: int  # nodes that were up, beside itself


class Change(Struct, frozen=True):
    """What a node said of itself."""

    at_s: float
    node: str
    what: str


class Move(Struct, frozen=True):
    """A task that was given to somebody else."""

    task: str
    capability: str
    former: str
    owner: str
    at_s: float


class Forecast(Struct, frozen=True):
    """The whole answer. `one_view_s` is when all saw the same again, unless `lacking` says why they never did."""

    mesh: str
    seen_by: str
    nodes: int
    seed: int
    run_s: float
    faults: tuple[str, ...]
    notices: tuple[Notice, ...]
    changes: tuple[Change, ...]
    tasks: int
    moves: tuple[Move, ...]
    waiting: tuple[str, ...]  # tasks whose owner is lost to their home in the end, and nobody else is free
    one_view_s: float | None
    lacking: str
    ended_s: float
    broken: tuple[str, ...]
    left_out: tuple[str, ...]


class Plan(Struct, frozen=True):
    """What will be run."""

    mesh: LiveMesh
    scenario: Scenario
    granted: tuple[Granted, ...]
    run_s: float

    def text(self) -> str:
        """The scenario as TOML, with what its nodes are called."""
        nodes = self.mesh.nodes
        lines = [f"# {node.stand_in} is {json.dumps(node.name)}, region {json.dumps(node.region)}" for node in nodes]
        lines.append(f"# The mesh settles for {FROM_S:g} s; what was asked for at 10 s begins at {FROM_S + 10:g} s.")
        return "\n".join(lines) + "\n" + written(self.scenario)


def planned(mesh: LiveMesh, wishes: Sequence[Wish], *, run_s: float) -> Plan:
    """The scenario of a mesh and of what is wished for it. Raises ScenarioError."""
    if not wishes:
        raise ScenarioError("nothing is to happen: name --cut, --kill, --pause or --broker-down")
    each = (granted(wish, mesh, run_s=run_s, from_s=FROM_S) for wish in wishes)
    all_granted = tuple(sorted(each, key=lambda one: one.at_s))
    slots = Counter(node.slots for node in mesh.nodes if node.slots).most_common(1)
    usual = slots[0][0] if slots else 1
    odd = {node.stand_in: Oddity(slots=node.slots) for node in mesh.nodes if node.slots != usual}
    scenario = Scenario(
        about=f"the mesh {mesh.mesh}, as {mesh.seen_by} saw it: {_who_is_who(mesh)}",
        nodes=len(mesh.nodes),
        run_s=FROM_S + run_s,
        preset=mesh.preset,
        membership=mesh.membership,
        agents=AgentModel(slots=usual, odd=odd),
        work=WorkModel(placed=tuple(task.placed for task in mesh.tasks)),
        tasks=mesh.timers,
        gossip=mesh.gossip,
        writes=mesh.writes,
        keep_s=mesh.keep_s,
        routing=mesh.routing,
        regions=_regions(mesh),
        fault=tuple(fault for each in all_granted for fault in each.faults),
        expect=Expectation(always=RULES),
    )
    return Plan(mesh, checked(msgspec.to_builtins(scenario), origin="from-live"), all_granted, run_s)


def _regions(mesh: LiveMesh) -> dict[str, tuple[str, ...]]:
    """Who stands where, when that makes a difference."""
    if len(mesh.regions) == 1:
        return {}
    return {region: spans(node.number for node in mesh.of_region(region)) for region in mesh.regions}


def _who_is_who(mesh: LiveMesh) -> str:
    """`n1 is berlin-1, n2 is …`; a name that is not fit to be shown stands in quotes, escaped."""
    names = ((node.stand_in, node.name) for node in mesh.nodes)
    return ", ".join(f"{stand_in} is {name if name.isprintable() else json.dumps(name)}" for stand_in, name in names)


class _Story:
    """Looks on, from the first fault on."""

    wants: ClassVar[tuple[type, ...]] = (Happened, Stored)

    def __init__(self, setting: Setting, plan: Plan) -> None:
        self._setting = setting
        self._since_s = FROM_S + plan.granted[0].at_s
        self._ids = {host.id: host.name for host in setting.hosts.values()}
        self._gone: set[tuple[str, str]] = set()  # observer, subject: of whom it said something bad
        self.told: dict[tuple[str, str], dict[str, float]] = {}  # (subject, what) → observer → when first
        self.changes: list[tuple[float, str, str]] = []
        self.owners: dict[str, str] = {}  # capability → owner
        self.moves: list[tuple[float, str, str, str]] = []
        self.last_view_s = 0.0

    def on(self, seen: Seen) -> None:
        """Keep what is news."""
        now_s = self._setting.timeline.now_s
        match seen:
            case Happened():
                if isinstance(seen.event, VIEW):
                    self.last_view_s = now_s
                if now_s >= self._since_s:
                    self._happened(now_s, seen)
            case Stored(record=record) if record is not None and record.state is TaskState.AWARDED:
                owner = self._ids[record.owner]
                former = self.owners.get(record.capability, owner)
                self.owners[record.capability] = owner
                if former != owner and now_s >= self._since_s:
                    self.moves.append((now_s, record.capability, former, owner))
            case _:
                pass

    def _happened(self, now_s: float, seen: Happened) -> None:
        match seen.event:
            case PeerSuspect(name=name):
                self._note(now_s, seen.node, name, "suspect")
            case PeerDead(name=name) | PeerDamped(state="dead", name=name):
                self._note(now_s, seen.node, name, "dead")
            case PeerLeft(name=name):
                self._note(now_s, seen.node, name, "left")
            case PeerAlive(name=name) | PeerDamped(name=name):
                if (seen.node, name) in self._gone:
                    self._gone.discard((seen.node, name))
                    self.told.setdefault((name, "alive again"), {}).setdefault(seen.node, now_s)
            case PeerUnreachable(peers=peers):
                self.changes.append((now_s, seen.node, f"holds its judgement: {len(peers)} do not answer"))
            case StateChanged(state=state, reason=reason):
                self.changes.append((now_s, seen.node, f"{state}{f': {reason}' if reason else ''}"))
            case _:
                pass

    def _note(self, now_s: float, observer: str, subject: str, what: str) -> None:
        self._gone.add((observer, subject))
        self.told.setdefault((subject, what), {}).setdefault(observer, now_s)


def foretold(plan: Plan, *, seed: int, reports: Sequence[Path] = ()) -> Forecast:
    """Run it, and tell in live names; with a report in each of these files. Raises ScenarioError when one cannot be."""
    stories: list[_Story] = []

    def watch(setting: Setting) -> _Story:
        stories.append(_Story(setting, plan))
        return stories[-1]

    observer = Observer(plan.scenario)
    course = Course(plan.scenario.run_s)
    watching = [watch, *course.watch, *[observer.begin] * bool(reports)]
    world = World(plan.scenario, seed=seed, watch=watching)
    verdict = world.run()
    course.clear()
    [story] = stories
    if reports:
        files.save(run_report(Occasion("from-live", Commands()), plan.scenario, verdict, observer), reports)
    owners = {record.capability: record.owner for record in world.store.records() if record.state is TaskState.AWARDED}
    names = {node.stand_in: node.name for node in plan.mesh.nodes}
    tasks = {f"placed-{number}@1": task for number, task in enumerate(plan.mesh.tasks)}
    lacking = ENDS["one-view"](world) if any(host.is_up for host in world.hosts.values()) else NOBODY
    return Forecast(
        mesh=plan.mesh.mesh,
        seen_by=plan.mesh.seen_by,
        nodes=len(names),
        seed=seed,
        run_s=plan.run_s,
        faults=tuple(f"at {each.at_s:g} s: {each.says}" for each in plan.granted),
        notices=_notices(story.told, names),
        changes=tuple(
            Change(_since(at_s), names[node], _in_live_names(what, names)) for at_s, node, what in story.changes
        ),
        tasks=len(tasks),
        moves=tuple(
            Move(tasks[done].id, tasks[done].capability, names[former], names[owner], _since(at_s))
            for at_s, done, former, owner in story.moves
        ),
        waiting=tuple(
            task.id for done, task in tasks.items() if owners.get(done) not in _living(world, task.placed.home)
        ),
        one_view_s=max(_since(story.last_view_s), plan.granted[0].at_s) if lacking is None else None,
        lacking="" if lacking is None else _in_live_names(lacking, names),
        ended_s=max(each.ends_s or each.at_s for each in plan.granted),
        broken=tuple(f"{each.rule}: {_in_live_names(each.what, names)}" for each in verdict.violations),
        left_out=_left_out(plan.mesh),
    )


def _living(world: World, home: str) -> set[str]:
    """Who lives, as a task's home sees it; when that is gone, whoever is up."""
    host = world.hosts[home]
    if host.is_up:
        return set(host.node.membership.alive())
    return {each.id for each in world.hosts.values() if each.is_up}


def _notices(told: Mapping[tuple[str, str], Mapping[str, float]], names: Mapping[str, str]) -> tuple[Notice, ...]:
    made = [
        Notice(
            node=names[subject],
            what=what,
            first_s=_since(min(seen.values())),
            last_s=_since(max(seen.values())),
            by=tuple(names[observer] for observer in sorted(seen, key=lambda observer: (seen[observer], observer))),
            of=len(names) - 1,
        )
        for (subject, what), seen in told.items()
    ]
    return tuple(sorted(made, key=lambda notice: (notice.first_s, notice.node, notice.what)))


def _left_out(mesh: LiveMesh) -> tuple[str, ...]:
    said = [f"nodes that are gone already: {', '.join(mesh.gone)}"] if mesh.gone else []
    if mesh.tasks_left_out:
        said.append(f"{mesh.tasks_left_out} more tasks under way")
    if mesh.tasks_open:
        said.append(f"tasks that nobody has yet: {mesh.tasks_open}")
    others = [f"those of other nodes (all play with {mesh.seen_by}'s)"] * (len(mesh.nodes) > 1)
    if others or mesh.settings_left_out:
        said.append(f"settings: {', '.join((*others, *mesh.settings_left_out))}")
    return tuple(said)


def _since(at_s: float) -> float:
    return round(at_s - FROM_S, 3)


def _in_live_names(text: str, names: Mapping[str, str]) -> str:
    return _STAND_IN.sub(lambda found: names.get(found[0], found[0]), text)


# --- for people


def told(forecast: Forecast) -> list[str]:
    """The answer, line by line; names of others are as they came, so whoever prints makes them harmless."""
    nodes, tasks = (f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in _counted(forecast))
    lines = [
        f"{nodes} of mesh {forecast.mesh} as {forecast.seen_by} sees it, {tasks} under way, {forecast.run_s:g} s, "
        f"seed {forecast.seed}",
        *(f"  not played: {each}" for each in forecast.left_out),
        *forecast.faults,
        "",
        "who notices what",
        *_told_notices(forecast),
    ]
    if forecast.changes:
        lines += ["", "what nodes say of themselves", *_told_changes(forecast.changes)]
    if forecast.tasks:
        lines += ["", "tasks", *_told_moves(forecast)]
    lines += ["", _told_view(forecast)]
    return [*lines, *(f"BROKEN {each}" for each in forecast.broken)]


def _counted(forecast: Forecast) -> tuple[tuple[int, str], tuple[int, str]]:
    return (forecast.nodes, "node"), (forecast.tasks, "task")


def _told_notices(forecast: Forecast) -> list[str]:
    shown = forecast.notices[:NOTICES_SHOWN]
    width = max((len(notice.node) for notice in shown), default=0)
    lines = []
    for notice in shown:
        count = len(notice.by)
        who = ", ".join(notice.by) if count <= NAMES_SHOWN else f"{count} of {notice.of}, first {notice.by[0]}"
        when = f"{notice.first_s:8.2f} s" + (f" to {notice.last_s:.2f} s" if count > 1 else "")
        lines.append(f"  {when:<24} {notice.node:<{width}}  {notice.what:<11}  by {who}")
    if len(forecast.notices) > NOTICES_SHOWN:
        lines.append(f"  … and {len(forecast.notices) - NOTICES_SHOWN} more: -o json has all")
    return lines or [f"  {NOBODY} to notice anything" if forecast.lacking == NOBODY else "  nobody notices anything"]


def _told_changes(changes: Sequence[Change]) -> list[str]:
    width = max(len(change.node) for change in changes)
    lines = [f"  {change.at_s:8.2f} s  {change.node:<{width}}  {change.what}" for change in changes[:NOTICES_SHOWN]]
    more = len(changes) - NOTICES_SHOWN
    return [*lines, f"  … and {more} more: -o json has all"] if more > 0 else lines


def _told_moves(forecast: Forecast) -> list[str]:
    lines = [
        f"  {move.at_s:8.2f} s  {move.task}  {move.capability}  from {move.former} to {move.owner}"
        for move in forecast.moves[:NOTICES_SHOWN]
    ]
    if len(forecast.moves) > NOTICES_SHOWN:
        lines.append(f"  … and {len(forecast.moves) - NOTICES_SHOWN} more: -o json has all")
    stay = forecast.tasks - len({*forecast.waiting, *(move.task for move in forecast.moves)})
    lines += [f"  {task} waits in the end: nobody who can do it is there and free" for task in forecast.waiting]
    return [*lines, f"  {stay} of {forecast.tasks} stay where they are"]


def _told_view(forecast: Forecast) -> str:
    if forecast.lacking == NOBODY:
        return NOBODY
    if forecast.one_view_s is None:
        return f"no one view by the end: {forecast.lacking}"
    after_s = forecast.one_view_s - forecast.ended_s
    when = f"{after_s:.2f} s after the last fault" if after_s > 0 else "by the end of the last fault"
    return f"one view at {forecast.one_view_s:.2f} s, {when}"
