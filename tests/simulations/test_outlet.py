"""What is printed to somebody who went away, or to a place without room, and what the exit code is then."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from simulations.outlet import Unwritable, nowhere, silence, through_outlet, told

MUCH = "x" * 100_000  # more than one buffer
IS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device on this platform")


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        yield stream


def printing(text: str) -> Callable[[], int]:
    def printed() -> int:
        print(text)
        return 1

    return printed


@pytest.mark.parametrize("text", ["", "few", MUCH])
def test_a_reader_who_goes_away_changes_no_exit_code(
    unread: TextIO, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(sys, "stdout", unread)
    assert through_outlet(printing(text)) == 1
    assert sys.stdout is unread
    print(MUCH, flush=True)  # what was silenced stays so


@pytest.mark.parametrize(("code", "ends"), [(2, 2), (None, 0)])
def test_what_a_parser_printed_before_its_end_is_not_left_to_the_interpreter(
    unread: TextIO, monkeypatch: pytest.MonkeyPatch, code: int | None, ends: int
) -> None:
    monkeypatch.setattr(sys, "stdout", unread)

    def helped() -> int:
        print("usage")
        raise SystemExit(code)

    assert through_outlet(helped) == ends
    sys.stdout.flush()


@IS_FULL
@pytest.mark.parametrize("text", ["few", MUCH])
def test_a_place_without_room_is_told_once_as_stdout(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(Unwritable) as caught:
            through_outlet(printing(text))
        assert sys.stdout is full
    assert told(caught.value) == ("stdout: no space left on device", "send it elsewhere")


@IS_FULL
def test_a_parser_that_does_not_care_whether_its_help_was_written_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def helped() -> int:
        with suppress(OSError):
            print(MUCH)
        raise SystemExit(0)

    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(Unwritable):
            through_outlet(helped)


def test_a_stdout_that_was_closed_is_a_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert through_outlet(printing(MUCH)) == 1
    sys.stdout.close()


def test_another_trouble_is_not_said_to_be_of_stdout() -> None:
    file = OSError(28, "No space left on device", "/some/where")
    assert told(file) == ("/some/where: no space left on device", "mend that, and run it again")
    assert told(OSError(12, "Cannot allocate memory"))[0] == "this host: cannot allocate memory"


def test_to_silence_a_stream_costs_no_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream, nowhere() as next_free:
        free = next_free.fileno()
        next_free.close()
        silence(stream)
        with nowhere() as again:
            assert again.fileno() == free
