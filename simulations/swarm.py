"""A swarm: every seed draws a world of its own out of one scenario.

Invariant: what is drawn depends on the scenario and the seed alone, and is a scenario like any
other; at two thirds of the run every fault has ended, and the promises have the rest. Neighbours:
`running` and `sweep` ask, `written` shows what was drawn.
"""

from collections.abc import Callable, Collection, Mapping
from itertools import islice
from math import exp, log
from random import Random
from typing import TypeAlias, TypeVar, get_args

import msgspec
from msgspec import structs

from protocol.presets import PRESETS
from simulations.chance import Chance
from simulations.crowds import spans
from simulations.faults import OF_NODES, SHAPES, Fault, Hold, OneWay, Partition
from simulations.flaws import flaw_of
from simulations.links import LinkModel
from simulations.scenario import Scenario, ScenarioError
from simulations.work import WorkModel

FAULTY_SHARE = 2 / 3  # of the run; the rest is for the promises
SETTLED_S = 5.0  # after the last node's start, before the first fault
NODES = (3, 60)
KINDS = (2, 6)  # kinds of fault in one world
PER_KIND_MAX = 6  # faults of one kind for each minute
TRIES = 16  # of drawing one fault that does something
APART_S = 1.0  # between two faults of one node
FACTOR = (0.3, 3.0)  # of timers and caps
SIGNED_NODES_MAX = 8  # real signatures cost forty times all the rest
BUSY_SHARE = 0.4  # of all slots, on average: what is submitted must have ended in time
LONG_SHARE = 0.25  # of the worlds have runs and a cut that outlast leases: only there shows who runs what is held
LONG_LEASE = (0.3, 0.8)  # factor of timers of tasks: short ones, for what is run anew must end in time
LONG_RUN = (2.5, 5.0)  # leases
LONG_CUT = (2.5, 6.0)  # leases
LONG_CUTS: tuple[type[Fault], ...] = (Partition, Partition, OneWay, Hold)
EXCLUSIVE_SHARE, LONG_EXCLUSIVE_SHARE = 0.2, 0.7
REGIONS = (2, 4)
REGIONS_SHARE = 1 / 3  # of the worlds have more than one
AILMENTS = ("loss", "duplicate", "reorder", "replay", "corrupt", "truncate")  # of links, for a while
MEMBERSHIP_TIMERS = ("probe_interval_s", "probe_timeout_s", "suspicion_s_min", "absent_s", "patience_s")
TASK_TIMERS = ("lease_s", "ask_interval_s", "award_timeout_s_min", "backoff_s_min", "backoff_s_max")

S = TypeVar("S", bound=msgspec.Struct)
Draw: TypeAlias = Callable[[Random, tuple[str, ...]], object]


def drawn(base: Scenario, *, seed: int, settled: Collection[str]) -> Scenario:
    """What this seed makes of a scenario; keys in `settled` stay. Raises ScenarioError for too short a run."""
    chance = Chance(seed)

    def dice(purpose: str) -> Random:
        return chance.stream("swarm", purpose)

    def settle(scenario: Scenario, key: str, value: object) -> Scenario:
        return scenario if key in settled else structs.replace(scenario, **{key: value})

    due_s = max(base.expect.eventually.values(), default=0.0)
    until_s = min(base.run_s * FAULTY_SHARE, base.run_s - due_s)
    scenario = settle(base, "nodes", round(_between(dice("nodes"), *NODES)))
    scenario = settle(scenario, "join_s", dice("join").choice((0.05, 1.0, 10.0)))
    if not base.regions:
        scenario = settle(scenario, "regions", _regions(dice("regions"), scenario.nodes))
    is_signed = scenario.nodes <= SIGNED_NODES_MAX and dice("wire").random() < 0.1
    scenario = settle(scenario, "wire", "ed25519" if is_signed else "mac")
    scenario = settle(scenario, "link", _link(dice("link"), base.link))
    scenario = settle(scenario, "membership", _membership(dice("membership"), base))
    is_long = dice("long").random() < LONG_SHARE
    factor = LONG_LEASE if is_long else FACTOR
    scenario = settle(scenario, "tasks", _scaled(base.tasks, TASK_TIMERS, dice("tasks"), factor))
    begin_s = scenario.join_s + SETTLED_S
    if begin_s >= until_s:
        raise ScenarioError(f"run_s: {base.run_s:g} s leave a swarm no time for faults before its promises are due")
    lease_s = scenario.tasks.lease_s
    least_s, most_s = (round(leases * lease_s, 2) for leases in LONG_RUN)
    agents = structs.replace(
        base.agents,
        slots=round(_between(dice("slots"), 1, 6)),
        runs_s=(least_s, most_s) if is_long else (0.1, round(_between(dice("runs"), 0.3, 6), 2)),
        fails=dice("fails").choice((0.0, 0.0, 0.05)),
    )
    scenario = settle(scenario, "agents", agents)
    work = _work(dice("work"), scenario, begin_s, until_s)
    faults = plan(scenario.names, chance, begin_s=begin_s, until_s=until_s)
    if is_long:
        work = structs.replace(work, exclusive=dice("long work").random() < LONG_EXCLUSIVE_SHARE)
        faults = _with_a_long_cut(faults, scenario, dice("long cut"), begin_s=begin_s, until_s=until_s)
    return settle(settle(scenario, "work", work), "fault", faults)


