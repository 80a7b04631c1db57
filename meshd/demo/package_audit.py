"""The agent `package-audit@1`: audits one installed distribution or one part of the standard library.

A `stdio` agent: JSON objects, one a line, on standard input and output; the log is standard error.
Invariant: one answer for every task, whatever is found: what cannot be read is part of the answer.
The same installation gives the same answer, byte for byte. Neighbours: `environment_audit` asks.
"""

import json
import queue
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import TextIO

from meshd.demo import licences, records, syntax
from meshd.demo.pieces import Contents, Installation, Piece, RecordedFile, UnknownPieceError

CAPABILITY = "package-audit@1"
SLOTS = 2
SHOWN_MAX = 20  # findings listed of each sort; all are counted
SOURCE_BYTES_MAX = 4_000_000  # a larger source file is generated data; its tree would weigh 500 MB
LICENCE_BYTES_MAX = 1_000_000

_ALWAYS_THERE = sys.stdlib_module_names | {"__main__", "test"}  # the program itself, and CPython's test suite

Value = dict[str, object]


class CancelledError(Exception):
    """The daemon no longer wants this answer."""


def audit(piece: Piece, here: Installation, is_cancelled: Callable[[], bool] = lambda: False) -> Value:
    """Everything known of one piece, as plain values. Raises UnknownPieceError, CancelledError."""
    contents = here.contents(piece)
    checked = records.check(contents.files)
    recognised = _recognised(contents)
    sources = _Sources()
    for file in contents.files:
        if is_cancelled():
            raise CancelledError(piece.name)
        if file.path.suffix == ".py":
            sources.read(file)
    undeclared = [found for found in sources.imports.items() if _is_undeclared(found[0][0], contents, here)]
    return {
        "kind": piece.kind,
        "name": piece.name,
        "version": contents.version,
        "licence": {
            "declared": contents.licence_declared,
            "recognised": list(recognised),
            "verdict": licences.verdict(contents.licence_declared, recognised),
        },
        "files": checked.files,
        "size_bytes": checked.size_bytes,
        "record": {
            "verified": checked.verified,
            "unrecorded": checked.unrecorded,
            "altered": _shown(checked.altered),
            "missing": _shown(checked.missing),
        },
        "python": {
            "files": sources.files,
            "lines": sources.lines,
            "functions": sources.functions,
            "comments": sources.comments,
            "unfinished": sources.unfinished,
        },
        "undeclared_imports": _shown(
            [
                {"module": module, "where": where, "optional": optional, "from": sorted(here.providers.get(module, ()))}
                for (module, optional), where in sorted(undeclared, key=lambda found: (found[0][1], found[0][0]))
            ]
        ),
        "dangerous_calls": {**_shown(sources.calls), "by_kind": dict(sorted(sources.by_kind.items()))},
        "most_complex": sources.most_complex,
        "unreadable": _shown(sorted((*checked.unreadable, *sources.unreadable))),
    }


def _shown(found: list[Value] | list[str] | tuple[str, ...]) -> Value:
    return {"count": len(found), "first": list(found[:SHOWN_MAX])}


