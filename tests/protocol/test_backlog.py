"""What waits: the highest priority first, then the oldest, and nothing twice."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from protocol.backlog import Backlog
from protocol.wire.task import TaskRecord
from tests.protocol.work import record


def _task(number: int, *, capability: str = "echo@1") -> TaskRecord:
    return structs.replace(
        record(), id=f"t{number}", priority=number % 3, submitted_ms=number % 5, capability=capability
    )


STEPS = st.lists(st.tuples(st.sampled_from(["push", "discard", "first"]), st.integers(0, 9)), max_size=60)


@given(STEPS)
def test_the_first_in_line_are_those_that_a_sorted_list_would_name(steps: list[tuple[str, int]]) -> None:
    backlog, waiting = Backlog(), dict[str, TaskRecord]()
    for verb, number in steps:
        task = _task(number)
        if verb == "push":
            backlog.push(task)
            waiting[task.id] = task
        elif verb == "discard":
            backlog.discard(task.id)
            waiting.pop(task.id, None)
        ranked = sorted(waiting.values(), key=lambda each: (-each.priority, each.submitted_ms, each.id))
        assert backlog.first("echo@1", number) == [each.id for each in ranked[:number]]
        assert len(backlog) == len(waiting)
        assert backlog.capabilities() == (["echo@1"] if waiting else [])


def test_capabilities_wait_apart() -> None:
    backlog = Backlog()
    backlog.push(_task(1))
    backlog.push(_task(2, capability="other@1"))
    assert backlog.first("echo@1", 9) == ["t1"]
    assert backlog.first("other@1", 9) == ["t2"]
    assert backlog.first("unheard@1", 9) == []
    assert backlog.capabilities() == ["echo@1", "other@1"]
