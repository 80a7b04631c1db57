"""`meshctl agents`: who does the work and where; what this node hosts, begun, ended and watched.

Invariant: a manifest that is added runs where it was written, whatever folder it is kept in. Neighbours: the daemon's
`crew` does what is asked; `agent_templates` has what `new` writes.
"""

import shlex
import tomllib
from pathlib import Path

import click
import msgspec

from cli import completion
from cli.agent_templates import KINDS, steps, written
from cli.client import Answer, Client
from cli.exits import of
from cli.output import Column, Item, age, count, details, listing, note, value_text, write, write_json
from cli.paging import listed
from cli.session import Session, noun
from meshd.observe.text import shown
from meshd.plaintext import content_of, text_of
from protocol.errors import MeshError
from protocol.ids import AGENT_NAME

READY_S = 100.0  # the daemon waits so long, at most, for an agent to be ready
FILE_BYTES_MAX = 65_536

COLUMNS: tuple[Column, ...] = (
    ("NAME", lambda agent: agent["name"]),
    ("NODE", lambda agent: agent["node_name"]),
    ("KIND", lambda agent: agent["kind"]),
    ("STATE", lambda agent: agent["state"]),
    ("FREE", lambda agent: f"{agent['free']}/{agent['slots']}"),
    ("CAPABILITIES", lambda agent: agent["capabilities"]),
)


@noun("agents")
@click.option("--at", metavar="NODE", default="", shell_complete=completion.peers, help="Only those of this node.")
@click.option("--here", is_flag=True, help="Only those of the node that is asked.")
@click.pass_context
def agents(ctx: click.Context, at: str, here: bool) -> None:
    """The agents of the mesh."""
    if ctx.invoked_subcommand is None:
        session: Session = ctx.obj
        listed(
            session,
            Client(session),
            "agents",
            COLUMNS,
            name=lambda agent: agent["name"],
            empty="no agent is announced",
            node=at,
            here="true" if here else "",
        )


@agents.command("show")
@click.argument("name", shell_complete=completion.agents)
@click.pass_obj
def show(session: Session, name: str) -> None:
    """One agent, on every node that has it."""
    answer = Client(session).get("v1", "agents", name)
    found: list[Item] = answer.value["agents"]
    if session.output != "table":
        listing(session, answer, found, COLUMNS, name=lambda agent: agent["name"], empty="")
        return
    for number, agent in enumerate(found):
        if number:
            write("\n")
        details(session, answer, _fields(agent), name=agent["name"])


def _hearing(hearing: Item | None) -> str:
    if not hearing:
        return ""
    return ", ".join(f"{hearing[word]} {word}" for word in ("handled", "waiting", "failed", "dropped"))


def _fields(agent: Item) -> list[tuple[str, object]]:
    return [
        ("name", agent["name"]),
        ("node", f"{agent['node_name']} ({agent['node'][:8]})"),
        ("state", agent["state"]),
        ("detail", agent.get("detail")),
        ("kind", agent["kind"]),
        ("capabilities", agent["capabilities"]),
        ("listens to", agent.get("topics")),
        ("events", _hearing(agent.get("hearing"))),
        ("slots", f"{agent['free']} free of {agent['slots']}"),
        ("running", agent.get("running")),
        ("file", agent.get("file")),
        ("version", agent.get("version")),
        ("domain", agent.get("domain")),
        ("owner", agent.get("owner_team")),
        ("purpose", agent.get("purpose")),
        ("latency", _latency(agent)),
        ("ended", _ended(agent.get("runs"))),
        ("went down", _times(agent.get("runs"))),
        ("last error", _last_error(agent.get("runs"))),
        ("cost", f"{agent['cost_per_call']:g} a call, as declared" if agent.get("cost_per_call") else ""),
        ("visibility", agent.get("visibility")),
        *_schemas(agent.get("schemas") or {}),
    ]


def _latency(agent: Item) -> str:
    declared = f"{agent['latency_ms']} ms, as declared" if agent.get("latency_ms") else ""
    runs = agent.get("runs") or {}
    observed = f"{runs['latency_ms']:.3g} ms, as observed of late" if runs.get("done") else ""
    return "; ".join(each for each in (declared, observed) if each)