class _Sources:
    """The source files of one piece, added up."""

    def __init__(self) -> None:
        self.files = self.lines = self.functions = self.comments = self.unfinished = 0
        self.imports: dict[tuple[str, bool], str] = {}  # module, is optional -> first place
        self.calls: list[Value] = []
        self.by_kind: dict[str, int] = {}
        self.most_complex: Value | None = None
        self.unreadable: list[str] = []

    def read(self, file: RecordedFile) -> None:
        """Add one file; what is no readable Python is noted."""
        try:
            size_bytes = file.path.stat().st_size
            if size_bytes > SOURCE_BYTES_MAX:
                self.unreadable.append(f"{file.shown}: {size_bytes} bytes of source are not parsed")
                return
            source = syntax.read(file.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return  # already counted as missing
        except OSError as error:
            self.unreadable.append(f"{file.shown}: {error.strerror or error}")
        except SyntaxError as error:
            self.unreadable.append(f"{file.shown}:{error.lineno or 1}: {error.msg}")
        except (ValueError, RecursionError, MemoryError) as error:
            self.unreadable.append(f"{file.shown}: {str(error) or type(error).__name__}")
        else:
            self._add(file.shown, source)

    def _add(self, shown: str, source: syntax.Source) -> None:
        self.files += 1
        self.lines += source.lines
        self.functions += source.functions
        self.comments += source.comments
        self.unfinished += source.unfinished
        is_test = bool({"test", "tests", "idle_test"} & set(shown.split("/")[:-1]))
        for found in source.imports:
            # Tests may import what only their runner needs.
            self.imports.setdefault((found.module, found.is_optional or is_test), f"{shown}:{found.line}")
        for call in source.calls:
            self.calls.append({"call": call.what, "where": f"{shown}:{call.line}"})
            self.by_kind[call.what] = self.by_kind.get(call.what, 0) + 1
        most = source.most_complex
        if most and (self.most_complex is None or most.complexity > int(str(self.most_complex["complexity"]))):
            where = f"{shown}:{most.line}"
            self.most_complex = {"function": most.name, "where": where, "complexity": most.complexity}


def _is_undeclared(module: str, contents: Contents, here: Installation) -> bool:
    """True when neither the standard library, the piece itself nor anything that it requires provides `module`."""
    if module in _ALWAYS_THERE or module in contents.own:
        return False
    providers = here.providers.get(module, frozenset())
    names = {module.lower().replace("_", "-"), *providers}
    return not names & contents.declared


def _recognised(contents: Contents) -> tuple[str, ...]:
    found: set[str] = set()
    for path in contents.licence_texts:
        try:
            with path.open("rb") as stream:
                text = stream.read(LICENCE_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            continue  # counted as missing or unreadable with the other files
        found.update(licences.recognise(text))
    return tuple(sorted(found))


def piece_of(value: object) -> Piece:
    """The piece that a task's input names. Raises ValueError with a sentence."""
    match value:
        case {"kind": "distribution" | "stdlib" as kind, "name": str(name)} if name:
            return Piece(kind, name)
        case _:
            raise ValueError('the input must be {"kind": "distribution" or "stdlib", "name": NAME}')


class Pipe:
    """Tasks in, answers out: `SLOTS` threads, one line at a time. Ends when the input does and all is answered."""

    def __init__(self, source: TextIO, out: TextIO, here: Installation) -> None:
        self._source = source
        self._out = out
        self._here = here
        self._waiting: queue.SimpleQueue[Value | None] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._speaking = threading.Lock()

    def serve(self) -> None:
        """Read until the end of the input, then finish what was begun."""
        workers = [threading.Thread(target=self._work, name=f"slot-{n}") for n in range(SLOTS)]
        for worker in workers:
            worker.start()
        for line in self._source:
            self._take(line)
        for _ in workers:
            self._waiting.put(None)
        for worker in workers:
            worker.join()

    def _take(self, line: str) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            print(f"ignored a line that is no JSON: {line[:80]!r}", file=sys.stderr)
            return
        match message:
            case {"task": str(), "input": _}:
                self._waiting.put(message)
            case {"cancel": str(task)}:
                self._cancelled.add(task)
            case _:
                print(f"ignored a message of an unknown shape: {line[:80]!r}", file=sys.stderr)

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None:
            task = str(message["task"])
            try:
                answer = self._answer(task, message["input"])
            except CancelledError:
                answer = {"error": {"message": "cancelled", "retry": False}}
            except Exception as error:  # noqa: BLE001 - a mistake here is this task's failure, and the next one's turn
                traceback.print_exc()
                answer = {"error": {"message": f"{type(error).__name__}: {error}", "retry": False}}
            self._cancelled.discard(task)
            self._say({"task": task, **answer})

    def _answer(self, task: str, value: object) -> Value:
        try:
            piece = piece_of(value)
            return {"result": audit(piece, self._here, lambda: task in self._cancelled)}
        except (ValueError, UnknownPieceError) as error:
            return {"error": {"message": str(error), "retry": False}}

    def _say(self, message: Value) -> None:
        line = json.dumps(message, ensure_ascii=True)
        with self._speaking:
            self._out.write(line + "\n")
            self._out.flush()


def main() -> None:
    """Speak the pipe until standard input ends."""
    warnings.simplefilter("ignore")  # of the audited sources: invalid escapes and the like
    Pipe(sys.stdin, sys.stdout, Installation()).serve()


if __name__ == "__main__":
    main()
