"""What an operator does is on record, allowed or refused; what he looks at is not."""

import aiohttp

from meshd.api.recorded import TOLD_ELSEWHERE
from meshd.api.routes import ROUTES
from tests.meshd.api.fake_backend import FakeBackend, a_task


async def test_what_changes_something_is_recorded_with_how_it_ended(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    backend.put(a_task("one"))
    for method, path, body in (
        ("POST", "/v1/peers/b/drain", {}),
        ("POST", "/v1/peers/b/remove", {}),
        ("PUT", "/v1/log", {"level": "debug"}),
        ("POST", "/v1/tasks/one/cancel", {}),
        ("POST", "/v1/tasks/one/retry", {}),
    ):
        async with unix.request(method, path, json=body):
            pass
    assert [(asked, code) for asked, who, code in backend.audits.requests if who == "operator"] == [
        ("POST /v1/peers/b/drain", ""),
        ("POST /v1/peers/b/remove", "still_alive"),
        ("PUT /v1/log", ""),
        ("POST /v1/tasks/one/cancel", ""),
        ("POST /v1/tasks/one/retry", "under_way"),
    ]
    assert backend.audits.about == [
        ("peer/b", {}),
        ("peer/b", {}),
        ("node", {"level": "debug"}),
        ("task/one", {}),
        ("task/one", {}),
    ]


async def test_an_added_agent_is_recorded_with_its_file_and_without_its_manifest(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    body = {"manifest": "name = 'a'\n" * 100, "file": "/home/a.toml", "replace": True}
    async with unix.post("/v1/agents", json=body):
        pass
    assert backend.audits.about == [("node", {"file": "/home/a.toml", "replace": True})]


async def test_a_look_and_what_becomes_an_event_are_not_recorded_once_more(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    for path in ("/v1/status", "/v1/tasks", "/v1/audit", "/v1/audit/head"):
        async with unix.get(path) as response:
            assert response.status == 200
    async with unix.post("/v1/tasks", json={"capability": "scoring@2"}) as response:
        assert response.status in (200, 201)
    assert backend.audits.requests == []


def test_what_is_left_out_is_what_makes_events_of_its_own() -> None:
    assert {route.path for route in ROUTES if route.method == "POST"} >= TOLD_ELSEWHERE
