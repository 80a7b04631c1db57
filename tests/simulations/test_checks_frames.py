"""Frames heard again, bent or meant for others: a core that minds them is found out, one that does not is not."""

import pytest

from protocol.envelope import Opener, _Window
from protocol.inputs import Received
from simulations.checks_frames import Rehearsed, _is_for
from simulations.scenario import Scenario, parsed
from simulations.seen import Unmoved
from simulations.world import World

LITTLE = 'about = "a few know each other"\nnodes = 3\nrun_s = 9\n[expect]\nalways = ["rehearsed"]\n'


def _broken(scenario: Scenario, *, seed: int = 1) -> list[str]:
    return [each.what for each in World(scenario, seed=seed).run().violations]


def test_frames_that_must_have_no_effect_have_none() -> None:
    assert _broken(parsed(LITTLE, origin="here")) == []


def test_a_rehearsal_changes_nothing_in_the_world() -> None:
    with_it = World(parsed(LITTLE, origin="here"), seed=1).run()
    without = World(parsed(LITTLE.replace("rehearsed", "calm"), origin="here"), seed=1).run()
    assert with_it.digest == without.digest


@pytest.mark.parametrize(
    ("owner", "attribute", "broken", "what"),
    [
        (_Window, "is_new", lambda self, seq: True, "heard before"),
        (Opener, "_staleness", lambda self, src, header, family: "", "heard before"),
    ],
)
def test_a_core_that_minds_frames_of_before_is_found_out(
    monkeypatch: pytest.MonkeyPatch, owner: type, attribute: str, broken: object, what: str
) -> None:
    monkeypatch.setattr(owner, attribute, broken)
    assert what in _broken(parsed(LITTLE, origin="here"))[0]


def test_a_core_that_does_not_check_signatures_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.signing.is_maced", lambda key, message, signature: True)
    found = [what for seed in range(1, 6) for what in _broken(parsed(LITTLE, origin="here"), seed=seed)]
    assert [what for what in found if "with two bits turned" in what], "a bit of many is of no account now and then"


def test_a_frame_that_a_link_has_bent_by_one_bit_is_never_mended_by_what_is_bent_in_it() -> None:
    rehearsed = Rehearsed(World(parsed(LITTLE, origin="here"), seed=1))
    sound = bytes(range(40))
    for rehearsed._rounds in range(40 * 8):
        bent = rehearsed._bent(Received("mesh.m.fact.r.n2", sound)).frame
        turned = [one ^ other for one, other in zip(sound, bent, strict=True) if one != other]
        assert [each.bit_count() for each in turned] == [2]


def test_a_frame_that_was_cut_to_nothing_is_not_rehearsed() -> None:
    rehearsed = Rehearsed(World(parsed(LITTLE, origin="here"), seed=1))
    rehearsed._due_ns = 0
    assert rehearsed.on(Unmoved("n1", Received("mesh.m.fact.r.n2", b""))) is None
    assert rehearsed._heard == {}


def test_what_is_carried_into_a_region_is_for_all_of_it_and_for_nobody_else() -> None:
    world = World(parsed(LITTLE + '[regions]\neu = ["n1", "n2"]\nus = ["n3"]\n', origin="here"), seed=1)
    for host in world.hosts.values():
        host.start()
    carried = Received("mesh.m.carry.eu.n2", b"x")
    assert [_is_for(world.hosts[name], carried) for name in ("n1", "n2", "n3")] == [True, True, False]


def test_a_carried_frame_that_another_of_the_region_heard_is_no_violation() -> None:
    text = LITTLE.replace("nodes = 3", "nodes = 12").replace("run_s = 9", "run_s = 22")
    places = '[regions]\neu = ["n1-n6"]\nus = ["n7-n12"]\n[link]\nloss = 0.15\n'
    pause = '[[fault]]\nkind = "pause"\nnode = "n8"\nat_s = 15\nfor_s = 4.5\n'
    assert not World(parsed(text + places + pause, origin="here"), seed=12).run().violations
