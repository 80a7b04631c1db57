"""Nodes by name, span, or all."""

import pytest

from simulations.crowds import members, span, spans

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


@pytest.mark.parametrize(
    ("numbers", "meant"),
    [((), ()), ((3,), ("n3",)), ((1, 2, 3, 5), ("n1-n3", "n5")), ((2, 4, 5, 6, 9, 10), ("n2", "n4-n6", "n9-n10"))],
)
def test_numbers_become_as_few_texts_as_can_be_and_the_same_nodes_again(
    numbers: tuple[int, ...], meant: tuple[str, ...]
) -> None:
    assert spans(numbers) == meant
    assert [name for text in meant for name in span(text)] == [f"n{number}" for number in numbers]
