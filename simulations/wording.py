"""What may stand where a scenario is wrong: the keys or values that are known there.

Invariant: told from the types that read the scenario, so it cannot say what they would refuse.
Neighbours: `scenario` says with it what msgspec found wrong.
"""

import errno
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, TypeAlias

import msgspec
from msgspec import inspect

_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[(\d+|\.\.\.)\]")
_UNNAMED = "..."  # what msgspec calls every key of a table of the writer's own

Step: TypeAlias = str | int  # a key, or a place in a list


def meant(word: str, known: Collection[str]) -> str:
    """Of a word that is none of these, which may be meant, or else what there is."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def trouble_of(error: OSError) -> str:
    """Why a file cannot be read or written, in a few words."""
    return "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()


def reading(path: Path) -> BinaryIO:
    """A file, to be read from. Raises OSError, and for a pipe, too: its writer would be waited for."""
    if path.is_fifo():
        raise OSError(errno.ESPIPE, "it is a pipe")
    return path.open("rb")


def worded(struct: type, problem: str, values: object) -> str:
    """A text of msgspec's about `values` that are no `struct`, with the key that is meant, and what may stand there."""
    said, at, place = problem.replace("`", "").partition(" - at $")
    steps: list[Step] = []
    for found in _STEP.finditer(place):
        key, index = found.groups()
        if index == _UNNAMED:
            steps.append(_refused_key(struct, problem, values, steps))
        else:
            steps.append(key or int(index))
    named = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    key = re.match(r"(\w+)\S*: ", said)
    if at and key and key[1] in {field.encode_name for each in _at(struct, steps, values) for field in _fields(each)}:
        return f"{named.removeprefix('.')}.{said}"  # a struct refuses itself, and names a key of its own
    return f"{said}{at}{named}{_known_there(struct, said, steps, values)}"


def _known_there(struct: type, said: str, steps: list[Step], values: object) -> str:
    """What could have stood there, as words to follow what was said; or nothing."""
    there = _at(struct, steps, values)
    if unknown := re.match(r"Object contains unknown field (\S+)", said):
        refused = unknown.group(1)
        keys = sorted({field.encode_name for each in there for field in _fields(each)} - {refused})
        return f"; {meant(refused, keys)}" if keys else ""
    known = sorted({value for each in there for value in _values(each)})
    if said.startswith("Invalid value") and not known and steps:  # the key that tells a union's kinds apart
        known = sorted({tag for each in _at(struct, steps[:-1], values) for tag in _tags(each, steps[-1])})
    return f"; {meant(str(_value(values, steps)), known)}" if known else ""


def _refused_key(struct: type, problem: str, values: object, steps: list[Step]) -> str:
    """Which key of the table at the end of a path msgspec means: the one that is refused when it is there alone."""
    table = _value(values, steps)
    for key in table if isinstance(table, Mapping) else ():
        try:
            msgspec.convert(_alone(values, steps, key), struct)
        except msgspec.ValidationError as error:
            if str(error) == problem:
                return str(key)
        except OverflowError:
            continue
    return _UNNAMED


def _alone(values: object, steps: Sequence[Step], key: object) -> object:
    """The values, with no other key than this in the table at the end of a path."""
    if isinstance(values, Mapping):
        if not steps:
            return {key: values[key]}
        return {**values, steps[0]: _alone(values[steps[0]], steps[1:], key)}
    if isinstance(values, list | tuple):
        return [_alone(each, steps[1:], key) if at == steps[0] else each for at, each in enumerate(values)]
    return values


def _value(values: object, steps: Sequence[Step]) -> object:
    """What stands at the end of a path, if anything does."""
    for step in steps:
        if isinstance(values, Mapping):
            values = values.get(step)
        elif isinstance(values, list | tuple) and isinstance(step, int) and step < len(values):
            values = values[step]
        else:
            return None
    return values


def _at(struct: type, steps: Sequence[Step], values: object) -> list[inspect.Type]:
    """All types that may stand at the end of a path; of a union only the kind that is named in the values."""
    places = _parts(inspect.type_info(struct))
    for depth, step in enumerate(steps, start=1):
        places = _of_kind([part for place in places for part in _inside(place, step)], _value(values, steps[:depth]))
    return places


def _of_kind(places: list[inspect.Type], value: object) -> list[inspect.Type]:
    """Those whose tag the value has; all when it has none of theirs."""
    if not isinstance(value, Mapping):
        return places
    return [
        place
        for place in places
        if isinstance(place, inspect.StructType) and place.tag_field and value.get(place.tag_field) == place.tag
    ] or places


def _inside(kind: inspect.Type, step: Step) -> list[inspect.Type]:
    """What may stand one step further: in a field, or in an element of a list or table."""
    if isinstance(kind, inspect.StructType):
        return [part for field in kind.fields if field.encode_name == step for part in _parts(field.type)]
    return _elements(kind)


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


def _tags(kind: inspect.Type, name: Step) -> list[str]:
    return [str(kind.tag)] if isinstance(kind, inspect.StructType) and kind.tag_field == name else []
