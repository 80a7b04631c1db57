"""Hosts of a live test: each a state directory, a real daemon, and the ways to hurt it.

Invariant: every process that a mesh started ends with it, whatever the test did to them.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.waiting import until, until_told

SCRIPTS = Path(sys.executable).parent
AGENT = Path(__file__).with_name("work_agent.py")
START_S = 120.0  # on a machine that does much else


class Told(NamedTuple):
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str


class Host:
    """One host; `dir` is its state directory, `inside` what its commands are run by."""

    def __init__(self, directory: Path, name: str, inside: tuple[str, ...] = ()) -> None:
        self.inside = inside
        self.dir = directory / name
        self.name = name
        self.dir.mkdir(parents=True)
        self.server_dir = self.dir / "nats"  # as this process sees it
        self._session: aiohttp.ClientSession | None = None

    def agent(
        self,
        capability: str = "work@1",
        *,
        slots: int = 2,
        name: str = "worker",
        program: Path = AGENT,
        task_s: float = 3_600.0,
        **manifest: object,
    ) -> None:
        """Declare a stdio agent before the start."""
        folder = self.dir / "agents.d"
        folder.mkdir(exist_ok=True)
        lines = [
            f'name = "{name}"',
            'version = "1.0.0"',
            f'capabilities = ["{capability}"]',
            'kind = "stdio"',
            f"run = [{json.dumps(sys.executable)}, {json.dumps(str(program))}]",
            f"slots = {slots}",
            f"limits = {{ task_s = {task_s} }}",
            *(f"{key} = {json.dumps(value)}" for key, value in manifest.items()),
        ]
        (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")

    async def start(self, *flags: str) -> None:
        """`meshd start --detach`, and ready when this returns."""
        code, said = await self.meshd("start", "--detach", "--name", self.name, *flags)
        assert code == 0, said

    async def meshd(self, *words: str) -> tuple[int, str]:
        """Run `meshd` on this directory: exit code and everything it said."""
        command = [*self.inside, str(SCRIPTS / "meshd"), words[0], "--dir", str(self.dir), *words[1:]]
        return await _run(command)

    async def meshctl(self, *words: str) -> tuple[int, str]:
        """Run `meshctl` on this directory: exit code and everything it said."""
        return await _run([*self.inside, str(SCRIPTS / "meshctl"), "--dir", str(self.dir), *words])

    async def tell(self, *words: str, stdin: bytes = b"") -> Told:
        """Run `meshctl` on this directory as a script does."""
        return await told([*self.inside, str(SCRIPTS / "meshctl"), "--dir", str(self.dir), *words], stdin=stdin)

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return int((self.dir / "lock").read_text())

    @property
    def server_pid(self) -> int:
        """The embedded server's process id."""
        return int((self.server_dir / "pid").read_text())

    def kill(self) -> None:
        """`kill -9` the daemon."""
        os.kill(self.pid, signal.SIGKILL)

    def kill_server(self) -> None:
        """`kill -9` the embedded server."""
        os.kill(self.server_pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the daemon where it stands."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """One request to the API over its socket; the JSON of the answer, whatever its status."""
        if self._session is None or self._session.closed:
            socket_path = json.loads((self.dir / "api.json").read_text())["socket"]
            connector = aiohttp.UnixConnector(socket_path, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        content = None if body is None else json.dumps(body)
        given = {"Content-Type": "application/json", **headers} if content else headers
        async with self._session.request(method, f"http://localhost{path}", data=content, headers=given) as answer:
            return await answer.json(content_type=None)

    @asynccontextmanager
    async def stream(self, path: str, **headers: str) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of an answer that need not end."""
        socket_path = json.loads((self.dir / "api.json").read_text())["socket"]
        connector = aiohttp.UnixConnector(socket_path, force_close=True)
        url = f"http://localhost{path}"
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url, headers=headers) as answer:
            yield answer.content

    async def metrics(self) -> str:
        """What `/metrics` shows."""
        async with self.stream("/metrics") as content:
            return (await content.read()).decode()

    async def submit(self, capability: str = "work@1", **options: Any) -> dict[str, Any]:
        """Submit a task: the answer of the API, which must be a task."""
        task: dict[str, Any] = await self.ask("POST", "/v1/tasks", {"capability": capability, **options})
        assert "id" in task, task
        return task

    async def task(self, task: str) -> dict[str, Any]:
        """How a task stands, as this host tells."""
        shown: dict[str, Any] = await self.ask("GET", f"/v1/tasks/{task}")
        return shown

    async def ended(self, task: str, within_s: float = 40.0) -> dict[str, Any]:
        """The task once it has ended."""

        async def look() -> dict[str, Any] | None:
            shown = await self.task(task)
            return shown if shown.get("state") in ("done", "failed", "cancelled", "poison") else None

        shown = await until_told(look, within_s, f"the end of {task}")
        assert shown is not None
        return shown

    async def until_state(self, task: str, *states: str, within_s: float = 20.0) -> dict[str, Any]:
        """The task once it is in one of these states."""

        async def look() -> dict[str, Any] | None:
            shown = await self.task(task)
            return shown if shown.get("state") in states else None

        shown = await until_told(look, within_s, f"{task} in {states}")
        assert shown is not None
        return shown

    async def sees(self, within_s: float = 20.0, /, **states: str) -> None:
        """Return when this host sees every named peer in the given state."""

        async def look() -> bool:
            answer = await self.ask("GET", "/v1/peers")
            seen = {peer["name"]: peer["state"] for peer in answer["peers"]}
            return all(seen.get(name) == state for name, state in states.items())

        await until_told(look, within_s, f"{self.name} seeing {states}")

    async def is_in(self, state: str, within_s: float = 20.0) -> None:
        """Return when this host says that it is in `state`."""

        async def look() -> bool:
            return bool((await self.ask("GET", "/v1/status"))["state"] == state)

        await until_told(look, within_s, f"{self.name} being {state}")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind in this host's log, oldest first."""
        found = []
        for line in (self.dir / "meshd.log").read_text().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line).get("event", {})
                if event.get("kind") == kind:
                    found.append(event)
        return found

    def complaints(self) -> list[str]:
        """Lines of this host's log at level error or above, and lines that are no log lines."""
        found = []
        for line in (self.dir / "meshd.log").read_text().splitlines():
            try:
                is_fine = json.loads(line)["level"] in ("debug", "info", "warning")
            except ValueError:
                is_fine = f"{self.name} is ready in mesh" in line
            if not is_fine:
                found.append(line)
        return found

    async def close(self) -> None:
        """End everything that runs on this directory, at once."""
        if self._session is not None:
            await self._session.close()
        for path in (self.dir / "lock", self.server_dir / "pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(path.read_text())
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"mesh" in command or b"nats-server" in command:
                    os.kill(pid, signal.SIGKILL)
                    await until(partial(_has_ended, pid), what=f"the end of process {pid}")


def _has_ended(pid: int) -> bool:
    try:
        return b"Z" in Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return True


async def told(command: list[str], *, stdin: bytes = b"", env: dict[str, str] | None = None) -> Told:
    """Run a command to its end; `env` is added to ours."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, env=os.environ | (env or {})
    )
    out, err = await _said(process, command, stdin)
    return Told(process.returncode or 0, out.decode(), err.decode())


async def _run(command: list[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await _said(process, command)
    return process.returncode or 0, said.decode()


async def _said(
    process: asyncio.subprocess.Process, command: list[str], stdin: bytes | None = None
) -> tuple[bytes, bytes]:
    """Its stdout and stderr when it has ended; it is gone and its pipes are closed also when nobody waits any more."""
    try:
        async with asyncio.timeout(START_S):
            return await process.communicate(stdin)
    except TimeoutError:
        raise AssertionError(f"{command} did not end within {START_S} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


class Mesh:
    """Some hosts that found each other; the first runs the server."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.hosts = hosts

    def __getattr__(self, name: str) -> Host:
        try:
            return self.hosts[name]
        except KeyError:
            raise AttributeError(name) from None


@asynccontextmanager
async def mesh(
    directory: Path,
    *names: str,
    workers: str,
    slots: int = 2,
    flags: tuple[str, ...] = (),
    prepare: Callable[[dict[str, Host]], None] = lambda hosts: None,
) -> AsyncIterator[Mesh]:
    """Started hosts of these one-letter names; those in `workers` have the agent.

    `prepare` is given the hosts before they start, to declare agents of other kinds.
    """
    made = Mesh({name: Host(directory, name) for name in names})
    try:
        first, *others = made.hosts.values()
        for host in made.hosts.values():
            if host.name in workers:
                host.agent(slots=slots)
        prepare(made.hosts)
        await first.start(*flags)
        _, token = await first.meshctl("invite", "-o", "name")
        await asyncio.gather(*(host.start("--join", token.strip(), *flags) for host in others))
        for host in made.hosts.values():
            await host.sees(**dict.fromkeys(names, "alive"))
        yield made
    finally:
        for host in reversed(made.hosts.values()):
            await host.close()
