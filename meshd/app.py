"""The daemon put together: every part made once, started in order, stopped in the reverse order.

Invariant: the only composition root; nothing but the commands and tests imports it. What fails on
the way up is one `MeshError`, and leaves nothing behind. Neighbours: all of `meshd`.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from shlex import quote
from typing import Protocol

from msgspec import Struct

from meshd import clock, config, invitation, lives, notify, running
from meshd.addresses import host_of, is_loopback
from meshd.api import schemas
from meshd.api.server import Api
from meshd.broker.config import disk_mb
from meshd.broker.server import LISTEN_FLAG, EmbeddedServer
from meshd.engine import Engine
from meshd.leaving import leave
from meshd.observe import logs
from meshd.observe.rotation import Rotation
from meshd.reach import reachable
from meshd.settings import LogSettings
from meshd.signals import Signals
from meshd.statedir import Credential, Mesh, StateDir, read_credential
from meshd.supervise import Supervisor
from meshd.upkeep import Premises
from meshd.wiring import Reach, Shell, Wired, wire
from protocol.errors import INTERRUPTED, MeshError
from protocol.ids import fingerprint, presence_key
from protocol.inputs import Found
from protocol.primitives import NS_PER_S, WallMs


class Said(Protocol):
    """Where the one line goes that says how the start went, and a line for each thing that was left out."""

    def __call__(self, line: str, warnings: Sequence[str] = (), /) -> None:
        """Say it."""


JOINED_S_MAX = 20.0  # a node whose first write is not acknowledged by then starts all the same, and says so
FIRST_CONTACT_S = 30.0  # how long the server of `nats.urls` may take to come up before founding a mesh there fails
ROOT_NOTE = "this node founded the mesh: its root key is online, in root.key"
SEEN_S = 10.0  # between two looks at how far the record has come: a file, synced
RECORD_S = 1.0  # between two tries to open the record, by a node that came up without


class Order(Struct, frozen=True):
    """What the command line asks for. `flags` are dotted settings; `log` is the file that stderr is, if it is ours."""

    dir: Path
    join: str = ""
    files: tuple[Path, ...] = ()
    flags: Mapping[str, str] = {}
    log: Path | None = None


def run(order: Order, *, said: Said) -> None:
    """Run the daemon until it is told to stop. Raises MeshError when it cannot start."""
    loaded = config.load(files=order.files, environ=os.environ, flags=order.flags)
    state = StateDir.open(order.dir)
    try:
        loaded = config.with_kept(loaded, state.path)
        with Signals() as signals:
            _live(lambda above: _Daemon(order, loaded, state, said, signals, above=above))
    finally:
        state.close()


def _live(begin: Callable[[WallMs], "_Daemon"]) -> None:
    """One life after the other: each above the one that has ended the one before."""
    daemon = begin(0)
    while True:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(daemon.run())
        if daemon.was_interrupted:
            raise KeyboardInterrupt
        if not daemon.outdone_by:
            return
        daemon = begin(daemon.outdone_by)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop when it is installed: it halves the longest waits."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class _Daemon:
    """One run of the daemon."""

    def __init__(
        self, order: Order, loaded: config.Config, state: StateDir, said: Said, signals: Signals, *, above: WallMs
    ) -> None:
        self._order = order
        self._loaded = loaded
        self._settings = settings = loaded.settings
        self._state = state
        self._said = said
        self._signals = signals
        self._log = logs.configure(
            level=settings.log.level, format=settings.log.format, rotation=_rotation(order.log, settings.log)
        )
        self._course = lives.Course()
        self._supervisor = Supervisor(self._on_failure)
        self._server: EmbeddedServer | None = None
        self._former_listen = ""  # where an earlier start let other hosts find the server
        self._notes: list[str] = [lives.BEGAN_ABOVE] if above else []
        self._starting: asyncio.Task[None] | None = None
        self._is_up = False
        self._has_others = False  # the record knows more nodes than this one
        self._was_member = False  # the directory belonged to a mesh before this start
        self._is_signalled = False
        self.was_interrupted = False  # by Ctrl-C, before it was ready

    @property
    def outdone_by(self) -> WallMs:
        """The later life of this node, on record, that has ended this one; 0 when none has."""
        return self._course.outdone_by

    def _on_failure(self, name: str, failure: BaseException) -> None:
        """A background task failed: that is a bug here. Say it, and stop rather than limp."""
        self._log.critical("%s failed: %r", name, failure, exc_info=failure)
        self._course.fail(failure)
        if self._starting is not None:
            self._starting.cancel()

    async def run(self) -> None:
        """Up, on, and down again."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._supervisor.close)
            self._starting = asyncio.current_task()
            self._signals.listen(self._on_signal)
            try:
                await self._up(stack)
            except asyncio.CancelledError:
                if not self._course.is_over or self._starting is None:
                    raise
                self._starting.uncancel()  # what follows is not cancelled
                if self._course.failure is None and not self.outdone_by:
                    self._log.info("told to stop while starting")
            self._starting = None
            await self._course.wait()
            if not self.outdone_by:
                self._log.info("stopping")
                notify.tell(notify.STOPPING)
        if (failure := self._course.failure) is not None:
            raise MeshError("internal", what=str(failure) or repr(failure))

    def _on_signal(self, number: signal.Signals) -> None:
        """The first signal: leave in order, as told by the API. A second: end at once; the server is adopted later."""
        if self._is_signalled:
            self._log.warning("ended at once by a second signal")
            logging.shutdown()
            os._exit(INTERRUPTED)
        self._is_signalled = True
        self._stop()
        if self._starting is not None:
            self.was_interrupted = number == signal.SIGINT
            self._starting.cancel()

    def _stop(self) -> None:
        """Told to, by a signal or by the API."""
        if self.outdone_by:
            self._log.info("told to stop while it begins anew")
        self._course.stop()

    # --- up

    async def _up(self, stack: AsyncExitStack) -> None:
        mesh = self._belong()
        urls, credential = await self._reach(mesh, stack)
        if self._state.root() is not None:
            self._notes.append(ROOT_NOTE)
        me = lives.next_life(self._state, self._loaded)
        wired = wire(
            me=me,
            mesh=mesh,
            identity=self._state.identity(),
            settings=self._settings,
            supervisor=self._supervisor,
            log=self._log,
            reach=Reach(urls, credential.user, credential.password),
            shell=Shell(
                invite=lambda: self._invitation(urls, credential),
                stop=self._stop,
                notes=lambda: tuple(self._notes),
                attention=self._attention,
                premises=Premises(self._state.path, self._loaded.origins, self._exposed()),
                blocked=self._blocked,
            ),
        )
        self._warn_of_exposure()
        await self._connect(wired, stack)
        await wired.crew.start()
        stack.push_async_callback(wired.hosting.close)
        api = Api(wired.service, self._state, listen=self._settings.api.listen, insecure=self._settings.insecure)
        address = await api.start()
        if not Path(address.socket).is_relative_to(self._state.path):
            self._notes.append(f"the state directory's path is too long for a socket; the API's is {address.socket}")
        stack.push_async_callback(api.close)
        running.announce(self._state.path)
        stack.callback(running.withdraw, self._state.path)
        stack.callback(wired.stream.close)
        stack.push_async_callback(self._leave, wired)
        await self._until_joined(wired.engine)
        self._is_up = True
        warnings = [f"warning[{each.code}]: {each.message}; try: {each.hint}" for each in wired.hosting.problems]
        self._said(self._first_line(wired, mesh, address.url), warnings)
        notify.tell(notify.READY)
        gc.collect()
        gc.freeze()  # what a start leaves stays: the collector held up the engine for 20 ms to look through it again

    async def _connect(self, wired: Wired, stack: AsyncExitStack) -> None:
        """Server, bucket, who was admitted before, subscriptions; then the engine runs."""
        stack.push_async_callback(wired.auditing.close)
        stack.push_async_callback(wired.transport.close)
        stack.push_async_callback(wired.store.close)
        try:
            await self._meet_server(wired)
        except MeshError as failure:
            self._do_without(failure)
            wired.transport.open_later(wired.sink)
            self._supervisor.spawn("record", self._keep_opening_record(wired))
        else:
            try:
                life = await self._open_record(wired)
            except MeshError as failure:
                self._do_without(failure)
                self._supervisor.spawn("record", self._keep_opening_record(wired))
            else:
                if life > wired.engine.node.me.life:
                    self._begin_above(life)
        me, subjects = wired.engine.node.me, wired.subjects
        for subject in (subjects.inbox(dst=me.id, life=me.life), subjects.facts(), subjects.carries(me.region)):
            await wired.transport.subscribe(subject)
        await wired.transport.watch_absences(subjects.absences(src=me.id))
        stack.callback(wired.engine.close)
        wired.auditing.start()
        self._supervisor.spawn("engine", wired.engine.run())
        self._supervisor.spawn("life", self._look_for_later_life(wired.engine))
        self._supervisor.spawn("seen", self._remember_seen(wired))
        self._supervisor.spawn("copies", wired.views.keep_copies_known(wired.store))

    async def _meet_server(self, wired: Wired) -> None:
        """Connect; a mesh that is founded on servers of somebody's own waits a while for them."""
        is_patient = not (self._order.join or self._was_member or self._server is not None)
        deadline = clock.monotonic_ns() + int(FIRST_CONTACT_S * NS_PER_S)
        while True:
            try:
                return await wired.transport.open(wired.sink)
            except MeshError as failure:
                if not is_patient or failure.code != "broker" or clock.monotonic_ns() > deadline:
                    raise
                self._log.warning("%s; trying again", failure.message)
            await asyncio.sleep(1.0)

    def _do_without(self, failure: MeshError) -> None:
        """A member of a mesh elsewhere comes up cut off, as after a reboot, and joins later; others cannot start."""
        if not self._was_member or failure.code == "stream_differs":
            raise failure
        if self._server is not None and failure.code != "store":
            raise failure
        self._log.warning("%s; going on without", failure.message)

    async def _open_record(self, wired: Wired) -> WallMs:
        """The bucket, and who was admitted before; the life of this node that stands there, or 0."""
        await wired.store.open()
        node = wired.engine.node
        if not node.me.seen:
            wired.store.made_anew = ""  # it was never there before, as far as this node knows
        entries = await wired.store.scan("node")
        self._has_others = any(entry.key != presence_key(node.me.id) for entry in entries)
        for entry in entries:
            wired.engine.put(Found(entry.key, entry.revision, entry.frame))
        return lives.on_record(node, entries)

    async def _look_for_later_life(self, engine: Engine) -> None:
        """The first write of a life is shown what stands in its place, however late the record can be reached.

        A twin's that goes on is left alone, for it would do the same; once that has left, nobody is in its way.
        """
        link, refusals = engine.node.link, engine.node.refusals
        await engine.until(lambda: link.outdone_by > 0 or refusals.is_bereft)
        if link.outdone_by:
            self._begin_above(link.outdone_by)
        elif refusals.is_bereft:
            self._begin_above(refusals.outlived_by, "has left")

    def _begin_above(self, life: WallMs, how: str = "is on record") -> None:
        """Nobody listens to a life below one that was heard of: this one ends, and the next is above that."""
        self._log.warning("a later life of this node, %d, %s: it begins anew above that", life, how)
        self._state.keep_life(life)
        self._course.give_way(life)
        if self._starting is not None:
            self._starting.cancel()

    async def _keep_opening_record(self, wired: Wired) -> None:
        """Until it is open; what the node writes meanwhile waits for that."""
        while True:
            try:
                await self._open_record(wired)
                return
            except MeshError as failure:
                if wired.transport.is_up:  # else there is one thing to say, and it was said
                    self._log.warning("%s; trying again", failure.message)
            await asyncio.sleep(RECORD_S)

    async def _remember_seen(self, wired: Wired) -> None:
        """Keep how far the record has come, so that a later life notices when it has come less far."""
        engine = wired.engine
        link, kept = engine.node.link, engine.node.me.seen
        while True:
            await engine.until(lambda kept=kept: link.is_usable and link.revision != kept)  # type: ignore[misc]  # binds the loop's variable
            kept = link.revision
            with contextlib.suppress(MeshError):  # a full disk: what was kept is less, and that does no harm
                await asyncio.to_thread(self._state.keep_seen, kept)
            if self._server is not None and len(engine.node.membership.alive()) > 1:
                self._server.forget_former()
            await asyncio.sleep(SEEN_S)

    def _belong(self) -> Mesh:
        """The mesh of this directory: joined with a token, known from before, or founded now."""
        known = self._state.mesh()
        self._was_member = known is not None
        if self._order.join:
            invited = invitation.Invitation.decode(self._order.join, now=clock.now())
            return invitation.accept(invited, self._state, now=clock.now())
        if known is not None:
            return known
        return invitation.found_mesh(self._state, now=clock.now())

    async def _reach(self, mesh: Mesh, stack: AsyncExitStack) -> tuple[tuple[str, ...], Credential]:
        """The servers to use and what they ask for; starts or adopts our own when there are no others."""
        nats = self._settings.nats
        if nats.urls:
            named = nats.credential_file
            if named:
                return nats.urls, read_credential(Path(named))
            is_invited = bool(mesh.urls)
            return nats.urls, self._state.credential() if is_invited else Credential(user="", password="")
        if mesh.urls:
            return mesh.urls, self._state.credential()
        credential = self._state.credential()
        self._server = EmbeddedServer(
            self._state.path,
            name=self._state.identity().id,
            user=credential.user,
            password=credential.password,
            listen=nats.listen,
            supervisor=self._supervisor,
            on_given_up=self._on_server_given_up,
            disk_mb=disk_mb(self._settings.results.bytes_max),
        )
        stack.push_async_callback(self._let_go_of_server)
        with contextlib.suppress(MeshError):  # it was spoilt, and is told anew
            self._former_listen = config.kept(self._state.path, config.NATS_LISTEN)
        await self._server.start()
        lives.keep(self._state, config.NATS_LISTEN, nats.listen)
        return (self._server.url,), credential

    async def _let_go_of_server(self) -> None:
        """End it when that was asked for; others may be using it when this daemon only failed."""
        server = self._server
        if self.outdone_by:
            return self._signals.leave()  # who tells us to stop from now on tells the next life, which can end it
        is_asked = self._course.is_over and self._course.failure is None
        if server is not None and (is_asked or not (self._is_up or server.is_adopted)):
            await server.stop()

    def _on_server_given_up(self, reason: str) -> None:
        self._log.error("the nats-server %s", reason)

    async def _until_joined(self, engine: Engine) -> None:
        """Wait for the first write that stands, or for the patience to end."""
        try:
            async with asyncio.timeout(JOINED_S_MAX):
                await engine.until(lambda: engine.node.state != "starting")
        except TimeoutError:
            self._log.warning("no write was acknowledged within %g s; going on without", JOINED_S_MAX)

    def _first_line(self, wired: Wired, mesh: Mesh, url: str) -> str:
        node = wired.engine.node
        line = f"{node.me.name} is ready in mesh {mesh.id} at {url}"
        if node.state != "joined":
            why = wired.transport.problem or wired.store.problem or "no write was acknowledged yet"
            return f"{line}; it is {node.state} ({why}), and joins when that mends"
        if self._state.root() is None:
            return line
        if self._server is not None and self._loaded.origins[config.NATS_LISTEN].origin == config.KEPT:
            line = f"{line}; its nats-server listens on {self._settings.nats.listen}, {config.KEPT}"
        line = f"{line}; to join another host: meshctl --dir {quote(str(self._state.path))} invite"
        return f"{line} (this host only, until it is started with {LISTEN_FLAG})" if self._is_private() else line

    def _is_private(self) -> bool:
        """True when the embedded server takes nobody from beyond this host."""
        return self._server is not None and is_loopback(self._server.address[0])

    def _invitation(self, urls: tuple[str, ...], credential: Credential) -> schemas.Invitation:
        if self._server is not None:
            urls = reachable(*self._server.address)
        made = invitation.make_invitation(self._state, urls=urls, now=clock.now(), credential=credential)
        reach = "it can be used by hosts that reach " + ", ".join(urls)
        if all(is_loopback(host_of(url)) for url in urls):
            reach = f"it can be used on this host only; for others, start this node with {LISTEN_FLAG} HOST:PORT"
        return schemas.Invitation(
            token=made.encode(),
            mesh=made.mesh,
            fingerprint=fingerprint(made.root_key),
            urls=tuple(urls),
            reach=reach,
            expires_ms=made.expires_ms,
        )

    def _warn_of_exposure(self) -> None:
        """What listens beyond this host does so without encryption: say it where it will be seen."""
        for listen in self._exposed():
            self._notes.append(f"insecure: {listen} is open to other hosts, and not encrypted")
            self._log.warning("insecure: %s is open to other hosts, and not encrypted", listen)

    def _exposed(self) -> tuple[str, ...]:
        listens = (self._settings.nats.listen, self._settings.api.listen)
        return tuple(listen for listen in listens if listen and not is_loopback(host_of(listen)))

    def _attention(self) -> tuple[str, ...]:
        """What somebody should see to, beyond what the node's state says."""
        server = self._server
        if server is None:
            return ()
        problems = (server.given_up, server.disk_problem)
        return (*(f"the nats-server {problem}" for problem in problems if problem), *self._move(server))

    def _move(self, server: EmbeddedServer) -> tuple[str, ...]:
        """A server at another address than before is not found by those who joined it there."""
        if not self._has_others:
            return ()
        if self._is_private() and self._former_listen and not is_loopback(host_of(self._former_listen)):
            where = f"on {self._former_listen} before, and on this host alone now"
            cure = f"nodes on other hosts do not find it: start this node with {LISTEN_FLAG} {self._former_listen}"
            return (f"the nats-server listened {where}; {cure}",)
        if not server.former:
            return ()
        cure = "nodes that joined there do not find it until they are invited anew: meshctl invite"
        return (f"the nats-server listened on port {server.former} before, and on {server.address[1]} now; {cure}",)

    def _blocked(self) -> str:
        """Why nothing can be recorded, when this host knows."""
        problem = self._server.disk_problem if self._server is not None else ""
        return f"the nats-server {problem}" if problem else ""

    # --- down

    async def _leave(self, wired: Wired) -> None:
        """Take nothing new, finish what is in hand if it ends in time, say goodbye, flush."""
        await leave(wired, drain_s=self._settings.agents.drain_s, log=self._log)


def _rotation(log: Path | None, settings: LogSettings) -> Rotation | None:
    """How the log goes on when it is full; whoever gave us another stderr sees to that."""
    return Rotation(log, bytes_max=settings.file_bytes_max, kept=settings.files_kept) if log is not None else None
