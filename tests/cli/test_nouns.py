"""What each noun prints: for people, for programs and for the shell."""

import re

import msgspec
import pytest

from cli import client
from meshd.api import schemas
from meshd.api.agent_schemas import RunsView
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import B, FakeBackend, Served, a_peer, a_status, a_task, an_agent, done


def test_status_is_one_sentence(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("status")
    assert said.code == 0
    assert said.out == "joined as a in mesh xyz: 3 peers alive; here 2 tasks running; one copy of the record, on a\n"


def test_status_says_what_needs_attention_and_is_exit_9(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.status_ = a_status(attention=("agent x was given up",), notes=("the root key is online",))
    said = meshctl("status")
    assert said.code == 9
    assert said.out.splitlines()[1:] == ["  ! agent x was given up", "  - the root key is online"]


@pytest.mark.parametrize("state", ["starting", "detached", "islanded", "draining"])
def test_a_node_that_is_not_joined_is_exit_9_and_says_why(
    meshctl: Meshctl, served: Served, backend: FakeBackend, state: str
) -> None:
    backend.status_ = a_status(
        state=state, reason="no server", peers_alive=1, tasks_running=0, record=schemas.Record(0, "")
    )
    said = meshctl("status")
    assert said.code == 9
    assert said.out.startswith(f"{state} as a in mesh xyz (no server): 1 peer alive; here 0 tasks running; ")


def test_status_can_wait_until_the_node_is_ready(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    statuses = [a_status(state="starting"), a_status(state="starting"), a_status(attention=("a word",))]
    backend.status = lambda: statuses.pop(0) if len(statuses) > 1 else statuses[0]  # type: ignore[method-assign]  # it changes while it is asked
    assert meshctl("status", "--wait", "10").code == 0


def test_status_that_waits_outlasts_a_signal_that_stopped_the_daemon(
    meshctl: Meshctl, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = [41, 41, 0]
    monkeypatch.setattr(client, "standing_still", lambda _: stopped.pop(0) if len(stopped) > 1 else stopped[0])
    assert meshctl("status").code == 3
    assert meshctl("status", "--wait", "10").code == 0


def test_status_that_waits_in_vain_says_for_what(
    meshctl: Meshctl, served: Served, backend: FakeBackend, tmp_path: object
) -> None:
    backend.status_ = a_status(state="detached")
    said = meshctl("status", "--wait", "0.15")
    assert said.code == 9
    assert "still detached after 0.15 s" in said.err
    assert meshctl("status", "--wait", "0.15", "--dir", f"{tmp_path}/other").code == 3


def test_a_capability_shows_what_it_takes_and_gives(meshctl: Meshctl, served: Served) -> None:
    said = meshctl("capabilities", "show", "scoring@2")
    assert said.code == 0
    assert re.search(r'^takes +\{"type": "string"\}$', said.out, re.MULTILINE)
    assert re.search(r"^gives +anything$", said.out, re.MULTILINE)
    assert re.search(r"^not told by +ranker on b$", said.out, re.MULTILINE)


def test_who_can_shows_in_brief_what_each_agent_takes(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    (known,) = backend.capabilities_
    mute = msgspec.structs.replace(known.providers[0], agent="ranker")
    backend.capabilities_ = [msgspec.structs.replace(known, providers=(*known.providers, mute))]
    rows = meshctl("capabilities", "who-can", "scoring@2").out.splitlines()
    assert [row.split()[:5] for row in rows[1:]] == [
        ["scorer", "a", "3/4", '"string"', "anything"],
        ["ranker", "a", "3/4", "?", "?"],
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("peers",),
        ("peers", "show", "b"),
        ("agents",),
        ("agents", "show", "scorer"),
        ("capabilities",),
        ("capabilities", "search", "scor"),
        ("capabilities", "who-can", "scoring@2"),
        ("capabilities", "show", "scoring@2"),
        ("tasks",),
        ("tasks", "show", "one"),
    ],
)
def test_json_is_exactly_what_the_api_answers(
    meshctl: Meshctl, served: Served, backend: FakeBackend, arguments: tuple[str, ...]
) -> None:
    backend.put(a_task("one", result={"text": "\u202e\u0000 caf\u00e9"}))
    spoken = meshctl(*arguments, "-o", "json", "-v")
    path = re.findall(r"GET (\S+)", spoken.err)[-1]
    assert spoken.out == asked(served, path) + "\n"


def asked(served: Served, path: str) -> str:
    """What the API answers to a plain request."""
    import http.client

    connection = http.client.HTTPConnection(served.address.url.removeprefix("http://"))
    connection.request("GET", path, headers={"Authorization": f"Bearer {served.address.token}"})
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def test_a_bare_noun_is_a_table(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.peers_ = [a_peer("a", "a" * 32), a_peer("much-longer", B, state="suspect")]
    lines = meshctl("peers").out.splitlines()
    assert lines[0].split()[:3] == ["NAME", "ID", "STATE"]
    assert lines[1].split()[:4] == ["a", "*", "aaaaaaaa", "alive"]
    assert lines[2].split()[:3] == ["much-longer", "bbbbbbbb", "suspect"]
    assert len({line.index(word) for line, word in zip(lines, ("ID", "aaaaaaaa", "bbbbbbbb"), strict=True)}) == 1


def test_quiet_leaves_out_the_heading(meshctl: Meshctl, served: Served) -> None:
    assert meshctl("peers", "-q").out.startswith("a *")


def test_an_empty_list_says_so_on_stderr(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.capabilities_, backend.agents_ = [], []
    for arguments in (["tasks"], ["agents"], ["capabilities"], ["capabilities", "search", "x"]):
        said = meshctl(*arguments)
        assert (said.code, said.out) == (0, "")
        assert said.err


def test_a_mesh_without_tasks_is_told_how_to_submit_one_and_a_filter_that_it_fits_none(
    meshctl: Meshctl, served: Served
) -> None:
    said = meshctl("tasks")
    assert said.err == "there are no tasks yet\ntry: meshctl tasks submit CAPABILITY --input JSON\n"
    assert meshctl("tasks", "--state", "done").err == "there are no such tasks\n"
    assert meshctl("tasks", "-q").err == ""


def test_text_of_agents_cannot_move_the_cursor(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.agents_ = [an_agent("scorer", purpose="\x1b[2Jrm\u202e\r\n\x9b")]
    said = meshctl("agents", "show", "scorer")
    assert "\\x1b[2Jrm\\u202e\\r\\n\\x9b" in said.out


def test_details_leave_out_what_is_empty(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.agents_ = [an_agent("scorer", latency_ms=1_200)]
    out = meshctl("agents", "show", "scorer").out
    assert "1200 ms, as declared\n" in out
    assert "purpose" not in out
    assert "went down" not in out


def test_an_agent_is_shown_with_what_became_of_its_runs_and_what_it_takes(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    runs = RunsView(done=41, failed=2, latency_ms=310.4, restarts=1, last_error="agent_failed: no", last_error_ms=1)
    backend.agents_ = [an_agent("scorer", latency_ms=1_200, runs=runs)]
    lines = [line.split("  ", 1) for line in meshctl("agents", "show", "scorer").out.splitlines()]
    found = {name: value.strip() for name, value in lines}
    assert found["latency"] == "1200 ms, as declared; 310 ms, as observed of late"
    assert (found["ended"], found["went down"]) == ("41 done, 2 failed since its node started", "1 time")
    assert found["last error"].startswith("agent_failed: no, ")
    assert (found["scoring@2 takes"], found["scoring@2 gives"]) == ('{"type": "string"}', "anything")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("peers", "show", "z"), 7),
        (("agents", "show", "z"), 7),
        (("agents", "--at", "z"), 7),
        (("capabilities", "who-can", "other@1"), 7),
        (("capabilities", "who-can", "other"), 2),
        (("tasks", "show", "z"), 7),
        (("tasks", "show", "t"), 8),
        (("tasks", "wait", "z"), 7),
        (("tasks", "cancel", "t-done"), 8),
        (("tasks", "retry", "t-done"), 8),
        (("tasks", "retry", "t-one"), 8),
        (("tasks", "retry", "z"), 7),
        (("tasks", "retry", "t"), 8),
    ],
)
def test_what_is_not_there_has_its_exit_code(
    meshctl: Meshctl, served: Served, backend: FakeBackend, arguments: tuple[str, ...], code: int
) -> None:
    backend.put(a_task("t-one"), done(a_task("t-done"), 1))
    said = meshctl(*arguments)
    assert said.code == code
    assert said.err.startswith("error[")


def test_an_ambiguous_id_lists_the_candidates(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    backend.put(a_task("t-one"), a_task("t-two"))
    said = meshctl("tasks", "show", "t-")
    assert said.code == 8
    assert "t-one" in said.err
    assert "t-two" in said.err
