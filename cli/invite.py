"""`meshctl invite`: what lets another host join."""

import click

from cli.client import Client
from cli.output import age, note, write, write_json
from cli.session import Session, verb
from meshd import clock
from meshd.observe.text import shown


@verb("invite")
@click.pass_obj
def invite(session: Session) -> None:
    """Print an invitation: what `meshd start --join` takes. It is a secret: who has it can join."""
    answer = Client(session).post("v1", "invitations", body={})
    value = answer.value
    match session.output:
        case "json" | "jsonl":
            write_json(answer)
        case "name":
            write(f"{value['token']}\n")
        case _:
            note(session, "On the other host: meshd start --join TOKEN, or --join @FILE with the token in a file.")
            note(session, f"Anyone who has this one can join mesh {shown(value['mesh'])}:")
            write(f"{value['token']}\n")
            note(session, f"the fingerprint of the mesh's key is {shown(value['fingerprint'])}")
            if value.get("reach"):
                note(session, shown(value["reach"]))
            if value.get("expires_ms"):
                note(session, f"it is valid for {age(clock.wall_ms(), value['expires_ms'])}")
