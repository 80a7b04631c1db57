"""What an operator asks of this daemon: settings, log, draining, forgetting, and a look at how it is.

Invariant: looks are made when somebody asks, and bounded in time; what does not answer is said to be
silent, and never waited for; what refuses, for it is asked too often, is asked once more when it has rested.
Neighbours: `service` hands it to the API; the node's `duty` obeys.
"""

import asyncio
from pathlib import Path

from msgspec import Struct, structs

from meshd import clock, sights
from meshd.api import diagnosis_schemas, schemas, settings
from meshd.api.view_schemas import Views as AllViews
from meshd.config import Given
from meshd.engine import Engine
from meshd.hosting import Hosting
from meshd.observe import logs
from meshd.perform import Performer
from meshd.ports import Store, Transport
from meshd.views import Views, living, named
from protocol import limits
from protocol.errors import MeshError
from protocol.inputs import Operate
from protocol.primitives import NS_PER_MS, NodeId
from protocol.prober import ASKS
from protocol.replica import Peer
from protocol.wire.ops import AnyOrder, Forget, Look, Report, Sights, Steer, Survey

SURVEYED_MAX = 256  # nodes asked at once: a frame each
VIEWS_MAX = 1_024  # nodes asked for their view, a batch after the other
LOOKED_MAX = 16  # views told in full, each up to a frame; more than a few is a mesh that has not settled
LOOKS_AT_ONCE = 2  # a frame of names costs the engine 30 ms to open
REST_S_MAX = 2.0  # who refused and wants to rest for longer is not waited for
AGAIN_S = 0.3  # views that differ are compared once more: news may have been on its way; so with late answers
LEVEL = "log.level"
PROBE_TIMEOUT = "membership.probe_timeout_s"


class Premises(Struct, frozen=True):
    """What this daemon was given and where it lives."""

    directory: Path
    origins: dict[str, Given]
    exposed: tuple[str, ...] = ()  # addresses that other hosts reach without encryption


class _Said(Struct, frozen=True):
    """What a node said when it was asked; with no report, `again_s` is 0 or when a node that refused can be asked."""

    report: Report | None
    again_s: float
    sent_ms: int
    took_ms: float


