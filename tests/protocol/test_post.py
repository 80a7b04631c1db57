"""What leaves is sealed for one place, and what comes back finds who sent it."""

from random import Random

import pytest

from protocol import limits
from protocol.clocks import Clocks
from protocol.effects import Emit, Send, Spread, Write
from protocol.envelope import Envelope
from protocol.errors import LocalError
from protocol.events import FrameRefused
from protocol.post import PROBES_KEPT, Post
from protocol.wire.gossip import Load
from protocol.wire.swim import Ping
from protocol.wire.task import Answer
from tests.protocol.bodies import RECORD
from tests.protocol.sealing import ALICE, BOB, LIFE, NOW, SUBJECTS, TO_BOB, opener, sealer


def _post() -> Post[str]:
    return Post(me=ALICE.id, region="eu", subjects=SUBJECTS, sealer=sealer(), clocks=Clocks(), rng=Random(7))


def _sent(post: Post[str], message: Send, *, origin: str = "anyone") -> Send:
    sent = post.send(origin, message, NOW)
    assert isinstance(sent, Send)
    return sent


def test_a_message_is_sealed_for_one_life_of_one_node() -> None:
    sent = _sent(_post(), Send(BOB.id, LIFE, Ping(1), iid="an iid", gid="a gid"))
    assert (sent.subject, sent.reply) == (TO_BOB, "")
    opened = opener().open(sent.subject, sent.frame, NOW)
    assert isinstance(opened, Envelope)
    assert (opened.body, opened.header.iid, opened.header.gid) == (Ping(1), "an iid", "a gid")


def test_ids_that_others_made_too_long_are_cut_and_not_an_error() -> None:
    sent = _sent(_post(), Send(BOB.id, LIFE, Ping(1), iid="é" * 90_000, gid="é" * 90_000))
    assert isinstance(opener().open(sent.subject, sent.frame, NOW), Envelope)


def test_a_message_too_large_for_its_kind_is_counted_and_not_sent() -> None:
    post, answer = _post(), Answer(1, (), ("x" * limits.FRAME_BYTES_MAX,), ())
    dropped = post.send("anyone", Send(BOB.id, LIFE, answer, probe=7), NOW)
    assert isinstance(dropped, Emit)
    assert isinstance(dropped.event, FrameRefused)
    assert (dropped.event.code, dropped.event.src) == ("too_large", ALICE.id)
    assert post.absent(1) is None, "nobody hears of it"


def test_a_probe_comes_back_to_who_sent_it_once_and_under_its_own_number() -> None:
    post = _post()
    sent = [_sent(post, Send(BOB.id, LIFE, Ping(1), probe=7), origin=origin) for origin in ("one", "other")]
    numbers = [int(each.reply.rpartition(".")[2]) for each in sent]
    assert sent[0].reply == SUBJECTS.absent(src=ALICE.id, probe=numbers[0])
    assert [post.absent(number) for number in numbers] == [("one", 7), ("other", 7)]
    assert post.absent(numbers[0]) is None
    assert post.absent(4_711) is None


def test_probes_that_are_waited_for_are_bounded() -> None:
    post = _post()
    sent = [_sent(post, Send(BOB.id, LIFE, Ping(1), probe=number)) for number in range(PROBES_KEPT + 1)]
    tokens = [int(each.reply.rpartition(".")[2]) for each in sent]
    assert post.absent(tokens[0]) is None
    assert post.absent(tokens[1]) == ("anyone", 1)


def test_the_number_of_a_probe_tells_nothing_about_the_next() -> None:
    post = _post()
    sent = [_sent(post, Send(BOB.id, LIFE, Ping(1), probe=number)) for number in range(64)]
    tokens = {int(each.reply.rpartition(".")[2]) for each in sent}
    assert len(tokens) == 64
    assert max(tokens) > 1 << 56
    assert all(post.absent(number) is None for number in range(1_000))


def test_own_facts_are_sealed_for_the_region_and_those_of_others_pass_as_they_are() -> None:
    post, load = _post(), Load(1, (), 0, 0)
    own = post.spread(Spread(load), NOW)
    assert own.subject == SUBJECTS.fact(region="eu", src=ALICE.id)
    assert isinstance(opener().open(own.subject, own.frame, NOW), Envelope)
    relayed = Spread(load, "its subject", b"its frame")
    assert post.spread(relayed, NOW) is relayed


def test_outcomes_of_one_key_come_back_in_the_order_of_its_writes() -> None:
    post = _post()
    writes = [post.write(origin, Write("p07.key", RECORD, 3), NOW) for origin in ("ledger", "holder")]
    other = post.write("link", Write("p08.key", RECORD, 0), NOW)
    assert isinstance(opener().open_record("p07.key", writes[0].frame), Envelope)
    assert post.outcome("p08.key") == ("link", other)
    assert [post.outcome("p07.key") for _ in range(2)] == [("ledger", writes[0]), ("holder", writes[1])]


def test_an_outcome_that_nobody_waits_for_is_a_bug_that_stops_loudly() -> None:
    with pytest.raises(LocalError, match="was not being written"):
        _post().outcome("p07.key")
