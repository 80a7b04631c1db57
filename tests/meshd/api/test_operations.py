"""The operator's paths: what they answer, and what they refuse of what strangers send."""

from typing import Any

import aiohttp
import msgspec
import pytest

from meshd.api import diagnosis_schemas, schemas
from tests.meshd.api.fake_backend import FakeBackend


@pytest.mark.parametrize(
    ("path", "answer"), [("/v1/config", schemas.Settings), ("/v1/diagnosis", diagnosis_schemas.Diagnosis)]
)
async def test_a_look_answers_exactly_its_schema(
    unix: aiohttp.ClientSession, path: str, answer: type[msgspec.Struct]
) -> None:
    async with unix.get(path) as response:
        assert response.status == 200
        raw = await response.read()
    assert msgspec.json.encode(msgspec.json.decode(raw, type=answer)) == raw


async def test_a_node_is_drained_undrained_and_removed_by_name(
    unix: aiohttp.ClientSession, backend: FakeBackend
) -> None:
    for verb, draining in (("drain", True), ("undrain", False)):
        async with unix.post(f"/v1/peers/b/{verb}", json={}) as response:
            assert response.status == 200
            assert (await response.json())["draining"] is draining
    assert backend.upkeep.steered == [("b", True), ("b", False)]
    async with unix.post("/v1/peers/c/remove", json={}) as response:
        assert (await response.json())["removed_on"] == ["a"]
    async with unix.post("/v1/peers/b/remove", json={}) as response:
        assert response.status == 409
        assert (await response.json())["error"]["code"] == "still_alive"


async def test_the_level_of_the_log_is_put(unix: aiohttp.ClientSession, backend: FakeBackend) -> None:
    async with unix.put("/v1/log", json={"level": "debug"}) as response:
        assert await response.json() == {"level": "debug"}
    assert backend.upkeep.levels == ["debug"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/v1/log", {"level": "loud"}, 400),
        ("PUT", "/v1/log", {"level": 7}, 400),
        ("PUT", "/v1/log", {}, 400),
        ("PUT", "/v1/log", {"level": "debug", "format": "text"}, 400),
        ("PUT", "/v1/log", [1], 400),
        ("POST", "/v1/log", {"level": "debug"}, 405),
        ("POST", "/v1/peers/b/drain", {"for_s": 3}, 400),
        ("POST", "/v1/peers/b/shoot", {}, 404),
        ("POST", f"/v1/peers/{'x' * 200}/remove", {}, 400),
        ("POST", "/v1/peers/%1b%5b2J/drain", {}, 400),
        ("GET", "/v1/peers/b/drain", None, 405),
        ("GET", "/v1/config?key=1", None, 400),
        ("DELETE", "/v1/config", None, 405),
    ],
)
async def test_what_is_not_meant_is_refused_with_a_problem_document(
    unix: aiohttp.ClientSession, backend: FakeBackend, method: str, path: str, body: Any, status: int
) -> None:
    async with unix.request(method, path, json=body) as response:
        assert response.status == status
        problem = await response.json(content_type="application/problem+json")
    assert problem["error"]["code"]
    assert backend.upkeep.steered == []
    assert backend.upkeep.levels == []
