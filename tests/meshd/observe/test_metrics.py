"""Metrics: counted from events, set from a snapshot, one row each."""

import types
import typing
from typing import Any

import msgspec
import pytest

from meshd.observe.metrics import METRICS, Metric, Metrics
from protocol import events
from protocol.events import Event


def _lines(metrics: Metrics) -> dict[str, float]:
    rows = (line.rpartition(" ") for line in metrics.render().decode().splitlines() if line.startswith("meshd_"))
    return {name: float(value) for name, _, value in rows}


_SETTLED = 'meshd_suspicions_settled_total{{how="{}"}}'


def _done(took_ms: int) -> events.TaskDone:
    return events.TaskDone("t", "i", 1, "o", took_ms)


def test_events_are_counted_by_kind() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.on_event(events.PeerLeft("p", "b", 1))
    assert _lines(metrics)['meshd_events_total{kind="peer_left"}'] == 3


def test_a_label_that_is_known_is_there_from_the_start_at_0() -> None:
    lines = _lines(Metrics())
    for name in ('frames_refused_total{code="replayed"}', 'leases_lapsed_total{evidence="node_restarted"}'):
        assert lines[f"meshd_{name}"] == 0


def test_refused_frames_are_counted_by_the_rule_they_broke() -> None:
    metrics = Metrics()
    metrics.on_event(events.FrameRefused("replay", "s", "x"))
    metrics.on_event(events.FrameRefused("replay", "s", "x"))
    metrics.on_event(events.FrameRefused("expired", "s", "x"))
    lines = _lines(metrics)
    assert lines['meshd_frames_refused_total{code="replay"}'] == 2
    assert lines['meshd_frames_refused_total{code="expired"}'] == 1


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (_done(10), 'meshd_tasks_ended_total{state="done"}'),
        (events.TaskSubmitted("t", "i", "g", "c@1", "s"), "meshd_tasks_submitted_total"),
        (events.TaskFailed("t", "i", 1, "deadline", "m"), 'meshd_tasks_failed_total{code="deadline"}'),
        (events.TaskFailed("t", "i", 1, "c", "m"), 'meshd_tasks_ended_total{state="failed"}'),
        (events.TaskCancelled("t", "i", 1), 'meshd_tasks_ended_total{state="cancelled"}'),
        (events.TaskPoison("t", "i", 1, ()), 'meshd_tasks_ended_total{state="poison"}'),
        (events.TaskAwarded("t", "i", 1, "o", "gossip"), 'meshd_awards_total{why="gossip"}'),
        (events.AwardDeclined("t", "i", 1, "o", "busy", ""), 'meshd_awards_declined_total{reason="busy"}'),
        (events.LeaseLapsed("t", "i", 1, "o", "absent", 1.0), 'meshd_leases_lapsed_total{evidence="absent"}'),
        (events.PeerDead("p", "b", 1, (), "absent", 3.0), _SETTLED.format("confirmed")),
        (events.PeerLeft("p", "b", 1, "suspect"), _SETTLED.format("left")),
        (events.PeerDamped("p", "b", 1, "alive", 3, 600.0, 30.0, was="suspect"), _SETTLED.format("refuted")),
        (events.AgentChanged("scorer", "restarting", "exit 1"), 'meshd_agent_crashes_total{agent="scorer"}'),
        (events.AgentChanged("scorer", "failed", "given up"), 'meshd_agent_crashes_total{agent="scorer"}'),
    ],
)
def test_an_event_counts_in_its_own_metric(event: Event, line: str) -> None:
    metrics = Metrics()
    metrics.on_event(event)
    assert _lines(metrics)[line] == 1


def test_a_death_that_others_found_took_no_time_here_and_settles_no_suspicion() -> None:
    metrics = Metrics()
    metrics.on_event(events.PeerDead("p", "b", 1, (), "absent", None))
    lines = _lines(metrics)
    assert lines['meshd_deaths_total{evidence="absent"}'] == 1
    assert lines["meshd_death_seconds_count"] == 0
    assert lines[_SETTLED.format("confirmed")] == 0
    metrics.on_event(events.PeerDead("p", "b", 1, (), "absent", 0.0))
    assert _lines(metrics)["meshd_death_seconds_count"] == 1


def test_a_death_that_is_undone_counts_once_when_its_node_is_back_damped_or_not() -> None:
    metrics = Metrics()
    damped = events.PeerDamped("p", "b", 1, "alive", 3, 600.0, 30.0, was="dead")
    restarted = events.PeerAlive("p", "b", 2, 0, "dead", 9.0, restarted=True)
    back = events.PeerAlive("p", "b", 1, 1, "dead", 9.0)
    counts = []
    for event in (back, damped, msgspec.structs.replace(back, was_damped=True), restarted, damped):
        metrics.on_event(event)
        counts.append(_lines(metrics)["meshd_deaths_undone_total"])
    assert counts == [1, 2, 2, 2, 3]


