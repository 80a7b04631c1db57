"""The log: one line an event, for people or for programs, and never in the way of the engine."""

import io
import json
import logging
import threading
import typing
from collections.abc import Iterator

import pytest

from meshd.observe import logs
from meshd.observe.logs import LINES, configure, log_event, told
from protocol import events
from protocol.events import Event
from tests.waiting import until

SUBMITTED = events.TaskSubmitted("t" * 26, "i" * 26, "g" * 26, "scoring@2", "someone")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    yield io.StringIO()
    logger = logging.getLogger(logs.ROOT)
    for handler in logger.handlers:
        handler.close()
    logger.handlers = []
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    for library in map(logging.getLogger, logs.LIBRARIES):
        library.handlers = []


def _said(logger: logging.Logger, stream: io.StringIO) -> str:
    for handler in logger.handlers:
        handler.flush()
    return stream.getvalue()


def _example(kind: type[Event]) -> Event:
    samples = {"str": "word", "int": 3, "float": 1.5}
    given: dict[str, typing.Any] = {
        field: 1.5 if hint == float | None else samples.get(str(getattr(hint, "__name__", "")), ("one", "two"))
        for field, hint in typing.get_type_hints(kind).items()
    }
    return kind(**given)


@pytest.mark.parametrize("kind", typing.get_args(Event), ids=lambda kind: kind.__name__)
def test_every_kind_of_event_has_a_line_whose_fields_it_has(kind: type[Event]) -> None:
    sentence = told(_example(kind), name_of=lambda node: f"<{node}>")
    assert sentence
    assert "{" not in sentence


def test_the_table_knows_no_other_kinds_than_there_are() -> None:
    assert set(LINES) == set(typing.get_args(Event))


def test_nodes_are_told_by_name_and_tasks_by_their_short_id() -> None:
    event = events.TaskAwarded("t" * 26, "i", 2, "n" * 32, "silent")
    assert (
        told(event, name_of={"n" * 32: "node-b"}.__getitem__) == "task tttttttt was awarded to node-b: silent, epoch 2"
    )


def test_a_node_that_is_not_known_by_name_is_told_by_its_short_id() -> None:
    assert told(events.TaskPoison("t" * 26, "i", 2, ("a" * 32, "b" * 32))).endswith("aaaaaaaa, bbbbbbbb died of it")


def test_a_name_with_control_characters_stays_on_its_line() -> None:
    assert told(events.PeerLeft("p", "evil\n\x1b[31m", 1)) == "evil\\n\\x1b[31m left"


def test_text_lines_begin_with_time_level_and_source(stream: io.StringIO) -> None:
    logger = configure(level="info", format="text", stream=stream)
    logging.getLogger("meshd.broker").warning("the server %s", "ended\nbadly")
    assert _said(logger, stream).partition(" ")[2] == "warning broker: the server ended\\nbadly\n"


def test_json_lines_hold_the_event_and_nothing_beyond_ascii(stream: io.StringIO) -> None:
    logger = configure(level="info", format="json", stream=stream)
    log_event(logger, events.PeerLeft("p", "grün\u202e", 7))
    said = _said(logger, stream)
    assert said.isascii()
    line = json.loads(said)
    assert line["event"] == {"kind": "peer_left", "peer": "p", "name": "grün\u202e", "life": 7, "was": ""}
    assert line["message"] == "grün\\u202e left"
    assert line["level"] == "info"
    assert line["time"].endswith("Z")


def test_a_log_that_is_no_terminal_is_json_by_itself(stream: io.StringIO) -> None:
    logger = configure(level="info", format="auto", stream=stream)
    logger.info("hello")
    assert json.loads(_said(logger, stream))["message"] == "hello"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_text_by_itself(stream: io.StringIO) -> None:
    terminal = _Terminal()
    logger = configure(level="info", format="auto", stream=terminal)
    logger.info("hello")
    assert _said(logger, terminal).endswith("info    hello\n")


