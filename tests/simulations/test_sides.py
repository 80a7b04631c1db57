"""Who stands on which side of a fault: all are named, as the fault has them, and much is told shortly."""

import pytest

from simulations.scenario import parsed
from simulations.sides import SIDES_SHOWN, SPANS_SHOWN, sides_of, told

HEAD = 'about = "x"\nnodes = 6\nrun_s = 9\n[[fault]]\nat_s = 1\nkind = '
NAMES = tuple(f"n{number}" for number in range(1, 7))


@pytest.mark.parametrize(
    ("fault", "sides"),
    [
        ("'partition'", [["n1-n3", "record"], ["n4-n6"]]),
        ("'partition'\ngroups = [['n2'], ['n3-n5']]", [["n1-n2", "n6", "record"], ["n3-n5"]]),
        ("'partition'\ngroups = [['n1'], ['n2-n6']]\nrecord = 'n4'", [["n1"], ["n2-n6", "record"]]),
        ("'partition'\nshape = 'isolate'\nnodes = ['n5', 'n2']", [["n1", "n3-n4", "n6", "record"], ["n5"], ["n2"]]),
        ("'partition'\nshape = 'isolate'", [["record"], *([name] for name in NAMES)]),
        ("'partition'\nshape = 'bridge'\nnodes = ['n2']", [["n1", "n3"], ["n4-n6"]]),
        ("'partition'\nshape = 'bridge'\nnodes = ['n2']\nrecord = 'n4'", [["n1", "n3"], ["n4-n6", "record"]]),
        ("'partition'\nshape = 'ring'", []),
        ("'one-way'\nsrc = ['n1']\ndst = ['n4-n5']", [["n1"], ["n4-n5"]]),
        ("'links'\none = ['n6']\nlink = { loss = 0.5 }", [["n6"], ["n1-n6"]]),
        ("'stall'\nfor_s = 1", []),
    ],
)
def test_everybody_stands_on_the_side_where_the_fault_leaves_him(fault: str, sides: list[list[str]]) -> None:
    (given,) = parsed(HEAD + fault, origin="here").fault
    assert [list(side) for side in sides_of(given, NAMES)] == sides


def test_it_is_told_who_was_cut_off_from_whom() -> None:
    assert told("partition", (("n1-n3", "record"), ("n4",))) == "n1-n3 record / n4"
    assert told("one-way", (("n1",), ("n4-n5",))) == "n1 → n4-n5"


def test_of_many_names_and_sides_the_first_are_told_and_how_many_more() -> None:
    names = tuple(f"n{number}" for number in range(1, 400, 2))
    assert told("partition", (names, ("n2",))) == f"n1 n3 n5 n7 and {len(names) - SPANS_SHOWN} more / n2"
    assert told("partition", tuple((name,) for name in names)).endswith(f" / {len(names) - SIDES_SHOWN} more sides")
