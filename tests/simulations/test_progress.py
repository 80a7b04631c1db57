"""How far a long command is: on a terminal only, and gone at the end."""

import io
import sys
from pathlib import Path

import pytest

from simulations.command import main
from simulations.progress import WIDTH, Course, Progress
from simulations.running import PASSED
from simulations.scenario import parsed
from simulations.world import World

TINY = 'about = "two nodes"\nnodes = 2\nrun_s = 6\n'


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_single_run_shows_how_far_it_is_and_leaves_an_empty_line() -> None:
    out = _Terminal()
    course = Course(6.0, out=out)
    watched = World(parsed(TINY, origin="tiny"), seed=1, watch=course.watch).run()
    course.clear()
    shown = out.getvalue().split("\r")
    assert [text for text in shown if " 3 of 6, virtual seconds" in text]
    assert 4 <= len([text for text in shown if text.startswith("[")]) <= 7
    assert not shown[-2].strip()
    assert watched == World(parsed(TINY, origin="tiny"), seed=1).run(), "who looks on changes nothing"


def test_run_and_replay_show_it_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, trace = tmp_path / "tiny.toml", str(tmp_path / "tiny.trace")
    path.write_text(TINY)
    for words, said in (
        (["run", str(path), "--trace", trace], "virtual seconds, the second time"),
        (["run", str(path), "--once"], "3 of 6, virtual seconds"),
        (["replay", trace], "3 of 6, virtual seconds"),
    ):
        out = _Terminal()
        monkeypatch.setattr(sys, "stderr", out)
        assert main(words) == PASSED
        assert said in out.getvalue()


def test_where_nobody_would_see_it_nothing_is_watched_or_written() -> None:
    out = io.StringIO()
    course = Course(6.0, out=out)
    assert course.watch == ()
    course.clear()
    bar = Progress(4, out=out)
    bar.at(2)
    bar.clear()
    assert out.getvalue() == ""


def test_a_bar_is_as_full_as_what_is_done() -> None:
    out = _Terminal()
    Progress(4, out=out).at(2, "1 failed")
    assert out.getvalue() == f"\r[{'#' * (WIDTH // 2)}{'.' * (WIDTH // 2)}] 2 of 4, 1 failed"
