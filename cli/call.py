"""`meshctl call`: ask an agent and print its answer; keeps no record."""

from pathlib import Path

import click

from cli import completion, given
from cli.client import Client
from cli.output import value_text, write, write_json
from cli.session import Session, verb
from meshd.observe.text import shown

TIMEOUT_S = 30.0


@verb("call")
@click.argument("capability", shell_complete=completion.capabilities)
@given.input_options
@click.option("--agent", metavar="NAME", default="", help="Only this agent will do.")
@click.pass_obj
def call(
    session: Session, capability: str, inline: str | None, file: Path | None, dash: str | None, agent: str
) -> None:
    """Ask an agent that can do CAPABILITY (name@major) and print what it answers, as JSON."""
    timeout_s = session.timeout_s or TIMEOUT_S
    body = {"input": given.value(inline, file, dash), "timeout_s": timeout_s, "agent": agent}
    answer = Client(session).post("v1", "call", capability, body=body, wait_s=timeout_s + 5.0)
    match session.output:
        case "json" | "jsonl":
            write_json(answer)
        case "name":
            write(f"{shown(answer.value['agent'] or answer.value['node_name'])}\n")
        case _:
            write(f"{value_text(answer.value['result'])}\n")
