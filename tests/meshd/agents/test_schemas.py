"""Schemas: what fits, the place in a value that does not, and schemas that are none."""

import subprocess
import sys
from typing import TypedDict

import pytest

from meshd.agents.schemas import Checks
from meshd.agents.worker import schema_of
from meshd.ports import Failed, Finished, Schema, Work
from meshd.sdk import Agent, Context

CUSTOMER: dict[str, object] = {
    "type": "object",
    "properties": {
        "age": {"type": "integer", "minimum": 0},
        "orders": {"type": "array", "items": {"$ref": "#/$defs/order"}},
    },
    "required": ["age"],
    "$defs": {"order": {"type": "object", "properties": {"price": {"type": "number"}}}},
}


def checks(takes: dict[str, object] | bool = True, gives: dict[str, object] | bool = True) -> Checks:
    return Checks({"scoring@2": Schema(takes, gives)})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"age": 3, "orders": [{"price": 1.5}], "more": None}, ""),
        ({"age": -3}, "age: -3 is less than the minimum of 0"),
        ({}, '"age" is a required property'),
        ([], '[] is not of type "object"'),
        (None, 'None is not of type "object"'),
        (
            {"age": 1, "orders": [{}, {"price": "x" * 100_000}]},
            "orders[1].price: '" + "x" * 59 + '… is not of type "number"',
        ),
        ({"age": 1, "orders": [{"price": "\x1b[31m"}]}, "orders[0].price: '\\x1b[31m' is not of type \"number\""),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_value_that_does_not_fit_is_named_by_its_place(value: object, expected: str) -> None:
    said = checks(takes=CUSTOMER).misfit_in("scoring@2", value)
    assert said == (expected and f"the input does not fit what scoring@2 takes: {expected}")


def test_what_has_no_schema_takes_and_gives_anything() -> None:
    assert checks().misfit_in("scoring@2", object()) == ""
    assert checks(takes=CUSTOMER).misfit_out("scoring@2", "text") == ""
    assert checks(takes=CUSTOMER).misfit_in("other@1", "text") == ""


def test_false_takes_nothing() -> None:
    assert "does not fit" in checks(takes=False).misfit_in("scoring@2", None)


def test_an_input_that_does_not_fit_is_not_tried_again_and_a_result_is_the_agents_failure() -> None:
    both = checks(takes={"type": "string"}, gives={"type": "number"})
    work = Work(task="t", capability="scoring@2", input=3, epoch=1, attempt=1, deadline_s=1.0, iid="i", gid="g")
    refusal = both.refusal(work)
    assert refusal is not None
    assert (refusal.code, refusal.retry) == ("bad_input", False)
    judged = both.judged(work, Finished("text"))
    assert isinstance(judged, Failed)
    assert (judged.code, judged.retry) == ("agent_output", False)
    failed = Failed("agent_crashed", "x", retry=True)
    assert both.judged(work, failed) is failed
    assert both.judged(work, Finished(0.5)) == Finished(0.5)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "nonsense"}, "scoring@2.takes: is no JSON Schema: type: "),
        ({"minimum": "x"}, "scoring@2.takes: is no JSON Schema: minimum: 'x' is not of type \"number\""),
        ({"pattern": "("}, "scoring@2.takes: is no JSON Schema: pattern: '(' is not a \"regex\""),
        (
            {"$ref": "http://169.254.169.254/x"},
            "scoring@2.takes: is no JSON Schema: Resource 'http://169.254.169.254/x'",
        ),
        ({"$ref": "file:///etc/passwd"}, "scoring@2.takes: is no JSON Schema: Resource 'file:///etc/passwd'"),
        ({"$ref": "#/nowhere"}, "scoring@2.takes: is no JSON Schema: Pointer '/nowhere' does not exist"),
        ({"$schema": "http://x.y/z"}, "scoring@2.takes: is no JSON Schema: Unknown meta-schema"),
    ],
    ids=str,
)
def test_what_is_no_schema_or_lies_elsewhere_is_refused(schema: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match="is no JSON Schema") as caught:
        checks(takes=schema)
    assert str(caught.value).startswith(expected)


def test_a_schema_that_is_made_to_take_for_ever_does_not() -> None:
    patience = checks(takes={"pattern": "^(a+)+$"})
    assert patience.misfit_in("scoring@2", "a" * 50_000 + "b")
    assert checks(takes={"$ref": "#"}).misfit_in("scoring@2", 1) == ""


def test_the_library_is_loaded_for_the_first_schema_and_never_by_meshctl() -> None:
    code = (
        "import sys; import cli.meshctl; assert 'jsonschema_rs' not in sys.modules\n"
        "from meshd.agents.schemas import Checks; Checks({}); assert 'jsonschema_rs' not in sys.modules\n"
        "from meshd.ports import Schema; Checks({'x@1': Schema()}); assert 'jsonschema_rs' not in sys.modules\n"
        "Checks({'x@1': Schema({})}); assert 'jsonschema_rs' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class Price(TypedDict):
    """A type of its own, which a schema refers to."""

    amount: float


def test_type_hints_become_one_schema_however_often_they_are_asked_for() -> None:
    agent = Agent("shop")

    @agent.handles("one@1")
    def one(price: Price) -> str:
        return ""

    @agent.handles("two@1")
    async def two(ctx: Context, price: Price, count: int = 1) -> list[Price]:
        return []

    @agent.handles("none@1")
    def none() -> None: ...

    for _ in range(2):
        said = schema_of(agent, "one@1")
        assert (said["takes"]["$ref"], list(said["takes"]["$defs"])) == ("#/$defs/Price", ["Price"])
        assert said["gives"] == {"type": "string"}
        many = schema_of(agent, "two@1")["takes"]
        assert many["required"] == ["price"]
        found = Checks({"two@1": Schema(takes=many)})
        assert found.misfit_in("two@1", {"price": {"amount": 3}}) == ""
        assert "price.amount: 'x' is not of type" in found.misfit_in("two@1", {"price": {"amount": "x"}})
    assert schema_of(agent, "none@1")["takes"] == {"type": "object", "properties": {}, "additionalProperties": False}
