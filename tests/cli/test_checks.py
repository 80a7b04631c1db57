"""Each check of the doctor finds what it looks for, and nothing where all is well."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from cli import checks
from cli.checks import Finding, Host, Told
from meshd import statedir
from meshd.api import diagnosis_schemas, schemas
from meshd.api.audit_schemas import AuditHead
from meshd.broker.binary import VERSION_MIN
from tests.meshd.api.fake_backend import a_status, an_agent
from tests.meshd.api.fake_upkeep import a_diagnosis


def _told(status: schemas.Status | None = None, **diagnosis: Any) -> Told:
    return Told(msgspec.to_builtins(status or a_status()), msgspec.to_builtins(a_diagnosis(**diagnosis)))


def _peer(**changes: Any) -> diagnosis_schemas.Surveyed:
    return msgspec.structs.replace(a_diagnosis().peers[0], **changes)


def _stream(**changes: Any) -> diagnosis_schemas.StreamView:
    return msgspec.structs.replace(a_diagnosis().streams[0], **changes)


def _host(path: Path, **environ: str) -> Host:
    path.mkdir(mode=0o700, exist_ok=True)
    return Host(path, path / "agents.d", environ)


def _one(check: Callable[[Any], Any], subject: object) -> Finding:
    (finding,) = check(subject)
    assert finding.check == check.__name__
    assert finding.cure
    return finding  # type: ignore[no-any-return]  # checks of both tables


def test_a_host_and_a_mesh_on_which_all_is_well_have_no_findings(tmp_path: Path) -> None:
    host = _host(tmp_path / "d")
    assert {check.__name__: list(check(host)) for check in checks.HOST if list(check(host))} == {}
    assert {check.__name__: list(check(_told())) for check in checks.MESH if list(check(_told()))} == {}


def test_what_is_private_here_is_what_the_state_directory_keeps_private() -> None:
    assert set(statedir.SECRETS) < set(checks.PRIVATE)
    assert checks.SERVER_MIN == VERSION_MIN


@pytest.mark.parametrize("name", checks.PRIVATE)
def test_a_key_that_others_can_read_is_an_error(tmp_path: Path, name: str) -> None:
    host = _host(tmp_path / "d")
    (host.directory / name).touch(mode=0o600)
    assert list(checks.files(host)) == []
    (host.directory / name).chmod(0o640)
    finding = _one(checks.files, host)
    assert (finding.severity, finding.where) == ("error", str(host.directory / name))
    assert "mode 0640" in finding.what


def test_a_root_key_where_a_daemon_runs_is_noted(tmp_path: Path) -> None:
    host = _host(tmp_path / "d")
    assert list(checks.root(host)) == []
    (host.directory / "root.key").touch(mode=0o600)
    found = _one(checks.root, host)
    assert (found.severity, found.where) == ("note", str(host.directory / "root.key"))
    assert "the mesh's root key is online" in found.what


def test_a_state_directory_that_others_can_enter_is_an_error(tmp_path: Path) -> None:
    host = _host(tmp_path / "d")
    host.directory.chmod(0o755)
    assert _one(checks.files, host).what == (
        "is open to others (mode 0755), and a state directory is for its owner alone"
    )


def test_the_commands_that_close_what_is_open_hold_for_any_path(tmp_path: Path) -> None:
    host = _host(tmp_path / "a node")
    (host.directory / "identity.key").touch(mode=0o644)
    host.directory.chmod(0o755)
    commands = [shlex.split(finding.cure.partition(";")[0]) for finding in checks.files(host)]
    home = str(host.directory)
    assert commands == [["chmod", "700", home], ["chmod", "600", f"{home}/identity.key"]]


@pytest.mark.parametrize(("free", "severity"), [(50 << 20, "error"), (500 << 20, "warning")])
def test_a_disk_that_is_nearly_full_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, severity: str
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free))
    assert _one(checks.disk, Host(tmp_path / "not" / "yet", tmp_path, {})).severity == severity


def test_a_manifest_that_cannot_be_used_and_a_command_that_is_not_there_are_found(tmp_path: Path) -> None:
    host = _host(tmp_path / "d")
    host.agents.mkdir()
    lines = 'name = "x"\ncapabilities = ["x@1"]\nkind = "stdio"\n'
    (host.agents / "x.toml").write_text(f'{lines}run = ["./nothing"]\n')
    (host.agents / "y.toml").write_text("name = 7\n")
    found = {Path(finding.where).name: finding.what for finding in checks.manifests(host)}
    assert "there is no file" in found["x.toml"]
    assert set(found) == {"x.toml", "y.toml"}


def test_a_host_without_a_server_to_start_is_found_unless_it_uses_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshd.broker.binary._candidates", list)
    assert "is not installed" in _one(checks.program, _host(tmp_path)).what
    assert list(checks.program(_host(tmp_path, MESHD_NATS__URLS="nats://h:4222"))) == []


def test_a_setting_of_the_environment_that_would_stop_a_start_is_found(tmp_path: Path) -> None:
    finding = _one(checks.settings, _host(tmp_path, MESHD_LOG__LEVEL="loud"))
    assert (finding.severity, finding.where) == ("error", "environment MESHD_LOG__LEVEL")


@pytest.mark.parametrize(
    ("check", "told", "severity", "what"),
    [
        (checks.twin, _told(a_status(outlived=True)), "error", "a newer daemon runs with this node's key"),
        (checks.twin, _told(a_status(outlived=True, twin_silent_s=41.2)), "error", "key, not heard for 41 s"),
        (checks.server, _told(a_status(state="detached", reason="no server answers")), "error", "is detached"),
        (checks.server, _told(server_version="2.9.10"), "error", "2.9.10; meshd needs 2.14"),
        (checks.streams, _told(store_problem="the store gave no answer", streams=()), "error", "gave no answer"),
        (checks.streams, _told(streams=(_stream(problem="stream not found"),)), "error", "stream not found"),
        (checks.streams, _told(streams=(_stream(copies=2, copies_wanted=3),)), "warning", "2 of 3 copies"),
        (checks.streams, _told(streams=(_stream(bytes=90, bytes_max=100),)), "warning", "90% of its room"),
        (checks.clocks, _told(peers=(_peer(skew_ms=3_000),)), "warning", "3 s ahead of ours"),
        (checks.clocks, _told(peers=(_peer(skew_ms=-20_000),)), "error", "20 s behind ours, so it is given no tasks"),
        (
            checks.clocks,
            _told(peers=(_peer(skew_ms=-10_800_000),), clock_ahead_ms=10_800_000),
            "error",
            "the clock of this host is 3 h 0 min ahead of most others",
        ),
        (checks.silence, _told(peers=(_peer(answered=False, skew_ms=None),)), "warning", "did not answer"),
        (checks.silence, _told(peers=(_peer(answered=False, again_s=1.0),)), "warning", "that it is asked too often"),
        (checks.silence, _told(lost=("c",)), "warning", "it is gone without a word"),
        (checks.views, _told(peers=(_peer(agrees=False, alive=1),)), "warning", "it sees 1 nodes alive, this one 2"),
        (
            checks.distance,
            _told(peers=(_peer(), _peer(rtt_ms=211.4))),
            "warning",
            "its answer took 211 ms, and a probe is asked again after 125 ms",
        ),
        (checks.versions, _told(peers=(_peer(version="0.0.9"),)), "warning", "it runs meshd 0.0.9, this node 0.1.0"),
        (checks.engine, _told(lag_ms=900.0), "warning", "took 900 ms"),
        (checks.engine, _told(inbox_waiting=10_000), "warning", "10000 messages wait, of 16384"),
        (checks.engine, _told(writes_waiting=8_000), "warning", "8000 writes wait"),
        (
            checks.agents,
            _told(agents=(an_agent("x", state="failed", detail="it ended with exit code 1"),)),
            "warning",
            "it is failed: it ended with exit code 1",
        ),
        (
            checks.agents,
            _told(agents=(an_agent("x", state="ready", detail="the tool 'y' is left out: name: missing"),)),
            "warning",
            "it works, but the tool 'y' is left out: name: missing",
        ),
        (checks.exposure, _told(exposed=("0.0.0.0:4222",)), "note", "nothing on it is encrypted"),
        (checks.duty, _told(peers=(_peer(draining=True),)), "warning", "undrain b"),
        (
            checks.duty,
            _told(peers=(_peer(draining=True, held_by=("audit",)),)),
            "warning",
            "a new chain must begin",
        ),
        (checks.duty, _told(a_status(state="draining", held_by=("operator",))), "warning", "undrain a"),
        (
            checks.duty,
            _told(a_status(state="islanded", held_by=("audit",))),
            "warning",
            "a new chain must begin",
        ),
        (checks.attention, _told(a_status(attention=("two nodes are called a",))), "warning", "two nodes are called a"),
    ],
)
def test_what_the_daemon_tells_of_trouble_is_found(
    check: Callable[[Told], Any], told: Told, severity: str, what: str
) -> None:
    finding = _one(check, told)
    assert finding.severity == severity
    assert what in f"{finding.what}; {finding.cure}"


def test_without_a_server_it_is_no_news_that_the_record_does_not_answer() -> None:
    attention = ("the record lost its connection", "the record of the mesh was lost")
    told = _told(a_status(state="detached", attention=attention), store_problem="gave no answer", streams=())
    assert list(checks.streams(told)) == []
    assert [finding.what for finding in checks.attention(told)] == ["the record of the mesh was lost"]
    assert _one(checks.server, told).severity == "error"


def test_what_a_check_of_its_own_tells_is_not_told_twice() -> None:
    told = _told(a_status(attention=("x.toml: name: is missing",)), manifests=("x.toml: name: is missing",))
    assert list(checks.attention(told)) == []


def _head(**changes: Any) -> Told:
    head = AuditHead("a" * 32, "a", 9, "1" * 64, 9, 7, "/n/audit")
    return msgspec.structs.replace(_told(), audit=msgspec.to_builtins(msgspec.structs.replace(head, **changes)))


def test_what_is_wrong_with_the_audit_is_found_with_its_cure_and_told_once() -> None:
    assert list(checks.audit(_head())) == []
    assert list(checks.audit(_told())) == []
    damaged = _one(checks.audit, _head(damage="record 3 is not as it was written", damage_seq=3))
    assert (damaged.severity, damaged.where) == ("error", "/n/audit")
    assert "meshctl audit restart" in damaged.cure
    assert len(list(checks.audit(_head(damage="its end is none", problem="nothing can follow")))) == 1
    full = _one(checks.audit, _head(problem="No space left on device"))
    assert "No space left" in full.what
    stuck = _one(checks.audit, _head(stuck_s=95.0, is_stuck=True, shipping_problem="refuses records for now"))
    assert (stuck.severity, stuck.what.split(":")[0]) == (
        "warning",
        "2 records wait, for 95 s the stream has taken none",
    )
    assert list(checks.audit(_head(stuck_s=5.0))) == []
    said = msgspec.structs.replace(
        a_status(), attention=("the audit of this node is altered: record 3", "mind the gap")
    )
    told = msgspec.structs.replace(_head(), status=msgspec.to_builtins(said))
    assert [finding.what for finding in checks.attention(told)] == ["mind the gap"]


@pytest.mark.parametrize(
    ("origin", "cure"),
    [
        ("preset local", "membership.preset = 'lan'"),
        ("default", "membership.preset = 'wan'"),
        ("preset wan", "a longer membership.probe_timeout_s than that of preset wan"),
        ("file m.toml:7", "a longer membership.probe_timeout_s than that of file m.toml:7"),
    ],
)
def test_who_is_too_far_is_named_with_what_is_looser_than_what_set_the_patience(origin: str, cure: str) -> None:
    far = _one(checks.distance, _told(peers=(_peer(name="c", rtt_ms=130.0), _peer()), probe_origin=origin))
    assert far.where == "c"
    assert far.cure.endswith(f"set on every node: {cure}")


def test_who_seems_far_because_this_node_is_slow_is_not() -> None:
    assert list(checks.distance(_told(peers=(_peer(rtt_ms=240.0),), lag_ms=180.0))) == []
