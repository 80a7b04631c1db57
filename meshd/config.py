"""The settings as this daemon was given them: flags over environment over files over a preset over defaults.

Invariant: sources are merged once, as plain values that keep their origin, and converted once;
what is wrong names its key, its rule and its origin. Neighbours: `settings` declares them.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from meshd.addresses import host_of, is_loopback
from meshd.plaintext import content_of, text_of
from meshd.quoting import quoted, quoted_key
from meshd.settings import Row, Settings, rows
from protocol.errors import MeshError
from protocol.presets import PRESETS

VERSION = 1  # of the form of these files; a newer one says things that are not known here
FILE_BYTES_MAX = 1_000_000  # a hundred times the reference; reading stops there
PREFIX = "MESHD_"
NO_SETTINGS = frozenset({"MESHD_AGENT", "MESHD_DIR", "MESHD_FLAGS", "MESHD_TOKEN"})  # read elsewhere
# What Kubernetes sets for a service whose name begins with meshd.
_OF_A_SERVICE = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_[A-Z]+(_PROTO|_PORT|_ADDR)?)?)$")
NEAR, NEAR_WHOLE = 0.6, 0.8  # how alike names are before one is taken for the other: in a table, and with its table

PRESET = "membership.preset"
VERSION_KEY = "version"

_TABLE = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_ENTRY = re.compile(r"\s*([\w.-]+)\s*=")

# The flags of `meshd start` that are settings.
FLAGS: Mapping[str, str] = {
    "node.name": "--name",
    "node.region": "--region",
    "node.domain": "--domain",
    "api.listen": "--listen",
    "nats.listen": "--nats-listen",
}
NATS_LISTEN = "nats.listen"
KEPT = "kept from an earlier start"
# What others know this node by: a start that is not told otherwise goes on as it was told before, by these files of
# the state directory.
KEPT_FILES: Mapping[str, str] = {
    "node.name": "name",
    "node.region": "region",
    "node.domain": "domain",
    NATS_LISTEN: "nats-listen",
}


class Given(Struct, frozen=True):
    """A plain value and where it came from.

    The origin reads `default`, `preset wan`, `file x.toml:7`, `environment MESHD_…` or `flag --…`.
    """

    value: object
    origin: str


class Config(Struct, frozen=True):
    """The settings, and each one's value and origin by dotted key."""

    settings: Settings
    origins: dict[str, Given]


