"""`meshctl capabilities`: what can be done in the mesh, and who can do it."""

import json

import click

from cli import completion
from cli.client import Client
from cli.output import Column, Item, details, listing
from cli.session import Session, noun

COLUMNS: tuple[Column, ...] = (
    ("CAPABILITY", lambda capability: capability["name"]),
    ("FREE", lambda capability: f"{capability['free']}/{capability['slots']}"),
    ("AGENTS", lambda capability: [f"{p['agent']} on {p['node_name']}" for p in capability["providers"]]),
)
PROVIDERS: tuple[Column, ...] = (
    ("AGENT", lambda provider: provider["agent"]),
    ("NODE", lambda provider: provider["node_name"]),
    ("FREE", lambda provider: f"{provider['free']}/{provider['slots']}"),
    ("PURPOSE", lambda provider: provider.get("purpose")),
)


@noun("capabilities")
@click.pass_context
def capabilities(ctx: click.Context) -> None:
    """What can be done in the mesh."""
    if ctx.invoked_subcommand is None:
        _list(ctx.obj, "")


@capabilities.command("search")
@click.argument("text")
@click.pass_obj
def search(session: Session, text: str) -> None:
    """Capabilities whose name, agents or purpose hold TEXT."""
    _list(session, text)


@capabilities.command("who-can")
@click.argument("capability", metavar="NAME@MAJOR", shell_complete=completion.capabilities)
@click.pass_obj
def who_can(session: Session, capability: str) -> None:
    """The agents that can do one capability."""
    answer = Client(session).get("v1", "capabilities", capability)
    items = answer.value["providers"]
    listing(session, answer, items, PROVIDERS, name=lambda provider: provider["agent"], empty="nobody")


@capabilities.command("show")
@click.argument("capability", metavar="NAME@MAJOR", shell_complete=completion.capabilities)
@click.pass_obj
def show(session: Session, capability: str) -> None:
    """What one capability takes and gives at the agents of this node."""
    answer = Client(session).get("v1", "capabilities", capability)
    schemas: list[Item] = answer.value["schemas"]
    fields: list[tuple[str, object]] = [
        ("capability", capability),
        ("agents", [f"{p['agent']} on {p['node_name']}" for p in answer.value["providers"]]),
    ]
    for each in schemas:
        at = f" ({each['agent']})" if len(schemas) > 1 else ""
        fields += [(f"{side}{at}", json.dumps(each[side], ensure_ascii=False)) for side in ("takes", "gives")]
    if not schemas:
        fields.append(("takes", "not known here; ask a node that has an agent for it: --node URL"))
    details(session, answer, fields, name=capability)


def _list(session: Session, text: str) -> None:
    answer = Client(session).get("v1", "capabilities", search=text)
    items: list[Item] = answer.value["capabilities"]
    empty = f"no capability mentions {text!r}" if text else "no agent is announced, so nothing can be done yet"
    listing(session, answer, items, COLUMNS, name=lambda capability: capability["name"], empty=empty)
