"""The folder of manifests as it stands now: which agents it declares, and what in it cannot be used.

Invariant: a file that was good and is broken now keeps the agent that it last declared; a file is read, or taken for
removed, once it looked the same twice, so that nobody is caught while writing it. Neighbours: `manifest` checks one
file; `crew` looks, and makes the agents follow. It polls: a look costs a `stat` a file, and works on every system and
file system alike, where a watch of the kernel would need a library and miss what other hosts write.
"""

import os
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from meshd.agents.manifest import Manifest, load
from protocol.errors import MeshError
from protocol.limits import CARDS_PER_NODE_MAX

FILES_MAX = 1_024  # in one folder: a look costs 5 µs each, and no node may announce more than 128 agents
AGAIN_LOOKS = 10  # until a file that was refused is read anew: what it lacked may be there by now

_Seen: TypeAlias = tuple[int, ...]  # what tells that a file was written: time, size, number, kind
_NOTHING: _Seen = ()


class _File(Struct):
    """One file of the folder. Mutable; `manifest` is the last good one."""

    seen: _Seen
    is_read: bool = False
    looks: int = 0  # since it was refused
    manifest: Manifest | None = None
    error: MeshError | None = None


class Folder:
    """What one folder declares, kept by `look`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifests: dict[str, Manifest] = {}  # by the name of the agent
        self.refused: dict[str, MeshError] = {}  # by the name of the file
        self._files: dict[str, _File] = {}
        self._problem: MeshError | None = None  # of the folder itself

    def read(self) -> None:
        """Take everything as it stands, at the start."""
        self.look()
        self.look()

    def look(self) -> None:
        """Look once."""
        found = self._listed()
        if found is not None:
            for name in sorted(self._files.keys() | found.keys()):
                self._look_at(name, found.get(name, _NOTHING))
        self._tell()

    def _look_at(self, name: str, seen: _Seen) -> None:
        file = self._files.get(name)
        if file is None:
            self._files[name] = _File(seen)
        elif file.seen != seen:
            file.seen, file.is_read = seen, False
        elif file.seen == _NOTHING:
            del self._files[name]
        elif not file.is_read or (file.error is not None and file.looks >= AGAIN_LOOKS):
            self._read(file, name)
        else:
            file.looks += 1

    def _read(self, file: _File, name: str) -> None:
        file.is_read, file.looks = True, 0
        try:
            file.manifest, file.error = load(self.path / name), None
        except MeshError as error:
            file.error = error

    def keep(self, manifest: Manifest) -> None:
        """This was written into its file just now, and is good: no look need find it."""
        self._files[manifest.path.name] = _File(_stat(manifest.path), is_read=True, manifest=manifest)
        self._tell()

    def drop(self, manifest: Manifest) -> None:
        """Its file was removed just now."""
        self._files.pop(manifest.path.name, None)
        self._tell()

    def _tell(self) -> None:
        """Put together what all files say."""
        former = self.manifests
        self.manifests, self.refused = {}, {name: file.error for name, file in self._files.items() if file.error}
        good = {name: file.manifest for name, file in sorted(self._files.items()) if file.manifest is not None}
        for name, manifest in good.items():
            first = self.manifests.get(manifest.name) or _still(former.get(manifest.name), good)
            if first is not None and first.path.name != name:
                problem = f"name: an agent called {manifest.name} stands in {first.path} already"
                self.refused[name] = MeshError("manifest", path=manifest.path, problem=problem)
            elif len(self.manifests) >= CARDS_PER_NODE_MAX:
                problem = f"this node has {CARDS_PER_NODE_MAX} agents already, the most that one node may announce"
                self.refused[name] = MeshError("manifest", path=manifest.path, problem=problem)
            else:
                self.manifests[manifest.name] = manifest
        if self._problem is not None:
            self.refused[self.path.name] = self._problem

    def _listed(self) -> dict[str, _Seen] | None:
        """The files as they look, or None when that cannot be told: then all stays as it is."""
        self._problem = None
        try:
            names = sorted(name for name in os.listdir(self.path) if _is_ours(name))
        except FileNotFoundError:
            if not self._files:
                return {}
            self._problem = self._refusal("is gone; its agents run on as they were")
            return None
        except OSError as failure:
            self._problem = self._refusal(f"cannot be listed: {failure.strerror}")
            return None
        if len(names) > FILES_MAX:
            self._problem = self._refusal(f"holds more than {FILES_MAX} manifests; the rest is not looked at")
        return {name: _stat(self.path / name) for name in names[:FILES_MAX]}

    def _refusal(self, problem: str) -> MeshError:
        return MeshError("manifest", path=self.path, problem=problem)


def _still(former: Manifest | None, good: dict[str, Manifest]) -> Manifest | None:
    """Of two files that name one agent, the one that had it first keeps it, for as long as it says so."""
    if former is None:
        return None
    now = good.get(former.path.name)
    return now if now is not None and now.name == former.name else None


def _is_ours(name: str) -> bool:
    return name.endswith(".toml") and not name.startswith(".")


def _stat(path: Path) -> _Seen:
    try:
        found = os.stat(path)
    except OSError as failure:  # a link to nothing, or to itself: reading it will say so
        return (failure.errno or 0,)
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)