@pytest.mark.parametrize(("state", "level"), [("ready", "info"), ("failed", "error"), ("refused", "error")])
def test_an_agent_that_somebody_should_see_to_is_graver_than_others(
    stream: io.StringIO, state: str, level: str
) -> None:
    logger = configure(level="info", format="json", stream=stream)
    log_event(logger, events.AgentChanged("worker", state, "so it is"))
    assert json.loads(_said(logger, stream))["level"] == level


def test_refused_frames_are_told_with_the_rule_in_words_and_in_whose_name_they_came() -> None:
    name_of = {"n" * 32: "node-b"}.__getitem__
    one = told(events.FrameRefused("replayed", "n" * 32, "mesh.m.fact"), name_of=name_of)
    assert one == (
        "a frame in the name of node-b was refused: the frame has taken effect before (replayed, on mesh.m.fact)"
    )
    some = told(events.FrameRefused("expired", "n" * 32, "mesh.m.fact", 5), name_of=name_of)
    assert some.startswith("5 frames, the last in the name of node-b, were refused: ")
    assert told(events.FrameRefused("echo", "", "", 7)) == "7 frames were refused: the frame is this node's own (echo)"


@pytest.mark.parametrize(("code", "level"), [("not_known", "info"), ("replayed", "warning")])
def test_a_frame_that_is_refused_at_every_other_start_is_no_warning(stream: io.StringIO, code: str, level: str) -> None:
    logger = configure(level="info", format="json", stream=stream)
    log_event(logger, events.FrameRefused(code, "n" * 32, "mesh.m.fact"))
    assert json.loads(_said(logger, stream))["level"] == level


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    logger = configure(level="warning", format="text", stream=stream)
    log_event(logger, SUBMITTED)
    logger.info("quiet")
    assert _said(logger, stream) == ""


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_traceback_comes_along(stream: io.StringIO, format: str) -> None:
    logger = configure(level="info", format=format, stream=stream)
    try:
        raise ValueError("\x1b[31m")
    except ValueError:
        logger.exception("it broke")
    said = _said(logger, stream)
    assert "Traceback" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("source", ["asyncio", "aiohttp.server", "nats.aio.client"])
def test_what_a_library_complains_of_is_a_line_of_this_log(stream: io.StringIO, source: str) -> None:
    logger = configure(level="info", format="json", stream=stream)
    logging.getLogger(source).error("it broke\nsomehow")
    line = json.loads(_said(logger, stream))
    assert (line["source"], line["level"], line["message"]) == (source, "error", "it broke\\nsomehow")


def _record(source: str, said: str, at_s: float) -> logging.LogRecord:
    record = logging.LogRecord(source, logging.ERROR, "", 0, said, (), None)
    record.created = at_s
    return record


def test_a_library_that_says_the_same_over_and_over_is_heard_once_in_a_while_and_its_words_are_counted() -> None:
    repeats = logs.Repeats()
    heard = [_record("asyncio", "no more files", 1_000.0 + number / 10) for number in range(101)]
    assert [record.created for record in heard if repeats(record)] == [1_000.0, 1_010.0]
    assert heard[-1].getMessage() == "no more files (and 99 times since this was told last)"
    assert repeats(_record("asyncio", "something else", 1_000.5))
    assert all(repeats(_record("meshd.api", "our own", 1_000.0)) for _ in range(3))


