"""The agent that shares the pieces out, run in memory with agents that stand in for the mesh."""

import asyncio
from typing import Any

import pytest

from meshd.demo import environment_audit
from meshd.demo.environment_audit import CAPABILITY, PIECE, agent
from meshd.demo.package_audit import audit as audit_piece
from meshd.demo.pieces import Installation, Piece
from meshd.sdk import Agent, Context, MeshRefusal, TaskError

HERE = Installation()
PIECES = {f"{piece.kind}/{piece.name}" for piece in HERE.pieces()[-4:]}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest pieces, and no waiting."""
    monkeypatch.setattr(Installation, "pieces", lambda _self: [_piece(name) for name in sorted(PIECES)])
    monkeypatch.setattr(environment_audit, "PAUSES_S", (0.0, 0.0))


def _piece(name: str) -> Piece:
    kind, _, rest = name.partition("/")
    return Piece("distribution" if kind == "distribution" else "stdlib", rest)


def auditor(asked: list[str] | None = None, fail: str = "") -> Agent:
    """`package-audit@1` in this process."""
    stand_in = Agent("package-audit")

    @stand_in.handles(PIECE)
    async def audit(ctx: Context, kind: str, name: str) -> dict[str, Any]:
        if asked is not None:
            asked.append(f"{kind}/{name}")
        if name == fail:
            raise TaskError("the piece cannot be read")
        return audit_piece(_piece(f"{kind}/{name}"), HERE)

    return stand_in


async def test_each_piece_is_asked_for_once_and_is_in_the_report() -> None:
    asked: list[str] = []
    report = await agent.handle_locally(CAPABILITY, {"pieces": 0}, others=[auditor(asked)])
    assert sorted(asked) == sorted(PIECES)
    assert report["asked"] == sorted(PIECES)
    assert report["pieces"] == len(PIECES)
    assert report["failed"] == []


async def test_only_as_many_pieces_as_wanted_are_audited() -> None:
    report = await agent.handle_locally(CAPABILITY, {"pieces": 2}, others=[auditor()])
    assert report["pieces"] == 2


async def test_no_more_than_so_many_are_under_way_at_once() -> None:
    under_way = most = 0
    stand_in = Agent("package-audit")

    @stand_in.handles(PIECE)
    async def audit(ctx: Context, kind: str, name: str) -> dict[str, Any]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return audit_piece(_piece(f"{kind}/{name}"), HERE)

    await agent.handle_locally(CAPABILITY, {"at_once": 2}, others=[stand_in])
    assert most == 2


async def test_a_piece_that_fails_is_reported_and_the_others_go_on() -> None:
    failing = sorted(PIECES)[0].partition("/")[2]
    report = await agent.handle_locally(CAPABILITY, None, others=[auditor(fail=failing)])
    assert report["pieces"] == len(PIECES) - 1
    assert [(row["name"], row["error"]) for row in report["failed"]] == [(failing, "the piece cannot be read")]


class _Outage:
    """A mesh that refuses some submits with `code` before it answers."""

    def __init__(self, code: str, refusals: int) -> None:
        self._code = code
        self._refusals = refusals
        self.keys: list[str] = []

    async def call(
        self, task: str, capability: str, input: object, timeout_s: float | None, *, agent: str = ""
    ) -> object:
        raise NotImplementedError

    async def publish(self, task: str, topic: str, value: object) -> None:
        raise NotImplementedError

    async def submit(self, task: str, capability: str, input: object, *, key: str, wait: bool) -> object:
        self.keys.append(key)
        if len(self.keys) <= self._refusals:
            raise MeshRefusal(self._code, "not now")
        assert isinstance(input, dict)
        return audit_piece(_piece(f"{input['kind']}/{input['name']}"), HERE)

    def progress(self, task: str, value: object) -> None:
        return


async def audited_during(outage: _Outage) -> object:
    ctx = Context(outage, task="t1", epoch=1, attempt=1, deadline_s=60.0, iid="i", gid="g")
    return await agent.handle(CAPABILITY, {"pieces": 1}, ctx)


async def test_an_outage_is_waited_out_with_the_same_key() -> None:
    outage = _Outage("detached", 2)
    report = await audited_during(outage)
    assert isinstance(report, dict)
    assert report["failed"] == []
    assert outage.keys == [f"t1/{sorted(PIECES)[0]}"] * 3


async def test_an_outage_that_lasts_is_a_failure_of_the_piece() -> None:
    report = await audited_during(_Outage("detached", 9))
    assert isinstance(report, dict)
    assert [row["error"] for row in report["failed"]] == ["not now"]


async def test_what_does_not_pass_by_itself_is_not_asked_again() -> None:
    outage = _Outage("task_failed", 9)
    await audited_during(outage)
    assert len(outage.keys) == 1
