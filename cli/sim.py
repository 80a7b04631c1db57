"""`meshctl sim`: the mesh in a virtual world, without a daemon; and the live mesh in it, as a daemon tells it.

Invariant: the same words and exit codes as `python -m simulations`, which this hands over to; only
`from-live` is its own, since that alone asks a daemon, and no word at all is a question, not all of the stock.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from cli.client import Client
from cli.exits import of
from cli.output import note, write
from cli.paging import PAGE_MAX
from cli.session import Session, verb
from meshd.observe.text import shown
from protocol.errors import FAILED, OK, MeshError

FROM_LIVE = "from-live"
ALSO = f"{FROM_LIVE}: plays faults on the mesh of this host, as its daemon sees it; meshctl sim {FROM_LIVE} --help"
RUN_S = "120s"
OF_PEOPLE = Session().output  # how answers are printed unless told otherwise
PAGES_MAX = 20  # of nodes, agents or tasks: more than a scenario takes


@click.command("sim", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def sim(ctx: click.Context, words: tuple[str, ...]) -> int:
    """The commands of `simulations`, whose own help lists them, and `from-live`."""
    from simulations.outlet import through_outlet, told

    try:
        return through_outlet(lambda: _done(ctx, words))
    except OSError as error:
        what, cure = told(error)
        raise of(MeshError("bad_input", what=what), hint=cure) from None


def _done(ctx: click.Context, words: Sequence[str]) -> int:
    """Here, or by `simulations`. Raises SystemExit for its help and for what it refuses."""
    if words and words[0] == FROM_LIVE:
        # Named as it is typed: its parent's name would say that words of any kind come before it.
        name = f"{ctx.info_name} {FROM_LIVE}"
        with from_live.make_context(name, list(words[1:]), parent=ctx.parent, obj=ctx.obj) as own:
            code: int = from_live.invoke(own)
            return code
    from simulations.command import main

    session = ctx.find_object(Session)
    if words and session is not None and session.output != OF_PEOPLE:
        # After what the words name and before their options: what is said there again, counts.
        first = next((place for place, word in enumerate(words) if place and _is_option(word)), len(words))
        words = (*words[:first], "-o", session.output, *words[first:])
    return main(words or ["--help"], program="meshctl sim", also=ALSO)


def _is_option(word: str) -> bool:
    """A number below zero is none."""
    return word.startswith("-") and not word[1:].isdecimal()


@verb(FROM_LIVE)
@click.option("--cut", multiple=True, metavar="GROUPS@T[+D]", help="region:a,region:b@10s, or n1,n2:n3@10s+15s.")
@click.option("--kill", multiple=True, metavar="NODES@T[+D]", help="kill -9; started again D later.")
@click.option("--pause", multiple=True, metavar="NODES@T+D", help="Stopped, as by SIGSTOP, for D.")
@click.option("--broker-down", multiple=True, metavar="T+D", help="The broker is gone for D.")
@click.option("--run", "run", default=RUN_S, show_default=True, metavar="S", help="How long to look on.")
@click.option("--seed", default="1", show_default=True, metavar="N", help="What all chance comes from.")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Keep the scenario in a new file: sim run takes it.",
)
@click.option(
    "--report", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Also .html, .md or .json."
)
@click.pass_obj
def from_live(
    session: Session, /, run: str, seed: str, save: Path | None, report: Sequence[Path], **wished: Sequence[str]
) -> int:
    """What would happen to this mesh: who would notice what when, which tasks would move, how long until one view.

    Takes the nodes, regions, agents, tasks and settings that the daemon sees, and plays faults on them in virtual
    time. The live mesh is only asked. Every option can be given several times; NODES may be region:NAME.
    """
    from simulations import forecast, live, outputs, wishes, wording
    from simulations.scenario import ScenarioError
    from simulations.words import seed_for

    asked = [wishes.Wish(_kind(option), text) for option, texts in wished.items() for text in texts]
    try:
        run_s, chosen = wishes.seconds(run, "--run"), seed_for("--seed", seed)
        outputs.check(reports=report, save=save)
        plan = forecast.planned(live.heard(_asked(Client(session))), asked, run_s=run_s)
        if save is not None:
            save.write_text(plan.text(), encoding="utf-8")
        answer = forecast.foretold(plan, seed=chosen, reports=report)
    except ScenarioError as error:
        raise of(
            MeshError("bad_input", what=str(error)), hint="meshctl sim from-live --help, or meshctl peers"
        ) from None
    except OSError as error:
        raise of(MeshError("bad_input", what=f"--save {save}: {wording.trouble_of(error)}")) from None
    if session.wants_json():
        write(msgspec.json.encode(answer).decode() + "\n")
    else:
        write("".join(f"{shown(line)}\n" for line in forecast.told(answer)))
    if save is not None:
        note(session, f"kept: meshctl sim run {save}")
    for path in report:
        note(session, f"report: {path}")
    return FAILED if answer.broken else OK


def _kind(option: str) -> Any:
    return option.replace("_", "-")


def _asked(client: Client) -> dict[str, Any]:
    """What a daemon knows of its mesh."""
    from simulations import live

    return {
        "status": client.get("v1", "status").value,
        "settings": client.get("v1", "config").value["settings"],
        "peers": _all(client, "peers"),
        "agents": _all(client, "agents"),
        "tasks": [task for state in live.NOT_ENDED for task in _all(client, "tasks", state=state)],
    }


def _all(client: Client, noun: str, *, state: str = "") -> list[Any]:
    """Every item of a listing, page by page."""
    found: list[Any] = []
    cursor = ""
    for _ in range(PAGES_MAX):
        answer = client.get("v1", noun, cursor=cursor, limit=PAGE_MAX, state=state).value
        found += answer[noun]
        cursor = answer.get("next") or ""
        if not cursor:
            break
    return found