def test_of_many_words_of_libraries_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "WORDS_MAX", 3)
    repeats = logs.Repeats()
    assert all(repeats(_record("asyncio", word, 1_000.0)) for word in "abcdefghi")
    assert repeats(_record("asyncio", "a", 1_000.0))
    assert not repeats(_record("asyncio", "i", 1_000.0))


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("socket.accept() of fd=17 failed", "socket.accept() of fd=8 failed"),
        ("<Task name='Task-7' at 0x7f21ab>, 0.103 s", "<Task name='Task-1204' at 0x7f99cd>, 2 s"),
        ("no answer on _INBOX.nnwJ2gqEyvE1qXvBhqtQ4a", "no answer on _INBOX.9hEyvE1qXvBnnwJ2gqtQ4a"),
        ("connection to 10.0.0.7:4222 lost", "connection to 10.0.12.9:60000 lost"),
    ],
)
def test_what_a_library_says_again_with_other_numbers_is_the_same(first: str, again: str) -> None:
    repeats = logs.Repeats()
    assert repeats(_record("asyncio", first, 1_000.0))
    assert not repeats(_record("asyncio", again, 1_001.0))
    later = _record("asyncio", first, 1_010.0)
    assert repeats(later)
    assert later.getMessage() == f"{first} (and 1 times since this was told last)"


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("[Errno 24] Too many open files", "[Errno 28] No space left on device"),
        ("coro=<serve() running at server.py:12>", "coro=<serve() running at server.py:40>"),
        ('File "server.py", line 12', 'File "server.py", line 40'),
        ("a word of sixteen_letters_of_one", "a word of sixteen_letters_of_two"),
    ],
)
def test_what_differs_in_a_word_or_a_place_is_told_beside_the_other(first: str, other: str) -> None:
    repeats = logs.Repeats()
    assert repeats(_record("asyncio", first, 1_000.0))
    assert repeats(_record("asyncio", other, 1_000.0))


def test_one_sentence_about_different_errors_or_things_is_told_for_each() -> None:
    repeats = logs.Repeats()
    for error in (ValueError("no room"), KeyError("no room"), ValueError("no name")):
        record = _record("asyncio", "it broke", 1_000.0)
        record.exc_info = (type(error), error, None)
        assert repeats(record)
    for subject in ("orders", "offers"):
        record = _record("nats", "%s is slow", 1_000.0)
        record.args = (subject,)
        assert repeats(record)


def test_what_cannot_be_put_into_words_is_told_as_far_as_it_goes() -> None:
    class Mute(RuntimeError):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "%d things", ("x",), (Mute, Mute(), None))
    assert logs.Repeats()(record)
    again = logging.LogRecord("asyncio", logging.ERROR, "", 0, "%d things", ("x",), None)
    assert logs.Repeats()(again)


def test_setting_up_again_replaces_the_former_log(stream: io.StringIO) -> None:
    configure(level="info", format="text", stream=stream)
    second = io.StringIO()
    logger = configure(level="info", format="text", stream=second)
    logger.info("once")
    assert _said(logger, second).count("once") == 1
    assert stream.getvalue() == ""


class _Stalled(io.StringIO):
    """A reader that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(30)
        return super().write(text)


def test_a_reader_that_stalls_costs_lines_and_says_how_many_but_never_blocks(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LINES_WAITING_MAX", 10)
    stalled = _Stalled()
    logger = configure(level="info", format="text", stream=stalled)
    for number in range(50):
        logger.info("line %d", number)
    stalled.go_on.set()
    said = _said(logger, stalled)
    kept = said.count("line ")
    assert 10 <= kept <= 11
    assert f"{50 - kept} lines of the log were lost" in said


def test_a_reader_that_has_gone_is_no_failure(stream: io.StringIO) -> None:
    closed = io.StringIO()
    logger = configure(level="info", format="text", stream=closed)
    closed.close()
    logger.info("nobody reads this")
    logger.handlers[0].flush()


class _Counting(io.StringIO):
    """Counts how often what was written is handed on."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


async def test_lines_that_come_together_are_written_together_and_without_being_asked_for(stream: io.StringIO) -> None:
    counting = _Counting()
    logger = configure(level="info", format="text", stream=counting)
    for number in range(200):
        logger.info("line %d", number)
    await until(lambda: counting.flushes and counting.getvalue().count("line ") == 200, what="all lines")
    assert counting.flushes < 100


async def test_an_error_is_written_at_once(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "GATHER_S", 3_600.0)
    logger = configure(level="info", format="text", stream=stream)
    logger.info("before")
    logger.error("now")
    await until(lambda: "now" in stream.getvalue(), what="the error")
    assert "before" in stream.getvalue()


def test_a_lapse_after_a_restart_speaks_of_no_silence() -> None:
    lapsed = events.LeaseLapsed("t" * 26, "i", 1, "vm", "node_restarted", 0.0)
    assert told(lapsed) == "the lease of task tttttttt lapsed: vm has restarted"
