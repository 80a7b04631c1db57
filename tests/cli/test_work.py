"""Giving work and waiting for it: call, submit, wait, cancel, watch."""

import io
import json
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from cli import task_watch
from meshd.api import history, schemas
from protocol.errors import MeshError
from protocol.events import PeerLeft, TaskAwarded, TaskDone
from tests.cli.conftest import ENVIRON, Meshctl, spawned
from tests.meshd.api.fake_backend import LIFE, A, B, FakeBackend, Served, a_task, done

WAIT_S = 20.0


def test_a_call_prints_the_result_as_json(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    said = meshctl("call", "scoring@2", "--input", '{"n": 1}', "--timeout", "7")
    assert said.code == 0
    assert json.loads(said.out) == {"score": 0.7}
    assert backend.called == [("scoring@2", schemas.CallRequest(input={"n": 1}, timeout_s=7.0))]


def test_a_result_is_shown_escaped_and_stays_the_same_json(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    backend.answers = "\x1b[2J\u202e\x7f\x9b caf\u00e9 \U0001f600 \U000e0041"
    out = meshctl("call", "scoring@2").out
    assert json.loads(out) == backend.answers
    assert "caf\u00e9 \U0001f600" in out
    assert not [c for c in out if not c.isprintable() and c != "\n"]


@pytest.mark.parametrize("how", ["--input", "--file", "-"])
def test_an_input_can_be_given_in_three_ways(
    meshctl: Meshctl,
    served: Served,
    backend: FakeBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    text = '{"name": "caf\u00e9"}'
    file = tmp_path / "input.json"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    given = {"--input": ["--input", text], "--file": ["--file", str(file)], "-": ["-"]}[how]
    assert meshctl("call", "scoring@2", *given).code == 0
    assert backend.called[0][1].input == {"name": "caf\u00e9"}


def test_a_file_of_json_may_begin_with_a_byte_order_mark(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: Path
) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"n": 1}', encoding="utf-8-sig")
    assert meshctl("call", "scoring@2", "--file", str(file)).code == 0
    assert backend.called[0][1].input == {"n": 1}


def test_without_an_input_it_is_null(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    meshctl("call", "scoring@2")
    assert backend.called[0][1].input is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1,}', "line 1, column"),
        ('{\n "a" 1}', "line 2, column 6"),
        ("", "line 1, column 1"),
        ("NaN", "NaN is no number of JSON"),
        ("[" * 100_000, "nested deeper"),
    ],
)
def test_an_input_that_is_no_json_is_exit_2_and_names_the_place(
    meshctl: Meshctl, served: Served, backend: FakeBackend, text: str, says: str
) -> None:
    for command in (["call"], ["tasks", "submit"]):
        said = meshctl(*command, "scoring@2", "--input", text)
        assert said.code == 2
        assert said.err.startswith("error[bad_input]: --input is")
        assert says in said.err
    assert not backend.called
    assert not backend.submitted


def test_an_input_file_that_will_not_do_is_exit_2(meshctl: Meshctl, served: Served, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b'"\xe9"')
    (tmp_path / "huge").write_bytes(b" " * 2_000_000)
    os.mkfifo(tmp_path / "pipe")
    told = {"none": "No such file", "latin": "is not UTF-8 at line 1", "huge": "the limit is", "pipe": "nobody writes"}
    for name, says in told.items():
        said = meshctl("call", "scoring@2", "--file", str(tmp_path / name))
        assert said.code == 2
        assert says in said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MeshError("no_agent", capability="scoring@2"), 7),
        (MeshError("no_free_agent", capability="scoring@2"), 1),
        (MeshError("agent_failed", message="it broke", agent="scorer"), 5),
        (MeshError("timed_out", what="the agent", seconds=30), 6),
        (MeshError("denied", what="this"), 4),
    ],
)
def test_a_call_that_fails_has_its_exit_code(
    meshctl: Meshctl, served: Served, backend: FakeBackend, error: MeshError, code: int
) -> None:
    backend.refuse = error
    said = meshctl("call", "scoring@2")
    assert (said.code, said.out) == (code, "")
    assert error.message in said.err