class Upkeep:
    """`api.backend.Upkeep` over one running node."""

    def __init__(
        self,
        engine: Engine,
        hosting: Hosting,
        store: Store,
        transport: Transport,
        views: Views,
        performer: Performer,
        premises: Premises,
    ) -> None:
        self._engine = engine
        self._node = engine.node
        self._hosting = hosting
        self._store = store
        self._transport = transport
        self._views = views
        self._performer = performer
        self._premises = premises
        self._origins = dict(premises.origins)

    def settings(self) -> schemas.Settings:
        """Every setting, its value and where it came from."""
        return settings.shown(self._origins)

    def set_log_level(self, level: str) -> schemas.LogLevel:
        """Until the daemon ends."""
        logs.set_level(level)
        self._origins[LEVEL] = Given(level, "set while it runs")
        return schemas.LogLevel(level)

    async def steer(self, name: str, *, draining: bool) -> schemas.Steered:
        """Tell a node to take no new work, or to take it again."""
        peer = living(self._node.membership.snapshot(), name)
        report = await self._report(peer, Steer(0, draining=draining))
        return schemas.Steered(peer.name, peer.id, report.draining, report.held_by)

    async def remove(self, name: str) -> schemas.Removed:
        """Show a gone node no more, here and on every living node."""
        gone = self._named(name)
        if gone.state in ("alive", "suspect"):
            raise MeshError("still_alive", peer=gone.name, state=gone.state)
        living = self._living()
        heard = await asyncio.gather(*(self._reached(peer, Forget(0, gone.id)) for peer in living))
        answers = [(peer.name, said) for peer, said in zip(living, heard, strict=True)]
        removed_on = tuple(name for name, said in answers if said.report is not None and said.report.obeyed)
        refused = tuple(name for name, said in answers if said.again_s)
        return schemas.Removed(
            name=gone.name,
            id=gone.id,
            removed_on=removed_on,
            silent=tuple(name for name, _ in answers if name not in {*removed_on, *refused}),
            refused=refused,
            again_s=max((said.again_s for said in heard), default=0.0),
        )

    async def views(self, *, is_all: bool) -> AllViews:
        """Ask every node whom it sees: a hash of all, and of each other view than ours one of those who have it."""
        heard = await self._heard()
        if any(said.report is not None and said.report.view != self._own_view for _, said in heard):
            await asyncio.sleep(AGAIN_S)
            heard = await self._heard()
        peers, own = self._node.membership.snapshot(), self._own_view
        held: dict[bytes, list[Peer]] = {}
        alive: dict[bytes, int] = {}
        for peer, said in heard:
            if said.report is not None:
                held.setdefault(said.report.view, []).append(peer)
                alive.setdefault(said.report.view, said.report.alive)
        names = (self._views.name_of(self._node.me.id), *(peer.name for peer in held.pop(own, ())))
        ours = sights.Group(own, names, sum(peer.state == "alive" for peer in peers), sights.of_peers(peers))
        ranked = sorted(held.items(), key=lambda each: (-len(each[1]), each[0]))
        told = await self._looked_at([holders for _, holders in ranked])
        others = [
            sights.Group(view, tuple(peer.name for peer in holders), alive[view], seen)
            for (view, holders), seen in zip(ranked, told, strict=True)
        ]
        living = sum(peer.state in sights.LIVING and not peer.is_self for peer in peers)
        found = await asyncio.to_thread(sights.compared, ours, others, is_all=is_all)
        return structs.replace(
            found,
            silent=tuple(peer.name for peer, said in heard if said.report is None and not said.again_s),
            refused=tuple(peer.name for peer, said in heard if said.again_s),
            again_s=max((said.again_s for _, said in heard), default=0.0),
            unasked=max(0, living - len(heard)),
        )

    @property
    def _own_view(self) -> bytes:
        return self._node.membership.agreement.view

    async def _heard(self) -> list[tuple[Peer, _Said]]:
        """Every other node, as far as so many are asked, and what it says of its view."""
        asked = [peer for peer in self._living(*sights.LIVING) if not peer.is_self][:VIEWS_MAX]
        answers: list[_Said] = []
        for first in range(0, len(asked), SURVEYED_MAX):
            batch = asked[first : first + SURVEYED_MAX]
            answers += await asyncio.gather(*(self._reached(peer, Survey(0)) for peer in batch))
        return list(zip(asked, answers, strict=True))

    async def _looked_at(self, views: list[list[Peer]]) -> list[sights.Told | None]:
        """What is seen by those who have each of these views, as far as so many are looked at."""
        told: list[sights.Told | None] = []
        looked = views[:LOOKED_MAX]
        for first in range(0, len(looked), LOOKS_AT_ONCE):
            told += await asyncio.gather(*(self._looked(holders) for holders in looked[first : first + LOOKS_AT_ONCE]))
        return [*told, *([None] * (len(views) - len(told)))]

    async def _looked(self, holders: list[Peer]) -> sights.Told | None:
        """What one of these sees, who all say that they see the same."""
        for peer in holders[:2]:
            seen = await self._seen_by(peer.id)
            if seen is not None:
                return sights.told(seen.sights)
        return None

    async def _seen_by(self, node: NodeId) -> Sights | None:
        try:
            answer = await self._engine.ask(lambda request: Operate(request, node, Look(0)))
        except MeshError:
            return None
        return answer if isinstance(answer, Sights) else None

    async def diagnose(self) -> diagnosis_schemas.Diagnosis:
        """Look at the server, the streams, the peers and ourselves."""
        (streams, server_version, problem), (own, peers), lag_ms = await asyncio.gather(
            self._look_at_store(), self._survey(), self._lag_ms()
        )
        return diagnosis_schemas.Diagnosis(
            version=self._node.me.version,
            directory=str(self._premises.directory),
            nats=self._transport.server,
            server_version=server_version,
            store_problem=problem,
            streams=streams,
            peers=peers,
            alive=own,
            lag_ms=lag_ms,
            inbox_waiting=self._engine.waiting,
            inbox_max=limits.INBOX_MAX,
            writes_waiting=self._performer.writes_waiting,
            writes_max=limits.WRITES_WAITING_MAX,
            exposed=self._premises.exposed,
            agents=tuple(agent for agent in self._views.agents() if agent.here),
            manifests=tuple(problem.message for problem in self._hosting.problems),
            lost=tuple(peer.name for peer in self._node.membership.snapshot() if peer.state in ("suspect", "dead")),
            clock_ahead_ms=self._node.time.off.get(self._node.me.id, 0),
            probe_again_ms=self._probe_again_ms,
            probe_origin=self._origins[PROBE_TIMEOUT].origin,
        )

    # --- how the others stand

    async def _survey(self) -> tuple[int, tuple[diagnosis_schemas.Surveyed, ...]]:
        """How many we see alive, and what each of them says."""
        own, peers = await self._compare()
        if any(peer.agrees is False or peer.rtt_ms > self._probe_again_ms for peer in peers):
            await asyncio.sleep(AGAIN_S)
            own, peers = await self._compare()
        return own, peers

    async def _compare(self) -> tuple[int, tuple[diagnosis_schemas.Surveyed, ...]]:
        others = [peer for peer in self._living() if not peer.is_self][:SURVEYED_MAX]
        told = await asyncio.gather(*(self._reached(peer, Survey(0)) for peer in others))
        own, off = await self._own_report(), self._node.time.off
        return own.alive, tuple(
            _surveyed(peer, said, own, off_ms=off.get(peer.id)) for peer, said in zip(others, told, strict=True)
        )

    @property
    def _probe_again_ms(self) -> float:
        return float(str(self._origins[PROBE_TIMEOUT].value)) * 1_000 / ASKS

    async def _own_report(self) -> Report:
        me = self._node.me
        return await self._asked(me.id, me.name, Survey(0))

    async def _lag_ms(self) -> float:
        began = clock.monotonic_ns()
        await self._own_report()
        return round((clock.monotonic_ns() - began) / NS_PER_MS, 1)

    async def _reached(self, peer: Peer, order: AnyOrder) -> _Said:
        said = await self._said(peer, order)
        if 0 < said.again_s <= REST_S_MAX:
            await asyncio.sleep(said.again_s)
            said = await self._said(peer, order)
        return said

    async def _said(self, peer: Peer, order: AnyOrder) -> _Said:
        sent_ms, began, report, again_s = clock.wall_ms(), clock.monotonic_ns(), None, 0.0
        try:
            report = await self._report(peer, order)
        except MeshError as failure:
            if failure.code == "too_often":
                again_s = float(str(failure.fields["seconds"]))
        return _Said(report, again_s, sent_ms, (clock.monotonic_ns() - began) / NS_PER_MS)

    async def _report(self, peer: Peer, order: AnyOrder) -> Report:
        return await self._asked(peer.id, peer.name, order)

    async def _asked(self, node: NodeId, name: str, order: AnyOrder) -> Report:
        try:
            report = await self._engine.ask(lambda request: Operate(request, node, order))
        except MeshError as failure:
            if failure.code not in ("timed_out", "too_often"):
                raise
            raise MeshError(failure.code, **{**failure.fields, "what": name}) from None
        if not isinstance(report, Report):
            raise MeshError("internal", what="an operator was answered without a report")
        return report

    def _living(self, *states: str) -> list[Peer]:
        return [peer for peer in self._node.membership.snapshot() if peer.state in (states or ("alive",))]

    def _named(self, name: str) -> Peer:
        return named(self._node.membership.snapshot(), name)

    # --- the record

    async def _look_at_store(self) -> tuple[tuple[diagnosis_schemas.StreamView, ...], str, str]:
        try:
            found = await self._store.inspect()
        except MeshError as failure:
            return (), "", failure.message
        streams = tuple(
            diagnosis_schemas.StreamView(
                name=each.name,
                problem=each.problem,
                copies=each.copies,
                copies_wanted=each.copies_wanted,
                keys=each.keys,
                bytes=each.bytes,
                bytes_max=each.bytes_max,
            )
            for each in found.streams
        )
        return streams, found.server_version, ""


def _surveyed(peer: Peer, said: _Said, own: Report, *, off_ms: int | None = None) -> diagnosis_schemas.Surveyed:
    """What a peer said; a clock that is off was measured already, and the peer itself goes by the mesh's."""
    report = said.report
    if report is None:
        return diagnosis_schemas.Surveyed(peer.name, peer.id, answered=False, again_s=said.again_s)
    return diagnosis_schemas.Surveyed(
        name=peer.name,
        id=peer.id,
        answered=True,
        rtt_ms=round(said.took_ms, 1),
        skew_ms=round(report.wall_ms - (said.sent_ms + said.took_ms / 2)) if off_ms is None else off_ms,
        agrees=report.view == own.view,
        alive=report.alive,
        draining=report.draining,
        version=report.version,
        held_by=report.held_by,
    )
