"""Facts between regions: a bridge passes on its sources' own word, and no region hears another by mistake."""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from protocol import limits
from protocol.effects import Carry, Effect, Emit, Send, Tune
from protocol.envelope import Sealer
from protocol.events import FrameRefused, PeerMisbehaved
from protocol.hearing import Hearing
from protocol.inputs import Received, Tick
from protocol.node import Node
from protocol.primitives import Instant
from protocol.subjects import Subjects
from protocol.wire.gossip import Alive, Capabilities, Carried, Dead, Delta, Digest, Left, Repair, Suspect
from simulations.checks_frames import state_of
from simulations.host import Host
from simulations.scenario import parsed
from simulations.signing import Keys
from simulations.timeline import ns
from simulations.world import World

KEYS = Keys("mac")
TWO = 'about = "two regions"\nnodes = 8\nrun_s = 60\n[regions]\neu = ["n1-n5"]\nus = ["n6-n8"]\n'


@cache
def _world() -> World:
    world = World(parsed(TWO, origin="here"), seed=1)
    for host in world.hosts.values():
        host.start()
    world.timeline.run(ns(15))
    return world


class Ear:
    """One node on a copy, with its own clocks."""

    def __init__(self, node: Node, now: Instant) -> None:
        self.node, self.now = node, now
        self.effects: list[Effect] = []

    def hears(self, *frames: Received) -> list[str]:
        """The codes of what is refused."""
        effects = [effect for frame in frames for effect in self.node.handle(frame, self.now)]
        self.effects += effects
        return codes(effects)

    def carries(self) -> list[bytes]:
        """What it carries by now."""
        later = Instant(self.now.after(1.2), self.now.wall_ms + 1_200)
        effects = self.effects + self.node.handle(Tick(), later)
        return [frame for each in effects if isinstance(each, Carry) for frame in each.body.facts]

    def is_alive(self, host: Host) -> bool:
        return self.node.membership.is_alive(host.id)


class Europe:
    """The nodes of one region, each on a copy, and what those of both say."""

    def __init__(self) -> None:
        self.hosts = _world().hosts
        self.now = self.hosts["n1"].now()
        self.subjects = Subjects(self.hosts["n1"]._around.mesh)
        self._seq = 90_000
        bridges = self.hosts["n1"].node.regions.bridges("eu")
        self.bridges = [host.name for id in bridges for host in self.hosts.values() if host.id == id]
        self.others = [name for name in ("n1", "n2", "n3", "n4", "n5") if name not in self.bridges]

    def node(self, name: str) -> "Ear":
        return Ear(copy.deepcopy(self.hosts[name].node), self.hosts[name].now())

    def frame(self, by: str, body: Any, subject: str) -> Received:
        self._seq += 1
        host = self.hosts[by]
        sealer = Sealer(signer=KEYS.signer(by), life=host.life)
        sealer._seq = self._seq
        return Received(subject, sealer.seal(body, subject=subject, now=self.now))

    def fact(self, by: str, body: Any, *, region: str = "") -> Received:
        host = self.hosts[by]
        return self.frame(by, body, self.subjects.fact(region=region or host.region, src=host.id))

    def carried(self, by: str, *facts: Received, region: str = "eu") -> Received:
        subject = self.subjects.carry(region=region, src=self.hosts[by].id)
        return self.frame(by, Carried(tuple(each.frame for each in facts)), subject)


def codes(effects: list[Effect]) -> list[str]:
    events = [each.event for each in effects if isinstance(each, Emit)]
    return [event.code for event in events if isinstance(event, FrameRefused | PeerMisbehaved)]


def test_only_the_bridges_hear_the_other_region() -> None:
    europe = Europe()
    assert isinstance(europe.node("n1").node._hearing, Hearing)
    wide = {
        name for name in ("n1", "n2", "n3", "n4", "n5") if europe.node(name).node._bridging.hears.endswith("fact.*.*")
    }
    assert wide == {*europe.bridges}
    assert len(europe.others) == 2


