"""What `/metrics` shows: a row a metric, counted from events or read from a snapshot.

Invariant: `METRICS` is the only list; a metric without a row does not exist. Each `Metrics` has
a registry of its own. Neighbours: the performer hands events in; the API renders.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from protocol import events
from protocol.events import Event

# What an event adds to a metric: its labels' values and an amount, or nothing.
Share: TypeAlias = tuple[tuple[str, ...], float] | None


class Metric(Struct, frozen=True):
    """One row: name, kind, help, labels, and for counters and histograms the share of an event.

    A gauge has none: its values come from the snapshot, under the metric's name.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    help: str
    labels: tuple[str, ...] = ()
    share: Callable[[Event], Share] | None = None
    buckets: tuple[float, ...] = ()


def _kind(event: Event) -> Share:
    return (str(event.__struct_config__.tag),), 1


def _refused(event: Event) -> Share:
    return ((event.code,), event.count) if isinstance(event, events.FrameRefused) else None


def _awarded(event: Event) -> Share:
    return ((event.why,), 1) if isinstance(event, events.TaskAwarded) else None


def _ended(event: Event) -> Share:
    return ((state,), 1) if (state := _ENDED.get(type(event))) else None


def _took(event: Event) -> Share:
    return ((), max(0, event.took_ms) / 1_000) if isinstance(event, events.TaskDone) else None


def _lapsed(event: Event) -> Share:
    return ((event.evidence,), 1) if isinstance(event, events.LeaseLapsed) else None


def _declined(event: Event) -> Share:
    return ((event.reason,), 1) if isinstance(event, events.AwardDeclined) else None


def _crashed(event: Event) -> Share:
    if isinstance(event, events.AgentChanged) and event.state in ("restarting", "failed"):
        return (event.agent,), 1
    return None


def _dead(event: Event) -> Share:
    return ((), event.after_s) if isinstance(event, events.PeerDead) else None


_ENDED: Mapping[type, str] = {
    events.TaskDone: "done",
    events.TaskFailed: "failed",
    events.TaskCancelled: "cancelled",
    events.TaskPoison: "poison",
}
_TASK_S = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
_DEATH_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

METRICS: tuple[Metric, ...] = (
    Metric("meshd_events_total", "counter", "Domain events of this node", ("kind",), _kind),
    Metric("meshd_frames_refused_total", "counter", "Frames without effect, by broken rule", ("code",), _refused),
    Metric("meshd_awards_total", "counter", "Awards that this node wrote", ("why",), _awarded),
    Metric("meshd_awards_declined_total", "counter", "Awards that an owner declined", ("reason",), _declined),
    Metric("meshd_leases_lapsed_total", "counter", "Leases that lapsed at this watcher", ("evidence",), _lapsed),
    Metric("meshd_tasks_ended_total", "counter", "Tasks that ended, as this node heard", ("state",), _ended),
    Metric("meshd_task_seconds", "histogram", "From a submit to the result in the record", (), _took, _TASK_S),
    Metric("meshd_death_seconds", "histogram", "From the first suspicion to the verdict", (), _dead, _DEATH_S),
    Metric("meshd_agent_crashes_total", "counter", "Times an agent went down or was given up", ("agent",), _crashed),
    Metric("meshd_state", "gauge", "1 for the state that this node is in", ("state",)),
    Metric("meshd_peers", "gauge", "Nodes in this node's view", ("state",)),
    Metric("meshd_tasks_running", "gauge", "Tasks that agents of this node work on"),
    Metric("meshd_tasks_watched", "gauge", "Tasks that this node watches"),
    Metric("meshd_slots_free", "gauge", "Slots of this node's agents that are free"),
    Metric("meshd_inbox_inputs", "gauge", "Inputs that wait for the engine"),
    Metric("meshd_inbox_refused", "gauge", "Inputs since the start that found no room"),
    Metric("meshd_writes_waiting", "gauge", "Writes that wait for the store"),
    Metric("meshd_messages_dropped", "gauge", "Messages since the start that the transport did not take"),
    Metric("meshd_transport_faults", "gauge", "Frames and subjects since the start that came to nothing", ("fault",)),
    Metric("meshd_events_malformed", "gauge", "Events of others since the start that were none"),
    Metric("meshd_loop_lag_seconds", "gauge", "How late the engine woke up, at worst"),
)


class Metrics:
    """The counters of one daemon."""

    def __init__(self, rows: tuple[Metric, ...] = METRICS) -> None:
        self._registry = CollectorRegistry()
        self._counted: list[tuple[Callable[[Event], Share], Counter | Histogram]] = []
        self._gauges: dict[str, tuple[Gauge, tuple[str, ...]]] = {}
        for row in rows:
            if row.share is None:
                self._gauges[row.name] = Gauge(row.name, row.help, row.labels, registry=self._registry), row.labels
            elif row.kind == "counter":
                self._counted.append((row.share, Counter(row.name, row.help, row.labels, registry=self._registry)))
            else:
                histogram = Histogram(row.name, row.help, row.labels, registry=self._registry, buckets=row.buckets)
                self._counted.append((row.share, histogram))

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

    def set_gauges(self, snapshot: Mapping[str, float | Mapping[str, float]]) -> None:
        """Set gauges: a number, or by label value numbers; label values that are not named go away.

        Raises KeyError for a name that no row has.
        """
        for name, value in snapshot.items():
            gauge, labels = self._gauges[name]
            if isinstance(value, Mapping):
                gauge.clear()
            for labelled, one in _by_label(value):
                (gauge.labels(*labelled) if labels else gauge).set(one)

    def render(self) -> bytes:
        """The Prometheus text format (version 0.0.4)."""
        return generate_latest(self._registry)


def _by_label(value: float | Mapping[str, float]) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(value, Mapping):
        for label, one in value.items():
            yield (label,), one
    else:
        yield (), value
