"""The record of the world keeps the promises of the daemon's store port."""

from protocol.effects import Write
from protocol.inputs import Entry, Found, Listed, Lost, Written
from protocol.wire.task import Presence
from simulations.chance import Chance
from simulations.links import LinkModel
from simulations.network import RECORD, Network
from simulations.seen import Seen, Stored
from simulations.store import Store, StoreModel
from simulations.timeline import Timeline, ns


class _Bench:
    """A store, its time, and every answer that came."""

    def __init__(self, model: StoreModel | None = None) -> None:
        self.timeline = Timeline()
        chance = Chance(1)
        self.network = Network(timeline=self.timeline, chance=chance, model=LinkModel())
        self.seen: list[Seen] = []
        self.store = Store(
            timeline=self.timeline,
            network=self.network,
            chance=chance,
            model=model or StoreModel(),
            see=self.seen.append,
        )
        self.answers: list[Written | Lost | Found | Listed] = []
        self.is_alive = True

    def write(self, frame: bytes, *, expect: int, src: str = "a", keep_s: float = 0.0) -> None:
        change = Write("p00.x", Presence(1, 1, src), expect=expect, keep_s=keep_s, frame=frame)
        self.store.write(src, change, self.answered, lambda: self.is_alive)

    def answered(self, answer: Written | Lost | Found | Listed) -> None:
        self.answers.append(answer)

    def read(self) -> None:
        self.store.read("a", "p00.x", self.answered, lambda: True)

    def wait(self, seconds: float) -> list[Written | Lost | Found | Listed]:
        until_ns = self.timeline.now_ns + ns(seconds)
        self.timeline.run(until_ns)
        answers, self.answers = self.answers, []
        return answers


def test_a_write_with_the_revision_that_stands_is_written_and_any_other_is_lost() -> None:
    bench = _Bench()
    bench.write(b"one", expect=0)
    assert bench.wait(1) == [Written("p00.x", 1)]
    bench.write(b"two", expect=0)
    assert bench.wait(1) == [Lost("p00.x", 1, b"one")]
    bench.write(b"two", expect=1)
    assert bench.wait(1) == [Written("p00.x", 2)]


def test_a_write_whose_acknowledgement_was_lost_comes_back_as_written_once() -> None:
    bench = _Bench()
    bench.store.lose_acks(1.0)
    bench.write(b"one", expect=0)
    assert bench.wait(3) == []
    bench.store.lose_acks(None)
    assert bench.wait(3) == [Written("p00.x", 1)]
    assert sum(isinstance(each, Stored) for each in bench.seen) == 1


def test_a_write_whose_acknowledgement_was_lost_and_that_was_overtaken_is_lost() -> None:
    bench = _Bench()
    bench.store.lose_acks(1.0)
    bench.write(b"one", expect=0)
    bench.wait(0.5)
    bench.store.lose_acks(None)
    bench.write(b"two", expect=1, src="b")
    assert bench.wait(3) == [Written("p00.x", 2), Lost("p00.x", 2, b"two")]


def test_a_stall_is_no_outcome_and_what_it_held_is_done_in_order() -> None:
    bench = _Bench()
    bench.store.stall()
    bench.write(b"one", expect=0)
    bench.wait(0.5)
    bench.write(b"two", expect=0, src="b")
    assert bench.wait(20) == []
    bench.store.resume()
    assert sorted(bench.wait(3), key=str) == [Lost("p00.x", 1, b"one"), Written("p00.x", 1)]


def test_a_write_through_a_cut_is_repeated_until_it_gets_there() -> None:
    bench = _Bench()
    cut = bench.network.cut(groups={"a": 1, RECORD: 0})
    bench.write(b"one", expect=0)
    assert bench.wait(10) == []
    bench.network.heal(cut)
    assert bench.wait(3) == [Written("p00.x", 1)]


def test_what_was_sent_arrives_though_its_sender_died() -> None:
    bench = _Bench()
    bench.store.stall()
    bench.write(b"one", expect=0)
    bench.wait(0.5)
    bench.is_alive = False
    bench.store.resume()
    assert bench.wait(3) == []
    assert [each.revision for each in bench.seen if isinstance(each, Stored)] == [1]


def test_a_read_of_what_cannot_be_reached_fails_with_a_reason() -> None:
    bench = _Bench()
    bench.store.stall()
    bench.read()
    bench.store.list("a", (0,), bench.answered, lambda: True)
    answers = bench.wait(6)
    assert all(isinstance(each, Found | Listed) and each.failed for each in answers)
    assert len(answers) == 2


def test_a_key_removes_itself_when_its_time_is_over() -> None:
    bench = _Bench()
    bench.write(b"one", expect=0, keep_s=5)
    bench.wait(1)
    bench.read()
    assert bench.wait(1) == [Found("p00.x", 1, b"one")]
    bench.wait(5)
    bench.read()
    assert bench.wait(1) == [Found("p00.x", 0, b"")]


def test_what_is_purged_is_gone_and_a_bucket_made_anew_counts_its_revisions_from_one() -> None:
    bench = _Bench()
    bench.write(b"one", expect=0)
    assert bench.wait(2.0) == [Written("p00.x", 1)]
    bench.store.purge(0.0, is_anew=False)
    assert bench.store.row("p00.x") is not None, "nobody removed anything"
    bench.store.purge(1.0, is_anew=False)
    assert bench.store.row("p00.x") is None
    bench.write(b"two", expect=1)
    assert bench.wait(2.0) == [Lost("p00.x", 0, b"")]
    bench.write(b"two", expect=0)
    assert bench.wait(2.0) == [Written("p00.x", 2)]
    bench.store.purge(0.0, is_anew=True)
    bench.write(b"three", expect=0)
    assert bench.wait(2.0) == [Written("p00.x", 1)]


def test_who_is_there_is_read_by_those_alone_who_reach_the_record() -> None:
    bench = _Bench()
    bench.store.write("a", Write("node.a", Presence(1, 1, "a"), expect=0, frame=b"beat"), bench.answered, lambda: True)
    bench.wait(1)
    assert bench.store.presences("a") == [Entry("node.a", 1, b"beat")]
    cut = bench.network.cut(groups={}, pairs=frozenset({(RECORD, "a")}))
    assert bench.store.presences("a") is None, "what is asked is heard there, and the answer is not heard here"
    assert bench.store.presences("b") is not None
    bench.network.heal(cut)
    bench.store.stall()
    assert bench.store.presences("a") is None


def test_a_listing_shows_each_key_of_its_partitions_as_it_stands_then() -> None:
    bench = _Bench()
    for key in ("p02.b", "p00.x", "p01.a", "p02.a"):
        bench.store.write("a", Write(key, Presence(1, 1, "a"), expect=0, frame=b"f"), bench.answered, lambda: True)
        bench.wait(1)
    bench.store.list("a", (2, 1), bench.answered, lambda: True)
    [listed] = bench.wait(1)
    assert isinstance(listed, Listed)
    assert [entry.key for entry in listed.entries] == ["p01.a", "p02.a", "p02.b"]
    bench.store.purge(1.0, is_anew=False)
    bench.store.list("a", (2,), bench.answered, lambda: True)
    assert bench.wait(1) == [Listed((2,), ())]
