"""The report of `environment-audit@1` for people: lines for a terminal, and a Markdown page.

Invariant: only words and numbers of the report and the proof; what came from agents is shown with
control characters escaped. Neighbours: `meshd/demo/environment_audit.py` makes the report.
"""

import platform
from collections.abc import Iterable, Mapping, Sequence

from cli.demo_proof import Proof
from meshd.observe.text import shown

Report = Mapping[str, object]

LABEL_COLUMNS = 20
COMPLEX = "most complex"
SHOWN = 4
COLUMNS = 79
_BYTES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def clean(value: object) -> str:
    """Text as it may be shown: what could move the cursor or turn the direction of reading is escaped."""
    return shown(str(value))


def size(count: object) -> str:
    """Bytes in the largest unit that leaves a number above one."""
    number = _number(count)
    for unit, scale in _BYTES:
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number} bytes"


def shortened(text: str, columns: int) -> str:
    """At most `columns` characters, the end cut off."""
    return text if len(text) <= columns else text[: columns - 1] + "…"


def place(where: object) -> str:
    """A file and line with at most its last folder."""
    parts = clean(where).split("/")
    return "/".join(parts[-2:]) if len(parts) < 3 else "…/" + "/".join(parts[-2:])


def rows(report: Report) -> list[tuple[str, list[str]]]:
    """The report as labels with one or more lines each."""
    python, calls = _table(report["python"]), _table(report["dangerous_calls"])
    undeclared = _table(report["undeclared_imports"])
    kinds = [f"{clean(kind)} {_number(count):,}" for kind, count in _table(calls["by_kind"]).items()]
    licences = [f"{clean(name)} {count}" for name, count in _table(report["licences"]).items()]
    verified = _number(report["hashes_verified"])
    return [
        ("pieces", [f"{report['pieces']}: {report['distributions']} distributions, {report['stdlib']} of the library"]),
        ("files", [f"{_number(report['files']):,}, {size(report['size_bytes'])}; {verified:,} hashes checked"]),
        ("altered since", _found(report["altered"], none="none: every hash is the recorded one")),
        ("missing", _found(report["missing"], none="none")),
        (
            "Python source",
            [
                f"{_number(python['lines']):,} lines in {_number(python['files']):,} files, "
                f"{_number(python['functions']):,} functions",
                f"{_number(python['comments']):,} comments, {_number(python['unfinished']):,} of them admit a gap",
            ],
        ),
        ("not parsed", _found(report["unreadable"], none="none")),
        ("licences", _wrapped(licences)),
        ("licence to look at", [_licence(_table(one)) for one in _list(report["licences_to_look_at"])] or ["none"]),
        (
            "undeclared imports",
            [
                f"{undeclared['always']} always run, {undeclared['optional']} optional",
                *(_import(_table(one)) for one in _list(undeclared["first"])[:SHOWN]),
            ],
        ),
        (
            "dangerous calls",
            [*_wrapped(kinds), *(_danger(_table(one)) for one in _list(calls["most"])[:SHOWN])],
        ),
        (COMPLEX, [_complex(_table(one)) for one in _list(report["most_complex"])]),
    ]


def lines(report: Report) -> list[str]:
    """For a terminal: labels on the left, at most 80 columns."""
    lined: list[str] = []
    for label, texts in rows(report):
        for number, text in enumerate(texts):
            line = f"  {(label if number == 0 else ''):<{LABEL_COLUMNS}}{text}"
            lined.append(shortened(line, COLUMNS))
    return lined


def proof_rows(proof: Proof) -> list[tuple[str, str, str]]:
    """Label, count and remark of everything that the record proves."""
    moves = [f"{clean(one.piece)}: {one.former} to {one.owner}, {one.why}" for one in proof.moved[:SHOWN]]
    found = [
        ("submitted", str(proof.submitted), f"one goal and {proof.pieces} pieces"),
        ("done", str(proof.done), ""),
        ("lost", str(len(proof.lost)), ", ".join(clean(one) for one in proof.lost[:SHOWN])),
        ("committed twice", str(len(proof.committed_twice)), ", ".join(proof.committed_twice[:SHOWN])),
        ("moved to another node", str(len(proof.moved)), moves[0] if moves else ""),
        *(("", "", move) for move in moves[1:]),
    ]
    if len(proof.moved) > SHOWN:
        found.append(("", "", f"and {len(proof.moved) - SHOWN} more"))
    if proof.again:
        found.append(("begun again", str(proof.again), "by the node that came back"))
    if proof.failed:
        found.append(("failed", str(len(proof.failed)), ", ".join(one[:8] for one in proof.failed[:SHOWN])))
    return found


