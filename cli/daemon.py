"""The command `meshd`: start and stop the daemon of this host.

Invariant: `start` answers with one line, the way in or the reason why not, and its exit code says
which. Neighbours: `meshd.app` is the daemon; everything else is asked of it through `meshctl`.
"""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click
from msgspec import structs

from protocol.errors import FAILED, INTERRUPTED, OK, TIMED_OUT, USAGE, MeshError

LOG = "meshd.log"
JOIN_BYTES_MAX = 65_536  # read of what should be an invitation, which has 4,096 at most
DETACH_S_MAX = 60.0  # a daemon that is not ready by then is ended, and its log says why
STOP_S_MAX = 60.0  # draining, leaving and stopping the server are each bounded below this
STOP_S_HIGHEST = 7_200.0  # twice the longest draining


class _Directory(click.Path):
    """A path; none at all, as of a variable that was not set, is not the folder one stands in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click has it."""
        if not str(value):
            self.fail("it names no directory", param, ctx)
        return super().convert(value, param, ctx)


@click.group("meshd", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def root() -> None:
    """The daemon of a peer-to-peer agent mesh. See also: meshctl --help."""


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        root.main(args=list(arguments), prog_name="meshd", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message(), err=True)
        return USAGE
    except click.UsageError as failure:
        command = failure.ctx.command_path if failure.ctx is not None else "meshd"
        refused = MeshError("bad_input", what=failure.format_message().rstrip("."))
        _say(refused, hint=f"{command} --help")
        return refused.exit
    except MeshError as failure:
        _say(failure)
        return failure.exit
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return OK


@root.command()
@click.option(
    "--dir", "dir_", type=_Directory(path_type=Path), help="State directory; else $MESHD_DIR, else the user's."
)
@click.option("--name", help="Name of this node, kept for later starts; else the host's.")
@click.option("--join", metavar="TOKEN|@FILE|-", help="Join a mesh: what `meshctl invite` printed on a node.")
@click.option("--config", "files", multiple=True, type=click.Path(path_type=Path), help="Settings (TOML); repeatable.")
@click.option("--listen", metavar="HOST:PORT", help="The HTTP API; else a free port on 127.0.0.1.")
@click.option("--nats-listen", metavar="HOST:PORT", help="Where other hosts may join, kept; else 127.0.0.1.")
@click.option("--region", help="Where this node stands, kept for later starts.")
@click.option("--domain", help="Business area that owns its agents, kept for later starts.")
@click.option("--detach", is_flag=True, help="Return once it is ready, or say why it is not.")
def start(dir_: Path | None, join: str | None, files: tuple[Path, ...], detach: bool, **flags: Any) -> None:
    """Run the daemon: in the foreground, as a service manager wants it, unless --detach is given."""
    gc.disable()  # modules are no garbage, and to look for some among them is a tenth of the time to import them
    from meshd.app import Order
    from meshd.app import run as run_daemon
    from meshd.where import state_dir

    gc.freeze()
    gc.enable()
    settings = {
        "node.name": flags["name"],
        "node.region": flags["region"],
        "node.domain": flags["domain"],
        "api.listen": flags["listen"],
        "nats.listen": flags["nats_listen"],
    }
    order = Order(
        dir=state_dir(dir_),
        join="" if join is None else _invitation(join),
        files=files,
        flags={key: value for key, value in settings.items() if value is not None},
    )
    if detach:
        _detached(order)
        return
    run_daemon(order, said=_printed)


@root.command()
@click.option(
    "--dir", "dir_", type=_Directory(path_type=Path), help="State directory; else $MESHD_DIR, else the user's."
)
@click.option(
    "--timeout", "timeout_s", type=float, default=STOP_S_MAX, show_default=True, metavar="S", help="How long to wait."
)
def stop(dir_: Path | None, timeout_s: float) -> None:
    """Leave, drain, stop the embedded server; return when all is gone."""
    from meshd.running import announced
    from meshd.statedir import lock_holder
    from meshd.stopping import stop_daemon
    from meshd.where import state_dir

    if not 0 <= timeout_s <= STOP_S_HIGHEST:  # not so for NaN, too
        raise click.UsageError(f"--timeout is {timeout_s:g}; it goes from 0 to {STOP_S_HIGHEST:g} seconds")
    path = state_dir(dir_)
    try:
        click.echo(stop_daemon(path, within_s=timeout_s))
    except MeshError as failure:
        others = [str(each) for each in announced() if lock_holder(each)]
        if failure.code != "unreachable":
            raise
        if dir_ is not None:
            _say(failure, hint=f"{failure.hint} --dir {quote(str(dir_))}")
        elif os.environ.get("MESHD_DIR") or not others:
            raise
        else:
            _say(failure, hint=f"choose a daemon with --dir or MESHD_DIR; on this host run: {', '.join(others)}")
        sys.exit(failure.exit)
    except TimeoutError:
        click.echo(f"error[timed_out]: the daemon in {path} is still there after {timeout_s:g} s", err=True)
        pid = lock_holder(path)
        last = f"; if it does not, kill -9 {pid} does" if pid else ""
        click.echo(f"try: run it again, for a second signal ends it at once{last}", err=True)
        sys.exit(TIMED_OUT)


@root.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    click.echo(installed("agent-meshd"))


def _invitation(told: str) -> str:
    """The token, as it is, or from a file or stdin: what a process was started with, everybody on its host can read."""
    from meshd.plaintext import content_of

    origin, text = "it", told.strip()
    if text == "-":
        origin, text = "stdin", _token(sys.stdin.buffer.read(JOIN_BYTES_MAX), "stdin")
    elif text.startswith("@"):
        origin = text[1:]
        try:
            text = _token(content_of(Path(origin), JOIN_BYTES_MAX), origin)
        except OSError as failure:
            raise MeshError("bad_join", problem=f"{origin or '@'} cannot be read: {failure.strerror}") from None
    if not text:  # a variable that was not set would found a mesh of its own
        raise MeshError("bad_join", problem=f"{origin} is empty")
    return text


def _token(content: bytes, origin: str) -> str:
    """What should be an invitation: whatever other text it is, is told by who decodes it."""
    from meshd.plaintext import text_of

    try:
        return text_of(content).strip()
    except ValueError as failure:
        raise MeshError("bad_join", problem=f"{origin} {failure}") from None


def _printed(line: str, warnings: Sequence[str] = (), /) -> None:
    """Print the line of a start, and what it left out."""
    click.echo(line)
    for warning in warnings:
        click.echo(warning, err=True)


def _say(failure: MeshError, *, hint: str = "") -> None:
    click.echo(f"error[{failure.code}]: {failure.message}", err=True)
    click.echo(f"try: {hint or failure.hint}", err=True)


def _detached(order: Any) -> None:
    """Run the daemon in a session of its own; its first words come back through a pipe."""
    from meshd.app import run as run_daemon

    order = structs.replace(order, log=order.dir / LOG)
    log = _opened_log(order.dir)
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        sys.exit(_await_first_words(reading, child))
    os.close(reading)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    parent = _Parent(writing)
    try:
        run_daemon(order, said=lambda line, warnings=(), /: parent.tell("\n".join((f"0{line}", *warnings))))
        told_to_stop = MeshError("cut_off", where=order.dir, cure="it was told to stop; start it again")
        parent.tell(_in_words(told_to_stop))
    except MeshError as failure:
        parent.tell(_in_words(failure))
        sys.exit(failure.exit)
    except BaseException:
        parent.tell(f"{FAILED}error[internal]: the daemon ended; see {order.log}")
        raise
    sys.exit(OK)


def _opened_log(path: Path) -> int:
    """The log of a daemon without a terminal. Raises MeshError when it cannot be written."""
    from meshd.observe.rotation import opened

    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return opened(path / LOG)
    except OSError as failure:
        what = f"cannot be used: {failure.strerror or failure}"
        raise MeshError("directory", path=path, problem=what, cure="choose another directory with --dir") from None


class _Parent:
    """Who started us and waits for our first words; later ones reach nobody."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def tell(self, text: str) -> None:
        """Say the first words, once: by the next ones the pipe's number may be another file's."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):  # it did not wait
                os.write(fd, text.encode())
            os.close(fd)


def _in_words(failure: MeshError) -> str:
    return f"{failure.exit}error[{failure.code}]: {failure.message}\ntry: {failure.hint}"


def _await_first_words(fd: int, child: int) -> int:
    """Print what the daemon says and return the exit code for it."""
    import select

    try:
        ready, _, _ = select.select([fd], [], [], DETACH_S_MAX)
        words = os.read(fd, 65_536).decode() if ready else ""
    except KeyboardInterrupt:
        _end(child)
        return INTERRUPTED
    if not ready:
        _end(child)
        click.echo(f"error[timed_out]: the daemon was not ready within {DETACH_S_MAX:g} s", err=True)
        return FAILED
    code = int(words[0]) if words else FAILED
    if code:
        os.waitpid(child, 0)  # nothing of it is left when this returns
        click.echo(words[1:] or "error[internal]: the daemon ended without a word", err=True)
        return FAILED
    line, *warnings = words[1:].splitlines()
    _printed(line, warnings)
    return OK


def _end(child: int) -> None:
    """Tell the daemon to stop, and return when it and what it started are gone. Ctrl-C again ends it at once."""
    while True:
        try:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            return
        except KeyboardInterrupt:
            continue