def test_a_goodbye_from_another_region_is_carried_by_each_bridge_that_did_not_hear_it_carried() -> None:
    europe = Europe()
    goodbye = europe.fact("n6", Left(0))
    for name in europe.bridges:
        node = europe.node(name)
        node.hears(goodbye)
        assert node.carries() == [goodbye.frame]
    second = europe.node(europe.bridges[1])
    second.hears(goodbye, europe.carried(europe.bridges[0], goodbye))
    assert second.carries() == []


def test_what_is_carried_takes_effect_as_if_its_source_had_said_it() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    node.hears(europe.carried(europe.bridges[0], europe.fact("n6", Left(0))))
    assert not node.is_alive(europe.hosts["n6"])


def test_what_came_carried_goes_no_further() -> None:
    europe = Europe()
    node = europe.node(europe.bridges[0])
    node.hears(europe.carried(europe.bridges[1], europe.fact("n6", Left(0))))
    assert not node.is_alive(europe.hosts["n6"])
    assert node.carries() == []


def test_a_bridge_carries_neither_beacons_nor_the_facts_of_its_own_region() -> None:
    europe = Europe()
    node = europe.node(europe.bridges[0])
    beacon = europe.fact("n6", Alive(0, "n6", "us", "", KEYS.admission("n6"), False, "sim"))
    near = europe.fact(europe.others[0], Left(0))
    node.hears(beacon, near)
    assert node.carries() == []


def test_what_somebody_of_another_region_knew_better_is_carried_and_what_a_neighbour_knew_is_not() -> None:
    europe = Europe()
    news = europe.fact("n7", Capabilities(9, ()))
    for teller, expected in (("n6", [news.frame]), (europe.others[0], [])):
        node = europe.node(europe.bridges[0])
        subject = europe.subjects.node(dst=node.node.me.id, life=node.node.me.life, src=europe.hosts[teller].id)
        node.hears(europe.frame(teller, Delta(1, (news.frame,)), subject))
        assert node.carries() == expected


def test_an_accusation_of_one_of_ours_is_carried_to_it() -> None:
    europe = Europe()
    accused = europe.hosts[europe.others[0]]
    said = europe.fact("n6", Suspect(accused.id, accused.life, 0, "timeout"))
    node = europe.node(europe.bridges[0])
    node.hears(said)
    assert node.carries() == [said.frame]
    theirs = europe.hosts["n7"]
    other = europe.fact("n6", Suspect(theirs.id, theirs.life, 0, "timeout"))
    node = europe.node(europe.bridges[0])
    node.hears(other)
    assert node.carries() == []


def test_a_bridge_that_lies_can_invent_nothing() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    stolen = europe.fact(europe.bridges[0], Left(0))
    named = europe.frame(europe.bridges[0], Left(0), europe.subjects.fact(region="us", src=europe.hosts["n6"].id))
    assert node.hears(europe.carried(europe.bridges[0], named)) == ["wrong_signer"]
    broken = Received(stolen.subject, stolen.frame[:-1] + bytes((stolen.frame[-1] ^ 1,)))
    assert node.hears(europe.carried(europe.bridges[0], broken)) == ["bad_signature"]
    assert node.is_alive(europe.hosts["n6"])
    lone = europe.hosts["n6"]
    death = europe.fact(europe.bridges[0], Dead(lone.id, lone.life, 0, "timeout", ()))
    for name in europe.others + europe.bridges[1:]:
        node = europe.node(name)
        node.hears(europe.carried(europe.bridges[0], death))
        assert node.node.membership.life_of(lone.id) == lone.life, "one accuser, carried or not, kills nobody"
        node.hears(europe.fact("n6", refuted("n6")))
        assert node.is_alive(lone)
        assert death.frame not in node.carries()
        assert death.frame not in node.node.gossip.facts.frames()


