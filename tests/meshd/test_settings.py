"""Settings: one line declares a setting, and everything else follows from it."""

import msgspec
import pytest

from meshd.settings import Settings, reference, rows, toml_value
from protocol.routing import POLICIES


def test_every_setting_has_a_help_a_rule_and_a_default_that_its_own_rule_accepts() -> None:
    for row in rows():
        assert row.help, row.key
        assert row.rule, row.key
        assert msgspec.convert(row.default, row.type) == row.default, row.key


def test_every_number_has_a_lower_and_an_upper_bound() -> None:
    numbers = [row for row in rows() if isinstance(row.default, (int, float)) and not isinstance(row.default, bool)]
    assert len(numbers) > 5
    for row in numbers:
        assert " from " in row.rule, row.key


def test_the_defaults_are_the_settings_without_any_argument() -> None:
    settings = msgspec.convert({}, Settings)
    assert settings == Settings()
    assert settings.insecure is False


def test_an_unknown_key_is_refused_by_the_type_itself() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `nod`"):
        msgspec.convert({"nod": {}}, Settings)


def test_the_reference_shows_every_setting_once() -> None:
    lines = [line for line in reference().splitlines() if " = " in line and not line.startswith("#version")]
    assert [line.partition(" = ")[0].removeprefix("#") for line in lines] == [
        row.key.rpartition(".")[2] for row in rows()
    ]


def test_values_are_written_as_toml_writes_them() -> None:
    assert toml_value((True, 1.5, 'a "b"\n', ())) == '[true, 1.5, "a \\"b\\"\\n", []]'


def test_the_unit_of_a_setting_is_the_end_of_its_name() -> None:
    units = {row.key: row.unit for row in rows()}
    assert (units["tasks.lease_s"], units["membership.suspicion_s_min"], units["membership.lag_ms"]) == ("s", "s", "ms")
    assert (units["insecure"], units["node.name"], units["membership.verifiers"], units["nats.urls"]) == ("",) * 4


def test_every_policy_of_routing_can_be_chosen() -> None:
    (row,) = [row for row in rows() if row.key == "routing.policy"]
    assert {msgspec.convert(name, row.type) for name in POLICIES} == set(POLICIES)
    assert set(row.rule.removeprefix("one of ").split(", ")) == set(POLICIES)
