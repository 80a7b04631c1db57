"""Studies by command: cells are measured once, printed beside what was published, and kept between marks."""

from pathlib import Path

import pytest
from msgspec import structs

from protocol.presets import MembershipSettings
from simulations.command import main
from simulations.faults import Attack
from simulations.grids import command, goals, kinship, lifeguard, samples, swim, tables
from simulations.grids.command import STUDIES
from simulations.grids.measures import Sample, attacked, detection, flapping
from simulations.grids.samples import Cell, measured, quantile
from simulations.grids.study import SWIM_ALONE, Study, world
from simulations.running import BAD_SCENARIO, PASSED, Choice
from simulations.scenario import Expectation, Scenario, ScenarioError, checked, parsed
from simulations.swarm import drawn
from simulations.written import written
from tests.bench import simulator
from tests.bench.proofs import Proof

EVERY = (*STUDIES.values(), goals.STUDY)


@pytest.mark.parametrize("study", EVERY, ids=lambda study: study.name)
def test_the_kept_table_of_a_study_has_the_columns_that_its_command_prints(study: Study) -> None:
    columns, *rows = tables.read(study.name, tables.README.read_text())
    assert columns == list(study.columns)
    assert {len(row) for row in rows} <= {len(columns)}


@pytest.mark.parametrize("study", EVERY, ids=lambda study: study.name)
def test_every_cell_is_a_scenario_that_can_be_written_and_read_again(study: Study) -> None:
    cells = study.cells()
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        assert parsed(written(cell.scenario), origin=cell.name) == cell.scenario


def test_the_grid_has_all_cells_that_were_published_and_as_many_as_there_were() -> None:
    assert len(kinship.grid()) == 24
    assert set(kinship.PUBLISHED) <= set(kinship.grid())


def test_without_lifeguard_means_settings_that_a_user_could_have() -> None:
    off = kinship.scenario(50, 1, 0.01, "off").settings().membership
    assert off == MembershipSettings(health_max=0, suspicion_stretch=1.0, accusers=1, buddy=False)
    assert kinship.scenario(50, 1, 0.01, "on").settings().membership == MembershipSettings()


def test_a_figure_is_measured_once_and_printed_beside_its_goal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["figures", "G2", "--cells", "*-10", "--seeds", "1", "--keep", str(tmp_path / "kept.jsonl")]
    assert main(words) == PASSED
    first = capsys.readouterr().out
    rows = [line for line in first.splitlines() if line.startswith("| G2 | silent hang, 10 nodes | 1 | p50 ")]
    assert len(rows) == 1
    assert "p50 ≤ 6.30 s" in rows[0]
    monkeypatch.setattr(samples, "_all", _nothing_left)
    assert main(words) == PASSED
    assert capsys.readouterr().out == first
    assert main([word if word != "1" else "0" for word in words]) == PASSED  # what is kept counts, unasked
    assert capsys.readouterr().out == first
    assert f"Code `{samples.code()[:8]}`." in first


def _nothing_left(waiting: list[tuple[Cell, int]], jobs: int) -> list[tuple[Cell, int, Sample]]:
    assert waiting == []
    assert jobs == 1
    return []


def test_a_small_world_of_the_grid_counts_incidents_and_finds_the_dead() -> None:
    cell = kinship.cell(6, 1, 0.01, "on")
    [(name, seed, sample)] = list(measured([Cell("tiny", _shorter(cell.scenario), detection)], seeds=1))
    assert (name, seed) == ("tiny", 1)
    assert sample["deaths"] == [0]
    assert sample["suspicions"][0] > 0
    assert len(sample["detect_s"]) == 4  # the starved one and the dead one are no healthy observers
    assert sum(sample["missed"]) == 0
    assert max(sample["detect_s"]) < 12


def _shorter(scenario: Scenario) -> Scenario:
    text = written(scenario).replace("at_s = 65.0", "at_s = 10.0").replace("run_s = 125.0", "run_s = 30.0")
    return parsed(text, origin="shorter")


