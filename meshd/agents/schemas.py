"""What a capability takes and gives, as JSON Schema, and whether a value fits.

Invariant: a check is bounded: patterns run in linear time, and no schema fetches another from elsewhere.
The library (24 ms, 10 MiB) is loaded when the first schema is compiled; who has no schemas never pays for it.
Neighbours: `manifest` declares schemas, `hosted` and `http` check them; `bridge` checks those of MCP tools.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from meshd.ports import Failed, Finished, Outcome, Schema, Work
from meshd.quoting import quoted
from protocol.limits import TEXT_CHARS_MAX

if TYPE_CHECKING:
    from jsonschema_rs import Validator

_MASK = "\x00value\x00"  # stands for the value in what the library says; a whole value may be large

AnySchema: TypeAlias = Annotated[dict[str, Any] | bool, Meta(title="a JSON Schema: a table, or true or false")]


class SchemaTable(Struct, frozen=True, forbid_unknown_fields=True):
    """One table of `schemas` in a manifest."""

    takes: AnySchema | UnsetType = UNSET
    gives: AnySchema | UnsetType = UNSET

    @property
    def schema(self) -> Schema:
        """Both, with "anything" where nothing is said."""
        return Schema(
            takes=True if self.takes is UNSET else self.takes,
            gives=True if self.gives is UNSET else self.gives,
        )


class Checks:
    """The schemas of one agent, compiled: what goes in is checked before it sees it, and what it answers after."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        """Raises ValueError for what is no JSON Schema, naming capability and side."""
        self._takes = _compiled(schemas, "takes")
        self._gives = _compiled(schemas, "gives")

    def refusal(self, work: Work) -> Failed | None:
        """Why the agent is not given this, or nothing. It is not tried again: the input will not change."""
        wrong = self.misfit_in(work.capability, work.input)
        return Failed("bad_input", wrong, retry=False) if wrong else None

    def judged(self, work: Work, outcome: Outcome) -> Outcome:
        """The outcome as it stands, or the agent's failure to give what was declared."""
        if isinstance(outcome, Finished) and (wrong := self.misfit_out(work.capability, outcome.output)):
            return Failed("agent_output", wrong, retry=False)
        return outcome

    def misfit_in(self, capability: str, value: object) -> str:
        """What is wrong with an input, as a sentence with the place in it; nothing when it fits."""
        return _misfit(self._takes.get(capability), value, f"the input does not fit what {capability} takes")

    def misfit_out(self, capability: str, value: object) -> str:
        """What is wrong with a result."""
        return _misfit(self._gives.get(capability), value, f"the result does not fit what {capability} gives")


def _compiled(schemas: Mapping[str, Schema], side: str) -> dict[str, "Validator"]:
    found = {capability: getattr(schema, side) for capability, schema in schemas.items()}
    checked = {capability: schema for capability, schema in found.items() if schema is not True}
    return {capability: _validator(schema, f"{capability}.{side}") for capability, schema in checked.items()}


def _validator(schema: dict[str, Any] | bool, what: str) -> "Validator":
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(
            schema,
            pattern_options=jsonschema_rs.RegexOptions(),  # linear time; the others backtrack without end
            retriever=_refuse,
            mask=_MASK,
        )
    except jsonschema_rs.ValidationError as failure:
        at = _place([*failure.instance_path])
        message = failure.message.partition("\n")[0].replace(_MASK, quoted(failure.instance))
        raise ValueError(f"{what}: is no JSON Schema: {at}{message[:TEXT_CHARS_MAX]}") from None


def _refuse(uri: str) -> Any:
    raise ValueError("schemas are not fetched; write what it refers to under $defs")


def _misfit(validator: "Validator | None", value: object, what: str) -> str:
    if validator is None:
        return ""
    import jsonschema_rs

    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as failure:
        message = failure.message.replace(_MASK, quoted(failure.instance))
        return f"{what}: {_place(failure.instance_path)}{message[:TEXT_CHARS_MAX]}"
    except ValueError as failure:  # a value that is none of JSON's
        return f"{what}: {str(failure)[:TEXT_CHARS_MAX]}"
    return ""


def _place(path: list[str | int]) -> str:
    """`customer.orders[3]: `, or nothing for the value as a whole."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    place = "".join(steps).removeprefix(".")
    return f"{quoted(place) if not place.isprintable() else place[:TEXT_CHARS_MAX]}: " if place else ""