def refuted(name: str) -> Alive:
    return Alive(1, name, "us", "", KEYS.admission(name), False, "sim")


def unproven(europe: "Europe", by: str) -> Received:
    """A death of n6 far ahead of it, on the word of one."""
    peer = europe.hosts["n6"]
    return europe.fact(by, Dead(peer.id, peer.life, 50, "timeout", ()))


def test_a_death_that_nobody_believes_is_not_carried_in_place_of_the_truth() -> None:
    europe = Europe()
    truth = europe.fact("n6", refuted("n6"))
    for name in europe.bridges:
        node = europe.node(name)
        node.hears(truth, unproven(europe, "n8"))
        assert node.carries() == [truth.frame]


def test_a_carried_death_that_nobody_believes_does_not_keep_the_truth_from_being_carried() -> None:
    europe = Europe()
    truth = europe.fact("n6", refuted("n6"))
    for name in europe.bridges:
        node = europe.node(name)
        liar = next(each for each in europe.bridges if each != name)
        node.hears(truth, europe.carried(liar, unproven(europe, liar)))
        assert node.carries() == [truth.frame]


def test_a_death_that_enough_accuse_is_carried_once_however_often_it_is_said() -> None:
    europe = Europe()
    peer = europe.hosts["n6"]
    proof = europe.fact("n7", Suspect(peer.id, peer.life, 0, "timeout"))
    death = europe.fact("n8", Dead(peer.id, peer.life, 0, "timeout", (proof.frame,)))
    other = europe.fact("n7", Dead(peer.id, peer.life, 0, "timeout", ()))
    node = europe.node(europe.bridges[0])
    node.hears(death, other)
    assert node.node.membership.life_of(peer.id) == peer.life, "judged, and it has its time to outbid that"
    assert node.carries() == [death.frame]
    node.effects = []
    node.hears(death, other)
    node.now = Instant(node.now.after(1.2), node.now.wall_ms + 1_200)
    assert node.carries() == [death.frame]  # once more, for who lost it
    node.effects = []
    node.hears(death, other)
    node.now = Instant(node.now.after(1.2), node.now.wall_ms + 1_200)
    assert node.carries() == []


def test_deaths_of_nodes_that_nobody_knows_are_not_carried_and_displace_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CARRIED_MAX", 5)
    europe = Europe()
    node = europe.node(europe.bridges[0])
    goodbye = europe.fact("n6", Left(0))
    lies = [europe.fact("n8", Dead(f"{number:032x}", 5, 0, "timeout", (bytes(40_000),))) for number in range(20)]
    assert set(node.hears(goodbye, *lies)) == {"not_known"}
    assert node.carries() == [goodbye.frame]


def test_only_what_a_bridge_carried_need_not_be_carried_again() -> None:
    europe = Europe()
    goodbye = europe.fact("n6", Left(0))
    node = europe.node(europe.bridges[0])
    node.hears(goodbye, europe.carried(europe.others[0], goodbye))
    assert node.carries() == [goodbye.frame]


def test_who_left_another_region_carries_into_this_one_no_more_than_before() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    node.hears(europe.carried(europe.bridges[0], europe.fact("n6", Left(0))))
    assert node.hears(europe.carried("n6", europe.fact("n7", Left(0)))) == ["carried_from_afar"]
    assert node.is_alive(europe.hosts["n7"])


def test_what_a_page_brought_that_was_news_is_counted_as_repaired_and_what_is_carried_is_not() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    before = node.node.gossip.repaired
    node.hears(europe.carried(europe.bridges[0], europe.fact("n6", Left(0))))
    assert node.node.gossip.repaired == before
    page = Delta(1, (europe.fact("n7", Left(0)).frame,))
    subject = europe.subjects.node(dst=node.node.me.id, life=node.node.me.life, src=europe.hosts["n1"].id)
    for _ in range(2):
        node.hears(europe.frame("n1", page, subject))
    assert node.node.gossip.repaired == before + 1


