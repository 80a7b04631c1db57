"""A live mesh as one of its nodes tells it: who is there, what each can do and has in hand, and the settings.

Invariant: plain values of an API become typed ones here, and what does not fit is one sentence; what is told
is not believed to be well-formed. Neighbours: `meshctl sim from-live` asks; `wishes` and `forecast` go on from here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs

from protocol.gossip import GossipSettings
from protocol.link import LinkSettings
from protocol.presets import PRESETS, MembershipSettings
from protocol.watched import TaskSettings
from simulations.placed import PLACED_MAX, Placed
from simulations.scenario import NODES_MAX, ScenarioError

SLOTS_MAX = 64  # of an agent of a scenario
UP = ("alive", "suspect", "unreachable")
OPEN = "open"
UNDER_WAY = ("awarded", "running")
NOT_ENDED = (*UNDER_WAY, OPEN)  # states of tasks that are asked for
READY = "ready"
KEEP_S = 86_400.0  # results.keep_s, where a daemon does not say
_PLAYED: Mapping[str, Sequence[str]] = {
    "tasks": TaskSettings.__struct_fields__,
    "gossip": GossipSettings.__struct_fields__,
    "link": LinkSettings.__struct_fields__,
}
_UNPLAYED = frozenset({"agents.drain_s", "results.bytes_max"})  # the world has its own

_Group = TypeVar("_Group", TaskSettings, GossipSettings, LinkSettings)


class LiveNode(Struct, frozen=True):
    """One node that is there. `number` is its place in the scenario: n1, n2, …"""

    number: int
    id: str
    name: str
    region: str
    slots: int = 0

    @property
    def stand_in(self) -> str:
        """What it is called in the scenario."""
        return f"n{self.number}"


class LiveTask(Struct, frozen=True):
    """A task under way, and where; as the scenario has it."""

    id: str
    capability: str
    placed: Placed


class LiveMesh(Struct, frozen=True):
    """A mesh as one node sees it. `server` is the node with its only server, if it is one of these."""

    mesh: str
    seen_by: str
    nodes: tuple[LiveNode, ...]
    gone: tuple[str, ...]
    tasks: tuple[LiveTask, ...]
    tasks_left_out: int
    tasks_open: int
    servers: int
    server: LiveNode | None
    preset: str
    membership: dict[str, float]
    timers: TaskSettings
    gossip: GossipSettings
    writes: LinkSettings
    keep_s: float
    routing: str
    settings_left_out: tuple[str, ...] = ()

    def of_region(self, region: str) -> tuple[LiveNode, ...]:
        """Its nodes there."""
        return tuple(node for node in self.nodes if node.region == region)

    @property
    def regions(self) -> tuple[str, ...]:
        """Where there are nodes."""
        return tuple(sorted({node.region for node in self.nodes}))


class _Record(Struct):
    copies: int
    where: str


class _Status(Struct):
    mesh: str
    name: str
    record: _Record


class _Load(Struct):
    slots: int = 0
    draining: bool = False


class _Peer(Struct):
    name: str
    id: str
    state: str
    region: str
    load: _Load = msgspec.field(default_factory=_Load)


class _Agent(Struct):
    node: str
    capabilities: tuple[str, ...]
    state: str


class _Task(Struct):
    id: str
    capability: str
    state: str
    owner: str
    home: str
    exclusive: bool = False


class _Setting(Struct):
    key: str
    value: Any
    default: Any = None


class _Answers(Struct):
    status: _Status
    peers: tuple[_Peer, ...]
    agents: tuple[_Agent, ...]
    tasks: tuple[_Task, ...]
    settings: tuple[_Setting, ...]


def heard(answers: Mapping[str, Any]) -> LiveMesh:
    """What a node's API answered, by noun. Raises ScenarioError when it cannot be played."""
    try:
        told = msgspec.convert(dict(answers), _Answers)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"what the daemon answered is not understood: {str(error).replace('`', '')}") from None
    up = sorted((peer for peer in told.peers if peer.state in UP), key=lambda peer: (peer.name, peer.id))
    if not 1 <= len(up) <= NODES_MAX:
        raise ScenarioError(f"{len(up)} nodes are in view; a scenario has from 1 to {NODES_MAX:,}")
    numbers = {peer.id: number for number, peer in enumerate(up, start=1)}
    tasks, left_out = _tasks(told, numbers)
    busy = [task.placed.owner for task in tasks]
    nodes = tuple(
        LiveNode(number, peer.id, peer.name, peer.region, max(min(peer.load.slots, SLOTS_MAX), busy.count(stand_in)))
        for number, peer in enumerate(up, start=1)
        for stand_in in (f"n{number}",)
    )
    values = {setting.key: setting.value for setting in told.settings}
    preset, membership = _membership(values)
    servers = [node for node in nodes if told.status.record.where == node.name]
    return LiveMesh(
        mesh=told.status.mesh,
        seen_by=told.status.name,
        nodes=nodes,
        gone=tuple(sorted(peer.name for peer in told.peers if peer.state not in UP)),
        tasks=tasks,
        tasks_left_out=left_out,
        tasks_open=sum(task.state == OPEN for task in told.tasks),
        servers=told.status.record.copies,
        server=servers[0] if len(servers) == 1 else None,
        preset=preset,
        membership=membership,
        timers=_group(values, "tasks", TaskSettings),
        gossip=_group(values, "gossip", GossipSettings),
        writes=_group(values, "link", LinkSettings),
        keep_s=_keep_s(values),
        routing=str(values.get("routing.policy", "local-first")),
        settings_left_out=tuple(
            sorted(each.key for each in told.settings if each.value != each.default and _is_unknown(each.key))
        ),
    )


