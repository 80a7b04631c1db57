"""Words about a live mesh become faults, or are refused with what there is instead."""

import pytest

from simulations import faults
from simulations.live import LiveMesh, heard
from simulations.scenario import ScenarioError
from simulations.wishes import Granted, Kind, Wish, granted, seconds
from tests.simulations.live_answers import answers, node_id


def a_mesh(*, servers: int = 1, where: str = "a") -> LiveMesh:
    told = answers()
    told["status"]["record"] = {"copies": servers, "where": where}
    return heard(told)


def asked(kind: Kind, text: str, mesh: LiveMesh | None = None) -> Granted:
    return granted(Wish(kind, text), mesh or a_mesh(), run_s=60.0, from_s=20.0)


def test_who_is_cut_off_from_the_only_server_is_alone_and_finds_out() -> None:
    cut = asked("cut", "region:east,region:west@10s+30s")
    [partition, *unlinked] = cut.faults
    assert isinstance(partition, faults.Partition)
    assert partition.groups == (("n1", "n2", "n3"), ("n4",), ("n5",))
    assert (partition.at_s, partition.for_s, partition.record) == (30.0, 30.0, "n1")
    assert [fault.node for fault in unlinked if isinstance(fault, faults.Unlink)] == ["n4", "n5"]
    assert "the one server is on a" in cut.says
    assert (cut.at_s, cut.ends_s) == (10.0, 40.0)


def test_a_short_cut_is_over_before_anybody_gives_its_connection_up() -> None:
    assert len(asked("cut", "region:west@10s+5s").faults) == 1


def test_groups_with_servers_of_their_own_part_as_groups() -> None:
    [cut] = asked("cut", "region:east,region:west@10s", a_mesh(servers=3)).faults
    assert isinstance(cut, faults.Partition)
    assert cut.groups == (("n1", "n2", "n3"), ("n4", "n5"))


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("a,b:c@1s", (("n1", "n2", "n4", "n5"), ("n3",))),
        ("c:a,b@1s", (("n3",), ("n1", "n2", "n4", "n5"))),
        ("region:west@1s", (("n1", "n2", "n3"), ("n4", "n5"))),
        ("b@1s", (("n1", "n3", "n4", "n5"), ("n2",))),
        ("region:west,b:c@1s", (("n4", "n5", "n2", "n1"), ("n3",))),
        ("region:west:region:east@1s", (("n4", "n5"), ("n1", "n2", "n3"))),
    ],
)
def test_who_is_not_named_stands_where_the_server_is_else_with_the_first_group(
    text: str, groups: tuple[tuple[str, ...], ...]
) -> None:
    mesh = a_mesh(servers=3, where="a")
    [cut] = asked("cut", text, mesh).faults
    assert isinstance(cut, faults.Partition)
    assert cut.groups == groups


def test_kills_and_stops_take_nodes_and_regions() -> None:
    killed = asked("kill", "region:west,b@5s+10s")
    assert [(fault.node, fault.at_s, fault.for_s) for fault in killed.faults if isinstance(fault, faults.Crash)] == [
        ("n4", 25.0, 10.0),
        ("n5", 25.0, 10.0),
        ("n2", 25.0, 10.0),
    ]
    assert killed.says == "d, e, b killed and started again after 10 s"
    assert asked("kill", "b@5s").ends_s == 0.0
    [stop] = asked("pause", f"{node_id('c')[:6]}@500ms+0.5m").faults
    assert isinstance(stop, faults.Pause)
    assert (stop.node, stop.at_s) == ("n3", 20.5)


def test_the_broker_goes_and_comes_back() -> None:
    [outage] = asked("broker-down", "10s+20s").faults
    assert isinstance(outage, faults.Outage)
    assert (outage.at_s, outage.for_s) == (30.0, 20.0)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("kill", "z@1s", "there is no node 'z'; there are a, b, c, d, e"),
        ("kill", "@1s", "there is no node in it"),
        ("kill", "a", "there is no @TIME in it"),
        ("kill", "a,@1s", "there is no node ''"),
        ("kill", "a,a@1s", "'a' is named twice"),
        ("kill", "region:east,a@1s", "'a' is named twice"),
        ("kill", "region:@1s", "there is no region ''; there are east, west"),
        ("kill", "a@-1s", "'-1s' is no time"),
        ("kill", "a@1e300", "'1e300' is no time"),
        ("kill", "a@nan", "'nan' is no time"),
        ("kill", "a@\uff19s", "'\uff19s' is no time"),
        ("kill", "a@2h", "'2h' is no time"),
        ("kill", "a@60s", "it ends after 60 s, and the run after 60 s"),
        ("kill", "a@1s+0s", "it lasts no time"),
        ("kill", "a@1s+", "'' is no time"),
        ("pause", "a@1s", "it does not say how long"),
        ("pause", "a@50s+20s", "it ends after 70 s"),
        ("broker-down", "10s", "it does not say how long"),
        ("broker-down", "a@10s+1s", "'a@10s' is no time"),
        ("cut", "region:north@1s", "there is no region 'north'; there are east, west"),
        ("cut", "a,b:b,c@1s", "'b' stands in two groups"),
        ("cut", "region:east,region:east@1s", "stands in two groups"),
        ("cut", "a,b,c,d,e@1s", "all nodes are in it"),
        ("cut", "a:@1s", "there is no node ''"),
        ("cut", "n1@1s", "there is no node 'n1'"),
        ("cut", "a\x1b[2J@1s", "there is no node 'a\\\\x1b"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_word(kind: Kind, text: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said.replace("[", r"\[")) as refused:
        asked(kind, text)
    assert str(refused.value).startswith(f"--{kind} ")


def test_a_name_that_several_bear_is_asked_for_by_id_and_one_that_is_gone_is_gone() -> None:
    told = answers()
    told["peers"][1]["name"] = "a"
    told["peers"][4]["state"] = "left"
    mesh = heard(told)
    with pytest.raises(ScenarioError, match="'a' may be several nodes, aaaaaaaa, bbbbbbbb"):
        asked("kill", "a@1s", mesh)
    with pytest.raises(ScenarioError, match="'e' is gone already"):
        asked("kill", "e@1s", mesh)
    assert asked("kill", "bbbb@1s", mesh).faults


def test_times_have_units() -> None:
    assert [seconds(text, "--run") for text in ("10", "10s", "250ms", "1.5m", "1h")] == [10, 10, 0.25, 90, 3_600]
