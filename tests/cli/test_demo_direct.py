"""The course of the demo over nodes that only answer: where it stops, and with which words."""

import json
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from cli import demo_direct
from cli.client import Answer, Client
from cli.demo_direct import Director
from cli.demo_mesh import NAMES, DemoError, Mesh
from cli.demo_show import Screen
from cli.exits import of
from meshd.demo.consolidation import consolidate
from meshd.demo.package_audit import audit
from meshd.demo.pieces import Installation, Piece
from protocol.errors import MeshError

PIECE = Piece("stdlib", "wave")
KEY = "goal/stdlib/wave"
IDLE_S = 0.005
RESULT = audit(PIECE, Installation())
REPORT = {"asked": ["stdlib/wave"], **consolidate([RESULT])}


class _Node:
    """Answers from the world that all share; `said` are the events it gives once somebody listens."""

    def __init__(self, name: str, world: "_World") -> None:
        self.name = name
        self.folder = Path("/nowhere") / name
        self._world = world
        self.is_up = False

    def prepare(self) -> None:
        return

    def begin(self, *options: str) -> None:
        self._world.begun.append((self.name, *options))

    def ready(self) -> None:
        self.is_up = True

    def is_running(self) -> bool:
        return self.is_up

    def kill(self) -> list[int]:
        self.is_up = False
        self._world.on_kill()
        return [1, 2, 3]

    def last_lines(self) -> list[str]:
        return []

    def client(self) -> Client:
        return cast(Client, _Asked(self, self._world))


