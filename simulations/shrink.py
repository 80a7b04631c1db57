"""Makes a failing scenario small: what is left is needed, or nearly so, for the same rule to break.

Invariant: a step is kept only if the same rule is broken when the smaller world is run; the result
is a scenario like any other. Neighbours: `command` asks, `written` turns the result into a file.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct, structs

from simulations.chance import Delay
from simulations.checks import CHECKS
from simulations.crowds import ALL, Places, members, span, spans
from simulations.ends import ENDS
from simulations.faults import Fault
from simulations.progress import Progress
from simulations.scenario import Expectation, Scenario, ScenarioError, checked
from simulations.world import MEASURED, Violation, World
from simulations.written import on_one_line

RUNS_MAX = 600  # then what there is must do
SINGLE_MAX = 6  # of several nodes, so many are tried alone
MARGIN_S = 0.5  # of the run after the rule was broken
FEW_FAULTS = 8  # more are not looked at one by one before there are fewer nodes
ROOM = 2  # times as long as the best so far
FEW_NODES = (2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48)
NEVER = "never "  # how a rule begins that forbids a sight
_NODE = re.compile(r"n[0-9]+")
_KEPT = frozenset({"about", "nodes", "run_s", "fault", "expect"})  # the rest may go back to its default
_GAP_S = 0.5  # between two faults that follow each other


class Shrunk(Struct, frozen=True):
    """What came of it."""

    scenario: Scenario
    violation: Violation
    runs: int
    was_stopped: bool = False  # by Ctrl-C: a smaller one may be left to find


def shrunk(scenario: Scenario, *, seed: int, runs_max: int = RUNS_MAX, progress: Progress | None = None) -> Shrunk:
    """The smallest world found that breaks the first rule that breaks here. Raises ScenarioError if none does."""
    first = World(scenario, seed=seed).run()
    if not first.violations:
        raise ScenarioError(f"nothing is broken in this run, with seed {seed}: there is nothing to make small")
    search = _Search(scenario, first.violations[0], seed=seed, runs_max=runs_max, progress=progress)
    was_stopped = False
    try:
        for _ in range(2):  # what is dropped late makes room to drop more
            before = search.best
            for step in _STEPS:
                step(search)
            if search.best == before:
                break
    except KeyboardInterrupt:
        was_stopped = True
    return Shrunk(search.best, search.violation, search.runs, was_stopped)


class _Search:
    """The best so far, and how a smaller one is tried."""

    def __init__(
        self, scenario: Scenario, violation: Violation, *, seed: int, runs_max: int, progress: Progress | None
    ) -> None:
        self.rule = violation.rule
        self.violation = violation
        self.best = scenario
        self.runs = 1  # the one that is made small
        self._seed = seed
        self._run_s = scenario.run_s
        self._runs_max = runs_max
        self._progress = progress
        self._tried: set[str] = set()
        self._keep(scenario, violation)
        self.attempt(structs.replace(self.best, expect=_only(self.rule, scenario.expect)))

    def attempt(self, candidate: Scenario) -> bool:
        """Run it, and keep it if the same rule breaks. False without a run when it was tried, or no run is left."""
        key = on_one_line(candidate)
        if key in self._tried or self.runs >= self._runs_max:
            return False
        self._tried.add(key)
        try:
            candidate = checked(msgspec.json.decode(msgspec.json.encode(candidate)), origin="")
        except ScenarioError:
            return False
        self.runs += 1
        if self._progress is not None:
            note = f"{len(self.best.fault)} faults, {self.best.nodes} nodes, {self.best.run_s:g} s"
            self._progress.at(self.runs, note)
        broken = World(candidate, seed=self._seed).run().violations
        same = next((violation for violation in broken if violation.rule == self.rule), None)
        if same is not None:
            self._keep(candidate, same)
        return same is not None

    def room_s(self) -> float:
        """How long another world may run: fewer take longer to find something out."""
        return min(self._run_s, ROOM * self.best.run_s)

    def _keep(self, scenario: Scenario, violation: Violation) -> None:
        """What would come after the violation never happens: leaving it out is free."""
        self.violation = violation
        self.best = scenario
        if self.rule not in CHECKS and self.rule not in ENDS and not self.rule.startswith(NEVER):
            return
        at_s, work = violation.at_s, scenario.work
        submitted = int((at_s - work.from_s) / work.every_s) + 1 if work.every_s else work.tasks
        self.best = structs.replace(
            scenario,
            run_s=min(scenario.run_s, round(at_s + MARGIN_S, 2)),
            fault=tuple(fault for fault in scenario.fault if fault.at_s <= at_s),
            work=structs.replace(work, tasks=min(work.tasks, submitted) if work.from_s <= at_s else 0),
        )


def _only(rule: str, expect: Expectation) -> Expectation:
    """This rule, and nothing else is expected."""
    eventually = {name: within_s for name, within_s in expect.eventually.items() if name == rule}
    never = (rule.removeprefix(NEVER),) if rule.startswith(NEVER) else ()
    figures = {name: most for name, most in expect.figures.items() if rule in (name, MEASURED)}
    return Expectation(always=(rule,) if rule in CHECKS else (), eventually=eventually, never=never, figures=figures)


# --- the steps, in their order


def _kinds(search: _Search) -> None:
    for kind in sorted({_kind(fault) for fault in search.best.fault}):
        search.attempt(_with(search.best, [fault for fault in search.best.fault if _kind(fault) != kind]))


def _plan(search: _Search) -> None:
    """Delta debugging: leave out halves, then quarters, down to single faults."""
    size = (len(search.best.fault) + 1) // 2
    while size:
        begin = 0
        while begin < len(search.best.fault):
            faults = search.best.fault
            if not search.attempt(_with(search.best, (*faults[:begin], *faults[begin + size :]))):
                begin += size
        size = min(size // 2, len(search.best.fault))


def _work(search: _Search) -> None:
    def tasks(number: int) -> Scenario:
        return structs.replace(search.best, work=structs.replace(search.best.work, tasks=number))

    if search.best.work.tasks and not search.attempt(tasks(0)):
        while search.best.work.tasks > 1 and search.attempt(tasks(search.best.work.tasks // 2)):
            pass


def _nodes(search: _Search) -> None:
    for nodes in FEW_NODES:
        if nodes < search.best.nodes and any(
            search.attempt(each) for each in _smaller(search.best, nodes, run_s=search.room_s())
        ):
            return


def _smaller(scenario: Scenario, nodes: int, *, run_s: float) -> Iterator[Scenario]:
    """With that many nodes, so long: those named in faults stay, or become the first, or share the places there are."""
    numbers = sorted({int(name[1:]) for fault in scenario.fault for name in _names(msgspec.to_builtins(fault))})
    keep = {f"n{number}": f"n{number}" for number in numbers}
    pack = {f"n{number}": f"n{place}" for place, number in enumerate(numbers, start=1)}
    fold = {name: f"n{(int(place[1:]) - 1) % nodes + 1}" for name, place in pack.items()}
    values = msgspec.json.decode(msgspec.json.encode(scenario))
    for places in (keep, pack, fold):
        candidate = {
            **values,
            "nodes": nodes,
            "run_s": run_s,
            "fault": [_moved(fault, places) for fault in values["fault"]],
        }
        candidate["regions"] = _regions(scenario, nodes)
        candidate["agents"] = {**values["agents"], "odd": _moved(values["agents"]["odd"], places)}
        try:
            yield checked(candidate, origin="")
        except ScenarioError:
            continue


def _regions(scenario: Scenario, nodes: int) -> dict[str, tuple[str, ...]]:
    """Each region with its share of so many nodes."""
    if not scenario.regions:
        return {}
    former = Places(scenario.regions)
    stand: dict[str, list[int]] = {}
    for number in range(1, nodes + 1):
        stand.setdefault(former.region_of(f"n{(number - 1) * scenario.nodes // nodes + 1}"), []).append(number)
    return {region: spans(numbers) for region, numbers in stand.items()}


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str) and _NODE.fullmatch(value):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _names(each)


def _moved(value: Any, places: dict[str, str]) -> Any:
    """With every name of a node in its place, and nobody twice in a list or in lists side by side."""
    if isinstance(value, str):
        return places.get(value, value)
    if isinstance(value, dict):
        return {places.get(key, key): _moved(each, places) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    taken: list[Any] = []
    for each in (_moved(each, places) for each in value):
        if isinstance(each, list):
            former = [name for group in taken for name in group]
            each = [name for name in each if name not in former]
        if each not in (*taken, []):
            taken.append(each)
    return taken


def _time(search: _Search) -> None:
    """Everything twice as early, what follows closer to what it follows, and every fault half as long."""
    while search.attempt(_sooner(search.best)):
        pass
    for number in _numbers(search):
        _ = search.attempt(_closer(search.best, number, _GAP_S)) or search.attempt(_closer(search.best, number, 0.0))
    for number in _numbers(search):
        while _lasts(search.best, number) and search.attempt(_briefer(search.best, number)):
            pass


def _numbers(search: _Search) -> Iterator[int]:
    """The places of the faults, for as long as they are so many: what is kept may be shorter."""
    number = 0
    while number < len(search.best.fault):
        yield number
        number += 1


def _lasts(scenario: Scenario, number: int) -> bool:
    return number < len(scenario.fault) and scenario.fault[number].for_s > 0.5


def _closer(scenario: Scenario, number: int, least_s: float) -> Scenario:
    """A fault and all that come after it so soon after the one before it, or half as long after it (0)."""
    faults = sorted(scenario.fault, key=lambda fault: fault.at_s)
    before_s = faults[number - 1].at_s if number else 0.0
    gap_s = faults[number].at_s - before_s
    by_s = gap_s - least_s if least_s else gap_s / 2
    if by_s <= _GAP_S / 2:
        return scenario
    moved = [structs.replace(fault, at_s=round(fault.at_s - by_s, 2)) for fault in faults[number:]]
    return _with(scenario, (*faults[:number], *moved))


def _sooner(scenario: Scenario) -> Scenario:
    faults = [structs.replace(fault, at_s=round(fault.at_s / 2, 2)) for fault in scenario.fault]
    work = scenario.work
    if work.tasks:
        work = structs.replace(work, from_s=round(work.from_s / 2, 2))
    return _with(structs.replace(scenario, work=work), faults)


def _briefer(scenario: Scenario, number: int) -> Scenario:
    faults = list(scenario.fault)
    faults[number] = structs.replace(faults[number], for_s=round(faults[number].for_s / 2, 2))
    return _with(scenario, faults)


def _links(search: _Search) -> None:
    link = search.best.link
    plain = structs.replace(link, **dict.fromkeys(("loss", "duplicate", "reorder"), 0.0))
    if not search.attempt(structs.replace(search.best, link=plain)):
        for name in ("loss", "duplicate", "reorder"):
            for value in (0.0, getattr(search.best.link, name) / 2):
                search.attempt(structs.replace(search.best, link=structs.replace(search.best.link, **{name: value})))
    if search.best.link.delay.p50_ms != Delay().p50_ms:
        search.attempt(structs.replace(search.best, link=structs.replace(search.best.link, delay=Delay())))
    link = search.best.link
    steady = structs.replace(link, delay=structs.replace(link.delay, p99_ms=link.delay.p50_ms))
    search.attempt(structs.replace(search.best, link=steady))


def _defaults(search: _Search) -> None:
    """Whole tables first, then the keys of those that are needed."""
    for path in _paths(search.best, ()):
        if path != ("link",) and path[:2] != ("link", "delay"):  # which has a step of its own
            search.attempt(_usual(search.best, path))


def _paths(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The way to every key that is not as usual, those of a table after the table."""
    fields = structs.fields(value) if isinstance(value, Struct) else ()
    for field in fields:
        own = getattr(value, field.name)
        if (not path and field.name in _KEPT) or field.required or own == _default_of(field):
            continue
        yield (*path, field.name)
        yield from _paths(own, (*path, field.name))
    if isinstance(value, dict):
        for key in value:
            yield (*path, key)


