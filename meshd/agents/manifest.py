"""What an operator declares of an agent: one TOML file, checked before anything is started.

Invariant: a manifest that loads is complete and in range; one that does not names its file, the key
and the rule, and keeps no other from loading. Neighbours: `adapters` builds agents from these;
`card` is what of it the mesh gets to know.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta, Struct

from meshd.agents.remote import url_problem
from meshd.agents.schemas import Checks, SchemaTable
from meshd.plaintext import content_of, text_of
from meshd.ports import Schema
from meshd.quoting import quoted, quoted_key
from protocol.errors import MeshError
from protocol.ids import AGENT_NAME, CAPABILITY, TOPIC
from protocol.limits import AGENT_SLOTS_MAX, CARDS_PER_NODE_MAX, OUTPUT_BYTES_MAX, TEXT_CHARS_MAX, TOPICS_PER_AGENT_MAX
from protocol.wire.agents import Card

FILE_BYTES_MAX = 65_536  # a manifest is a page; reading stops there

# A Meta's title is the rule as an error says it.
Name: TypeAlias = Annotated[
    str, Meta(pattern=rf"^{AGENT_NAME.pattern}\Z", title="1 to 48 of a-z 0-9 _ -, a letter first")
]
Capability: TypeAlias = Annotated[str, Meta(pattern=rf"^{CAPABILITY.pattern}\Z", title="name@major, like scoring@2")]
Topic: TypeAlias = Annotated[str, Meta(pattern=rf"^{TOPIC.pattern}\Z", title="domain.name, like sales.price_changed")]
Token: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}\Z", title="1 to 32 of a-z 0-9 _ -")]
Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_CHARS_MAX, title=f"text of up to {TEXT_CHARS_MAX} characters")]
Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=4_096, pattern=r"^[^\x00]*\Z", title="text, not empty")]

Kind: TypeAlias = Literal["python", "stdio", "http", "mcp"]

# Which keys each kind must have, and which it may have beside those of every agent.
_NEEDED: dict[Kind, tuple[str, ...]] = {
    "python": ("run",),  # its handlers tell what it can do
    "stdio": ("run", "capabilities"),
    "http": ("url", "capabilities"),
    "mcp": (),  # its tools tell what it can do
}
_ONLY: dict[str, tuple[Kind, ...]] = {
    "run": ("python", "stdio", "mcp"),
    "url": ("http", "mcp"),
    "token_file": ("http", "mcp"),
    "headers_file": ("http", "mcp"),
    "topics": ("python", "stdio", "http"),  # no message of MCP tells a server of an event
}

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one agent may use. Memory is that of each of its processes; 0 is no limit of our own."""

    memory_mb: Annotated[int, Meta(ge=0, le=1_048_576, title="a whole number from 0 (none) to 1048576")] = 0
    task_s: Annotated[float, Meta(gt=0.0, le=2_592_000.0, title="a number above 0, up to 2592000")] = 3_600.0
    output_bytes: Annotated[
        int, Meta(ge=1, le=OUTPUT_BYTES_MAX, title=f"a whole number from 1 to {OUTPUT_BYTES_MAX}")
    ] = OUTPUT_BYTES_MAX
    connect_s: Annotated[float, Meta(gt=0.0, le=300.0, title="a number above 0, up to 300")] = 10.0


