"""What a quiet mesh says: the formula beside what a world counts. Larger worlds: `python -m simulations traffic`."""

import pytest

from protocol.gossip import GossipSettings
from protocol.presets import PRESETS
from simulations.command import main
from simulations.running import BAD_SCENARIO
from simulations.traffic import SETTLED_S, Rate, counted, expected, is_near, lasts_s, whole


def test_the_formula_follows_the_settings_and_the_number_of_nodes() -> None:
    lan, gossip = PRESETS["lan"], GossipSettings()
    forty, thousand = (expected(nodes, lan, gossip) for nodes in (40, 1_000))
    assert (forty["Ping"].sent, forty["Ack"].heard) == (thousand["Ping"].sent, thousand["Ack"].heard) == (2.0, 2.0)
    assert forty["Alive"].heard == pytest.approx(39 / 24)
    assert thousand["Alive"].heard == pytest.approx(999 / 600)
    assert forty["Digest"].bytes < thousand["Digest"].bytes
    assert expected(40, PRESETS["local"], gossip)["Ping"].sent == 5.0
    assert whole(expected(1, lan, gossip))[1] == 0.0


def test_a_quiet_world_says_what_the_formula_says_and_nothing_else() -> None:
    formula, found = expected(8, PRESETS["lan"], GossipSettings()), counted(8, run_s=SETTLED_S + 40)
    assert found.keys() == formula.keys()
    assert is_near(whole(formula), whole(found)), (whole(formula), whole(found))
    for kind, rate in found.items():
        assert rate.bytes == pytest.approx(formula[kind].bytes, rel=0.05), kind


def test_a_world_is_counted_for_a_whole_period_of_its_beacons_however_large_it_is() -> None:
    assert lasts_s(10, GossipSettings()) - SETTLED_S == 30.0
    assert lasts_s(1_000, GossipSettings()) - SETTLED_S == 600.0


def test_a_formula_that_is_wrong_is_told_from_what_was_counted() -> None:
    one, other = {"Ping": Rate(2.0, 2.0, 250.0)}, {"Ping": Rate(2.0, 2.3, 250.0)}
    assert not is_near(whole(one), whole(other))


def test_the_command_prints_both_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["traffic", "4"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["formula", "counted"]


@pytest.mark.parametrize("seconds", ["0", "-5", "15", "nan", "inf", "1e308", "172801", "x"])
def test_a_time_that_no_world_can_last_is_a_misuse(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["traffic", "2", "--seconds", seconds])
    assert caught.value.code == BAD_SCENARIO
    said, step = capsys.readouterr().err.splitlines()
    assert said.startswith("error[bad_input]: --seconds: ")
    assert step.startswith("try: ")
