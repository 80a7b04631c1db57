"""The state directory of a node: its lock, its keys, and what it must remember between two lives.

Invariant: a file is replaced whole or not at all, and what is broken is named and never
overwritten. Secrets are regular files of mode 0600. Neighbours: `invitation` founds and joins
through this; the broker, the store and the API keep files of their own beside these.
"""

import errno
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from shlex import quote

import msgspec
from msgspec import Struct

from meshd.plaintext import text_of
from meshd.running import LOCK
from meshd.where import open_to_others
from protocol.errors import MeshError
from protocol.identity import KEY_BYTES, Identity, admitted_key, is_acceptable
from protocol.ids import mesh_id
from protocol.limits import LIFE_MAX
from protocol.primitives import NodeId, WallMs

IDENTITY = "identity.key"
ROOT = "root.key"
MESH = "mesh.json"
ADMISSION = "admission"
CREDENTIAL = "credential.json"
LIFE = "life"
SEEN = "seen"

BEFORE_LOCK = frozenset({"agents.d", "meshd.log"})  # what may be there before the first start, beside settings
SECRETS = (IDENTITY, ROOT, CREDENTIAL)

FILE_BYTES_MAX = 65_536  # the largest of these files is a few hundred bytes
SOCKET_PATH_BYTES_MAX = 100  # the kernel's limit is 108 on Linux and 104 on macOS, with the closing zero

_BACKUP = "put back a copy of it, or start another node with --dir"


class Credential(Struct, frozen=True, forbid_unknown_fields=True):
    """What the NATS server asks of a node."""

    user: str
    password: str


