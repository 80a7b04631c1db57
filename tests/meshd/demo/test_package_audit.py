"""The agent that audits one piece: what it finds, and how it speaks."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from meshd.demo.package_audit import CancelledError, Pipe, audit
from meshd.demo.pieces import Installation, Piece

SHAPES = Piece("distribution", "shapes")
TIMEOUT_S = 60.0


def test_the_findings_of_a_made_package_are_exactly_the_ones_that_were_put_in(here: Installation) -> None:
    found = audit(SHAPES, here)
    assert found["version"] == "1.0"
    assert found["licence"] == {"declared": "MIT", "recognised": ["MIT"], "verdict": "agrees"}
    assert found["record"] == {
        "verified": 4,
        "unrecorded": 1,
        "altered": {"count": 1, "first": ["shapes/kept.txt"]},
        "missing": {"count": 1, "first": ["shapes/__init__.py"]},
    }
    assert found["undeclared_imports"] == {
        "count": 4,
        "first": [
            {"module": "helper_lib", "where": "shapes/area.py:7", "optional": False, "from": ["helper-lib"]},
            {"module": "undeclared_thing", "where": "shapes/area.py:9", "optional": False, "from": []},
            {"module": "faster", "where": "shapes/area.py:13", "optional": True, "from": []},
            {"module": "inside", "where": "shapes/area.py:19", "optional": True, "from": []},
        ],
    }
    assert found["dangerous_calls"] == {
        "count": 4,
        "first": [
            {"call": "eval", "where": "shapes/area.py:35"},
            {"call": "pickle load", "where": "shapes/area.py:36"},
            {"call": "os.system", "where": "shapes/area.py:37"},
            {"call": "shell=True", "where": "shapes/area.py:38"},
        ],
        "by_kind": {"eval": 1, "os.system": 1, "pickle load": 1, "shell=True": 1},
    }
    assert found["most_complex"] == {"function": "Shelf.tangled", "where": "shapes/area.py:24", "complexity": 8}
    assert found["unreadable"] == {"count": 1, "first": ["shapes/broken.py:1: invalid syntax"]}


def test_a_licence_text_that_is_not_the_declared_one_is_told(here: Installation) -> None:
    found = audit(Piece("distribution", "quiet"), here)
    assert found["licence"] == {"declared": "MIT", "recognised": ["BSD-3-Clause"], "verdict": "differs"}


def test_a_part_of_the_standard_library_is_audited_the_same_way(here: Installation) -> None:
    found = audit(Piece("stdlib", "json"), here)
    assert found["licence"] == {"declared": "PSF-2.0", "recognised": ["PSF-2.0"], "verdict": "agrees"}
    assert found["files"] == 2
    assert found["dangerous_calls"] == {
        "count": 1,
        "first": [{"call": "exec", "where": "json/__init__.py:2"}],
        "by_kind": {"exec": 1},
    }
    assert found["undeclared_imports"] == {"count": 0, "first": []}


def test_the_same_installation_gives_the_same_bytes(here: Installation) -> None:
    again = Installation(search=here.search, stdlib=here.stdlib)
    assert json.dumps(audit(SHAPES, here)) == json.dumps(audit(SHAPES, again))


def test_a_cancelled_audit_stops_between_two_files(here: Installation) -> None:
    with pytest.raises(CancelledError):
        audit(SHAPES, here, is_cancelled=lambda: True)


def speak(here: Installation, *lines: str) -> dict[str, dict[str, object]]:
    """The answers to `lines`, by task."""
    out = io.StringIO()
    Pipe(io.StringIO("".join(f"{line}\n" for line in lines)), out, here).serve()
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len({answer["task"] for answer in answers}) == len(answers)
    return {answer["task"]: answer for answer in answers}


def task(name: str, value: object) -> str:
    return json.dumps({"task": name, "capability": "package-audit@1", "input": value, "epoch": 1, "attempt": 1})


def test_every_task_gets_one_answer_before_the_agent_ends(here: Installation) -> None:
    names = [str(number) for number in range(20)]
    answers = speak(here, *(task(name, {"kind": "distribution", "name": "shapes"}) for name in names))
    assert sorted(answers) == sorted(names)
    assert all(answer["result"] == answers["0"]["result"] for answer in answers.values())


@pytest.mark.parametrize("value", [None, 7, {}, {"kind": "wheel", "name": "x"}, {"kind": "stdlib", "name": ""}])
def test_an_input_that_names_no_piece_fails_for_good_with_a_sentence(here: Installation, value: object) -> None:
    error = speak(here, task("t", value))["t"]["error"]
    assert error == {
        "message": 'the input must be {"kind": "distribution" or "stdlib", "name": NAME}',
        "retry": False,
    }


def test_an_unknown_piece_fails_for_good_with_its_name(here: Installation) -> None:
    answer = speak(here, task("t", {"kind": "distribution", "name": "nothing"}))["t"]
    assert answer["error"] == {"message": "no distribution is called nothing", "retry": False}


def test_a_line_that_is_no_task_is_ignored_and_the_next_one_answered(
    here: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = speak(here, "no json", '["a list"]', task("t", {"kind": "stdlib", "name": "wave"}))
    assert list(answers) == ["t"]
    assert "no JSON" in capsys.readouterr().err


def test_a_cancelled_task_is_answered_with_an_error_or_its_result(here: Installation) -> None:
    answer = speak(here, task("t", {"kind": "distribution", "name": "shapes"}), '{"cancel": "t"}')["t"]
    assert "result" in answer or answer["error"] == {"message": "cancelled", "retry": False}


def test_the_program_speaks_the_pipe_and_ends_with_its_input(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from meshd.demo.package_audit import main; main()"],
        input=task("t", {"kind": "distribution", "name": "click"}) + "\n",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    answer = json.loads(ran.stdout)
    assert answer["result"]["record"]["altered"] == {"count": 0, "first": []}
    assert answer["result"]["licence"]["recognised"] == ["BSD-3-Clause"]
