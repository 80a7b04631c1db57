"""The options every command takes, before or after the noun, and what they amount to.

Invariant: an option that is given twice counts where it was given last. Neighbours: every noun
makes its commands with `Noun` and `Verb`; `client` and `output` are made from the `Session`.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from protocol import limits

T = TypeVar("T")


class Seconds(click.ParamType[float, str]):
    """A number of seconds above zero, and no more than a task may take."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Called by click."""
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        if not (seconds > 0.0 and math.isfinite(seconds)):
            self.fail(f"{value} is not a number of seconds above zero", param, ctx)
        if seconds > limits.DEADLINE_S_MAX:
            self.fail(f"{value} is more than {limits.DEADLINE_S_MAX:.0f} seconds", param, ctx)
        return seconds


SECONDS = Seconds()


class Session:
    """One run of meshctl: what the global options say."""

    def __init__(self) -> None:
        self.dir: Path | None = None
        self.node: str | None = None
        self.output = "table"
        self.is_quiet = False
        self.is_verbose = False
        self.is_plain = False
        self.timeout_s: float | None = None

    def wants_json(self) -> bool:
        """True when a program reads the answer."""
        return self.output in ("json", "jsonl")


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    session = ctx.ensure_object(Session)
    if ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
        setattr(session, param.name, value)


def _global_options() -> list[click.Option]:
    path = click.Path(path_type=Path)
    output = click.Choice(["table", "json", "jsonl", "name"])

    def option(*names: str, **how: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_keep, **how)

    return [
        option("--dir", type=path, help="State directory of the node; else $MESHD_DIR, else the user's."),
        option("--node", metavar="URL", help="Ask this address instead; its token is read from $MESHD_TOKEN."),
        option("-o", "--output", type=output, help="How answers are printed; json is what the API answers."),
        option("-q", "--quiet", "is_quiet", is_flag=True, help="No headings and no notes."),
        option("-v", "--verbose", "is_verbose", is_flag=True, help="Say what is asked of the daemon."),
        option("--no-color", "is_plain", is_flag=True, help="No colours, as with $NO_COLOR."),
        option("--timeout", "timeout_s", type=SECONDS, metavar="S", help="Seconds to wait at most."),
    ]


class Verb(click.Command):
    """One command, with the global options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        own: list[click.Parameter] = list(kwargs.get("params") or ())
        taken = {name for param in own for name in param.opts}  # its own --dir counts over the global one
        kwargs["params"] = [*own, *(each for each in _global_options() if not taken & {*each.opts})]
        super().__init__(*args, **kwargs)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options first."""
        _format_options(self, ctx, formatter)


class Noun(click.Group):
    """A noun: bare it lists, and its verbs do the rest."""

    command_class = Verb

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["params"] = [*(kwargs.get("params") or ()), *_global_options()]
        super().__init__(*args, **kwargs)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The noun's own options first, then its verbs."""
        _format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _format_options(command: Verb | Noun, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Global options": []}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None:
            is_global = isinstance(param, click.Option) and param.callback is _keep
            sections["Global options" if is_global else "Options"].append(record)
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def noun(name: str) -> Callable[[Callable[..., Any]], Noun]:
    """A group whose function lists when no verb is given."""
    return click.group(name, cls=Noun, invoke_without_command=True, context_settings=SETTINGS)


def verb(name: str) -> Callable[[Callable[..., Any]], Verb]:
    """A command without verbs of its own."""
    return click.command(name, cls=Verb, context_settings=SETTINGS)
