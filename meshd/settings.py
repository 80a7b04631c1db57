"""Every setting of the daemon, one line each: type, unit, bound, default and help.

Invariant: that line is the only declaration. `config` checks values by it, and
`configs/reference.toml` is generated from it. Neighbours: `config` fills these; `app` hands them on.
"""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct
from msgspec.inspect import (
    BoolType,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    StrType,
    StructType,
    Type,
    VarTupleType,
    type_info,
)

from meshd.addresses import HOST, PORT
from protocol.gossip import GossipSettings
from protocol.link import LinkSettings
from protocol.presets import MembershipSettings
from protocol.watched import TaskSettings

# A Meta's title is how a person writes the value, where the type alone does not say it.
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}\Z", title="1 to 32 of a-z 0-9 _ -")]
NameOrNone: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{0,32}\Z", title="up to 32 of a-z 0-9 _ -")]
Listen: TypeAlias = Annotated[str, Meta(pattern=rf"^({HOST}:{PORT})?\Z", title="HOST:PORT, or nothing")]
Url: TypeAlias = Annotated[str, Meta(pattern=rf"^(nats|tls)://{HOST}(:{PORT})?/?\Z", title="nats://HOST:PORT")]


class NodeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What this node is called and where it stands."""

    name: Annotated[NameOrNone, Meta(description="name of this node; the host's name when empty")] = ""
    region: Annotated[Name, Meta(description="where it stands; near nodes are preferred")] = "local"
    domain: Annotated[Name, Meta(description="business area that owns its agents")] = "default"


class ApiSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP API."""

    listen: Annotated[Listen, Meta(description="TCP address; a free port on 127.0.0.1 when empty")] = ""


class NatsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The NATS server this node uses, or runs."""

    urls: Annotated[tuple[Url, ...], Meta(max_length=16, description="servers to use; none: run one here")] = ()
    listen: Annotated[Listen, Meta(description="address of the server that runs here; 127.0.0.1 when empty")] = ""
    credential_file: Annotated[str, Meta(description='JSON {"user", "password"} for these servers, mode 0600')] = ""


class PresetMembershipSettings(MembershipSettings, frozen=True, forbid_unknown_fields=True):
    """How nodes find out who is there; `preset` gives the others their values for a kind of network."""

    preset: Annotated[Literal["local", "lan", "wan"], Meta(description="what the others are unless set")] = "lan"


class RoutingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which of several agents gets the work that comes in here."""

    policy: Annotated[
        Literal["least-loaded", "local-first", "random-two"],
        Meta(description="most free slots; own agents, then as random-two; of two drawn by chance the freer"),
    ] = "local-first"


class ResultSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of work that has ended."""

    keep_s: Annotated[float, Meta(ge=60.0, le=31_536_000.0, description="how long ended tasks are kept")] = 86_400.0
    bytes_max: Annotated[
        int, Meta(ge=0, le=1 << 40, description="of the record of all tasks; 0: as it is, 512 MiB when it is made")
    ] = 0


class AgentSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The agents of this node."""

    folder: Annotated[str, Meta(min_length=1, description="manifests; relative to the state directory")] = "agents.d"
    drain_s: Annotated[
        float, Meta(ge=0.0, le=3_600.0, description="time to finish when the daemon or an agent stops")
    ] = 10.0


class AuditSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The audit: what this node did and decided, in its journal and in the stream of the mesh."""

    keep_s: Annotated[float, Meta(ge=3_600.0, le=315_360_000.0, description="how long records are kept")] = 7_776_000.0
    journal_bytes_max: Annotated[
        int,
        Meta(
            ge=33_554_432,
            le=1 << 50,
            description="of the journal; what the stream has goes first; is so much not sent, new work is refused",
        ),
    ] = 1_073_741_824
    check_s: Annotated[
        float, Meta(ge=10.0, le=2_678_400.0, description="between two looks through the journal for damage")
    ] = 3_600.0


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The daemon's log, on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="the least that is shown")] = "info"
    format: Annotated[Literal["auto", "json", "text"], Meta(description="auto: text on a terminal, else JSON")] = "auto"
    file_bytes_max: Annotated[
        int, Meta(ge=65_536, le=1 << 40, description="meshd.log of a detached daemon is begun anew at this size")
    ] = 16_777_216
    files_kept: Annotated[int, Meta(ge=1, le=1_000, description="former files: meshd.log.1 and so on")] = 3


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; a group is a table of the TOML file."""

    insecure: Annotated[bool, Meta(description="allow addresses beyond this host without TLS")] = False
    node: NodeSettings = NodeSettings()
    api: ApiSettings = ApiSettings()
    nats: NatsSettings = NatsSettings()
    membership: PresetMembershipSettings = PresetMembershipSettings()
    gossip: GossipSettings = GossipSettings()
    link: LinkSettings = LinkSettings()
    tasks: TaskSettings = TaskSettings()
    routing: RoutingSettings = RoutingSettings()
    results: ResultSettings = ResultSettings()
    agents: AgentSettings = AgentSettings()
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()


