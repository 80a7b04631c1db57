"""The matrix of faults: a few of its cells in every run, all of them by `make chaos`, which shows them as a table."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.cells import LOADS, play
from tests.live.faults import FAULTS

Note = Callable[[str, object], None]

pytestmark = pytest.mark.live

OFTEN = {
    "delay 200 ms": "auctions",
    "stall 5 s": "running",
    "reset storm": "auctions",
    "256 kbit/s": "auctions",
    "c hears nothing": "running",
    "loss 10 %": "auctions",
}
MATRIX = [(fault, load) for fault in FAULTS for load in LOADS]


async def _holds(fault: str, load: str, directory: Path, note: Note) -> None:
    if why := FAULTS[fault].missing():
        note("cell", (fault, load, "", "", "", "", f"not run: {why}"))
        pytest.skip(why)
    row = await play(directory, FAULTS[fault], load)
    note("cell", row.cells())
    assert row.problems == [], row


@pytest.mark.parametrize(("fault", "load"), OFTEN.items())
async def test_after_a_fault_all_is_as_it_was(fault: str, load: str, tmp_path: Path, record_property: Note) -> None:
    await _holds(fault, load, tmp_path, record_property)


@pytest.mark.chaos
@pytest.mark.parametrize(("fault", "load"), MATRIX)
async def test_after_each_fault_under_each_load_all_is_as_it_was(
    fault: str, load: str, tmp_path: Path, record_property: Note
) -> None:
    await _holds(fault, load, tmp_path, record_property)
