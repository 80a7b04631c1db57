"""`meshctl audit`: who did what, and whether the record of it is as it was written.

Invariant: `verify` and `export` read files and need no daemon; the exit code of `verify` is its verdict.
Neighbours: `meshd.observe.verify` decides, the API answers the rest.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import click
import msgspec

from cli import completion
from cli.client import Answer, Client
from cli.exits import of
from cli.output import Column, Item, count, listing, note, write, write_json
from cli.session import Session, noun
from cli.waiting import Deadline
from meshd import clock
from meshd.observe.text import shown
from meshd.where import default_dir, state_dir
from protocol.errors import OK, MeshError

SPAN = re.compile(r"([0-9]{1,9})([smhd])")
UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
FOLLOW_S = 0.5  # between two looks of `tail -f`
PAGE = 500
NOTHING = "nothing that fits is on record"


def _time(record: Item) -> str:
    return _moment(record["time_ms"])


def _moment(time_ms: int) -> str:
    try:
        moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"  # what was read of a file may say anything
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{time_ms % 1_000:03d}Z"


def _more(record: Item) -> str:
    return " ".join(f"{name}={value}" for name, value in record["more"].items() if value != "")


COLUMNS: tuple[Column, ...] = (
    ("TIME", _time),
    ("NODE", lambda record: record["node_name"]),
    ("SEQ", lambda record: record["seq"]),
    ("WHO", lambda record: record["who"] or "-"),
    ("ACTION", lambda record: record["action"]),
    ("RESOURCE", lambda record: _short(record["resource"])),
    ("DECISION", lambda record: record["decision"]),
    ("IID", lambda record: record["iid"][:8]),
    ("MORE", _more),
)


def _short(resource: str) -> str:
    kind, _, name = resource.partition("/")
    return f"{kind}/{name[:8]}" if kind in ("task", "node") and name else resource


@noun("audit")
@click.pass_context
def audit(ctx: click.Context, /) -> None:
    """Who did what in the mesh; bare it shows the newest records."""
    if ctx.invoked_subcommand is None:
        _print(ctx.obj, Client(ctx.obj).get("v1", "audit", newest=True, limit=20))


@audit.command("tail")
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "-n", "--records", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many at first."
)
@click.option("--here", is_flag=True, help="Only this node, from its own journal.")
@click.pass_obj
def tail(session: Session, is_followed: bool, records: int, here: bool) -> None:
    """The newest records, oldest first."""
    client = Client(session)
    if is_followed and session.output == "json":
        session.output = "jsonl"  # what comes is not one answer
    page = client.get("v1", "audit", newest=True, limit=records, here=here)
    _print(session, page)
    session.is_quiet = session.is_quiet or is_followed  # headings once
    while is_followed:
        page = client.get("v1", "audit", cursor=page.value["cursor"], here=here, limit=PAGE)
        if page.value["records"]:
            _print(session, page)
        if page.value["is_end"]:
            moment = Deadline(FOLLOW_S)
            while moment.pause():
                pass


@audit.command("show")
@click.argument("id_", metavar="IID-or-GID", shell_complete=completion.recorded)
@click.option("--here", is_flag=True, help="Only this node, from its own journal.")
@click.pass_obj
def show(session: Session, id_: str, here: bool) -> None:
    """Everything recorded of one interaction, goal or task, on all nodes, by the beginning of its id."""
    if len(id_) < 4:
        raise of(MeshError("short_id", given=repr(id_), chars=4))
    found = _all(Client(session), {"id": id_, "here": here}, limit=10_000)
    if not found:
        raise of(MeshError("unknown_record", id=id_))
    found.sort(key=lambda record: (record["time_ms"], record["node"], record["seq"]))
    _print(session, _joined(found))


@audit.command("search")
@click.argument("filters", metavar="[who=… what=… resource=… decision=… id=… node=… since=…]", nargs=-1)
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many at most.")
@click.option("--here", is_flag=True, help="Only this node, from its own journal.")
@click.pass_obj
def search(session: Session, filters: tuple[str, ...], limit: int, here: bool) -> None:
    """Records that fit every filter, oldest first.

    what: an action such as task.award, or its first word. since: 90s, 15m, 6h, 2d ago, or a date as 2026-01-31.
    """
    query = _query(filters) | {"here": here}
    found = _all(Client(session), query, limit=limit)
    _print(session, _joined(found))
    if len(found) >= limit:
        note(session, f"there may be more: --limit {10 * limit}")


@audit.command("verify")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--stream", "asks_stream", is_flag=True, help="Compare it with the stream, as the daemon asked reads it.")
@click.pass_obj
def verify(session: Session, path: Path | None, asks_stream: bool) -> int:
    """Whether an audit is as it was written: a directory, a segment or an export. Needs no daemon.

    With --stream a daemon is asked what the stream has, that of this directory or of --node: 0 only when it is the
    same, record by record.

    Exit code: 0 verified, 10 verified but not all of it witnessed by the stream, 20 a gap, 30 forked, 40 altered.
    """
    from meshd.observe.verify import beside_stream
    from meshd.observe.verify import verify as verified

    path = path or session.dir or default_dir()
    try:
        report = verified(path)
        if asks_stream:
            refused: list[int] = []
            report = beside_stream(report, path, _told(Client(session), report.chains[-1].node, refused))
            report = _less(report, sum(refused))
    except MeshError as failure:
        raise of(failure) from None
    if session.wants_json():
        write(msgspec.json.encode(report).decode() + "\n")
        return int(report.ending)
    if session.output == "name":
        write("".join(f"{verdict.ending.name.lower()}\n" for verdict in report.chains))
        return int(report.ending)
    for verdict in report.chains:
        name = f"chain {verdict.chain}: " if len(report.chains) > 1 or verdict.chain > 1 else ""
        write("".join(f"{name}{shown(sentence)}\n" for sentence in _sentences(verdict)))
        if verdict.torn_bytes:
            what = f"the last line is cut short ({verdict.torn_bytes} bytes)"
            note(session, f"{what}: it is being written, or a kill left it")
    if report.stream is not None:
        write(f"{shown(_compared(report.stream))}\n")
        for what in _passed_over(report.stream):
            note(session, what)
    return int(report.ending)


def _less(report: Any, left_out: int) -> Any:
    """The same, with how many frames of the stream were passed over."""
    return msgspec.structs.replace(report, stream=msgspec.structs.replace(report.stream, left_out=left_out))


def _told(client: Client, node: str, refused: list[int]) -> Iterator[tuple[int, str]]:
    """Number and hash of all that the stream has of a node, in its order; `refused`: frames that it did not sign."""
    cursor, is_end = "", False
    while not is_end:
        page = client.get("v1", "audit", node=node, cursor=cursor, limit=PAGE).value
        refused.append(page.get("refused", 0))
        yield from ((record["seq"], record["hash"]) for record in page["records"])
        cursor, is_end = page["cursor"], page["is_end"]


def _passed_over(found: Any) -> Iterator[str]:
    if found.left_out:
        what = f"{count(found.left_out, 'frame')} under this node's subject that it has not signed"
        yield f"the stream holds {what}: no records of it, and left out"
    if found.again:
        yield f"the stream holds {count(found.again, 'record')} of this node once more, the same: left out"


def _compared(found: Any) -> str:
    if found.finding is not None:
        return f"{found.ending.name.lower()}: {found.finding.text}"
    if not found.same:
        return "unwitnessed: the stream has none of these records"
    less = f"; it has not, or no longer, {count(found.missing, 'record')} more" if found.missing else ""
    return f"the stream holds the same: {count(found.same, 'record')}, {found.first} to {found.last}{less}"


@audit.command("restart")
@click.option("--reason", required=True, metavar="WHY", help="It stands in the first record of the next chain.")
@click.pass_obj
def restart(session: Session, reason: str) -> None:
    """Set this node's damaged audit aside, and begin the next chain.

    What is set aside is kept beside it, read-only, and is verified and exported as what it is. A sound one stays.
    """
    answer = Client(session).post("v1", "audit", "restart", body={"reason": reason})
    if session.wants_json():
        write_json(answer)
        return
    head = answer.value
    write(f"chain {head['chain']} of this node's audit goes on with record {head['seq']}; ")
    write(f"the one before lies in {shown(head['aside'])}\n")


def _sentences(verdict: Any) -> Iterator[str]:
    """What was found of one chain, a line each."""
    begun = verdict.begun
    if begun is not None:
        found = f"; found then: {begun.finding}, {begun.text}" if begun.finding else ""
        what = f"{begun.who or 'the node'} set chain {begun.former} aside at record {begun.former_seq}"
        yield f"begins at record {verdict.first_seq}: {what}, {_moment(begun.time_ms)}, for: {begun.reason}{found}"
    if verdict.finding is not None:
        where = f" ({verdict.file}{f', line {verdict.line}' if verdict.line else ''})" if verdict.file else ""
        yield f"{verdict.ending.name.lower()}: {verdict.finding.text}{where}"
        return
    mesh = f" in mesh {verdict.stream.removesuffix('-audit')}" if verdict.stream else ""
    what = f"{count(verdict.records, 'record')} of node {verdict.node[:8]}{mesh}, {verdict.first_seq} to {verdict.seq}"
    part = f", a part: what was recorded since {_moment(verdict.since_ms)}" if verdict.since_ms else ""
    bounded = "" if verdict.is_bounded else "; nobody signed where this begins and ends"
    yield f"verified: {what}{part}; {_witnessed(verdict)}{bounded}"


def _witnessed(verdict: Any) -> str:
    if verdict.witnessed >= verdict.seq:
        return "the stream acknowledged all of it"
    return (
        f"the stream acknowledged it up to {verdict.witnessed}"
        if verdict.witnessed
        else "nothing says what the stream has"
    )


@audit.command("export")
@click.option("--to", "path", type=click.Path(path_type=Path), default=None, help="Write to this file.")
@click.option("--since", default="", metavar="TIME", help="Only what is younger: 90s, 15m, 6h, 2d, or a date.")
@click.pass_obj
def export(session: Session, path: Path | None, since: str) -> int:
    """This node's journal as one file that verifies anywhere. Needs no daemon.

    All of it, with the chains that were set aside; or with --since a part, which says that it is one. The node's key
    signs where it begins and ends.
    """
    from meshd.observe.export import export as exported
    from meshd.observe.segments import FOLDER
    from meshd.statedir import read_identity

    lines, home = 0, state_dir(session.dir)
    since_ms = _since_ms(since) if since else 0
    try:
        signer = read_identity(home)
        exporting = exported(home / FOLDER, signer=signer, since_ms=since_ms)
        first = next(exporting)  # when there is nothing, no file is made either
        with nullcontext(sys.stdout.buffer) if path is None else open(path, "xb", opener=_private) as file:
            for line in chain((first,), exporting):
                file.write(line)
                lines += 1
    except MeshError as failure:
        raise of(failure) from None
    except OSError as failure:
        problem = f"cannot be written: {failure.strerror or failure}"
        raise of(
            MeshError("directory", path=path or "stdout", problem=problem, cure="name another with --to")
        ) from None
    if signer is None:
        note(session, f"there is no key in {home}, so nobody signed where this begins and ends")
    if path is not None:
        note(
            session,
            f"{count(lines, 'line')} written to {path}; verify it with: meshctl audit verify {shlex.quote(str(path))}",
        )
    return OK


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _all(client: Client, query: dict[str, Any], *, limit: int) -> list[Item]:
    found: list[Item] = []
    cursor = ""
    while len(found) < limit:
        page = client.get("v1", "audit", cursor=cursor, limit=min(PAGE, limit - len(found)), **query).value
        found += page["records"]
        cursor = page["cursor"]
        if page["is_end"]:
            break
    return found


def _query(filters: tuple[str, ...]) -> dict[str, Any]:
    names = ("who", "what", "resource", "decision", "id", "node", "since")
    query: dict[str, Any] = {}
    for given in filters:
        name, equals, value = given.partition("=")
        if not equals or name not in names or not value:
            raise of(
                MeshError("bad_input", what=f"{given!r} is no filter"),
                hint=f"write one of {', '.join(names)}, as what=task",
            )
        query[name] = value
    if "since" in query:
        query["since_ms"] = _since_ms(query.pop("since"))
    return query


def _since_ms(text: str) -> int:
    span = SPAN.fullmatch(text)
    if span is not None:
        return max(0, clock.wall_ms() - int(span[1]) * UNIT_S[span[2]] * 1_000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "write 90s, 15m, 6h, 2d, or a date as 2026-01-31T12:00:00Z"
        raise of(MeshError("bad_input", what=f"{text!r} is no time"), hint=hint) from None
    moment = moment if moment.tzinfo is not None else moment.astimezone()
    return max(0, int((moment - datetime.fromtimestamp(0, UTC)) / timedelta(milliseconds=1)))


def _joined(found: list[Item]) -> Answer:
    """Records of several pages as if they were one answer."""
    value = {"records": found}
    return Answer(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), value)


def _print(session: Session, answer: Answer) -> None:
    items = answer.value["records"]
    listing(session, answer, items, COLUMNS, name=lambda each: f"{each['node_name']}/{each['seq']}", empty=NOTHING)
