"""What every agent adapter does, over all kinds alike: `meshd.ports.Agent`."""

import asyncio
import os
import signal
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshd.agents.adapters import ADAPTERS
from meshd.ports import Failed, Finished
from protocol.errors import MeshError
from protocol.limits import OUTPUT_BYTES_MAX
from tests.contracts.stage import SHORT, Desk, Stage, answered, is_running, ordered
from tests.waiting import until

PEAK_BYTES_MAX = 16_000_000  # of the daemon, while an agent prints 50 or 200 MB


# What a kind does not do, and why. Everything else every kind does.
DIFFERENCES: dict[tuple[str, str], tuple[str, ...]] = {
    ("http", "one request has one answer: a service that wants more of the mesh asks its API"): (
        "test_parts_make_up_the_result",
        "test_progress_reaches_the_desk_in_order",
        "test_a_call_reaches_the_desk_and_its_answer_the_agent",
        "test_a_submit_reaches_the_desk_and_its_answer_the_agent",
        "test_a_refusal_of_the_mesh_reaches_the_agent",
    ),
    ("http", "nothing of it runs here: no process is started, ended or named, and a crash is a closed connection"): (
        "test_an_agent_that_ignores_a_cancel_is_ended_and_replaced",
        "test_a_crash_fails_the_task_in_hand_with_how_and_the_last_words",
        "test_a_crash_is_not_explained_by_what_was_said_before_the_run",
        "test_an_agent_that_crashed_is_started_again",
        "test_a_kill_from_outside_is_named_by_its_signal",
        "test_a_crash_of_an_idle_agent_is_mended_too",
        "test_while_it_waits_to_start_again_it_is_unavailable_at_once",
        "test_an_agent_that_keeps_crashing_is_given_up_until_it_is_started_again",
        "test_an_answer_in_between_makes_the_crashes_no_row",
        "test_stderr_is_its_log_and_survives_a_restart",
        "test_a_flood_on_stderr_keeps_only_its_end",
        "test_it_sees_its_folder_its_name_and_none_of_the_daemons_secrets",
        "test_memory_beyond_its_limit_is_not_to_be_had",
        "test_stop_ends_what_its_processes_started_too",
        "test_a_crash_ends_what_the_process_started_too",
    ),
    ("mcp", "a tool is called and answers: it has no way to ask for more, and its progress is a number"): (
        "test_parts_make_up_the_result",
        "test_progress_reaches_the_desk_in_order",
        "test_a_call_reaches_the_desk_and_its_answer_the_agent",
        "test_a_submit_reaches_the_desk_and_its_answer_the_agent",
        "test_a_refusal_of_the_mesh_reaches_the_agent",
    ),
    ("mcp", "MCP has no word for `try again`"): ("test_an_agent_that_says_why_it_could_not_is_quoted",),
    ("mcp", "MCP has no answer to a cancel: nobody can tell whether the server ignores it"): (
        "test_an_agent_that_ignores_a_cancel_is_ended_and_replaced",
    ),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs over every kind that is not excused from it by name."""
    if "kind" in metafunc.fixturenames:
        name = metafunc.function.__name__
        excused = {kind for (kind, _), tests in DIFFERENCES.items() if name in tests}
        metafunc.parametrize("kind", sorted(set(ADAPTERS) - excused))


def test_every_difference_names_a_test() -> None:
    named = {name for tests in DIFFERENCES.values() for name in tests}
    assert named <= set(globals())


@pytest.fixture
async def stage(kind: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(kind, tmp_path) as stage:
        yield stage


# --- work and answers


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63,
        -(2**63),
        1.5,
        "",
        "ünï ✓ \U0001f600 \u202e",
        "a\nb\x00\x1b",
        [],
        {},
        {"a": [1, {"b": None}]},
    ],
    ids=ascii,
)
async def test_what_goes_in_comes_back_unchanged(stage: Stage, value: object) -> None:
    assert await stage.act("echo", value) == Finished(value)


async def test_a_large_value_fits_both_ways(stage: Stage) -> None:
    text = "ü" * (OUTPUT_BYTES_MAX // 2 - 100)
    assert await stage.act("echo", text) == Finished(text)


async def test_the_agent_is_told_which_attempt_of_which_task_it_works_on(stage: Stage) -> None:
    outcome = await stage.act("given", task="mine", epoch=7, attempt=3)
    assert isinstance(outcome, Finished)
    assert isinstance(outcome.output, dict)
    expected = {"task": "mine", "epoch": 7, "attempt": 3, "iid": "an-iid", "gid": "a-gid"}
    assert {key: outcome.output[key] for key in expected} == expected


async def test_an_agent_that_says_why_it_could_not_is_quoted(stage: Stage) -> None:
    assert await stage.act("fail", "no such customer") == Failed("agent_failed", "no such customer", retry=True)
    assert await stage.act("echo", 1) == Finished(1)


async def test_parts_make_up_the_result(stage: Stage) -> None:
    capability = "parts@1" if stage.kind == "python" else "act@1"
    assert await stage.act("parts", [1, "two", None], capability=capability) == Finished([1, "two", None])


async def test_progress_reaches_the_desk_in_order(stage: Stage) -> None:
    desk = Desk()
    await stage.act("progress", {"done": 1}, desk)
    await stage.act("progress", "half", desk)
    assert desk.said == [{"done": 1}, "half"]


async def test_a_call_reaches_the_desk_and_its_answer_the_agent(stage: Stage) -> None:
    desk = Desk()
    assert await stage.act("call", {"x": 1}, desk) == Finished({"answer to": {"x": 1}})
    assert desk.asked == [("call", "other@1", {"x": 1}, 30.0)]


async def test_a_submit_reaches_the_desk_and_its_answer_the_agent(stage: Stage) -> None:
    desk = Desk()
    assert await stage.act("submit", [1], desk) == Finished({"answer to": [1]})
    assert await stage.act("submit-only", [2], desk) == Finished({"answer to": [2]})
    assert desk.asked == [("submit", "other@1", [1], "", True), ("submit", "other@1", [2], "mine", False)]


@pytest.mark.parametrize("verb", ["call", "submit"])
async def test_a_refusal_of_the_mesh_reaches_the_agent(stage: Stage, verb: str) -> None:
    refusal = MeshError("no_agent", capability="other@1")
    assert await stage.act(verb, 1, Desk(refusal)) == Finished(f"no_agent: {refusal.message}")


async def test_several_slots_work_at_once_and_one_more_task_waits(kind: str, tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    async with Stage(kind, tmp_path, slots=3) as stage:
        meeting = [stage.start("meet", [str(tmp_path / "met"), 3, name]) for name in "abc"]
        outcomes = await asyncio.gather(*meeting, stage.start("echo", "waited"))
    assert outcomes[3] == Finished("waited")
    pids = {outcome.output for outcome in outcomes[:3] if isinstance(outcome, Finished)}
    assert len(pids) == (3 if kind == "python" else 1)


async def test_a_task_that_finds_no_slot_within_its_deadline_is_handed_back(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk)
    await stage.has_begun(desk)
    outcome = await stage.act("echo", 1, deadline_s=0.05)
    assert outcome == Failed("agent_unavailable", "no slot was free within 0.05 s", retry=True)
    holding.cancel()
    await asyncio.wait([holding])


async def test_a_value_that_does_not_fit_its_schema_gets_neither_in_nor_out(kind: str, tmp_path: Path) -> None:
    takes = {"not": {"const": ordered(kind, "echo", "unfit to go in")}}
    gives = {"not": {"const": answered(kind, "unfit to come out")}}
    async with Stage(kind, tmp_path, schemas={"act@1": {"takes": takes, "gives": gives}}) as stage:
        into = await stage.act("echo", "unfit to go in")
        out = await stage.act("echo", "unfit to come out")
        assert await stage.act("echo", "fit") == Finished("fit")
        assert stage.agent.schemas["act@1"].takes == takes
    assert isinstance(into, Failed)
    assert isinstance(out, Failed)
    assert (into.code, into.retry, out.code, out.retry) == ("bad_input", False, "agent_output", False)
    assert into.message.startswith("the input does not fit what act@1 takes: ")
    assert out.message.startswith("the result does not fit what act@1 gives: ")


# --- stopping one task


async def test_a_cancelled_task_is_told_to_the_agent_which_goes_on_with_others(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk)
    await stage.has_begun(desk)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    before = stage.agent.pids
    assert await stage.act("echo", "next") == Finished("next")
    assert stage.agent.pids == before


async def test_an_agent_that_ignores_a_cancel_is_ended_and_replaced(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("stubborn", desk=desk)
    await stage.has_begun(desk)
    [old] = stage.agent.pids
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert not is_running(old)
    assert await stage.act("echo", "next") == Finished("next")
    assert stage.agent.pids != [old]
    assert "restarting" not in [state for state, _ in stage.changes]


async def test_a_task_past_its_limit_fails_and_the_agent_works_on(kind: str, tmp_path: Path) -> None:
    async with Stage(kind, tmp_path, limits={"task_s": 1.5}) as stage:
        assert await stage.act("stubborn") == Failed(
            "agent_timeout", "the agent took longer than the 1.5 s it had", retry=True
        )
        assert await stage.act("echo", "next") == Finished("next")


async def test_a_task_past_its_deadline_fails_like_one_past_its_limit(stage: Stage) -> None:
    outcome = await stage.act("hold", deadline_s=0.2)
    assert isinstance(outcome, Failed)
    assert outcome.code == "agent_timeout"


async def test_stopping_one_task_leaves_the_others_at_work(kind: str, tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    async with Stage(kind, tmp_path, slots=2) as stage:
        desk = Desk()
        stubborn = stage.start("stubborn", desk=desk)
        await stage.has_begun(desk)
        meeting = stage.start("meet", [str(tmp_path / "met"), 2, "a"])
        await until(lambda: (tmp_path / "met" / "a").exists())
        stubborn.cancel()
        await asyncio.wait([stubborn], timeout=2 * SHORT.grace_s)  # it may be over with the others alone
        (tmp_path / "met" / "b").touch()
        assert isinstance(await meeting, Finished)
        await asyncio.wait([stubborn])
        assert await stage.act("echo", "next") == Finished("next")


# --- crashes


async def test_a_crash_fails_the_task_in_hand_with_how_and_the_last_words(stage: Stage) -> None:
    assert await stage.act("last-words", "the disk is on fire") == Failed(
        "agent_crashed", "the agent ended with exit code 3: the disk is on fire before it answered", retry=True
    )


async def test_a_crash_is_not_explained_by_what_was_said_before_the_run(stage: Stage) -> None:
    await stage.act("log", "all is well")
    await until(lambda: "all is well" in stage.agent.log())
    assert await stage.act("exit", 3) == Failed(
        "agent_crashed", "the agent ended with exit code 3 before it answered", retry=True
    )


async def test_an_agent_that_crashed_is_started_again(stage: Stage) -> None:
    await stage.act("exit", 3)
    assert stage.agent.state == "restarting"
    await until(lambda: stage.agent.state == "ready")
    assert await stage.act("echo", "again") == Finished("again")
    states = [state for state, _ in stage.changes]
    assert states == ["starting", "ready", "restarting", "ready"]
    assert "exit code 3" in stage.changes[2][1]


async def test_a_kill_from_outside_is_named_by_its_signal(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("hold", desk=desk)
    await stage.has_begun(desk)
    os.kill(stage.agent.pids[0], signal.SIGKILL)
    assert await holding == Failed("agent_crashed", "the agent was killed by SIGKILL before it answered", retry=True)


async def test_a_crash_of_an_idle_agent_is_mended_too(stage: Stage) -> None:
    os.kill(stage.agent.pids[0], signal.SIGKILL)
    await until(lambda: ("restarting", "was killed by SIGKILL") in stage.changes and stage.agent.state == "ready")
    assert await stage.act("echo", 1) == Finished(1)


async def test_while_it_waits_to_start_again_it_is_unavailable_at_once(kind: str, tmp_path: Path) -> None:
    slow = SHORT.__class__(backoff_s_min=60.0, backoff_s_max=60.0, grace_s=0.3, stop_s=1.0)
    async with Stage(kind, tmp_path, patience=slow) as stage:
        await stage.act("die")
        await until(lambda: stage.agent.state == "restarting")
        assert await stage.act("echo", 1) == Failed(
            "agent_unavailable", "the agent is restarting: was killed by SIGKILL", retry=True
        )


async def test_an_agent_that_keeps_crashing_is_given_up_until_it_is_started_again(kind: str, tmp_path: Path) -> None:
    few = SHORT.__class__(backoff_s_min=0.01, backoff_s_max=0.01, crashes_max=3, grace_s=0.3, stop_s=1.0)
    async with Stage(kind, tmp_path, patience=few) as stage:
        for _ in range(3):
            await until(lambda: stage.agent.pids and stage.agent.state == "ready")
            await stage.act("exit", 4)
        await until(lambda: stage.agent.state == "failed")
        assert stage.agent.detail == "given up after 3 crashes in a row; the last one ended with exit code 4"
        await stage.agent.start()
        assert await stage.act("echo", "asked") == Finished("asked")


async def test_an_answer_in_between_makes_the_crashes_no_row(kind: str, tmp_path: Path) -> None:
    few = SHORT.__class__(backoff_s_min=0.01, backoff_s_max=0.01, crashes_max=2, grace_s=0.3, stop_s=1.0)
    async with Stage(kind, tmp_path, patience=few) as stage:
        for number in range(3):
            await until(lambda: stage.agent.pids and stage.agent.state == "ready")
            assert await stage.act("echo", number) == Finished(number)
            await stage.act("exit", 4)
        await until(lambda: stage.agent.state == "ready")


# --- what must not come out


async def test_megabytes_of_output_fail_the_task_and_do_not_grow_the_daemon(stage: Stage) -> None:
    await stage.act("echo", 1)
    tracemalloc.start()
    try:
        outcome = await stage.act("flood")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(outcome, Failed)
    assert outcome.code == "agent_output"
    assert not outcome.retry
    told = {
        "stdio": "printed more than 1573888 bytes in line",
        "python": "50000005 bytes; the limit is 262144",
        "http": "the agent answers more than 1573888 bytes",
        "mcp": "the agent says more than 4194304 bytes at once",
    }
    assert told[stage.kind] in outcome.message
    assert peak_bytes < PEAK_BYTES_MAX
    await until(lambda: stage.agent.state == "ready")
    assert await stage.act("echo", "next") == Finished("next")


async def test_a_result_over_the_agents_own_limit_fails_that_task_only(kind: str, tmp_path: Path) -> None:
    async with Stage(kind, tmp_path, limits={"output_bytes": 1_000}) as stage:
        before = stage.agent.pids
        assert await stage.act("huge", 997) == Finished("x" * 997)
        assert await stage.act("huge", 998) == Failed(
            "agent_output", "the result is 1001 bytes; the limit is 1000", retry=False
        )
        assert stage.agent.pids == before


async def test_an_integer_that_no_record_can_hold_is_refused(stage: Stage) -> None:
    if stage.kind == "python":
        outcome = await stage.act("parts", [2**64], capability="parts@1")
    elif stage.kind == "mcp":
        outcome = await stage.act("big")
    else:
        outcome = await stage.act("raw", '{"task": "big", "result": 18446744073709551616}', task="big")
    assert outcome == Failed("agent_output", "the result holds an integer of more than 64 bits", retry=False)


async def test_a_value_nested_too_deep_is_refused(stage: Stage) -> None:
    deep: object = 1
    for _ in range(20):
        deep = [deep]
    assert await stage.act("echo", deep) == Failed(
        "agent_output", "the result is nested more than 16 levels deep", retry=False
    )


async def test_stderr_is_its_log_and_survives_a_restart(stage: Stage) -> None:
    await stage.act("log", "before ✓")
    await until(stage.agent.log)
    await stage.act("exit", 1)
    await until(lambda: stage.agent.state == "ready")
    await stage.act("log", "after")
    await until(lambda: "after" in stage.agent.log())
    assert stage.agent.log() == ["before ✓", "meshd: the agent ended with exit code 1", "after"]


async def test_a_flood_on_stderr_keeps_only_its_end(stage: Stage) -> None:
    await stage.act("log", "x" * 3_000_000 + "\n" + "line\n" * 100_000 + "the end")
    await until(lambda: stage.agent.log()[-1:] == ["the end"])
    assert len(stage.agent.log()) <= 500
    assert max(map(len, stage.agent.log())) <= 2_048


# --- the process


async def test_it_sees_its_folder_its_name_and_none_of_the_daemons_secrets(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHD_SECRET", "hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("LC_TIME", "C.UTF-8")
    async with Stage(kind, tmp_path) as stage:
        outcome = await stage.act("environment")
        assert await stage.act("folder") == Finished(str(tmp_path))
    assert isinstance(outcome, Finished)
    assert isinstance(outcome.output, dict)
    allowed = {
        "PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "MESHD_AGENT",
        "PYTHONUNBUFFERED",
        "PYTHONIOENCODING",
    }
    assert {name for name in outcome.output if not name.startswith("LC_")} <= allowed
    assert outcome.output["MESHD_AGENT"] == "actor"
    assert outcome.output["LC_TIME"] == "C.UTF-8"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux bounds what a process writes to")
async def test_memory_beyond_its_limit_is_not_to_be_had(kind: str, tmp_path: Path) -> None:
    async with Stage(kind, tmp_path, limits={"memory_mb": 200, "task_s": 1}) as stage:
        assert await stage.act("memory", 10_000_000) == Finished(10_000_000)
        assert isinstance(await stage.act("memory", 400_000_000), Failed)


async def started_by(stage: Stage) -> int:
    """A process that the agent's process started."""
    outcome = await stage.act("child")
    assert isinstance(outcome, Finished)
    assert isinstance(outcome.output, int)
    return outcome.output


async def test_stop_ends_what_its_processes_started_too(stage: Stage) -> None:
    grandchild = await started_by(stage)
    assert is_running(grandchild)
    pids = stage.agent.pids
    await stage.agent.stop()
    assert stage.agent.state == "stopped"
    assert not any(is_running(pid) for pid in pids)
    await until(lambda: not is_running(grandchild))  # nobody but init reaps it


async def test_a_crash_ends_what_the_process_started_too(stage: Stage) -> None:
    grandchild = await started_by(stage)
    await stage.act("die")
    await until(lambda: not is_running(grandchild))


async def test_stop_ends_an_agent_that_does_not_want_to(stage: Stage) -> None:
    desk = Desk()
    holding = stage.start("stubborn", desk=desk)
    await stage.has_begun(desk)
    pids = stage.agent.pids
    await stage.agent.stop()
    assert not any(is_running(pid) for pid in pids)
    assert await holding == Failed("agent_unavailable", "the agent was stopped before it answered", retry=True)
    assert await stage.act("echo", 1) == Failed("agent_unavailable", "the agent is stopped", retry=True)
    await stage.agent.stop()


async def test_the_end_of_the_daemons_tasks_is_the_end_of_its_agents(kind: str, tmp_path: Path) -> None:
    stage = Stage(kind, tmp_path)
    await stage.agent.start()
    pids = stage.agent.pids
    await stage.close()
    assert not any(is_running(pid) for pid in pids)
    assert stage.failures == []


async def test_the_card_says_what_the_manifest_declares(kind: str, tmp_path: Path) -> None:
    async with Stage(kind, tmp_path, slots=2, domain="sales", latency_profile_ms=1200) as stage:
        card = stage.agent.card
        assert (card.name, card.slots, card.kind, card.domain, card.latency_ms) == ("actor", 2, kind, "sales", 1200)