def _ended(runs: Item | None) -> str:
    if not runs or not (runs["done"] or runs["failed"]):
        return ""
    return f"{runs['done']} done, {runs['failed']} failed since its node started"


def _times(runs: Item | None) -> str:
    return count(runs["restarts"], "time") if runs and runs["restarts"] else ""


def _last_error(runs: Item | None) -> str:
    return f"{runs['last_error']}, {age(runs['last_error_ms'])} ago" if runs and runs["last_error"] else ""


def _schemas(schemas: dict[str, Item]) -> list[tuple[str, object]]:
    """What each capability takes and gives; `true` is anything."""
    return [
        (f"{capability} {side}", "anything" if each[side] is True else value_text(each[side], indent=None))
        for capability, each in schemas.items()
        for side in ("takes", "gives")
    ]


@agents.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="It may take the place of an agent of its name.")
@click.pass_obj
def add(session: Session, file: Path, replace: bool) -> None:
    """Host the agent that FILE declares: it is checked, brought up, and kept. It runs where FILE stands.

    FILE is a manifest, or a Python module: then the agent is its variable `agent`, with all that it handles.
    """
    body = {"manifest": _manifest(file), "file": str(file), "replace": replace}
    answer = Client(session).post("v1", "agents", body=body, wait_s=READY_S)
    agent: Item = answer.value
    what = ", ".join(agent["capabilities"]) if agent["state"] == "ready" else agent["detail"]
    why = f": {what}" if what else ""
    _said(session, answer, agent["name"], f" is {agent['state']}{why}; its manifest is kept in {agent['file']}")