class Row(Struct, frozen=True):
    """One setting as read from its line: dotted key, type to convert to, rule and help as a person reads them."""

    key: str
    type: Any
    rule: str
    help: str
    default: object

    @property
    def unit(self) -> str:
        """What its number counts, as the end of its name says; nothing for what is no number."""
        is_number = isinstance(self.default, int | float) and not isinstance(self.default, bool)
        ends = (unit for end, unit in _UNITS.items() if f"{self.key}_".replace("_min_", "_").endswith(end))
        return next(ends, "") if is_number else ""


_UNITS = {"_s_": "s", "_ms_": "ms", "_bytes_": "bytes"}


def rows() -> tuple[Row, ...]:
    """All settings, in the order of their declaration."""
    return tuple(_rows_of(Settings, prefix=""))


def reference() -> str:
    """The text of `configs/reference.toml`: every setting at its default, with its rule, switched off.

    They are switched off because a value that stands in a file wins over `membership.preset`.
    """
    lines = [
        "# Every setting with its default; remove the first # of a line to change it.",
        "# Generated from meshd/settings.py; a test compares them.",
        "",
        "#version = 1  # of the form of this file: a daemon that does not know it says so",
    ]
    table = ""
    for row in rows():
        group, _, name = row.key.rpartition(".")
        if group != table:
            table = group
            lines += ["", f"[{group}]  # {_groups()[group]}"]
        lines.append(f"#{name} = {toml_value(row.default)}  # {row.help}: {row.rule}")
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str:
    """A setting's value as TOML writes it."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return msgspec.json.encode(value).decode()


def _groups() -> dict[str, str]:
    return {
        field.name: (field.type.cls.__doc__ or "").partition("\n")[0].rstrip(".")
        for field in _struct(Settings).fields
        if isinstance(field.type, StructType)
    }


def _rows_of(struct: type[Struct], prefix: str) -> list[Row]:
    found: list[Row] = []
    for field, inspected in zip(msgspec.structs.fields(struct), _struct(struct).fields, strict=True):
        key = prefix + field.name
        if isinstance(inspected.type, StructType):
            found += _rows_of(inspected.type.cls, prefix=f"{key}.")
            continue
        noted = inspected.type.extra_json_schema if isinstance(inspected.type, Metadata) else None
        said = (noted or {}).get("description", "")
        found.append(Row(key, field.type, _rule(inspected.type), said, field.default))
    return found


def _struct(struct: type[Struct]) -> StructType:
    seen = type_info(struct)
    if not isinstance(seen, StructType):
        raise TypeError(struct)
    return seen


def _rule(seen: Type) -> str:
    """What a value must be: "a number from 0.5 to 600"."""
    if isinstance(seen, Metadata):
        form = (seen.extra_json_schema or {}).get("title")
        return str(form) if form else _rule(seen.type)
    match seen:
        case BoolType():
            return "true or false"
        case IntType():
            return "a whole number" + _range(seen.ge, seen.le)
        case FloatType():
            return "a number" + _range(seen.ge, seen.le)
        case LiteralType():
            return "one of " + ", ".join(str(value) for value in seen.values)
        case VarTupleType():
            return f"a list of up to {seen.max_length}, each {_rule(seen.item_type)}"
        case StrType():
            return "text" + (", not empty" if seen.min_length else "")
        case _:
            raise TypeError(seen)


def _range(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return ""
    return f" from {_number(least)} to {_number(most)}"


def _number(bound: float) -> str:
    return (f"{bound:,d}" if isinstance(bound, int) else f"{bound:,.15g}").replace(",", "_")
