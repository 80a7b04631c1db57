"""Gossip that no honest node sends, at a node of a mesh that knows itself: nothing changes, one reason is counted."""

import copy
from functools import cache
from typing import Any

import msgspec
import pytest

from protocol import limits
from protocol.effects import Effect, Emit
from protocol.envelope import FRESH_MS, MAGIC, VERSION, Header, _signed_bytes
from protocol.events import FrameRefused, PeerMisbehaved
from protocol.inputs import Received
from protocol.node import Node
from protocol.primitives import Instant
from protocol.subjects import Subjects
from protocol.wire.agents import Card
from protocol.wire.gossip import Alive, Capabilities, Carried, Confirm, Dead, Delta, Digest, Left, Load, Row, Suspect
from protocol.wire.kinds import KINDS
from protocol.wire.swim import Ack, Ping
from simulations.checks_frames import state_of
from simulations.scenario import parsed
from simulations.signing import Keys
from simulations.timeline import ns
from simulations.world import World

KEYS = Keys("mac")
YEAR_MS = 366 * 86_400_000


@cache
def _world() -> World:
    world = World(parsed('about = "three that know each other"\nnodes = 3\nrun_s = 60\n', origin="here"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.timeline.run(ns(6))
    return world


class Attack:
    """One node of the world, on a copy, and somebody who talks to it."""

    def __init__(self) -> None:
        self.world = _world()
        n1, self.n2, self.n3 = self.world.hosts.values()
        self.node: Node = copy.deepcopy(n1.node)
        self.now: Instant = n1.now()
        self._seq = 50_000
        self.subjects = Subjects(self.world.hosts["n1"]._around.mesh)

    def sealed(self, body: Any, *, by: str = "n2", raw: bytes | None = None, of: str = "", life: int = 0) -> Received:
        """What `by` says in the name of `of`, which is itself unless told; `raw` in place of the body."""
        signer, source = KEYS.signer(by), KEYS.signer(of or by).id
        life = life or self.n2.life
        kind = str(body.__struct_config__.tag)
        if KINDS[kind].family == "fact":
            subject = self.subjects.fact(region="r1", src=source)
        elif KINDS[kind].family == "carry":
            subject = self.subjects.carry(region="r1", src=source)
        else:
            subject = self.subjects.node(dst=self.node.me.id, life=self.node.me.life, src=source)
        self._seq += 1
        header = Header(signer.public_key, subject, kind, life, self._seq, self.now.wall_ms, FRESH_MS)
        packed = msgspec.msgpack.encode(header)
        head = MAGIC + bytes((VERSION, 0)) + len(packed).to_bytes(2, "big") + packed
        encoded = msgspec.msgpack.encode(body) if raw is None else raw
        signature = signer.sign(_signed_bytes(family=KINDS[kind].family, head=head, body=encoded))
        return Received(subject, head + encoded + signature)

    def hears(self, *frames: Received) -> list[str]:
        """The reasons that are counted; what the node believes, knows and holds must stay as it was."""
        before = state_of(self.node)
        effects = [effect for frame in frames for effect in self.node.handle(frame, self.now)]
        assert state_of(self.node) == before
        return [code for effect in effects if (code := _reason(effect))]

    def bodies(self) -> dict[str, Any]:
        """One honest body of each kind of gossip and probe."""
        n3 = self.n3
        return {
            "alive": Alive(1, "n2", "r1", "", b""),
            "suspect": Suspect(n3.id, n3.life, 0, "timeout"),
            "confirm": Confirm(n3.id, n3.life, 0, "timeout"),
            "dead": Dead(n3.id, n3.life, 0, "timeout", ()),
            "left": Left(0),
            "capabilities": Capabilities(9, (Card("other", ("other@1",), 1),)),
            "load": Load(99, (("worker", 0),), 1, 1),
            "digest": Digest(1, tuple(range(64))),
            "delta": Delta(1, (b"no frame",)),
            "carried": Carried((b"no frame",)),
            "ping": Ping(1, -1),
            "ack": Ack(1, 0),
        }


def _reason(effect: Effect) -> str:
    is_counted = isinstance(effect, Emit) and isinstance(effect.event, FrameRefused | PeerMisbehaved)
    return effect.event.code if is_counted else ""  # type: ignore[union-attr]  # narrowed a line above


EVERY = sorted(Attack.bodies(Attack()))


@pytest.mark.parametrize("kind", EVERY)
def test_a_forged_signature_has_no_effect(kind: str) -> None:
    attack = Attack()
    honest = attack.sealed(attack.bodies()[kind])
    forged = Received(honest.subject, honest.frame[:-1] + bytes((honest.frame[-1] ^ 1,)))
    assert attack.hears(forged) == ["bad_signature"]


@pytest.mark.parametrize("kind", EVERY)
def test_who_was_never_admitted_says_nothing_here(kind: str) -> None:
    attack = Attack()
    assert attack.hears(attack.sealed(attack.bodies()[kind], by="stranger")) == ["not_admitted"]


@pytest.mark.parametrize("kind", EVERY)
def test_what_another_signed_in_a_nodes_name_has_no_effect(kind: str) -> None:
    attack = Attack()
    assert attack.hears(attack.sealed(attack.bodies()[kind], by="n3", of="n2")) == ["wrong_signer"]


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_larger_than_its_kind_has_no_effect(kind: str) -> None:
    attack = Attack()
    raw = bytes(KINDS[kind].frame_bytes_max)
    assert attack.hears(attack.sealed(attack.bodies()[kind], raw=raw)) == ["too_large"]


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x91", b"\xdd\xff\xff\xff\xff", b"\x81" * 1_200, b"\xa1\xff"])
@pytest.mark.parametrize("kind", EVERY)
def test_a_body_that_is_none_has_no_effect(kind: str, raw: bytes) -> None:
    attack = Attack()
    assert attack.hears(attack.sealed(attack.bodies()[kind], raw=raw)) == ["bad_body"]


@pytest.mark.parametrize("kind", ["digest", "delta", "carried", "ping", "ack"])
def test_a_message_takes_effect_once(kind: str) -> None:
    attack = Attack()
    frame = attack.sealed(attack.bodies()[kind])
    attack.node.handle(frame, attack.now)
    assert attack.hears(frame) == ["replayed"]


def test_a_message_to_an_earlier_life_of_this_node_is_for_another() -> None:
    attack = Attack()
    heard = attack.sealed(Ping(1, -1))
    attack.node._opener.begin(attack.node.me.life + 1, "r1")
    assert attack.hears(heard) == ["wrong_subject"]


def test_a_fact_inside_a_page_is_its_owners_or_nothing() -> None:
    attack = Attack()
    stolen = attack.sealed(Alive(7, "n2", "r1", "", b""), by="n3", of="n2")
    assert attack.hears(attack.sealed(Delta(1, (stolen.frame,)))) == ["wrong_signer"]
    assert attack.hears(attack.sealed(Carried((stolen.frame,)))) == ["wrong_signer"]


WRONG: dict[str, tuple[Any, str]] = {
    "its incarnation at the end of all": (
        lambda n3, me: Alive(limits.INCARNATION_MAX, "n2", "r1", "", KEYS.admission("n2")),
        "bad_incarnation",
    ),
    "its incarnation beyond the end": (
        lambda n3, me: Alive(limits.INCARNATION_MAX + 1, "n2", "r1", "", KEYS.admission("n2")),
        "bad_incarnation",
    ),
    "another's incarnation at the end": (
        lambda n3, me: Suspect(n3.id, n3.life, limits.INCARNATION_MAX, "timeout"),
        "incarnation_jump",
    ),
    "another's death at the end": (
        lambda n3, me: Dead(n3.id, n3.life, limits.INCARNATION_MAX, "timeout", ()),
        "incarnation_jump",
    ),
    "our incarnation at the end": (
        lambda n3, me: Suspect(me.id, me.life, limits.INCARNATION_MAX, "timeout"),
        "incarnation_jump",
    ),
    "our life a year ahead": (lambda n3, me: Suspect(me.id, me.life + YEAR_MS, 0, "timeout"), "unknown_life"),
    "a name of control characters": (lambda n3, me: Alive(1, "n2\x1b[2J", "r1", "", KEYS.admission("n2")), "bad_name"),
    "a name that is long": (lambda n3, me: Alive(1, "n" * 500, "r1", "", KEYS.admission("n2")), "bad_name"),
    "evidence of its own making": (lambda n3, me: Suspect(n3.id, n3.life, 0, "rumour"), "bad_evidence"),
    "loads below none": (lambda n3, me: Load(99, (("worker", -1),), 1, 1), "bad_load"),
    "agents of control characters": (lambda n3, me: Capabilities(9, (Card("a\n", ("b@1",), 1),)), "bad_cards"),
    "a digest of another shape": (lambda n3, me: Digest(1, (1, 2, 3)), "bad_digest"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_admitted_node_that_says_what_no_honest_one_does_is_named(what: str) -> None:
    attack = Attack()
    made, code = WRONG[what]
    assert attack.hears(attack.sealed(made(attack.n3, attack.node.me))) == [code]


def test_a_life_beyond_all_is_no_header() -> None:
    attack = Attack()
    assert attack.hears(attack.sealed(Left(0), life=limits.LIFE_MAX + 1)) == ["bad_header"]


@pytest.mark.parametrize("kind", ["suspect", "confirm", "dead"])
def test_a_life_of_another_a_year_ahead_that_nobody_can_show_is_counted_and_no_news(kind: str) -> None:
    attack = Attack()
    body = msgspec.structs.replace(attack.bodies()[kind], life=attack.n3.life + YEAR_MS)
    assert attack.hears(attack.sealed(body)) == ["not_known"]


def test_a_death_of_another_that_brings_junk_for_its_last_word_is_counted_and_no_news() -> None:
    attack = Attack()
    body = Dead(attack.n3.id, attack.n3.life + YEAR_MS, 0, "timeout", (b"junk",), alive=b"junk")
    assert attack.hears(attack.sealed(body)) == ["not_known"]


def test_buckets_that_a_digest_does_not_have_are_no_body() -> None:
    attack = Attack()
    for bucket in (-1, limits.DIGEST_BUCKETS):
        assert attack.hears(attack.sealed(Digest(1, scope=(bucket,)))) == ["bad_body"]


def test_twenty_thousand_invented_nodes_do_not_fit_into_one_digest() -> None:
    attack = Attack()
    rows = tuple(Row(f"{number:032}", "standing", 1, 1) for number in range(20_000))
    assert attack.hears(attack.sealed(Digest(1, rows=rows))) == ["too_large"]


def test_invented_nodes_in_pages_of_a_sync_are_counted_and_not_believed() -> None:
    attack = Attack()
    invented = [attack.sealed(Alive(0, f"x{number}", "r1", "", b""), by=f"x{number}").frame for number in range(256)]
    pages = [attack.sealed(Delta(1, tuple(invented[at : at + 64]))) for at in range(0, 256, 64)]
    assert set(attack.hears(*pages)) == {"not_admitted"}


@pytest.mark.parametrize("kind", ["suspect", "confirm", "dead"])
def test_word_of_somebody_long_forgotten_brings_nobody_back(kind: str) -> None:
    attack = Attack()
    body = msgspec.structs.replace(attack.bodies()[kind], peer=KEYS.signer("forgotten").id)
    assert attack.hears(attack.sealed(body)) == ["not_known"]
    assert attack.hears(attack.sealed(Delta(1, (attack.sealed(body).frame,)))) == ["not_known"]


@pytest.mark.parametrize("kind", ["capabilities", "load"])
def test_what_somebody_long_forgotten_can_do_is_not_kept(kind: str) -> None:
    attack = Attack()
    assert attack.node._opener.admit(KEYS.admission("forgotten"))
    assert attack.hears(attack.sealed(attack.bodies()[kind], by="forgotten")) == ["not_known"]


def test_a_view_that_is_full_takes_nobody_in_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = Attack()
    monkeypatch.setattr(limits, "PEERS_MAX", 2)
    body = Alive(0, "another", "r1", "", KEYS.admission("another"))
    assert attack.hears(attack.sealed(body, by="another")) == ["view_full"]


def test_what_a_flood_says_of_nobody_is_counted_in_few_words() -> None:
    attack = Attack()
    body = msgspec.structs.replace(attack.bodies()["suspect"], peer=KEYS.signer("forgotten").id)
    assert 20 <= len(attack.hears(*(attack.sealed(body) for _ in range(1_000)))) <= 30


@pytest.mark.parametrize(
    "body",
    [
        Delta(1, (b"",) * (limits.FACTS_PER_DELTA_MAX + 1)),
        Carried((b"",) * (limits.FACTS_PER_DELTA_MAX + 1)),
        Digest(1, buckets=(1,) * (limits.DIGEST_BUCKETS + 1)),
        Digest(1, scope=(1,) * (limits.DIGEST_BUCKETS + 1)),
        Digest(1, rows=(Row("n", "load", 1, 1),) * (limits.ROWS_PER_DIGEST_MAX + 1)),
        Dead("n" * 32, 1, 0, "timeout", (b"",) * (limits.ACCUSATIONS_MAX + 1)),
    ],
    ids=["delta", "carried", "buckets", "scope", "rows", "accusations"],
)
def test_a_page_that_nobody_would_send_is_refused_whole(body: Any) -> None:
    attack = Attack()
    assert attack.hears(attack.sealed(body)) == ["bad_body"]
