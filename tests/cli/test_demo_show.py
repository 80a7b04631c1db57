"""The demo on a screen and in a pipe."""

import io

from cli.demo_show import Screen
from cli.demo_story import Line, Story
from tests.cli.demo_events import all_up, awarded, done, started


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def screen(out: io.StringIO, *, colours: bool = False) -> Screen:
    return Screen(out, lambda: 12.34, has_colours=colours, columns=80)


def story() -> Story:
    told = Story(nodes=("a", "b", "c"), total=4, goal="goal")
    for event in [*all_up(), awarded("t1", 1, "b"), done("t1", 1, "b"), awarded("t2", 1, "c"), started("t2", 1, "c")]:
        told.on_event(event)
    return told


def test_a_line_has_its_time_and_its_node() -> None:
    out = io.StringIO()
    screen(out).say(Line("killed", "c", "bad"))
    assert out.getvalue() == "  12.3 s  c    killed\n"


def test_no_line_is_longer_than_the_screen() -> None:
    out = io.StringIO()
    screen(out).say(Line("word " * 60, "c"))
    lines = out.getvalue().splitlines()
    assert len(lines) > 3
    assert all(len(line) <= 80 for line in lines)


def test_in_a_pipe_there_is_no_control_character() -> None:
    out = io.StringIO()
    shown = Screen(out, lambda: 1.0, has_colours=False, columns=80)
    shown.title("a title")
    shown.bar(story())
    shown.say(Line("killed", "c", "bad"))
    shown.clear_bar()
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_on_a_terminal_the_bar_shows_the_share_of_each_node() -> None:
    out = Terminal()
    screen(out).bar(story())
    assert out.getvalue() == "\r\x1b[K  " + "█" * 7 + "░" * 21 + "    1/4   a 0    b 1    c 0+1"


def test_the_bar_stays_below_what_is_said() -> None:
    out = Terminal()
    shown = screen(out)
    shown.bar(story())
    shown.say(Line("killed", "c"))
    assert out.getvalue().endswith("killed\n" + "  " + "█" * 7 + "░" * 21 + "    1/4   a 0    b 1    c 0+1")
    shown.clear_bar()
    assert out.getvalue().endswith("\r\x1b[K")


def test_a_node_that_is_down_is_shown_so() -> None:
    out = Terminal()
    told = story()
    told.down = "b"
    screen(out).bar(told)
    assert out.getvalue().endswith("a 0    b 1 down  c 0+1")


def test_the_bar_fits_eighty_columns_with_large_numbers() -> None:
    out = Terminal()
    told = Story(nodes=("a", "b", "c"), total=300)
    told.down = "c"
    for event in all_up():
        told.on_event(event)
    for number in range(300):
        told.on_event(done(f"t{number}", 1, "abc"[number % 3]))
    screen(out).bar(told)
    assert len(out.getvalue().removeprefix("\r\x1b[K")) < 80


def test_colours_are_only_around_words() -> None:
    out = Terminal()
    screen(out, colours=True).say(Line("killed", "c", "bad"))
    assert "\x1b[31mkilled\x1b[0m\n" in out.getvalue()


def test_where_the_bar_cannot_be_drawn_it_is_spelt() -> None:
    class Plain(Terminal):
        encoding = "ascii"

    out = Plain()
    screen(out).bar(story())
    assert "#######....." in out.getvalue()
