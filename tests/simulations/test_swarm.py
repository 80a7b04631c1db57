"""Swarms: what a seed draws is a scenario that can be run, complete on one line, and calm in its last third."""

from pathlib import Path

import pytest
from msgspec import structs

from protocol.presets import PRESETS
from simulations.chance import Chance
from simulations.command import main
from simulations.crowds import members
from simulations.faults import Hold, OneWay, Partition
from simulations.running import BAD_SCENARIO, PASSED, VIOLATED, Choice
from simulations.scenario import Scenario, ScenarioError, named, parsed
from simulations.swarm import FACTOR, FAULTY_SHARE, KINDS, NODES, apart, drawable, drawn, several
from simulations.written import on_one_line, written

BASE = named("swarm")
SEEDS = range(1, 61)


@pytest.fixture(scope="module")
def worlds() -> list[Scenario]:
    return [drawn(BASE, seed=seed, settled=()) for seed in SEEDS]


def test_every_drawn_world_is_a_scenario_that_can_be_written_read_and_run(worlds: list[Scenario]) -> None:
    for world in worlds:
        assert parsed(written(world), origin="drawn") == world


def test_seeds_draw_different_worlds_and_one_seed_the_same(worlds: list[Scenario]) -> None:
    assert [drawn(BASE, seed=seed, settled=()) for seed in SEEDS] == worlds
    assert len({on_one_line(world) for world in worlds}) == len(SEEDS)


def test_sizes_kinds_starts_and_timers_are_all_over_their_ranges(worlds: list[Scenario]) -> None:
    sizes = [world.nodes for world in worlds]
    assert NODES[0] <= min(sizes) < 6 < 40 < max(sizes) <= NODES[1]
    kinds = [len({type(fault) for fault in world.fault}) for world in worlds]
    assert KINDS[1] <= max(kinds) <= KINDS[1] + 1
    assert {type(fault) for world in worlds for fault in world.fault} == set(drawable())
    assert len({world.join_s for world in worlds}) == 3
    assert {world.wire for world in worlds} == {"mac", "ed25519"}
    usual = PRESETS["lan"].suspicion_s_min
    factors = [world.membership["suspicion_s_min"] / usual for world in worlds]
    assert FACTOR[0] * 0.99 <= min(factors) < 0.5 < 2 < max(factors) <= FACTOR[1] * 1.01


def test_some_worlds_have_regions_and_everybody_in_them_stands_in_one(worlds: list[Scenario]) -> None:
    parted = [world for world in worlds if world.regions]
    assert len(SEEDS) / 5 < len(parted) < len(SEEDS) / 2
    assert {len(world.regions) for world in parted} == {2, 3, 4}
    for world in parted:
        named = [name for texts in world.regions.values() for name in members(texts, ())]
        assert named == [*world.names]


def test_regions_move_no_other_draw() -> None:
    for seed in SEEDS:
        one, other = (drawn(BASE, seed=seed, settled=settled) for settled in ((), ("regions",)))
        assert structs.replace(one, regions={}) == other


def test_in_the_last_third_every_fault_has_ended_and_no_task_is_submitted(worlds: list[Scenario]) -> None:
    for world in worlds:
        until_s = world.run_s * FAULTY_SHARE
        assert all(fault.for_s > 0 for fault in world.fault)
        assert max((fault.at_s + fault.for_s for fault in world.fault), default=0) <= until_s + 0.02
        assert world.work.last_s <= until_s


def test_a_node_is_in_one_fault_at_a_time(worlds: list[Scenario]) -> None:
    for world in worlds:
        free_s: dict[str, float] = {}
        for fault in world.fault:
            node = getattr(fault, "node", "")
            assert not node or fault.at_s >= free_s.get(node, 0.0)
            free_s[node] = fault.at_s + fault.for_s


def test_in_a_tenth_of_all_worlds_exclusive_work_and_a_cut_outlast_two_leases_by_far() -> None:
    found, seeds = 0, range(1, 121)
    for seed in seeds:
        world = Choice("swarm", ("nodes=50",), swarm=True).scenario(seed)
        two_leases_s = 2 * world.tasks.lease_s
        is_cut = any(
            isinstance(fault, Partition | OneWay | Hold) and fault.for_s > two_leases_s for fault in world.fault
        )
        found += is_cut and world.work.exclusive and world.agents.runs_s[0] > two_leases_s
    assert found >= len(seeds) / 10


def test_what_is_settled_on_the_command_line_is_not_drawn() -> None:
    worlds = [Choice("swarm", ("nodes=5", "fault=[]"), swarm=True).scenario(seed) for seed in (1, 2)]
    assert [world.nodes for world in worlds] == [5, 5]
    assert [world.fault for world in worlds] == [(), ()]
    assert worlds[0].link != worlds[1].link


def test_a_run_too_short_for_faults_and_promises_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ScenarioError, match="run_s"):
        drawn(parsed('about = "x"\nnodes = 3\nrun_s = 8\n', origin="x"), seed=1, settled=())
    assert main(["run", "swarm", "--swarm", "--set", "run_s=41"]) == BAD_SCENARIO
    assert "run_s" in capsys.readouterr().err


@pytest.mark.parametrize("kind", drawable(), ids=lambda kind: str(kind.__struct_config__.tag))
def test_every_kind_of_fault_that_can_be_drawn_is_drawn_as_often_as_asked(kind: type) -> None:
    names = ("n1", "n2", "n3")
    made = several(kind, names, Chance(3).stream("here", "plan"), count=40, begin_s=5, until_s=60)
    assert len(made) == 40
    assert all(fault.at_s >= 5 and fault.at_s + fault.for_s <= 60.02 for fault in made)
    assert len(apart(made)) < 40


def test_a_failing_seed_of_a_swarm_is_told_with_all_that_was_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    settled = ("nodes=3", "run_s=30", "fault=[]", "work.tasks=0", "expect.eventually={tasks-done=0}", "link.loss=1")
    words = [word for each in settled for word in ("--set", each)]
    assert main(["sweep", "swarm", "--swarm", *words, "--set", "work.tasks=1", "--seeds", "1:1"]) == VIOLATED
    said = capsys.readouterr().out
    assert "drawn: nodes=3 run_s=30.0 " in said
    (small,) = [line for line in said.splitlines() if line.startswith("  shrink: ")]
    assert "--swarm" in small


def test_what_a_seed_draws_can_be_kept_as_a_file_and_run_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "swarm", "--swarm", "--seed", "9", "--set", "nodes=4"]) == PASSED
    kept = tmp_path / "kept.toml"
    kept.write_text(capsys.readouterr().out)
    assert named(str(kept)) == Choice("swarm", ("nodes=4",), swarm=True).scenario(9)
    assert named(str(kept)).fault
