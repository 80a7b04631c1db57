"""`meshctl completion SHELL`, and what the shell is offered: ids and names, asked of the daemon.

Invariant: a daemon that is away or slow costs a second at most and offers nothing; nothing is
ever said. Neighbours: arguments of the verbs name the function here that knows their values.
"""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem, get_completion_class

from cli.output import Item, write
from cli.session import Session, verb
from meshd.observe.text import shown

WITHIN_S = 1.0  # a person waits for the tab key, and a daemon with much to do needs a while
OFFERED_MAX = 50  # tasks, the newest first
VARIABLE = "_MESHCTL_COMPLETE"


@verb("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(session: Session, shell: str) -> None:
    """Print what makes this shell complete meshctl; load it with: source <(meshctl completion bash)."""
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101  # click knows the three of the choice
    from cli.meshctl import root

    write(made(root, {}, "meshctl", VARIABLE).source())


def tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the newest tasks."""
    return _offered(
        ctx, incomplete, "tasks", "id", lambda task: f"{task['state']} {task['capability']}", limit=OFFERED_MAX
    )


def retriable(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the newest tasks that ended without a result."""
    offered = tasks(ctx, param, incomplete)
    return [item for item in offered if str(item.help).partition(" ")[0] in ("failed", "cancelled", "poison")]


def goals(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Goals of the newest tasks."""
    return _offered(
        ctx, incomplete, "tasks", "gid", lambda task: f"the goal of {task['capability']}", limit=OFFERED_MAX
    )


def recorded(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the audit can be asked about: ids of the newest tasks, and their goals."""
    return tasks(ctx, param, incomplete) + goals(ctx, param, incomplete)


def peers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of nodes."""
    return _offered(ctx, incomplete, "peers", "name", lambda peer: peer["state"])


def agents(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of agents."""
    return _offered(ctx, incomplete, "agents", "name", lambda agent: agent["purpose"] or agent["kind"])


def capabilities(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What can be done."""
    return _offered(ctx, incomplete, "capabilities", "name", lambda each: f"{each['free']} of {each['slots']} free")


def _offered(
    ctx: click.Context, incomplete: str, noun: str, key: str, told: Callable[[Item], object], *, limit: int = 0
) -> list[CompletionItem]:
    from cli.client import Client
    from cli.exits import Refusal

    session = ctx.find_object(Session) or Session()
    session.timeout_s, session.is_verbose = WITHIN_S, False
    try:
        items: list[Item] = Client(session).get("v1", noun, limit=limit or None).value[noun]
        found = {str(item[key]): shown(str(told(item))) for item in items if item[key]}
    except (Refusal, KeyError, TypeError):  # away, slow, or nothing of ours
        return []
    return [CompletionItem(value, help=said) for value, said in found.items() if value.startswith(incomplete)]
