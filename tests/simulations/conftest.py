"""Scenarios that were run into a trace, as the command writes it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

from simulations.command import main
from simulations.running import PASSED

Traced: TypeAlias = Callable[[str, int], Path]


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """The trace of a scenario that passes, by its text and seed; beside it that text, as .toml. Not to be changed."""

    @cache
    def run(text: str, seed: int) -> Path:
        path = tmp_path_factory.mktemp("traced") / "small.toml"
        path.write_text(text)
        trace = path.with_suffix(".trace")
        assert main(["run", str(path), "--seed", str(seed), "--once", "--trace", str(trace)]) == PASSED
        return trace

    return run
