"""`meshctl agents`: who does the work, and where."""

import click

from cli import completion
from cli.client import Client
from cli.output import Column, Item, details, listing, write
from cli.session import Session, noun

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
        answer = Client(session).get("v1", "agents", node=at, here="true" if here else "")
        items = answer.value["agents"]
        listing(session, answer, items, COLUMNS, name=lambda agent: agent["name"], empty="no agent is announced")


@agents.command("show")
@click.argument("name", shell_complete=completion.agents)
@click.pass_obj
def show(session: Session, name: str) -> None:
    """One agent, on every node that has it."""
    answer = Client(session).get("v1", "agents", name)
    found: list[Item] = answer.value["agents"]
    if session.output != "table":
        listing(session, answer, found, COLUMNS, name=lambda agent: agent["node_name"], empty="")
        return
    for number, agent in enumerate(found):
        if number:
            write("\n")
        details(session, answer, _fields(agent), name=agent["name"])


def _fields(agent: Item) -> list[tuple[str, object]]:
    return [
        ("name", agent["name"]),
        ("node", f"{agent['node_name']} ({agent['node'][:8]})"),
        ("state", agent["state"]),
        ("detail", agent.get("detail")),
        ("kind", agent["kind"]),
        ("capabilities", agent["capabilities"]),
        ("slots", f"{agent['free']} free of {agent['slots']}"),
        ("version", agent.get("version")),
        ("domain", agent.get("domain")),
        ("owner", agent.get("owner_team")),
        ("purpose", agent.get("purpose")),
        ("latency", f"{agent['latency_ms']} ms, as declared" if agent.get("latency_ms") else ""),
        ("cost", f"{agent['cost_per_call']:g} a call, as declared" if agent.get("cost_per_call") else ""),
        ("visibility", agent.get("visibility")),
    ]
