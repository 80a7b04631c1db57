"""What a run is made of: nodes, links, store, agents, work, faults, and what is expected of it.

Invariant: a scenario that can be read can be run; what is wrong with one is said with its key.
Neighbours: `scenarios/*.toml` are the stock; `world` runs one with a seed.
"""

import runpy
import tomllib
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from traceback import walk_tb
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, structs

from protocol.gossip import GossipSettings
from protocol.ids import is_token
from protocol.link import LinkSettings
from protocol.node import NodeSettings
from protocol.presets import PRESETS, MembershipSettings
from protocol.routing import POLICIES
from protocol.watched import TaskSettings
from simulations.agents import AgentModel, Seconds
from simulations.broker import BrokerModel
from simulations.checks import CHECKS
from simulations.crowds import ALL, span
from simulations.ends import ENDS, OF_WORK
from simulations.faults import Fault, Links, last_s
from simulations.figures import FIGURES, OF_TIME
from simulations.flaws import flaw_of, nobody_between
from simulations.links import LinkModel, clash
from simulations.sights import SIGHTS
from simulations.signing import Wire
from simulations.store import StoreModel
from simulations.wording import meant, reading, trouble_of, worded
from simulations.work import WorkModel

TRACE = b'{"trace":'  # how every file of `recorded` begins
FIGURE_MAX = 1e9  # so many bytes a second no node says, and a bound that nothing exceeds is none
RUN_S_MAX = 172_800  # two days: past the tombstones
FILE_BYTES_MAX = 16 << 20  # ten thousand faults take two
NODES_MAX = 2_048  # what they know of one another takes 1.4 KB a pair: 6 GiB


class ScenarioError(ValueError):
    """A scenario that cannot be run; its text says which key is wrong, and why."""


class Expectation(Struct, frozen=True, forbid_unknown_fields=True):
    """Rules that always hold (all, unless named), promises with seconds, what must be seen, what must not, and figures
    with the most that each may be.
    """

    always: tuple[str, ...] = tuple(CHECKS)
    eventually: dict[str, Seconds] = {}
    sometimes: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    figures: dict[str, Annotated[float, Meta(ge=0, le=FIGURE_MAX)]] = {}


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """One world, but for its seed."""

    about: str
    nodes: Annotated[int, Meta(ge=1, le=NODES_MAX)]
    run_s: Annotated[float, Meta(gt=0, le=RUN_S_MAX)]
    preset: str = "lan"
    membership: dict[str, float | int | bool] = {}  # settings that are not as in the preset
    start: Literal["join", "known"] = "join"  # nodes join one another, or know each other from the beginning
    join_s: Seconds = 1.0  # nodes that join start at drawn times within this
    wire: Wire = "mac"
    link: LinkModel = LinkModel()
    broker: BrokerModel = BrokerModel()
    store: StoreModel = StoreModel()
    agents: AgentModel = AgentModel()
    work: WorkModel = WorkModel()
    tasks: TaskSettings = TaskSettings()
    routing: str = "local-first"
    regions: dict[str, tuple[str, ...]] = {}  # who stands where, as names and spans; all others stand in r1
    fault: tuple[Fault, ...] = ()
    expect: Expectation = Expectation()
    gossip: GossipSettings = GossipSettings()
    writes: LinkSettings = LinkSettings()  # how a node finds out that it cannot write the record
    keep_s: Annotated[float, Meta(ge=60, le=31_536_000)] = 86_400.0  # how long ended tasks are kept

    @property
    def started_s(self) -> float:
        """When all have started but those that a fault lets start later."""
        return 0.0 if self.start == "known" else self.join_s

    @property
    def names(self) -> tuple[str, ...]:
        """Of all nodes."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    def settings(self) -> NodeSettings:
        """What the nodes are told."""
        membership = msgspec.convert({**structs.asdict(PRESETS[self.preset]), **self.membership}, MembershipSettings)
        return NodeSettings(
            membership=membership,
            tasks=self.tasks,
            link=self.writes,
            keep_s=self.keep_s,
            gossip=self.gossip,
            routing=self.routing,
        )


def parsed(text: str, *, origin: str) -> Scenario:
    """A scenario from TOML. Raises ScenarioError with the origin and the key."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError of another kind
        raise ScenarioError(f"{origin}: {error}") from None
    return checked(values, origin=origin)


