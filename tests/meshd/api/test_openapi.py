"""The OpenAPI document against the server that publishes it."""

import json
import re
from typing import Any, get_args

import aiohttp

from meshd.api.openapi import document
from meshd.api.routes import ROUTES
from protocol.events import Event


def refs(value: Any) -> set[str]:
    match value:
        case {"$ref": str(ref), **rest}:
            return {ref} | refs(rest)
        case dict():
            return {ref for item in value.values() for ref in refs(item)}
        case list():
            return {ref for item in value for ref in refs(item)}
        case _:
            return set()


def test_every_reference_leads_somewhere() -> None:
    made = document("1")
    schemas = {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}
    assert refs(made) <= schemas


def test_every_schema_is_used() -> None:
    made = document("1")
    schemas = {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}
    assert schemas == refs(made)


def test_every_response_has_a_schema() -> None:
    for path, methods in document("1")["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                for content in response["content"].values():
                    assert content["schema"], f"{method} {path} {status}"


def test_every_parameter_of_a_path_is_declared() -> None:
    for path, methods in document("1")["paths"].items():
        for operation in methods.values():
            declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))


def test_operations_have_names_of_their_own() -> None:
    names = [o["operationId"] for methods in document("1")["paths"].values() for o in methods.values()]
    assert len(names) == len(set(names)) == len(ROUTES) + 4


def test_every_event_is_part_of_the_stream() -> None:
    made = document("1")["components"]["schemas"]
    kinds = {made[ref.rpartition("/")[2]]["properties"]["kind"]["enum"][0] for ref in refs(made["Event"])}
    assert kinds == {kind.__struct_config__.tag for kind in get_args(Event)}


async def test_the_server_publishes_it(unix: aiohttp.ClientSession) -> None:
    async with unix.get("/openapi.json") as response:
        assert await response.json() == json.loads(json.dumps(document("0.1.0")))


async def test_every_documented_path_is_served(unix: aiohttp.ClientSession) -> None:
    for path, methods in document("1")["paths"].items():
        for method in methods:
            async with unix.request(method, path.replace("{", "").replace("}", "")) as response:
                if response.status == 404:
                    assert (await response.json())["error"]["code"] != "unknown_path"
                assert response.status not in (405, 500)