def test_a_table_goes_between_its_marks_and_nowhere_else(tmp_path: Path) -> None:
    begin, end = tables.marks("swim")
    path = tmp_path / "README.md"
    path.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    table = tables.Table("swim", "said.", "c0de", ("a", "b"), (("1", "2 | 3"),), "notes")
    tables.kept(table, path)
    assert path.read_text() == f"before\n{begin}\n{tables.markdown(table)}\n{end}\nafter\n"
    assert tables.read("swim", path.read_text()) == [["a", "b"], ["1", "2 / 3"]]
    path.write_text("no marks")
    with pytest.raises(ScenarioError, match="has no place for swim"):
        tables.kept(table, path)


@pytest.mark.parametrize("study", EVERY, ids=lambda study: study.name)
def test_every_kept_row_begins_with_a_key_of_its_study_in_their_order(study: Study) -> None:
    keys = study.keys()
    assert len(set(keys)) == len(keys)
    _, *rows = tables.read(study.name, tables.README.read_text())
    places = [keys.index(tuple(row[: len(keys[0])])) for row in rows]
    assert places == sorted(places)


def test_a_row_that_was_not_measured_stays_and_says_that_it_is_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("{}\n{}\n".format(*tables.marks("swim")))
    keys = [("16",), ("64",), ("256",)]

    def write(*rows: tuple[str, ...], code: str) -> list[list[str]]:
        table = tables.Table("swim", "said.", code, ("nodes", "seeds", "value"), rows, "notes.")
        tables.kept(tables.merged(table, keys, path=path), path)
        return tables.read("swim", path.read_text())[1:]

    assert write(("16", "1", "a"), ("512", "1", "no key"), code="c1") == [["16", "1", "a"]]
    assert write(("256", "1", "b"), code="c1") == [["16", "1", "a"], ["256", "1", "b"]]
    assert "earlier code" not in path.read_text()
    assert write(("64", "2", "c"), code="c2") == [["16", "1 *", "a"], ["64", "2", "c"], ["256", "1 *", "b"]]
    assert "said. Code `c2`." in path.read_text()
    assert "What bears a * is of an earlier code." in path.read_text()
    assert write(("256", "3", "d"), code="c3") == [["16", "1 *", "a"], ["64", "2 *", "c"], ["256", "3", "d"]]
    assert write(("16", "4", "e"), ("64", "4", "f"), code="c3") == [
        ["16", "4", "e"],
        ["64", "4", "f"],
        ["256", "3", "d"],
    ]
    assert "earlier code" not in path.read_text()


