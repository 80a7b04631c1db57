"""Rules of tasks against a whole run: broken in the core, they are found out."""

import pytest

from protocol.grants import Grants
from simulations.scenario import named
from simulations.world import World


def test_an_owner_that_forgets_what_it_began_is_found_to_begin_it_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grants, "had", lambda self, task, epoch: False)
    verdict = World(named("store-stall"), seed=1).run()
    assert [each.rule for each in verdict.violations] == ["one-start"]
