"""`meshctl demo`: three nodes audit the Python that is installed here, and one of them is killed.

Invariant: whatever ends it (success, a failure, Ctrl-C), no process and no file of the demo stays
behind unless `--keep` asked for it, and the exit status says whether anything was lost.
Neighbours: `demo_direct` is the course of it, `demo_mesh` the processes, `demo_show` the screen.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from cli.demo_direct import Director, Outcome
from cli.demo_mesh import NAMES, DemoError, Mesh, made, program
from cli.demo_report import lines, markdown, proof_rows, record_sentence
from cli.demo_show import Screen
from cli.exits import Refusal, of, say
from cli.output import is_colored
from cli.session import Session, verb
from meshd import clock
from meshd.observe.text import shown
from protocol.errors import FAILED, INTERRUPTED, OK, MeshError

REPORT = "meshd-audit"
TITLE = "Three nodes audit the Python that is installed here; one is killed on the way."


@verb("demo")
@click.option("--kill", "victim", type=click.Choice(NAMES), default="c", show_default=True, help="The node to kill.")
@click.option("--keep", "is_kept", is_flag=True, help="Leave the mesh up afterwards.")
@click.option("--pieces", type=click.IntRange(1), metavar="N", help="Audit only the first N pieces.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Where the report goes; else here.")
@click.pass_obj
def demo(session: Session, victim: str, is_kept: bool, pieces: int | None, out: Path) -> int:
    """Three nodes share real work, one of them is killed, and the record proves that nothing was lost.

    With --dir the nodes live in that folder, which must be new or empty, else in a temporary one.
    Exit code 0 only when nothing was lost and nothing was committed twice.
    """
    return _Demo(session, victim, pieces or 0, out).run(is_kept=is_kept)


class _Demo:
    """One run, from the folder to the exit status."""

    def __init__(self, session: Session, victim: str, pieces: int, out: Path) -> None:
        self._session = session
        self._victim = victim
        self._pieces = pieces
        self._out = out
        self._began = clock.monotonic_ns()
        told = sys.stderr if session.wants_json() else sys.stdout
        self._screen = Screen(told, self._seconds, has_colours=is_colored(session, told))

    def _seconds(self) -> float:
        return (clock.monotonic_ns() - self._began) / 1e9

    def run(self, *, is_kept: bool) -> int:
        """The exit code; everything is cleaned away by then. Raises MeshError("directory") before anything runs."""
        director: Director | None = None
        is_over = False
        made(self._out, "--out")
        with _interruptible():
            mesh = Mesh(self._session.dir)
            try:
                self._screen.title(TITLE)
                director = Director(mesh, self._screen, victim=self._victim, pieces=self._pieces, seconds=self._seconds)
                outcome = director.run()
                self._show(outcome)
                is_over = True
                if is_kept:
                    self._show_what_to_try(mesh)
                return OK if outcome.proof.holds else FAILED
            except KeyboardInterrupt:
                self._interrupted(director)
                return INTERRUPTED
            except BrokenPipeError:  # whoever read along is gone
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return FAILED
            except OSError as failure:
                self._failed(DemoError(f"{failure.filename or 'a file'}: {failure.strerror or failure}"), director)
                return FAILED
            except (DemoError, Refusal, ValueError) as failure:
                self._failed(failure, director)
                return FAILED
            finally:
                if not (is_kept and is_over):
                    self._clean(mesh, is_over=is_over)

    def _show(self, outcome: Outcome) -> None:
        self._screen.title("What the mesh found")
        for line in lines(outcome.report):
            self._screen.text(line)
        proof = outcome.proof
        self._screen.title(f"What the record proves (read back through {proof.read_from}: GET /v1/tasks, all pages)")
        for label, count, remark in proof_rows(proof):
            is_bad = label in ("lost", "committed twice", "failed") and count != "0"
            self._screen.text(f"  {label:<22}{count:>5}   {remark}".rstrip(), "bad" if is_bad else "plain")
        self._screen.text(f"  {record_sentence(proof)}")
        page, values = self._out / f"{REPORT}.md", self._out / f"{REPORT}.json"
        page.write_text(markdown(outcome.report, proof), encoding="utf-8")
        plain = {"report": outcome.report, "proof": proof.as_json()}
        values.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        self._screen.text("")
        self._screen.text(f"  the whole report: {page} and {values}", "quiet")
        if self._session.wants_json():
            print(json.dumps(plain, ensure_ascii=False))
        verdict = "nothing was lost, nothing was committed twice" if proof.holds else "the record does NOT prove it"
        self._screen.title(verdict[0].upper() + verdict[1:] + ".")

    def _show_what_to_try(self, mesh: Mesh) -> None:
        meshctl, meshd = (_as_typed(name) for name in ("meshctl", "meshd"))
        alive = [name for name in NAMES if mesh[name].pids()]
        one, other = mesh[alive[0]].folder, mesh[alive[-1]].folder
        self._screen.text("The mesh stays up. Three things to try:")
        self._screen.text(f"  {meshctl} --dir {one} peers")
        self._screen.text(f"  {meshctl} --dir {other} tasks")
        wanted = '\'{"kind": "stdlib", "name": "json"}\''
        self._screen.text(f"  {meshctl} --dir {other} tasks submit package-audit@1 --input {wanted} --wait")
        self._screen.text("And to end it:")
        for name in reversed(alive):  # the host of the record last
            self._screen.text(f"  {meshd} stop --dir {mesh[name].folder}")
        self._screen.text(f"  rm -r {mesh.folder}")

    def _interrupted(self, director: Director | None) -> None:
        self._screen.clear_bar()
        self._screen.text("")
        self._screen.text(f"interrupted while {director.step if director else 'beginning'}", "warn")

    def _failed(self, failure: Exception, director: Director | None) -> None:
        self._screen.clear_bar()
        step = director.step if director else "beginning"
        node = failure.node if isinstance(failure, DemoError) else None
        for line in node.last_lines() if node is not None else []:
            print(f"{shown(line)}", file=sys.stderr)
        say(of(MeshError("demo", step=step, problem=str(failure))), as_json=self._session.wants_json())

    def _clean(self, mesh: Mesh, *, is_over: bool) -> None:
        """Nothing may interrupt this: it is short, and half of it would leave processes behind."""
        _ignore_signals()
        if is_over:
            mesh.stop()
        else:
            mesh.clean()


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Every polite way of ending us arrives as KeyboardInterrupt; afterwards all is as it was."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()  # the first one ends it; what follows is cleaning up
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _as_typed(name: str) -> str:
    """The command as it can be typed here: its name when it is on PATH, else its place."""
    place = program(name)
    if shutil.which(name) == place:
        return name
    nearer = os.path.relpath(place)
    return nearer if len(nearer) < len(place) else place
