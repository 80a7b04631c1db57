"""The mutants are true to the code, and two of them are hunted: one that the simulator finds, one that a test does."""

import pytest

from simulations.scenario import stock
from tests.mutate import ROOT, Mutant, applied, hunt, main, mutants

ALL = mutants()


def test_there_are_more_than_forty_and_each_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in ALL}) == len(ALL) > 40


@pytest.mark.parametrize("mutant", ALL, ids=[mutant.name for mutant in ALL])
def test_what_a_mutant_replaces_stands_there_once(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert applied(mutant, text) != text
    assert mutant.file.startswith("protocol/")
    assert bool(mutant.tries) != bool(mutant.test)
    assert set(mutant.tries) <= set(stock())
    assert not mutant.test or (ROOT / mutant.test.partition("::")[0]).is_file()


@pytest.mark.parametrize(
    ("name", "by"), [("award-without-epoch", "lawful-records"), ("goodbye-is-not-final", "its test")]
)
def test_a_mutant_is_found_out(name: str, by: str) -> None:
    catch = hunt(next(mutant for mutant in ALL if mutant.name == name), seeds=1, stock=False)
    assert catch is not None
    assert catch.by == by


def test_a_name_that_is_none_is_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing-like-it"]) == 2
    assert "there is no mutant 'nothing-like-it'" in capsys.readouterr().err