def test_an_old_fact_that_a_bridge_repeats_has_no_effect() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    new, old = europe.fact("n6", Capabilities(9, ())), europe.fact("n6", Capabilities(8, ()))
    node.hears(europe.carried(europe.bridges[0], new))
    before = state_of(node.node)
    assert node.hears(europe.carried(europe.bridges[0], old)) == []
    assert state_of(node.node) == before


def test_what_is_carried_into_another_region_is_not_for_this_node() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    before = state_of(node.node)
    wrong = europe.carried("n6", europe.fact("n6", Left(0)), region="us")
    assert node.hears(wrong) == ["wrong_subject"]
    assert state_of(node.node) == before


def test_nobody_of_another_region_carries_into_this_one() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    before = state_of(node.node)
    assert node.hears(europe.carried("n7", europe.fact("n6", Left(0)))) == ["carried_from_afar"]
    assert state_of(node.node) == before


def test_who_says_to_one_region_that_it_lives_in_another_is_not_believed() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    before = state_of(node.node)
    lie = europe.fact("n6", Alive(0, "n6", "us", "", KEYS.admission("n6")), region="eu")
    assert node.hears(lie) == ["wrong_region"]
    assert state_of(node.node) == before


def test_a_neighbour_that_is_no_bridge_may_carry_for_views_differ() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    node.hears(europe.carried(europe.others[1], europe.fact("n6", Left(0))))
    assert not node.is_alive(europe.hosts["n6"])


def test_a_page_of_noise_is_counted_frame_by_frame() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    before = state_of(node.node)
    noise = [Received("", bytes(size)) for size in (0, 5, 500)]
    assert node.hears(europe.carried(europe.bridges[0], *noise)) == [
        "too_short",
        "too_short",
        "bad_magic",
    ]
    assert state_of(node.node) == before


def test_a_new_bridge_hears_all_and_asks_another_region_for_what_it_missed() -> None:
    europe = Europe()
    name = europe.others[0]
    node = europe.node(name)
    node.hears(*(europe.fact(bridge, Left(0)) for bridge in europe.bridges))
    assert [each for each in node.effects if isinstance(each, Tune)] == [
        Tune(on=europe.subjects.facts(), off=europe.subjects.facts_of("eu"))
    ]
    asked = node.node.gossip._timers.deadline("digest")
    assert asked is not None
    assert asked <= node.now.after(1.0)


def test_a_flood_of_accusations_by_one_key_is_cut_short_and_counted_and_another_is_heard() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    accused = europe.hosts["n7"]
    word = Suspect(accused.id, accused.life, accused.node.membership.incarnation, "timeout")
    most = limits.ACCUSATIONS_AT_ONCE_MAX
    liar, other = europe.bridges[:2]
    flood = [europe.fact(liar, word) for _ in range(most + 40)]
    dead = Dead(accused.id, accused.life, word.incarnation, "timeout", ())
    assert node.hears(*flood[:most]) == []
    told = node.hears(*flood[most:], europe.fact(liar, dead))
    assert set(told) == {"too_often"}
    later = Instant(node.now.after(1.0), node.now.wall_ms + 1_000)
    counted = [*node.effects, *node.node.handle(Tick(), later)]
    events = [each.event for each in counted if isinstance(each, Emit) and isinstance(each.event, FrameRefused)]
    assert sum(event.count for event in events) == 41
    assert node.hears(europe.fact(other, word)) == []
    standing = node.node.membership.peer(accused.id)
    assert standing is not None
    assert set(standing.accusers) == {europe.hosts[name].id for name in (liar, other)}
    assert node.hears(europe.fact(liar, Alive(1, liar, "eu", "", KEYS.admission(liar), False, "sim"))) == []


def _counted(node: Ear, code: str) -> int:
    """How many frames were refused with a code, those included that a flood left to be told a second later."""
    later = Instant(node.now.after(1.0), node.now.wall_ms + 1_000)
    told = [each.event for each in [*node.effects, *node.node.handle(Tick(), later)] if isinstance(each, Emit)]
    return sum(each.count for each in told if isinstance(each, FrameRefused) and each.code == code)


