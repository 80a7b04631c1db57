"""What a report says, as it stands in JSON: of one run, or of many.

Invariant: everything a page or a ticket shows stands here; units end the names; fields are only
added, with a default. `report.schema.json` is made from it. Neighbours: `building` fills it in,
`page` and `ticket` draw it.
"""

from typing import TypeAlias

from msgspec import Struct

VERSION = 1

Pair: TypeAlias = tuple[float, float]


class Rule(Struct, frozen=True, omit_defaults=True):
    """One row of the verdicts. `verdict`: held, broken, cut short (the run ended before), seen or not seen."""

    name: str
    sort: str  # always | eventually | sometimes | never | figure, or unasked
    letter: str  # of the invariant, where it has one
    about: str
    verdict: str
    at_s: float | None = None  # when it was broken first; of a promise that was kept: how long after the last fault
    within_s: float | None = None  # of a promise: how long it had
    count: int | None = None  # of a sight: how often
    seeds: int | None = None  # of many runs: in how many it was broken, or seen


class Step(Struct, frozen=True):
    """A line of the trace. `cause` is the number of the line that led to it, 0 for the scenario."""

    seq: int
    at_s: float
    node: str
    kind: str
    what: str
    cause: int = 0


class Broken(Struct, frozen=True):
    """A rule that was broken: when, in what way, and what led to it, the oldest first, with nodes by their names."""

    rule: str
    at_s: float
    what: str
    ancestors: tuple[Step, ...] = ()


class FaultSpan(Struct, frozen=True):
    """A fault as it happened; `until_s` is None when it lasted to the end. No nodes: the whole mesh.

    `groups` are names and spans (`n3-n9`): of a partition who was cut off from whom, `record` with those that
    reached it; of one-way and links, from whom and to whom.
    """

    kind: str
    nodes: tuple[str, ...]
    from_s: float
    until_s: float | None
    shape: str = ""
    groups: tuple[tuple[str, ...], ...] = ()


class Frame(Struct, frozen=True):
    """All standings at one time: a row for each observer, a letter for each subject."""

    at_s: float
    rows: tuple[str, ...]


class Standings(Struct, frozen=True):
    """Who took whom for what, over time. A frame that is missing was like the one before it."""

    nodes: tuple[str, ...]  # of rows and of letters in a row
    nodes_total: int  # more than are shown, in a large mesh
    letters: dict[str, str]
    frames: tuple[Frame, ...]


class Agreement(Struct, frozen=True):
    """The share of pairs (observer, subject) that agree with the truth, at the end of each column, and its least."""

    column_s: float
    share: tuple[float, ...]
    least: tuple[float, ...]
    whole_at_s: float | None  # since when all agree, to the end


class Distribution(Struct, frozen=True):
    """How long something took: the curve is (seconds, share that took no longer), of all cases.

    `count` is of those that came to an end and `never` of those that did not: the curve ends below 1 by their
    share, and a quantile that falls among them is None.
    """

    name: str
    about: str
    count: int
    mean_s: float | None = None
    p50_s: float | None = None
    p90_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None
    curve: tuple[Pair, ...] = ()
    never: int = 0


class Judged(Struct, frozen=True):
    """Suspicions and deaths, counted at every observer that believed them; `of_well`: of a node that was well."""

    suspicions: int
    suspicions_of_well: int
    deaths: int
    deaths_of_well: int


class Kind(Struct, frozen=True):
    """Messages of one kind that nodes handed to the broker; without bytes where frames were not encoded."""

    kind: str
    messages: int
    bytes: int | None
    messages_node_s: float
    bytes_node_s: float | None


class Traffic(Struct, frozen=True):
    """What nodes sent: for each column the mean over nodes that were up, and the busiest node.

    Where frames were not encoded (`wire = "none"`) there are no bytes: no columns of them, and None.
    """

    column_s: float
    messages_node_s: tuple[float, ...]
    messages_node_s_max: tuple[float, ...]
    bytes_node_s: tuple[float, ...]
    bytes_node_s_max: tuple[float, ...]
    kinds: tuple[Kind, ...]
    messages_node_s_mean: float
    bytes_node_s_mean: float | None


