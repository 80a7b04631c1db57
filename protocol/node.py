"""The switchboard: what enters goes to its machine, what machines say goes to each other or out.

Invariant: `handle` is a function of the node's state, the input, the time and the seeded chance;
nothing else. Neighbours: the machines know nothing of each other; only this file knows them all.
"""

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, assert_never

from msgspec import Struct

from protocol import effects as fx
from protocol import events, ids, inputs
from protocol.auction import Auction
from protocol.bridging import Bridging
from protocol.calls import PREFIX, Calls
from protocol.catalogue import Catalogue
from protocol.duty import Duty
from protocol.effects import Effect
from protocol.envelope import Envelope, Opener, Refusal, Sealer
from protocol.flaps import Flaps
from protocol.gossip import Gossip, GossipSettings
from protocol.guardian import Guardian
from protocol.hearing import Hearing
from protocol.holder import Holder
from protocol.inputs import Input
from protocol.inquiries import Inquiries
from protocol.ledger import Ledger
from protocol.link import Link, LinkSettings
from protocol.membership import Membership
from protocol.owners import Owners
from protocol.performance import Lapses
from protocol.places import Places
from protocol.post import Post
from protocol.presets import MembershipSettings
from protocol.primitives import Instant, Mono, NodeId, Rng
from protocol.reading import Reader
from protocol.refusals import Refusals
from protocol.regions import Regions
from protocol.replica import Me, heard_of
from protocol.requests import Requests
from protocol.slots import Slots
from protocol.subjects import Subjects
from protocol.timekeeping import Timekeeping
from protocol.timers import soonest
from protocol.topics import EVENT, Topics
from protocol.watch import Watch
from protocol.watched import TaskSettings
from protocol.watching import Watching
from protocol.wire import auction, audit, call, gossip, ops, swim, task, topic
from protocol.wire.task import TaskRecord

_Knowing: TypeAlias = Literal[
    "membership", "gossip", "catalogue", "link", "homes", "topics", "reader", "bridging", "flaps"
]
Origin: TypeAlias = _Knowing | Literal["ledger", "watch", "auction", "holder", "calls"]


class NodeSettings(Struct, frozen=True):
    """All that the core can be told."""

    membership: MembershipSettings = MembershipSettings()
    tasks: TaskSettings = TaskSettings()
    link: LinkSettings = LinkSettings()
    keep_s: float = 86_400.0
    gossip: GossipSettings = GossipSettings()
    routing: str = "local-first"


