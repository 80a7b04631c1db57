"""Writes go out one at a time a key."""

from protocol.effects import Write
from protocol.inputs import Found, Listed, Lost, Written
from protocol.wire.task import Presence
from simulations.lanes import Lanes
from simulations.store import Answer


def _write(key: str, beat: int) -> Write:
    return Write(key, Presence(1, beat, "n1"), expect=0)


def test_of_one_key_the_next_write_goes_out_when_the_outcome_of_the_one_before_is_in() -> None:
    sent: list[tuple[Write, Answer]] = []
    told: list[Written | Lost | Found | Listed] = []
    lanes = Lanes(begin=lambda write, answer: sent.append((write, answer)), tell=told.append)
    first, second, third = _write("a", 1), _write("a", 2), _write("a", 3)
    lanes.put(first)
    lanes.put(second)
    assert [write for write, _ in sent] == [first]
    sent[0][1](Written("a", 7))
    assert [write for write, _ in sent] == [first, second]
    sent[1][1](Lost("a", 8, b"another"))
    lanes.put(third)
    assert [write for write, _ in sent] == [first, second, third]
    assert told == [Written("a", 7), Lost("a", 8, b"another")]


def test_writes_of_different_keys_do_not_wait_for_each_other() -> None:
    sent: list[str] = []
    lanes = Lanes(begin=lambda write, _: sent.append(write.key), tell=lambda _: None)
    for key in ("a", "b", "a"):
        lanes.put(_write(key, 1))
    assert sent == ["a", "b"]
