"""The embedded server's life, with real processes."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from meshd.broker import disk, process, server
from meshd.broker.probe import probe
from meshd.broker.server import EmbeddedServer
from meshd.supervise import Supervisor
from protocol.errors import MeshError
from tests.servers import free_port
from tests.waiting import until, until_told

pytestmark = pytest.mark.live

PASSWORD = "a-credential-of-more-than-32-characters"


class Daemon:
    """What a daemon is to its server: a supervisor that may go away without a word."""

    def __init__(self, directory: Path, *, listen: str | None = None, password: str = PASSWORD) -> None:
        self.failures: list[tuple[str, BaseException]] = []
        self.given_up: list[str] = []
        self.supervisor = Supervisor(lambda name, failure: self.failures.append((name, failure)))
        self.server = EmbeddedServer(
            directory,
            name="node-a",
            password=password,
            listen=f"127.0.0.1:{free_port()}" if listen is None else listen,
            supervisor=self.supervisor,
            on_given_up=self.given_up.append,
        )

    async def answers(self) -> bool:
        host, port = self.server.address
        found = await probe(host, port, user="meshd", password=PASSWORD, within_s=5)
        return found is not None and found.is_ready


Daemons = Callable[..., Daemon]


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    """Makes daemons on one directory; whatever happens, none of their servers outlives the test."""
    made: list[Daemon] = []

    def make(**options: str) -> Daemon:
        made.append(Daemon(tmp_path, **options))
        return made[-1]

    yield make
    for daemon in reversed(made):
        await daemon.server.stop()
        await daemon.supervisor.close()
    assert [daemon.failures for daemon in made] == [[]] * len(made)


@pytest.fixture
async def daemon(daemons: Daemons) -> Daemon:
    made = daemons()
    await made.server.start()
    return made


async def test_a_started_server_answers_where_it_says(daemon: Daemon, tmp_path: Path) -> None:
    assert await daemon.answers()
    assert daemon.server.url == f"nats://127.0.0.1:{daemon.server.address[1]}"
    assert daemon.server.pid == int((tmp_path / "nats" / "pid").read_text())
    assert not daemon.server.is_adopted
    assert any("Server is ready" in line for line in daemon.server.log_tail())


async def test_what_it_keeps_is_for_its_owner_alone(daemon: Daemon, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "nats").stat().st_mode) == 0o700
    for name in ("nats.conf", "log", "pid", "port"):
        assert stat.S_IMODE((tmp_path / "nats" / name).stat().st_mode) == 0o600, name


async def test_it_runs_in_a_session_of_its_own(daemon: Daemon) -> None:
    assert os.getsid(daemon.server.pid) == daemon.server.pid


async def test_stopping_it_returns_when_it_is_gone_and_may_be_repeated(daemon: Daemon) -> None:
    pid = daemon.server.pid
    await daemon.server.stop()
    await daemon.server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert daemon.server.pid == 0
    assert daemon.server.restarts == 0


async def test_a_frozen_server_is_ended_all_the_same(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 0.1)
    os.kill(daemon.server.pid, signal.SIGSTOP)
    await daemon.server.stop()
    assert not await daemon.answers()


async def test_a_killed_server_is_started_again_on_the_same_port(daemon: Daemon) -> None:
    pid, url = daemon.server.pid, daemon.server.url
    os.kill(pid, signal.SIGKILL)
    await until(lambda: daemon.server.restarts == 1 and daemon.server.pid != pid)
    await until_told(daemon.answers)
    assert daemon.server.url == url
    assert daemon.given_up == []


async def test_after_five_ends_in_a_minute_it_gives_up_and_says_why(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr(server, "PROBE_S_MAX", 0.1)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(daemon.server.pid, signal.SIGSTOP)
        os.kill(daemon.server.pid, signal.SIGKILL)
        await until(lambda: _binds(squatter, daemon.server.address), what="the port")
        await until(lambda: daemon.given_up)
    assert "ended 5 times within 60 s" in daemon.given_up[0]
    assert "address already in use" in daemon.given_up[0]
    assert daemon.server.given_up == daemon.given_up[0]


async def test_the_next_daemon_adopts_the_server_and_watches_it(tmp_path: Path, daemons: Daemons) -> None:
    listen = f"127.0.0.1:{free_port()}"
    first = daemons(listen=listen)
    await first.server.start()
    await first.supervisor.close()
    second = daemons(listen=listen)
    await second.server.start()
    assert second.server.is_adopted
    assert second.server.pid == first.server.pid
    os.kill(second.server.pid, signal.SIGKILL)
    await until(lambda: second.server.restarts == 1 and not second.server.is_adopted)
    await second.server.stop()
    await first.server.stop()
    assert not await second.answers()


async def test_a_daemon_that_is_told_to_stop_while_it_adopts_its_server_ends_it(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = daemons()
    await first.server.start()
    listen = "{}:{}".format(*first.server.address)
    await first.supervisor.close()
    asked = asyncio.Event()

    async def silent(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(server, "probe", silent)
    second = daemons(listen=listen)
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(second.server.start())
        await asked.wait()
        starting.cancel()
    await second.server.stop()
    assert not await first.answers()


@pytest.mark.parametrize("change", ["credential", "address", "limits"])
async def test_a_server_with_another_configuration_is_replaced_not_adopted(
    tmp_path: Path, daemons: Daemons, change: str
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    first = daemons(listen=listen, password="the-one-before" if change == "credential" else PASSWORD)
    await first.server.start()
    await first.supervisor.close()
    if change == "limits":
        config = tmp_path / "nats" / "nats.conf"
        config.write_text(config.read_text().replace("max_payload: 1MB", "max_payload: 2MB"))
    second = daemons(listen=f"127.0.0.1:{free_port()}" if change == "address" else listen)
    await second.server.start()
    assert not second.server.is_adopted
    assert await second.answers()
    pid = first.server.pid
    await first.server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await second.answers()
    await second.server.stop()


async def test_a_daemon_that_is_killed_leaves_its_server_to_the_next(tmp_path: Path, daemons: Daemons) -> None:
    listen = f"127.0.0.1:{free_port()}"
    program = f"""