def test_a_row_of_speed_is_put_among_those_that_were_kept_in_the_order_of_the_goals(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("{}\n{}\n".format(*tables.marks("speed")))
    for name, said in (("S8", "1.4 times"), ("S1", "5 s"), ("S8", "1.2 times")):
        simulator.keep({name: (name, "what", said, "aim", "met")}, path)
    columns, *rows = tables.read("speed", path.read_text())
    assert columns == list(simulator.COLUMNS)
    assert [row[0] for row in rows] == [row.name for row in simulator.ROWS], "each goal has its row"
    assert {row[2] for row in rows[1:-1]} == {simulator.UNMEASURED}
    assert (rows[0][2], rows[-1][2]) == ("5 s", "1.2 times")
    row = next(row for row in simulator.ROWS if row.name == "S3")
    assert simulator.verdict(row, Proof("200 s", is_met=False)) == f"**not met**: {row.stops}"


def test_a_yes_or_no_is_kept_as_a_number_and_read_again(tmp_path: Path) -> None:
    scenario = world("tiny", nodes=1, run_s=1.0)
    cell = Cell("yes", scenario, _says_no)
    path = tmp_path / "kept.jsonl"
    assert (
        list(measured([cell], seeds=1, keep=path))
        == list(measured([cell], seeds=0, keep=path))
        == [("yes", 1, {"is": [0.0]})]
    )


def test_a_last_line_that_was_cut_costs_that_sample_alone_and_any_other_is_named(tmp_path: Path) -> None:
    cell = Cell("yes", world("tiny", nodes=1, run_s=1.0), _says_no)
    path = tmp_path / "kept.jsonl"
    both = list(measured([cell], seeds=2, keep=path))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert list(measured([cell], seeds=0, keep=path)) == both[:1]
    assert list(measured([cell], seeds=2, keep=path)) == both
    assert path.read_bytes() == whole
    path.write_bytes(whole[:40] + b"\n" + whole)
    with pytest.raises(ScenarioError, match=f"{path}, line 1: "):
        list(measured([cell], seeds=0, keep=path))


def _says_no(scenario: Scenario, seed: int) -> Sample:
    return {"is": [scenario.nodes > seed]}


def test_what_was_not_measured_leaves_its_place_empty_and_meets_nothing() -> None:
    assert [study.rows({}) for study in EVERY] == [[]] * len(EVERY)
    [row] = kinship.rows({kinship.name_of(50, 1, 0.01, "on"): [{"deaths": [0], "suspicions": [30]}]})
    assert row[:5] == ("50", "1", "1 %", "1 / 0", "0 / –")
    assert goals.judged(goals.HANG[0], [{}]) == ("never", False)


def test_a_row_that_only_explains_another_has_no_aim_and_no_verdict() -> None:
    explaining = next(figure for figure in goals.figures() if not figure.is_goal)
    samples = {explaining.cells[0].name: [{"deaths": [96.0]}]}
    (row,) = goals.rows(samples)
    assert (row[0], row[4], row[6]) == ("G6", "–", "–")


def test_a_time_that_somebody_never_had_is_no_goal_met() -> None:
    assert goals.judged(goals.HANG[0], [{"detect_s": [5.9], "missed": [0]}]) == ("p50 5.90 s", True)
    assert goals.judged(goals.HANG[0], [{"detect_s": [5.9], "missed": [1]}]) == ("p50 5.90 s, some never", False)


def test_what_is_told_a_run_is_the_mean_of_the_runs() -> None:
    a_run = goals.Limit("deaths", None, 1.0, "deaths a run", is_least=True)
    assert goals.judged(a_run, [{"deaths": [0]}, {"deaths": [1]}]) == ("deaths a run 0.50", False)
    assert goals.judged(a_run, [{"deaths": [0]}, {"deaths": [4]}]) == ("deaths a run 2", True)


def test_a_ratio_is_of_worlds_that_both_have_lived_through() -> None:
    swim_name, all_name = lifeguard._again_name((4, 2.048, 0.064), "SWIM"), "again-4-2.048-0.064-all"
    ours: Sample = {"false_anywhere": [5], "false_at_healthy": [0], "messages": [110]}
    plain: Sample = {"false_anywhere": [50], "false_at_healthy": [3], "messages": [100]}
    rows = lifeguard.rows({swim_name: [plain], all_name: [ours, ours]})
    [row] = [row for row in rows if row[1] == "all"]
    assert row[2] == "1"
    assert row[7] == "0.10"
    assert row[9] == "1.10"


def test_one_with_a_key_who_lies_in_every_way_is_measured_by_what_the_others_believe() -> None:
    [cell] = [cell for cell in goals.cells() if cell.name == "G12-compromised"]
    lies = tuple(fault for fault in cell.scenario.fault if isinstance(fault, Attack))
    assert len({fault.shape for fault in lies}) >= 8
    brief = structs.replace(cell.scenario, fault=tuple(structs.replace(each, for_s=4.0) for each in lies), run_s=14.0)
    sample = attacked(structs.replace(brief, expect=Expectation(always=("no-exception",))), 1)
    assert sample == {name: [0] for name in ("broken", "killed", "raised", "renamed", "added")}


def test_who_refutes_a_suspicion_has_not_been_away_and_is_no_return() -> None:
    lossy = {"kind": "links", "one": ["n5"], "link": {"loss": 0.6}, "at_s": 4.0, "for_s": 16.0}
    cut = {"kind": "partition", "shape": "isolate", "nodes": ["n5"], "at_s": 24.0, "for_s": 12.0}
    sample = flapping(world("flaps", nodes=5, run_s=44.0, fault=[lossy, cut]), 1)
    minutes = (44.0 - 4.0) / 60
    assert sample["removed_a_minute"] == sample["back_a_minute"] == [1 / minutes]
    assert sample["healthy_dead"] == [0]


def test_who_is_removed_again_and_again_is_counted_as_often_as_the_views_change_and_as_it_is_shown() -> None:
    cuts = {"kind": "partition", "shape": "isolate", "nodes": ["n5"], "at_s": 4.0, "for_s": 12.0}
    sample = flapping(world("flaps", nodes=5, run_s=124.0, fault=[{**cuts, "times": 4, "every_s": 20.0}]), 1)
    assert sample["removed_a_minute"] == sample["back_a_minute"] == [4 / 2]
    assert sample["shown_removed_a_minute"] == [3 / 2]
    assert sample["shown_back_a_minute"] == [3 / 2], "twice at once, and once after it was quiet for a while"


def test_a_swarm_is_measured_in_the_worlds_that_its_sweep_draws() -> None:
    [cell] = [cell for cell in goals.cells() if cell.name == "G16-swarm-50"]
    choice = Choice("swarm", ("nodes=50", "run_s=120"), swarm=True)
    assert drawn(cell.scenario, seed=3, settled=("nodes", "run_s")) == choice.scenario(3)


def test_a_quantile_is_that_of_the_nearest_rank() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile(range(1, 101), 0.99) == 99
    with pytest.raises(ValueError, match="no quantile"):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grid", "kinship", "--cells", "51-*"], "no cell '51-*'"),
        (["grid", "swim", "--show", "nothing"], "no cell 'nothing'"),
        (["figures", "G99"], "no figure 'G99'"),
        (["grid", "swim", "--cells", "16-quiet", "--seeds", "1", "--keep", "."], "--keep .: that is a folder"),
        (["grid", "swim", "--keep", "nowhere/kept"], "--keep nowhere/kept: there is no such folder"),
        (["grid", "swim", "--keep", str(tables.README)], "that is there already, and has no samples"),
        (["grid", "swim", "--keep", str(tables.README), "--write"], "that is what this command reads"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == BAD_SCENARIO
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", ["-1", "1e3", "\uff11", "9" * 5_000, "100000", ""])
def test_a_number_of_seeds_that_is_none_is_a_misuse(number: str) -> None:
    with pytest.raises(SystemExit):
        main(["grid", "swim", "--seeds", number])


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'{"key": 1}', b'{"key": "a", "sample": {"x": ["y"]}}', b"\xff", b'{"key":"\xff"}']
)
def test_a_file_of_samples_that_is_none_is_said_and_left_alone(
    line: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_bytes(line + b"\n")
    assert main(["grid", "swim", "--cells", "16-quiet", "--keep", str(path)]) == BAD_SCENARIO
    assert "--keep" in capsys.readouterr().err
    assert path.read_bytes() == line + b"\n"


def test_a_table_without_a_place_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    path.write_text("no marks")
    monkeypatch.setattr(command, "find_place", lambda name: tables.find_place(name, path))
    monkeypatch.setattr(command, "filled", lambda *_, **__: pytest.fail("it was measured"))
    assert main(["grid", "swim", "--cells", "16-quiet", "--write"]) == BAD_SCENARIO
    assert "--write: README.md has no place for swim" in capsys.readouterr().err


def test_a_cell_can_be_shown_as_a_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "swim", "--show", "64-crash"]) == PASSED
    assert parsed(capsys.readouterr().out, origin="shown") == swim.crashes(64)


def test_settings_of_membership_in_a_scenario_keep_their_types() -> None:
    scenario = checked({"about": "x", "nodes": 2, "run_s": 5, "membership": dict(SWIM_ALONE)}, origin="x")
    assert scenario.settings().membership.buddy is False
    assert scenario.settings().membership.health_max == 0
