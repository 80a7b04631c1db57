"""The log of an agent as a stream: from where it was asked for, without gaps that are not said, and bounded."""

import aiohttp
import msgspec
import pytest

from meshd.api import agent_logs
from meshd.api.agent_schemas import LogLine
from tests.meshd.api.fake_backend import FakeBackend
from tests.waiting import until_told

PATH = "/v1/agents/scorer/logs/follow"


async def read(answer: aiohttp.ClientResponse, count: int) -> list[tuple[str, dict[str, object]]]:
    """The next events of the stream, each with its name."""
    found: list[tuple[str, dict[str, object]]] = []
    kind = ""
    while len(found) < count:
        line = (await answer.content.readline()).decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            found.append((kind, msgspec.json.decode(value)))
            kind = ""
    return found


def texts(found: list[tuple[str, dict[str, object]]]) -> list[object]:
    return [line.get("text", line) for _, line in found]


@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [
        ("", {}, "line 3"),
        ("?lines=1", {}, "line 5"),
        ("?after=4", {}, "line 5"),
        ("?after=3", {"Last-Event-ID": "4"}, "line 5"),
    ],
)
async def test_a_log_is_followed_from_where_it_was_asked_for(
    unix: aiohttp.ClientSession, backend: FakeBackend, query: str, headers: dict[str, str], first: str
) -> None:
    async with unix.get(PATH + query, headers=headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert texts(await read(answer, 1)) == [first]
        backend.lines.append(LogLine(6, "and on it goes"))
        while (line := texts(await read(answer, 1))) != ["and on it goes"]:
            assert line in (["line 4"], ["line 5"])


async def test_lines_that_are_not_kept_any_more_are_said_to_be_missed(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    async with unix.get(f"{PATH}?after=5") as answer:
        backend.lines = [LogLine(9, "late")]
        assert await read(answer, 2) == [("missed", {"from": 6, "to": 8}), ("", {"seq": 9, "text": "late"})]


async def test_the_stream_ends_when_the_agent_is_gone(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    async with unix.get(f"{PATH}?lines=0") as answer:
        await answer.content.readline()
        backend.agents_.clear()
        await answer.content.read()  # to its end


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/agents/nobody/logs/follow", {}, 404),
        (f"{PATH}?lines=501", {}, 400),
        (f"{PATH}?after=-1", {}, 400),
        (f"{PATH}?later=1", {}, 400),
        (PATH, {"Last-Event-ID": "many"}, 400),
        (PATH, {"Last-Event-ID": "9" * 30}, 400),
    ],
)
async def test_what_cannot_be_followed_is_refused_before_the_stream_begins(
    unix: aiohttp.ClientSession, path: str, headers: dict[str, str], status: int
) -> None:
    async with unix.get(path, headers=headers) as answer:
        assert answer.status == status
        assert (await answer.json(content_type=None))["error"]["code"] in ("unknown_agent", "bad_input")


async def test_there_are_no_more_readers_than_are_allowed_and_a_place_is_given_back(
    unix: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_logs, "READERS_MAX", 1)
    async with unix.get(PATH), unix.get(PATH) as second:
        assert second.status == 503
    statuses: list[int] = []

    async def again() -> bool:
        async with unix.get(PATH) as third:
            statuses.append(third.status)
        return statuses[-1] == 200

    await until_told(again, what="a free place")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/agents", {}, 400),
        ("POST", "/v1/agents", {"manifest": 3}, 400),
        ("POST", "/v1/agents", {"manifest": "x" * 65_537}, 400),
        ("POST", "/v1/agents", {"manifest": "", "path": "/etc/passwd"}, 400),
        ("POST", "/v1/agents/nobody/start", {}, 404),
        ("POST", "/v1/agents/nobody/stop", {}, 404),
        ("POST", "/v1/agents/scorer/stop", {"now": True}, 400),
        ("DELETE", "/v1/agents/nobody", None, 404),
        ("DELETE", "/v1/agents/" + "x" * 200, None, 400),
        ("GET", "/v1/agents/nobody/logs", None, 404),
        ("GET", "/v1/agents/scorer/logs?lines=many", None, 400),
    ],
)
async def test_what_is_asked_wrongly_of_agents_is_refused(
    unix: aiohttp.ClientSession, method: str, path: str, body: object, status: int
) -> None:
    async with unix.request(method, path, json=body) as answer:
        assert answer.status == status, await answer.text()


async def test_the_last_lines_of_a_log_are_answered_by_number(unix: aiohttp.ClientSession) -> None:
    for query, expected in (("", [3, 4, 5]), ("?lines=2", [4, 5]), ("?after=4", [5]), ("?lines=0", [])):
        async with unix.get(f"/v1/agents/scorer/logs{query}") as answer:
            assert [line["seq"] for line in (await answer.json())["lines"]] == expected
