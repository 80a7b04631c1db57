"""The bridge to an MCP server: what a server says, wrongly or rightly, and what becomes of it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshd.agents import bridge
from meshd.agents.tools import BridgePlan
from meshd.ports import Failed, Finished, Outcome
from protocol.errors import MeshError
from tests.contracts.stage import SHORT, Desk, Stage
from tests.waiting import until


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage("mcp", tmp_path) as stage:
        yield stage


def text(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": each} for each in texts]


IMAGE = {"type": "image", "data": "AAAA", "mimeType": "image/png"}


async def test_every_answer_of_a_tool_is_one_outcome(stage: Stage) -> None:
    cases: list[tuple[str, object, Outcome]] = [
        ("result", {"content": text("hello")}, Finished("hello")),
        ("result", {"content": text("{}", "b")}, Finished(["{}", "b"])),
        ("result", {"content": [IMAGE, *text("a")]}, Finished([IMAGE, "a"])),
        ("result", {"content": []}, Finished(None)),
        ("result", {"content": text("x"), "structuredContent": {"answer": 3}}, Finished(3)),
        ("result", {"content": text("no"), "isError": True}, Failed("agent_failed", "no", retry=False)),
        (
            "error",
            {"code": -32602, "message": "no such"},
            Failed("agent_failed", "the server answered: no such", False),
        ),
        ("fail", "no such customer", Failed("agent_failed", "no such customer", retry=False)),
    ]
    for verb, argument, expected in cases:
        assert await stage.act(verb, argument) == expected, argument
    for nonsense in ({"content": "text"}, {"content": [{"type": "text"}]}, {"content": [], "structuredContent": 3}):
        outcome = await stage.act("result", nonsense)
        assert isinstance(outcome, Failed)
        assert outcome.message.startswith("the server's answer is no result of the tool: "), nonsense
        assert len(outcome.message) < 700


async def test_progress_is_told_as_its_number_and_message(stage: Stage) -> None:
    desk = Desk()
    await stage.act("progress", "half way", desk)
    await until(lambda: desk.said)
    assert desk.said == [{"progress": 1, "total": 1, "message": "half way"}]


@pytest.mark.parametrize("input", [None, 3, "text", [], {}, {"order": "text"}], ids=str)
async def test_what_does_not_fit_the_tools_schema_never_reaches_it(stage: Stage, input: object) -> None:
    outcome = await stage.agent.run(stage.work(input), Desk())
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retry) == ("bad_input", False)
    assert outcome.message.startswith(
        "act@1 takes an object with the tool's arguments, not "
        if input is not None and not isinstance(input, dict)
        else "the input does not fit what act@1 takes: "
    )


async def test_tools_become_capabilities_and_are_followed_when_they_change(stage: Stage) -> None:
    assert stage.agent.card.capabilities == ("act@1",)
    assert stage.agent.schemas["act@1"].takes == {
        "type": "object",
        "properties": {"order": {"type": "array"}},
        "required": ["order"],
    }
    changes = len(stage.changes)
    await stage.act("relist", ["New", "7up"])
    await until(lambda: stage.agent.card.capabilities == ("act@1", "new@1"))
    assert stage.changes[changes:] == [("ready", stage.agent.detail)]
    assert stage.agent.detail.startswith("the tool '7up' is left out: '7up@1' is no name of a capability")
    assert await stage.agent.run(stage.work({}, capability="new@1"), Desk()) == Finished("New")
    await stage.act("relist", [])
    await until(lambda: stage.agent.card.capabilities == ("act@1",))
    assert stage.agent.detail == ""
    assert await stage.agent.run(stage.work({}, capability="new@1"), Desk()) == Failed(
        "agent_failed", "the server has no tool for new@1 any more", retry=True
    )


async def test_a_line_that_is_no_json_rpc_is_logged_and_nothing_is_lost(stage: Stage) -> None:
    assert await stage.act("print", "starting up... \x1b[31m") == Finished(None)
    assert await stage.act("print", '{"jsonrpc": "2.0", "id": 99999, "result": {}}') == Finished(None)
    assert await stage.act("print", '{"jsonrpc": "2.0", "id": 5, "method": "sampling/createMessage"}') == Finished(None)
    assert await stage.act("echo", 1) == Finished(1)
    await until(lambda: any("is no JSON-RPC: 'starting up... \\x1b[31m'" in line for line in stage.agent.log()))


def server(folder: Path, *answers: str) -> list[str]:
    """A server that answers each request with the next of these, `ID` being the request's, and then hangs."""
    program = (
        "import json, sys\n"
        f"for answer in {list(answers)!r}:\n"
        "    number = None\n"
        "    while number is None: number = json.loads(sys.stdin.readline()).get('id')\n"
        "    print(answer.replace('ID', json.dumps(number)), flush=True)\n"
        "for line in sys.stdin: pass\n"
    )
    (folder / "server.py").write_text(program)
    return [sys.executable, "server.py"]


NO_DISCOVERY = '{"jsonrpc": "2.0", "id": ID, "error": {"code": -32601, "message": "no such method"}}'


def answer(result: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 0, "result": result}).replace('"id": 0', '"id": ID')