class Stage(Struct, frozen=True):
    """One stage of the way of tasks: how often it happened, and to how many tasks."""

    name: str
    about: str
    count: int
    tasks: int | None = None


class Work(Struct, frozen=True):
    """What became of the tasks."""

    stages: tuple[Stage, ...]
    setbacks: tuple[Stage, ...]
    times: tuple[Distribution, ...]


class SpaceTime(Struct, frozen=True):
    """The last steps before the first break that say something, with nodes by their names, and which led to it."""

    nodes: tuple[str, ...]
    steps: tuple[Step, ...]
    ancestry: tuple[int, ...]
    left_out: int  # lines of the trace in between, most of which only say that time passes


class Setting(Struct, frozen=True):
    """One key of the scenario as it was run, or of what nodes were told; `value` is JSON."""

    key: str
    value: str
    is_default: bool


class Commands(Struct, frozen=True):
    """How to see it again, and how to make it small; empty where there is no such command."""

    run: str = ""
    replay: str = ""
    shrink: str = ""


class RunReport(Struct, frozen=True, tag_field="report", tag="run", kw_only=True):
    """One run."""

    version: int = VERSION
    name: str
    about: str
    seed: int
    passed: bool
    is_repeatable: bool | None  # a second run gave the same digest; None: there was none
    digest: str
    nodes: int
    run_s: float
    ended_s: float
    steps: int
    messages: int
    commands: Commands
    rules: tuple[Rule, ...]
    broken: tuple[Broken, ...]
    faults: tuple[FaultSpan, ...]
    faults_left_out: int
    standings: Standings
    agreement: Agreement
    detection: tuple[Distribution, ...]
    spread: tuple[Distribution, ...]
    judged: Judged
    traffic: Traffic
    work: Work | None
    space_time: SpaceTime | None
    shrunk_from: str  # what it was made small of; empty when it was not
    drawn: str  # what the seed drew, on one line; empty without --swarm
    scenario: str  # TOML
    settings: tuple[Setting, ...]
    sides_left_out: int = 0  # of faults that have sides, those without them here


class Seed(Struct, frozen=True):
    """One of many runs."""

    name: str
    seed: int
    passed: bool
    rule: str
    at_s: float | None
    what: str
    digest: str
    nodes: int
    messages_node_s: float
    bytes_node_s: float | None  # None where frames were not encoded
    whole_s: float | None  # from the last fault to one view, to the end
    command: str
    drawn: str = ""


class Figure(Struct, frozen=True):
    """One figure of each run, over all runs."""

    name: str
    unit: str
    count: int
    least: float
    p50: float
    p90: float
    most: float
    bins: tuple[tuple[float, float, int], ...]  # from, to, so many runs


class Seen(Struct, frozen=True):
    """Something that can happen, in how many of the runs it did, and how often in all."""

    name: str
    runs: int
    count: int


class SweepReport(Struct, frozen=True, tag_field="report", tag="sweep", kw_only=True):
    """Many runs."""

    version: int = VERSION
    name: str
    about: str
    seeds: str
    runs: int
    passed: int
    digest: str
    command: str
    rules: tuple[Rule, ...]
    rows: tuple[Seed, ...]
    rows_left_out: int  # runs that passed and are not listed
    detection: tuple[Distribution, ...]
    spread: tuple[Distribution, ...]
    judged: Judged
    figures: tuple[Figure, ...]
    is_drawn: bool  # every seed drew a scenario of its own
    scenario: str
    settings: tuple[Setting, ...]
    sights: tuple[Seen, ...] = ()  # every one that there is; those that no run showed with 0


Report: TypeAlias = RunReport | SweepReport