def _tasks(told: _Answers, numbers: Mapping[str, int]) -> tuple[tuple[LiveTask, ...], int]:
    """Tasks under way between nodes that are there, and how many are not among them."""
    under_way = [task for task in told.tasks if task.state in UNDER_WAY]
    draining = {peer.id for peer in told.peers if peer.load.draining}
    found: list[LiveTask] = []
    for task in under_way:
        if task.owner not in numbers or task.home not in numbers or len(found) >= PLACED_MAX:
            continue
        able = {
            agent.node for agent in told.agents if task.capability in agent.capabilities and agent.state == READY
        } - {task.owner, *draining}
        others = tuple(f"n{number}" for number in sorted(numbers[node] for node in able if node in numbers))
        placed = Placed(f"n{numbers[task.home]}", f"n{numbers[task.owner]}", others, task.exclusive)
        found.append(LiveTask(task.id, task.capability, placed))
    return tuple(found), len(under_way) - len(found)


def _membership(values: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    """The preset, and what is not as it says. Raises ScenarioError for what this version does not know."""
    preset = values.get("membership.preset", "lan")
    if preset not in PRESETS:
        raise ScenarioError(f"the daemon's membership.preset is {preset!r}; known are {', '.join(PRESETS)}")
    usual = structs.asdict(PRESETS[preset])
    given = {key: values.get(f"membership.{key}", usual[key]) for key in usual}
    try:
        settings = structs.asdict(msgspec.convert(given, MembershipSettings))
    except msgspec.ValidationError as error:
        raise ScenarioError(f"the daemon's settings of membership: {str(error).replace('`', '')}") from None
    return preset, {key: value for key, value in settings.items() if value != usual[key]}


def _group(values: Mapping[str, Any], name: str, kind: type[_Group]) -> _Group:
    """One table of settings. Raises ScenarioError for what this version does not know."""
    given = {field: values[f"{name}.{field}"] for field in kind.__struct_fields__ if f"{name}.{field}" in values}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"the daemon's settings of {name}: {str(error).replace('`', '')}") from None


def _keep_s(values: Mapping[str, Any]) -> float:
    keep_s = values.get("results.keep_s", KEEP_S)
    if not isinstance(keep_s, int | float) or isinstance(keep_s, bool):
        raise ScenarioError(f"the daemon's results.keep_s is {keep_s!r}, which is no time")
    return float(keep_s)


def _is_unknown(key: str) -> bool:
    """Would this setting of the daemon change the world, if the world had it?"""
    group, _, name = key.partition(".")
    known = {**_PLAYED, "membership": (*MembershipSettings.__struct_fields__, "preset"), "routing": ("policy",)}
    return key in _UNPLAYED or (group in known and name not in known[group])
