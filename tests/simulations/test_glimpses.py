"""Sights that hang together: each is shown by the world that brings it about, and not by one that cannot."""

import pytest

from simulations.scenario import parsed
from simulations.world import World

QUIET = 'about = "x"\nnodes = 4\nrun_s = {run_s}\n[agents]\nruns_s = [1, 2]\n'


def _seen(text: str, *, run_s: int = 12, seed: int = 1) -> set[str]:
    return set(World(parsed(QUIET.format(run_s=run_s) + text, origin="x"), seed=seed).run().sights)


def test_what_only_a_comparison_brought_is_a_gap_repaired() -> None:
    cut = '[[fault]]\nkind = "partition"\ngroups = [["n1-n2"], ["n3-n4"]]\nat_s = 0\nfor_s = 3\n'
    assert "gap-repaired" in _seen(cut)


def test_a_node_that_answers_the_question_of_a_verifier_was_told_and_saved() -> None:
    starved = '[[fault]]\nkind = "starve"\nnode = "n4"\nat_s = 4\nfor_s = 12\n'
    seen = [_seen(starved, run_s=18, seed=seed) for seed in (1, 2, 3)]
    assert any({"suspect-told", "saved-by-verifier", "suspicion-refuted"} <= each for each in seen)
    assert not {"suspect-told", "saved-by-verifier"} & _seen("")


def test_a_crash_in_the_midst_of_work_is_told_from_one_of_an_idle_node() -> None:
    crash = '[[fault]]\nkind = "crash"\nnode = "n1-n4"\nat_s = 6\nfor_s = 1\nstep_s = 1.5\ndisk = "old"\n'
    work = "[work]\ntasks = 30\nfrom_s = 4\nevery_s = 0.2\n"
    at_work = {"crashed-at-work", "crashed-before-work"}
    assert "crashed-at-work" in _seen(work + crash, run_s=20)
    idle = _seen(crash, run_s=20)
    assert not at_work & idle
    assert "disk-old" in idle


def test_bids_count_as_those_of_a_cut_only_while_there_is_one() -> None:
    work = '[work]\ntasks = 8\nfrom_s = 5\nevery_s = 0.5\nroute = "bids"\n'
    cut = '[[fault]]\nkind = "partition"\nshape = "isolate"\nnodes = ["n4"]\nat_s = {at_s}\nfor_s = {for_s}\n'
    assert "bids-in-a-cut" in _seen(work + cut.format(at_s=4, for_s=5))
    assert "bids-in-a-cut" not in _seen(work + cut.format(at_s=1, for_s=1))


@pytest.mark.parametrize("cut", ["partition", "one-way", "unlink", "outage", "hold"])
def test_exclusive_work_is_seen_cut_off_when_it_and_the_cut_outlast_two_leases(cut: str) -> None:
    kinds = {"partition": "nodes = ['n2']\nshape = 'isolate'\n", "one-way": "src = ['n2']\ndst = ['n1']\n"}
    fault = f"[[fault]]\nkind = '{cut}'\nat_s = 12\nfor_s = %d\n" + kinds.get(cut, "node = 'n2'\n" * (cut == "unlink"))
    work = "[[work.placed]]\nhome = 'n1'\nowner = 'n2'\nexclusive = %s\n[expect]\nalways = []\n"
    assert "exclusive-cut-off" in _seen(fault % 7 + work % "true", run_s=20)
    assert "exclusive-cut-off" not in _seen(fault % 5 + work % "true", run_s=20), "a shorter one"
    assert "exclusive-cut-off" not in _seen(fault % 7 + work % "false", run_s=20), "it may run twice"


def test_exclusive_work_that_a_cut_parts_from_nobody_is_not_cut_off() -> None:
    cut = "[[fault]]\nkind = 'partition'\nshape = 'isolate'\nnodes = ['n3']\nat_s = 12\nfor_s = 7\n"
    work = "[[work.placed]]\nhome = 'n1'\nowner = 'n2'\nexclusive = true\n"
    assert "exclusive-cut-off" not in _seen(cut + work, run_s=20)


def test_a_clock_that_is_set_back_is_seen_when_it_is_set_or_set_right_again() -> None:
    clock = '[[fault]]\nkind = "clock"\nnode = "n2"\nahead_s = {ahead_s}\nat_s = 5\nfor_s = {for_s}\n'
    assert "clock-set-back" in _seen(clock.format(ahead_s=-20, for_s=0))
    assert "clock-set-back" in _seen(clock.format(ahead_s=20, for_s=3))
    assert "clock-set-back" not in _seen(clock.format(ahead_s=20, for_s=0))
