"""Events of agents: to whoever listens, in order, one at a time, never more than fit, and never in circles for ever."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from protocol import limits
from protocol.effects import Announce, Effect, Listen, Reply, RunAgent, Uttered
from protocol.envelope import FRESH_MS, Envelope, Refusal
from protocol.events import EventsLost
from protocol.inputs import AgentFailed, AgentFinished, Publish
from protocol.replica import Me, fault
from protocol.topics import Hearing, Topics
from protocol.wire.agents import Card
from protocol.wire.gossip import Capabilities
from protocol.wire.swim import Ping
from protocol.wire.topic import Published
from tests.protocol.conversation import instant
from tests.protocol.sealing import ALICE, LIFE, MALLORY, NOW, SUBJECTS, TO_BOB, later, opener, sealer
from tests.protocol.work import B, said

PRICES = "sales.price_changed"
EAR = Card("ear", (), 1, domain="sales", topics=(PRICES,))
SAID = Published("shop", b"\x01")
ORDER = Publish(7, "shop", PRICES, b"\x01", iid="an iid", gid="a gid")


def _topics(*cards: Card) -> Topics:
    topics = Topics(me=Me(id="a" * 32, life=LIFE, name="a", region="eu", domain="default"), subjects=SUBJECTS)
    topics.advertise(cards or (EAR,))
    return topics


def _runs(effects: list[Effect]) -> list[RunAgent]:
    return [each for each in effects if isinstance(each, RunAgent)]


def _heard(topics: Topics, event: Published = SAID, topic: str = PRICES) -> list[Effect]:
    return topics.on_published(B, SUBJECTS.topic(topic), event, iid="an iid", gid="a gid")


def _done(topics: Topics, run: RunAgent) -> list[Effect]:
    return topics.on_end(AgentFinished(run.task, 0, b"\xc0"))


def _failed(topics: Topics, run: RunAgent) -> list[Effect]:
    return topics.on_end(AgentFailed(run.task, 0, "agent_failed", "no", False))


def _code(effects: list[Effect]) -> str:
    (reply,) = (each for each in effects if isinstance(each, Reply))
    return reply.code


# --- who hears what


def test_an_event_goes_to_who_listens_here_and_once_to_all_others() -> None:
    topics = _topics(EAR, Card("deaf", ("echo@1",), 1, topics=("sales.other",)))
    effects = topics.publish(ORDER, instant(0))
    (run,) = _runs(effects)
    assert (run.agent, run.topic, run.input, run.hops, run.iid, run.gid) == (
        "ear",
        PRICES,
        b"\x01",
        1,
        "an iid",
        "a gid",
    )
    assert run.publisher == "shop@aaaaaaaa"
    assert Announce(SAID, SUBJECTS.topic(PRICES), "an iid", "a gid") in effects
    assert Reply(7, value=Uttered("shop", PRICES, "an iid", "a gid")) in effects


def test_an_event_of_another_node_names_the_node_that_signed_it() -> None:
    (run,) = _runs(_heard(_topics()))
    assert (run.agent, run.publisher) == ("ear", "shop@bbbbbbbb")


def test_this_node_hears_what_its_agents_listen_to_and_nothing_else() -> None:
    topics = _topics()
    assert topics.advertise((EAR,)) == [], "nothing has changed"
    other = Card("other", (), 1, topics=(PRICES, "sales.all"))
    assert topics.advertise((EAR, other)) == [Listen((SUBJECTS.topic("sales.all"), SUBJECTS.topic(PRICES)))]
    assert topics.advertise(()) == [Listen(())]


def test_an_event_for_a_domain_is_heard_by_agents_of_the_topics_domain_alone() -> None:
    topics = _topics(
        EAR, structs.replace(EAR, name="guest", domain="support"), structs.replace(EAR, name="plain", domain="")
    )
    narrow = structs.replace(SAID, visibility="domain")
    assert [run.agent for run in _runs(_heard(topics, narrow))] == ["ear"]


def test_an_agent_without_a_domain_is_of_its_nodes() -> None:
    topics = _topics(Card("plain", (), 1, topics=("default.all",)))
    assert _runs(_heard(topics, structs.replace(SAID, visibility="domain"), "default.all"))


def test_what_a_private_agent_says_stays_on_its_node() -> None:
    effects = _topics().publish(structs.replace(ORDER, visibility="private"), instant(0))
    assert Reply(7, value=Uttered("shop", PRICES, "an iid", "a gid")) in effects, "what the audit counts"
    assert not [each for each in effects if isinstance(each, Announce)]
    assert _runs(effects)


# --- one at a time, in order, bounded


def test_an_agent_gets_its_events_one_at_a_time_and_in_order() -> None:
    topics = _topics()
    (first,) = _runs(_heard(topics, structs.replace(SAID, value=b"\x01")))
    assert not _runs(
        _heard(topics, structs.replace(SAID, value=b"\x02")) + _heard(topics, structs.replace(SAID, value=b"\x03"))
    )
    (second,) = _runs(_done(topics, first))
    (third,) = _runs(_failed(topics, second))
    assert [first.input, second.input, third.input] == [b"\x01", b"\x02", b"\x03"]
    assert _runs(_done(topics, third)) == []
    assert _runs(_done(topics, first)) == [], "that was over long ago"


def test_what_an_agent_does_not_keep_up_with_is_dropped_the_oldest_first_and_counted() -> None:
    topics = _topics()
    (first,) = _runs(_heard(topics))
    told: list[EventsLost] = []
    for number in range(limits.EVENTS_WAITING_MAX + 5):
        told += said(_heard(topics, structs.replace(SAID, value=msgspec.msgpack.encode(number))), EventsLost)
    assert topics.hearing()["ear"] == Hearing(limits.EVENTS_WAITING_MAX + 1, 0, 0, 5)
    assert [(event.why, event.count) for event in told] == [("overrun", 1), ("overrun", 2), ("overrun", 4)]
    (second,) = _runs(_done(topics, first))
    assert msgspec.msgpack.decode(second.input) == 5


def test_a_handler_that_fails_is_told_at_powers_of_two() -> None:
    topics = _topics()
    told: list[EventsLost] = []
    for _ in range(9):
        (run,) = _runs(_heard(topics))
        told += said(_failed(topics, run), EventsLost)
    assert [event.count for event in told] == [1, 2, 4, 8]
    assert told[0] == EventsLost("ear", PRICES, "agent_failed", "no", 1)
    assert topics.hearing()["ear"] == Hearing(0, 9, 9, 0)


def test_what_comes_while_an_agent_restarts_waits_for_it() -> None:
    topics = _topics(structs.replace(EAR, slots=0))
    assert _runs(_heard(topics)) == []
    assert len(_runs(topics.advertise((EAR,)))) == 1


def test_what_waits_for_an_agent_goes_with_it() -> None:
    topics = _topics()
    (run,) = _runs(_heard(topics))
    _heard(topics)
    topics.advertise(())
    assert _done(topics, run) == []
    assert topics.advertise((EAR,)) == [Listen((SUBJECTS.topic(PRICES),))]
    assert topics.hearing()["ear"].waiting == 0


@given(st.lists(st.sampled_from(["hear", "end", "fail", "go", "come", "restart"]), max_size=80))
def test_whatever_happens_an_agent_never_has_two_in_hand_and_what_is_ready_never_waits_for_nothing(
    acts: list[str],
) -> None:
    topics, hand, slots = _topics(), list[RunAgent](), 1
    for act in acts:
        match act:
            case "hear":
                begun = _runs(_heard(topics))
            case "end" | "fail" if hand:
                run = hand.pop()
                begun = _runs(_done(topics, run) if act == "end" else _failed(topics, run))
            case "go":
                hand, slots, begun = [], 0, _runs(topics.advertise(()))
            case "come":
                slots, begun = 1, _runs(topics.advertise((EAR,)))
            case "restart":
                slots, begun = 0, _runs(topics.advertise((structs.replace(EAR, slots=0),)))
            case _:
                begun = []
        hand += begun
        assert len(hand) <= 1
        waiting = topics.hearing()["ear"].waiting if "ear" in topics.hearing() else 0
        assert hand or not slots or not waiting


# --- what is refused


@pytest.mark.parametrize(
    "topic",
    ["", "sales", ".", "sales.", "sales.a.b", "sales.*", "sales.>", "Sales.x", "sales.x y", "é.x", "a." + "b" * 33],
)
def test_what_is_no_topic_is_refused_by_the_rule(topic: str) -> None:
    assert _code(_topics().publish(structs.replace(ORDER, topic=topic), instant(0))) == "bad_topic"
    assert fault(Capabilities(1, (structs.replace(EAR, topics=(topic,)),))) == "bad_cards"


def test_a_card_with_too_many_topics_is_refused() -> None:
    many = tuple(f"sales.t{number}" for number in range(limits.TOPICS_PER_AGENT_MAX + 1))
    assert fault(Capabilities(1, (structs.replace(EAR, topics=many),))) == "bad_cards"
    assert fault(Capabilities(1, (structs.replace(EAR, topics=many[1:]),))) == ""


def test_an_event_over_the_bound_is_refused() -> None:
    large = structs.replace(ORDER, value=bytes(limits.EVENT_BYTES_MAX + 1))
    assert _code(_topics().publish(large, instant(0))) == "too_large"
    sealed = sealer().seal(
        structs.replace(SAID, value=bytes(limits.EVENT_BYTES_MAX)),
        subject=SUBJECTS.topic(PRICES),
        now=NOW,
        iid="i" * 64,
    )
    assert isinstance(opener().open(SUBJECTS.topic(PRICES), sealed, NOW), Envelope), "the largest fits into its frame"


def test_a_circle_of_handlers_comes_to_rest() -> None:
    topics, hops = _topics(), 0
    while True:
        effects = topics.publish(structs.replace(ORDER, hops=hops), instant(hops))
        if _code(effects):
            break
        (run,) = _runs(effects)
        _done(topics, run)
        hops = run.hops
    assert (_code(effects), hops) == ("bad_input", limits.HOPS_MAX + 1)


def test_an_agent_that_floods_is_refused_and_another_is_not() -> None:
    topics = _topics()
    codes = [_code(topics.publish(ORDER, instant(0))) for _ in range(limits.EVENTS_PER_S_MAX + 3)]
    assert codes == [""] * limits.EVENTS_PER_S_MAX + ["overloaded"] * 3
    assert _code(topics.publish(structs.replace(ORDER, agent="other"), instant(0))) == ""
    assert _code(topics.publish(ORDER, instant(0.02))) == "", "some time later it may speak again"


# --- on the wire


def _opened(
    body: object = SAID, *, subject: str = SUBJECTS.topic(PRICES), on: str = "", by: object = None
) -> Envelope | Refusal:
    frame = (by or sealer()).seal(body, subject=subject, now=NOW)  # type: ignore[attr-defined]  # any sealer, any body
    return opener().open(on or subject, frame, NOW)


def test_an_event_needs_no_source_in_its_subject_but_an_admitted_signer() -> None:
    opened = _opened()
    assert isinstance(opened, Envelope)
    assert (opened.src, opened.body) == (ALICE.id, SAID)
    refused = _opened(by=sealer(MALLORY))
    assert isinstance(refused, Refusal)
    assert refused.code == "not_admitted"


@pytest.mark.parametrize(
    ("body", "subject", "on", "code"),
    [
        (SAID, SUBJECTS.topic(PRICES), SUBJECTS.topic("sales.all"), "wrong_subject"),
        (SAID, TO_BOB, "", "wrong_family"),
        (Ping(1), SUBJECTS.topic(PRICES), "", "wrong_family"),
        (structs.replace(SAID, agent="a b"), SUBJECTS.topic(PRICES), "", "bad_body"),
        (structs.replace(SAID, hops=limits.HOPS_MAX + 1), SUBJECTS.topic(PRICES), "", "bad_body"),
        (structs.replace(SAID, hops=-1), SUBJECTS.topic(PRICES), "", "bad_body"),
        (structs.replace(SAID, value=bytes(limits.EVENT_BYTES_MAX + 1)), SUBJECTS.topic(PRICES), "", "bad_body"),
        (structs.replace(SAID, visibility="private"), SUBJECTS.topic(PRICES), "", "bad_body"),
    ],
)
def test_an_event_that_none_of_us_says_has_no_effect(body: object, subject: str, on: str, code: str) -> None:
    opened = _opened(body, subject=subject, on=on)
    assert isinstance(opened, Refusal)
    assert opened.code == code


def test_an_event_is_heard_once_and_not_for_long() -> None:
    frame, subject, bob = sealer().seal(SAID, subject=SUBJECTS.topic(PRICES), now=NOW), SUBJECTS.topic(PRICES), opener()
    assert isinstance(bob.open(subject, frame, NOW), Envelope)
    again, late = bob.open(subject, frame, NOW), bob.open(subject, frame, later(FRESH_MS / 1_000 + 31))
    assert [each.code for each in (again, late) if isinstance(each, Refusal)] == ["replayed", "expired"]


def test_a_flood_of_events_makes_no_message_look_replayed() -> None:
    alice, bob, subject = sealer(), opener(), SUBJECTS.topic(PRICES)
    message = alice.seal(Ping(1), subject=TO_BOB, now=NOW)
    for _ in range(limits.REPLAY_WINDOW_BITS + 1):
        assert isinstance(bob.open(subject, alice.seal(SAID, subject=subject, now=NOW), NOW), Envelope)
    assert isinstance(bob.open(TO_BOB, message, NOW), Envelope), "it was sent first, and heard last"