@agents.command("remove")
@click.argument("name", shell_complete=completion.agents)
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Host an agent no more: its manifest is removed, and its work in hand ends or is given back."""
    answer = Client(session).delete("v1", "agents", name)
    left = answer.value["running"]
    rest = f" takes nothing new, and is gone when {count(left, 'task')} in hand ended or went back" if left else ""
    _said(session, answer, answer.value["name"], rest or " is removed")


@agents.command("start")
@click.argument("name", shell_complete=completion.agents)
@click.pass_obj
def start(session: Session, name: str) -> None:
    """Start an agent that was stopped, or that the daemon gave up."""
    answer = Client(session).post("v1", "agents", name, "start", body={}, wait_s=READY_S)
    detail = answer.value["detail"] if answer.value["state"] != "ready" else ""
    _said(session, answer, answer.value["name"], f" is {answer.value['state']}" + (f": {detail}" if detail else ""))


@agents.command("stop")
@click.argument("name", shell_complete=completion.agents)
@click.pass_obj
def stop(session: Session, name: str) -> None:
    """Stop an agent, over restarts of the daemon too; its work in hand ends or is given back."""
    answer = Client(session).post("v1", "agents", name, "stop", body={})
    agent: Item = answer.value
    how = "is stopped"
    if agent["state"] != "stopped":
        left = count(agent.get("running") or 0, "task")
        how = f"takes nothing new, and stops when {left} in hand ended or went back"
    _said(session, answer, agent["name"], f" {how}; start it with: meshctl agents start {agent['name']}")


@agents.command("logs")
@click.argument("name", shell_complete=completion.agents)
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes from now on.")
@click.option("-n", "--lines", type=click.IntRange(0, 500), default=100, show_default=True, help="How many at most.")
@click.pass_obj
def logs(session: Session, name: str, follow: bool, lines: int) -> None:
    """What an agent of this node wrote to stderr, and what the daemon noted about it."""
    client = Client(session)
    if not follow:
        answer = client.get("v1", "agents", name, "logs", lines=str(lines))
        if session.output == "json":
            write_json(answer)
            return
        for line in answer.value["lines"]:
            _line(session, line)
        if not answer.value["lines"] and lines:
            note(session, f"{shown(name)} has written nothing to stderr yet")
        return
    for _, kind, told in client.stream("v1", "agents", name, "logs", "follow", lines=str(lines)):
        line = msgspec.json.decode(told)
        if kind == "missed":
            note(session, f"lines {line['from']} to {line['to']} are not kept any more")
        else:
            _line(session, line)
    note(session, f"the log of {shown(name)} ends here: the agent was removed, or the daemon stopped")


@agents.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="How it runs.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where to write it; ./NAME unless told.")
@click.pass_obj
def new(session: Session, name: str, kind: str, directory: Path | None) -> None:
    """Write a manifest, an agent that works, and its test. Needs no daemon."""
    if not AGENT_NAME.fullmatch(name):
        what = f"{shown(name)} is no name of an agent: 1 to 48 of a-z 0-9 _ -, a letter first"
        raise of(MeshError("bad_input", what=what), hint="meshctl agents new my-agent --kind python")
    target = directory or Path(name)
    files = written(name, kind)
    standing = [path for path in (target / file for file in files) if path.exists() or path.is_symlink()]
    if standing:
        problem = "stands there already, and is not written over"
        raise MeshError("directory", path=standing[0], problem=problem, cure="choose another directory with --dir")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (target / file).write_text(text)
    except OSError as failure:
        problem = f"cannot be written: {failure.strerror or failure}"
        raise MeshError("directory", path=target, problem=problem, cure="choose another with --dir") from None
    for file in files:
        write(f"{target / file}\n")
    for number, step in enumerate(steps(name, kind, shlex.quote(str(target)))):
        note(session, f"{'     ' if number else 'try: '}{step}")


def _of_module(file: Path) -> str:
    """The manifest of an agent that is nothing but a Python module. Raises MeshError."""
    if not file.is_file():
        raise MeshError("manifest", path=file, problem="there is no such file")
    if not AGENT_NAME.fullmatch(file.stem) or not file.stem.isidentifier():
        problem = f"{shown(file.stem)} cannot name an agent (a letter, then a-z 0-9 _); rename it, or write a manifest"
        raise MeshError("manifest", path=file, problem=problem)
    place = msgspec.json.encode(str(file.parent.resolve())).decode()
    keys = f'name = "{file.stem}"\nkind = "python"\nrun = "{file.stem}:agent"\n'
    return f"directory = {place}  # where it was added from\n{keys}"


def _manifest(file: Path) -> str:
    """The text of a manifest, with the directory where its agent runs. Raises MeshError."""
    if file.suffix == ".py":
        return _of_module(file)
    try:
        if file.exists() and not file.is_file():  # an agent runs where its manifest is, which for a pipe is nowhere
            raise MeshError("manifest", path=file, problem="is no regular file")
        content = content_of(file, FILE_BYTES_MAX + 1)
    except OSError as failure:
        raise MeshError("manifest", path=file, problem=f"cannot be read: {failure.strerror}") from None
    if len(content) > FILE_BYTES_MAX - 4_096:  # room for the line that says where it runs
        raise MeshError("manifest", path=file, problem=f"is larger than {FILE_BYTES_MAX - 4_096} bytes")
    try:
        text = text_of(content)
    except ValueError as failure:
        raise MeshError("manifest", path=file, problem=str(failure)) from None
    try:
        given = tomllib.loads(text).get("directory", "")
    except (ValueError, RecursionError) as failure:
        raise MeshError("manifest", path=file, problem=f"is not TOML: {str(failure)[:500]}") from None
    if not given:
        place = msgspec.json.encode(str(file.parent.resolve())).decode()
        return f"directory = {place}  # where it was added from\n{text}"
    if isinstance(given, str) and not Path(given).is_absolute():
        problem = "directory: must be a whole path, from /, in a manifest that is kept elsewhere"
        raise MeshError("manifest", path=file, problem=problem)
    return text


def _line(session: Session, line: Item) -> None:
    text = msgspec.json.encode(line).decode() if session.wants_json() else shown(str(line["text"]))
    write(f"{text}\n")


def _said(session: Session, answer: Answer, name: str, rest: str) -> None:
    match session.output:
        case "json" | "jsonl":
            write_json(answer)
        case "name":
            write(f"{shown(name)}\n")
        case _:
            write(shown(f"{name}{rest}") + "\n")