def record_sentence(proof: Proof) -> str:
    """How many copies of the record there are."""
    copies = "one copy" if proof.copies == 1 else f"{proof.copies} copies"
    return f"record: {copies}, on {clean(proof.kept_on)}; {proof.read_from} and {proof.read_alike_by} read the same"


def markdown(report: Report, proof: Proof) -> str:
    """The page that is left behind."""
    page = [f"# Audit of Python {platform.python_version()} on {platform.system()}", ""]
    page += ["Made by a mesh of three nodes, one of which was killed in the middle.", ""]
    page += ["## What was found", "", "| | |", "|---|---|"]
    for label, texts in rows(report):
        said = [_cell(text) for text in texts if not text.startswith("  ")]  # what is indented has a table below
        page += [f"| {label} | {'<br>'.join(said)} |"] if label != COMPLEX else []
    page += ["", "## Imports that no declared requirement provides", ""]
    page += ["| distribution | imports | at | provided here by |", "|---|---|---|---|"]
    for one in map(_table, _list(_table(report["undeclared_imports"])["first"])):
        by = ", ".join(_cell(name) for name in _list(one["from"])) or "nothing installed"
        page.append(f"| {_cell(one['piece'])} | `{_cell(one['module'])}` | {_cell(one['where'])} | {by} |")
    page += ["", "## Dangerous calls, most first", "", "| piece | calls | the first |", "|---|---|---|"]
    for one in map(_table, _list(_table(report["dangerous_calls"])["most"])):
        first = _table(one["first"])
        page.append(f"| {_cell(one['piece'])} | {one['count']} | {_cell(first['call'])} at {_cell(first['where'])} |")
    page += ["", "## Most complex functions", "", "| complexity | function | at |", "|---|---|---|"]
    for one in map(_table, _list(report["most_complex"])):
        page.append(f"| {one['complexity']} | `{_cell(one['function'])}` | {_cell(one['where'])} |")
    page += ["", "## What could not be parsed, was altered or is missing", "", "| piece | what |", "|---|---|"]
    for name in ("unreadable", "altered", "missing"):
        for one in map(_table, _list(_table(report[name])["first"])):
            page.append(f"| {_cell(one['piece'])} | {_cell(one['found'])} |")
    page += ["", "## What the mesh's record proves", "", "| | | |", "|---|---|---|"]
    page += [f"| {label} | {count} | {_cell(remark)} |" for label, count, remark in proof_rows(proof)]
    page += ["", f"Read back through node {proof.read_from}. {record_sentence(proof).capitalize()}.", ""]
    return "\n".join(page)


def _found(value: object, *, none: str) -> list[str]:
    found = _table(value)
    count = _number(found["count"])
    if not count:
        return [none]
    first = [f"  {place(_table(one)['found'])}" for one in _list(found["first"])[:SHOWN]]
    return [f"{count:,}", *first, *([f"  and {count - len(first)} more"] if count > len(first) else [])]


def _licence(one: Report) -> str:
    read = " + ".join(clean(name) for name in _list(one["recognised"])) or "no text that is known"
    return f"{clean(one['name'])} declares {clean(one['declared']) or 'nothing'}, its text is {read}"


def _import(one: Report) -> str:
    return f"  {clean(one['piece'])} imports {clean(one['module'])} ({place(one['where'])})"


def _danger(one: Report) -> str:
    first = _table(one["first"])
    return f"  {clean(one['piece'])} {one['count']}, first {clean(first['call'])} at {place(first['where'])}"


def _complex(one: Report) -> str:
    function = clean(one["function"]).rpartition(".")[2]
    return f"{_number(one['complexity']):>4}  {shortened(function, 30)} ({place(one['where'])})"


def _wrapped(parts: Iterable[str]) -> list[str]:
    """Joined by dots, in lines that fit."""
    joined: list[str] = []
    for part in parts:
        if joined and len(joined[-1]) + len(part) + 3 <= COLUMNS - LABEL_COLUMNS - 2:
            joined[-1] += f" · {part}"
        else:
            joined.append(part)
    return joined or ["none"]


def _cell(value: object) -> str:
    return clean(value).replace("|", "\\|").replace("<", "&lt;")


def _table(value: object) -> Report:
    if not isinstance(value, Mapping):
        raise ValueError(f"the report has {type(value).__name__} where an object was due")
    return value


def _list(value: object) -> Sequence[object]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"the report has {type(value).__name__} where a list was due")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"the report has {type(value).__name__} where a number was due")
    return value
