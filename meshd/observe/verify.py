"""Whether an audit on disk is what its node wrote: a directory, one segment, or what `export` made; no daemon needed.

Invariant: nothing that is read is trusted, not even the note of what the stream acknowledged, which counts
only when the node has signed it. Each chain has a verdict of its own, and the worst is the verdict of all.
Neighbours: `protocol.audit` checks a chain; `export` writes what is read here; `meshctl audit` prints this.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from meshd.observe.chains import aside
from meshd.observe.export import MANIFEST, Manifest, manifest_of
from meshd.observe.packed import Packed, lines_in
from meshd.observe.segments import FOLDER, lines_of, segments, whole_bytes
from meshd.observe.shipping import WITNESS, read_witness
from meshd.observe.witnessing import Compared, Mark, compared, marks
from protocol.audit import Checker, Ending, Finding, Head, Record, Witness
from protocol.errors import MeshError
from protocol.primitives import NodeId, WallMs

ASIDE = re.compile(r".+-[0-9]{1,6}")  # a folder that was set aside: what came before it need not lie beside it


class Begun(Struct, frozen=True):
    """What the first record of a chain says of the one before it: who set it aside, why, and what had been found."""

    who: str
    time_ms: WallMs
    former: int = 0
    former_seq: int = 0
    former_hash: str = ""
    reason: str = ""
    finding: str = ""  # gap | forked | altered
    finding_seq: int = 0
    text: str = ""


class Verdict(Struct, frozen=True):
    """What was found of one chain; without a finding `seq` and `hash` are its end.

    `since_ms` > 0: a part that was asked for. `is_bounded`: the node has signed where this begins and ends.
    """

    ending: Ending
    chain: int = 1
    node: NodeId = ""
    stream: str = ""
    records: int = 0
    first_seq: int = 0
    seq: int = 0
    hash: str = ""
    witnessed: int = 0
    finding: Finding | None = None
    file: str = ""
    line: int = 0
    torn_bytes: int = 0
    since_ms: WallMs = 0
    is_bounded: bool = True
    begun: Begun | None = None


class Report(Struct, frozen=True):
    """All chains, oldest first; `ending` is the worst of them, and the exit code. `stream`: if that was asked, too."""

    ending: Ending
    chains: tuple[Verdict, ...]
    stream: Compared | None = None


def verify(path: Path) -> Report:
    """Read all of it. Raises MeshError directory or bad_input when there is nothing to verify."""
    verdicts = _directory(path) if path.is_dir() else _file(path)
    return Report(Ending(max(each.ending for each in verdicts)), tuple(verdicts))


def beside_stream(report: Report, path: Path, told: Iterable[Mark]) -> Report:
    """The same with the stream as witness: what its last chain was given there, as somebody read it."""
    *former, newest = report.chains
    found = compared(marks(path, newest.chain), told, may_go_on=not path.is_dir())
    is_alone = newest.ending is Ending.UNWITNESSED and newest.is_bounded and not newest.torn_bytes
    newest_ending = found.ending if is_alone else max(newest.ending, found.ending)
    endings = (*(each.ending for each in former), newest_ending)
    return Report(Ending(max(endings)), report.chains, found)


# --- a directory


def _directory(path: Path) -> list[Verdict]:
    folder = path / FOLDER if (path / FOLDER).is_dir() or aside(path / FOLDER) else path
    kept = aside(folder)
    verdicts = [_folder(folder, until=None, is_alone=not kept)]
    for number, former in reversed(kept):
        begun = verdicts[0].begun if verdicts[0].begun and verdicts[0].begun.former == number else None
        until = Head(begun.former_seq, begun.former_hash) if begun is not None and begun.former_hash else None
        found = _folder(former, until=until, is_alone=False)
        verdicts.insert(0, _as_noted(found, begun, verdicts[0].chain))
    first = verdicts[0]
    if first.begun is not None and not ASIDE.fullmatch(folder.name):
        text = f"chain {first.begun.former}, which was set aside for chain {first.chain}, is not here"
        finding = Finding(Ending.GAP, first.begun.former_seq, "cut", text)
        verdicts.insert(0, Verdict(Ending.GAP, first.begun.former, first.node, finding=finding))
    return verdicts


def _folder(folder: Path, *, until: Head | None, is_alone: bool) -> Verdict:
    paths, witness = segments(folder), read_witness(folder)
    if not paths and witness is None:
        if is_alone:
            raise MeshError("bad_input", what=f"{folder} holds no audit")
        finding = Finding(Ending.GAP, 1, "cut", f"{folder} holds no record")
        return Verdict(Ending.GAP, 0, finding=finding, file=str(folder))
    if witness is None and (folder / WITNESS).exists():
        finding = Finding(Ending.ALTERED, 0, "unreadable", "the note of what the stream acknowledged is no such note")
        return Verdict(Ending.ALTERED, finding=finding, file=str(folder / WITNESS))
    if (bad := _bad_witness(witness)) is not None:
        return Verdict(Ending.ALTERED, finding=bad, file=str(folder / WITNESS))
    checker = Checker(witness=witness, is_whole=True)
    file, number, found, torn_bytes = "", 0, None, 0
    for path in paths:
        whole = whole_bytes(path) if path is paths[-1] else None
        torn_bytes = 0 if whole is None else path.stat().st_size - whole
        found, number = _first_bad(checker, lines_of(path, until=whole))
        if found is not None:
            file = str(path)
            break
    if found is None:
        found, number = checker.end() or _past(checker, until), 0
        file = str(paths[-1]) if found is not None and paths else ""
    return structs.replace(_verdict(checker, witness, found, torn_bytes), file=file, line=number)


def _past(checker: Checker, until: Head | None) -> Finding | None:
    """What the next chain says of the end of this one, if that is not so."""
    if until is None or (checker.seq, checker.hash) == (until.seq, until.hash):
        return None
    if checker.seq < until.seq:
        text = f"the chain ends at record {checker.seq}, and was set aside with {until.seq}"
        return Finding(Ending.GAP, checker.seq + 1, "cut", text)
    text = f"the chain was set aside with another record {until.seq} as its last"
    return Finding(Ending.ALTERED, until.seq, "replaced", text)


def _as_noted(verdict: Verdict, begun: Begun | None, following: int) -> Verdict:
    """A chain that shows no fault by itself was set aside for one all the same, as for a fork that the stream told."""
    if begun is None or verdict.finding is not None or begun.finding.upper() not in ("GAP", "FORKED", "ALTERED"):
        return verdict
    ending = Ending[begun.finding.upper()]
    finding = Finding(ending, begun.finding_seq, begun.finding, f"{begun.text}; so says chain {following}")
    return structs.replace(verdict, ending=ending, finding=finding)


# --- a file


def _file(path: Path) -> list[Verdict]:
    reader, fault = _Reader(str(path)), None
    try:
        for line in lines_in(path):
            reader.take(line)
    except Packed as failure:
        fault = Finding(failure.ending, reader.seq + 1, failure.kind, failure.text)
    verdicts = reader.ended(fault)
    if not verdicts:
        raise MeshError("bad_input", what=f"{path} holds no audit: it is empty")
    return verdicts


class _Reader:
    """Goes through an export, or one segment, line by line. Mutable."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._number = 0
        self._checker = Checker()
        self._manifest: Manifest | None = None
        self._found: tuple[Finding, int] | None = None
        self._verdicts: list[Verdict] = []

    @property
    def seq(self) -> int:
        """The last record that was sound."""
        return self._checker.seq

    def take(self, line: bytes) -> None:
        """The next line."""
        self._number += 1
        if line.startswith(MANIFEST):
            if self._number > 1:
                self._close(None)
            self._begin(line)
        elif self._found is None:
            finding = self._checker.take(line)
            self._found = None if finding is None else (finding, self._number)

    def ended(self, fault: Finding | None) -> list[Verdict]:
        """No more lines: the verdicts."""
        if self._number or fault:
            self._close(fault)
        listed = self._manifest.chains if self._manifest is not None else ()
        seen = [each.chain for each in self._verdicts]
        for chain in listed:
            if seen.count(chain) != 1:
                how, ending = ("cut", Ending.GAP) if chain not in seen else ("repeated", Ending.ALTERED)
                problem = "is not in it" if ending is Ending.GAP else "stands in it more than once"
                finding = Finding(ending, 0, how, f"chain {chain} is listed by this export, and {problem}")
                self._verdicts.append(Verdict(ending, chain, finding=finding, file=self._file))
        return sorted(self._verdicts, key=lambda each: each.chain)

    def _begin(self, line: bytes) -> None:
        self._manifest = manifest = manifest_of(line)
        self._checker, self._found = Checker(), None
        if manifest is None:
            text = f"line {self._number} does not say what is exported"
            self._found = Finding(Ending.ALTERED, 0, "unreadable", text), self._number
            return
        bad = _bad_witness(manifest.witness)
        is_other = manifest.witness is not None and manifest.witness.node != manifest.node
        if is_other or not (manifest.is_genuine or manifest.is_unsigned):
            text = "what this export says of itself was not signed by its node"
            bad = Finding(Ending.ALTERED, manifest.first_seq, "foreign", text)
        self._found = None if bad is None else (bad, self._number)
        self._checker = Checker(
            node=manifest.node,
            chain=manifest.chain,
            witness=manifest.witness,
            is_whole=not manifest.since_ms,
            after=Head(manifest.first_seq - 1, manifest.before),
            until=Head(manifest.last_seq, manifest.hash),
        )

    def _close(self, fault: Finding | None) -> None:
        manifest = self._manifest
        if self._found is None:
            finding = fault or self._checker.end()
            self._found = None if finding is None else (finding, 0)
        found, number = self._found or (None, 0)
        verdict = _verdict(self._checker, manifest.witness if manifest is not None else None, found, 0)
        is_bounded = manifest is not None and manifest.is_genuine
        if found is None and not is_bounded:
            verdict = structs.replace(verdict, ending=Ending.UNWITNESSED)
        since_ms = manifest.since_ms if manifest is not None else 0
        self._verdicts.append(
            structs.replace(
                verdict,
                file=self._file if found is not None else "",
                line=number,
                is_bounded=is_bounded,
                since_ms=since_ms,
            )
        )


