"""The kind `http`: one POST a task or event to a service that runs by itself; the README says what its answers mean.

Invariant: every answer is bounded while it is read, and no redirect is followed. A connection serves one task:
a kept one may be closed by the service in the very moment it is used. What cannot be reached, or asked to be left
alone, is `restarting`: it is looked at with backoff and takes no task. Nothing is tried again here; the mesh does.
Neighbours: `remote` reads the headers, `exchange` carries request and answer, `answers` says what that means.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import closing, suppress

import msgspec

from meshd.agents.answers import RetryLater, body_bytes_max, outcome_of, refusal_of
from meshd.agents.child import Log
from meshd.agents.exchange import Exchange, NoHttpError, reached
from meshd.agents.manifest import Manifest, card, checks_of, schemas_of
from meshd.agents.pipe import given
from meshd.agents.reaper import Reaper
from meshd.agents.remote import headers
from meshd.agents.seat import Patience, State
from meshd.ports import AgentWatcher, Desk, Event, Failed, Finished, Outcome, Schema, Work
from meshd.supervise import Supervisor
from protocol.errors import MeshError
from protocol.wire.agents import Card

LOOK_S = 15.0  # between two looks at a service that is well: may it be connected to?


def build(
    manifest: Manifest,
    on_change: AgentWatcher,
    supervisor: Supervisor,
    reaper: Reaper,
    patience: Patience | None = None,
) -> "HttpAgent":
    """The agent, not yet started. The reaper has nothing to do: no process of it runs here."""
    return HttpAgent(manifest, on_change=on_change, supervisor=supervisor, patience=patience or Patience())


class HttpAgent:
    """One service, behind one URL."""

    def __init__(
        self, manifest: Manifest, *, on_change: AgentWatcher, supervisor: Supervisor, patience: Patience
    ) -> None:
        self.state: State = "stopped"
        self.detail = ""
        self._manifest = manifest
        self._card = card(manifest)
        self._checks = checks_of(manifest)
        self._watcher = on_change
        self._supervisor = supervisor
        self._patience = patience
        self._log = Log()
        self._slots = asyncio.Semaphore(manifest.slots)
        self._tls: ssl.SSLContext | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._trouble = asyncio.Event()
        self._rest_s = 0.0  # so long it asked to be left alone
        self._limits: set[asyncio.Timeout] = set()  # of what is in hand

    @property
    def card(self) -> Card:
        """What is announced."""
        return self._card

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """Those of the manifest."""
        return schemas_of(self._manifest)

    @property
    def pids(self) -> list[int]:
        """None: the service runs by itself."""
        return []

    async def start(self) -> None:
        """Look at the service once; when it cannot be reached, it is looked at again and again.

        Raises MeshError("manifest") when a file of secrets cannot be used.
        """
        if self._keeper is not None and not self._keeper.done():
            return
        try:
            self._headers()
        except ValueError as failure:
            self._turn("failed", str(failure))
            raise MeshError("manifest", path=self._manifest.path, problem=str(failure)) from None
        self._turn("starting")
        looked = asyncio.Event()
        self._keeper = self._supervisor.spawn(f"agent {self._manifest.name}: looks", self._keep(looked))
        await looked.wait()

    async def run(self, work: Work, desk: Desk) -> Outcome:
        """Do one task; see `meshd.ports.Agent.run`."""
        if isinstance(work, Event):
            return await self._done(work)
        if refusal := self._checks.refusal(work):
            return refusal
        try:
            async with asyncio.timeout(work.deadline_s):
                await self._slots.acquire()
        except TimeoutError:
            return Failed("agent_unavailable", f"no slot was free within {work.deadline_s:g} s", retry=True)
        try:
            return self._checks.judged(work, await self._done(work))
        finally:
            self._slots.release()

    async def _done(self, work: Work) -> Outcome:
        if self.state != "ready":
            why = f"the agent is {self.state}" + (f": {self.detail}" if self.detail else "")
            return Failed("agent_unavailable", why, retry=True)
        return await self._asked(work, min(work.deadline_s, self._manifest.limits.task_s))

    async def stop(self) -> None:
        """Give up what is in hand, and look no more. Idempotent."""
        self._turn("stopped")
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(0.0)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    @property
    def logged(self) -> int:
        """How many lines there ever were."""
        return self._log.count

    def log(self) -> list[str]:
        """What the daemon noted about it; the service keeps its own."""
        return self._log.lines()

    # --- one task

    async def _asked(self, work: Work, limit_s: float) -> Outcome:
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                self._limits.add(limit)
                return await self._posted(work)
        except TimeoutError:
            if self.state == "stopped":
                return Failed("agent_unavailable", "the agent was stopped before it answered", retry=True)
            return Failed("agent_timeout", f"the agent took longer than the {limit_s:g} s it had", retry=True)
        finally:
            self._limits.discard(limit)

    async def _posted(self, work: Work) -> Outcome:
        try:
            headers, body = self._headers(), msgspec.json.encode(given(work))
        except (ValueError, RecursionError) as failure:
            return Failed("agent_unavailable", f"the agent cannot be asked: {failure}", retry=True)
        try:
            exchange = await self._reached()
        except OSError as failure:  # a time-out is one too
            problem = f"cannot be reached: {self._reason(failure)}"
            self._doubt(problem)
            return Failed("agent_unavailable", f"the agent {problem}", retry=True)
        try:
            with closing(exchange):
                exchange.post(headers, body)
                return await self._answered(exchange, work)
        except RetryLater as failure:
            self._rest_s = failure.rest_s
            self._doubt(f"{failure.outcome.message}, and asked to be left alone for {failure.rest_s:g} s")
            return failure.outcome
        except NoHttpError as failure:
            return Failed("agent_output", f"the agent {failure}", retry=False)
        except OSError:
            what = "the agent closed the connection before its answer was whole"
            return Failed("agent_crashed", what, retry=True)

    async def _answered(self, exchange: Exchange, work: Work) -> Outcome:
        output_bytes_max = self._manifest.limits.output_bytes
        head = await exchange.head()
        if refusal := refusal_of(head.status, head.headers, output_bytes_max):
            return refusal
        body = await exchange.body(body_bytes_max(output_bytes_max))
        if isinstance(work, Event) and 200 <= head.status < 300:
            return Finished(None)  # what it made of it is nobody's
        return outcome_of(head.status, head.headers, body, output_bytes_max)

    async def _reached(self) -> Exchange:
        return await reached(self._manifest.url, self._tls, self._manifest.limits.connect_s)

    def _headers(self) -> dict[str, str]:
        """Read each time: who puts a new token into its file needs no restart."""
        manifest = self._manifest
        secret = headers(manifest.folder, manifest.token_file, manifest.headers_file)
        return {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "meshd",
        } | secret

    # --- health

    def _doubt(self, problem: str) -> None:
        if self.state == "ready":
            self._turn("restarting", problem)
            self._trouble.set()

    async def _keep(self, looked: asyncio.Event) -> None:
        if self._manifest.url.lower().startswith("https:"):
            self._tls = ssl.create_default_context()
        try:
            await self._look()
            looked.set()
            await self._watch()
        finally:
            looked.set()

    async def _watch(self) -> None:
        misses = 0
        while True:
            if self.state == "ready":
                misses = 0
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._trouble.wait()
            self._trouble.clear()
            if self.state == "restarting":
                misses += 1
                await asyncio.sleep(self._rest_s or self._patience.backoff_s(min(misses, 20)))
                self._rest_s = 0.0
            await self._look()

    async def _look(self) -> None:
        """May it be connected to? A connection says so and asks nothing of the service."""
        try:
            (await self._reached()).close()
        except OSError as failure:
            self._turn("restarting", f"cannot be reached: {self._reason(failure)}")
        else:
            if self.state != "ready":
                self._turn("ready")

    def _reason(self, failure: OSError) -> str:
        where = self._manifest.url.partition("?")[0]
        match failure:
            case TimeoutError():
                return f"{where} took no connection within {self._manifest.limits.connect_s:g} s"
            case ssl.SSLCertVerificationError():
                return f"{where} shows a certificate that is not trusted: {failure.verify_message}"
            case ssl.SSLError():
                return f"{where} speaks no TLS that can be used: {failure.reason or failure}"
            case _:
                return f"{where}: {failure.strerror or failure}"

    def _turn(self, state: State, detail: str = "") -> None:
        if (state, detail) == (self.state, self.detail):
            return
        self.state, self.detail = state, detail
        if detail:
            self._log.add(f"meshd: the agent {detail}")
        self._watcher(self._manifest.name, state, detail)
