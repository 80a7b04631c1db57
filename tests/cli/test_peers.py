"""`meshctl peers drain, undrain and remove`."""

import json

import pytest
from msgspec import structs

from meshd.api.schemas import PeerLoad, Removed
from meshd.outlook import TWIN
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import A, B, FakeBackend, Served, a_peer


def test_a_node_is_drained_and_taken_back(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    said = meshctl("peers", "drain", "b")
    assert said.code == 0
    assert said.out == "b finishes what it has and takes nothing new, until undrained or restarted\n"
    assert meshctl("peers", "undrain", "b").out == "b takes new work\n"
    backend.upkeep.held_by = ("audit",)
    told = "b may take new work; but its audit cannot be written, so it takes no new work\n"
    assert meshctl("peers", "undrain", "b").out == told
    assert backend.upkeep.steered == [("b", True), ("b", False), ("b", False)]
    assert json.loads(meshctl("peers", "drain", "b", "-o", "json").out)["draining"] is True
    assert meshctl("peers", "drain", "b", "-o", "name").out == "b\n"


def test_a_gone_node_is_forgotten_and_who_did_not_answer_is_named(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("peers", "remove", "c")
    assert (said.code, said.out) == (0, "c is forgotten on a\n")
    assert said.err == "not on b: silent, or seeing it alive; run this again later\n"


def test_who_refuses_to_forget_for_it_is_asked_too_often_is_not_called_silent(
    meshctl: Meshctl, served: Served, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def remove(name: str) -> Removed:
        return Removed(name, B, ("a",), silent=(), refused=("b",), again_s=1.0)

    monkeypatch.setattr(backend.upkeep, "remove", remove)
    told = "not on b, which answered that it is asked too often; run this again in 1 s\n"
    assert meshctl("peers", "remove", "c").err == told


def test_a_living_node_is_not_forgotten(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("peers", "remove", "b")
    assert said.code == 8
    assert said.err.startswith("error[still_alive]: b is alive, so it is not forgotten")


def test_a_clock_that_is_off_is_told_beside_the_state(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.peers_ = [structs.replace(peer, clock_ahead_ms=-10_800_000) for peer in backend.peers_]
    assert "alive, clock 3 h 0 min behind" in meshctl("peers").out


def test_a_node_that_runs_twice_is_marked_and_shown_with_the_reason(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    backend.peers_ = [a_peer("a", A), a_peer("b", B, twin=f"it {TWIN}")]
    (_, a, b) = meshctl("peers").out.splitlines()
    assert ("twice" in a, "alive, twice" in b) == (False, True)
    assert "two daemons have its key" in meshctl("peers", "show", "b").out


def test_how_old_the_word_of_how_busy_a_node_is_and_why_it_gets_no_work_is_told(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    why = "died 3 times in 10 min: gets work that others can do in 12 s"
    busy = PeerLoad(running=3, waiting=1, slots=4, age_s=2.34)
    backend.peers_ = [a_peer("a", A), a_peer("b", B, state="damped", damped=why, load=busy)]
    said = meshctl("peers", "show", "b").out
    assert "3 of 4 slots, 1 waiting; it said so 2.3 s ago" in said
    assert why in said
    assert "said so" not in meshctl("peers", "show", "a").out


def test_the_nodes_of_one_region_are_listed_and_its_bridges_are_marked(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    backend.peers_ = [a_peer("a", A, region="east"), a_peer("b", B, region="west", bridge=True)]
    (_, east, west) = meshctl("peers").out.splitlines()
    assert "east " in east
    assert "bridge" not in east
    assert "west, bridge" in west
    assert meshctl("peers", "--region", "west", "-o", "name").out == "b\n"
    assert "west, bridge" in meshctl("peers", "show", "b").out
    nowhere = meshctl("peers", "--region", "north")
    assert (nowhere.code, "no node of region north is in view" in nowhere.out + nowhere.err) == (0, True)


def test_a_region_goes_with_the_list_alone(meshctl: Meshctl, served: Served) -> None:
    for words in (("--all-views",), ("show", "b")):
        said = meshctl("peers", "--region", "west", *words)
        assert (said.code, "--region goes with the list of nodes alone" in said.err) == (2, True)
    assert meshctl("peers", "--region", "A b").code == 2


def test_a_status_says_where_the_node_stands_once_there_is_somewhere_else(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    assert "region" not in meshctl("status").out
    backend.status_ = structs.replace(backend.status_, region="east", other_regions=2)
    assert ", region east: " in meshctl("status").out
    backend.status_ = structs.replace(backend.status_, bridge=True)
    assert ", region east, a bridge to 2 others: " in meshctl("status").out
