"""Faults that cannot be: each is refused with its key, and what does something is not."""

import msgspec
import pytest

from simulations.faults import Fault
from simulations.flaws import flaw_of, nobody_between
from simulations.scenario import ScenarioError, parsed

NAMES = ("n1", "n2", "n3")


def _faults(*several: dict[str, object]) -> list[Fault]:
    return msgspec.convert([{"at_s": 1, **each} for each in several], list[Fault])


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "one-way", "src": ["n1"], "dst": ["all"]},
        {"kind": "links", "one": ["n1"], "other": ["n1-n2"], "link": {"loss": 0.5}},
        {"kind": "clock", "node": "n1", "drift": 0.1},
        {"kind": "purge", "shape": "bucket", "share": 0},
        {"kind": "attack", "node": "n1", "of": "n1", "shape": "idle", "for_s": 1},
        {"kind": "partition", "shape": "bridge", "nodes": ["n2"]},
    ],
)
def test_what_does_something_is_no_flaw(fault: dict[str, object]) -> None:
    assert not flaw_of(_faults(fault), NAMES)


def test_a_bridge_needs_two_sides() -> None:
    bridge = _faults({"kind": "partition", "shape": "bridge"})
    assert flaw_of(bridge, NAMES[:2]).startswith("fault[0].shape: a bridge has two sides")


@pytest.mark.parametrize("shape", [{}, {"shape": "ring"}])
def test_one_node_is_parted_from_nobody_and_isolated_from_the_record(shape: dict[str, object]) -> None:
    assert flaw_of(_faults({"kind": "partition", **shape}), NAMES[:1]).startswith("fault[0].shape: there is one node")
    assert not flaw_of(_faults({"kind": "partition", "shape": "isolate"}), NAMES[:1])


@pytest.mark.parametrize(
    ("key", "cure"),
    [
        ("kind = 'partition'\ngroups", "name two, or leave it out for halves"),
        ("kind = 'partition'\nshape = 'ring'\ngroups", "name two, or leave it out for ring"),
        ("kind = 'partition'\nshape = 'isolate'\nnodes", "name a node, a span (n3-n9) or all"),
        ("kind = 'partition'\nnodes", "name a node, a span (n3-n9) or all"),
        ("kind = 'one-way'\ndst = ['n1']\nsrc", "name a node, a span (n3-n9) or all"),
        ("kind = 'one-way'\nsrc = ['n1']\ndst", "name a node, a span (n3-n9) or all"),
        ("kind = 'links'\nlink = { loss = 0.5 }\none", "name a node, a span (n3-n9) or all"),
        ("kind = 'links'\nlink = { loss = 0.5 }\none = ['n1']\nother", "name a node, a span (n3-n9) or all"),
    ],
)
def test_an_empty_list_is_refused_with_its_key_and_never_means_what_leaving_it_out_does(key: str, cure: str) -> None:
    with pytest.raises(ScenarioError) as error:
        parsed(f'about = "x"\nnodes = 3\nrun_s = 9\n[[fault]]\nat_s = 1\n{key} = []\n', origin="here")
    said, _, told = str(error.value).partition("; ")
    assert said.startswith(f"here: fault[0].{key.rpartition(chr(10))[2]}: there is no")
    assert told == cure


def test_shares_of_no_kind_of_message_are_refused_and_do_not_mean_all() -> None:
    for key in ("[link]\nkinds", "[[fault]]\nat_s = 1\nkind = 'links'\none = ['n1']\nlink.loss = 0.5\nlink.kinds"):
        with pytest.raises(ScenarioError, match=r"kinds: there is none in it; name some, or leave it out for all"):
            parsed(f'about = "x"\nnodes = 3\nrun_s = 9\n{key} = []\n', origin="here")


def test_no_acknowledgement_is_lost_for_a_while_where_some_are_otherwise() -> None:
    clean = 'about = "x"\nnodes = 3\nrun_s = 9\n[[fault]]\nkind = "lose-acks"\nshare = 0\nat_s = 1\nfor_s = 1\n'
    assert parsed(clean + "[store]\nacks_lost = 0.3\n", origin="here").fault
    with pytest.raises(ScenarioError, match=r"fault\[0\]\.share"):
        parsed(clean, origin="here")


def test_two_of_one_kind_may_follow_each_other_and_others_may_meet() -> None:
    posing = {"kind": "impostor", "node": "n3", "shape": "name", "for_s": 2}
    assert not flaw_of(_faults({**posing, "of": "n1"}, {**posing, "of": "n2", "at_s": 4}), NAMES)
    assert flaw_of(_faults({**posing, "of": "n1", "at_s": 3}, {**posing, "of": "n2"}), NAMES).startswith(
        "fault[0].at_s: n3"
    )
    pause = {"kind": "pause", "node": "all", "for_s": 2}
    assert not flaw_of(_faults(pause, pause), NAMES), "it lasts as long as either"


def test_a_role_may_be_hit_again_and_again() -> None:
    skew = {"kind": "skew", "node": "owner", "shape": "older", "for_s": 2}
    assert not flaw_of(_faults(skew, skew), NAMES)


def test_between_a_node_and_itself_there_is_nobody() -> None:
    assert nobody_between(["n1"], ["n1"], NAMES)
    assert nobody_between([], ["all"], NAMES)
    assert not nobody_between(["all"], ["n1"], NAMES)
