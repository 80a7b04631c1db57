"""Tools of an MCP server as capabilities, and their answers as values."""

import pytest

from meshd.agents.tools import SCHEMA_BYTES_MAX, TOOLS_MAX, Tool, capability_of, complaint_of, offered, value_of

ANY: dict[str, object] = {"type": "object"}


def tools(*names: str) -> list[Tool]:
    return [Tool(name=name, takes=ANY) for name in names]


@pytest.mark.parametrize(
    ("tool", "capability"),
    [
        ("search", "search@1"),
        ("get_weather", "get_weather@1"),
        ("getWeather", "getweather@1"),
        ("files/read file", "files_read_file@1"),
        ("größe", "gr__e@1"),
    ],
)
def test_a_tools_name_becomes_a_capability(tool: str, capability: str) -> None:
    assert capability_of(tool) == capability
    assert list(offered(tools(tool), ())[0]) == [capability]


@pytest.mark.parametrize("name", ["", "7zip", "_private", "x" * 65, "日本"])
def test_a_name_that_can_be_no_capability_is_left_out_and_named(name: str) -> None:
    offers, problems = offered(tools(name, "good"), ())
    assert list(offers) == ["good@1"]
    assert len(problems) == 1
    assert problems[0].startswith("the tool ")
    assert "is no name of a capability" in problems[0]


def test_two_tools_that_would_be_one_capability_are_both_left_out() -> None:
    offers, problems = offered(tools("Read", "read", "other"), ())
    assert list(offers) == ["other@1"]
    assert problems == ["the tool 'Read' is left out: as a capability it is read@1, and so is 'read'"]


def test_only_what_the_manifest_names_is_offered_and_what_is_not_there_is_named() -> None:
    offers, problems = offered(tools("a", "b"), ("b@1", "c@1"))
    assert list(offers) == ["b@1"]
    assert problems == ["no tool of the server is c@1"]


def test_more_tools_than_one_agent_may_announce_are_left_out() -> None:
    offers, problems = offered(tools(*(f"t{number}" for number in range(TOOLS_MAX + 2))), ())
    assert len(offers) == TOOLS_MAX
    assert len(problems) == 2
    assert "64 tools are offered already; name those you want under capabilities" in problems[0]


def nested(levels: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object"}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        ({"type": "nonsense"}, "bad@1.takes: is no JSON Schema"),
        ({"$ref": "http://elsewhere/"}, "bad@1.takes: is no JSON Schema"),
        ({"description": "x" * SCHEMA_BYTES_MAX}, "its schemas are larger than 65536 bytes"),
        (nested(5_000), "its schemas are nested too deep"),
        ({"properties": {"\ud800": {}}}, "its schemas hold what is no text"),
        ({"properties": {"a": {"pattern": "(?=b)"}}}, "bad@1.takes: is no JSON Schema: properties.a.pattern: "),
    ],
    ids=["none", "elsewhere", "large", "deep", "surrogate", "look-around"],
)
def test_a_tool_whose_schema_is_none_is_left_out(takes: dict[str, object], expected: str) -> None:
    offers, problems = offered([Tool(name="bad", takes=takes), *tools("good")], ())
    assert list(offers) == ["good@1"]
    assert problems[0].startswith(f"the tool 'bad' is left out: {expected}")


TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image", "data": "AAAA", "mimeType": "image/png"}


def test_an_answer_is_what_is_structured_else_its_parts() -> None:
    assert value_of({"a": 1}, [TEXT]) == {"a": 1}
    assert value_of(None, [TEXT]) == "hello"
    assert value_of(None, [TEXT, IMAGE]) == ["hello", IMAGE]
    assert value_of(None, [IMAGE]) == IMAGE
    assert value_of(None, []) is None


def test_a_complaint_is_its_text_within_bounds() -> None:
    assert complaint_of([TEXT, IMAGE, TEXT]) == "hello\nhello"
    assert complaint_of([IMAGE]) == "the tool gave no reason"
    assert len(complaint_of([{"type": "text", "text": "x" * 10_000}])) == 512
