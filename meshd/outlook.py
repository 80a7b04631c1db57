"""Do others see what this node sees, and what befell each of them: readings for the API and for figures.

Invariant: reads and never changes; what others see is what they said last, and nothing is told of it while this node
is cut off. Neighbours: `views` and `upkeep` ask for these; `protocol.agreement` knows.
"""

from collections.abc import Callable, Iterable

from msgspec import structs

from meshd import clock
from meshd.api.view_schemas import Agreement, FoundDead, StoryLine
from meshd.observe.fates import Befell, Fates, fate
from meshd.observe.metrics import Figure
from protocol import events
from protocol.agreement import Convergence
from protocol.flaps import WINDOW_S
from protocol.node import Node
from protocol.primitives import NodeId, WallMs
from protocol.replica import Peer

NameOf = Callable[[NodeId], str]

LONG_S = 60.0  # digests mend a view within seconds: who is heard to differ for so long needs a look
SHOWN_MAX = 16  # names in one answer; --all-views tells all
TWIN = (
    "goes on in a life that it had before a newer one: two daemons have its key, for its directory was copied, or its"
    " key stolen, and the mesh listens to the newer one alone"
)


OUTLIVED = (
    "another daemon runs with this node's key, and the mesh listens to that one, for it is newer:"
    " its directory was copied, or its key stolen; stop one of the two, and start this one anew if it is the right one"
)
LATELY_MS = 600_000  # whoever was found dead before that stands in the list of peers alone
SILENT_S = 30.0  # a node that is there says so more often


def outlived(node: Node) -> tuple[str, ...]:
    """A sentence when somebody has begun a newer life with this node's key."""
    if not node.refusals.is_outlived:
        return ()
    silent_s = twin_silent_s(node)
    if not silent_s:
        return (OUTLIVED,)
    return (
        f"a newer daemon ran with this node's key, and was not heard for {silent_s:.0f} s; the mesh listens to none"
        " that is older: start this one anew, if that one is gone",
    )


def twin_silent_s(node: Node) -> float:
    """For how long the newer daemon with this node's key has not been heard; 0 while it is, or there is none."""
    silent_s = node.refusals.twin_silent_s(clock.now())
    return silent_s if node.refusals.is_outlived and silent_s >= SILENT_S else 0.0


def twins(node: Node, name_of: NameOf) -> tuple[str, ...]:
    """A sentence for each node whose key two daemons have."""
    found = node.refusals.twins(clock.now())
    told = tuple(f"{name_of(each)} {TWIN}: stop one of the two" for each in found[:SHOWN_MAX])
    more = len(found) - SHOWN_MAX
    return (*told, f"so it is with {more} more") if more > 0 else told


def twin(node: Node, peer: NodeId) -> str:
    """That a node's key is in two hands, or nothing."""
    return f"it {TWIN}" if peer in node.refusals.twins(clock.now()) else ""


def convergence_of(node: Node) -> Convergence:
    """How far others agree with this node; nothing while it is cut off, or while others hear its twin alone."""
    if node.state == "detached" or node.refusals.is_outlived:
        return Convergence()
    return node.membership.agreement.convergence(clock.now(), probed=node.regions.probed)


def agreement(convergence: Convergence, view: bytes, name_of: NameOf) -> Agreement:
    """Do others see the same as this node, whose view is `view`?"""
    return Agreement(
        view=view.hex(),
        share=None if convergence.share is None else round(convergence.share, 4),
        agreeing=convergence.agreeing,
        differing=tuple(name_of(each) for each in convergence.differing[:SHOWN_MAX]),
        unheard=convergence.unheard,
        slowest=name_of(convergence.slowest) if convergence.slowest else "",
        slowest_s=round(convergence.differs_s, 1),
        complete=None if convergence.complete is None else round(convergence.complete, 4),
        heard=convergence.agreeing + len(convergence.differing),
        oldest_s=round(convergence.oldest_s, 1),
        slowest_heard_s=round(convergence.differs_s - convergence.proven_s, 1),
    )


