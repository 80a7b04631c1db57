"""Links, cuts and dice."""

from simulations.chance import Chance, Delay
from simulations.links import LinkModel
from simulations.network import CROWD, RECORD, Network
from simulations.timeline import Timeline


def _network(model: LinkModel | None = None, seed: int = 1) -> Network:
    return Network(timeline=Timeline(), chance=Chance(seed), model=model or LinkModel())


def test_groups_do_not_reach_each_other_until_they_heal() -> None:
    network = _network()
    cut = network.cut(groups={"a": 0, "b": 1, RECORD: 0})
    assert not network.reaches("a", "b")
    assert not network.reaches("b", RECORD)
    assert network.reaches("a", RECORD)
    network.heal(cut)
    assert network.reaches("a", "b")


def test_over_links_that_are_bad_from_the_beginning_nobody_is_in_reach_for_certain() -> None:
    bad = [
        LinkModel(loss=0.6),
        LinkModel(loss=0.1, burst=20),
        LinkModel(delay=Delay(p50_ms=2_000, p99_ms=4_000)),
        LinkModel(kb_s=1),
    ]
    good = [LinkModel(loss=0.2), LinkModel(loss=0.1, burst=3), LinkModel(kb_s=1_000), LinkModel(duplicate=0.9)]
    for models, is_bad in ((bad, True), (good, False)):
        for model in models:
            network = _network(model)
            network._timeline.now_ns = 9
            assert (network.clear_since_ns("a", "b") == 9) is is_bad, model


def test_a_one_way_cut_lets_the_other_way_pass() -> None:
    network = _network()
    network.cut(groups={}, pairs=frozenset({("a", "b")}))
    assert network.arrivals("a", "b") == []
    assert len(network.arrivals("b", "a")) == 1


def test_a_link_without_reordering_keeps_its_order() -> None:
    network = _network(LinkModel(delay=Delay(p50_ms=1, p99_ms=100)))
    times = [network.arrivals("a", "b")[0] for _ in range(200)]
    assert times == sorted(times)


def test_a_link_with_reordering_does_not() -> None:
    network = _network(LinkModel(delay=Delay(p50_ms=1, p99_ms=100), reorder=1.0))
    times = [network.arrivals("a", "b")[0] for _ in range(200)]
    assert times != sorted(times)


def test_loss_and_doubling_happen_about_as_often_as_asked() -> None:
    network = _network(LinkModel(loss=0.2, duplicate=0.1))
    counts = [len(network.arrivals("a", "b")) for _ in range(4_000)]
    assert 0.17 < counts.count(0) / 4_000 < 0.23
    assert 0.06 < counts.count(2) / 4_000 < 0.10


def test_who_sends_much_moves_no_dice_of_another_pair() -> None:
    quiet, loud = _network(LinkModel(loss=0.5)), _network(LinkModel(loss=0.5))
    for _ in range(50):
        loud.arrivals("a", "c")
    assert [quiet.arrivals("a", "b") for _ in range(50)] == [loud.arrivals("a", "b") for _ in range(50)]


def test_a_cut_moves_no_dice_of_what_follows_it() -> None:
    whole, cut = _network(LinkModel(loss=0.5)), _network(LinkModel(loss=0.5))
    apart = cut.cut(groups={"a": 0, "b": 1})
    for _ in range(20):
        whole.arrivals("a", "b")
        cut.arrivals("a", "b")
    cut.heal(apart)
    lost = [[not network.arrivals("a", "b") for _ in range(50)] for network in (whole, cut)]
    assert lost[0] == lost[1]


def test_a_delay_has_the_median_it_was_given() -> None:
    rng = Chance(3).stream("a", "test")
    times = sorted(Delay(p50_ms=2, p99_ms=30).draw_ns(rng) for _ in range(4_001))
    assert 1.8e6 < times[2_000] < 2.2e6
    assert 24e6 < times[3_960] < 38e6


def test_in_a_crowd_the_links_of_one_node_share_dice_and_those_of_others_have_their_own() -> None:
    def arrivals(nodes: int, before: tuple[tuple[str, str], ...]) -> list[tuple[int, bytes]]:
        names = tuple(f"n{number}" for number in range(nodes))
        network = Network(timeline=Timeline(), chance=Chance(1), model=LinkModel(), names=names)
        for src, dst in before:
            network.arrivals(src, dst)
        return network.arrivals("n1", "n2")

    alone = arrivals(CROWD + 1, ())
    assert arrivals(CROWD + 1, (("n3", "n2"),)) == alone
    assert arrivals(CROWD + 1, (("n1", "n3"),)) != alone
    assert arrivals(CROWD, (("n1", "n3"),)) == arrivals(CROWD, ())
