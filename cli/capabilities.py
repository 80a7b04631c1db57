"""`meshctl capabilities`: what can be done in the mesh, and who can do it."""

import click
import msgspec

from cli import completion
from cli.client import Client
from cli.output import Column, details, listing, value_text
from cli.paging import listed
from cli.session import Session, noun

SIDES = ("takes", "gives")
BRIEF_CHARS_MAX = 40  # of a schema in a table; all of it is in `show`

COLUMNS: tuple[Column, ...] = (
    ("CAPABILITY", lambda capability: capability["name"]),
    ("FREE", lambda capability: f"{capability['free']}/{capability['slots']}"),
    ("AGENTS", lambda capability: [f"{p['agent']} on {p['node_name']}" for p in capability["providers"]]),
)
PROVIDERS: tuple[Column, ...] = (
    ("AGENT", lambda provider: provider["agent"]),
    ("NODE", lambda provider: provider["node_name"]),
    ("FREE", lambda provider: f"{provider['free']}/{provider['slots']}"),
    ("TAKES", lambda provider: _brief(provider.get("takes"))),
    ("GIVES", lambda provider: _brief(provider.get("gives"))),
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
    schemas = {(each["agent"], each["node"]): each for each in answer.value["schemas"]}
    items = [{**schemas.get((each["agent"], each["node"]), {}), **each} for each in answer.value["providers"]]
    listing(session, answer, items, PROVIDERS, name=lambda provider: provider["agent"], empty="nobody")


@capabilities.command("show")
@click.argument("capability", metavar="NAME@MAJOR", shell_complete=completion.capabilities)
@click.pass_obj
def show(session: Session, capability: str) -> None:
    """What one capability takes and gives, as each of its agents declares it."""
    answer = Client(session).get("v1", "capabilities", capability)
    fields: list[tuple[str, object]] = [
        ("capability", capability),
        ("agents", [f"{p['agent']} on {p['node_name']}" for p in answer.value["providers"]]),
    ]
    said: dict[str, list[str]] = {}  # what is declared, and by whom
    for each in answer.value["schemas"]:
        said.setdefault(msgspec.json.encode((each["takes"], each["gives"])).decode(), []).append(
            f"{each['agent']} on {each['node_name']}"
        )
    for schemas, agents in said.items():
        by = f" ({', '.join(agents)})" if len(said) > 1 else ""
        fields += [(f"{side}{by}", _json(each)) for side, each in zip(SIDES, msgspec.json.decode(schemas), strict=True)]
    fields.append(("not told by", answer.value["untold"]))
    details(session, answer, fields, name=capability)


def _json(schema: object) -> str:
    """A schema as it stands; `true` is anything."""
    return "anything" if schema is True else value_text(schema, indent=None)


def _brief(schema: object) -> str:
    if schema is None:
        return "?"
    text = _json(schema["type"] if isinstance(schema, dict) and set(schema) == {"type"} else schema)
    return text if len(text) <= BRIEF_CHARS_MAX else f"{text[: BRIEF_CHARS_MAX - 1]}…"


def _list(session: Session, text: str) -> None:
    empty = f"no capability mentions {text!r}" if text else "no agent is announced, so nothing can be done yet"
    client = Client(session)
    listed(session, client, "capabilities", COLUMNS, name=lambda each: each["name"], empty=empty, search=text)