WELCOME = answer(
    {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
)


async def test_a_tool_that_is_none_is_left_out_by_name_and_the_others_work(tmp_path: Path) -> None:
    tools = [
        {"name": "bad", "inputSchema": {"type": "string"}},
        {"name": "good", "inputSchema": {"type": "object"}},
        {"name": "worse"},
    ]
    run = server(tmp_path, NO_DISCOVERY, WELCOME, answer({"tools": tools}), answer({"content": text("done")}))
    async with Stage("mcp", tmp_path, run=run) as stage:
        assert (stage.agent.state, stage.agent.card.capabilities) == ("ready", ("good@1",))
        why = "the tool 'bad' is left out: inputSchema.type: Input should be 'object' (and 1 more: see the log)"
        assert stage.agent.detail == why
        assert any("the tool 'worse' is left out: inputSchema: Field required" in each for each in stage.agent.log())
        assert await stage.agent.run(stage.work({}, capability="good@1"), Desk()) == Finished("done")


async def test_a_server_that_asks_back_is_refused_and_goes_on(tmp_path: Path) -> None:
    run = server(tmp_path, NO_DISCOVERY, WELCOME, answer({"tools": [{"name": "x", "inputSchema": {"type": "object"}}]}))
    program = (tmp_path / "server.py").read_text().partition("for line in sys.stdin")[0]
    (tmp_path / "server.py").write_text(
        program + "call, refused = json.loads(sys.stdin.readline()), []\n"
        "for method in 'sampling/createMessage', 'elicitation/create', 'roots/list', 'no/such':\n"
        "    print(json.dumps({'jsonrpc': '2.0', 'id': method, 'method': method, 'params': {}}), flush=True)\n"
        "    while (reply := json.loads(sys.stdin.readline())).get('id') != method: pass\n"
        "    refused.append('error' in reply)\n"
        "content = [{'type': 'text', 'text': json.dumps(refused)}]\n"
        "print(json.dumps({'jsonrpc': '2.0', 'id': call['id'], 'result': {'content': content}}), flush=True)\n"
        "sys.stdin.read()\n"
    )
    async with Stage("mcp", tmp_path, run=run) as stage:
        outcome = await stage.agent.run(stage.work({}, capability="x@1"), Desk())
        assert outcome == Finished("[true, true, true, true]")


async def refusal(folder: Path, run: list[str], **keys: object) -> str:
    stage = Stage("mcp", folder, run=run, **keys)  # type: ignore[arg-type] # any key
    with pytest.raises(MeshError) as caught:
        await stage.agent.start()
    assert stage.agent.state == "failed"
    await stage.agent.stop()
    await stage.close()
    return caught.value.message


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((NO_DISCOVERY, NO_DISCOVERY), "no such method"),
        (
            (
                NO_DISCOVERY,
                answer(
                    {"protocolVersion": "1066-10-14", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
                ),
            ),
            "1066-10-14",
        ),
        ((NO_DISCOVERY, answer({"protocolVersion": 3, "capabilities": "x"})), "answers what is no MCP: "),
        ((NO_DISCOVERY, WELCOME, answer({"tools": "many"})), "tools"),
        (
            (NO_DISCOVERY, WELCOME, answer({"tools": [], "nextCursor": "again"})),
            "lists more than 1000 tools, or pages without any",
        ),
        (
            (
                NO_DISCOVERY,
                WELCOME,
                answer({"tools": [{"name": f"t{i}", "inputSchema": {"type": "object"}} for i in range(1_001)]}),
            ),
            "lists more than 1000 tools",
        ),
    ],
    ids=["no-mcp", "version", "nonsense", "no-list", "endless", "huge"],
)
async def test_a_server_that_is_none_fails_the_agent_with_one_sentence(
    tmp_path: Path, answers: tuple[str, ...], expected: str
) -> None:
    message = await refusal(tmp_path, server(tmp_path, *answers))
    assert "run: the agent ended with exit code 1: the MCP server " in message
    assert expected in message
    assert "\n" not in message
    assert "Traceback" not in message


async def test_a_server_that_says_nothing_is_not_waited_for_without_end(tmp_path: Path) -> None:
    hasty = SHORT.__class__(start_s=1.5, grace_s=0.3, stop_s=0.5)
    assert "was not ready within 1.5 s" in await refusal(tmp_path, ["sleep", "1000"], patience=hasty)


async def test_a_command_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("no program")
    (tmp_path / "server").chmod(0o700)
    assert "the command cannot be started: Exec format error" in await refusal(tmp_path, ["./server"])


async def test_a_server_that_ends_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    message = await refusal(tmp_path, ["sh", "-c", "echo no licence >&2; exit 3"])
    assert message.endswith("run: the agent ended with exit code 3: no licence")


async def test_an_exclusive_task_that_is_cancelled_ends_the_server(stage: Stage) -> None:
    desk = Desk()
    held = stage.start("stubborn", desk=desk, lease_s=30.0)
    await until(lambda: desk.said)
    before = stage.agent.pids
    held.cancel()
    await asyncio.wait([held])
    await until(lambda: stage.agent.state == "ready" and stage.agent.pids not in ([], before))


async def test_a_server_that_says_without_end_that_its_tools_change_is_asked_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    async def offer(worker: object) -> None:
        nonlocal asked
        asked += 1

    async def storm() -> None:
        following = asyncio.create_task(bridged._follow(None))  # type: ignore[arg-type] # nobody is told
        for _ in range(100):
            bridged._changed.set()
            await asyncio.sleep(0)
        following.cancel()

    bridged = bridge.Bridge(BridgePlan((), "", "", "", (), 0, 0, 1.0))
    monkeypatch.setattr(bridged, "_offer", offer)
    monkeypatch.setattr(bridge, "RELIST_S", 0.0)
    await storm()
    assert asked > 10
    asked = 0
    monkeypatch.setattr(bridge, "RELIST_S", 60.0)
    await storm()
    assert asked == 1


def test_a_body_that_does_not_end_is_cut_off() -> None:
    class Endless:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 100_000

        async def aclose(self) -> None: ...

    async def read() -> int:
        count = 0
        async for chunk in bridge._Bounded(Endless()):
            count += len(chunk)
        return count

    with pytest.raises(bridge._UnfitError, match="answers more than 4194304 bytes"):
        asyncio.run(read())