def test_an_agent_that_becomes_ready_is_no_crash() -> None:
    metrics = Metrics()
    metrics.on_event(events.AgentChanged("scorer", "ready", ""))
    assert not [line for line in _lines(metrics) if line.startswith("meshd_agent_crashes_total")]


def test_durations_fall_into_buckets_in_seconds() -> None:
    metrics = Metrics()
    metrics.on_event(_done(15))
    metrics.on_event(msgspec.structs.replace(_done(500), waited_ms=1_000))
    lines = _lines(metrics)
    assert lines['meshd_task_seconds_bucket{le="0.02"}'] == 1
    assert lines['meshd_task_seconds_bucket{le="2.0"}'] == 2
    assert lines["meshd_task_seconds_sum"] == pytest.approx(1.515)


def test_a_duration_of_clocks_that_disagree_is_none_and_never_negative() -> None:
    metrics = Metrics()
    metrics.on_event(_done(-400))
    assert _lines(metrics)["meshd_task_seconds_sum"] == 0


def test_what_others_count_is_a_counter_and_how_long_it_took_a_summary() -> None:
    metrics = Metrics()
    metrics.set_gauges({"meshd_inbox_refused_total": 3, "meshd_write_seconds": (2, 0.5)})
    text = metrics.render().decode()
    assert "# TYPE meshd_inbox_refused_total counter" in text
    assert "# TYPE meshd_write_seconds summary" in text
    lines = _lines(metrics)
    assert lines["meshd_inbox_refused_total"] == 3
    assert (lines["meshd_write_seconds_count"], lines["meshd_write_seconds_sum"]) == (2, 0.5)


def test_what_the_process_uses_is_shown_under_the_names_that_everybody_knows() -> None:
    shown = Metrics().render().decode()
    assert "process_resident_memory_bytes" in shown
    assert "process_cpu_seconds_total" in shown


def test_gauges_come_from_the_snapshot_and_former_labels_go_away() -> None:
    metrics = Metrics()
    metrics.set_gauges({"meshd_state": {"starting": 1}, "meshd_tasks_running": 3})
    metrics.set_gauges({"meshd_state": {"joined": 1}, "meshd_tasks_running": 4})
    lines = _lines(metrics)
    assert lines['meshd_state{state="joined"}'] == 1
    assert 'meshd_state{state="starting"}' not in lines
    assert lines["meshd_tasks_running"] == 4


def test_a_gauge_without_a_row_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        Metrics().set_gauges({"meshd_nonsense": 1})


def test_two_daemons_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.on_event(_done(1))
    assert _lines(first)['meshd_tasks_ended_total{state="done"}'] == 1
    assert _lines(second)['meshd_tasks_ended_total{state="done"}'] == 0


def test_what_an_alert_waits_for_is_there_before_it_happens() -> None:
    lines = _lines(Metrics())
    assert lines['meshd_tasks_ended_total{state="poison"}'] == 0
    assert lines['meshd_events_total{kind="peer_dead"}'] == 0


def test_every_row_has_help_a_unit_or_total_in_its_name_and_the_prefix() -> None:
    assert len({row.name for row in METRICS}) == len(METRICS)
    for row in METRICS:
        assert row.name.startswith("meshd_")
        assert row.help
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert row.share is None or row.kind in ("counter", "histogram"), row.name
        assert bool(row.buckets) == (row.kind == "histogram"), row.name


BACK = (events.PeerAlive("p", "b", 1, 1, "suspect", 2.0), events.PeerAlive("p", "b", 1, 2, "dead", 3.0))


def _samples() -> list[Event]:
    """One of every kind, and the ways back from a doubt and from a grave."""
    samples = {"str": "failed", "int": 3, "float": 1.5}
    found = []
    for kind in typing.get_args(Event):
        hints = typing.get_type_hints(kind).items()
        found.append(kind(**{field: samples.get(_type_name(hint), ("one",)) for field, hint in hints}))
    return [*found, *BACK]


def _type_name(hint: Any) -> str:
    """Of what may be missing, the name of what it is when it is there."""
    present = typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
    return getattr(present, "__name__", "")


@pytest.mark.parametrize("row", [row for row in METRICS if row.share is not None], ids=lambda row: row.name)
def test_every_counted_metric_moves_with_some_event(row: Metric) -> None:
    metrics = Metrics((row,))
    before = _lines(metrics)
    for event in _samples():
        metrics.on_event(event)
    assert _lines(metrics) != before


def test_no_event_breaks_a_metric() -> None:
    metrics = Metrics()
    for event in _samples():
        metrics.on_event(event)
    counted = [value for line, value in _lines(metrics).items() if line.startswith("meshd_events_total")]
    assert sum(counted) == len(_samples())
    assert all(counted)
