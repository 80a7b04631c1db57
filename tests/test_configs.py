"""The examples in configs/ load, say what they mean, and the reference is the settings' own."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from meshd.broker.binary import find_server
from meshd.config import load
from meshd.settings import Settings, reference

CONFIGS = Path(__file__).parent.parent / "configs"
EXAMPLES = sorted(path for path in CONFIGS.rglob("*.toml") if path.parent.name != "agents.d")


def test_the_reference_is_generated_from_the_settings() -> None:
    assert (CONFIGS / "reference.toml").read_text() == reference(), (
        "write it anew: .venv/bin/python -c 'from meshd.settings import reference; print(reference(), end=\"\")'"
        " > configs/reference.toml"
    )


def test_the_reference_changes_nothing_and_still_does_not_when_every_line_is_switched_on(tmp_path: Path) -> None:
    path = CONFIGS / "reference.toml"
    assert {one.origin for one in load(files=[path]).origins.values()} == {"default"}
    switched_on = tmp_path / "all.toml"
    switched_on.write_text(
        "\n".join(line.removeprefix("#") for line in path.read_text().splitlines() if " = " in line or "[" in line)
    )
    config = load(files=[switched_on])
    assert config.settings == Settings()
    assert {one.origin.rpartition(":")[0] for one in config.origins.values()} == {f"file {switched_on}"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_example_is_accepted_and_says_what_it_is_for(path: Path) -> None:
    load(files=[path])
    assert path.read_text().startswith("# ")


def test_every_value_of_an_example_but_the_reference_differs_from_the_default_or_is_explained() -> None:
    defaults = load().origins
    for path in EXAMPLES:
        if path.name == "reference.toml":
            continue
        lines = path.read_text().splitlines()
        for group, values in tomllib.loads(path.read_text()).items():
            for name, value in values.items() if isinstance(values, dict) else ():
                line = next(line for line in lines if line.startswith(f"{name} = "))
                assert value != defaults[f"{group}.{name}"].value or "#" in line, (path, name)


def test_the_three_nodes_have_three_names_and_one_server() -> None:
    settings = [load(files=[CONFIGS / "three-nodes" / f"{name}.toml"]).settings for name in "abc"]
    assert [one.node.name for one in settings] == ["a", "b", "c"]
    assert [bool(one.nats.listen) for one in settings] == [True, False, False]


def test_the_two_regions_have_a_server_each_and_the_timers_of_long_ways() -> None:
    settings = [load(files=[CONFIGS / "two-regions" / f"{name}.toml"]).settings for name in ("east", "west")]
    assert [one.node.region for one in settings] == ["east", "west"]
    assert {one.membership.preset for one in settings} == {"wan"}
    assert settings[0].membership == settings[1].membership
    assert settings[0].nats == settings[1].nats  # each host's own server, under the same credential


@pytest.mark.parametrize(("name", "other"), [("east", "west"), ("west", "east")])
def test_a_server_accepts_its_configuration_and_each_region_is_routed_to_the_other(name: str, other: str) -> None:
    folder = CONFIGS / "two-regions"
    tried = subprocess.run(
        [find_server(), "-t", "-c", folder / f"nats-{name}.conf"], capture_output=True, text=True, timeout=60
    )
    assert tried.returncode == 0, tried.stderr
    listens, routes = (
        re.findall(pattern, (folder / f"nats-{which}.conf").read_text())
        for which, pattern in ((name, r'listen: "(10\.\S+)"'), (other, r"route:[^@]+@([^\"]+)"))
    )
    assert listens == routes
