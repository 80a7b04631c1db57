"""What `/metrics` shows: a row a metric, counted from events or read from a snapshot.

Invariant: `METRICS` is the only list; a metric of ours without a row does not exist. Each `Metrics` has
a registry of its own. Neighbours: the performer hands events in; the API renders.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeAlias, get_args

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from protocol import events
from protocol.envelope import REFUSALS
from protocol.events import Event

# What an event adds to a metric: its labels' values and an amount, or nothing.
Share: TypeAlias = tuple[tuple[str, ...], float] | None

# What is read: a number, numbers by the value of the one label, or for a summary how many and their sum.
Figure: TypeAlias = float | Mapping[str, float] | tuple[int, float]
Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | SummaryMetricFamily


class Metric(Struct, frozen=True):
    """One row: name, kind, help, labels, and the share of an event in it.

    What has no share is not counted here but read: its value comes from the snapshot, under the metric's name.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge", "summary"]
    help: str
    labels: tuple[str, ...] = ()
    share: Callable[[Event], Share] | None = None
    buckets: tuple[float, ...] = ()
    known: tuple[str, ...] = ()  # values of its one label that are shown from 0 on: a rate misses a series' first step


def _kind(event: Event) -> Share:
    return (str(event.__struct_config__.tag),), 1


def _refused(event: Event) -> Share:
    return ((event.code,), event.count) if isinstance(event, events.FrameRefused) else None


def _awarded(event: Event) -> Share:
    return ((event.why,), 1) if isinstance(event, events.TaskAwarded) else None


def _submitted(event: Event) -> Share:
    return ((), 1) if isinstance(event, events.TaskSubmitted) else None


def _failed(event: Event) -> Share:
    return ((event.code,), 1) if isinstance(event, events.TaskFailed) else None


def _ended(event: Event) -> Share:
    return ((state,), 1) if (state := _ENDED.get(type(event))) else None


def _took(event: Event) -> Share:
    return ((), max(0, event.waited_ms + event.took_ms) / 1_000) if isinstance(event, events.TaskDone) else None


def _lapsed(event: Event) -> Share:
    return ((event.evidence,), 1) if isinstance(event, events.LeaseLapsed) else None


def _declined(event: Event) -> Share:
    return ((event.reason,), 1) if isinstance(event, events.AwardDeclined) else None


def _crashed(event: Event) -> Share:
    if isinstance(event, events.AgentChanged) and event.state in ("restarting", "failed"):
        return (event.agent,), 1
    return None


def _lost(event: Event) -> Share:
    """Told at powers of two, each time with the sum: what is new since the last time."""
    if not isinstance(event, events.EventsLost):
        return None
    return (event.agent, event.why), event.count - event.count // 2


def _dead(event: Event) -> Share:
    """Whoever was never suspect here took no time to be found: others found it."""
    return ((), event.after_s) if isinstance(event, events.PeerDead) and event.after_s is not None else None


def _suspected(event: Event) -> Share:
    return ((event.evidence,), 1) if isinstance(event, events.PeerSuspect) else None


def _settled(event: Event) -> Share:
    """How a suspicion ended here: refuted by the suspect, confirmed by its death, or overtaken."""
    match event:
        case events.PeerAlive(was="suspect") | events.PeerDamped(was="suspect"):
            return ("restarted" if event.restarted else "refuted",), 1
        case events.PeerDead() if event.after_s is not None:
            return ("confirmed",), 1
        case events.PeerLeft(was="suspect"):
            return ("left",), 1
        case _:
            return None


def _death(event: Event) -> Share:
    return ((event.evidence,), 1) if events.is_death(event) else None


def _undone(event: Event) -> Share:
    match event:
        case events.PeerAlive(was="dead", restarted=False, was_damped=False):
            return (), 1
        case events.PeerDamped(state="alive", was="dead", restarted=False):
            return (), 1
        case _:
            return None


_ENDED: Mapping[type, str] = {
    events.TaskDone: "done",
    events.TaskFailed: "failed",
    events.TaskCancelled: "cancelled",
    events.TaskPoison: "poison",
}
_ENDS = tuple(_ENDED.values())
_KINDS = tuple(str(kind.__struct_config__.tag) for kind in get_args(Event))
_RULES = tuple(REFUSALS)
_EVIDENCE = ("silent", "absent", "node_restarted")
_DOUBTS = ("timeout", "absent")
_SETTLED = ("refuted", "confirmed", "restarted", "left")
_TASK_S = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
_DEATH_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

