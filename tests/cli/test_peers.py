"""`meshctl peers drain, undrain and remove`."""

import json

from msgspec import structs

from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import FakeBackend, Served


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


def test_a_living_node_is_not_forgotten(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("peers", "remove", "b")
    assert said.code == 8
    assert said.err.startswith("error[still_alive]: b is alive, so it is not forgotten")


def test_a_clock_that_is_off_is_told_beside_the_state(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.peers_ = [structs.replace(peer, clock_ahead_ms=-10_800_000) for peer in backend.peers_]
    assert "alive, clock 3 h 0 min behind" in meshctl("peers").out
