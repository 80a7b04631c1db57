"""Small things of printing: ages, colours, escapes."""

import sys
from typing import get_args

import pytest

from cli.exits import Refusal, of_problem
from cli.output import TONES, age, count, is_colored, table, value_text
from cli.session import Session
from cli.waiting import Deadline
from meshd.api.schemas import NodeStateName, PeerStateName, TaskStateName


@pytest.mark.parametrize(
    ("took_ms", "expected"),
    [(350, "350ms"), (1_500, "1.50s"), (12_000, "12s"), (119_000, "119s"), (300_000, "5m"), (7_300_000, "2h")],
)
def test_durations_are_shown_in_the_unit_that_fits(took_ms: int, expected: str) -> None:
    assert age(1_000, 1_000 + took_ms) == expected


def test_only_words_that_something_can_be_in_are_coloured() -> None:
    states = {word for names in (TaskStateName, NodeStateName, PeerStateName) for word in get_args(names)}
    assert set(TONES) <= states | {"starting", "ready", "restarting", "failed", "stopped", "elsewhere"}


def test_what_never_began_has_no_age() -> None:
    assert age(None) == age(0) == ""


def test_one_is_not_plural() -> None:
    assert [count(n, "task") for n in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "is_plain", "expected"),
    [
        ({"TERM": "xterm"}, False, True),
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, False, True),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], is_plain: bool, expected: bool
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    session = Session()
    session.is_plain = is_plain
    assert is_colored(session, Terminal()) is expected  # type: ignore[arg-type]  # only isatty is asked


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("40", "NAME   a-name-that-is-long\nSTATE  alive\nWHY    because it was so and not otherwise\n\nNAME   b\n"),
        ("59", "NAME                 STATE  WHY\na-name-that-is-long  alive  because"),
        ("80", "NAME                 STATE  WHY\na-name-that-is-long  alive  because"),
    ],
)
def test_a_table_without_room_on_a_narrow_screen_is_one_value_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str, expected: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    why = "because it was so and not otherwise" if columns != "59" else "because it was"
    table(Session(), ["NAME", "STATE", "WHY"], [["a-name-that-is-long", "alive", why], ["b", "", ""]])
    assert capsys.readouterr().out.startswith(expected)


def test_a_pipe_gets_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_colored(Session())


def test_a_value_is_escaped_and_stays_json() -> None:
    assert value_text("\x7f\u2066", indent=None) == '"\\u007f\\u2066"'


@pytest.mark.parametrize("problem", [None, [], {}, {"error": []}, {"error": {"code": 1}}, {"error": {"code": "x"}}])
def test_what_is_no_problem_document_is_not_taken_for_one(problem: object) -> None:
    assert of_problem(problem, 404) is None


def test_a_code_of_a_newer_daemon_exits_by_its_status() -> None:
    refusal = of_problem({"error": {"code": "brand_new", "message": "m", "hint": "h"}}, 409)
    assert isinstance(refusal, Refusal)
    assert refusal.exit_code == 8


def test_a_deadline_that_has_passed_leaves_no_time() -> None:
    assert Deadline(1e-9).left_s(5.0) == 0.0
    assert not Deadline(1e-9).pause()
    assert Deadline(None).left_s(5.0) == 5.0
