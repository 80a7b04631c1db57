"""The state directory: locked, private, and never overwritten where it is broken."""

import os
import shlex
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshd.statedir import Credential, Mesh, StateDir, lock_holder, read_credential
from protocol.errors import MeshError
from protocol.identity import Identity

ROOT = Identity(b"r" * 32)
DAY_MS = 86_400_000


@pytest.fixture
def home(tmp_path: Path) -> Iterator[StateDir]:
    opened = StateDir.open(tmp_path / "a")
    yield opened
    opened.close()


def _refusal(caught: pytest.ExceptionInfo[MeshError]) -> str:
    assert caught.value.code == "directory"
    assert caught.value.hint
    return caught.value.message


def _denied(path: Path, flags: int) -> int:
    raise PermissionError(13, "Permission denied")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_missing_directory_is_made_with_its_parents_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "x" / "y"
    StateDir.open(path).close()
    assert _mode(path) == 0o700


def test_a_directory_with_nothing_but_agents_settings_and_a_log_is_tightened(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "meshd.log").write_text("")
    (tmp_path / "node.toml").write_text("")
    StateDir.open(tmp_path).close()
    assert _mode(tmp_path) == 0o700


def test_a_directory_that_serves_others_as_well_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(MeshError) as caught:
        StateDir.open(tmp_path)
    assert "is open to others (mode 0755) and holds files that are not meshd's, such as 'thesis.txt'" in _refusal(
        caught
    )
    assert _mode(tmp_path) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_keys_that_were_copied_into_a_directory_that_is_open_are_refused_with_the_command_that_closes_it(
    tmp_path: Path,
) -> None:
    copied = tmp_path / "a copy"
    copied.mkdir(mode=0o755)
    copied.chmod(0o755)
    (copied / "identity.key").write_bytes(b"k" * 32)
    (copied / "identity.key").chmod(0o600)
    with pytest.raises(MeshError) as caught:
        StateDir.open(copied)
    assert "a directory with a key (identity.key) is for its owner alone" in _refusal(caught)
    command, _ = caught.value.hint.split("; ")
    assert shlex.split(command) == ["chmod", "700", str(copied)]
    copied.chmod(0o700)
    StateDir.open(copied).close()


