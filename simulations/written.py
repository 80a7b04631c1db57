"""A scenario as TOML text again, and with single keys changed.

Invariant: what is written is read back as the same scenario; what stands at its default is left
out. Neighbours: `scenario` reads; traces carry such text, shrinking and swarms end in it.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from simulations.scenario import Scenario, ScenarioError, checked

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NUMBERED = re.compile(r"\[([0-9]+)\]")  # as refusals name a part of a list: fault[0].at_s
_SHORT = re.compile(r"[+-]?\.[0-9]+", re.ASCII)  # .05, which TOML would have as 0.05


def written(scenario: Scenario) -> str:
    """TOML of a scenario: plain keys, then tables, then one table for each fault."""
    values = _plain(scenario)
    tables = {key: value for key, value in values.items() if isinstance(value, dict) or key == "fault"}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in values.items() if key not in tables]
    for key, value in tables.items():
        for table in value if isinstance(value, list) else [value]:
            lines.append(f"[[{key}]]" if isinstance(value, list) else f"[{_key(key)}]")
            lines += [f"{_key(inner)} = {_value(each)}" for inner, each in table.items()]
    return "\n".join(lines) + "\n"


def on_one_line(scenario: Scenario) -> str:
    """All that a scenario says, without the text about it."""
    values = _plain(scenario)
    return " ".join(f"{_key(key)}={_value(value)}" for key, value in values.items() if key != "about")


def changed(scenario: Scenario, changes: Sequence[str]) -> Scenario:
    """With each `key=value` of `changes` in it, keys dotted, lists by number. Raises ScenarioError with the key."""
    if not changes:
        return scenario
    values = msgspec.json.decode(msgspec.json.encode(scenario))
    for change in changes:
        key, equals, text = change.partition("=")
        path = _path(key)
        if not equals or not all(path):
            raise ScenarioError(f"--set {change}: that is not key=value, for example link.loss=0.05")
        _put(values, path, _read(text), key)
    return checked(values, origin=f"--set {', '.join(change.partition('=')[0] for change in changes)}")


def keys_of(changes: Sequence[str]) -> frozenset[str]:
    """The first part of each changed key."""
    return frozenset(_path(change.partition("=")[0])[0] for change in changes)


def _path(key: str) -> list[str]:
    return _NUMBERED.sub(r".\1", key.strip()).split(".")


def _put(values: Any, path: list[str], value: object, key: str) -> None:
    for step, name in enumerate(path):
        is_last = step == len(path) - 1
        if isinstance(values, list):
            if not name.isdecimal() or int(name) >= len(values):
                raise ScenarioError(f"--set {key}: there are {len(values)} of these, and {name!r} is none of them")
            index: Any = int(name)
        elif isinstance(values, dict):
            index = name
        else:
            raise ScenarioError(f"--set {key}: {'.'.join(path[:step])} has no parts")
        if is_last:
            values[index] = value
        elif isinstance(values, dict):
            values = values.setdefault(index, {})
        else:
            values = values[index]


def _read(text: str) -> object:
    """A TOML value; what is none is taken as text."""
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return float(text) if _SHORT.fullmatch(text.strip()) else text
    return values["value"] if len(values) == 1 else text


def _plain(value: object) -> Any:
    """As plain values, without what stands at its default."""
    if isinstance(value, Struct):
        kept = {}
        tag = value.__struct_config__.tag
        if tag is not None:
            kept[str(value.__struct_config__.tag_field)] = tag
        for field in structs.fields(value):
            own = getattr(value, field.name)
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            if own != default and own is not None:
                kept[field.encode_name] = _plain(own)
        return kept
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case dict():
            return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
        case list():
            return "[" + ", ".join(_value(each) for each in value) + "]"
        case _:
            raise TypeError(f"no TOML for {value!r}")