class _World:
    """Everything that the nodes answer."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.begun: list[tuple[str, ...]] = []
        self.events: list[dict[str, object]] = []
        self.after_kill: list[dict[str, object]] = []
        self.goal: dict[str, object] = record("goal", "", state="running", result=None)
        self.tasks = {name: [record("goal", ""), record("t1", KEY)] for name in NAMES}
        self.offers = len(NAMES)
        self.nodes = {name: _Node(name, self) for name in NAMES}

    def on_kill(self) -> None:
        self.events += self.after_kill
        self.goal = record("goal", "", result=REPORT)

    def __getitem__(self, name: str) -> _Node:
        return self.nodes[name]

    def invitation(self) -> str:
        return "token"


class _Asked:
    """The client of one node."""

    def __init__(self, node: _Node, world: _World) -> None:
        self._node = node
        self._world = world

    def get(self, *path: str, **query: object) -> Answer:
        if not self._node.is_up:
            raise of(MeshError("unreachable", where=self._node.name))
        return Answer(b"", json.loads(json.dumps(self._answer(path))))

    def _answer(self, path: tuple[str, ...]) -> dict[str, object]:
        world = self._world
        match path:
            case ("v1", "peers"):
                return {"peers": [{"id": name * 8, "name": name, "state": "alive"} for name in NAMES]}
            case ("v1", "capabilities"):
                return {"capabilities": [{"name": "package-audit@1", "providers": [{}] * world.offers}]}
            case ("v1", "status"):
                return {"record": {"copies": 1, "where": "a"}}
            case ("v1", "tasks"):
                return {"tasks": world.tasks[self._node.name], "next": None}
            case ("v1", "tasks", "goal"):
                return world.goal
            case _:
                return record(path[-1], KEY)

    def post(self, *path: str, body: object, key: str = "") -> Answer:
        return Answer(b"", {"id": "goal"})

    def events(self, last_id: str = "") -> Any:
        given = int(last_id)
        while True:
            if given < len(self._world.events):
                given += 1
                yield str(given), "message", json.dumps(self._world.events[given - 1]).encode()
            elif not self._node.is_up:
                raise of(MeshError("unreachable", where=self._node.name))
            else:
                self._world.is_over.wait(IDLE_S)


def record(task: str, key: str, **fields: object) -> dict[str, object]:
    known = {"id": task, "gid": "g", "key": key, "state": "done", "epoch": 1, "owner": "b" * 8, "owner_name": "b"}
    return {**known, "attempts": [], "finished_ms": 1, "result": RESULT if key else REPORT, "progress": None, **fields}


def said(kind: str, **fields: object) -> dict[str, object]:
    return {"kind": kind, "node": "a" * 8, "task": "t1", "iid": "i", "epoch": 1, **fields}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> _World:
    """A mesh where c gets the only piece, is killed, and is declared dead."""
    monkeypatch.setattr(demo_direct, "LONG_S", 0.0)
    monkeypatch.setattr(demo_direct, "WARM_S", 0.0)
    monkeypatch.setattr(demo_direct, "POLL_S", 0.0)
    monkeypatch.setattr(demo_direct, "MEET_S", 0.1)
    monkeypatch.setattr(demo_direct, "DEAD_S", 0.3)
    monkeypatch.setattr(Installation, "pieces", lambda _self: [PIECE])
    world = _World()
    world.events = [said("task_awarded", owner="c" * 8), said("task_started", node="c" * 8)]
    world.after_kill = [
        said("lease_lapsed", owner="c" * 8, evidence="absent", silent_s=0.9),
        said("task_awarded", owner="b" * 8, epoch=2, former="c" * 8),
        said("task_done", node="b" * 8, owner="b" * 8, epoch=2),
        said("peer_dead", peer="c" * 8, name="c", life=1, after_s=2.0, accusers=["a" * 8, "b" * 8]),
    ]
    return world


def direct(world: _World, capsys: pytest.CaptureFixture[str]) -> tuple[demo_direct.Outcome, list[str]]:
    """Run it; what was shown comes back without its times."""
    screen = Screen(sys.stdout, lambda: 0.0, has_colours=False)
    ticks = iter(range(1_000_000))
    director = Director(cast(Mesh, world), screen, victim="c", pieces=0, seconds=lambda: next(ticks) / 1_000)
    outcome = director.run()
    return outcome, [line[9:].strip() for line in capsys.readouterr().out.splitlines()]


def test_the_whole_course_is_told_and_proved(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    outcome, lines = direct(world, capsys)
    assert outcome.proof.holds
    assert (outcome.proof.read_from, outcome.proof.read_alike_by) == ("b", "a")
    assert lines == [
        "a    up; it hosts the nats-server, and so the record",
        "b    up, with an invitation from a",
        "c    up, with an invitation from a",
        "each node sees three alive, and package-audit@1 on all of them",
        "a    takes the task: audit this Python, 1 piece, a task each",
        "c    kill -9 in the middle of its work: 3 processes",
        "a    owner c is absent, says the broker: its tasks move on",
        "a    awards anew to b: wave (t1), award 2",
        "1 of 1 pieces done (a 0, b 1, c 0)",
        "c    declared dead 2.0 s after the first suspicion, by a and b",
        "a    the audit is done: 1 of 1 pieces are in it",
    ]
    assert world.begun == [("a",), ("b", "--join", "token"), ("c", "--join", "token")]


def test_nodes_that_do_not_find_each_other_stop_it(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    world.offers = 2
    with pytest.raises(DemoError, match="did not find each other"):
        direct(world, capsys)


def test_an_audit_that_failed_stops_it(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    world.goal = record("goal", "", state="failed", error={"code": "agent_failed", "message": "no"}, result=None)
    world.events.clear()
    with pytest.raises(DemoError, match=r"the audit ended failed: .*no"):
        direct(world, capsys)


def test_work_that_is_over_too_soon_stops_it(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    world.goal = record("goal", "")
    world.events.clear()
    with pytest.raises(DemoError, match="the work was over before c held any of it"):
        direct(world, capsys)


def test_a_killed_node_that_nobody_declares_dead_stops_it(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    world.after_kill.pop()
    with pytest.raises(DemoError, match="c was not declared dead"):
        direct(world, capsys)


def test_two_nodes_that_read_different_records_stop_it(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    world.tasks["a"] = [record("goal", ""), record("t1", KEY, epoch=2)]
    with pytest.raises(DemoError, match="b and a read different records"):
        direct(world, capsys)


def test_two_commits_of_one_task_stop_it(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    world.after_kill.insert(0, said("task_done", node="c" * 8, owner="c" * 8))
    with pytest.raises(DemoError, match="two commits of one task were heard: t1"):
        direct(world, capsys)


def test_a_task_without_an_end_is_lost_in_the_proof(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        world.tasks[name] = [record("goal", ""), record("t1", KEY, state="awarded", result=None)]
    outcome, _ = direct(world, capsys)
    assert outcome.proof.lost == ("t1",)
    assert not outcome.proof.holds


def test_a_node_that_ends_by_itself_stops_it(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    world.events.clear()
    world["b"].is_running = lambda: False  # type: ignore[method-assign]  # it fell over
    with pytest.raises(DemoError, match="node b ended, and nobody killed it"):
        direct(world, capsys)