class Declared(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of the file."""

    name: Name
    kind: Annotated[Kind, Meta(title="python, stdio, http or mcp")]
    # No pattern on the text: msgspec 0.22 corrupts memory over a union of text with a pattern and a list.
    run: Annotated[str | tuple[Word, ...] | None, Meta(title='"module:attribute", or ["command", "argument", ...]')] = (
        None
    )
    url: Annotated[str, Meta(title="the URL of a service")] = ""
    token_file: Annotated[Word | Literal[""], Meta(title="the path of a file that holds a token")] = ""
    headers_file: Annotated[Word | Literal[""], Meta(title="the path of a file of NAME: VALUE lines")] = ""
    capabilities: Annotated[
        tuple[Capability, ...], Meta(min_length=1, max_length=64, title="a list of 1 to 64 name@major, like scoring@2")
    ] = ()
    topics: Annotated[
        tuple[Topic, ...],
        Meta(
            max_length=TOPICS_PER_AGENT_MAX,
            title=f"a list of up to {TOPICS_PER_AGENT_MAX} domain.name, each 1 to 32 of a-z 0-9 _ -, like sales.all",
        ),
    ] = ()
    schemas: Annotated[
        dict[str, SchemaTable], Meta(max_length=64, title="a table for each capability, of takes and gives")
    ] = {}
    slots: Annotated[int, Meta(ge=1, le=AGENT_SLOTS_MAX, title=f"a whole number from 1 to {AGENT_SLOTS_MAX}")] = 1
    limits: Annotated[Limits, Meta(title="a table of memory_mb, task_s, output_bytes, connect_s")] = Limits()
    directory: Annotated[Word | Literal[""], Meta(title="the path of a directory")] = ""
    domain: Annotated[Token | Literal[""], Meta(title="1 to 32 of a-z 0-9 _ -")] = ""
    version: Text = ""
    owner_team: Text = ""
    purpose: Text = ""
    latency_profile_ms: Annotated[int, Meta(ge=0, le=2_592_000_000, title="a whole number from 0 to 2592000000")] = 0
    cost_profile_per_call: Annotated[float, Meta(ge=0.0, le=1e9, title="a number from 0 to 1e9")] = 0.0
    confidence_threshold: Annotated[float, Meta(ge=0.0, le=1.0, title="a number from 0 to 1")] = 0.0
    allowed_models: Annotated[tuple[Text, ...], Meta(max_length=64, title="a list of up to 64 names")] = ()
    allowed_tools: Annotated[tuple[Text, ...], Meta(max_length=64, title="a list of up to 64 names")] = ()
    region: Annotated[
        tuple[Token, ...], Meta(max_length=64, title="a list of up to 64, each 1 to 32 of a-z 0-9 _ -")
    ] = ()
    visibility: Annotated[Literal["private", "domain", "mesh"], Meta(title="private, domain or mesh")] = "mesh"


class Manifest(Declared, frozen=True, kw_only=True):
    """A manifest that was checked, and the file it stands in; the agent runs beside it, or in `directory`."""

    path: Path

    @property
    def folder(self) -> Path:
        """Where the agent runs, absolute."""
        return self.path.parent / self.directory

    @property
    def command(self) -> tuple[str, ...]:
        """`run` as words."""
        return (self.run,) if isinstance(self.run, str) else self.run or ()


def memory_bytes(manifest: Manifest) -> int:
    """What each process of the agent gets; 0 is no limit."""
    return manifest.limits.memory_mb << 20


def card(manifest: Manifest) -> Card:
    """What of a manifest is announced to the mesh."""
    return Card(
        name=manifest.name,
        capabilities=manifest.capabilities,
        slots=manifest.slots,
        kind=manifest.kind,
        domain=manifest.domain,
        version=manifest.version,
        purpose=manifest.purpose,
        owner_team=manifest.owner_team,
        latency_ms=manifest.latency_profile_ms,
        cost_per_call=manifest.cost_profile_per_call,
        confidence=manifest.confidence_threshold,
        visibility=manifest.visibility,
        topics=manifest.topics,
    )


def load(path: Path) -> Manifest:
    """Read and check one file. Raises MeshError("manifest") naming file, key and rule."""
    path = path.absolute()
    if path.exists() and not (path.is_file() or path.is_dir()):  # the writer of a pipe may be silent
        raise MeshError("manifest", path=path, problem="is no regular file")
    return parsed(_read(path), path)


def parsed(content: bytes, path: Path) -> Manifest:
    """Check what stands in a file, or is to stand there. Raises MeshError("manifest") naming file, key and rule."""
    table = _table(content, path)
    try:
        declared = msgspec.convert(table, Declared)
    except msgspec.ValidationError as failure:
        raise MeshError("manifest", path=path, problem=_explained(str(failure), table)) from None
    manifest = Manifest(**{key: getattr(declared, key) for key in Declared.__struct_fields__}, path=path)
    if problem := _contradiction(manifest):
        raise MeshError("manifest", path=path, problem=problem)
    return manifest


def load_all(folder: Path) -> tuple[list[Manifest], list[MeshError]]:
    """All `*.toml` of a folder by file name, and an error for each that cannot be used.

    A missing folder holds none. Of two agents of one name the first file stands.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml") and not name.startswith("."))
    except FileNotFoundError:
        return [], []
    except OSError as failure:
        return [], [MeshError("manifest", path=folder, problem=f"cannot be listed: {failure.strerror}")]
    loaded: dict[str, Manifest] = {}
    errors: list[MeshError] = []
    for name in names:
        try:
            manifest = load(folder / name)
        except MeshError as error:
            errors.append(error)
            continue
        first = loaded.setdefault(manifest.name, manifest)
        if first is not manifest:
            problem = f"name: an agent called {manifest.name} stands in {first.path} already"
            errors.append(MeshError("manifest", path=manifest.path, problem=problem))
    for surplus in list(loaded)[CARDS_PER_NODE_MAX:]:
        problem = f"this node has {CARDS_PER_NODE_MAX} agents already, the most that one node may announce"
        errors.append(MeshError("manifest", path=loaded.pop(surplus).path, problem=problem))
    return list(loaded.values()), errors


def missing_command(manifest: Manifest) -> str:
    """Why the first word of a stdio agent's `run` cannot be started, or nothing."""
    command = manifest.command[0]
    if "/" not in command:
        if shutil.which(command) is None:
            return f"run: the command {quoted(command)} is not on PATH"
        return ""
    file = manifest.folder / command
    if not file.exists():
        return f"run: there is no file {file}"
    if not file.is_file() or not os.access(file, os.X_OK):
        return f"run: {file} is not executable; try: chmod +x {quote(str(file))}"
    return ""


def _read(path: Path) -> bytes:
    try:
        return content_of(path, FILE_BYTES_MAX + 1)
    except OSError as failure:
        raise MeshError("manifest", path=path, problem=f"cannot be read: {failure.strerror}") from None


def _table(content: bytes, path: Path) -> dict[str, object]:
    if len(content) > FILE_BYTES_MAX:
        raise MeshError("manifest", path=path, problem=f"is larger than {FILE_BYTES_MAX} bytes")
    try:
        text = text_of(content)
    except ValueError as failure:
        raise MeshError("manifest", path=path, problem=str(failure)) from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as failure:
        raise MeshError("manifest", path=path, problem=f"is not TOML: {str(failure)[:TEXT_CHARS_MAX]}") from None


def _contradiction(manifest: Manifest) -> str:
    """What no single key can tell: the keys must fit `kind` and each other."""
    for key in _NEEDED[manifest.kind]:
        if key == "capabilities" and not (manifest.capabilities or manifest.topics):
            return "capabilities: is missing"
        if getattr(manifest, key) in (None, ""):
            return f"{key}: is missing"
    for key, kinds in _ONLY.items():
        if getattr(manifest, key) and manifest.kind not in kinds:
            return f"{key}: an agent of kind {manifest.kind} has none; those of kind {' or '.join(kinds)} have"
    if not manifest.folder.is_dir():
        return f"directory: there is no directory {manifest.folder}"
    for key, names in (("capabilities", manifest.capabilities), ("topics", manifest.topics)):
        if twice := [name for name in names if names.count(name) > 1]:
            return f"{key}: {twice[0]} stands there twice"
    return _place_problem(manifest) or _schema_problem(manifest)


def _place_problem(manifest: Manifest) -> str:
    """What is wrong with `run` or `url`."""
    if manifest.url and (problem := url_problem(manifest.url)):
        return f"url: {problem}"
    match manifest.kind:
        case "python":
            if not isinstance(manifest.run, str) or not _MODULE.fullmatch(manifest.run):
                return f'run: must be "module:attribute" for a python agent, not {quoted(_plain(manifest.run))}'
            return ""
        case "mcp" if bool(manifest.url) == bool(manifest.run):
            return "run: an mcp agent has either a command to run, or a url; one of the two must be there"
        case "http":
            return ""
        case "mcp" if find_spec("mcp") is None:
            return "kind: an mcp agent needs the package mcp; try: pip install 'agent-meshd[mcp]'"
        case "mcp" if manifest.url:
            return ""
        case "stdio" | "mcp":
            if isinstance(manifest.run, str) or not manifest.run:
                kind = "a stdio" if manifest.kind == "stdio" else "an mcp"
                return f'run: must be ["command", "argument", ...] for {kind} agent, not {quoted(_plain(manifest.run))}'
            return missing_command(manifest)


def _schema_problem(manifest: Manifest) -> str:
    """What is wrong with `schemas`."""
    for name in manifest.schemas:
        if manifest.capabilities and name not in manifest.capabilities:
            return f"schemas: {quoted_key(name)} is none of the agent's capabilities"
    try:
        checks_of(manifest)
    except ValueError as failure:
        return f"schemas.{failure}"
    return ""


def schemas_of(manifest: Manifest) -> dict[str, Schema]:
    """What the manifest says that its capabilities take and give."""
    return {name: table.schema for name, table in manifest.schemas.items()}


def checks_of(manifest: Manifest) -> Checks:
    """Its schemas, ready to check what goes in and comes out. Raises ValueError for what is no JSON Schema."""
    return Checks(schemas_of(manifest))


_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<at>.*)`)?$", re.DOTALL)
_NAMED = re.compile(r"`([^`]*)`")


def _explained(failure: str, table: dict[str, object]) -> str:
    """msgspec's words as ours: the key, the rule it breaks, and the value that stands there."""
    parts = _AT.match(failure)
    what, at = (parts["what"], parts["at"] or "") if parts else (failure, "")
    named = _NAMED.search(what)
    if named and "unknown field" in what and not at.startswith("schemas"):
        keys = Limits.__struct_fields__ if at == "limits" else Declared.__struct_fields__
        return f"{at + '.' if at else ''}{quoted_key(named[1])}: {_unknown(named[1], keys)}"
    if at.startswith("schemas"):
        return f"{at.replace('[...]', '')}: must have takes and gives, each a JSON Schema, and nothing else"
    if named and "missing required" in what:
        return f"{named[1]}: is missing"
    key = at.partition("[")[0]
    if key.startswith("limits."):
        inner, limits = key.removeprefix("limits."), table.get("limits")
        rule, found = _rule(Limits, inner), limits.get(inner) if isinstance(limits, dict) else limits
    else:
        rule, found = _rule(Declared, key), table.get(key)
    return f"{key}: must be {rule}, not {quoted(found)}"


def _rule(group: type[Struct], key: str) -> str:
    hint = get_type_hints(group, include_extras=True)[key]
    return next(str(meta.title) for meta in reversed(hint.__metadata__) if meta.title)


def _unknown(key: str, keys: Iterable[str]) -> str:
    near = get_close_matches(key, list(keys), n=1)
    return "no such key" + (f"; did you mean {near[0]}?" if near else "")


def _plain(run: str | tuple[str, ...] | None) -> object:
    return list(run) if isinstance(run, tuple) else run