def test_a_death_with_forged_proof_is_one_word_and_is_counted() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    liar, accused = europe.bridges[0], europe.hosts["n7"]
    word = Suspect(accused.id, accused.life, 0, "timeout")
    subject = europe.subjects.fact(region="eu", src=europe.hosts[europe.others[1]].id)
    forged = europe.frame(liar, word, subject).frame
    sealed = europe.fact(europe.others[1], word).frame
    broken = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    node.hears(europe.fact(liar, Dead(accused.id, accused.life, 0, "timeout", (forged, broken))))
    assert codes(node.effects) == ["wrong_signer"]
    standing = node.node.membership.peer(accused.id)
    assert standing is not None
    assert (standing.state, standing.accusers) == ("suspect", (europe.hosts[liar].id,))


@pytest.mark.parametrize(
    ("body", "most"),
    [
        (Digest(1, scope=tuple(range(64))), limits.DIGESTS_AT_ONCE_MAX),
        (Delta(1, ()), limits.PAGES_AT_ONCE_MAX),
        (Carried(()), limits.PAGES_AT_ONCE_MAX),
    ],
    ids=["digests", "deltas", "carried"],
)
def test_a_flood_of_repairs_by_one_key_is_cut_short_and_another_is_answered(body: Repair, most: int) -> None:
    europe = Europe()
    name = europe.others[0]
    node, host = europe.node(name), europe.hosts[name]
    liar, other = europe.bridges[:2]

    def said(by: str) -> Received:
        if isinstance(body, Carried):
            return europe.carried(by)
        src = europe.hosts[by].id
        return europe.frame(by, body, europe.subjects.node(dst=host.id, life=host.life, src=src))

    assert node.hears(*(said(liar) for _ in range(most))) == []
    answers = [each for each in node.effects if isinstance(each, Send)]
    node.hears(*(said(liar) for _ in range(100)))
    assert [each for each in node.effects if isinstance(each, Send)] == answers
    assert _counted(node, "too_often") == 100
    assert node.hears(said(other)) == []


def _lives(host: Host, number: int) -> Alive:
    return Alive(number, host.name, "eu", "", KEYS.admission(host.name))


def _able(host: Host, number: int) -> Capabilities:
    return Capabilities(1_000 + number, ())


@pytest.mark.parametrize("news", [_lives, _able], ids=["incarnations", "capabilities"])
def test_a_flood_of_news_of_itself_by_one_key_is_cut_short_and_counted(news: Callable[[Host, int], Any]) -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    host = europe.hosts[europe.bridges[0]]
    most = limits.NEWS_AT_ONCE_MAX
    first = host.node.membership.incarnation + 1
    flood = [europe.fact(host.name, news(host, first + number)) for number in range(most + 100)]
    assert node.hears(*flood[:most], *flood[:most]) == [], "what is said again is no news"
    stood = node.node.gossip.facts.frames()
    node.hears(*flood[most:])
    assert node.node.gossip.facts.frames() == stood
    assert _counted(node, "too_often") == 100
    assert node.hears(europe.fact(europe.bridges[1], news(europe.hosts[europe.bridges[1]], first))) == []


def test_what_others_pass_on_of_a_node_counts_not_against_what_it_may_say() -> None:
    europe = Europe()
    node = europe.node(europe.others[0])
    accused = europe.hosts["n7"]
    word = Suspect(accused.id, accused.life, accused.node.membership.incarnation, "timeout")
    bridge, by = europe.bridges[:2]
    for _ in range(limits.ACCUSATIONS_AT_ONCE_MAX // 8 + 1):
        node.hears(europe.carried(bridge, *[europe.fact(by, word) for _ in range(8)]))
    assert node.hears(europe.fact(by, word)) == []
