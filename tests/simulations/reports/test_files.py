"""Files: what a name ends in decides, JSON is what its schema says, and the command writes all of them."""

import json
from pathlib import Path

import msgspec
import pytest

from simulations.command import main
from simulations.reports import shapes
from simulations.reports.files import as_json, schema
from simulations.reports.shapes import Report, RunReport, SweepReport
from simulations.running import BAD_SCENARIO, PASSED, VIOLATED
from tests.simulations.reports.conftest import FAILING, LATE, SMALL, reported, small


def _written(folder: Path, extra: str = "") -> str:
    path = folder / "small.toml"
    path.write_text(SMALL + extra)
    return str(path)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = Path(shapes.__file__).parent / "report.schema.json"
    assert published.read_text() == schema()


def test_json_is_read_back_as_the_same_report(passing: RunReport, sweeping: SweepReport) -> None:
    for report in (passing, sweeping):
        assert msgspec.json.decode(as_json(report), type=Report) == report


def test_the_same_seed_gives_the_same_bytes(passing: RunReport) -> None:
    assert as_json(reported(small())) == as_json(passing)


def test_json_says_what_it_is_and_has_all_settings(passing: RunReport) -> None:
    values = json.loads(as_json(passing))
    assert (values["report"], values["version"], values["passed"]) == ("run", 1, True)
    keys = {setting["key"]: setting for setting in values["settings"]}
    assert keys["link.loss"]["is_default"]
    assert not keys["work.tasks"]["is_default"]
    assert "node.membership.probe_interval_s" in keys


def test_a_failing_run_prints_what_it_did_and_the_reports_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, files = _written(tmp_path, FAILING), [tmp_path / f"r.{end}" for end in ("html", "md", "json")]
    assert main(["run", path, "--seed", "3"]) == VIOLATED
    before = capsys.readouterr().out
    assert main(["run", path, "--seed", "3", *(word for file in files for word in ("--report", str(file)))]) == VIOLATED
    assert capsys.readouterr().out == before + "".join(f"  report: {file}\n" for file in files)
    assert json.loads(files[2].read_text())["broken"][0]["ancestors"]
    assert "never peer-dead" in files[0].read_text()


def test_replaying_a_trace_reports_the_run_that_left_it(tmp_path: Path) -> None:
    path, trace, report = _written(tmp_path, FAILING), str(tmp_path / "t"), tmp_path / "r.json"
    main(["run", path, "--seed", "3", "--trace", trace, "--report", str(report)])
    first = json.loads(report.read_text())
    assert main(["replay", trace, "--report", str(report)]) == VIOLATED
    second = json.loads(report.read_text())
    assert {key for key, value in first.items() if second[key] != value} == {"commands"}


def test_a_sweep_reports_every_seed_whatever_the_number_of_processes(tmp_path: Path) -> None:
    path, texts = _written(tmp_path, LATE), []
    for jobs in ("1", "2"):
        report = tmp_path / "s.json"
        main(["sweep", path, "--seeds", "1:4", "--jobs", jobs, "--report", str(report)])
        texts.append(report.read_text())
    assert texts[0] == texts[1]
    assert sorted(row["seed"] for row in json.loads(texts[0])["rows"]) == [1, 2, 3, 4]


def test_what_was_made_small_is_reported_as_that(tmp_path: Path) -> None:
    path, report = _written(tmp_path, FAILING), tmp_path / "r.json"
    words = ["shrink", path, "--seed", "3", "--runs", "4", "--out", str(tmp_path / "o.toml"), "--report", str(report)]
    assert main(words) == PASSED
    values = json.loads(report.read_text())
    assert values["shrunk_from"].startswith("small: 2 faults, 4 nodes")
    assert values["broken"][0]["rule"] == "never peer-dead"


@pytest.mark.parametrize("name", ["report.pdf", "nowhere/report.html", "."])
def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "split", "--report", str(tmp_path / name)]) == BAD_SCENARIO
    said = capsys.readouterr()
    assert "--report" in said.err
    assert not said.out