def disagreement(convergence: Convergence, name_of: NameOf) -> tuple[str, ...]:
    """A sentence when somebody has been heard to see other nodes for longer than news takes."""
    if convergence.proven_s < LONG_S:
        return ()
    others = len(convergence.differing) - 1
    who = name_of(convergence.slowest) + (f" and {others} more" if others else "")
    see = "see" if others else "sees"
    return (
        f"{who} {see} other nodes than this one, for {convergence.differs_s:.0f} s now:"
        " see who sees what with: meshctl peers --all-views",
    )


def found_dead(peers: Iterable[Peer], now_ms: WallMs) -> FoundDead:
    """Who was found dead not long ago, and is not back."""
    late = sorted((peer for peer in peers if peer.state == "dead" and now_ms - peer.since_ms < LATELY_MS), key=_since)
    ago_s = (now_ms - late[-1].since_ms) / 1_000 if late else 0.0
    return FoundDead(len(late), tuple(peer.name for peer in late[: -SHOWN_MAX - 1 : -1]), round(max(0.0, ago_s), 1))


def _since(peer: Peer) -> WallMs:
    return peer.since_ms


def damped(node: Node, peer: NodeId) -> str:
    """Why a node that is back gets no work yet, and until when; nothing of any other."""
    found = node.flaps.of(peer, clock.now())
    if found is None:
        return ""
    until = "when it is no suspect any more, and quiet then" if found.left_s is None else f"in {found.left_s:.0f} s"
    return f"died {found.deaths} times in {WINDOW_S / 60:.0f} min: gets work that others can do {until}"


def figures(node: Node) -> dict[str, Figure]:
    """How the mesh keeps its view, by metric."""
    convergence, membership, gossip = convergence_of(node), node.membership, node.gossip
    found: dict[str, Figure] = {
        "meshd_views": {
            "same": float(convergence.agreeing),
            "other": float(len(convergence.differing)),
            "unheard": float(convergence.unheard),
        },
        "meshd_view_differs_seconds": convergence.proven_s,
        "meshd_probes_sent_total": dict(membership.prober.sent),
        "meshd_probes_ended_total": dict(membership.prober.ended.items()),
        "meshd_probes_waiting": float(membership.prober.waiting),
        "meshd_damped": float(len(node.flaps.damped)),
        "meshd_suspects": float(len(membership.suspects())),
        "meshd_tombstones": float(gossip.facts.gone),
        "meshd_syncs_total": dict(gossip.compared),
        "meshd_facts_repaired_total": float(gossip.repaired),
        "meshd_repeats_waiting": float(gossip.repeating),
    }
    if convergence.share is not None:
        found["meshd_view_share"] = convergence.share
    if convergence.complete is not None:
        found["meshd_view_complete"] = convergence.complete
    return found


def story(fates: Fates, node: NodeId, name_of: NameOf) -> tuple[StoryLine, ...]:
    """What befell a node, the first first, with the names that people know now."""
    return tuple(_line(each, name_of) for each in fates.of(node))


def _line(befell: Befell, name_of: NameOf) -> StoryLine:
    event = befell.event
    line = StoryLine(time_ms=befell.at_ms, kind=str(event.__struct_config__.tag), text=fate(event, name_of))
    return _with_evidence(line, event, name_of)


def _with_evidence(line: StoryLine, event: events.Event, name_of: NameOf) -> StoryLine:
    match event:
        case events.PeerAlive():
            return structs.replace(line, life=event.life, after_s=event.after_s if event.was else None)
        case events.PeerSuspect():
            return structs.replace(
                line,
                life=event.life,
                accusers=(name_of(event.accuser),),
                evidence=event.evidence,
                unheard_s=event.unheard_s,
                health=event.health,
            )
        case events.PeerDead() | events.PeerDamped():
            return structs.replace(
                line,
                life=event.life,
                accusers=tuple(sorted(map(name_of, event.accusers))),
                evidence=event.evidence,
                after_s=event.after_s,
                unheard_s=event.unheard_s,
                health=event.health,
            )
        case events.AccusationRefuted():
            return structs.replace(line, life=event.life, accusers=(name_of(event.accuser),))
        case events.PeerLeft():
            return structs.replace(line, life=event.life)
        case _:
            return line
