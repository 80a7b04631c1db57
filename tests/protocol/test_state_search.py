"""A search over what may happen to one task on three nodes: no stuck task, no double end, nobody robbed.

Covered in `make test`: every world that differs from a day without trouble by one choice, at any moment of its
length, and seeded walks with up to six troubles each. `MESHD_SEARCH_WALKS=5000` makes
more walks. A failure names its world; `replayed(world, trail)` takes it there step by step.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import pytest

from protocol import watch, watched
from protocol.effects import Effect
from protocol.grants import Grant, Grants
from protocol.holder import Holder
from protocol.ledger import Ledger
from protocol.wire.task import TaskRecord
from tests import explore
from tests.explore import Choice, World
from tests.explored import Errand
from tests.judge import Violation

WORLDS: Mapping[str, Callable[[], World]] = {
    "two owners elsewhere": World,
    "an owner on every node": lambda: World(agents=(0, 1, 2)),
    "one owner": lambda: World(agents=(2,)),
    "exclusive": lambda: World(is_exclusive=True),
    "by bids": lambda: World(agents=(0, 1, 2), route="bids"),
    "late": lambda: World(agents=(0, 1, 2), route="late"),
    "late, exclusive": lambda: World(is_exclusive=True, route="late"),
    "by bids, exclusive": lambda: World(is_exclusive=True, route="bids"),
    "exclusive, long": lambda: World(is_exclusive=True, run_steps=50),
    "exclusive, long, store slow at first": lambda: World(is_exclusive=True, run_steps=50, store_steps=4),
}
WALKS = int(os.environ.get("MESHD_SEARCH_WALKS", "150"))
FIRST_STEPS = 6  # the plain day is over by then
WALK_STEPS = 40
TROUBLES_MAX = 6
TROUBLE_SHARE = 0.15
CLOSING_STEPS = 260  # 65 s: the pause after a lapse, the sweeps, and all agents


def _close(world: World) -> None:
    """Trouble is over: everything heals, but for nodes that stay down while another can do the work."""
    if all(world.hosts[host].trouble == "down" and not world.hosts[host].back for host in world.agents):
        for host in world.hosts:
            if host.trouble == "down" and not host.back:
                host.back = world.step + 1
    end = world.step + CLOSING_STEPS
    while world.step < end and (world.errands or not world.is_settled):
        world.take(world.plain())
    world.judge.closes()
    if not world.is_settled:
        raise Violation("the task has ended, but somebody holds or watches it still")


def _checked(name: str, world: World, live: Callable[[World], None]) -> None:
    try:
        live(world)
        _close(world)
    except (Violation, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as failure:
        raise AssertionError(f"{failure!r}\nin the world {name!r}, after {world.trail}") from failure


def replayed(name: str, trail: list[Choice]) -> World:
    """The world after these choices."""
    world = WORLDS[name]()
    for choice in trail:
        world.take(choice)
    return world


def _detours(name: str) -> Iterator[list[Choice]]:
    """Every beginning that is plain but for its last choice."""
    world = WORLDS[name]()
    while world.step < FIRST_STEPS:
        plain = world.plain()
        for trouble in world.troubles():
            if trouble != plain:
                yield [*world.trail, trouble]
        world.take(plain)


def _wander(seed: int) -> Callable[[World], None]:
    """A day on which up to six things go wrong, of a kind that chance chooses first."""

    def live(world: World) -> None:
        rng, left = Random(seed), TROUBLES_MAX
        while world.step < WALK_STEPS:
            choice = world.plain()
            troubles = list(world.troubles()) if left and rng.random() < TROUBLE_SHARE else []
            if troubles:
                verb = rng.choice(sorted({str(each[0]) for each in troubles}))
                if verb != "cancel" or rng.random() < 0.2:  # it ends the day too soon
                    choice = rng.choice([each for each in troubles if each[0] == verb])
                    left -= 1
            world.take(choice)

    return live


def _follow(trail: list[Choice]) -> Callable[[World], None]:
    def live(world: World) -> None:
        for choice in trail:
            world.take(choice)

    return live


@pytest.mark.parametrize("name", WORLDS)
def test_one_thing_that_goes_wrong_at_any_moment_breaks_no_promise(name: str) -> None:
    detours = list(_detours(name))
    assert len(detours) > 200
    for trail in detours:
        _checked(name, WORLDS[name](), _follow(trail))


@pytest.mark.parametrize("name", WORLDS)
def test_days_on_which_much_goes_wrong_break_no_promise(name: str) -> None:
    ends: dict[str, int] = {}
    epochs = 0
    for seed in range(WALKS):
        world = WORLDS[name]()
        _checked(f"{name}, seed {seed}", world, _wander(seed))
        if world.judge.ended is not None:
            ends[world.judge.ended.state.value] = ends.get(world.judge.ended.state.value, 0) + 1
            epochs = max(epochs, world.judge.ended.epoch)
    assert {"done", "cancelled"} <= set(ends), "the walks do not go where they should"
    assert epochs > 2


def test_the_same_choices_give_the_same_world() -> None:
    first, second = World(), World()
    for world in (first, second):
        _wander(11)(world)
    assert first.trail == second.trail
    assert first.values == second.values


# --- a search that finds nothing must be one that can find something


def _found(name: str) -> str:
    """The first violation that the same search meets, or nothing."""
    try:
        lives = [_follow(trail) for trail in _detours(name)]
    except Violation as failure:  # on a day without any trouble
        return str(failure)
    for seed in range(1_000):
        for live in (*lives[seed : seed + 1], _wander(seed)):
            try:
                _checked(name, WORLDS[name](), live)
            except AssertionError as failure:
                return str(failure)
    return ""


@pytest.mark.parametrize("name", ["two owners elsewhere", "by bids", "late"])
def test_a_store_that_ignores_revisions_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fenced = World._store

    def unfenced(self: World, number: int) -> None:
        errand: Errand = self.errands[number]
        wants: Any = errand.wants
        if getattr(wants, "key", "") == explore.KEY and hasattr(wants, "expect"):
            stands = self.values.get(wants.key, (0, b""))[0]
            errand.wants = type(wants)(wants.key, wants.record, stands, wants.keep_s, wants.urgent, wants.frame)
        fenced(self, number)

    monkeypatch.setattr(World, "_store", unfenced)
    assert re.search(r"epoch \d follows \d|became|twice", _found(name))


def test_an_owner_that_begins_whenever_its_write_comes_back_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Holder, "_why_not_begun", lambda self, grant, now: None)
    monkeypatch.setattr(Grants, "is_brief", lambda self, grant, now: False)
    assert "twice at once" in _found("late, exclusive")


def test_a_home_that_does_not_send_a_lost_award_again_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: Ledger, sender: str, task: str, now: object) -> list[Effect]:
        return []

    monkeypatch.setattr(Ledger, "on_unknown", forgetful)
    assert "stuck" in _found("one owner")


def test_an_owner_that_does_not_answer_asks_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(self: Holder, sender: str, life: int, body: object, now: object) -> list[Effect]:
        return []

    monkeypatch.setattr(Holder, "on_ask", deaf)
    assert "was well" in _found("two owners elsewhere")


def test_a_home_that_awards_at_once_after_its_own_outage_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Ledger._advance

    def hasty(self: Ledger, watched: Any, now: Any) -> list[Effect]:
        self._patient_until = 0
        return taken(self, watched, now)

    monkeypatch.setattr(Ledger, "_advance", hasty)
    assert "its own outage" in _found("two owners elsewhere")


def test_an_exclusive_task_that_is_not_waited_for_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EXCLUSIVE_LEASES", 1 / 3)
    monkeypatch.setattr(watched, "EXCLUSIVE_LEASES", 1 / 3)
    assert "twice at once" in _found("exclusive")


def test_an_owner_that_goes_on_without_renewing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stands = Grant.stands

    def lasting(self: Grant, record: TaskRecord, revision: int) -> None:
        stands(self, record, revision)
        self.lease.sure = 1 << 62

    monkeypatch.setattr(Grant, "stands", lasting)
    assert "twice at once" in _found("exclusive, long")


def test_a_cancel_is_answered_once_whatever_it_races() -> None:
    for trail in _detours("two owners elsewhere"):
        if trail[-1][0] == "cancel":
            world = replayed("two owners elsewhere", trail)
            _close(world)
            assert world.judge.replies[9] in (["ok"], ["already_ended"], ["unknown_task"])
