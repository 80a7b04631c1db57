"""Standings from events: they are those of the nodes themselves, and the share of pairs that agree is right."""

import pytest

from simulations.reports.observer import Observer
from simulations.reports.views import ALIVE, DEAD, SUSPECT, Views
from simulations.scenario import named
from simulations.world import World


@pytest.mark.parametrize("name", ["home-crash", "leave"])
def test_what_is_put_together_from_events_is_what_the_nodes_themselves_believe(name: str) -> None:
    scenario = named(name)
    observer = Observer(scenario)
    world = World(scenario, seed=2, watch=(observer.begin,))
    world.run()
    observer.end()
    hosts = list(world.hosts.values())
    for place, host in enumerate(hosts):
        if host.is_up:
            others = {each.id for at, each in enumerate(hosts) if observer.views.standing(place, at) == ALIVE}
            assert others | {host.id} == set(host.node.membership.alive())


def test_the_share_that_agrees_follows_every_change_as_if_all_pairs_were_counted() -> None:
    views = Views(3, range(3), run_s=10)
    for node in range(3):
        views.turn(node, is_up=True, now_s=0)
    assert views.agreement == 0
    for observer in range(3):
        for subject in range(3):
            views.see(observer, subject, ALIVE, now_s=1)
    assert views.agreement == 1
    views.see(0, 1, SUSPECT, now_s=2)
    assert views.agreement == pytest.approx(5 / 6)
    views.turn(1, is_up=False, now_s=3)  # two observers are left, and both still say that it lives, or may
    assert views.agreement == pytest.approx(2 / 4)
    views.see(0, 1, DEAD, now_s=4)
    views.see(2, 1, DEAD, now_s=5)
    assert views.agreed(1.0).whole_at_s == 5
    views.turn(1, is_up=True, now_s=6)
    views.begin(1, now_s=6)  # it knows nobody, and both take it for dead
    assert views.agreement == pytest.approx(2 / 6)
    assert views.agreed(1.0).whole_at_s is None


def test_a_picture_is_taken_only_where_something_has_changed() -> None:
    views = Views(2, range(2), run_s=48)
    views.turn(0, is_up=True, now_s=0)
    for second in range(48):
        views.look(float(second))
    views.see(0, 1, DEAD, now_s=48)
    frames = views.standings(("n1", "n2"), 48.0).frames
    assert [frame.rows for frame in frames] == [(" -", "  "), (" d", "  ")]


def test_pictures_of_a_large_mesh_are_bounded() -> None:
    views = Views(1_000, range(200), run_s=600)
    for tenth in range(6_000):
        views.see(0, 1, (ALIVE, DEAD)[tenth % 2], now_s=tenth / 10)
        views.look(tenth / 10)
    standings = views.standings([f"n{number}" for number in range(1_000)], 600.0)
    assert len(standings.frames) <= 21
    assert len(standings.nodes) == len(standings.frames[0].rows) == 200
    assert standings.nodes_total == 1_000
