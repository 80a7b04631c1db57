"""How a daemon comes and goes: what a start leaves out is said, and a stop answers everybody."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from meshd import clock
from meshd.app import ROOT_NOTE
from meshd.lives import BEGAN_ABOVE
from meshd.statedir import LIFE
from tests.live.hosts import SCRIPTS, Host, mesh, told
from tests.servers import free_port
from tests.waiting import until, until_told

pytestmark = pytest.mark.live

BROKEN = 'name = "half"\nkind = "stdio"\nrun = ["true"]\ncapabilities = ["half@1"]\nslots = "many"\n'
BEGINS_ANEW = "is on record: it begins anew above that"
BRIEF = {"MESHD_AGENTS__DRAIN_S": "1"}


async def test_a_stop_by_the_api_and_one_signal_are_one_request(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="a") as m:
        task = await m.a.submit(input={"s": 2.0})
        await m.a.until_state(task["id"], "running")
        pid, server = m.a.pid, m.a.server_pid
        await m.a.ask("POST", "/v1/stop", {})
        await m.a.is_in("draining")
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not Path(f"/proc/{server}").exists(), what="the end of the server, which an order ends")
        assert "ended at once" not in (m.a.dir / "meshd.log").read_text()
        await m.a.start()
        ended = await m.a.ended(task["id"])
        assert (ended["state"], ended["epoch"]) == ("done", 1), "it was drained, not cut off"


async def test_calls_in_hand_are_answered_when_the_drain_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in BRIEF.items():
        monkeypatch.setenv(key, value)
    async with mesh(tmp_path, "a", "b", workers="b") as m:
        call = {"input": {"s": 60.0}, "timeout_s": 50.0}
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(host.ask("POST", "/v1/call/work@1", call)) for host in (m.a, m.b)]
            await until_told(lambda: _has_no_slot(m.b), what="both calls")
            stopping = group.create_task(m.b.meshd("stop"))
            await m.b.is_in("draining")
            refused = await m.b.ask("POST", "/v1/call/work@1", call)
            assert refused["error"]["code"] == "only_draining"
            assert refused["detail"] == "only b has the capability work@1, and is draining"
        assert stopping.result()[0] == 0
        answers = [each.result()["error"] for each in calls]
        assert [each["code"] for each in answers] == ["stopping", "stopping"], answers
        assert all("call again" in each["hint"] for each in answers)


async def _has_no_slot(host: Host) -> bool:
    return bool([agent["free"] for agent in (await host.ask("GET", "/v1/agents"))["agents"]] == [0])


async def test_a_manifest_that_is_refused_is_a_warning_at_the_start_and_in_the_status(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    host.agent()
    broken = host.dir / "agents.d" / "half.toml"
    broken.write_text(BROKEN)
    try:
        words = ("start", "--dir", str(host.dir), "--name", "a", "--detach")
        said = await told([str(SCRIPTS / "meshd"), *words])
        assert said.code == 0
        assert said.out.startswith("a is ready in mesh ")
        assert len(said.out.splitlines()) == 1
        (warning,) = said.err.splitlines()
        assert warning.startswith(f"warning[manifest]: {broken}: slots: ")
        assert "; try: " in warning
        status = await host.tell("status")
        assert status.code == 9
        assert str(broken) in status.out
        assert [agent["name"] for agent in (await host.ask("GET", "/v1/agents"))["agents"]] == ["worker"]
    finally:
        await host.close()


async def test_a_mesh_that_only_this_host_can_join_says_which_option_opens_it(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    try:
        code, line = await host.meshd("start", "--detach", "--name", "a")
        assert (code, "--nats-listen" in line) == (0, True)
        said = await host.tell("invite")
        assert "this host only" in said.err
        assert "--nats-listen HOST:PORT" in said.err
    finally:
        await host.close()


async def test_a_founder_that_is_started_again_without_its_flags_is_where_the_others_look_for_it(
    tmp_path: Path,
) -> None:
    a, b = Host(tmp_path, "a"), Host(tmp_path, "b")
    listen = f"127.0.0.2:{free_port()}"
    try:
        await a.start("--nats-listen", listen, "--region", "eu")
        _, token = await a.meshctl("invite", "-o", "name")
        await b.start("--join", token.strip())
        await a.meshd("stop")
        code, line = await a.meshd("start", "--detach")
        assert (code, f"its nats-server listens on {listen}, kept from an earlier start" in line) == (0, True), line
        await b.is_in("joined")
        assert (await a.ask("GET", "/v1/status"))["region"] == "eu"
        assert listen in (await a.tell("config", "show", "nats.listen", "--origin")).out
        await a.meshd("stop")
        assert "kept from an earlier start" in (await a.tell("config", "show", "nats.listen", "--origin")).out
    finally:
        await asyncio.gather(a.close(), b.close())


async def test_a_first_join_of_a_server_that_is_away_fails_and_says_why(tmp_path: Path) -> None:
    async with mesh(tmp_path, "a", workers="") as m:
        _, token = await m.a.meshctl("invite", "-o", "name")
        await m.a.meshd("stop")
        guest = Host(tmp_path, "g")
        said = await told([str(SCRIPTS / "meshd"), "start", "--dir", str(guest.dir), "--join", token.strip()])
        assert (said.code, said.out) == (1, "")
        assert "error[broker]: the nats-server does not answer at " in said.err


async def test_a_life_that_reaches_the_record_late_is_begun_anew_above_the_one_there_and_a_stop_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = Host(tmp_path, "a"), Host(tmp_path, "b")
    b.agent(slots=1)
    ahead = clock.wall_ms() + 3_600_000
    try:
        await a.start("--nats-listen", f"127.0.0.2:{free_port()}")
        _, token = await a.meshctl("invite", "-o", "name")
        b.dir.chmod(0o700)
        (b.dir / LIFE).write_text(f"{ahead}\n")
        await b.start("--join", token.strip())
        await _start_below_its_life_without_server(a, b)
        await a.start()
        await until(lambda: b.events("state_changed")[-1]["state"] == "joined", what="the next life")
        await until((b.dir / "api.sock").exists, what="its API")
        await a.sees(b="alive")
        status = await b.ask("GET", "/v1/status")
        assert (status["life"], BEGAN_ABOVE in status["notes"]) == (ahead + 2, True)
        await _start_below_its_life_without_server(a, b)
        pid = b.pid
        calling = asyncio.ensure_future(b.ask("POST", "/v1/call/work@1", {"input": {"s": 4.0}}))
        await until_told(lambda: _has_no_slot(b), what="a call")
        await a.start()
        await until(lambda: (b.dir / "meshd.log").read_text().count(BEGINS_ANEW) == 2, what="the end of its life")
        await b.ask("POST", "/v1/stop", {})
        assert "error" not in await calling
        await until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the daemon")
        log = (b.dir / "meshd.log").read_text()
        assert all(log.count(f"{life}, {BEGINS_ANEW}") == 1 for life in (ahead + 1, ahead + 2))
        assert "told to stop while it begins anew" in log
        assert b.complaints() == []
    finally:
        await asyncio.gather(a.close(), b.close())


async def _start_below_its_life_without_server(a: Host, b: Host) -> None:
    await b.meshd("stop")
    await a.meshd("stop")
    (b.dir / LIFE).write_text("1\n")
    await b.start()
    assert (await b.ask("GET", "/v1/status"))["state"] == "detached"


async def test_a_life_below_one_on_record_is_begun_anew_above_it(tmp_path: Path) -> None:
    host = Host(tmp_path, "a")
    ahead = clock.wall_ms() + 3_600_000
    host.dir.chmod(0o700)
    (host.dir / LIFE).write_text(f"{ahead}\n")
    try:
        await host.start()
        await host.meshd("stop")
        (host.dir / LIFE).write_text("1\n")  # an older image of the directory, and a clock that is behind that life
        await host.start()
        status = await host.ask("GET", "/v1/status")
        assert (status["state"], status["life"]) == ("joined", ahead + 2)
        assert status["notes"] == [BEGAN_ABOVE, ROOT_NOTE]
        log = (host.dir / "meshd.log").read_text()
        assert log.count(f"a later life of this node, {ahead + 1}, {BEGINS_ANEW}") == 1
        assert host.complaints() == []
        server = host.server_pid
        await host.meshd("stop")
        assert not Path(f"/proc/{server}").exists(), "the server that it found again ends with it"
    finally:
        await host.close()