class Mesh(Struct, frozen=True):
    """Which mesh the directory belongs to: its root key (32 bytes), its name, who founded it, where its servers are."""

    root_key: bytes
    name: str
    founder: NodeId
    urls: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The id of the mesh, as it stands in subjects."""
        return mesh_id(self.root_key)


class _MeshFile(Struct, frozen=True):
    """`mesh.json`: `id` and the root key in hex must fit each other."""

    id: str
    name: str
    root_key: str
    founder: str
    urls: tuple[str, ...] = ()


class StateDir:
    """An open, locked state directory. `path` is absolute."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: Path) -> "StateDir":
        """Make the directory if it is missing, tighten it to 0700, and lock it.

        Raises MeshError("directory") when another daemon holds it, with that daemon's process id,
        and when it cannot be made, written or locked.
        """
        path = Path(os.path.abspath(path))
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_ours(path)
        except OSError as failure:
            raise _refused(path, f"cannot be used: {_reason(failure)}", "choose another directory with --dir") from None
        opened = cls(path, _locked(path))
        try:
            for stray in path.glob(".*.new"):  # a write that a crash cut short
                stray.unlink(missing_ok=True)
            for name in SECRETS:
                opened.secret(name)
        except OSError as failure:
            opened.close()
            raise _refused(path, f"cannot be written: {_reason(failure)}", "choose another with --dir") from None
        except MeshError:
            opened.close()
            raise
        return opened

    def close(self) -> None:
        """Let go of the lock. Idempotent."""
        if self._lock_fd >= 0:
            os.ftruncate(self._lock_fd, 0)
            os.close(self._lock_fd)
            self._lock_fd = -1

    def identity(self) -> Identity:
        """This node's key; minted at the first call, and never again once the directory belongs to a mesh."""
        seed = self.secret(IDENTITY)
        if seed is None:
            if (self.path / MESH).exists():
                raise _refused(self.path / IDENTITY, "is missing, so this node is nobody", _BACKUP)
            seed = secrets.token_bytes(KEY_BYTES)
            self.write(IDENTITY, seed)
        return self._identity_of(IDENTITY, seed)

    def root(self) -> Identity | None:
        """The key of the mesh; only the node that founded it has one."""
        seed = self.secret(ROOT)
        return None if seed is None else self._identity_of(ROOT, seed)

    def mint_root(self) -> Identity:
        """A new key for a mesh of one's own; the one that is there already, when founding was cut short."""
        seed = self.secret(ROOT)
        if seed is None:
            seed = secrets.token_bytes(KEY_BYTES)
            self.write(ROOT, seed)
        return self._identity_of(ROOT, seed)

    def _identity_of(self, name: str, seed: bytes) -> Identity:
        if len(seed) != KEY_BYTES:
            raise _refused(self.path / name, f"holds {len(seed)} bytes and not the {KEY_BYTES} of a key", _BACKUP)
        return Identity(seed)

    def mesh(self) -> Mesh | None:
        """Which mesh the directory belongs to, or None when it is new."""
        content = self.read(MESH)
        if content is None:
            return None
        try:
            seen = msgspec.json.decode(content, type=_MeshFile)
            root_key = bytes.fromhex(seen.root_key)
        except (ValueError, RecursionError):
            raise _refused(self.path / MESH, "is not what meshd wrote there", _BACKUP) from None
        if not is_acceptable(root_key) or mesh_id(root_key) != seen.id:
            raise _refused(self.path / MESH, "names a mesh that its key does not fit", _BACKUP)
        return Mesh(root_key=root_key, name=seen.name, founder=seen.founder, urls=seen.urls)

    def keep_mesh(self, mesh: Mesh) -> None:
        """From now on the directory belongs to `mesh`. Write this last: what it needs must be there."""
        seen = _MeshFile(mesh.id, mesh.name, mesh.root_key.hex(), mesh.founder, mesh.urls)
        self.write(MESH, msgspec.json.format(msgspec.json.encode(seen)) + b"\n")

    def admission(self) -> bytes:
        """The proof that this node may take part, as it goes into its alive facts."""
        mesh, proof = self.mesh(), self.read(ADMISSION)
        cure = f"join again with a new invitation: meshd start --dir {quote(str(self.path))} --join TOKEN"
        if mesh is None or proof is None:
            raise _refused(self.path / ADMISSION, "is missing", cure)
        if admitted_key(root_key=mesh.root_key, proof=proof) != self.identity().public_key:
            raise _refused(self.path / ADMISSION, f"does not admit this node to the mesh {mesh.id}", cure)
        return proof

    def credential(self) -> Credential:
        """What the mesh's NATS server asks of this node."""
        content = self.secret(CREDENTIAL)
        if content is None:
            raise _refused(self.path / CREDENTIAL, "is missing", _BACKUP)
        return _credential_of(self.path / CREDENTIAL, content)

    def keep_credential(self, credential: Credential) -> None:
        """Remember the credential."""
        self.write(CREDENTIAL, msgspec.json.encode(credential))

    def next_life(self, wall_ms: WallMs) -> int:
        """The number of the life that begins now: the wall clock, but strictly above every earlier life."""
        content = self.read(LIFE)
        stored = 0
        if content is not None:
            text = content.decode("ascii", "replace").strip()
            if not text.isascii() or not text.isdecimal() or len(text) > 18:
                raise _refused(self.path / LIFE, "is not what meshd wrote there", _BACKUP)
            stored = int(text)
        if stored >= LIFE_MAX:
            raise _refused(self.path / LIFE, "is not what meshd wrote there", _BACKUP)
        life = max(wall_ms, stored + 1)
        self.write(LIFE, b"%d\n" % life)
        return life

    def keep_life(self, life: int) -> None:
        """The next one is above this."""
        self.write(LIFE, b"%d\n" % life)

    def seen(self) -> int:
        """The last revision of its own key that this node is known to have seen; 0 when it never saw one."""
        text = (self.read(SEEN) or b"").strip()
        return int(text) if text.isdigit() and len(text) <= 18 else 0

    def keep_seen(self, revision: int) -> None:
        """Remember it: a record that has less at the next start has lost something."""
        self.write(SEEN, b"%d\n" % revision)

    def socket_path(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Where the API's unix socket goes: `api.sock` here, or in a short private directory when that is too long."""
        path = self.path / "api.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
            return path
        name = f"{blake2b(os.fsencode(self.path), digest_size=8).hexdigest()}.sock"
        bases = [Path(environ[key]) for key in ("XDG_RUNTIME_DIR",) if os.path.isabs(environ.get(key, ""))]
        for base in (*bases, Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108  # made private below, or refused
            short = base / f"meshd-{os.getuid()}" / name
            if len(os.fsencode(short)) <= SOCKET_PATH_BYTES_MAX and base.is_dir():
                _make_private(short.parent)
                return short
        raise _refused(
            path, "is too long for a socket", "choose a shorter directory with --dir, or set XDG_RUNTIME_DIR"
        )

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None when there is none. It may be readable by others."""
        return _content(self.path / name, refused_mode=0, home=self.path)

    def secret(self, name: str) -> bytes | None:
        """The content of a file that nobody else may read, or None when there is none."""
        return _content(self.path / name, refused_mode=0o077, home=self.path)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file as a whole, mode 0600, on disk when this returns; at an error the old one stays."""
        path = self.path / name
        fresh = self.path / f".{name}.new"
        try:
            fresh.unlink(missing_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(fresh, path)
            except OSError:
                fresh.unlink(missing_ok=True)
                raise
            _sync_dir(self.path)
        except OSError as failure:
            raise _refused(path, f"cannot be written: {_reason(failure)}", _cure_of(failure)) from None


def read_credential(path: Path) -> Credential:
    """A credential that an operator wrote, for servers of their own: JSON, readable by its owner alone."""
    content = _content(path, refused_mode=0o077)
    if content is None:
        raise _refused(path, "is missing", "set nats.credential_file to the file that holds the user and password")
    return _credential_of(path, content)


def read_identity(path: Path) -> Identity | None:
    """The key of the node whose directory this is, whoever holds it; None when there is none, as in a copy."""
    directory = StateDir(path, -1)
    return directory.identity() if directory.secret(IDENTITY) is not None else None


def lock_holder(path: Path) -> int | None:
    """The process id of the daemon that holds the directory, or None when none does."""
    try:
        fd = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    return None


def _credential_of(path: Path, content: bytes) -> Credential:
    cure = 'write {"user": "…", "password": "…"} into it'
    try:
        text = text_of(content)
    except ValueError as failure:
        raise _refused(path, str(failure), cure) from None
    try:
        return msgspec.json.decode(text, type=Credential)
    except (ValueError, RecursionError):
        raise _refused(path, "holds no user and password", cure) from None


def _make_ours(path: Path) -> None:
    """Tighten a directory to 0700, but never one that serves others as well (`--dir /tmp`), or was filled by hand."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return
    names = os.listdir(path)
    foreign = [name for name in names if name not in BEFORE_LOCK and not name.endswith(".toml")]
    secret = next((name for name in SECRETS if name in names), "")
    if secret and LOCK not in names:
        problem = open_to_others(mode, f"a directory with a key ({secret})")
        raise _refused(path, problem, f"chmod 700 {quote(str(path))}; no file in it may be readable by others either")
    if foreign and LOCK not in names:
        problem = f"is open to others (mode {mode:04o}) and holds files that are not meshd's, such as {min(foreign)!r}"
        raise _refused(path, problem, "choose a directory of its own with --dir")
    path.chmod(0o700)


def _locked(path: Path) -> int:
    lock = path / LOCK
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as failure:
        raise _refused(path, f"cannot be written: {_reason(failure)}", "choose another with --dir") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        pid = _pid_in(fd)
        os.close(fd)
        who = f"the daemon with process id {pid}" if pid else "another daemon"
        cure = f"stop it with: meshd stop --dir {quote(str(path))}, or choose another directory with --dir"
        raise _refused(path, f"is in use by {who}", cure) from None
    except OSError as failure:
        os.close(fd)
        raise _refused(path, f"cannot be locked: {_reason(failure)}", "choose another with --dir") from None
    return fd


def _pid_in(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _content(path: Path, *, refused_mode: int, home: Path | None = None) -> bytes | None:
    """What a file holds, or None when there is none; `home` is the directory around it when that is ours alone."""
    try:
        # Without O_NONBLOCK a named pipe put there would stop the start for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as failure:
        if failure.errno == errno.ELOOP:
            raise _refused(path, "is a symbolic link", "put the file itself there") from None
        modes = f"chmod 700 {quote(str(home))} && " if home else ""
        modes += f"chmod 600 {quote(str(path))}"
        is_denied = failure.errno in (errno.EACCES, errno.EPERM)
        cure = f"chown it to the user that runs meshd, then: {modes}" if is_denied else "mend the disk or its mount"
        raise _refused(path, f"cannot be read: {_reason(failure)}", cure) from None
    try:
        _check(path, os.fstat(fd), refused_mode)
        return os.read(fd, FILE_BYTES_MAX)
    except OSError as failure:
        raise _refused(path, f"cannot be read: {_reason(failure)}", "mend the disk or its mount") from None
    finally:
        os.close(fd)


def _check(path: Path, seen: os.stat_result, refused_mode: int) -> None:
    mode = stat.S_IMODE(seen.st_mode)
    if not stat.S_ISREG(seen.st_mode):
        raise _refused(path, "is not a regular file", "put the file itself there")
    if mode & refused_mode:
        cure = f"chmod 600 {quote(str(path))}; and think about who may have read it"
        raise _refused(path, open_to_others(mode, "such a secret"), cure)
    if seen.st_size > FILE_BYTES_MAX:
        raise _refused(path, f"is {seen.st_size} bytes, which no file of meshd's is", _BACKUP)


def _make_private(path: Path) -> None:
    """Make a directory that is ours alone; one that somebody else put there first is refused."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        seen = path.lstat()
    except OSError as failure:
        raise _refused(path, f"cannot be made: {_reason(failure)}", "choose a shorter directory with --dir") from None
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise _refused(path, "is not a directory of this user alone", "remove it, or choose a shorter one with --dir")


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _reason(failure: OSError) -> str:
    return failure.strerror or str(failure)


def _cure_of(failure: OSError) -> str:
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space; what stood there before still stands"
    return "mend its owner and mode, or choose another directory with --dir"


def _refused(path: Path, problem: str, cure: str) -> MeshError:
    return MeshError("directory", path=str(path), problem=problem, cure=cure)