class Node:
    """One life of one node."""

    def __init__(self, *, me: Me, mesh: str, settings: NodeSettings, sealer: Sealer, opener: Opener, rng: Rng) -> None:
        self.me, self._opener = me, opener
        opener.begin(me.life, me.region)
        subjects, clocks = Subjects(mesh), opener.clocks
        self._post: Post[Origin] = Post(
            me=me.id, region=me.region, subjects=subjects, sealer=sealer, clocks=clocks, rng=rng
        )
        owners, lapses, tasks, keep_s = Owners(), Lapses(), settings.tasks, settings.keep_s
        self.regions, tombstone_s = Regions(me), settings.membership.tombstone_s
        self.membership = Membership(me=me, settings=settings.membership, rng=rng, regions=self.regions)
        self.gossip = Gossip(me=me, rng=rng, settings=settings.gossip, tombstone_s=tombstone_s, regions=self.regions)
        self.flaps = Flaps(quiet_s=settings.membership.damp_s)
        self._bridging = Bridging(regions=self.regions, subjects=subjects, tombstone_s=tombstone_s)
        self.catalogue, self.refusals = Catalogue(me=me), Refusals()
        self.link, self._slots = Link(me=me, settings=settings.link), Slots()
        self.time = Timekeeping(me=me, clocks=clocks, membership=self.membership)
        self._places = places = self._made_places(settings.routing, rng)
        self.ledger = Ledger(
            me=me.id, mesh=mesh, settings=tasks, keep_s=keep_s, owners=owners, lapses=lapses, view=places, rng=rng
        )
        self.holder = Holder(
            me=me.id, life=me.life, settings=tasks, keep_s=keep_s, slots=self._slots, guards=places.guards
        )
        self._watch = Watch(settings=tasks, owners=owners)
        asking = Auction(settings=tasks, view=places, lapses=lapses, rng=rng)
        self._guardian = Guardian(me=me.id, settings=tasks)
        self._calls = Calls(view=places, slots=self._slots, rng=rng)
        self._homes, self.topics = Inquiries(), Topics(me=me, subjects=subjects)
        self.duty = Duty(me=me, link=self.link, membership=self.membership, holder=self.holder, calls=self._calls)
        self._requests = Requests(
            me=me, duty=self.duty, time=self.time, ledger=self.ledger, places=places, homes=self._homes
        )
        self._reader = Reader(opener=opener, refusals=self.refusals, keep_s=keep_s)
        self._hearing = self._made_hearing()
        self._watching = Watching(
            me=me.id,
            ledger=self.ledger,
            watch=self._watch,
            auction=asking,
            guardian=self._guardian,
            reader=self._reader,
            homes=places.homes,
        )
        self._absences: dict[Origin, Callable[[int, Instant], list[Effect]]] = {
            "membership": self.membership.on_absent,
            "ledger": self.ledger.on_absent,
            "calls": self._calls.on_absent,
            "homes": self._homes.on_absent,
        }
        knowing = self.membership, self.flaps, self.gossip, self._bridging, self.catalogue, self.link
        self._machines = *knowing, self._watching, self.holder, self._guardian, self._calls, self._homes
        self._due: tuple[Mono | None] | None = None  # the first deadline of all; None: to be asked for
        self._was_usable = self._is_unmoved = False  # unmoved by the last input: it changed nothing that others go by
        self._was_free: tuple[tuple[str, int], ...] = ()

    def _made_places(self, policy: str, rng: Rng) -> Places:
        return Places(
            me=self.me,
            membership=self.membership,
            catalogue=self.catalogue,
            time=self.time,
            regions=self.regions,
            flaps=self.flaps,
            policy=policy,
            rng=rng,
        )

    def _made_hearing(self) -> Hearing:
        return Hearing(
            opener=self._opener,
            refusals=self.refusals,
            regions=self.regions,
            gossip=self.gossip,
            membership=self.membership,
            catalogue=self.catalogue,
            ledger=self.ledger,
            bridging=self._bridging,
        )

    # --- for readers

    def free_slots(self) -> tuple[tuple[str, int], ...]:
        """Free slots of this node's agents, by agent."""
        return self._slots.free()

    def record_of(self, key: str, frame: bytes, now: Instant, *, revision: int = 0) -> TaskRecord | None:
        """The record in a frame from the bucket, or None when it is not one of this mesh."""
        return self._reader.read(key, frame, now, revision=revision).record

    def own_life_in(self, key: str, frame: bytes) -> int:
        """The life of ours whose beat stands there, or 0: one below it is heard by nobody."""
        opened = self._opener.open_record(key, frame)
        return opened.header.life if isinstance(opened, Envelope) and opened.src == self.me.id else 0

    def glance(self, key: str, frame: bytes) -> TaskRecord | None:
        """The record that a frame from the bucket claims to be, unproven."""
        return self._opener.glance(key, frame)

    @property
    def state(self) -> str:
        """starting, joined, detached, islanded or draining."""
        return self.duty.state

    # --- in and out

    def handle(self, input: Input, now: Instant) -> list[Effect]:
        """Take one input; what has to leave the node because of it, in order. `now` is what the host's clocks say."""
        now, asked = self.time.by_the_mesh(now)
        self._is_unmoved = False
        out = self._carry("membership", asked, now) + self._route(input, now)
        if self._is_unmoved and not asked:
            return out
        self._due = None
        return out + self._after(now)

    def start(self, now: Instant) -> list[Effect]:
        """Say hello; the first thing that a life does."""
        self._due = None
        return self._carry("membership", self.membership.start(now), now)

    def next_deadline(self) -> Mono | None:
        """When the next `Tick` is due, monotonic nanoseconds."""
        if self._due is None:
            self._due = (soonest([machine.next_deadline() for machine in self._machines]),)
        return self._due[0]

    def _route(self, input: Input, now: Instant) -> list[Effect]:
        match input:
            case inputs.Received():
                return self._on_frame(input, now)
            case inputs.Tick():
                return self._on_tick(now)
            case inputs.Absent():
                return self._on_absent(input.probe, now)
            case inputs.LinkChanged():
                return self._on_link(is_up=input.up, now=now)
            case inputs.Lagged():
                return self._on_lag(input.late_ms, now)
            case inputs.Written() | inputs.Lost() | inputs.Unsent():
                return self._on_outcome(input, now)
            case inputs.Found():
                return self._on_found(input, now)
            case inputs.Listed():
                return self._carry_all(self._watching.on_listed(input, now), now)
            case inputs.Submit() | inputs.Retry():
                return self._carry("ledger", self._requests.order(input, now), now)
            case inputs.Cancel():
                return self._carry("ledger", self.ledger.cancel(input, now), now)
            case inputs.Await():
                return self._carry("ledger", self.ledger.wait(input.request, input.task), now)
            case inputs.MakeCall():
                return self._carry("calls", self._calls.make(input, now), now)
            case inputs.Publish():
                return self._carry("topics", self.topics.publish(input, now), now)
            case inputs.Inquiry():
                return self._carry("homes", self._requests.inquire(input, now), now)
            case inputs.Operate():
                return self._carry("homes", self._requests.operate(input, now), now)
            case inputs.Advertise():
                self._slots.advertise(input.cards)
                self.duty.learn(input.cards, input.shapes)
                told = self.catalogue.advertise(input.cards, now) + self.topics.advertise(input.cards)
                return self._carry("catalogue", told, now)
            case inputs.AgentProgress():
                return self._carry("holder", self.holder.on_progress(input), now)
            case inputs.AgentFinished() | inputs.AgentFailed() if input.task.startswith(EVENT):
                return self._carry("topics", self.topics.on_end(input), now)
            case inputs.AgentFinished() | inputs.AgentFailed():
                self._slots.give_back((input.task, input.epoch))
                return self._on_run_ended(input, now)
            case inputs.AgentStopped():
                self._slots.give_back((input.task, input.epoch))
                return self._carry("holder", self.holder.on_stopped(input.task, input.epoch), now)
            case inputs.Drain():
                return self.duty.drain(is_on=input.on, cause=input.cause)
            case inputs.Leave():
                return self._on_leave(now)
            case _:
                assert_never(input)

    def _carry(self, origin: Origin, effects: list[Effect], now: Instant) -> list[Effect]:
        """Seal what leaves; hand to ourselves what is for us; tell the other machines who came or went."""
        out: list[Effect] = []
        for effect in effects:
            match effect:
                case fx.Send():
                    if effect.to == self.me.id:
                        if effect.life == self.me.life:
                            out += self._on_body(self.me.id, self.me.life, effect, 0, now)
                    else:
                        out.append(self._post.send(origin, effect, now))
                case fx.Spread():
                    out += self._spread(effect, now)
                case fx.Announce():
                    out.append(self._post.announce(effect, now))
                case fx.Carry():
                    out.append(self._post.carry(effect, now))
                case fx.Write():
                    out.append(self._post.write(origin, effect, now))
                case fx.Emit():
                    if origin == "membership":
                        out += [fx.Emit(each) for each in self.flaps.told(effect.event, now)]
                        out += self._on_peer_event(effect.event, now)
                        continue
                    out.append(self._places.named(effect))
                    if isinstance(effect.event, events.RecordLost):
                        out += self._on_record_lost(now)
                    elif isinstance(effect.event, events.ClockRight | events.PeerAlive):  # of flaps: damped no more
                        out += self._carry("ledger", self.ledger.on_capacity(now), now)
                case fx.Tune() | fx.Read() | fx.List() | fx.Listen() | fx.RunAgent() | fx.StopAgent() | fx.Reply():
                    out.append(effect)
                case _:
                    assert_never(effect)
        return out

    def _carry_all(self, said: Iterable[tuple[Origin, list[Effect]]], now: Instant) -> list[Effect]:
        return [each for origin, effects in said for each in self._carry(origin, effects, now)]

    def _spread(self, fact: fx.Spread, now: Instant) -> list[Effect]:
        sealed = self._post.spread(fact, now)
        if not fact.frame:
            opened = self._opener.open_relayed(sealed.frame, is_own=True)
            if isinstance(opened, Envelope):
                return [sealed, *self._carry("gossip", self.gossip.keep_own(heard_of(opened), now), now)]
        return [sealed]

    def _after(self, now: Instant) -> list[Effect]:
        """What follows from any input: what we hear, whether we can award, and how busy we are."""
        told = self._reader.take_untold() + self.time.after()
        out = self._hearing.tune(now) + (self._carry("reader", told, now) if told else [])
        if (is_usable := self.link.is_usable and self.time.is_right) != self._was_usable:
            self._was_usable = is_usable
            self._watch.on_link(is_usable=is_usable, now=now)
            out += self._carry("ledger", self.ledger.on_link(is_usable=is_usable, now=now), now)
            out += self._carry("ledger", self._guardian.on_link(is_usable=is_usable, now=now), now)
        free = self._slots.free()
        if free is not self._was_free and free != self._was_free:  # what waits here goes before what may come
            out += self._carry("holder", self.holder.on_room(now), now)
            free = self._slots.free()
        taken, waiting, draining = self._slots.taken, self.ledger.waiting, self.duty.is_draining
        load = self.catalogue.set_load(free, running=taken, waiting=waiting, is_draining=draining, now=now)
        out += self._carry("catalogue", load, now)
        if free != self._was_free:
            self._was_free = free
            out += self._carry("ledger", self.ledger.on_capacity(now), now)
        return out + self._carry_all(self._watching.ask(now), now)

    # --- messages

    def _on_frame(self, received: inputs.Received, now: Instant) -> list[Effect]:
        opened = self._opener.open(received.subject, received.frame, now)
        if isinstance(opened, Refusal):
            return self._carry_all(self._hearing.refuse(opened, now), now)
        if isinstance(opened.body, gossip.AnyFact):
            heard = heard_of(opened)
            if (again := self._hearing.again(heard, now)) is None:
                return self._carry_all(self._hearing.on_fact(heard, now), now)
            out = self._carry("membership", again, now)
            self._is_unmoved = not out
            return out
        if isinstance(opened.body, gossip.Repair):
            return self._carry_all(self._hearing.on_repair(opened, opened.body, now), now)
        me, body, header = self.me, opened.body, opened.header
        if isinstance(body, ops.AnyOrder) and not self.duty.hears(opened.src, now):
            told = self._carry("homes", self.duty.refuse(opened.src, header.life, body, now), now)
            counted = self._hearing.refuse(Refusal("too_often", opened.src, header.subject), now)
            return told + self._carry_all(counted, now)
        if isinstance(body, topic.Published):
            told = self.topics.on_published(opened.src, received.subject, body, iid=header.iid, gid=header.gid)
            return self._carry("topics", told, now)
        if isinstance(body, TaskRecord | task.Presence | audit.AuditBatch):
            return []  # these travel by the store; the opener refuses them on node subjects
        if isinstance(body, swim.Ack) and self.time.on_ack(opened, body, now):
            self.gossip.on_gap(now, opened.src)  # of what it said with that date we have refused some
        message = fx.Send(to=me.id, life=me.life, body=body, iid=header.iid, gid=header.gid, cause=opened.name)
        return self._on_body(opened.src, header.life, message, header.seq, now)

    def _on_body(self, src: NodeId, life: int, message: fx.Send, said: int, now: Instant) -> list[Effect]:
        """One message to this node; `said` is the number of its frame, 0 when it is from ourselves."""
        body = message.body
        match body:
            case swim.Ping() | swim.Ack():
                return self._carry("membership", self.membership.on_message(src, life, body, now), now)
            case gossip.Digest() | gossip.Delta():
                return []  # frames alone bring these
            case task.Ask():
                return self._carry("holder", self.holder.on_ask(src, life, body, now), now)
            case task.Award() | auction.Reserve():
                record = self.record_of(ids.task_key(body.task), body.record, now)
                given = [] if record is None else self.holder.on_award(src, life, body, record, now)
                return self._carry("holder", given, now)
            case task.Withdraw() | auction.Unreserve():
                return self._carry("holder", self.holder.on_withdraw(src, body, now), now)
            case task.Accept():
                return self._carry("ledger", self.ledger.on_accept(src, body, said, now), now)
            case task.Decline():
                return self._carry("ledger", self.ledger.on_decline(src, body, now), now)
            case task.Answer():
                return self._carry_all(self._watching.on_answer(src, life, body, said, now), now)
            case auction.Offer():
                return self._carry("holder", self.holder.on_offer(src, life, body, now), now)
            case auction.Bid() | auction.Pass():
                return self._carry_all(self._watching.on_bid(src, body, now), now)
            case task.Result() | auction.Taken():
                return self._carry_all(self._watching.on_told(src, body, said, now), now)
            case task.Inquire():
                account = self._homes.account(body.request, self.ledger.status(body.tasks))
                return self._carry("homes", [fx.Send(to=src, life=life, body=account)], now)
            case task.Account():
                return self._carry("homes", self._homes.on_account(src, body), now)
            case ops.Survey() | ops.Steer() | ops.Forget() | ops.Describe() | ops.Look():
                effects, report = self.duty.obey(src, body, now)
                return effects + self._carry("homes", [fx.Send(to=src, life=life, body=report)], now)
            case ops.Report() | ops.Description() | ops.Sights() | ops.Refused():
                return self._carry("homes", self._homes.on_report(src, body, now), now)
            case call.Call():
                return self._carry("calls", self._calls.on_call(src, life, body, iid=message.iid, gid=message.gid), now)
            case call.CallReply():
                return self._carry("calls", self._calls.on_reply(src, body, now), now)
            case _:
                assert_never(body)

    # --- peers

    def _on_peer_event(self, event: events.Event, now: Instant) -> list[Effect]:
        """Somebody came or went: whose tasks are whose to watch, and who can do what."""
        if isinstance(event, events.PeerAlive):
            self.catalogue.meet(event.peer, event.life)
            return self._carry("ledger", self.ledger.tasks.abandon(event.peer, now), now)
        if isinstance(event, events.PeerDead | events.PeerLeft):
            self.catalogue.forget(event.peer)
            self.gossip.facts.forget(event.peer)
        if isinstance(event, events.PeerSuspect | events.PeerUnreachable | events.PeerDead | events.PeerLeft):
            return self._carry("ledger", self._guardian.on_gone(self._places.homes(now), now), now)
        return []

    # --- link, store

    def _on_link(self, *, is_up: bool, now: Instant) -> list[Effect]:
        out = self._carry("link", self.link.on_link(is_up=is_up, now=now), now)
        out += self._carry("membership", self.membership.on_link(is_up=is_up, now=now), now)
        self._bridging.on_link(is_up=is_up)
        return out + self._carry("gossip", self.gossip.on_link(is_up=is_up, now=now), now)

    def _on_lag(self, late_ms: int, now: Instant) -> list[Effect]:
        self._watch.on_lag(now)
        self.ledger.on_lag(now)
        self.holder.on_lag()
        return self._carry("membership", self.membership.on_lag(late_ms, now), now)

    def _on_record_lost(self, now: Instant) -> list[Effect]:
        """The bucket came back without what stood there: whoever still knows a task writes it anew."""
        self._guardian.on_record_lost()
        out = self._carry("holder", self.holder.on_record_lost(now), now)
        return out + self._carry("ledger", self.ledger.on_record_lost(now), now)

    def _on_absent(self, probe: int, now: Instant) -> list[Effect]:
        expected = self._post.absent(probe)
        if expected is None:
            return self._carry_all(self._hearing.refuse(Refusal("unasked", "", ""), now), now)
        origin, number = expected
        if origin in ("watch", "auction"):
            return self._carry_all(self._watching.on_absent(origin, number, now), now)
        tell = self._absences.get(origin)
        return [] if tell is None else self._carry(origin, tell(number, now), now)

    def _on_outcome(self, outcome: inputs.Written | inputs.Lost | inputs.Unsent, now: Instant) -> list[Effect]:
        origin, write = self._post.outcome(outcome.key)
        if origin == "link":
            if isinstance(outcome, inputs.Written):
                self.membership.on_answered(now)
            of_life = self.own_life_in(outcome.key, outcome.frame) if isinstance(outcome, inputs.Lost) else 0
            return self._carry(origin, self.link.on_outcome(outcome, now, stands=of_life), now)
        if not ids.is_task_key(outcome.key) or not isinstance(write.record, TaskRecord):
            return []  # a late result, kept to be shown
        if origin == "reader":
            return self._carry(origin, self._reader.on_outcome(outcome, write, now), now)
        machine = self.holder if origin == "holder" else self.ledger
        match outcome:
            case inputs.Written():
                self._reader.on_written(write)
                return self._carry(origin, machine.on_written(write, write.record, outcome.revision, now), now)
            case inputs.Lost():
                stands = self._reader.read(outcome.key, outcome.frame, now, revision=outcome.revision)
                return self._carry(origin, machine.on_lost(write, stands, now), now)
            case inputs.Unsent():
                return self._carry(origin, machine.on_unsent(write, outcome.reason, now), now)
            case _:
                assert_never(outcome)

    def _on_found(self, found: inputs.Found, now: Instant) -> list[Effect]:
        if not ids.is_task_key(found.key):
            if found.frame:
                self._opener.open_record(found.key, found.frame)  # a presence brings an admission
            return []
        stands = self._reader.read(found.key, found.frame, now, revision=found.revision)
        out = self._carry("holder", self.holder.on_found(stands.record, found.key, now), now)
        return out + self._carry("ledger", self.ledger.on_found(found.key, stands, found.failed, now), now)

    # --- requests and agents

    def _on_run_ended(self, report: inputs.AgentFinished | inputs.AgentFailed, now: Instant) -> list[Effect]:
        is_call = report.task.startswith(PREFIX)
        if isinstance(report, inputs.AgentFinished):
            ended = self._calls.on_finished(report) if is_call else self.holder.on_finished(report, now)
        else:
            ended = self._calls.on_failed(report) if is_call else self.holder.on_failed(report, now)
        return self._carry("calls" if is_call else "holder", ended, now)

    def _on_leave(self, now: Instant) -> list[Effect]:
        out = self.duty.drain(is_on=True, cause="leaving") + self._carry("holder", self.holder.give_all_back(), now)
        out += self._carry("calls", self._calls.leave(), now)
        return out + self._carry("membership", self.membership.leave(now), now)

    # --- time

    def _on_tick(self, now: Instant) -> list[Effect]:
        out = self.refusals.flushed(now) + self._carry("link", self.link.on_tick(now), now)
        out += self._carry("membership", self.membership.on_tick(now), now)
        out += self._carry("flaps", self.flaps.on_tick(now), now)
        out += self._carry("gossip", self.gossip.on_tick(now), now)
        out += self._carry("bridging", self._bridging.on_tick(now), now)
        out += self._carry("catalogue", self.catalogue.on_tick(now), now)
        out += self._carry_all(self._watching.on_tick(now), now)
        out += self._carry("holder", self.holder.on_tick(now), now)
        out += self._carry("ledger", self._guardian.on_tick(now), now)
        out += self._carry("calls", self._calls.on_tick(now), now)
        return out + self._carry("homes", self._homes.on_tick(now), now)
