"""What must hold in the end: a predicate over the whole world, looked at a few times a second.

Invariant: the clock of a promise starts when the last fault has ended and the last task was
submitted; it is kept when the predicate holds by then, and to the end. Neighbours: `world` looks,
`scenario` names them with seconds.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from protocol.primitives import NodeId
from protocol.wire.task import ENDED, TaskState
from simulations.agents import CAPABILITY
from simulations.host import Host
from simulations.store import Store
from simulations.work import Client

REFUTED_MS = 2_000  # a suspicion that stands longer is none that is being refuted
LEARNT_MS = 30_000  # by then a slow agent is known as that


class Whole(Protocol):
    """The world as a whole."""

    store: Store
    client: Client
    hosts: Mapping[str, Host]


End: TypeAlias = Callable[[Whole], str | None]  # what is lacking still, or None


def one_view(world: Whole) -> str | None:
    """E2: every node that is up sees exactly those who are up as alive; a doubt of a moment ago does not count (E3)."""
    up = sorted({host.id for host in world.hosts.values() if host.is_up})
    names = {host.id: host.name for host in world.hosts.values()}
    for host in world.hosts.values():
        if not host.is_up or host.node.membership.alive() == up:
            continue
        seen = sorted([*host.node.membership.alive(), *_just_doubted(host)])
        if seen != up:
            return f"{host.name} sees as alive: {', '.join(sorted(names[node] for node in seen)) or 'nobody'}"
    return None


def _just_doubted(host: Host) -> list[NodeId]:
    """Whom it suspects, and not for longer than it takes to refute that."""
    members, since_ms = host.node.membership, host.now().wall_ms - REFUTED_MS
    return [node for node in members.suspects() if (peer := members.peer(node)) and peer.since_ms > since_ms]


def agents_known(world: Whole) -> str | None:
    """Every node that is up knows the agents of all who are up and have some, and of nobody else."""
    able = {host.id for host in world.hosts.values() if host.is_up and host.node.catalogue.cards_of(host.id)}
    names = {host.id: host.name for host in world.hosts.values()}
    for host in world.hosts.values():
        if host.is_up:
            known = host.node.catalogue.able(CAPABILITY)
            if known != able:
                seen = ", ".join(sorted(names[node] for node in known))
                return f"{host.name} knows agents of: {seen or 'nobody'}"
    return None


def clocks_right(world: Whole) -> str | None:
    """Nobody calls a clock off, its own or another's."""
    for host in world.hosts.values():
        if host.is_up and host.node.time.off:
            return f"{host.name} holds {len(host.node.time.off)} clocks for wrong"
    return None


def tasks_end(world: Whole) -> str | None:
    """E4: every task that the client wanted was accepted, and every accepted task has ended."""
    records = {record.id: record for record in world.store.records()}
    for number, task in sorted(world.client.accepted.items()):
        if task not in records and task not in world.store.forgotten:
            return f"task {number} ({task}) was accepted, and there is no record of it"
    for record in records.values():
        if record.state not in ENDED:
            return f"{record.key} ({record.id}) is {record.state.value}, epoch {record.epoch}"
    if len(world.client.accepted) < world.client.wanted:
        missing = next(number for number in range(world.client.wanted) if number not in world.client.accepted)
        return f"task {missing} was accepted by nobody"
    return None


def tasks_done(world: Whole) -> str | None:
    """Every task that was accepted has ended, and with a result."""
    lacking = tasks_end(world)
    if lacking is not None:
        return lacking
    for record in world.store.records():
        if record.state is not TaskState.DONE:
            reason = "" if record.failure is None else f": {record.failure.message}"
            return f"{record.key} ({record.id}) ended {record.state.value}{reason}"
    return None


def all_joined(world: Whole) -> str | None:
    """Every node that is up can write the record."""
    for host in world.hosts.values():
        if host.is_up and host.node.state != "joined":
            return f"{host.name} is {host.node.state}"
    return None


def hands_empty(world: Whole) -> str | None:
    """When every task has ended, nobody holds, runs or watches one, and every slot is free."""
    for host in world.hosts.values():
        if not host.is_up:
            continue
        if host.node.holder.in_hand or host.running():
            return f"{host.name} still holds {host.node.holder.in_hand} tasks and runs {len(host.running())}"
        for offered in host.node.catalogue.offered(CAPABILITY, host.now()):
            if offered.node == host.id and offered.free < offered.card.slots:
                return f"{host.name} has {offered.free} of {offered.card.slots} slots free, and runs nothing"
        for record in world.store.records():
            if host.node.ledger.watches(record.id):
                return f"{host.name} still watches {record.key} ({record.id}), which is {record.state.value}"
    return None


def one_digest(world: Whole) -> str | None:
    """Every node that is up has the same newest fact of each kind about everybody."""
    digests = {host.name: host.node.gossip.facts.hashes() for host in world.hosts.values() if host.is_up}
    first = next(iter(digests), "")
    other = next((name for name, hashes in digests.items() if hashes != digests[first]), "")
    return f"{first} and {other} know different facts" if other else None


def all_well(world: Whole) -> str | None:
    """Nobody takes itself for slow, or another for gone, any more."""
    for host in world.hosts.values():
        if host.is_up and host.node.membership.health:
            return f"{host.name} takes itself for slow ({host.node.membership.health})"
        if host.is_up and host.node.membership.suspects():
            return f"{host.name} suspects {len(host.node.membership.suspects())} others"
    return None


def slow_spared(world: Whole) -> str | None:
    """Of what was submitted half a minute after the first task, slow agents did less than a quarter of their share."""
    records = world.store.records()
    began_ms = min((record.submitted_ms for record in records), default=0)
    late = [record for record in records if record.submitted_ms >= began_ms + LEARNT_MS]
    slow = {host.id: host.name for host in world.hosts.values() if host.slowness > 1}
    share = len(late) * len(slow) / len(world.hosts)
    theirs = [record for record in late if record.owner in slow]
    if not share:
        return "nobody is slow, or no task was submitted late enough to tell"
    if len(theirs) >= share / 4:
        return f"{', '.join(slow.values())} got {len(theirs)} of the last {len(late)} tasks; chance gives {share:.0f}"
    return None


def few_moves(world: Whole) -> str | None:
    """Most tasks stay with the first who was given them."""
    records = world.store.records()
    moves = sum(len(record.attempts) for record in records)
    return f"{moves} awards of {len(records)} tasks came to nothing" if 2 * moves >= len(records) else None


ENDS: Mapping[str, End] = {
    "one-view": one_view,
    "agents-known": agents_known,
    "all-joined": all_joined,
    "one-digest": one_digest,
    "all-well": all_well,
    "clocks-right": clocks_right,
    "tasks-end": tasks_end,
    "tasks-done": tasks_done,
    "hands-empty": hands_empty,
    "slow-spared": slow_spared,
    "few-moves": few_moves,
}
# These are kept by themselves where nothing is submitted.
OF_WORK = frozenset({"tasks-end", "tasks-done", "hands-empty", "slow-spared", "few-moves"})
