"""What comes again and again: the first at once, the others as one record that counts them, and none forgotten."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshd.observe import tally
from meshd.observe.audit import Audit
from meshd.observe.segments import records_of
from meshd.observe.tally import Counts
from protocol import limits
from protocol.audit import Act, Record
from protocol.effects import Effect, Reply, Uttered
from protocol.events import AgentChanged
from tests.meshd.observe.test_journal import taken_up
from tests.waiting import until


def counted(record: Record) -> tuple[str, str, object, object]:
    return record.action, record.resource, record.more.get("state"), record.more.get("times")


async def recorded(folder: Path, audit: Audit) -> list[Record]:
    await audit.journal.close()
    return [record for record, _ in records_of(folder, through=1 << 40)]


async def test_an_agent_that_crashes_again_and_again_is_told_once_and_then_counted(tmp_path: Path) -> None:
    audit = Audit(taken_up(tmp_path))
    for number in range(10):
        audit.tell(AgentChanged("a", "restarting", f"crash {number}"))
        audit.tell(AgentChanged("a", "ready", ""))
    audit.tell(AgentChanged("b", "ready", ""))
    audit.tell(AgentChanged("a", "failed", "given up"))
    audit.close()
    found = await recorded(tmp_path, audit)
    assert [counted(each) for each in found] == [
        ("agent.change", "agent/a", "restarting", None),
        ("agent.change", "agent/a", "ready", None),
        ("agent.change", "agent/b", "ready", None),
        ("agent.change", "agent/a", "restarting", 9),
        ("agent.change", "agent/a", "ready", 9),
        ("agent.change", "agent/a", "failed", None),
    ]
    assert found[3].more["detail"] == "crash 9"


async def test_events_of_agents_are_counted_by_topic_and_agent_and_go_out_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "SPAN_S", 0.05)
    audit = Audit(taken_up(tmp_path))
    done: list[Effect] = []

    def say(topic: str, agent: str, iid: str) -> None:
        said = Reply(1, value=Uttered(agent, topic, iid, "g"))
        audit.pass_on([said], do=done.append, refuse=done.append)

    for number in range(5):
        say("sales.said", "shout", f"i{number}")
    say("sales.said", "other", "i9")
    say("support.all", "shout", "i8")
    assert len(done) == 7
    await until(lambda: audit.journal.added == 3)
    found = await recorded(tmp_path, audit)
    assert [(each.who, each.resource, each.more, each.iid, each.decision) for each in found] == [
        ("agent/shout", "topic/sales.said", {"times": 5}, "i4", "allow"),
        ("agent/other", "topic/sales.said", {"times": 1}, "i9", "allow"),
        ("agent/shout", "topic/support.all", {"times": 1}, "i8", "allow"),
    ]


async def test_no_more_kinds_are_kept_than_there_is_room_for_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUDIT_TALLIES_MAX", 2)
    told: list[Act] = []
    own = Counts(told.append)
    for number in range(5):
        own.count(Act("topic.publish", f"topic/t{number}", "allow"), kind="a")
    assert len(told) == 3
    own.close()
    assert [act.resource for act in told] == [f"topic/t{number}" for number in range(5)]
    own.close()
    assert len(told) == 5


class Unsearched(dict[tuple[str, str], Any]):
    """One that is asked, and not gone through."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        raise AssertionError("all of it is gone through")


async def test_an_event_closes_what_is_counted_of_its_own_resource_and_looks_at_no_other() -> None:
    told: list[Act] = []
    own = Counts(told.append)
    for number in range(3):
        for agent in ("a", "b"):
            own.count(Act("topic.publish", f"topic/t{number}", "allow", agent), kind=agent)
    counts = own._counts
    own._counts = Unsearched(counts)
    own.close("task/t1")
    own.close("topic/t1")
    assert [(act.resource, act.who) for act in told] == [("topic/t1", "a"), ("topic/t1", "b")]
    own._counts = dict(own._counts.items())
    own.close()
    assert len(told) == 6
    assert own._kinds == {}


async def test_the_same_once_more_after_a_span_is_recorded_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "SPAN_S", 0.01)
    told: list[Act] = []
    own = Counts(told.append)
    own.add(Act("agent.change", "agent/a", "done"), kind="ready")
    await until(lambda: not own._counts)
    own.add(Act("agent.change", "agent/a", "done"), kind="ready")
    assert [act.more for act in told] == [{}, {}]
    own.close()
