"""The pieces of an installed Python: every distribution, and every top-level part of the standard library.

Invariant: the same installation gives the same pieces and files in the same order; compiled
caches are left out, for they come and go. CPython's own test suite (`test`) is no piece: Python
does not list it among its modules, it is often not installed, and breaks every rule on purpose.
Neighbours: `package_audit` audits one piece, `environment_audit` lists them all.
"""

import importlib.metadata
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

Kind = Literal["distribution", "stdlib"]

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


class UnknownPieceError(LookupError):
    """There is no such distribution or part of the standard library here."""


@dataclass(frozen=True)
class Piece:
    """One unit of work."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class RecordedFile:
    """One line of a distribution's RECORD: `digest` is urlsafe base64 without padding, "" when none was recorded."""

    path: Path
    shown: str
    algorithm: str
    digest: str


@dataclass(frozen=True)
class Contents:
    """What belongs to a piece. `own` are the import names it provides, `declared` the distributions it requires."""

    version: str
    licence_declared: str
    licence_texts: tuple[Path, ...]
    files: tuple[RecordedFile, ...]
    own: frozenset[str]
    declared: frozenset[str]


def normalised(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Installation:
    """One Python installation: where its distributions are found, and its standard library."""

    search: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))
    stdlib: Path = field(default_factory=lambda: Path(sysconfig.get_paths()["stdlib"]))

    @cached_property
    def distributions(self) -> dict[str, importlib.metadata.Distribution]:
        """By normalised name; the first on the search path wins, as it does for imports."""
        found: dict[str, importlib.metadata.Distribution] = {}
        for distribution in importlib.metadata.distributions(path=list(self.search)):
            name = _metadata(distribution, "Name")
            if name:
                found.setdefault(normalised(name), distribution)
        return dict(sorted(found.items()))

    @cached_property
    def providers(self) -> dict[str, frozenset[str]]:
        """Import name to the distributions that provide it."""
        found: dict[str, set[str]] = {}
        for name, distribution in self.distributions.items():
            for module in _import_names(distribution):
                found.setdefault(module, set()).add(name)
        return {module: frozenset(names) for module, names in found.items()}

    def pieces(self) -> list[Piece]:
        """All of them by name; distributions come first, for theirs are the long ones."""
        return [
            *(Piece("distribution", name) for name in self.distributions),
            *(Piece("stdlib", name) for name in self._stdlib_parts()),
        ]

    def contents(self, piece: Piece) -> Contents:
        """Raises UnknownPieceError."""
        if piece.kind == "distribution":
            distribution = self.distributions.get(normalised(piece.name))
            if distribution is None:
                raise UnknownPieceError(f"no distribution is called {piece.name}")
            return _distribution_contents(distribution)
        path = self._stdlib_parts().get(piece.name)
        if path is None:
            raise UnknownPieceError(f"the standard library has no part called {piece.name}")
        shown = sorted((str(file.relative_to(self.stdlib)), file) for file in _walk(path))
        return Contents(
            version=sys.version.split()[0],
            licence_declared="PSF-2.0",
            licence_texts=tuple(text for text in (self.stdlib / "LICENSE.txt",) if text.is_file()),
            files=tuple(RecordedFile(file, name, "", "") for name, file in shown),
            own=frozenset({piece.name}),
            declared=frozenset(),
        )

    def _stdlib_parts(self) -> dict[str, Path]:
        if not self.stdlib.is_dir():
            return {}
        parts: dict[str, Path] = {}
        for path in sorted(self.stdlib.iterdir()):
            name = path.stem if path.suffix == ".py" else path.name
            is_package = path.is_dir() and (path / "__init__.py").is_file()
            if name in sys.stdlib_module_names and (is_package or path.suffix == ".py"):
                parts[name] = path
        return parts


def _distribution_contents(distribution: importlib.metadata.Distribution) -> Contents:
    files: list[RecordedFile] = []
    licences: list[Path] = []
    for entry in sorted(distribution.files or [], key=str):
        if "__pycache__" in entry.parts:
            continue
        path = Path(os.path.normpath(str(distribution.locate_file(entry))))
        algorithm, digest = (entry.hash.mode, entry.hash.value) if entry.hash else ("", "")
        files.append(RecordedFile(path, str(entry), algorithm, digest))
        in_metadata = any(part.endswith((".dist-info", ".egg-info")) for part in entry.parts[:-1])
        if in_metadata and re.match(r"(licen[cs]e|copying|notice|unlicense)", entry.name, re.IGNORECASE):
            licences.append(path)
    requirements = [_REQUIREMENT.match(line) for line in distribution.requires or []]
    return Contents(
        version=distribution.version,
        licence_declared=_declared_licence(distribution),
        licence_texts=tuple(licences),
        files=tuple(files),
        own=_import_names(distribution),
        declared=frozenset(normalised(match[1]) for match in requirements if match),
    )


def _metadata(distribution: importlib.metadata.Distribution, name: str) -> str:
    values = distribution.metadata.get_all(name)
    return str(values[0]).strip() if values else ""


def _declared_licence(distribution: importlib.metadata.Distribution) -> str:
    """The expression if there is one, else the short free text, else what the classifiers say."""
    expression = _metadata(distribution, "License-Expression")
    text = _metadata(distribution, "License")
    if expression:
        return expression
    if text and "\n" not in text and len(text) <= 80 and text.upper() != "UNKNOWN":
        return text
    classifiers = [str(line) for line in distribution.metadata.get_all("Classifier") or []]
    named = sorted({line.split(" :: ")[-1] for line in classifiers if line.startswith("License ::")})
    return ", ".join(named)


def _import_names(distribution: importlib.metadata.Distribution) -> frozenset[str]:
    """Top-level modules and packages that the recorded files provide."""
    names: set[str] = set()
    for entry in distribution.files or []:
        first = entry.parts[0]
        if len(entry.parts) == 1 and entry.suffix in {".py", ".so", ".pyd"}:
            names.add(first.split(".")[0])
        elif len(entry.parts) > 1 and entry.suffix in {".py", ".so", ".pyd"} and first.isidentifier():
            names.add(first)
    return frozenset(names - {"__pycache__"})


def _walk(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if not name.endswith((".pyc", ".pyo")):
                yield Path(folder, name)
