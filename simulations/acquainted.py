"""A world whose nodes know each other from its beginning, as if they had met long before.

Invariant: what a node knows it was told in frames, as in a repair, by a stranger who was admitted once and takes
no part; no link is asked, nothing is traced, and no time passes.
Neighbours: `world` begins with it where the scenario says `start = "known"`; `host` is told.
"""

from collections.abc import Sequence

from protocol.broadcasts import pages
from protocol.envelope import Sealer
from protocol.ids import presence_key
from protocol.inputs import Found, Received
from protocol.subjects import Subjects
from protocol.wire.gossip import Delta
from protocol.wire.task import Presence
from simulations.host import Host
from simulations.hostclock import EPOCH_MS
from simulations.surroundings import Surroundings
from simulations.timeline import ns

STRANGER = "stranger"  # no node of a scenario has this name
EARLY_NS = ns(1.5)  # before the world begins nodes start: what each says at first has been repeated by then


def acquaint(hosts: Sequence[Host], around: Surroundings) -> None:
    """All of these start, and each is told of every other that it is there, what it can do, and how busy it is."""
    for host in hosts:
        host.start_unheard(EARLY_NS)
    said = [(host, host.node.gossip.facts.frames()) for host in hosts if host.is_up]
    alive = [(host, frame) for host, frames in said for frame in frames[:1]]
    facts = alive + [(host, frame) for host, frames in said for frame in frames[1:]]
    subjects, stranger = Subjects(around.mesh), around.keys.signer(STRANGER)
    sealer = Sealer(signer=stranger, life=EPOCH_MS, frames=around.frames)
    key, presence = presence_key(stranger.id), Presence(EPOCH_MS, 1, STRANGER, around.keys.admission(STRANGER))
    for host, _ in said:
        now = host.now()
        host.recall(Found(key, 1, sealer.seal(presence, subject=subjects.record(key), now=now)))
        subject = subjects.node(dst=host.id, life=host.life, src=stranger.id)
        for page in pages(frame for source, frame in facts if source is not host):
            host.recall(Received(subject, sealer.seal(Delta(0, page), subject=subject, now=now)))
