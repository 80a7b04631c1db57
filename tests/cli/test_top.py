"""`meshctl top`: one frame on paper, and what is said when the terminal program is not installed."""

import json
import re
import sys

import pytest

from cli import top
from meshd import clock
from tests.cli.conftest import Meshctl
from tests.cli.test_meshctl import imported_by
from tests.meshd.api.fake_backend import FakeBackend, Served, a_status, a_task, an_agent, done


def test_one_frame_shows_peers_agents_tasks_and_how_busy_the_node_is(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    now_ms = clock.wall_ms()
    backend.put(
        a_task("running1", submitted_ms=now_ms - 1_000),
        done(a_task("done1", submitted_ms=now_ms - 2_000), 1),
        a_task("open1", state="open", owner_name=""),
    )
    backend.status_ = a_status(attention=("see to it",))
    said = meshctl("top", "--once")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].startswith("a is joined in mesh xyz, 3 alive, up ")
    assert lines[1] == "tasks in all: 1 open  1 running  1 done"
    assert lines[2] == "last minute: 2 submitted, 0 ended"
    assert lines[3] == "this node: 0.4 ms to answer, 0 in the inbox, 0 writes waiting"
    assert lines[4] == "! see to it"
    assert re.search(r"^b +alive .* 1/4 +0 +1\.2 ms$", said.out, re.MULTILINE)
    assert re.search(r"^scorer +b +ready +3/4 +scoring@2$", said.out, re.MULTILINE)
    assert re.search(r"^running1 +scoring@2 +running +b", said.out, re.MULTILINE)


def test_one_frame_fits_80_columns_whatever_it_shows(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    many = tuple(f"capability-{n}@1" for n in range(20))
    backend.agents_ = [an_agent("a-name-of-forty-characters-as-some-have-it", capabilities=many)]
    backend.status_ = a_status(attention=("the disk has no room " * 20,))
    backend.put(a_task("long1", capability="a-capability-with-a-very-long-name-indeed@1", owner_name="n" * 32))
    lines = meshctl("top", "--once").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("a-name-of-") and line.endswith("…") for line in lines)


def test_the_names_of_a_frame_are_those_of_its_nodes(meshctl: Meshctl, served: Served) -> None:
    assert meshctl("top", "-o", "name").out == "a\nb\n"


def test_a_table_is_not_cut_below_its_headings() -> None:
    panel = top.Panel("t", ("NAME", "CAPABILITIES"), (("abcdefgh", "x" * 40),))
    assert top.fitted(panel, 30) == [("abcdefgh", "x" * 19 + "…")]
    assert top.fitted(panel, 5) == [("abcde…", "x" * 11 + "…")]


def test_without_a_terminal_one_frame_is_all(meshctl: Meshctl, served: Served) -> None:
    assert meshctl("top").out.startswith("a is joined in mesh xyz")
    asked = json.loads(meshctl("top", "-o", "json").out)
    assert set(asked) == {"status", "diagnosis", "peers", "agents", "tasks"}


def test_a_frame_of_a_mesh_without_work_says_so(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.agents_ = []
    said = meshctl("top", "--once")
    assert "tasks in all: none\n" in said.out
    assert said.out.endswith("agents: none\n\ntasks: none\n")


def test_without_the_extra_it_is_named_with_what_works_all_the_same(
    meshctl: Meshctl, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delitem(sys.modules, "cli.screen", raising=False)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    said = meshctl("top")
    assert said.code == 1
    assert said.err.splitlines() == [
        "error[no_extra]: meshctl top needs the extra tui, which is not installed",
        "try: pip install 'agent-meshd[tui]', or use: meshctl top --once",
    ]


def test_one_frame_does_not_load_the_terminal_library() -> None:
    assert not imported_by("top", "--once") & {"textual", "rich", "asyncio", "cli.screen"}


def test_words_of_others_move_no_cursor(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.status_ = a_status(attention=("\x1b[2J",))
    assert "\x1b" not in meshctl("top", "--once").out


def test_no_daemon_is_exit_3(meshctl: Meshctl, tmp_path: object) -> None:
    assert meshctl("top", "--once", "--dir", f"{tmp_path}/none").code == 3
    assert top.REFRESH_S > 0