# --- both


def _bad_witness(witness: Witness | None) -> Finding | None:
    if witness is None or witness.is_genuine:
        return None
    text = "the note of what the stream acknowledged was not signed by its node"
    return Finding(Ending.ALTERED, witness.seq, "foreign", text)


def _first_bad(checker: Checker, lines: Iterable[bytes]) -> tuple[Finding | None, int]:
    """The first finding in a file, and the number of its line."""
    take, number = checker.take, 0
    for number, line in enumerate(lines, start=1):
        finding = take(line)
        if finding is not None:
            return finding, number
    return None, number


def _verdict(checker: Checker, witness: Witness | None, found: Finding | None, torn_bytes: int) -> Verdict:
    if found is not None:
        ending = found.ending
    else:
        ending = Ending.VERIFIED if checker.is_witnessed and not torn_bytes else Ending.UNWITNESSED
    return Verdict(
        ending=ending,
        chain=checker.chain or 1,
        node=checker.node,
        stream="" if witness is None else witness.stream,
        records=checker.records,
        first_seq=checker.first_seq,
        seq=checker.seq,
        hash=checker.hash,
        witnessed=0 if witness is None else witness.seq,
        finding=found,
        torn_bytes=torn_bytes,
        begun=_begun(checker.first),
    )


def _begun(first: Record | None) -> Begun | None:
    if first is None or first.chain == 1:
        return None
    try:
        return msgspec.convert({**first.more, "who": first.who, "time_ms": first.time_ms}, Begun)
    except msgspec.ValidationError:
        return Begun(first.who, first.time_ms)
