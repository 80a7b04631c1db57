"""Request and reply without a record: moved on when nobody ran it, never when somebody may have."""

from random import Random

import pytest
from msgspec import structs

from protocol import ids, limits
from protocol.calls import TRIES_MAX, Answered, Calls
from protocol.effects import Effect, Reply, RunAgent, Send, StopAgent
from protocol.inputs import AgentFailed, AgentFinished, MakeCall
from protocol.slots import Slots
from protocol.wire.call import Call, CallReply
from tests.protocol.conversation import instant
from tests.protocol.work import CARD, ECHO, LIFE, OWN, B, C, D, Mesh, bodies

ORDER = MakeCall(1, ECHO, b"\x01", timeout_s=5.0, iid="an iid", gid="a gid")
ASKED = Call(7, ECHO, b"\x01", 5_000, 0, by="operator")


def _calls(free: dict[str, int]) -> Calls:
    slots = Slots()
    slots.advertise((CARD,))
    return Calls(view=Mesh(free), slots=slots, rng=Random(7))


def _asked(effects: list[Effect]) -> tuple[str, Call, int]:
    (send,) = (each for each in effects if isinstance(each, Send))
    assert isinstance(send.body, Call)
    assert send.probe is not None
    return send.to, send.body, send.probe


def _codes(effects: list[Effect]) -> list[str]:
    return [each.code for each in effects if isinstance(each, Reply)]


def test_a_call_goes_to_somebody_with_room_and_its_answer_comes_back() -> None:
    calls = _calls({B: 0, C: 1})
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    assert (to, body.capability, body.input, body.timeout_ms) == (C, ECHO, b"\x01", 5_000)
    effects = calls.on_reply(C, CallReply(body.request, result=b"\x02"), instant(1))
    assert effects == [Reply(1, value=Answered(b"\x02", C, "echo", "an iid", "a gid"))]
    assert calls.next_deadline() is None


@pytest.mark.parametrize("code", ["no_free_agent", "no_agent", "draining"])
def test_a_node_that_refuses_is_followed_by_the_next_with_the_time_that_is_left(code: str) -> None:
    calls = _calls({B: 1, C: 1})
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    other, again, _ = _asked(calls.on_reply(to, CallReply(body.request, code=code), instant(2)))
    assert {to, other} == {B, C}
    assert again.timeout_ms == 3_000


def test_when_nobody_is_up_the_last_problem_is_told_and_when_one_is_busy_that() -> None:
    calls = _calls({B: 0, C: 0})
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    down = CallReply(body.request, code="agent_down", message="restarting: ended with exit code 3")
    other, _, _ = _asked(calls.on_reply(to, down, instant(0)))
    fields: dict[str, object] = {
        "agent": "echo",
        "node": ids.short(other),
        "problem": "restarting: ended with exit code 3",
    }
    assert calls.on_reply(other, down, instant(0)) == [Reply(1, code="agent_down", fields=fields)]
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    other, _, _ = _asked(calls.on_reply(to, CallReply(body.request, code="no_free_agent"), instant(0)))
    assert _codes(calls.on_reply(other, structs.replace(down, request=body.request), instant(0))) == ["no_free_agent"]


def test_an_agent_that_is_not_up_refuses_with_its_problem() -> None:
    slots = Slots()
    slots.advertise((structs.replace(CARD, slots=0, problem="restarting: it crashed"),))
    calls = Calls(view=Mesh({}), slots=slots, rng=Random(7))
    (refusal,) = bodies(_serve(calls), CallReply)
    assert (refusal.code, refusal.message) == ("agent_down", "restarting: it crashed")


def test_a_node_that_is_not_there_is_followed_by_the_next() -> None:
    calls = _calls({B: 1, C: 1})
    to, _, probe = _asked(calls.make(ORDER, instant(0)))
    other, _, _ = _asked(calls.on_absent(probe, instant(0)))
    assert {to, other} == {B, C}
    assert _codes(calls.on_absent(probe, instant(0))) == ["no_free_agent"]
    assert calls.on_absent(probe, instant(0)) == []


def test_a_call_whose_input_does_not_fit_is_refused_as_bad_input() -> None:
    calls = _calls({B: 1, C: 1})
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    effects = calls.on_reply(to, CallReply(body.request, code="bad_input", message="x: no"), instant(0))
    assert effects == [Reply(1, code="bad_input", fields={"what": "x: no"})]


def test_a_call_that_may_have_run_is_never_tried_elsewhere() -> None:
    calls = _calls({B: 1, C: 1})
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    effects = calls.on_reply(to, CallReply(body.request, code="agent_crashed", message="no"), instant(0))
    fields: dict[str, object] = {"message": "no", "agent": body.agent, "node": ids.short(to)}
    assert effects == [Reply(1, code="agent_failed", fields=fields)]


def test_a_call_that_a_stopping_node_did_not_end_is_refused_and_not_tried_elsewhere() -> None:
    calls = _calls({B: 1, C: 1})
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    (reply,) = calls.on_reply(to, CallReply(body.request, code="stopping"), instant(1))
    assert reply == Reply(1, code="stopping", fields={"node": ids.short(to), "capability": ECHO})
    assert calls.next_deadline() is None


def test_a_capability_that_only_draining_nodes_have_is_not_called_unknown() -> None:
    view = Mesh({})
    view.drained = ("b", "c")
    calls = Calls(view=view, slots=Slots(), rng=Random(7))
    (reply,) = calls.make(ORDER, instant(0))
    assert reply == Reply(1, code="only_draining", fields={"holders": "b, c", "capability": ECHO})
    assert _codes(calls.make(structs.replace(ORDER, capability="other@1"), instant(0))) == ["no_agent"]


