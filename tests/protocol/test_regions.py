"""Who bridges: the same few wherever the same members are seen; who looks after whom across regions."""

from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.regions import Regions
from protocol.replica import Me

EU = tuple(f"e{number}" for number in range(6))
US = tuple(f"u{number}" for number in range(6))


def regions(me: str, *, eu: tuple[str, ...] = EU, us: tuple[str, ...] = US) -> Regions:
    made = Regions(Me(id=me, life=1, name=me, region="us" if me in US else "eu", domain=""))
    for node in (*eu, *us):
        made.settle(node, "us" if node in US else "eu")
    return made


def test_all_who_see_the_same_members_name_the_same_bridges_and_each_knows_its_place() -> None:
    for region, members in (("eu", EU), ("us", US)):
        named = {regions(me).bridges(region) for me in (*EU, *US)}
        assert len(named) == 1
        (bridges,) = named
        assert [regions(me).place for me in bridges] == [0, 1, 2]
        assert {regions(me).place for me in members if me not in bridges} == {-1}


@given(seen=st.lists(st.sampled_from((*EU, *US)), max_size=12), gone=st.sets(st.sampled_from((*EU, *US))))
def test_the_order_in_which_nodes_come_and_go_does_not_matter(seen: list[str], gone: set[str]) -> None:
    one, other = regions("e0", eu=(), us=()), regions("e0", eu=(), us=())
    for node in seen:
        one.settle(node, "us" if node in US else "eu")
    for node in gone:
        one.part(node)
    for node in sorted({*seen} - gone):
        other.settle(node, "us" if node in US else "eu")
    assert (one.bridges("eu"), one.bridges("us"), one.near, one.far) == (
        other.bridges("eu"),
        other.bridges("us"),
        other.near,
        other.far,
    )


def test_one_bridge_that_goes_moves_nobody_else_and_the_next_takes_its_place() -> None:
    view = regions("e0")
    first, second, third = view.bridges("eu")
    gone = second if second != "e0" else third
    view.part(gone)
    left = [each for each in (first, second, third) if each != gone]
    assert [each for each in view.bridges("eu") if each in left] == left
    assert len(view.bridges("eu")) == limits.BRIDGES


def test_others_stand_in_for_bridges_that_are_suspect_until_these_are_there_after_all() -> None:
    view = regions("u0")
    before = view.bridges("eu")
    for node in before:
        view.doubt(node)
    assert not {*view.bridges("eu")} & {*before}
    for node in EU:
        view.doubt(node)
    assert view.bridges("eu") == before, "when all are suspect nobody is left out"
    view.trust(before[1])
    assert view.bridges("eu") == (before[1],)


def test_a_node_alone_in_its_region_is_its_bridge_and_knows_of_one_region_only() -> None:
    alone = regions("e0", eu=(), us=())
    assert (alone.is_one, alone.is_bridge, alone.near, alone.far) == (True, True, (), ())
    alone.settle("u1", "us")
    assert (alone.is_one, alone.is_bridge, alone.far) == (False, True, ("u1",))


def test_a_node_that_comes_back_elsewhere_lives_there_alone() -> None:
    view = regions("e0")
    view.settle("e1", "us")
    assert "e1" not in view.near
    assert view.is_far("e1")
    assert view.names == ("eu", "us")
    for node in (*US, "e1"):
        view.part(node)
    assert view.is_one


def test_a_suspicion_is_looked_after_in_the_region_of_the_suspect() -> None:
    accused, accuser = "e1", "e2"
    for me in ("e0", "e3"):
        others = [each for each in (*EU, *US) if each not in (me, accused)]
        assert set(regions(me).jury(accused, accuser, others)) == {*EU} - {accused, accuser}
    assert regions("u0").jury(accused, accuser, [*EU, *US]) == []


def test_who_is_accused_from_another_region_is_looked_after_in_both() -> None:
    bridges = regions("u0").bridges("us")
    accuser, me = bridges[0], bridges[1]
    others = [each for each in (*EU, *US) if each != me]
    assert set(regions(me).jury("e1", accuser, others)) == {*bridges} - {accuser}
    assert set(regions("e0").jury("e1", accuser, [each for each in (*EU, *US) if each != "e0"])) == {*EU} - {"e1"}


def test_a_region_with_too_few_to_look_after_each_other_has_the_bridges_of_the_others() -> None:
    view = regions(regions("u0").bridges("us")[0], eu=("e0", "e1"))
    jury = view.jury("e0", "e1", [each for each in ("e1", *US) if each != view.bridges("us")[0]])
    assert set(jury) == {*view.bridges("us")}


def test_one_neighbour_alone_is_too_few_and_looks_after_it_with_the_bridges_of_the_others() -> None:
    view = regions("e2", eu=("e0", "e1", "e2"))
    jury = view.jury("e0", "e1", ["e1", *US])
    assert set(jury) == {"e2", *view.bridges("us")}


def test_with_one_region_everybody_but_the_accuser_may_look_after_a_suspicion() -> None:
    view = regions("e0", us=())
    assert view.jury("e1", "e2", ["e2", "e3", "e4"]) == ["e0", "e3", "e4"]


def test_a_node_probes_its_own_region_and_a_bridge_all() -> None:
    bridge, other = regions("e0").bridges("eu")[0], next(each for each in EU if each not in regions("e0").bridges("eu"))
    assert regions(bridge).probed is None
    assert regions(other).probed == regions(other).near
    assert regions("e0", us=()).probed is None
