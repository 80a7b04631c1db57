"""What links do to messages."""

import msgspec
import pytest

from protocol.limits import FRAME_BYTES_MAX
from simulations.chance import Chance, Delay
from simulations.links import Between, Line, LinkModel, Manner
from simulations.network import Network
from simulations.timeline import Timeline, ns

FRAME = bytes(range(200))
NAMES = ("a", "n1", "n2", "n3", "n4")


def _line(seed: int = 1) -> Line:
    return Line(Chance(seed), "a", "b")


def _fates(manner: Manner, count: int, *, line: Line | None = None, kind: str = "Ping", size: int = 100) -> list[int]:
    line = line or _line()
    return [len(line.arrivals(manner, now_ns=0, is_open=True, kind=kind, size=size)) for _ in range(count)]


def _runs(fates: list[int]) -> list[int]:
    """How many were lost in a row, each time."""
    text = "".join("x" if fate == 0 else " " for fate in fates)
    return [len(run) for run in text.split()]


@pytest.mark.parametrize("shape", ["lognormal", "exp", "uniform", "constant"])
def test_every_shape_of_delay_has_the_median_it_was_given(shape: str) -> None:
    delay = msgspec.convert({"p50_ms": 10, "p99_ms": 18, "shape": shape}, Delay)
    rng = Chance(3).stream("a", "test")
    times = sorted(delay.draw_ns(rng) for _ in range(4_001))
    assert 9.5e6 < times[2_000] < 10.5e6
    assert times[0] > 0
    if shape == "constant":
        assert times[0] == times[-1] == 10e6
    else:
        assert 17e6 < times[3_960] < 19e6


def test_a_shape_that_would_give_negative_times_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="uniform: p99_ms is too far above"):
        msgspec.convert({"p50_ms": 1, "p99_ms": 30, "shape": "uniform"}, Delay)


def test_losses_in_bursts_are_as_many_and_come_in_a_row() -> None:
    alone, rows = _fates(Manner(loss=0.2), 8_000), _fates(Manner(loss=0.2, burst=10), 8_000)
    assert 0.17 < alone.count(0) / 8_000 < 0.23
    assert 0.15 < rows.count(0) / 8_000 < 0.25
    assert sum(_runs(alone)) / len(_runs(alone)) < 1.5
    assert sum(_runs(rows)) / len(_runs(rows)) > 7


def test_loss_by_kind_spares_the_other_kinds() -> None:
    manner = Manner(loss=1.0, kinds=("Ping",))
    assert _fates(manner, 20) == [0] * 20
    assert _fates(manner, 20, kind="Ack") == [1] * 20


def test_a_replayed_message_comes_once_more_much_later() -> None:
    manner = Manner(replay=1.0, replay_s=60)
    first, second = _line().arrivals(manner, now_ns=0, is_open=True, kind="Ping", size=100)
    assert second - first == ns(60)


@pytest.mark.parametrize(
    ("manner", "is_so"),
    [
        (Manner(corrupt=1.0), lambda worn: sum(bin(a ^ b).count("1") for a, b in zip(worn, FRAME, strict=True)) == 1),
        (Manner(truncate=1.0), lambda worn: len(worn) < len(FRAME) and FRAME.startswith(worn)),
        (Manner(oversize=1.0), lambda worn: len(worn) > FRAME_BYTES_MAX and worn.startswith(FRAME)),
        (Manner(corrupt=1.0, kinds=("Ack",)), lambda worn: worn == FRAME),
    ],
)
def test_what_is_harmed_arrives_otherwise(manner: Manner, is_so: object) -> None:
    assert callable(is_so)
    line = _line()
    assert all(is_so(line.worn(manner, FRAME, "Ping")) for _ in range(50))


def test_of_a_frame_without_bytes_no_bit_is_turned() -> None:
    assert _line().worn(Manner(corrupt=1.0), b"", "Ping") == b""


def test_a_narrow_link_makes_messages_wait_and_drops_what_finds_no_room() -> None:
    manner = Manner(delay=Delay(p50_ms=1, p99_ms=1, shape="constant"), kb_s=10, queue_kb=5)
    line = _line()
    times = [line.arrivals(manner, now_ns=0, is_open=True, kind="Ping", size=1_000) for _ in range(10)]
    arrived = [each[0] for each in times if each]
    assert arrived == [ns(0.1 * number) + 1_000_000 for number in range(1, 7)], "one, and five that wait"
    assert times[6:] == [[]] * 4


