"""`meshctl config`: the settings, where they came from, and what is wrong with a file.

Invariant: what is shown without a daemon is what a start would use, and says that it is. Neighbours:
`meshd.config` reads and judges; a running daemon answers for itself.
"""

import json
from pathlib import Path

import click
import msgspec

from cli.client import Answer, Client
from cli.exits import Refusal, of
from cli.output import Item, listing, note, table, write, write_json
from cli.session import Session, noun
from meshd.observe.text import shown
from protocol.errors import OK, USAGE, MeshError

LEVELS = ("debug", "info", "warning", "error")
CHANGEABLE = "log.level"  # what a running daemon can be told anew


@noun("config")
@click.pass_context
def config(ctx: click.Context) -> None:
    """The settings: what they are, where each came from, whether a file is right."""
    if ctx.invoked_subcommand is None:
        _show(ctx.obj, prefix="", has_origins=False, files=())


@config.command("show")
@click.argument("prefix", required=False, default="")
@click.option("--origin", "has_origins", is_flag=True, help="Say of each where it came from.")
@click.option("--config", "files", multiple=True, type=click.Path(path_type=Path), help="As of a start; repeatable.")
@click.pass_obj
def show(session: Session, prefix: str, has_origins: bool, files: tuple[Path, ...]) -> None:
    """Every setting of the daemon, or those whose key begins with PREFIX; without a daemon, of a start."""
    _show(session, prefix=prefix, has_origins=has_origins, files=files)


@config.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.pass_obj
def check(session: Session, files: tuple[Path, ...]) -> int:
    """Read settings as meshd start would, and name everything that is wrong. Needs no daemon."""
    from meshd.config import look

    found, problems = look(files=files)
    said = [_problem(error) for error in problems]
    if session.wants_json():
        write(json.dumps({"problems": said}) + "\n")
    elif session.output == "name":
        write("".join(f"{shown(each['key'])}\n" for each in said))
    elif found is not None:
        given = sum(one.origin.startswith("file ") for one in found.origins.values())
        write(f"{given} of {len(found.origins)} settings are given, all as they may be\n")
    else:
        write("".join(f"{shown(each['message'])}\n" for each in said))
    return USAGE if said else OK


@config.command("set")
@click.argument("key", shell_complete=lambda ctx, param, incomplete: _fitting((CHANGEABLE,), incomplete))
@click.argument("value", shell_complete=lambda ctx, param, incomplete: _fitting(LEVELS, incomplete))
@click.pass_obj
def set_(session: Session, key: str, value: str) -> None:
    """Change a setting of the running daemon: log.level. Until it ends; a file keeps it."""
    if key != CHANGEABLE:
        what = f"{key} cannot be changed while the daemon runs; only {CHANGEABLE} can"
        raise of(MeshError("bad_input", what=what), hint="write it into a --config file and start the daemon anew")
    if value not in LEVELS:
        raise of(MeshError("bad_input", what=f"{key}: must be one of {', '.join(LEVELS)}, not {value!r}"))
    answer = Client(session).put("v1", "log", body={"level": value})
    if session.wants_json():
        write_json(answer)
    elif session.output == "name":
        write(f"{CHANGEABLE}\n")
    else:
        write(f"{CHANGEABLE} is {shown(answer.value['level'])} until the daemon ends\n")


def _fitting(words: tuple[str, ...], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _show(session: Session, *, prefix: str, has_origins: bool, files: tuple[Path, ...]) -> None:
    answer = _of_a_start(files, session.dir) if files else _of_daemon(session)
    items: list[Item] = [each for each in answer.value["settings"] if each["key"].startswith(prefix)]
    if not items:
        raise of(MeshError("bad_input", what=f"no setting begins with {prefix}"), hint="list them with: meshctl config")
    if session.output != "table":
        listing(session, answer, items, (), name=lambda each: each["key"], empty="")
        return
    headings = ["SETTING", "VALUE", *(["FROM"] if has_origins else [])]
    rows = [[each["key"], _value(each), *([shown(each["origin"])] if has_origins else [])] for each in items]
    table(session, headings, rows)


def _of_daemon(session: Session) -> Answer:
    try:
        return Client(session).get("v1", "config")
    except Refusal as refusal:
        if session.node or refusal.body["code"] != "unreachable":
            raise
        note(session, f"{shown(refusal.body['message'])}; this is what a start would use")
    return _of_a_start((), session.dir)


def _of_a_start(files: tuple[Path, ...], directory: Path | None) -> Answer:
    """What `meshd start` would use here. Raises MeshError for what it would refuse."""
    import os

    from meshd.api.settings import shown as shown_settings
    from meshd.config import load, with_kept
    from meshd.where import state_dir

    loaded = with_kept(load(files=files, environ=os.environ), state_dir(directory))
    encoded = msgspec.json.encode(shown_settings(loaded.origins))
    return Answer(encoded, msgspec.json.decode(encoded))


def _value(setting: Item) -> str:
    text = shown(msgspec.json.encode(setting["value"]).decode())
    return f"{text} {setting['unit']}".rstrip()


def _problem(error: MeshError) -> dict[str, str]:
    fields = {name: str(error.fields.get(name, "")) for name in ("key", "problem", "origin")}
    return {"code": error.code, **fields, "message": error.message, "hint": error.hint}
