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
    """Print an invitation. It is a secret: who has it can join. With -o name: the token alone."""
    answer = Client(session).post("v1", "invitations", body={})
    value = answer.value
    match session.output:
        case "json" | "jsonl":
            write_json(answer)
        case "name":
            write(f"{value['token']}\n")
        case _:
            note(session, f"On the other host run this; anyone who has the token can join mesh {shown(value['mesh'])}:")
            write(f"meshd start --join {value['token']}\n")
            note(session, f"the fingerprint of the mesh's key is {shown(value['fingerprint'])}")
            if value.get("reach"):
                note(session, shown(value["reach"]))
            if value.get("expires_ms"):
                note(session, f"it is valid for {age(clock.wall_ms(), value['expires_ms'])}")
