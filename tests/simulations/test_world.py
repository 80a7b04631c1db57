"""One world: the same seed gives the same run, the stock passes, and a broken core is found out."""

from collections.abc import Callable

import pytest
from msgspec import structs

from protocol.clocks import Clocks
from protocol.guardian import Guardian
from protocol.ledger import Ledger
from protocol.membership import Membership
from protocol.node import Node
from protocol.primitives import NS_PER_S
from simulations.report import failed, unseen
from simulations.scenario import Scenario, named, parsed, stock
from simulations.store import Store
from simulations.trace import Line
from simulations.world import Verdict, World

NODE_S_MAX = 1_000  # nodes times seconds of one scenario; the larger ones are for `make sim`

SMALL = """
about = "three nodes, a little loss, one crash"
nodes = 3
run_s = 15
link = { loss = 0.05 }
work = { tasks = 6, from_s = 2, every_s = 0.5 }
[[fault]]
kind = "crash"
node = "n2"
at_s = 4
for_s = 3
"""


def _small(extra: str = "") -> Scenario:
    return parsed(SMALL + extra, origin="small")


def test_the_same_seed_gives_the_same_digest_and_another_another() -> None:
    digests = [World(_small(), seed=seed).run().digest for seed in (7, 7, 8)]
    assert digests[0] == digests[1]
    assert digests[1] != digests[2]


def test_real_signatures_lead_through_the_same_steps_as_the_stand_in() -> None:
    real = World(structs.replace(_small(), wire="ed25519"), seed=7).run()
    cheap = World(_small(), seed=7).run()
    assert real.steps == cheap.steps
    assert real.sent == cheap.sent
    assert real.digest != cheap.digest  # the frames themselves differ


def test_without_a_wire_everything_takes_the_same_steps() -> None:
    bare = World(structs.replace(_small(), wire="none"), seed=7).run()
    sealed = World(_small(), seed=7).run()
    assert bare.violations == ()
    assert (bare.steps, bare.sent, bare.kept) == (sealed.steps, sealed.sent, sealed.kept)


def test_half_of_two_hundred_nodes_find_each_other_while_the_others_still_start() -> None:
    text = 'about = "a crowd"\nnodes = 200\nrun_s = 0.4\nwire = "none"\nexpect = { always = ["no-exception"] }'
    world = World(parsed(text, origin="here"), seed=1)
    assert world.run().violations == ()
    views = [len(host.node.membership.alive()) for host in world.hosts.values() if host.is_up]
    assert len(views) > 60
    assert max(views) == len(views)


def _is_small(name: str) -> bool:
    scenario = named(name)
    return scenario.nodes * scenario.run_s <= NODE_S_MAX


@pytest.mark.parametrize("name", [name for name in stock() if _is_small(name)])
def test_every_small_scenario_of_the_stock_passes_and_shows_what_it_promises(name: str) -> None:
    scenario = named(name)
    verdict = World(scenario, seed=1).run()
    assert not verdict.violations, failed(name, verdict)
    assert not unseen(name, scenario, [verdict])


def test_a_fault_taken_out_moves_no_dice_of_what_came_before_it() -> None:
    def until_crash(text: str) -> list[Line]:
        lines: list[Line] = []
        World(parsed(text, origin="small"), seed=7, write=lines.append).run()
        return [line for line in lines if line.at_ns < 4 * NS_PER_S]

    without = SMALL[: SMALL.index("[[fault]]")]
    assert until_crash(SMALL) == until_crash(without)


def _nothing(*_: object, **__: object) -> list[object]:
    return []


MUTANTS: dict[str, tuple[str, type, str, Callable[..., object], set[str]]] = {
    "a watcher that ignores silence": ("owner-crash", Ledger, "on_lapsed", _nothing, {"tasks-done"}),
    "a home that nobody stands in for": ("home-crash", Guardian, "is_ours", lambda *_, **__: False, {"tasks-done"}),
    "an accused that never answers": (
        "lossy",
        Membership,
        "_on_accused",
        _nothing,
        {"no-false-death", "agents-known", "calm"},
    ),
    "a node that never tells its agents": ("quiet-join", Node, "_spread", _nothing, {"one-view", "agents-known"}),
    "a node that measures no clock": ("clock-jump", Clocks, "measure", _nothing, {"right-clocks"}),
    "a store without a fence": ("owner-paused", Store, "_is_refused", lambda *_: False, {"lawful-records"}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_part_is_found_out(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, owner, method, instead, rules = MUTANTS[mutant]
    monkeypatch.setattr(owner, method, instead)
    verdict = World(named(name), seed=1).run()
    assert {violation.rule for violation in verdict.violations} & rules, verdict.violations


def test_an_exception_of_the_core_is_a_violation_with_the_place_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Guardian, now: object) -> list[object]:
        raise KeyError("lost in thought")

    monkeypatch.setattr(Guardian, "on_tick", broken)
    verdict: Verdict = World(_small(), seed=1).run()
    assert [violation.rule for violation in verdict.violations] == ["no-exception"]
    assert "lost in thought" in verdict.violations[0].what
    assert "test_world.py" in verdict.violations[0].what


def test_a_failure_tells_rule_time_seed_story_and_how_to_repeat_it() -> None:
    verdict = World(_small("[expect]\neventually = { one-view = 0 }\n"), seed=3).run()
    told = failed("small.toml", verdict)
    assert "VIOLATED one-view at 7.000000 s, seed 3" in told
    assert "repeat: python -m simulations run small.toml --seed 3" in told
    assert "fault     crash ends n2" in told
