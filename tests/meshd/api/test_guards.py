"""Who may ask: what each guard refuses, and in which order."""

import io
import json

import aiohttp
import pytest

from meshd.api import guards
from meshd.api.guards import BODY_BYTES_MAX
from meshd.api.problems import HEADERS
from meshd.api.server import Api
from tests.meshd.api.fake_backend import FakeBackend

JSON = {"Content-Type": "application/json"}


async def code_of(response: aiohttp.ClientResponse) -> str:
    assert response.content_type == "application/problem+json"
    return str((await response.json())["error"]["code"])


async def test_the_token_opens_the_tcp_door(tcp: aiohttp.ClientSession) -> None:
    async with tcp.get("/v1/status") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x", "Bearer é"],
)
async def test_without_the_token_nothing_is_told(api: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.format(token=api.address.token)}
    async with (
        aiohttp.ClientSession(api.address.url) as session,
        session.get("/v1/status", headers=headers) as response,
    ):
        assert response.status == 401
        assert await code_of(response) == "unauthorized"
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_local_monitor_needs_no_token(api: Api, path: str) -> None:
    async with aiohttp.ClientSession(api.address.url) as session, session.get(path) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_monitor_of_another_host_needs_the_token(
    api: Api, tcp: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(guards, "is_loopback", lambda peer: False)
    async with aiohttp.ClientSession(api.address.url) as session, session.get(path) as response:
        assert response.status == 401
    async with tcp.get(path) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", ["/openapi.json", "/v1/events", "/v1/nothing", "/"])
async def test_everything_else_needs_the_token_even_what_is_not_there(api: Api, path: str) -> None:
    async with aiohttp.ClientSession(api.address.url) as session, session.get(path) as response:
        assert await code_of(response) == "unauthorized"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "", "[::1]:{port}"])
async def test_a_foreign_host_name_is_refused_before_the_token_is_looked_at(api: Api, host: str) -> None:
    port = api.address.url.rpartition(":")[2]
    headers = {"Host": host.format(port=port)}
    async with aiohttp.ClientSession(api.address.url) as session, session.get("/healthz", headers=headers) as response:
        assert response.status == 403
        assert await code_of(response) == "bad_host"


@pytest.mark.parametrize("name", guards.SINGLE_HEADERS)
async def test_a_header_that_means_one_thing_may_not_come_twice(tcp: aiohttp.ClientSession, name: str) -> None:
    headers = [(name, "Bearer x"), (name, "Bearer y")]
    async with tcp.get("/v1/status", headers=headers) as response:
        assert response.status == 400
        assert name in (await response.json())["detail"]
        assert await code_of(response) == "bad_request"


async def test_localhost_is_one_of_our_names(tcp: aiohttp.ClientSession, api: Api) -> None:
    port = api.address.url.rpartition(":")[2]
    async with tcp.get("/v1/status", headers={"Host": f"LocalHost:{port}"}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_changes_nothing(
    tcp: aiohttp.ClientSession, backend: FakeBackend, headers: dict[str, str]
) -> None:
    async with tcp.post("/v1/stop", headers=headers) as response:
        assert response.status == 403
        assert (await response.json())["error"]["rule"] == "origin"
    assert not backend.is_stopping


async def test_our_own_page_may_change_things(tcp: aiohttp.ClientSession, api: Api, backend: FakeBackend) -> None:
    headers = {"Origin": api.address.url, "Sec-Fetch-Site": "same-origin"}
    async with tcp.post("/v1/stop", headers=headers) as response:
        assert response.status == 202
    assert backend.is_stopping


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_a_body_is_json_or_refused(
    unix: aiohttp.ClientSession, backend: FakeBackend, headers: dict[str, str]
) -> None:
    sent = json.dumps({"capability": "scoring@2"})
    async with unix.post("/v1/tasks", data=sent, headers=headers) as response:
        assert response.status == 415
        assert await code_of(response) == "bad_content_type"
    assert not backend.submitted


async def test_a_json_body_may_name_its_charset(unix: aiohttp.ClientSession) -> None:
    sent = json.dumps({"capability": "scoring@2"})
    headers = {"Content-Type": "application/json; charset=utf-8"}
    async with unix.post("/v1/tasks", data=sent, headers=headers) as response:
        assert response.status == 201


async def test_a_body_over_the_limit_is_refused_by_its_length(unix: aiohttp.ClientSession) -> None:
    async with unix.post("/v1/tasks", data=io.BytesIO(b" " * (BODY_BYTES_MAX + 1)), headers=JSON) as response:
        assert response.status == 413
        assert await code_of(response) == "too_large"


async def test_a_body_of_unknown_length_is_cut_at_the_limit(unix: aiohttp.ClientSession) -> None:
    async def endless() -> object:
        for _ in range(BODY_BYTES_MAX // 65_536 + 2):
            yield b" " * 65_536

    async with unix.post("/v1/tasks", data=endless(), headers=JSON) as response:
        assert response.status == 413


async def test_every_answer_tells_a_browser_to_keep_its_hands_off(unix: aiohttp.ClientSession) -> None:
    for path in ("/v1/status", "/v1/nothing", "/v1/events?after=0"):
        async with unix.get(path) as response:
            assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
            assert "Access-Control-Allow-Origin" not in response.headers
