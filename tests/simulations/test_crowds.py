"""Nodes by name, span, or all."""

import pytest

from simulations.crowds import members

NAMES = ("n1", "n2", "n3", "n4")


@pytest.mark.parametrize(
    ("texts", "meant"),
    [
        (("n2",), ("n2",)),
        (("n2-n4", "n1"), ("n2", "n3", "n4", "n1")),
        (("all",), NAMES),
        (("n4-n2",), ()),
        (("n0", "n", "m2", "n2-", "n01"), ()),
    ],
)
def test_a_name_a_span_and_all_stand_for_nodes(texts: tuple[str, ...], meant: tuple[str, ...]) -> None:
    assert members(texts, NAMES) == meant
