"""Awards on their way: which of them found nobody."""

from protocol.offers import OFFERS_KEPT, Offers
from protocol.watched import Watched
from protocol.wire.task import Award
from tests.protocol.work import LIFE, B, awarded


def test_an_award_is_sent_as_its_record_stands_and_its_absence_names_it_once() -> None:
    offers, record = Offers(), awarded()
    sent = offers.send(Watched(record, revision=3, frame=b"sealed"))
    assert (sent.to, sent.life, sent.body) == (B, LIFE, Award(record.id, 1, 3, b"sealed"))
    assert sent.probe is not None
    assert offers.absent(sent.probe) == (record.id, 1)
    assert offers.absent(sent.probe) == ("", 0)


def test_offers_that_are_remembered_are_bounded() -> None:
    offers = Offers()
    probes = [offers.send(Watched(awarded(), revision=3, frame=b"")).probe or 0 for _ in range(OFFERS_KEPT + 1)]
    assert len(set(probes)) == len(probes)
    assert offers.absent(probes[0]) == ("", 0)
    assert offers.absent(probes[1]) == (awarded().id, 1)
