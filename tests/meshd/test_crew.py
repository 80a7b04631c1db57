"""Agents come, change and go while the node runs: every change on disk and by an operator, and what may go wrong."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.errors import MeshError
from protocol.inputs import AgentFailed
from tests.meshd.crew_stage import PROGRAM, Stage, text
from tests.waiting import until

# --- the folder


async def test_a_manifest_that_appears_is_taken_up_once_it_stood_still_for_a_look(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        assert stage.cards == ()
        stage.write(text()[:40])
        stage.crew.look()
        stage.write(text())
        stage.crew.look()
        assert stage.problems() == []  # nobody read it while it was being written
        stage.crew.look()
        await until(lambda: stage.states() == {"worker": "ready"})
        assert stage.announced == ["worker"]
        assert await stage.end(stage.give()) == "one"


async def test_the_folder_is_looked_at_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshd.crew.LOOK_S", 0.01)
    async with Stage(tmp_path) as stage:
        stage.write(text())
        await until(lambda: stage.states() == {"worker": "ready"})
        (stage.folder / "worker.toml").unlink()
        await until(lambda: stage.states() == {})
        assert stage.cards == ()


async def test_new_work_goes_to_the_altered_agent_and_the_old_one_ends_what_it_has(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        held = stage.give("hold")
        stage.write(text(says="two", capabilities=["work@1", "more@1"]))
        stage.look_twice()
        await stage.does("two")
        assert stage.cards[0].capabilities == ("work@1", "more@1")
        assert stage.hosting.hosted()[0].running == 1
        stage.release()
        assert await stage.end(held) == "one"
        assert stage.problems() == []


async def test_what_an_altered_agent_does_not_end_in_time_is_given_back_uncounted(tmp_path: Path) -> None:
    stage = Stage(tmp_path, drain_s=0.05)
    stage.write(text())
    async with stage:
        held = stage.give("hold")
        stage.write(text(says="two"))
        stage.look_twice()
        ended = await stage.end(held)
        assert ended == AgentFailed(held, 1, "agent_unavailable", "the agent worker was declared anew", retry=True)
        await stage.does("two")


async def test_a_removed_agent_takes_nothing_new_ends_what_it_has_and_is_gone(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        held = stage.give("hold")
        (stage.folder / "worker.toml").unlink()
        stage.look_twice()
        await until(lambda: stage.states() == {"worker": "draining"})
        assert stage.cards == ()
        late = await stage.end(stage.give())
        assert late == AgentFailed("t2", 1, "agent_unavailable", "the agent worker is gone", retry=True)
        stage.release()
        assert await stage.end(held) == "one"
        await until(lambda: stage.states() == {})
        assert stage.said("removed") == ["worker"]


async def test_a_file_that_is_away_for_one_look_is_not_removed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        (stage.folder / "worker.toml").unlink()
        stage.crew.look()
        stage.write(text())
        stage.look_twice()
        stage.crew.look()
        assert stage.states() == {"worker": "ready"}


async def test_work_that_was_awarded_before_its_capability_was_withdrawn_is_given_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        stage.write(text(says="two", capabilities=["other@1"]))
        stage.look_twice()
        await until(lambda: stage.cards[0].capabilities == ("other@1",))
        ended = await stage.end(stage.give())
        assert ended == AgentFailed("t1", 1, "agent_unavailable", "the agent worker has work@1 no more", retry=True)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/mem")  # a regular file whose first byte nobody may read, root included


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda path: path.write_text("name = "), "is not TOML: Invalid value (at end of document)"),
    "key": (lambda path: path.write_text(text(slot=3)), "slot: no such key; did you mean slots?"),
    "command": (lambda path: path.write_text(text(run=["./gone"])), "run: there is no file {folder}/gone"),
    "dies": (
        lambda path: path.write_text(text(run=[sys.executable, "-c", "raise SystemExit('no disk')"])),
        "run: the agent ended with exit code 1: no disk",
    ),
    "import": (
        lambda path: path.write_text(text(kind="python", run="nowhere:agent")),
        "run: the agent ended with exit code 1: ModuleNotFoundError: No module named 'nowhere'",
    ),
    "name": (lambda path: path.write_text(text(name="Worker!")), "name: must be 1 to 48 of a-z 0-9 _ -"),
    "directory": (_directory, "cannot be read: Is a directory"),
    "pipe": (_pipe, "is no regular file"),
    "large": (lambda path: path.write_bytes(b"#" * 10_000_000), "is larger than 65536 bytes"),
    "unreadable": (_unreadable, "cannot be read: Input/output error"),
    "loop": (_loop, "cannot be read: Too many levels of symbolic links"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe"), "is UTF-16: save it as UTF-8"),
}


@pytest.mark.parametrize("way", BROKEN)
async def test_a_broken_manifest_is_refused_in_one_sentence_said_once_and_the_former_agent_works_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "dies":
        monkeypatch.setattr("meshd.hosting.STEADY_S", 2.0)  # a busy machine takes its time to start what dies at once
    spoil, sentence = BROKEN[way]
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        path = stage.folder / "worker.toml"
        spoil(path)
        for _ in range(12):
            stage.crew.look()
        await until(stage.problems, what="a problem")
        (problem,) = stage.problems()
        assert problem.startswith(f"{path}: {sentence.format(folder=stage.folder)}"), problem
        assert "\n" not in problem
        assert len(stage.said("refused")) == 1
        assert await stage.end(stage.give()) == "one"
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
        stage.write(text(says="mended"))
        stage.look_twice()
        await stage.does("mended")
        assert stage.problems() == []


async def test_a_manifest_whose_program_comes_later_is_taken_up_without_being_touched(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        stage.write(text(run=["./late"]))
        stage.look_twice()
        assert len(stage.problems()) == 1
        program = stage.folder / "late"
        program.write_text(f"#!{sys.executable}\nimport sys\nsys.argv.append('late')\n{PROGRAM}")
        program.chmod(0o755)
        for _ in range(11):
            stage.crew.look()
        await until(lambda: stage.states() == {"worker": "ready"})
        assert stage.problems() == []


async def test_of_two_files_that_name_one_agent_the_one_at_work_keeps_it_until_it_is_gone(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        stage.write(text(says="usurper"), "a.toml")
        stage.look_twice()
        (problem,) = stage.problems()
        assert problem == (
            f"{stage.folder}/a.toml: name: an agent called worker stands in {stage.folder}/worker.toml already"
        )
        assert await stage.end(stage.give()) == "one"
        (stage.folder / "worker.toml").unlink()
        stage.look_twice()
        await stage.does("usurper")
        assert stage.problems() == []


async def test_a_folder_that_is_gone_or_is_no_folder_leaves_its_agents_at_work(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        away = tmp_path / "away"
        stage.folder.rename(away)
        stage.look_twice()
        assert stage.problems() == [f"{stage.folder}: is gone; its agents run on as they were"]
        stage.folder.write_text("no folder")
        stage.look_twice()
        assert stage.problems() == [f"{stage.folder}: cannot be listed: Not a directory"]
        assert stage.states() == {"worker": "ready"}
        stage.folder.unlink()
        away.rename(stage.folder)
        stage.look_twice()
        assert (stage.problems(), stage.states()) == ([], {"worker": "ready"})


async def test_a_broken_manifest_is_a_problem_at_the_start_and_the_other_agents_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    stage.write("name = ", "broken.toml")
    stage.write(text(name="python", kind="python", run="nowhere:agent"), "python.toml")
    async with stage:
        assert stage.states() == {"worker": "ready", "python": "failed"}
        assert len(stage.problems()) == 2
        assert stage.announced == ["worker"]


# --- an operator


async def test_an_added_agent_is_kept_in_the_folder_and_works_at_once(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        hosted = await stage.crew.add(text())
        assert (hosted.agent.card.name, hosted.state) == ("worker", "ready")
        assert (stage.folder / "worker.toml").read_text() == text()
        assert stage.crew.file_of("worker") == str(stage.folder / "worker.toml")
        assert await stage.end(stage.give()) == "one"
        stage.look_twice()
        assert stage.said("ready") == ["worker"]  # the look finds what it knows already


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        ("name = ", "is not TOML"),
        (text(slots=0), "slots: must be a whole number from 1 to 64, not 0"),
        (text(kind="python", run="nowhere:agent"), "run: the agent ended with exit code 1: ModuleNotFoundError"),
        (text(directory="/nowhere"), "directory: there is no directory /nowhere"),
    ],
)
async def test_an_agent_that_cannot_be_is_not_added_and_nothing_is_kept(
    tmp_path: Path, manifest: str, problem: str
) -> None:
    async with Stage(tmp_path) as stage:
        with pytest.raises(MeshError) as caught:
            await stage.crew.add(manifest, file="mine.toml")
        assert caught.value.message.startswith(f"mine.toml: {problem}"), caught.value.message
        assert list(stage.folder.iterdir()) == []
        assert stage.states() == {}


async def test_an_added_agent_takes_the_place_of_one_of_its_name_only_when_told_to(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text(), "elsewhere.toml")
    async with stage:
        held = stage.give("hold")
        with pytest.raises(MeshError) as caught:
            await stage.crew.add(text(says="two"))
        assert caught.value.code == "agent_exists"
        assert await stage.end(stage.give()) == "one"
        await stage.crew.add(text(says="two"), is_replacement=True)
        assert await stage.end(stage.give()) == "two"
        assert [path.name for path in stage.folder.iterdir()] == ["elsewhere.toml"]
        stage.release()
        assert await stage.end(held) == "one"


async def test_a_stopped_agent_ends_what_it_has_and_stays_stopped_over_a_restart(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        stage.release()
        hosted = await stage.crew.stop_one("worker")
        assert hosted.state == "stopped"
        assert stage.cards == ()
        stage.write(text(says="two"))
        stage.look_twice()  # an altered one stays stopped, too
        await until(lambda: stage.crew._tried["worker"].command[-1] == "two")
        assert stage.states() == {"worker": "stopped"}
    again = Stage(tmp_path)
    async with again:
        assert again.states() == {"worker": "stopped"}
        assert (await again.crew.start_one("worker")).state == "ready"
        assert await again.end(again.give()) == "two"
    async with Stage(tmp_path) as third:
        assert third.states() == {"worker": "ready"}


async def test_a_stop_that_meets_work_says_so_in_time_and_gives_it_back_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshd.crew.SETTLE_S", 0.01)
    stage = Stage(tmp_path, drain_s=0.3)
    stage.write(text())
    async with stage:
        held = stage.give("hold")
        hosted = await stage.crew.stop_one("worker")
        assert (hosted.state, hosted.running) == ("draining", 1)
        ended = await stage.end(held)
        why = "the agent worker was stopped by an operator"
        assert ended == AgentFailed(held, 1, "agent_unavailable", why, retry=True)
        await until(lambda: stage.states() == {"worker": "stopped"})


async def test_an_agent_that_is_started_while_it_drains_works_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshd.crew.SETTLE_S", 0.01)
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        held = stage.give("hold")
        await stage.crew.stop_one("worker")
        assert (await stage.crew.start_one("worker")).state == "ready"
        assert await stage.end(stage.give()) == "one"
        stage.release()
        assert await stage.end(held) == "one"


def write_later(folder: Path) -> None:
    """The module of an agent that could not be imported until now."""
    (folder / "later.py").write_text(
        "from meshd.sdk import Agent\n\nagent = Agent('worker')\n\n\n"
        "@agent.handles('work@1')\ndef work(text: str) -> str:\n    return 'later'\n"
    )


@pytest.mark.parametrize("is_first", [True, False], ids=["as the daemon starts", "in the place of another"])
async def test_an_agent_that_did_not_come_up_is_tried_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    looks = 5
    for name, value in (("LOOK_S", 1e6), ("AGAIN_S", looks * 1e6), ("AGAIN_S_MAX", 1e9)):  # it looks when we say so
        monkeypatch.setattr(f"meshd.crew.{name}", value)
    stage = Stage(tmp_path)
    late = text(kind="python", run="later:agent")
    stage.write(late if is_first else text())
    async with stage:
        if not is_first:
            stage.write(late)
            stage.look_twice()
        await until(stage.problems, what="a problem")
        (problem,) = stage.problems()
        assert "later" in problem
        for _ in range(looks):  # the second try, which fails as well
            stage.crew.look()
        await until(lambda: not stage.is_changing("worker"))
        assert stage.problems() == [problem]
        assert len(stage.said("refused")) == (0 if is_first else 1)
        if not is_first:
            assert await stage.end(stage.give()) == "one"  # the former works on
        write_later(stage.folder)
        for _ in range(2 * looks - 1):
            stage.crew.look()
        assert not stage.is_changing("worker")
        stage.crew.look()
        await until(lambda: stage.problems() == [])
        await stage.does("later")


async def test_a_failed_agent_is_started_again_when_what_it_lacked_is_there(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text(kind="python", run="later:agent"))
    async with stage:
        assert stage.states() == {"worker": "failed"}
        with pytest.raises(MeshError) as caught:
            await stage.crew.start_one("worker")
        assert caught.value.code == "manifest"
        write_later(stage.folder)
        assert (await stage.crew.start_one("worker")).state == "ready"
        assert await stage.end(stage.give("x")) == "later"
        assert stage.problems() == []


async def test_a_removed_agent_takes_its_file_along_and_comes_back_running(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        await stage.crew.stop_one("worker")
        assert await stage.crew.remove("worker") is None
        assert list(stage.folder.iterdir()) == []
        stage.look_twice()
        assert (await stage.crew.add(text())).state == "ready"


@pytest.mark.parametrize("deed", ["remove", "start_one", "stop_one"])
async def test_an_agent_that_is_not_here_can_be_asked_for_nothing(tmp_path: Path, deed: str) -> None:
    async with Stage(tmp_path) as stage:
        with pytest.raises(MeshError) as caught:
            await getattr(stage.crew, deed)("nobody")
        assert caught.value.code == "unknown_agent"


async def test_a_memory_that_cannot_be_read_is_a_problem_and_agents_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    stage.memory.write_text("{")
    async with stage:
        assert stage.states() == {"worker": "ready"}
        problem = "is not what meshd wrote there, so agents that were stopped run again"
        assert stage.problems() == [f"{stage.memory}: {problem}"]
        await stage.crew.stop_one("worker")
        assert stage.problems() == []


async def test_the_log_of_an_agent_goes_on_when_it_is_altered(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write(text())
    async with stage:
        await until(lambda: stage.hosting.log("worker") == (1, ["up as one"]))
        await stage.crew.add(text(says="two"), is_replacement=True)
        await until(lambda: stage.hosting.log("worker") == (2, ["up as one", "up as two"]))
