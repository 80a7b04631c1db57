"""What is wrong with a scenario is said with what could have stood there."""

import pytest

from simulations.scenario import ScenarioError, parsed

START = 'about = "x"\nnodes = 3\nrun_s = 5\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[fault]]\nkind = "explode"\nat_s = 1', "$.fault[0].kind; there are attack, block, "),
        ('[[fault]]\nkind = "crash"\nat = 1', "unknown field at - at $.fault[0]; did you mean at_s?"),
        ('[[fault]]\nkind = "partition"\nshape = "sphere"', "shape; there are bridge, halves, isolate, ring, swizzle"),
        ("run = 12", "unknown field run; did you mean run_s?"),
        ('wire = "post"', "$.wire; there are ed25519, "),
        ("[link]\nxyzzy = 1", "$.link; there are between, burst,"),
        ("[[link.between]]\nxyzzy = 1", "$.link.between[0]; there are link, one, other, way"),
        ('[[fault]]\nkind = "one-way"\ngroups = []', "$.fault[0]; there are at_s, dst, every_s, for_s, src, times"),
        ("[expect]\neventually = { one-view = -3, all-done = -1 }", ">= 0.0 - at $.expect.eventually.one-view"),
        ("[agents.odd]\nn1 = { }\nn2 = { slower = [] }", "at $.agents.odd.n2.slower"),
        ("[agents.odd.n1]\nxyzzy = 1", "; there are claims_ms, cost,"),
        ("[membership]\nprobe_interval = 1", "membership: "),
        ("[membership]\nprobe_interval = 1", "did you mean probe_interval_s?"),
    ],
)
def test_a_word_that_is_not_known_is_answered_with_those_that_are(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parsed(START + text + "\n", origin="mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert said in str(caught.value)


def test_a_number_out_of_bounds_is_told_by_its_bounds_alone() -> None:
    with pytest.raises(ScenarioError) as caught:
        parsed(START + '[[fault]]\nkind = "crash"\nat_s = -1\n', origin="mine.toml")
    assert str(caught.value) == "mine.toml: Expected float >= 0.0 - at $.fault[0].at_s"