def test_a_submit_prints_the_id_and_carries_a_key(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    options = ["--priority", "9", "--exclusive", "--deadline", "60", "--gid", "goal"]
    said = meshctl("tasks", "submit", "scoring@2", "--input", "[1]", *options)
    assert said.code == 0
    assert said.out.strip() in backend.tasks_
    request, key, _ = backend.submitted[0]
    expected = schemas.SubmitRequest("scoring@2", [1], priority=9, deadline_s=60.0, exclusive=True, gid="goal")
    assert request == expected
    assert len(key) == 32


def test_the_same_key_is_the_same_task(meshctl: Meshctl, served: Served) -> None:
    first, second = (meshctl("tasks", "submit", "scoring@2", "--key", "k1") for _ in range(2))
    assert first == second


def test_a_priority_of_zero_is_passed_on(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    meshctl("tasks", "submit", "scoring@2", "--priority", "0")
    assert backend.submitted[0][0].priority == 0


def test_a_submit_that_waits_prints_the_result(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.ends_with = done(a_task("keyk1"), [1, 2])
    said = meshctl("tasks", "submit", "scoring@2", "--key", "k1", "--wait")
    assert (said.code, json.loads(said.out), said.err) == (0, [1, 2], "")


@pytest.mark.parametrize("state", ["failed", "cancelled", "poison"])
def test_a_task_that_failed_is_exit_5_with_the_reason(
    meshctl: Meshctl, served: Served, backend: FakeBackend, state: schemas.TaskStateName
) -> None:
    error = schemas.TaskError("agent_failed", "no such customer")
    backend.put(a_task("one", state=state, error=error, finished_ms=LIFE + 50))
    said = meshctl("tasks", "wait", "one")
    assert (said.code, said.out) == (5, "")
    assert said.err.startswith("error[agent_failed]: no such customer, on b\ntry: ")
    said = meshctl("tasks", "wait", "one", "-o", "json")
    assert (said.code, said.err) == (5, "")
    assert json.loads(said.out)["state"] == state


def test_a_wait_that_takes_too_long_is_exit_6_and_says_how_to_go_on(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    backend.put(a_task("one"))
    said = meshctl("tasks", "wait", "one", "--timeout", "0.2")
    assert (said.code, said.out) == (6, "")
    assert f"meshctl tasks wait {'one'.ljust(26, 'x')}" in said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(MeshError("unsettled", task="t", seconds=5), 6), (MeshError("cut_off", where="n", cure="c"), 3)],
)
def test_a_submit_without_an_answer_says_how_to_repeat_it(
    meshctl: Meshctl, served: Served, backend: FakeBackend, error: MeshError, code: int
) -> None:
    backend.refuse = error
    said = meshctl("tasks", "submit", "scoring@2", "--key", "k1")
    assert said.code == code
    assert "try: send it again with --key k1: it will not be done twice" in said.err


def test_a_task_is_shown_with_its_history(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    attempt = history.AttemptView(1, B, "b", "silent", LIFE, "no answer for 3 s")
    task = a_task("one", epoch=2, attempts=(attempt,), progress={"done": 3})
    backend.put(done(task, {"score": 1}))
    out = meshctl("tasks", "show", "one").out
    for text in (
        "done",
        "scoring@2",
        "b (bbbbbbbb)",
        "290ms",
        "silent",
        "no answer for 3 s",
        '"score": 1',
        '{"done": 3}',
    ):
        assert text in out


def test_results_that_came_too_late_are_shown_with_whose_they_were_and_why_they_were_refused(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    attempt = history.AttemptView(1, B, "b", "silent", LIFE)
    late = (history.RefusedResult(1, B, "b", LIFE, "long " * 40), history.RefusedResult(2, A, "a", LIFE, {"n": 1}))
    backend.put(done(a_task("one", epoch=2, attempts=(attempt,), refused=late), {"score": 1}))
    lines = meshctl("tasks", "show", "one").out.splitlines()
    first, second = lines[lines.index("late results, refused") + 2 :][:2]
    assert ("award 1 was over: silent" in first, first.endswith("…"), "long long" in first) == (True, True, True)
    assert ("the task was over: done" in second, '{"n": 1}' in second) == (True, True)


def test_a_list_of_tasks_says_when_there_are_more(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.put(*(a_task(f"t{n}", submitted_ms=LIFE + n) for n in range(5)))
    said = meshctl("tasks", "--limit", "2", "-o", "name")
    cursor = said.err.rpartition(" ")[2].strip()
    rest = meshctl("tasks", "-o", "name", "--cursor", cursor)
    assert [line[:2] for line in (said.out + rest.out).splitlines()] == ["t4", "t3", "t2", "t1", "t0"]
    assert rest.err == ""


def test_tasks_can_be_filtered(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.put(done(a_task("one"), 1), a_task("two", home=B))
    assert meshctl("tasks", "--state", "done", "-o", "name").out.startswith("one")
    assert meshctl("tasks", "--home", "b", "-o", "name").out.startswith("two")


def test_a_task_is_cancelled(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.put(a_task("one"))
    assert meshctl("tasks", "cancel", "on").out.startswith("onexx")
    assert json.loads(meshctl("tasks", "cancel", "one", "-o", "json").out)["state"] == "cancelled"


def test_a_cancel_says_how_many_ended_with_it(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    parent = a_task("one", iid="parent")
    backend.put(parent, a_task("two", parent_iid="parent"))
    assert (meshctl("tasks", "cancel", "one").out, meshctl("tasks", "cancel", "one").err) == (
        parent.id + "\n",
        "and one task that it led to\n",
    )
    backend.put(a_task("three", parent_iid="parent"))
    assert meshctl("tasks", "cancel", "one").err == "and 2 tasks that it led to\n"
    assert meshctl("tasks", "cancel", "one", "-q").err == ""
    backend.missed = "the store is away"
    assert (
        "ends soon by itself, for it was not all found at once: the store is away"
        in meshctl("tasks", "cancel", "one").err
    )


def test_a_task_is_opened_again_and_with_wait_its_result_is_printed(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    backend.put(a_task("one", state="failed"), a_task("two", state="poison"))
    assert meshctl("tasks", "retry", "on", "--deadline", "5").out == a_task("one").id + "\n"
    assert [(task[:3], request.deadline_s) for task, request, _ in backend.retried] == [("one", 5.0)]
    assert json.loads(meshctl("tasks", "retry", "two", "-o", "json").out)["state"] == "open"
    backend.put(a_task("one", state="failed"))
    backend.ends_with = done(a_task("one"), 7)
    assert meshctl("tasks", "retry", "one", "--wait").out == "7\n"


def test_ends_that_were_undone_are_shown_with_who_undid_them(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    end = history.RetryView(LIFE, "ann\x1b[2J", "poison", 3, B, "b", "poison: three nodes were lost")
    backend.put(a_task("one", retries=2, retried=(end,)))
    out = meshctl("tasks", "show", "one").out
    assert "opened again, 2 times" in out
    for part in ("ann\\x1b[2J", "poison", " 3 ", " b ", "three nodes were lost"):
        assert part in out


def test_on_a_terminal_a_wait_shows_how_far_it_is_and_cleans_up(served: Served, backend: FakeBackend) -> None:
    backend.put(a_task("one", progress={"done": 3}))
    backend.ends_with, backend.looks_before_end = done(a_task("one"), "the end"), 3
    master, terminal = os.openpty()
    process = spawned("tasks", "wait", "one", stderr=terminal, env={**os.environ, **ENVIRON, "TERM": "xterm"})
    out, _ = process.communicate(timeout=WAIT_S)
    os.close(terminal)
    shown = os.read(master, 65_536).decode()
    os.close(master)
    assert (process.returncode, json.loads(out)) == (0, "the end")
    assert "onexxxxx running on b, " in shown
    assert '{"done": 3}' in shown
    assert shown.endswith("\r\x1b[K")


def test_watching_shows_what_happens_to_tasks_and_nothing_else(served: Served, backend: FakeBackend) -> None:
    process = spawned("tasks", "watch")
    assert process.stdout is not None
    over = threading.Event()
    awarded = TaskAwarded("task-one", "i", 2, B, "late", former=A)

    def happen() -> None:  # again and again: the command may not listen yet
        while not over.wait(0.02):
            served.happen(PeerLeft(B, "b", LIFE))
            served.happen(awarded)

    thread = threading.Thread(target=happen)
    thread.start()
    lines = [process.stdout.readline() for _ in range(2)]
    over.set()
    thread.join(WAIT_S)
    process.kill()
    process.communicate(timeout=WAIT_S)
    for line in lines:
        assert line.split()[1:] == ["a", "awarded", "task-one", "#2", "owner=b", "why=late", "former=a"]


def test_watching_one_task_leaves_out_the_others(
    meshctl: Meshctl, served: Served, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_watch, "AWAY_S", 0.2)
    backend.put(a_task("one"), a_task("two"))
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(meshctl("tasks", "watch", "two", "-o", "jsonl")))
    thread.start()
    over = threading.Event()
    for _ in range(50):
        served.happen(TaskDone("one".ljust(26, "x"), "i", 1, B, 5))
        served.happen(TaskDone("two".ljust(26, "x"), "i", 1, B, 5))
        over.wait(0.01)
    served.close()
    thread.join(WAIT_S)
    (said,) = answers
    assert isinstance(said, tuple)
    code, out, err = said
    assert code == 3
    assert '"cut_off"' in err
    assert {json.loads(line)["task"][:3] for line in out.splitlines()} == {"two"}


def test_a_watcher_that_lagged_or_lost_its_daemon_goes_on_where_it_was_and_says_what_it_missed(
    meshctl: Meshctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_watch, "AWAY_S", 0.5)
    event = b'{"seq":%d,"time_ms":0,"node":"n","kind":"task_done","task":"t"}'
    answers = [
        b"id: 5.1\ndata: " + event % 1 + b"\n\nevent: lagged\ndata: {}\n\n",
        b'event: missed\ndata: {"from":2,"to":6,"why":"not kept"}\n\nid: 5.7\ndata: ' + event % 7 + b"\n\n",
        b'event: missed\ndata: {"why":"the daemon was started again"}\n\nid: 6.1\ndata: ' + event % 1 + b"\n\n",
    ]
    path = tmp_path / "api.sock"
    (tmp_path / "api.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "token": "t", "socket": str(path)}))
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    asked.append(connection.recv(65_536))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + answer)
            listener.close()

        thread = threading.Thread(target=serve)
        thread.start()
        said = meshctl("tasks", "watch", "-o", "jsonl", "--dir", str(tmp_path))
        thread.join(WAIT_S)
    assert [json.loads(line)["seq"] for line in said.out.splitlines()] == [1, 7, 1]
    assert b"Last-Event-ID" not in asked[0]
    assert b"Last-Event-ID: 5.1\r\n" in asked[1]
    assert b"Last-Event-ID: 5.7\r\n" in asked[2]
    assert "went away; it is waited for, 0.5 s at most" in said.err
    assert "some events were missed: the daemon was started again" in said.err
    assert "some events were missed: 2 to 6, not kept" in said.err
    assert said.code == 3