def plan(names: tuple[str, ...], chance: Chance, *, begin_s: float, until_s: float) -> tuple[Fault, ...]:
    """Faults of a few kinds, each kind at its own rate; all end in time, and no two of one node overlap."""
    rng = chance.stream("swarm", "kinds")
    kinds = rng.sample(drawable(), min(len(drawable()), rng.randint(*KINDS)))
    faults: list[Fault] = []
    for kind in kinds:
        tag = str(kind.__struct_config__.tag)
        most = PER_KIND_MAX * (until_s - begin_s) / 60
        count = max(1, round(most * rng.random()))
        faults += several(kind, names, chance.stream("swarm", tag), count=count, begin_s=begin_s, until_s=until_s)
    return apart(faults)


def drawable() -> list[type[Fault]]:
    """Every kind of fault all of whose necessary fields can be drawn."""
    kinds: list[type[Fault]] = list(get_args(Fault))
    return [
        kind
        for kind in kinds
        if kind.is_drawn
        and "for_s" in kind.__struct_fields__  # what never ends is none
        and all(not field.required or field.name in _ALL for field in structs.fields(kind))
    ]


def several(
    kind: type[Fault], names: tuple[str, ...], rng: Random, *, count: int, begin_s: float, until_s: float
) -> list[Fault]:
    """So many faults of one kind."""
    made = []
    for _ in range(count):
        drawn = (_drawn(kind, names, rng, begin_s=begin_s, until_s=until_s) for _ in range(TRIES))
        made += list(islice((fault for fault in drawn if not flaw_of([fault], names)), 1))
    return made


def _drawn(kind: type[Fault], names: tuple[str, ...], rng: Random, *, begin_s: float, until_s: float) -> Fault:
    """One fault of this kind, which may come to nothing: a clock that stays right."""
    at_s = round(begin_s + rng.random() * (until_s - begin_s) * 0.95, 2)
    for_s = round(max(0.01, min(_between(rng, 0.3, 20), until_s - at_s)), 2)
    values: dict[str, object] = {"kind": str(kind.__struct_config__.tag), "at_s": at_s, "for_s": for_s}
    for field in structs.fields(kind):
        if field.name in _FIELDS and (field.required or rng.random() < 0.5):
            values[field.name] = _FIELDS[field.name](rng, names)
    return msgspec.convert(_of_one_mind(values), kind)


def _of_one_mind(values: dict[str, object]) -> dict[str, object]:
    """Of a partition, either groups or a shape, and nodes where that shape asks for some."""
    if "groups" in values:
        values.pop("shape", None)
    if "groups" in values or values.get("shape") not in OF_NODES:
        values.pop("nodes", None)
    return values


def _with_a_long_cut(
    faults: Collection[Fault], scenario: Scenario, rng: Random, *, begin_s: float, until_s: float
) -> tuple[Fault, ...]:
    """Instead of all faults of its kind one that lasts for some leases, if there are nodes to part and time for it."""
    kind, tasks = rng.choice(LONG_CUTS), scenario.tasks
    for_s = round(min(_between(rng, *LONG_CUT) * tasks.lease_s, until_s - begin_s), 2)
    at_s = round(begin_s + rng.random() * (until_s - for_s - begin_s), 2)
    made = several(kind, scenario.names, rng, count=1, begin_s=begin_s, until_s=until_s)
    cuts = [structs.replace(fault, at_s=at_s, for_s=for_s) for fault in made]
    return apart([*cuts, *(fault for fault in faults if not isinstance(fault, kind))])


