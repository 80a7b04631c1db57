"""Asking a home how its tasks run: answered soon, if only with the news that there is no answer."""

from protocol import limits
from protocol.effects import Effect, Reply, Send
from protocol.errors import MeshError
from protocol.inputs import Inquiry, Operate
from protocol.inquiries import REST_S, WITHIN_S, Inquiries
from protocol.wire.ops import Refused, Report, Steer, Survey
from protocol.wire.task import Account, Inquire, Status
from tests.protocol.conversation import instant
from tests.protocol.work import LIFE, B, C

ORDER = Inquiry(4, B, ("t" * 26,))
LINE = Status("t" * 26, True, 5, b"\x01")


def _codes(effects: list[Effect]) -> list[str]:
    return [each.code for each in effects if isinstance(each, Reply)]


def test_a_home_that_is_there_is_asked_and_its_account_is_the_answer() -> None:
    homes = Inquiries()
    (send,) = homes.make(ORDER, LIFE, instant(0))
    assert send == Send(B, LIFE, Inquire(1, ORDER.tasks), probe=1)
    assert homes.on_account(C, Account(1, (LINE,))) == [], "another's word"
    assert homes.on_account(B, Account(1, (LINE,))) == [Reply(4, value=(LINE,))]
    assert homes.next_deadline() is None
    assert homes.on_account(B, Account(1, (LINE,))) == []


def test_a_home_that_is_unknown_absent_or_silent_is_said_to_be() -> None:
    homes = Inquiries()
    assert _codes(homes.make(ORDER, None, instant(0))) == ["timed_out"]
    homes.make(ORDER, LIFE, instant(0))
    assert _codes(homes.on_absent(1, instant(0))) == ["timed_out"]
    assert homes.on_absent(1, instant(0)) == []
    homes.make(ORDER, LIFE, instant(0))
    assert homes.on_tick(instant(WITHIN_S - 0.001)) == []
    assert _codes(homes.on_tick(instant(WITHIN_S))) == ["timed_out"]


def test_an_account_fits_into_a_frame_whatever_is_asked() -> None:
    long = Status("t" * 26, True, 5, bytes(limits.PROGRESS_BYTES_MAX))
    account = Inquiries.account(1, (long,) * 20_000)
    assert len(account.tasks) == limits.INQUIRED_MAX
    assert not any(line.progress for line in account.tasks)
    assert Inquiries.account(1, (long,) * 10).tasks == (long,) * 10


def test_an_operators_order_travels_with_a_number_of_its_own_and_the_report_of_that_node_answers_it() -> None:
    homes = Inquiries()
    homes.make(ORDER, LIFE, instant(0))
    (send,) = homes.operate(Operate(9, C, Steer(0, draining=True)), LIFE, instant(0))
    assert send == Send(C, LIFE, Steer(2, draining=True), probe=2)
    report = Report(2, 1, b"", 3)
    assert homes.on_report(B, report, instant(0)) == [], "another's word"
    assert homes.on_account(C, Account(2, (LINE,))) == [], "an answer to something else"
    assert homes.on_report(C, report, instant(0)) == [Reply(9, value=report)]
    assert _codes(homes.operate(Operate(9, C, Steer(0, draining=True)), None, instant(0))) == ["timed_out"]


def test_an_operator_is_told_what_was_refused_by_whom_and_when_to_ask_again_and_nothing_is_sent_until_then() -> None:
    homes = Inquiries()
    homes.operate(Operate(9, C, Steer(0, draining=True)), LIFE, instant(0))
    assert homes.on_report(B, Refused(1), instant(0)) == [], "another's word"
    (told,) = homes.on_report(C, Refused(1), instant(0.1))
    assert isinstance(told, Reply)
    error = MeshError(told.code, **told.fields)
    assert error.message.startswith(f"{C} refused this (steer): from one node it takes 32 ")
    assert "again in 1 s" in error.hint
    assert homes.on_report(C, Refused(1), instant(0.1)) == []
    again = Operate(10, C, Survey(0))
    assert _codes(homes.operate(again, LIFE, instant(0.1 + REST_S - 0.001))) == ["too_often"], "nothing is sent"
    assert [type(each) for each in homes.operate(Operate(11, B, Survey(0)), LIFE, instant(0.2))] == [Send]
    assert [type(each) for each in homes.operate(again, LIFE, instant(0.1 + REST_S))] == [Send]


def test_a_home_that_is_asked_how_tasks_run_cannot_refuse_it_as_an_order() -> None:
    homes = Inquiries()
    homes.make(ORDER, LIFE, instant(0))
    assert homes.on_report(B, Refused(1), instant(0)) == []
    assert [type(each) for each in homes.operate(Operate(9, B, Survey(0)), LIFE, instant(0))] == [Send]