def test_a_key_that_meshd_may_not_read_is_refused_with_the_commands_that_mend_it(
    home: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshd.statedir.os.open", _denied)
    with pytest.raises(MeshError) as caught:
        home.secret("identity.key")
    assert _refusal(caught) == f"{home.path}/identity.key: cannot be read: Permission denied"
    assert caught.value.hint.endswith(f"meshd, then: chmod 700 {home.path} && chmod 600 {home.path}/identity.key")


def test_nobody_is_told_to_close_a_folder_that_is_not_the_nodes_for_a_credential_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshd.statedir.os.open", _denied)
    with pytest.raises(MeshError) as caught:
        read_credential(Path("/etc/nats credential.json"))
    assert caught.value.hint.endswith(
        "chown it to the user that runs meshd, then: chmod 600 '/etc/nats credential.json'"
    )
    assert "chmod 700" not in caught.value.hint


def test_a_second_daemon_is_told_who_holds_the_directory_and_how_to_stop_him(tmp_path: Path) -> None:
    home = StateDir.open(tmp_path / "my mesh")
    program = f"""
from pathlib import Path
from meshd.statedir import StateDir
from protocol.errors import MeshError
try:
    StateDir.open(Path({str(home.path)!r}))
except MeshError as refusal:
    print(refusal.code, refusal.message)
    print(refusal.hint)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    home.close()
    problem, cure = said.stdout.splitlines()
    assert problem == f"directory {home.path}: is in use by the daemon with process id {os.getpid()}"
    assert cure.startswith(f"stop it with: meshd stop --dir '{home.path}', or choose another")


def test_the_lock_is_free_again_after_closing(home: StateDir) -> None:
    assert lock_holder(home.path) == os.getpid()
    home.close()
    assert lock_holder(home.path) is None
    StateDir.open(home.path).close()


def test_nobody_holds_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "none") is None


def test_a_directory_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshError) as caught:
        StateDir.open(tmp_path / "file" / "a")
    assert _refusal(caught).endswith("cannot be used: Not a directory")


def test_a_lock_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(MeshError) as caught:
        StateDir.open(tmp_path)
    assert "cannot be written" in _refusal(caught)
    assert victim.read_text() == "precious"


def test_the_identity_is_minted_once_and_kept(home: StateDir) -> None:
    first = home.identity()
    assert home.identity().id == first.id
    assert _mode(home.path / "identity.key") == 0o600


def test_the_identity_of_a_node_that_belongs_to_a_mesh_is_never_minted_anew(home: StateDir) -> None:
    home.identity()
    home.keep_mesh(Mesh(ROOT.public_key, "m", "f"))
    (home.path / "identity.key").unlink()
    with pytest.raises(MeshError) as caught:
        home.identity()
    assert _refusal(caught) == f"{home.path}/identity.key: is missing, so this node is nobody"
    assert not (home.path / "identity.key").exists()


def test_a_truncated_key_is_named_and_not_overwritten(home: StateDir) -> None:
    home.write("identity.key", b"short")
    with pytest.raises(MeshError) as caught:
        home.identity()
    assert _refusal(caught) == f"{home.path}/identity.key: holds 5 bytes and not the 32 of a key"
    assert (home.path / "identity.key").read_bytes() == b"short"


@pytest.mark.parametrize("name", ["identity.key", "root.key", "credential.json"])
def test_a_secret_that_others_can_read_stops_the_start(home: StateDir, name: str) -> None:
    home.write(name, b"k" * 32)
    home.close()
    (home.path / name).chmod(0o640)
    with pytest.raises(MeshError) as caught:
        StateDir.open(home.path)
    assert f"{home.path}/{name}: is open to others (mode 0640), and such a secret is for its owner" in _refusal(caught)
    assert f"chmod 600 {home.path}/{name}" in caught.value.hint
    assert lock_holder(home.path) is None


def test_a_key_that_is_a_symbolic_link_is_refused(home: StateDir, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"k" * 32)
    (home.path / "identity.key").symlink_to(elsewhere)
    with pytest.raises(MeshError) as caught:
        home.identity()
    assert _refusal(caught).endswith("identity.key: is a symbolic link")


def test_a_named_pipe_and_a_folder_in_the_place_of_a_key_are_refused_at_once(home: StateDir) -> None:
    os.mkfifo(home.path / "identity.key", 0o600)
    (home.path / "root.key").mkdir()
    with pytest.raises(MeshError, match="is not a regular file"):
        home.identity()
    with pytest.raises(MeshError, match=r"root\.key: is not a regular file"):
        home.root()


def test_a_file_that_is_far_too_large_is_not_read(home: StateDir) -> None:
    home.write("mesh.json", b"x" * 65_537)
    with pytest.raises(MeshError, match="is 65537 bytes"):
        home.mesh()


def test_a_new_directory_belongs_to_no_mesh(home: StateDir) -> None:
    assert home.mesh() is None
    assert home.root() is None


def test_the_mesh_comes_back_as_it_was_kept(home: StateDir) -> None:
    mesh = Mesh(ROOT.public_key, "shop", "founder", ("nats://a:4222",))
    home.keep_mesh(mesh)
    assert home.mesh() == mesh


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"id":"a","name":"b","root_key":"zz","founder":"c"}', b"[" * 60_000, b"null"],
)
def test_a_broken_mesh_file_is_named_and_not_overwritten(home: StateDir, content: bytes) -> None:
    home.write("mesh.json", content)
    with pytest.raises(MeshError) as caught:
        home.mesh()
    assert _refusal(caught) == f"{home.path}/mesh.json: is not what meshd wrote there"
    assert (home.path / "mesh.json").read_bytes() == content


def test_a_mesh_file_whose_key_was_exchanged_is_refused(home: StateDir) -> None:
    home.keep_mesh(Mesh(ROOT.public_key, "m", "f"))
    other = Identity(b"o" * 32).public_key.hex()
    home.write(
        "mesh.json", (home.path / "mesh.json").read_bytes().replace(ROOT.public_key.hex().encode(), other.encode())
    )
    with pytest.raises(MeshError, match="names a mesh that its key does not fit"):
        home.mesh()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"user": 1, "password": "x"}', b'{"user":"a","password":"b","more":1}']
)
def test_a_broken_credential_is_named(home: StateDir, content: bytes) -> None:
    home.write("credential.json", content)
    with pytest.raises(MeshError, match="holds no user and password"):
        home.credential()


def test_a_credential_of_the_operator_must_be_there_and_private(tmp_path: Path) -> None:
    path = tmp_path / "nats.json"
    with pytest.raises(MeshError, match="is missing"):
        read_credential(path)
    path.write_text('{"user": "u", "password": "p"}')
    path.chmod(0o644)
    with pytest.raises(MeshError, match="is open to others"):
        read_credential(path)
    path.chmod(0o600)
    assert read_credential(path) == Credential("u", "p")


def test_a_credential_may_have_a_mark_and_who_saved_it_as_utf_16_is_told_so(home: StateDir) -> None:
    home.write("credential.json", '{"user": "u", "password": "p"}'.encode("utf-8-sig"))
    assert home.credential() == Credential("u", "p")
    home.write("credential.json", '{"user": "u", "password": "p"}'.encode("utf-16"))
    with pytest.raises(MeshError, match="is UTF-16: save it as UTF-8"):
        home.credential()


def test_an_admission_of_another_mesh_is_refused(home: StateDir) -> None:
    home.keep_mesh(Mesh(ROOT.public_key, "m", "f"))
    with pytest.raises(MeshError, match="admission: is missing") as caught:
        home.admission()
    assert f"meshd start --dir {home.path} --join TOKEN" in caught.value.hint
    home.write("identity.key", b"k" * 32)
    home.write("admission", b"\x93\xc4\x00\x90\xc4\x00")
    with pytest.raises(MeshError, match="does not admit this node to the mesh"):
        home.admission()


def test_lives_rise_strictly_even_when_the_clock_goes_back(home: StateDir) -> None:
    assert [home.next_life(wall_ms) for wall_ms in (1_000, 1_000, 500, 2_000)] == [1_000, 1_001, 1_002, 2_000]
    home.close()
    again = StateDir.open(home.path)
    assert again.next_life(0) == 2_001
    again.close()


def test_a_life_far_in_the_future_is_followed_by_the_next_one_after_it(home: StateDir) -> None:
    home.next_life(10 * DAY_MS)
    assert home.next_life(8 * DAY_MS) == 10 * DAY_MS + 1, "what a clock that was off wrote does not stop a start"


@pytest.mark.parametrize("content", [b"", b"soon", b"-5", b"9" * 19, "٣".encode(), b"1_000"])
def test_a_broken_life_is_named_and_not_overwritten(home: StateDir, content: bytes) -> None:
    home.write("life", content)
    with pytest.raises(MeshError, match="life: is not what meshd wrote there"):
        home.next_life(5)
    assert (home.path / "life").read_bytes() == content


def test_when_the_disk_is_full_the_old_file_stays(home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("life", b"7\n")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MeshError) as caught:
        home.next_life(9)
    assert _refusal(caught) == f"{home.path}/life: cannot be written: No space left on device"
    assert "still stands" in caught.value.hint
    assert (home.path / "life").read_bytes() == b"7\n"
    assert sorted(path.name for path in home.path.iterdir()) == ["life", "lock"]


def test_what_a_crash_left_half_written_is_removed_at_the_next_start(home: StateDir) -> None:
    (home.path / ".life.new").write_bytes(b"half")
    home.close()
    StateDir.open(home.path).close()
    assert not (home.path / ".life.new").exists()


def test_every_file_is_written_for_its_owner_alone(home: StateDir) -> None:
    previous = os.umask(0)
    try:
        home.write("life", b"1")
    finally:
        os.umask(previous)
    assert _mode(home.path / "life") == 0o600


def test_the_socket_lies_in_the_directory_when_its_path_is_short(tmp_path: Path) -> None:
    assert StateDir(Path("/short"), -1).socket_path({}) == Path("/short/api.sock")


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Short enough for a socket, however long the path of temporary files is."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        yield Path(short)


def test_a_long_directory_has_its_socket_in_the_runtime_directory(runtime: Path) -> None:
    long = StateDir(Path("/" + "d" * 120), -1)
    path = long.socket_path({"XDG_RUNTIME_DIR": str(runtime)})
    assert path.parent == runtime / f"meshd-{os.getuid()}"
    assert _mode(path.parent) == 0o700
    assert path == long.socket_path({"XDG_RUNTIME_DIR": str(runtime)})
    assert path != StateDir(Path("/" + "e" * 120), -1).socket_path({"XDG_RUNTIME_DIR": str(runtime)})


def test_a_runtime_directory_that_others_could_have_made_is_refused(runtime: Path) -> None:
    private = runtime / f"meshd-{os.getuid()}"
    private.mkdir(mode=0o755)
    private.chmod(0o755)
    with pytest.raises(MeshError, match="is not a directory of this user alone"):
        StateDir(Path("/" + "d" * 120), -1).socket_path({"XDG_RUNTIME_DIR": str(runtime)})
    private.rmdir()
    private.symlink_to(runtime)
    with pytest.raises(MeshError, match="is not a directory of this user alone"):
        StateDir(Path("/" + "d" * 120), -1).socket_path({"XDG_RUNTIME_DIR": str(runtime)})


def test_how_far_the_record_had_come_is_remembered(home: StateDir) -> None:
    assert home.seen() == 0
    home.keep_seen(41)
    assert home.seen() == 41
    home.write("seen", b"far")
    assert home.seen() == 0, "it only warns: what is broken is as good as none"