def test_what_ails_a_link_for_a_while_moves_no_dice_of_what_follows() -> None:
    well, ill = _line(), _line()
    plain = Manner(loss=0.5)
    bad = Manner(loss=0.9, duplicate=0.5, reorder=0.5, replay=0.5, corrupt=0.5, delay=Delay(p50_ms=40, p99_ms=900))
    for _ in range(30):
        well.arrivals(plain, now_ns=0, is_open=True, kind="Ping", size=9)
        ill.arrivals(bad, now_ns=0, is_open=True, kind="Ping", size=9)
        ill.worn(bad, FRAME, "Ping")
    later = [
        [line.arrivals(plain, now_ns=ns(9_000), is_open=True, kind="Ping", size=9) for _ in range(50)]
        for line in (well, ill)
    ]
    assert later[0] == later[1]


def test_links_between_groups_are_otherwise_both_ways_and_only_in_what_was_said() -> None:
    slow = Delay(p50_ms=50, p99_ms=50, shape="constant")
    model = LinkModel(delay=slow, between=(Between(one=("n1-n2",), other=("n3",), link={"loss": 1.0}),))
    network = Network(timeline=Timeline(), chance=Chance(1), model=model, names=NAMES)
    assert network.arrivals("n1", "n3") == network.arrivals("n3", "n2") == []
    assert network.arrivals("n1", "n2") == [(50_000_000, b"")]


def test_a_link_whose_frames_are_mostly_of_no_use_is_no_clear_one() -> None:
    timeline = Timeline()
    network = Network(timeline=timeline, chance=Chance(1), model=LinkModel(), names=NAMES)
    timeline.now_ns = 7
    network.alter(Between(one=("n1",), other=("n2",), link={"corrupt": 0.2, "truncate": 0.2}))
    network.alter(Between(one=("n1",), other=("n3",), link={"truncate": 0.2}))
    assert (network.clear_since_ns("n1", "n2"), network.clear_since_ns("n1", "n3")) == (7, 0)


def test_a_link_that_is_altered_for_a_while_is_as_before_afterwards() -> None:
    timeline = Timeline()
    network = Network(timeline=timeline, chance=Chance(1), model=LinkModel(), names=NAMES)
    timeline.now_ns = 7
    altered = network.alter(Between(one=("n1",), other=("all",), link={"loss": 1.0}, way="there"))
    assert network.arrivals("n1", "n2") == []
    assert len(network.arrivals("n2", "n1")) == 1
    assert network.clear_since_ns("n2", "n1") == network.clear_since_ns("n1", "n2") == 7
    timeline.now_ns = 9_000_000
    network.restore(altered)
    timeline.now_ns = 11_000_000
    assert len(network.arrivals("n1", "n2")) == 1
    assert network.clear_since_ns("n1", "n2") == 9_000_000


def test_a_link_is_clear_again_when_what_was_on_its_way_over_it_has_arrived() -> None:
    timeline, late = Timeline(), {"p50_ms": 3_000, "p99_ms": 3_000, "shape": "constant"}
    network = Network(timeline=timeline, chance=Chance(1), model=LinkModel(), names=NAMES)
    altered = network.alter(Between(one=("n1",), other=("all",), link={"delay": late}))
    assert network.arrivals("n1", "n2") == [(3_000_000_000, b"")]
    timeline.now_ns = 9_000_000
    network.restore(altered)
    timeline.now_ns = 11_000_000
    assert network.arrivals("n1", "n2") == [(3_000_000_000, b"")], "in order, after what is on its way"
    assert network.clear_since_ns("n1", "n2") == 3_000_000_000


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ({"loss": 2}, "loss"),
        ({"speed": 1}, "speed"),
        ({"kinds": ["Pong"]}, "there is no message 'Pong'"),
        ({"corrupt": 0.6, "truncate": 0.6}, "more than all"),
        ({"delay": {"p50_ms": -1}}, "delay.p50_ms"),
    ],
)
def test_what_no_link_can_be_is_refused_with_its_key(link: dict[str, object], told: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=told):
        msgspec.convert({"one": ["n1"], "other": ["n2"], "link": link}, Between)
