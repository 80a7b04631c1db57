"""`meshctl peers`: the nodes of the mesh, as this one sees them."""

from collections.abc import Sequence

import click

from cli import completion
from cli.checks import DUTY
from cli.client import Answer, Client
from cli.output import Column, Item, age, details, note, write, write_json
from cli.paging import listed
from cli.session import Session, noun
from cli.views import show_views
from meshd.observe.text import shown
from protocol.clocks import spoken


def _state(peer: Item) -> str:
    ahead_ms, twice = peer.get("clock_ahead_ms"), ", twice" if peer.get("twin") else ""
    clock = f", clock {spoken(ahead_ms).removesuffix(' of')}" if ahead_ms else ""
    return f"{peer['state']}{twice}{clock}"


def _region(peer: Item) -> str:
    return f"{peer['region']}, bridge" if peer.get("bridge") else str(peer["region"])


def _load(peer: Item) -> str:
    load = peer["load"]
    text = f"{load['running']}/{load['slots']}" + (f" +{load['waiting']}" if load["waiting"] else "")
    return f"{text} draining" if load["draining"] else text


COLUMNS: tuple[Column, ...] = (
    ("NAME", lambda peer: f"{peer['name']} *" if peer.get("here") else peer["name"]),
    ("ID", lambda peer: peer["id"][:8]),
    ("STATE", _state),
    ("SINCE", lambda peer: age(peer["since"])),
    ("REGION", _region),
    ("BUSY", _load),
    ("AGENTS", lambda peer: peer["agents"]),
)


@noun("peers")
@click.option(
    "--all-views", "is_all_views", is_flag=True, help="Ask every node what it sees, and show who is seen otherwise."
)
@click.option("--all", "is_all", is_flag=True, help="With --all-views: show those too whom all see the same.")
@click.option("--region", default="", metavar="R", help="Only the nodes of this region.")
@click.pass_context
def peers(ctx: click.Context, is_all_views: bool, is_all: bool, region: str) -> None:
    """The nodes of the mesh, as this one (*) sees them."""
    if (is_all_views and ctx.invoked_subcommand is not None) or (is_all and not is_all_views):
        raise click.UsageError("--all-views stands alone, and --all goes with it")
    if region and (is_all_views or ctx.invoked_subcommand is not None):
        raise click.UsageError("--region goes with the list of nodes alone")
    if is_all_views:
        show_views(ctx.obj, is_all=is_all)
    elif ctx.invoked_subcommand is None:
        session: Session = ctx.obj
        empty = f"no node of region {region} is in view" if region else "no node is in view"
        listed(session, Client(session), "peers", COLUMNS, name=lambda peer: peer["name"], empty=empty, region=region)


@peers.command("show")
@click.argument("name", shell_complete=completion.peers)
@click.pass_obj
def show(session: Session, name: str) -> None:
    """One node, by its name, its id or the beginning of its id."""
    answer = Client(session).get("v1", "peers", name)
    peer: Item = answer.value
    load = peer["load"]
    fields: list[tuple[str, object]] = [
        ("name", peer["name"]),
        ("id", peer["id"]),
        ("state", _state(peer)),
        ("since", f"{age(peer['since'])} ago" if peer["since"] else ""),
        ("life", peer["life"]),
        ("incarnation", peer["incarnation"]),
        ("region", _region(peer)),
        ("domain", peer.get("domain")),
        ("version", peer.get("version")),
        ("running", f"{load['running']} of {load['slots']} slots, {load['waiting']} waiting{_heard(load)}"),
        ("draining", "yes" if load["draining"] else ""),
        ("agents", peer["agents"]),
        ("accused by", peer.get("accusers")),
        ("damped", peer.get("damped")),
        ("two lives", peer.get("twin")),
    ]
    details(session, answer, fields, name=peer["name"])
    if session.output == "table":
        _story(peer.get("story", []))


def _heard(load: Item) -> str:
    """How old that word is: a node says how busy it is when that changes."""
    return "" if load.get("age_s") is None else f"; it said so {load['age_s']:.1f} s ago"


def _story(lines: Sequence[Item]) -> None:
    """What befell it, the last thing last."""
    if lines:
        ages = [f"{age(line['time_ms'])} ago" for line in lines]
        width = max(map(len, ages))
        told = (f"  {ago:>{width}}  {shown(str(line['text']))}\n" for ago, line in zip(ages, lines, strict=True))
        write("\n" + "".join(told))


@peers.command("ping")
@click.argument("name", shell_complete=completion.peers)
@click.pass_obj
def ping(session: Session, name: str) -> None:
    """Probe a node now and say how long its answer took."""
    answer = Client(session).post("v1", "peers", name, "ping", body={})
    _said(session, answer, f": {answer.value['rtt_ms']:.1f} ms")


@peers.command("drain")
@click.argument("name", shell_complete=completion.peers)
@click.pass_obj
def drain(session: Session, name: str) -> None:
    """Let a node finish what it has and take nothing new. A restart of it takes work again."""
    answer = Client(session).post("v1", "peers", name, "drain", body={})
    _said(session, answer, " finishes what it has and takes nothing new, until undrained or restarted")


@peers.command("undrain")
@click.argument("name", shell_complete=completion.peers)
@click.pass_obj
def undrain(session: Session, name: str) -> None:
    """Let a node take new work again."""
    answer = Client(session).post("v1", "peers", name, "undrain", body={})
    others = [DUTY[cause][0] for cause in answer.value["held_by"] if cause in DUTY and cause != "operator"]
    _said(session, answer, f" may take new work; but {' and '.join(others)}" if others else " takes new work")


@peers.command("remove")
@click.argument("name", shell_complete=completion.peers)
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Forget a node that is gone now instead of after a day, here and on every living node."""
    answer = Client(session).post("v1", "peers", name, "remove", body={})
    silent, refused = ([shown(str(each)) for each in answer.value.get(key, ())] for key in ("silent", "refused"))
    _said(session, answer, f" is forgotten on {', '.join(shown(str(each)) for each in answer.value['removed_on'])}")
    if silent and session.output == "table":
        note(session, f"not on {', '.join(silent)}: silent, or seeing it alive; run this again later")
    if refused and session.output == "table":
        again = f"run this again in {answer.value['again_s']:g} s"
        note(session, f"not on {', '.join(refused)}, which answered that it is asked too often; {again}")


def _said(session: Session, answer: Answer, does: str) -> None:
    name = shown(str(answer.value["name"]))
    match session.output:
        case "json" | "jsonl":
            write_json(answer)
        case "name":
            write(f"{name}\n")
        case _:
            write(f"{name}{does}\n")