def _usual(value: Any, path: tuple[str, ...]) -> Any:
    """With this key as usual; a key of the writer's own is left out."""
    first, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if key != first}
    field = next(field for field in structs.fields(value) if field.name == first)
    return structs.replace(value, **{first: _usual(getattr(value, first), rest) if rest else _default_of(field)})


def _default_of(field: structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _ends(search: _Search) -> None:
    """No end of a fault, where no promise or figure depends on it: what lasts shows in fewer nodes, too."""
    if search.rule not in CHECKS or len(search.best.fault) > FEW_FAULTS:
        return
    for number in _numbers(search):
        for field in structs.fields(search.best.fault[number]):
            if field.name == "for_s" and search.best.fault[number].times == 1:
                _plain(search, number, field)


def _details(search: _Search) -> None:
    """Each fault once and of few nodes, and plain in all that it can say."""
    for number in _numbers(search):
        for field in structs.fields(search.best.fault[number]):
            if field.name not in ("at_s", "for_s", "every_s"):
                _plain(search, number, field)


def _plain(search: _Search, number: int, field: structs.FieldInfo) -> None:
    """The plainest value that does; nothing when the fault is no longer there."""
    if number < len(search.best.fault) and field in structs.fields(search.best.fault[number]):
        own = getattr(search.best.fault[number], field.name)
        any(
            search.attempt(_changed(search.best, number, field.name, each))
            for each in _plainer(own, field, search.best)
        )


def _plainer(own: Any, field: structs.FieldInfo, scenario: Scenario) -> Iterator[Any]:
    """What may stand in the place of a value, the plainest first."""
    if not field.required and own != _default_of(field):
        yield _default_of(field)
    if isinstance(own, str):
        several = members((own,), scenario.names) if own == ALL or len(span(own)) > 1 else ()
        yield from several[:SINGLE_MAX]
    elif isinstance(own, tuple) and own and all(isinstance(each, str) for each in own):
        several = members(own, scenario.names)
        yield from ((each,) for each in several[:SINGLE_MAX] if len(several) > 1)
    elif field.name == "times" and own > 2:
        yield own // 2


def _changed(scenario: Scenario, number: int, name: str, value: Any) -> Scenario:
    faults = list(scenario.fault)
    try:
        faults[number] = structs.replace(faults[number], **{name: value})
    except ValueError:  # no such fault can be
        return scenario
    return _with(scenario, faults)


def _with(scenario: Scenario, faults: Iterable[Fault]) -> Scenario:
    return structs.replace(scenario, fault=tuple(faults))


def _kind(fault: Fault) -> str:
    return str(fault.__struct_config__.tag)


# Few nodes first: runs are short.
_STEPS = (_nodes, _kinds, _plan, _ends, _work, _nodes, _links, _defaults, _time, _details)