def checked(values: object, *, origin: str) -> Scenario:
    """A scenario from plain values. Raises ScenarioError with the origin and the key."""
    try:
        scenario = msgspec.convert(values, Scenario)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ScenarioError(f"{origin}: {worded(Scenario, str(error), values)}") from None
    problem = _problem(scenario)
    if problem:
        raise ScenarioError(f"{origin}: {problem}")
    return scenario


def _problem(scenario: Scenario) -> str:
    """What the types cannot say."""
    known = set(scenario.names)
    if scenario.preset not in PRESETS:
        return f"preset: there is no {scenario.preset!r}; {meant(scenario.preset, PRESETS)}"
    try:
        scenario.settings()
    except msgspec.ValidationError as error:
        return f"membership: {worded(MembershipSettings, str(error), scenario.membership)}"
    if scenario.work.at != "any" and scenario.work.at not in known:
        return f"work.at: there is no node {scenario.work.at!r}"
    for number, task in enumerate(scenario.work.placed):
        for name in (task.home, task.owner, *task.others):
            if name not in known:
                return f"work.placed[{number}]: there is no node {name!r}"
    if scenario.routing not in POLICIES:
        return f"routing: there is no {scenario.routing!r}; {meant(scenario.routing, POLICIES)}"
    stand: dict[str, str] = {}
    for region, texts in scenario.regions.items():
        if not is_token(region):
            return f"regions: {region!r} is no name of a region; it must be 1 to 32 of a-z 0-9 _ -"
        if not texts:
            return f"regions.{region}: there is nobody in it; name a node, or a span (n3-n9)"
        for text in texts:
            if not (span(text) and known.issuperset(span(text))):
                return f"regions.{region}: there is no node {text!r}"
            for name in span(text):
                if stand.setdefault(name, region) != region:
                    return f"regions.{region}: {name} stands in {stand[name]} already"
    for name in scenario.agents.odd:
        if name not in known:
            return f"agents.odd: there is no node {name!r}"
    for number, between in enumerate(scenario.link.between):
        for text in between.names():
            if text != ALL and not (span(text) and known.issuperset(span(text))):
                return f"link.between[{number}]: there is no node {text!r}"
        if empty := next((key for key in ("one", "other", "link") if not getattr(between, key)), ""):
            return f"link.between[{number}].{empty}: there is {'nothing' if empty == 'link' else 'nobody'} in it"
        if nobody_between(between.one, between.other, scenario.names):
            return f"link.between[{number}]: no link is otherwise by it"
        if misfit := clash(scenario.link, between.link):
            return f"link.between[{number}].link.{misfit}"
    if flaw := flaw_of(scenario.fault, scenario.names, acks_lost=scenario.store.acks_lost):
        return flaw
    for number, fault in enumerate(scenario.fault):
        if isinstance(fault, Links) and (misfit := clash(scenario.link, fault.link)):
            return f"fault[{number}].link.{misfit}, as the other links are"
        if fault.at_s >= scenario.run_s:
            return f"fault[{number}].at_s: {fault.at_s:g} is after the end of the run"
    tables = (("always", CHECKS), ("eventually", ENDS), ("sometimes", SIGHTS), ("never", SIGHTS), ("figures", FIGURES))
    for field, table in tables:
        for name in getattr(scenario.expect, field):
            if name not in table:
                return f"expect.{field}: there is no {name!r}; {meant(name, table)}"
    if problem := _vain(scenario):
        return problem
    latest_s = max(scenario.expect.eventually.values(), default=0.0) + _quiet_s(scenario)
    if scenario.expect.eventually and latest_s > scenario.run_s:
        return f"run_s: the last promise is due after {latest_s:g} s, and the run ends before"
    return ""


