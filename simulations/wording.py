"""What may stand where a scenario is wrong: the keys or values that are known there.

Invariant: told from the types that read the scenario, so it cannot say what they would refuse.
Neighbours: `scenario` adds it to what msgspec found wrong.
"""

import re
from difflib import get_close_matches

from msgspec import inspect

_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[")


def known_there(struct: type, problem: str) -> str:
    """What could have stood there, as words to follow `problem`, a text of msgspec's about a `struct`; or nothing."""
    place = problem.rpartition(" - at $")[2] if " - at $" in problem else ""
    names = [found.group(1) or "" for found in _STEP.finditer(place)]
    if unknown := re.match(r"Object contains unknown field (\S+)", problem):
        keys = sorted({field.encode_name for each in _at(struct, names) for field in _fields(each)})
        near = get_close_matches(unknown.group(1), keys, n=1)
        return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(keys)}" if keys else ""
    values = sorted({value for each in _at(struct, names) for value in _values(each)})
    if problem.startswith("Invalid value") and not values and names:  # the key that tells a union's kinds apart
        values = sorted({tag for each in _at(struct, names[:-1]) for tag in _tags(each, names[-1])})
    return f"; there are {', '.join(values)}" if values else ""


def _at(struct: type, names: list[str]) -> list[inspect.Type]:
    """All types that may stand at the end of a path; an empty name is an element of a list or table."""
    places = _parts(inspect.type_info(struct))
    for name in names:
        if name:
            places = [
                part
                for place in places
                for field in _fields(place)
                if field.encode_name == name
                for part in _parts(field.type)
            ]
        else:
            places = [part for place in places for part in _elements(place)]
    return places


def _parts(kind: inspect.Type) -> list[inspect.Type]:
    """The members of a union, or the type itself; what carries bounds is what it bounds."""
    match kind:
        case inspect.UnionType(types=types):
            return [part for each in types for part in _parts(each)]
        case inspect.Metadata(type=inner):
            return _parts(inner)
        case _:
            return [kind]


def _elements(kind: inspect.Type) -> list[inspect.Type]:
    match kind:
        case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner):
            return _parts(inner)
        case inspect.DictType(value_type=inner):
            return _parts(inner)
        case _:
            return []


def _fields(kind: inspect.Type) -> tuple[inspect.Field, ...]:
    return kind.fields if isinstance(kind, inspect.StructType) else ()


def _values(kind: inspect.Type) -> list[str]:
    match kind:
        case inspect.LiteralType(values=values):
            return [str(value) for value in values]
        case inspect.EnumType(cls=enum):
            return [str(member.value) for member in enum]
        case _:
            return []


def _tags(kind: inspect.Type, name: str) -> list[str]:
    return [str(kind.tag)] if isinstance(kind, inspect.StructType) and kind.tag_field == name else []