def test_a_call_that_is_not_answered_times_out_once() -> None:
    calls = _calls({B: 1, C: 1})
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    assert calls.on_tick(instant(4.999)) == []
    assert _codes(calls.on_tick(instant(5))) == ["timed_out"]
    assert calls.on_reply(to, CallReply(body.request, result=b"\x02"), instant(6)) == []


def test_an_answer_of_a_stranger_or_of_who_was_asked_before_is_ignored() -> None:
    calls = _calls({B: 1, C: 1})
    to, body, _ = _asked(calls.make(ORDER, instant(0)))
    assert calls.on_reply(D, CallReply(body.request, result=b"\x02"), instant(0)) == []
    calls.on_reply(to, CallReply(body.request, code="no_agent"), instant(0))
    assert calls.on_reply(to, CallReply(body.request, result=b"\x02"), instant(0)) == []


def test_only_so_many_nodes_are_tried() -> None:
    calls, tries = _calls({str(number) * 32: 1 for number in range(9)}), 0
    effects = calls.make(ORDER, instant(0))
    while bodies(effects, Call):
        to, body, _ = _asked(effects)
        tries += 1
        effects = calls.on_reply(to, CallReply(body.request, code="no_agent"), instant(0))
    assert tries == TRIES_MAX
    assert _codes(effects) == ["no_free_agent"]


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("bad_capability", {"capability": "echo"}),
        ("too_large", {"input": bytes(limits.INPUT_BYTES_MAX + 1)}),
        ("bad_input", {"hops": limits.HOPS_MAX + 1}),
        ("cycle", {"lineage": (OWN,)}),
        ("no_agent", {"capability": "other@1"}),
        ("unknown_agent", {"agent": "nobody"}),
    ],
)
def test_a_call_that_cannot_be_is_refused(code: str, fields: dict[str, object]) -> None:
    assert _codes(_calls({B: 1}).make(structs.replace(ORDER, **fields), instant(0))) == [code]


def test_open_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLS_OPEN_MAX", 1)
    calls = _calls({B: 5})
    assert _codes(calls.make(ORDER, instant(0))) == []
    assert _codes(calls.make(ORDER, instant(0))) == ["overloaded"]


# --- serving


def _serve(calls: Calls, body: Call = ASKED) -> list[Effect]:
    return calls.on_call(B, LIFE, body, iid="an iid", gid="a gid")


def test_a_call_is_served_by_an_agent_and_its_result_goes_back() -> None:
    calls = _calls({})
    (run,) = _serve(calls)
    assert isinstance(run, RunAgent)
    assert (run.by, run.src, run.iid, run.gid) == ("operator", B, "an iid", "a gid")
    assert (run.agent, run.epoch, run.deadline_s, run.iid, run.gid) == ("echo", 0, 5.0, "an iid", "a gid")
    assert "-" in run.task, "no task has such an id"
    (send,) = calls.on_finished(AgentFinished(run.task, 0, b"\x02"))
    assert send == Send(B, LIFE, CallReply(7, result=b"\x02"))
    assert calls.on_finished(AgentFinished(run.task, 0, b"\x02")) == []


def test_a_failure_of_the_agent_goes_back_within_its_bound() -> None:
    calls = _calls({})
    (run,) = _serve(calls)
    assert isinstance(run, RunAgent)
    (reply,) = bodies(calls.on_failed(AgentFailed(run.task, 0, "agent_crashed", "x" * 9_999, True)), CallReply)
    assert (reply.code, len(reply.message)) == ("agent_crashed", limits.TEXT_CHARS_MAX)


def test_a_call_that_is_heard_twice_runs_once() -> None:
    calls = _calls({})
    assert _serve(calls)
    assert _serve(calls) == []


def test_what_cannot_be_served_is_refused_with_the_reason() -> None:
    calls = _calls({})
    assert [each.code for each in bodies(_serve(calls, structs.replace(ASKED, capability="x@1")), CallReply)] == [
        "no_agent"
    ]
    for request in range(CARD.slots):
        assert isinstance(_serve(calls, structs.replace(ASKED, request=request))[0], RunAgent)
    assert [each.code for each in bodies(_serve(calls, structs.replace(ASKED, request=99)), CallReply)] == [
        "no_free_agent"
    ]
    calls.close()
    assert [each.code for each in bodies(_serve(calls), CallReply)] == ["draining"]
    calls.reopen()
    assert [each.code for each in bodies(_serve(calls, structs.replace(ASKED, request=99)), CallReply)] == [
        "no_free_agent"
    ]


def test_a_node_that_leaves_ends_what_it_serves_and_tells_who_asked() -> None:
    calls = _calls({})
    (run,) = _serve(calls)
    assert isinstance(run, RunAgent)
    stop, send = calls.leave()
    assert stop == StopAgent(run.task, 0)
    assert send == Send(B, LIFE, CallReply(7, code="stopping", message="the node is stopping"))
    assert calls.leave() == []
    assert calls.on_finished(AgentFinished(run.task, 0, b"\x02")) == [], "its answer is nobody's any more"


def test_a_slot_is_free_again_when_the_call_is_over() -> None:
    calls = _calls({})
    for request in range(3 * CARD.slots):
        (run,) = _serve(calls, structs.replace(ASKED, request=request))
        assert isinstance(run, RunAgent)
        calls.on_finished(AgentFinished(run.task, 0, b""))