def _vain(scenario: Scenario) -> str:
    """What comes to nothing: work that is never submitted, a promise about none, a sight that must be and must not,
    a bound that no time within the run exceeds.
    """
    work, expect = scenario.work, scenario.expect
    if work.tasks and work.from_s >= scenario.run_s:
        return f"work.from_s: {work.from_s:g} is after the end of the run"
    for name in expect.eventually:
        if name in OF_WORK and not (work.tasks or work.placed):
            return f"expect.eventually.{name}: there is no work; set work.tasks"
    for name in expect.never:
        if name in expect.sometimes:
            return f"expect.never: {name} is in expect.sometimes, too"
    for name, most in expect.figures.items():
        if name in OF_TIME and most >= scenario.run_s:
            return f"expect.figures.{name}: nothing takes longer than {most:g} s in a run of {scenario.run_s:g} s"
    return ""


def _quiet_s(scenario: Scenario) -> float:
    """From when nothing is done to the mesh any more."""
    faults = [last_s(fault, scenario.names) for fault in scenario.fault]
    return max((*faults, scenario.work.last_s if scenario.work.tasks else 0.0, scenario.started_s))


def stock() -> Mapping[str, str]:
    """Name → text of every scenario that comes along, by name."""
    folder = resources.files("simulations") / "scenarios"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file.read_text(encoding="utf-8") for file in files}


def named(name: str) -> Scenario:
    """A scenario of the stock, or of a file. Raises ScenarioError."""
    known = stock()
    if name in known:
        return parsed(known[name], origin=f"{name}.toml")
    path = Path(name)
    if name.endswith(".py"):
        return programmed(path)
    if not name.endswith(".toml"):
        raise ScenarioError(_no_scenario(name, known))
    try:
        with reading(path) as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise ScenarioError(f"{name} has more than {FILE_BYTES_MAX >> 20} MiB, which no scenario needs")
        return parsed(raw.decode("utf-8-sig"), origin=name)
    except (OSError, UnicodeDecodeError) as error:
        why = (
            trouble_of(error)
            if isinstance(error, OSError)
            else f"it is no UTF-8 at byte {error.start}; save it as UTF-8"
        )
        raise ScenarioError(f"{name} cannot be read: {why}") from None


def _no_scenario(name: str, known: Collection[str]) -> str:
    """What a name is that is neither of the stock nor of a scenario's file."""
    if not name:
        return f"the name of a scenario is empty; there are: {', '.join(known)}; or name a .toml file, or a .py file"
    path = Path(name)
    try:
        if path.is_dir():
            return f"{path} is a folder; name a .toml file in it, or a .py file"
        with reading(path) as file:
            is_trace = file.read(len(TRACE)) == TRACE
    except OSError:  # not there, or nothing that can be read: then it was meant as a name
        return f"there is no scenario {str(path)!r}, and the file of one ends in .toml or .py; {meant(name, known)}"
    if is_trace:
        return f"{path} is a trace, not a scenario; replay runs it again"
    return f"{path} is no .toml file, and no .py file"


def programmed(path: Path) -> Scenario:
    """What the function `scenario` of a Python file returns. Raises ScenarioError, for all that file raises, too."""
    try:
        reading(path).close()
        made = runpy.run_path(str(path)).get("scenario")
        scenario = made() if callable(made) else None
    # A traceback and exit code 1 would say that a rule was broken, and the file's own sys.exit(0) that all had passed.
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is its writer's code, and may raise anything
        raise ScenarioError(f"{path}{_raised(path, error)}") from None
    if not callable(made):
        raise ScenarioError(f"{path}: there is no function scenario() in it")
    if not isinstance(scenario, Scenario):
        raise ScenarioError(f"{path}: scenario() returned {type(scenario).__name__}, not a Scenario")
    try:
        values = msgspec.to_builtins(scenario)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ScenarioError(f"{path}: scenario() returned a Scenario with what none can have: {error}") from None
    return checked(values, origin=str(path))


def _raised(path: Path, error: BaseException) -> str:
    """What a Python file raised, and in which of its lines; of one that did not even begin, that it cannot be read."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    if not lines:
        return f" cannot be read: {trouble_of(error) if isinstance(error, OSError) else error}"
    return f", line {lines[-1]}: {type(error).__name__}: {error}"