def load(
    *, files: Sequence[Path] = (), environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    """Merge and convert. `flags` maps dotted keys of `FLAGS` to values; None is a flag that was not given.

    Raises MeshError: "config" for what is unknown, of the wrong type or out of range, with the
    key, the rule and the origin; "insecure" for an address beyond this host.
    """
    config, problems = look(files=files, environ=environ, flags=flags)
    if config is None:
        raise problems[0]
    return config


def look(
    *, files: Sequence[Path] = (), environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> tuple[Config | None, tuple[MeshError, ...]]:
    """As `load`, but all that is wrong is told; the settings are None when anything is."""
    known = {row.key: row for row in rows()}
    given = {row.key: Given(row.default, "default") for row in rows()}
    read = [_from_file(file, known) for file in files] + [_from_environ(environ or {}, known)]
    problems: list[MeshError] = []
    for found, wrong in read:
        given |= found
        problems += wrong
    for key, value in (flags or {}).items():
        if value is not None:
            given[key] = Given(value, f"flag {FLAGS[key]}")
    values, wrong = _all_converted(given, known)
    if not any(error.fields["key"] == PRESET for error in wrong):
        given |= _from_preset(given, known)
        values, wrong = _all_converted(given, known)
    if problems or wrong:
        return None, (*problems, *wrong)
    plain: dict[str, Any] = {}
    for key, value in values.items():
        _put(plain, key, value)
    settings = msgspec.convert(plain, Settings)
    exposed = _exposure(settings)
    origins = {key: Given(values[key], one.origin) for key, one in given.items()}
    return (None, (exposed,)) if exposed else (Config(settings, origins), ())


def kept(directory: Path, key: str) -> str:
    """What an earlier start was told of it, or nothing. Raises MeshError("directory") for what cannot be what it is."""
    file = directory / KEPT_FILES[key]
    if not file.exists():
        return ""
    row = next(row for row in rows() if row.key == key)
    try:
        told = _text_of(file).strip()
        return str(_converted(row, Given(told, f"file {file}"))) if told else ""
    except MeshError as failure:
        problem, cure = failure.fields["problem"], f"start with {FLAGS[key]}, which is kept instead, or remove the file"
        raise MeshError("directory", path=str(file), problem=problem, cure=cure) from None


def with_kept(config: Config, directory: Path) -> Config:
    """The same, with what is kept where no source says other; that it is open to others was acknowledged then."""
    found = {key: kept(directory, key) for key in KEPT_FILES if config.origins[key].origin == "default"}
    settings, origins = config.settings, dict(config.origins)
    for key, value in found.items():
        if value:
            group, _, field = key.partition(".")
            told = msgspec.structs.replace(getattr(settings, group), **{field: value})
            settings = msgspec.structs.replace(settings, **{group: told})
            origins[key] = Given(value, KEPT)
    return Config(settings, origins)


_Found: TypeAlias = tuple[dict[str, Given], list[MeshError]]


def _from_file(path: Path, known: Mapping[str, Row]) -> _Found:
    origin = f"file {path}"
    try:
        text = _text_of(path)
        tables = tomllib.loads(text)
    except MeshError as unreadable:
        return {}, [unreadable]
    except (ValueError, RecursionError) as failure:  # a number of thousands of digits is a plain ValueError
        return {}, [MeshError("config", key=str(path), problem=f"is not TOML: {failure}", origin=origin)]
    lines = _lines_of(text)
    version = tables.pop(VERSION_KEY, VERSION)
    if version != VERSION or isinstance(version, bool):
        return {}, [_other_version(version, _at(origin, lines.get(VERSION_KEY)))]
    found: dict[str, Given] = {}
    wrong: list[MeshError] = []
    groups = {key.partition(".")[0] for key in known if "." in key}
    for path_in_file, value in _leaves(tables, groups):
        key = ".".join(part if "." not in part else repr(part) for part in path_in_file)
        where = _at(origin, lines.get(key))
        if key in known:
            found[key] = Given(value, where)
        else:
            wrong.append(MeshError("config", key=quoted_key(key), problem=_unknown(key, known), origin=where))
    return found, wrong


def _text_of(path: Path) -> str:
    """Raises MeshError("config") for what cannot be read as text."""
    origin = f"file {path}"
    try:
        content = content_of(path, FILE_BYTES_MAX + 1)
    except OSError as failure:
        raise MeshError("config", key=str(path), problem=f"cannot be read: {failure.strerror}", origin=origin) from None
    if len(content) > FILE_BYTES_MAX:
        raise MeshError("config", key=str(path), problem=f"is larger than {FILE_BYTES_MAX} bytes", origin=origin)
    try:
        return text_of(content)
    except ValueError as failure:
        raise MeshError("config", key=str(path), problem=str(failure), origin=origin) from None


def _other_version(version: object, origin: str) -> MeshError:
    is_newer = isinstance(version, int) and version > VERSION and not isinstance(version, bool)
    problem = f"must be {VERSION}, not {quoted(version)}"
    if is_newer:
        problem = (
            f"the file is of version {quoted(version)}; this meshd reads version {VERSION}, so a newer one is needed"
        )
    return MeshError("config", key=VERSION_KEY, problem=problem, origin=origin)


def _lines_of(text: str) -> dict[str, int]:
    """On which line each dotted key stands, as far as a look at the lines tells: the parser does not say."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = f"{header[1]}."
            found.setdefault(header[1], number)
        elif entry := _ENTRY.match(line):
            found.setdefault(table + entry[1], number)
    return found


def _at(origin: str, line: int | None) -> str:
    return origin if line is None else f"{origin}:{line}"


def _leaves(tables: Mapping[str, object], groups: set[str]) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, value in tables.items():
        if name in groups and isinstance(value, dict):
            for inner, leaf in value.items():
                yield (name, inner), leaf
        else:
            yield (name,), value


def _from_environ(environ: Mapping[str, str], known: Mapping[str, Row]) -> _Found:
    """Every name with the prefix is a setting, but for the few that are read elsewhere or set by others."""
    found: dict[str, Given] = {}
    wrong: list[MeshError] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in NO_SETTINGS or _OF_A_SERVICE.search(name.removeprefix("MESHD")):
            continue
        key = name.removeprefix(PREFIX).lower().replace("__", ".")
        origin = f"environment {name}"
        if key in known:
            found[key] = Given(environ[name], origin)
        else:
            wrong.append(MeshError("config", key=quoted_key(key), problem=_unknown(key, known), origin=origin))
    return found, wrong


def _from_preset(given: Mapping[str, Given], known: Mapping[str, Row]) -> dict[str, Given]:
    """What the chosen preset says about membership, where nothing else said it."""
    chosen = str(_converted(known[PRESET], given[PRESET]))
    preset = msgspec.structs.asdict(PRESETS[chosen])
    keys = {f"membership.{name}": value for name, value in preset.items()}
    return {
        key: Given(value, f"preset {chosen}")
        for key, value in keys.items()
        if given[key].origin == "default" and given[key].value != value
    }


def _unknown(key: str, known: Mapping[str, Row]) -> str:
    if any(row.startswith(f"{key}.") for row in known):
        return "is a table, and was given a value"
    table, _, name = key.rpartition(".")
    beside = {row.rpartition(".")[2]: row for row in known if row.rpartition(".")[0] == table}
    near = [beside[each] for each in get_close_matches(name, beside, n=1, cutoff=NEAR)]
    near += get_close_matches(key, known, n=1, cutoff=NEAR_WHOLE)
    near += [row for row in known if row.rpartition(".")[2] == name]
    return "no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _all_converted(given: Mapping[str, Given], known: Mapping[str, Row]) -> tuple[dict[str, object], list[MeshError]]:
    values: dict[str, object] = {}
    wrong: list[MeshError] = []
    for key, one in given.items():
        try:
            values[key] = _converted(known[key], one)
        except MeshError as error:
            wrong.append(error)
    return values, wrong


def _converted(row: Row, given: Given) -> object:
    """The value as its type; text from outside a file stands for any type, lists split at commas."""
    value = given.value
    is_text = given.origin.startswith(("environment", "flag"))
    how = ""
    if is_text and isinstance(value, str) and isinstance(row.default, tuple):
        value, how = [part.strip() for part in value.split(",") if part.strip()], ", parted by commas"
    try:
        return msgspec.convert(value, row.type, strict=not is_text)
    except msgspec.ValidationError:
        problem = f"must be {row.rule}{how}, not {quoted(given.value)}"
        raise MeshError("config", key=row.key, problem=problem, origin=given.origin) from None


def _put(plain: dict[str, Any], key: str, value: object) -> None:
    group, _, name = key.rpartition(".")
    (plain.setdefault(group, {}) if group else plain)[name] = value


def _exposure(settings: Settings) -> MeshError | None:
    """The error for an address that others can reach without that having been meant."""
    for listen in (settings.api.listen, settings.nats.listen):
        if listen and not settings.insecure and not is_loopback(host_of(listen)):
            return MeshError("insecure", address=listen)
    return None
