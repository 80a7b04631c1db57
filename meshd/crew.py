"""Which agents this node has: those that its folder declares, as an operator started and stopped them.

Invariant: for each name one change at a time, and the newest word counts; a change that cannot be carried out leaves
what was there at work, and says why until it is mended. An agent that was stopped stays so over a restart.
Neighbours: `agents.folder` says what is declared, `hosting` runs it; the API asks for changes here.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from meshd.agents.folder import Folder
from meshd.agents.manifest import FILE_BYTES_MAX, Manifest, parsed
from meshd.hosting import Hosted, Hosting
from meshd.supervise import Supervisor
from protocol.errors import MeshError

LOOK_S = 1.0  # between two looks at the folder; a look at 128 files costs 1 ms
SETTLE_S = 5.0  # an answer waits so long for work in hand to end, and then says that there still is some
AGAIN_S = 5.0  # until an agent that did not come up is tried again, doubled each time
AGAIN_S_MAX = 300.0
MEMORY = "agents.json"


class _Memory(Struct, frozen=True):
    """`agents.json`: names of agents that an operator stopped."""

    stopped: tuple[str, ...] = ()


class _Failure(Struct):
    """An agent that did not come up. Mutable: `looks` at the folder since then, of which there is one each LOOK_S."""

    tries: int
    looks: int = 0

    @property
    def is_due(self) -> bool:
        return self.looks * LOOK_S >= min(AGAIN_S * 2.0 ** min(self.tries - 1, 30), AGAIN_S_MAX)


class Crew:
    """The agents of one node, by name."""

    def __init__(self, *, hosting: Hosting, folder: Path, memory: Path, drain_s: float, supervisor: Supervisor) -> None:
        """`memory` is the file of what was stopped; `drain_s` is how long work in hand has to end."""
        self._hosting = hosting
        self._folder = Folder(folder)
        self._memory = memory
        self._drain_s = drain_s
        self._supervisor = supervisor
        self._in_place: dict[str, Manifest] = {}  # what each agent was made from
        self._tried: dict[str, Manifest] = {}  # the newest that was tried, in place or refused
        self._failed: dict[str, _Failure] = {}  # of those tried, which are tried again
        self._refused: set[str] = set()  # files, as last shown
        self._stopped: set[str] = set()
        self._turns: dict[str, asyncio.Lock] = {}

    # --- as the folder says

    async def start(self) -> None:
        """Bring up what the folder declares, then follow it."""
        self._stopped = self._remembered()
        self._folder.read()
        self._show_refused()
        self._in_place, self._tried = dict(self._folder.manifests), dict(self._folder.manifests)
        agents = {name: self._hosting.built(manifest) for name, manifest in self._in_place.items()}
        for name in sorted(self._stopped & agents.keys()):
            self._hosting.keep(agents.pop(name))
        await self._hosting.take(agents.values())
        self._failed = {name: _Failure(tries=1) for name, agent in agents.items() if agent.state == "failed"}
        self._supervisor.spawn("agents folder", self._follow())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Look at the folder once, and begin what has changed."""
        self._folder.look()
        self._show_refused()
        for name in sorted(self._folder.manifests.keys() | self._tried.keys()):
            if self._is_due(name) and not self._turn(name).locked():  # else the next look begins it
                self._supervisor.spawn(f"agent {name}: change", self._settle(name))

    def _is_due(self, name: str) -> bool:
        if self._folder.manifests.get(name) is not self._tried.get(name):
            return True
        failure = self._failed.get(name)
        if failure is None or name in self._stopped:
            return False
        failure.looks += 1
        return failure.is_due

    def _show_refused(self) -> None:
        for file in self._refused - self._folder.refused.keys():
            self._hosting.accept(file)
        for file, problem in self._folder.refused.items():
            self._hosting.refuse(file, problem)
        self._refused = set(self._folder.refused)

    async def _settle(self, name: str) -> None:
        """Put in place what the folder wants; what does not come up is refused, and tried again."""
        async with self._turn(name):
            wanted = self._folder.manifests.get(name)
            failure = self._failed.get(name)
            if wanted is None:
                self._drop(name)
                return
            if wanted is not self._tried.get(name):
                failure = _Failure(tries=0)
            elif failure is None or not failure.is_due:
                return
            self._tried[name] = wanted
            self._failed[name] = _Failure(tries=failure.tries + 1)
            try:
                await self._change(name, wanted)
            except MeshError as refusal:
                self._hosting.refuse(name, refusal)

    async def _change(self, name: str, wanted: Manifest) -> None:
        agent = self._hosting.built(wanted)
        if name in self._stopped:
            self._hosting.keep(agent)
        elif name in self._in_place:
            await self._hosting.prove(agent, wanted.path)
            self._hosting.put(agent, self._drain_s)
        else:
            await self._hosting.take([agent])
        self._in_place[name] = wanted
        if agent.state != "failed":
            self._came_up(name)

    def _came_up(self, name: str) -> None:
        self._failed.pop(name, None)
        self._hosting.accept(name)

    def _drop(self, name: str) -> asyncio.Task[None] | None:
        """The agent is declared no more."""
        self._tried.pop(name, None)
        self._in_place.pop(name, None)
        self._came_up(name)
        with suppress(MeshError):  # an agent that comes back stopped is no harm
            self._remember(self._stopped - {name})
        return self._hosting.retire(name, self._drain_s) if self._hosting.one(name) is not None else None

    # --- as an operator says

    async def add(self, text: str, *, file: str = "", is_replacement: bool = False) -> Hosted:
        """Check a manifest, bring its agent up, and keep it in the folder. Raises MeshError, and keeps nothing.

        `file` is what to call it in an error: where the operator has it.
        """
        try:
            _make(self._folder.path)
            name = parsed(text.encode(), self._folder.path.absolute() / MEMORY).name
            async with self._turn(name):
                manifest = self._placed(name, text, is_replacement=is_replacement)
                agent = self._hosting.built(manifest)
                await self._hosting.prove(agent, manifest.path)
                try:
                    _write(manifest.path, text.encode())
                    self._remember(self._stopped - {name})
                except MeshError:
                    await agent.stop()
                    raise
                self._take(manifest)
                self._hosting.put(agent, self._drain_s)
        except MeshError as failure:
            if failure.code != "manifest":
                raise
            raise MeshError("manifest", path=file or "the manifest", problem=failure.fields["problem"]) from None
        return self._standing(name)

    def _placed(self, name: str, text: str, *, is_replacement: bool) -> Manifest:
        standing = self._folder.manifests.get(name)
        path = standing.path if standing is not None else self._folder.path / f"{name}.toml"
        if not is_replacement and (standing is not None or os.path.lexists(path)):
            raise MeshError("agent_exists", agent=name, path=path)
        return parsed(text.encode(), path.absolute())

    def _take(self, manifest: Manifest) -> None:
        self._folder.keep(manifest)
        self._in_place[manifest.name] = self._tried[manifest.name] = manifest
        self._came_up(manifest.name)
        self._show_refused()

    async def remove(self, name: str) -> Hosted | None:
        """Remove its manifest; it ends what it has in hand, and is gone. What still is there of it, or None."""
        self._here(name)
        async with self._turn(name):
            self._here(name)
            manifest = self._folder.manifests.get(name) or self._in_place.get(name)
            if manifest is not None:
                try:
                    manifest.path.unlink(missing_ok=True)
                except OSError as failure:
                    raise _refused(manifest.path, "removed", failure) from None
                self._folder.drop(manifest)
            going = self._drop(name)
        await _waited(going)
        return self._hosting.one(name)

    async def start_one(self, name: str) -> Hosted:
        """Start it, also one that was given up; harmless when it is up. Raises MeshError when it never can be ready."""
        self._here(name)
        async with self._turn(name):
            hosted = self._here(name)
            wanted = self._folder.manifests.get(name) or self._in_place[name]
            is_up = not hosted.is_leaving and hosted.agent.state in ("ready", "starting", "restarting")
            if not is_up or wanted is not self._in_place.get(name):
                agent = self._hosting.built(wanted)
                await self._hosting.prove(agent, wanted.path)
                self._hosting.put(agent, self._drain_s)
                self._in_place[name] = self._tried[name] = wanted
                self._came_up(name)
            self._remember(self._stopped - {name})
        return self._standing(name)

    async def stop_one(self, name: str) -> Hosted:
        """Stop it, and keep it stopped over restarts; what it has in hand ends, or is given back."""
        self._here(name)
        async with self._turn(name):
            hosted = self._here(name)
            self._remember(self._stopped | {name})
            is_down = hosted.is_leaving or hosted.agent.state == "stopped"
            going = None if is_down else self._hosting.rest(name, self._drain_s)
        await _waited(going)
        return self._standing(name)

    def file_of(self, name: str) -> str:
        """Where an agent's manifest stands, or nothing."""
        manifest = self._in_place.get(name)
        return str(manifest.path) if manifest is not None else ""

    def _here(self, name: str) -> Hosted:
        found = self._hosting.one(name)
        if found is None:
            raise MeshError("unknown_agent", agent=name)
        return found

    _standing = _here

    def _turn(self, name: str) -> asyncio.Lock:
        return self._turns.setdefault(name, asyncio.Lock())

    # --- over a restart

    def _remembered(self) -> set[str]:
        try:
            content = self._memory.read_bytes()
        except FileNotFoundError:
            return set()
        except OSError as failure:
            return self._forgotten(f"cannot be read: {failure.strerror}")
        try:
            return set(msgspec.json.decode(content[:FILE_BYTES_MAX], type=_Memory).stopped)
        except (ValueError, RecursionError):
            return self._forgotten("is not what meshd wrote there")

    def _forgotten(self, problem: str) -> set[str]:
        cure = "stop them again, or remove the file"
        problem = f"{problem}, so agents that were stopped run again"
        self._hosting.refuse(MEMORY, MeshError("directory", path=self._memory, problem=problem, cure=cure))
        return set()

    def _remember(self, stopped: set[str]) -> None:
        """Keep what is stopped. Raises MeshError("directory")."""
        if stopped != self._stopped:
            _write(self._memory, msgspec.json.encode(_Memory(tuple(sorted(stopped)))) + b"\n")
            self._hosting.accept(MEMORY)
            self._stopped = set(stopped)


async def _waited(going: asyncio.Task[None] | None) -> None:
    if going is not None:
        await asyncio.wait([going], timeout=SETTLE_S)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise _refused(folder, "made", failure) from None


def _write(path: Path, content: bytes) -> None:
    """Replace a file as a whole, on disk when this returns."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
    except OSError as failure:
        raise _refused(path, "written", failure) from None


def _refused(path: Path, deed: str, failure: OSError) -> MeshError:
    problem = f"cannot be {deed}: {failure.strerror or failure}"
    return MeshError("directory", path=path, problem=problem, cure="mend its owner, mode or disk; nothing has changed")