METRICS: tuple[Metric, ...] = (
    Metric("meshd_events_total", "counter", "Domain events of this node", ("kind",), _kind, known=_KINDS),
    Metric(
        "meshd_frames_refused_total",
        "counter",
        "Frames without effect, by broken rule",
        ("code",),
        _refused,
        known=_RULES,
    ),
    Metric("meshd_awards_total", "counter", "Awards that this node wrote", ("why",), _awarded),
    Metric("meshd_awards_declined_total", "counter", "Awards that an owner declined", ("reason",), _declined),
    Metric(
        "meshd_leases_lapsed_total",
        "counter",
        "Leases that lapsed at this watcher",
        ("evidence",),
        _lapsed,
        known=_EVIDENCE,
    ),
    Metric("meshd_tasks_submitted_total", "counter", "Submits that this node wrote", (), _submitted),
    Metric("meshd_tasks_ended_total", "counter", "Tasks that ended, as heard", ("state",), _ended, known=_ENDS),
    Metric("meshd_tasks_failed_total", "counter", "Tasks that failed, by reason", ("code",), _failed),
    Metric("meshd_task_seconds", "histogram", "From a submit to the result in the record", (), _took, _TASK_S),
    Metric("meshd_death_seconds", "histogram", "From the first suspicion to the verdict", (), _dead, _DEATH_S),
    Metric(
        "meshd_suspicions_total", "counter", "Peers that became suspect here", ("evidence",), _suspected, known=_DOUBTS
    ),
    Metric("meshd_suspicions_settled_total", "counter", "How suspicions ended", ("how",), _settled, known=_SETTLED),
    Metric("meshd_deaths_total", "counter", "Peers declared dead", ("evidence",), _death, known=_DOUBTS),
    Metric("meshd_deaths_undone_total", "counter", "Peers declared dead that had never been gone", (), _undone),
    Metric("meshd_agent_crashes_total", "counter", "Times an agent went down or was given up", ("agent",), _crashed),
    Metric("meshd_agent_events_lost_total", "counter", "Events an agent did not take", ("agent", "why"), _lost),
    Metric("meshd_state", "gauge", "1 for the state that this node is in", ("state",)),
    Metric("meshd_peers", "gauge", "Nodes in this node's view", ("state",)),
    Metric("meshd_build_info", "gauge", "1 for the version that runs", ("version",)),
    Metric("meshd_connected", "gauge", "1 while there is a connection to the server"),
    Metric("meshd_clocks_off", "gauge", "Nodes whose clock is off by seconds, as this node measured, itself included"),
    Metric("meshd_health", "gauge", "0 for a node that is well; its patience grows with it"),
    Metric("meshd_state_seconds", "gauge", "For how long this node has been in its state"),
    Metric("meshd_views", "gauge", "Peers that see what this node sees, or other, or did not say since", ("view",)),
    Metric("meshd_view_share", "gauge", "Share of the peers that said so which see what this node sees"),
    Metric("meshd_view_complete", "gauge", "Share of the nodes seen by most that this node sees"),
    Metric("meshd_view_differs_seconds", "gauge", "For how long the slowest peer was heard to see something else"),
    Metric("meshd_suspects", "gauge", "Peers that are suspect here"),
    Metric("meshd_damped", "gauge", "Peers back from several deaths, that are to be quiet before they get work"),
    Metric("meshd_probes_sent_total", "counter", "Probes by cause: its turn, another's word, once more", ("why",)),
    Metric("meshd_probes_ended_total", "counter", "Probes that were answered, or why not", ("how",)),
    Metric("meshd_probes_waiting", "gauge", "Probes that wait for an answer"),
    Metric("meshd_syncs_total", "counter", "Digests sent, and how those of others fitted this node's", ("digest",)),
    Metric("meshd_facts_repaired_total", "counter", "Facts missed at first that another node supplied"),
    Metric("meshd_tombstones", "gauge", "Nodes remembered as dead or left"),
    Metric("meshd_repeats_waiting", "gauge", "Own broadcasts that wait for their repetition"),
    Metric("meshd_agents", "gauge", "Agents of this node", ("state",)),
    Metric("meshd_slots_free", "gauge", "Slots of this node's agents that are free"),
    Metric("meshd_tasks_running", "gauge", "Tasks that agents of this node work on"),
    Metric("meshd_tasks_watched", "gauge", "Tasks that this node watches"),
    Metric("meshd_tasks_waiting", "gauge", "Tasks of this node that wait for a free agent"),
    Metric("meshd_inbox_inputs", "gauge", "Inputs that wait for the engine"),
    Metric("meshd_inbox_refused_total", "counter", "Inputs that found no room"),
    Metric("meshd_loop_lag_seconds", "gauge", "How long the engine heard nobody, at worst since the last look"),
    Metric("meshd_writes_waiting", "gauge", "Writes that wait for the store"),
    Metric("meshd_write_seconds", "summary", "From a write's turn to its outcome"),
    Metric("meshd_record_refusing", "gauge", "1 while no new task can be recorded: a full disk, or a full bucket"),
    Metric("meshd_audit_failing", "gauge", "1 while the audit cannot be written, and no new work is taken"),
    Metric("meshd_audit_forked", "gauge", "1 when the stream holds another audit than this node's journal"),
    Metric("meshd_audit_damaged", "gauge", "1 while this node's audit is cut, forked or altered"),
    Metric("meshd_audit_checked", "gauge", "Number of the last record that a look found sound"),
    Metric("meshd_audit_stuck_seconds", "gauge", "For how long the stream has taken none of what waits"),
    Metric("meshd_audit_unsent", "gauge", "Records that the stream has not acknowledged"),
    Metric("meshd_messages_sent_total", "counter", "Messages that left, by class of subject", ("subject",)),
    Metric("meshd_messages_dropped_total", "counter", "Messages that the transport did not take"),
    Metric("meshd_transport_faults_total", "counter", "Frames and subjects that came to nothing", ("fault",)),
    Metric("meshd_events_malformed_total", "counter", "Events of others that were none"),
)


