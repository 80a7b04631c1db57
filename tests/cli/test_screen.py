"""The terminal program: what a frame becomes, and that a daemon that goes away is said and asked again."""

import pytest
from textual.widgets import DataTable, Static

from cli.exits import of
from cli.screen import Screen
from cli.top import Frame, Panel
from protocol.errors import MeshError
from tests.waiting import until

FRAME = Frame(
    lines=("a is joined [bold]", "tasks in all: none"),
    panels=(
        Panel("peers", ("NAME", "STATE"), (("a *", "alive"), ("b", "suspect"))),
        Panel("agents", ("NAME",), ()),
        Panel("tasks", ("ID",), (("t1",),)),
    ),
)


class Looks:
    """What is seen at each look, the last one again and again."""

    def __init__(self, *seen: Frame | None) -> None:
        self._seen = list(seen)
        self.count = 0

    def __call__(self) -> Frame:
        self.count += 1
        seen = self._seen.pop(0) if len(self._seen) > 1 else self._seen[0]
        if seen is None:
            raise of(MeshError("unreachable", where="/d"))
        return seen


def _head(screen: Screen) -> str:
    return str(screen.query_one("#head", Static).render())


async def test_a_frame_fills_the_tables_and_words_are_no_markup() -> None:
    looks = Looks(FRAME)
    screen = Screen(looks, 60.0)
    async with screen.run_test() as pilot:
        await until(lambda: "joined" in _head(screen), what="the first frame")
        assert _head(screen) == "a is joined [bold]\ntasks in all: none"
        peers: DataTable[str] = screen.query_one("#peers", DataTable)
        assert [peers.get_row_at(row) for row in range(peers.row_count)] == [["a *", "alive"], ["b", "suspect"]]
        assert screen.query_one("#agents", DataTable).row_count == 0
        await pilot.press("r")
        await until(lambda: looks.count == 2, what="another look")
        await pilot.press("q")
    assert screen.return_code == 0


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_it_ends_by_the_keys_that_end_programs(key: str) -> None:
    screen = Screen(Looks(FRAME), 60.0)
    async with screen.run_test() as pilot:
        await until(lambda: "joined" in _head(screen), what="the first frame")
        await pilot.press(key)
        await until(lambda: not screen.is_running, what="its end")


async def test_a_daemon_that_goes_away_is_said_and_its_return_is_seen() -> None:
    screen = Screen(Looks(None, FRAME), 0.1)
    heads: list[str] = []
    async with screen.run_test():

        def is_back() -> bool:
            heads.append(_head(screen))
            return "joined" in heads[-1]

        await until(is_back, what="the daemon's return")
    assert any(head.startswith("error[unreachable]: no daemon answers at /d") for head in heads)
