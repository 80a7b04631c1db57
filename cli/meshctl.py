"""The command `meshctl`: which nouns there are, and how a run of it ends.

Invariant: a noun's module is imported when it is asked for, never before; every way out has its
exit code. Neighbours: one module a noun; `exits` says what went wrong.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper

import click

from cli.exits import Refusal, of, say
from cli.session import SETTINGS, Noun, Session
from protocol.errors import INTERRUPTED, OK, USAGE, MeshError
from simulations.outlet import nowhere, silence

# noun: where its command is, and what it says of itself in the list
NOUNS: dict[str, tuple[str, str]] = {
    "status": ("cli.status:status", "How this node stands, and what needs attention."),
    "peers": ("cli.peers:peers", "The nodes of the mesh, as this one sees them."),
    "agents": ("cli.agents:agents", "Who does the work, and where."),
    "capabilities": ("cli.capabilities:capabilities", "What can be done in the mesh."),
    "call": ("cli.call:call", "Ask an agent and print its answer; keeps no record."),
    "tasks": ("cli.tasks:tasks", "Work with a durable record: submit, show, wait, cancel, retry, watch."),
    "audit": ("cli.audit:audit", "Who did what, and whether the record of it is as it was written."),
    "top": ("cli.top:top", "Peers, agents and tasks, again and again."),
    "config": ("cli.config:config", "The settings, and where each came from; checks a file."),
    "doctor": ("cli.doctor:doctor", "What is wrong here and in the mesh, and what to do about it."),
    "invite": ("cli.invite:invite", "What lets another host join."),
    "demo": ("cli.demo:demo", "Three nodes share real work, one is killed, nothing is lost."),
    "sim": ("cli.sim:sim", "The mesh in a virtual world, without a daemon."),
    "completion": ("cli.completion:completion", "What makes bash, zsh or fish complete this command."),
    "version": ("cli.version:version", "The versions of this command and of the daemon."),
}


class Nouns(Noun):
    """The top of the command, which knows its nouns without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Called by click: the nouns, in the order of their use."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Called by click: the command of a noun, imported now."""
        if cmd_name not in NOUNS:
            return None
        module, _, name = NOUNS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Called by click: the list in the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in NOUNS.items()])


@click.group("meshctl", cls=Nouns, context_settings=SETTINGS, no_args_is_help=True)
def root() -> None:
    """Look into a mesh of agents and give it work.

    It talks to the daemon of this host; start one with: meshd start
    """


def main() -> None:
    """The console script."""
    sys.stdout, sys.stderr = sys.stdout or nowhere(), sys.stderr or nowhere()  # none when they came closed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter is no failure
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            silence(stream)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    session = Session()
    try:
        ended = root.main(args=list(arguments), prog_name="meshctl", standalone_mode=False, obj=session)
    except click.exceptions.NoArgsIsHelpError as asked:
        with suppress(OSError):
            click.echo(asked.format_message(), err=True)
        return USAGE
    except click.UsageError as failure:
        return _said(_misused(failure), session)
    except MeshError as failure:
        return _said(of(failure), session)
    except Refusal as refusal:
        return _said(refusal, session)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit:  # click's way to say that nobody reads what is printed any more; that is no failure
        silence(sys.stdout)
        return OK
    except OSError as failure:  # all others are told where they happen
        problem = f"cannot be written: {failure.strerror or failure}"
        where = failure.filename or "standard output"
        refused = MeshError("directory", path=where, problem=problem, cure="send it elsewhere")
        return _said(of(refused), session)
    return ended if isinstance(ended, int) else OK


def _misused(failure: click.UsageError) -> Refusal:
    """What is wrong with the command line, and what was probably meant."""
    command, hint = "meshctl", ""
    if failure.ctx is not None:
        command = failure.ctx.command_path
        if isinstance(failure, click.exceptions.NoSuchCommand) and isinstance(failure.ctx.command, click.Group):
            from difflib import get_close_matches

            names = failure.ctx.command.list_commands(failure.ctx)
            hint = next((f"{command} {name}" for name in get_close_matches(failure.command_name, names)), "")
    what = failure.format_message().rstrip(".")
    return of(MeshError("bad_input", what=what[:1].lower() + what[1:]), hint=hint or f"{command} --help")


def _said(refusal: Refusal, session: Session) -> int:
    with suppress(OSError):  # nobody can be told, but the exit code tells
        say(refusal, as_json=session.wants_json())
    return refusal.exit_code