def apart(faults: Collection[Fault]) -> tuple[Fault, ...]:
    """In their order, without those that would hit a node in the midst of another fault of it."""
    free_s: dict[str, float] = {}
    kept = []
    for fault in sorted(faults, key=lambda each: (each.at_s, str(each.__struct_config__.tag))):
        node = getattr(fault, "node", None) or str(fault.__struct_config__.tag)
        if fault.at_s >= free_s.get(node, 0.0):
            free_s[node] = fault.at_s + fault.for_s + APART_S
            kept.append(fault)
    return tuple(kept)


# --- single draws


def _between(rng: Random, least: float, most: float) -> float:
    """Each doubling as likely as the next."""
    return exp(log(least) + rng.random() * (log(most) - log(least)))


def _some(rng: Random, names: tuple[str, ...]) -> tuple[str, ...]:
    """Between one and half of all."""
    return tuple(sorted(rng.sample(names, max(1, round(rng.random() * len(names) / 2)))))


def _sides(rng: Random, names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Two groups that have everybody, of any size."""
    left = _some(rng, names)
    return left, tuple(name for name in names if name not in left)


_FIELDS: Mapping[str, Draw] = {
    "node": lambda rng, names: rng.choice(names),
    "record": lambda rng, names: rng.choice(names),
    "src": _some,
    "dst": _some,
    "groups": _sides,
    "noticed_s": lambda rng, _: round(3 * rng.random(), 2),
    "share": lambda rng, _: round(_between(rng, 0.05, 1.0), 2),
    "ahead_s": lambda rng, _: round(_between(rng, 0.1, 7_200) * rng.choice((-1, 1)), 2),
    "drift": lambda rng, _: round(0.05 * (2 * rng.random() - 1), 4),
    "shape": lambda rng, _: rng.choice(SHAPES),
    "nodes": _some,
    "one": _some,
    "link": lambda rng, _: {rng.choice(AILMENTS): round(_between(rng, 0.02, 0.9), 3)},
    "cost_ms": lambda rng, _: round(_between(rng, 0.5, 50), 2),
    "disk": lambda rng, _: rng.choice(("kept", "old", "lost")),
}
_ALL = {"at_s", "for_s", *_FIELDS}


def _regions(rng: Random, nodes: int) -> dict[str, tuple[str, ...]]:
    """A few, each of at least one node; most worlds are of one region, which needs no name."""
    if rng.random() >= REGIONS_SHARE:
        return {}
    count = min(nodes, rng.randint(*REGIONS))
    ends = [0, *sorted(rng.sample(range(1, nodes), count - 1)), nodes]
    return {f"r{number + 1}": spans(range(ends[number] + 1, ends[number + 1] + 1)) for number in range(count)}


def _link(rng: Random, base: LinkModel) -> LinkModel:
    p50_ms = round(_between(rng, 0.1, 20), 2)
    delay = structs.replace(base.delay, p50_ms=p50_ms, p99_ms=round(p50_ms * _between(rng, 1.5, 10), 2))
    shares = [rng.choice((0.0, 0.0, round(_between(rng, 0.001, 0.03), 4))) for _ in range(3)]
    return structs.replace(base, delay=delay, loss=shares[0], duplicate=shares[1], reorder=shares[2])


def _membership(rng: Random, base: Scenario) -> dict[str, float | int | bool]:
    """One factor for all timers of it: what is right is their proportion."""
    scaled = _scaled(structs.replace(PRESETS[base.preset], **base.membership), MEMBERSHIP_TIMERS, rng, FACTOR)
    return {name: getattr(scaled, name) for name in MEMBERSHIP_TIMERS}


def _scaled(settings: S, timers: Collection[str], rng: Random, span: tuple[float, float]) -> S:
    factor = _between(rng, *span)
    return structs.replace(settings, **{name: round(getattr(settings, name) * factor, 3) for name in timers})


def _work(rng: Random, scenario: Scenario, begin_s: float, until_s: float) -> WorkModel:
    """As much as the agents can do."""
    least_s, most_s = scenario.agents.runs_s
    per_s = BUSY_SHARE * scenario.nodes * scenario.agents.slots / ((least_s + most_s) / 2)
    every_s = round(max(0.05, _between(rng, 1, 8) / per_s), 3)
    return structs.replace(
        scenario.work,
        from_s=round(begin_s - SETTLED_S / 2, 2),
        every_s=every_s,
        tasks=min(300, 1 + int((until_s - begin_s) / every_s * rng.random())),
        exclusive=rng.random() < EXCLUSIVE_SHARE,
        route=rng.choice(("auto", "auto", "bids", "late")),
        cancelled=rng.choice((0.0, 0.0, 0.0, 0.3)),
    )
