"""So many a second, so many at once, and for so many nodes."""

from unittest.mock import patch

from protocol import limits
from protocol.allowances import Allowances
from tests.protocol.conversation import instant


def test_who_was_quiet_may_do_many_at_once_and_then_so_many_a_second() -> None:
    allowances = Allowances(per_s=10, most=20)
    assert [allowances.take("b", instant(0.0)) for _ in range(21)] == [True] * 20 + [False]
    assert [allowances.take("b", instant(0.5)) for _ in range(6)] == [True] * 5 + [False]
    assert [allowances.take("b", instant(60.0)) for _ in range(21)] == [True] * 20 + [False]


def test_one_takes_nothing_from_another_and_so_many_are_remembered() -> None:
    with patch.object(limits, "PEERS_MAX", 2):
        allowances = Allowances(per_s=1, most=1)
        assert [allowances.take(node, instant(0.0)) for node in "aabb"] == [True, False, True, False]
        assert allowances.take("c", instant(0.0))
        assert not allowances.take("b", instant(0.0))
        assert allowances.take("a", instant(0.0)), "who was not heard for longest is forgotten first"