class Metrics(Collector):
    """The figures of one daemon; those of its process come along, under their usual names."""

    def __init__(self, rows: tuple[Metric, ...] = METRICS) -> None:
        self._registry = CollectorRegistry()
        self._counted: list[tuple[Callable[[Event], Share], Counter | Histogram]] = []
        self._read: dict[str, Metric] = {}
        self._snapshot: dict[str, Figure] = {}
        for row in rows:
            if row.share is None:
                self._read[row.name] = row
            elif row.kind == "counter":
                counter = Counter(row.name, row.help, row.labels, registry=self._registry)
                for value in row.known:
                    counter.labels(value)
                self._counted.append((row.share, counter))
            else:
                histogram = Histogram(row.name, row.help, row.labels, registry=self._registry, buckets=row.buckets)
                self._counted.append((row.share, histogram))
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def on_event(self, event: Event) -> None:
        """Count one event in every metric that it has a share in."""
        for share, metric in self._counted:
            if (found := share(event)) is None:
                continue
            labels, amount = found
            child = metric.labels(*labels) if labels else metric
            if isinstance(child, Counter):
                child.inc(amount)
            else:
                child.observe(amount)

    def set_gauges(self, snapshot: Mapping[str, Figure]) -> None:
        """Take what was read just now, in place of what was before. Raises KeyError for a name that no row has."""
        self._snapshot = {self._read[name].name: value for name, value in snapshot.items()}

    def collect(self) -> Iterator[Family]:
        """As prometheus_client has it: what was read last."""
        for name, value in self._snapshot.items():
            yield _family(self._read[name], value)

    def render(self) -> bytes:
        """The Prometheus text format (version 0.0.4)."""
        return generate_latest(self._registry)


def _family(row: Metric, value: Figure) -> Family:
    if isinstance(value, tuple):
        count, total = value
        return SummaryMetricFamily(row.name, row.help, count_value=count, sum_value=total)
    make = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    if not isinstance(value, Mapping):
        return make(row.name, row.help, value=value)
    family = make(row.name, row.help, labels=row.labels)
    for label, one in value.items():
        family.add_metric((label,), one)
    return family