import asyncio, os, pathlib, signal
from meshd.broker.server import EmbeddedServer
from meshd.supervise import Supervisor

async def main():
    server = EmbeddedServer(pathlib.Path({str(tmp_path)!r}), name="node-a", password={PASSWORD!r}, listen={listen!r},
                            supervisor=Supervisor(print), on_given_up=print)
    await server.start()
    print(server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    daemon = daemons(listen=listen)
    await daemon.server.start()
    assert daemon.server.is_adopted
    assert daemon.server.pid == int(ran.stdout)
    await daemon.server.stop()
    assert not await daemon.answers()


async def test_a_process_that_was_given_the_old_number_is_left_alone(tmp_path: Path, daemons: Daemons) -> None:
    (tmp_path / "nats").mkdir()
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    (tmp_path / "nats" / "pid").write_text(str(stranger.pid))
    daemon = daemons()
    await daemon.server.start()
    assert not daemon.server.is_adopted
    assert daemon.server.pid != stranger.pid
    await daemon.server.stop()
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


@pytest.mark.parametrize("content", ["", "x", "-1", "0", "1", "99999999999999999999", "\xff"])
async def test_a_broken_pid_file_is_no_server(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content)
    assert process.ServerProcess.find(tmp_path / "pid", tmp_path / "nats.conf") is None


async def test_a_port_that_another_program_has_is_named_with_the_flag(tmp_path: Path, daemons: Daemons) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        daemon = daemons(listen=f"127.0.0.1:{squatter.getsockname()[1]}")
        with pytest.raises(MeshError, match="taken by another program") as caught:
            await daemon.server.start()
    assert caught.value.code == "port_taken"
    assert "--nats-listen" in caught.value.hint


async def test_without_an_address_the_port_of_last_time_is_used_again(tmp_path: Path, daemons: Daemons) -> None:
    (tmp_path / "nats").mkdir()
    port = free_port()
    (tmp_path / "nats" / "port").write_text(str(port))
    daemon = daemons(listen="")
    await daemon.server.start()
    assert daemon.server.address == ("127.0.0.1", port)


async def test_without_an_address_a_server_takes_no_port_that_others_would(daemons: Daemons) -> None:
    daemon = daemons(listen="")
    await daemon.server.start()
    assert daemon.server.address[1] != 4222


async def test_where_others_know_the_server_another_port_is_no_cure(tmp_path: Path, daemons: Daemons) -> None:
    first = daemons(listen="")
    await first.server.start()
    known = first.server.address[1]
    await first.server.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", known))
        squatter.listen()
        with pytest.raises(MeshError, match="knows it by that address") as caught:
            await daemons(listen="").server.start()
        assert caught.value.code == "address_lost"
        assert "invite the other nodes anew" in caught.value.hint
        moved = daemons()
        await moved.server.start()
    assert moved.server.former == str(known)
    await moved.server.stop()
    again = daemons(listen="")
    await again.server.start()
    assert again.server.former == str(known), "until it is told that the others are there"
    again.server.forget_former()
    assert again.server.former == ""
    assert not (tmp_path / "nats" / "former").exists()


async def test_a_server_that_found_its_disk_full_is_started_again_when_there_is_room(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DISK_LOOK_S", 0.02)
    monkeypatch.setattr(server, "PAUSE_S_MIN", 0.01)
    free = [100]
    monkeypatch.setattr(disk, "free_bytes", lambda directory: free[0])
    pid = daemon.server.pid
    with (tmp_path / "nats" / "log").open("a") as log:
        log.write("[1] [ERR] failed to store a msg: no space left on device\n")
    await until(lambda: "no room on its disk" in daemon.server.disk_problem)
    assert daemon.server.pid == pid
    free[0] = disk.ROOM_BYTES_MIN
    await until(lambda: daemon.server.restarts == 1)
    await until_told(daemon.answers)
    await until(lambda: not daemon.server.disk_problem)
    assert daemon.server.restarts == 1, "once"


async def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path, daemons: Daemons) -> None:
    (tmp_path / "nats").write_text("a file where the directory should be")
    with pytest.raises(MeshError) as caught:
        await daemons().server.start()
    assert caught.value.code == "directory"
    assert str(tmp_path / "nats") in caught.value.message


async def test_a_store_that_the_server_cannot_use_is_told_with_its_own_words(tmp_path: Path, daemons: Daemons) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "js").mkdir()
    (tmp_path / "nats" / "js" / "jetstream").write_text("a file where the server's directory should be")
    with pytest.raises(MeshError, match="ended while it started") as caught:
        await daemons().server.start()
    assert caught.value.code == "broker"
    assert "jetstream" in caught.value.message.lower()


async def test_a_port_that_others_could_not_know_is_refused(daemons: Daemons) -> None:
    with pytest.raises(MeshError, match="names no port") as caught:
        await daemons(listen="127.0.0.1:0").server.start()
    assert caught.value.code == "config"


def _binds(listener: socket.socket, address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError):
        listener.bind(address)
        listener.listen()
        return True
    return False
