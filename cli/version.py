"""`meshctl version`: the versions of this command and of the daemon."""

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from cli.client import Client
from cli.exits import Refusal
from cli.output import write
from cli.session import Session, verb
from meshd.observe.text import shown


@verb("version")
@click.pass_obj
def version(session: Session) -> None:
    """The versions of this command, of the daemon when one answers, and of Python."""
    try:
        own = installed("agent-meshd")
    except PackageNotFoundError:
        own = "not installed"
    try:
        daemon = str(Client(session).get("v1", "status").value["version"])
    except Refusal:
        daemon = ""
    match session.output:
        case "json" | "jsonl":
            write(json.dumps({"meshctl": own, "meshd": daemon or None, "python": platform.python_version()}) + "\n")
        case "name":
            write(f"{own}\n")
        case _:
            answers = f"the daemon runs {shown(daemon)}" if daemon else "no daemon answers"
            write(f"meshctl {own}, Python {platform.python_version()}; {answers}\n")
