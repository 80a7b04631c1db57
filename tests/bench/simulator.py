"""The simulator's goals (S1 to S8) beside what is measured: processor time of one core, memory, and what it proves.

Each world runs in a process of its own, the best of `--times`; `--all` runs also what takes many minutes. `--write`
puts the rows that were measured into the table of simulations/README.md, and leaves the others as they are.
Nothing is asserted. Run: `python tests/bench/simulator.py [ROW]... [--times 3] [--all] [--write]`.
"""

import argparse
import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # a bench is a program, started by its path

from msgspec import Struct, structs

from simulations.grids import tables
from simulations.grids.study import NOTHING
from simulations.running import Choice
from simulations.scenario import NODES_MAX, Scenario, checked
from simulations.trace import Line
from simulations.world import World
from tests.bench import proofs
from tests.bench.proofs import Proof

SEEDS = 4  # of the swarm, when not all thousand are run
SWARM_SEEDS = 1_000
SWARM_MIN = 10.0
NOISE = 0.05  # of a time that is measured twice
CORES = 2
HALVES = {"kind": "partition", "shape": "halves", "at_s": 15.0, "for_s": 30.0}


class Took(Struct, frozen=True):
    """What one world cost."""

    seconds: float
    mib: float
    virtual_s: float
    steps: int
    problem: str = ""


class Row(Struct, frozen=True):
    """One figure: how it is got, what it should be, and what stops it when it is not."""

    name: str
    what: str
    goal: str
    measure: Callable[[int], Proof]
    is_long: bool = False
    stops: str = ""


def world(nodes: int, run_s: float, *, loss: float = 0.0, wire: str = "mac", **more: Any) -> Scenario:
    """An idle mesh, unless told otherwise."""
    link = {"loss": loss}
    return checked(
        {"about": "bench", "nodes": nodes, "run_s": run_s, "link": link, "wire": wire, **more}, origin="bench"
    )


def _run(scenario: Scenario, seed: int, is_traced: bool, back: Any) -> None:
    """In a process of its own, so that its memory is its own."""
    kept: list[int] = []

    def write(line: Line) -> None:
        kept.append(hash(str(line)))
        kept.clear()

    one = World(scenario, seed=seed, write=write if is_traced else None)
    began_s = time.process_time()
    verdict = one.run()
    took_s = time.process_time() - began_s
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    problem = str(verdict.violations[0].what) if verdict.violations else ""
    back.send(Took(took_s, mib, verdict.ended_s, verdict.steps, problem))


def took(scenario: Scenario, *, times: int, seed: int = 1, is_traced: bool = False) -> Took:
    """The best of several: what disturbs a run only makes it slower."""
    best: Took | None = None
    for _ in range(times):
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=_run, args=(scenario, seed, is_traced, there))
        process.start()
        there.close()
        one: Took = here.recv()
        process.join()
        best = one if best is None or one.seconds < best.seconds else best
    assert best is not None
    return best


def seconds(scenario: Scenario, *, most_s: float, mib_max: float = math.inf) -> Callable[[int], Proof]:
    """How long a world takes."""

    def measure(times: int) -> Proof:
        one = took(scenario, times=times)
        said = f"{one.seconds:.2f} s, {one.mib:.0f} MiB; {one.steps:,} steps of {one.seconds / one.steps * 1e6:.0f} us"
        is_met = one.seconds <= most_s and one.mib <= mib_max and not one.problem
        return Proof(f"{said}{_told(one)}", is_met)

    return measure


def pace(scenario: Scenario, *, least: float) -> Callable[[int], Proof]:
    """How much faster than time, without the start: two runs, and what the longer takes more."""
    half = structs.replace(scenario, run_s=scenario.run_s / 2)

    def measure(times: int) -> Proof:
        short, whole = took(half, times=times), took(scenario, times=times)
        more_s = whole.seconds - short.seconds
        start = f"the first {short.virtual_s:.0f} s take {short.seconds:.1f} s"
        if more_s < NOISE * short.seconds:
            return Proof(f"lost in what the start takes: {more_s:+.1f} s more; {start}{_told(whole)}", is_met=False)
        faster = (whole.virtual_s - short.virtual_s) / more_s
        return Proof(f"{faster:.1f} virtual s a second, {whole.mib:.0f} MiB; {start}{_told(whole)}", faster >= least)

    return measure


def swarm(seeds: int) -> Callable[[int], Proof]:
    """What a thousand worlds of the swarm take on two cores, from some of them."""

    def measure(times: int) -> Proof:
        del times
        choice = Choice("swarm", ("nodes=50", "run_s=120"), swarm=True)
        spent = [took(choice.scenario(seed), times=1, seed=seed).seconds for seed in range(1, seeds + 1)]
        minutes = sum(spent) / seeds * SWARM_SEEDS / CORES / 60
        return Proof(
            f"{minutes:.0f} min, from {seeds} seeds of {min(spent):.1f} to {max(spent):.1f} s", minutes <= SWARM_MIN
        )

    return measure


def traced(scenario: Scenario, *, most: float) -> Callable[[int], Proof]:
    """What it costs that somebody reads every line."""

    def measure(times: int) -> Proof:
        plain, read = took(scenario, times=times), took(scenario, times=times, is_traced=True)
        ratio = read.seconds / plain.seconds
        return Proof(f"{ratio:.2f} times", ratio <= most)

    return measure


def _told(one: Took) -> str:
    return f"; {one.problem}" if one.problem else ""


LITE: dict[str, list[str]] = {"always": []}
KNOWN: dict[str, Any] = {"start": "known"}  # what is measured is what follows
WHOLE = (
    "a step is the real core: an envelope encoded, its stand-in signature made and held against, its sequence and its "
    "age, machines of membership, gossip, agents and tasks, and every rule; the prototype that the aim comes from had "
    "membership alone, and no bytes"
)
PAIRS = "what a node knows of another is its own, some 0.1 ms to be told and 1.4 KB; the prototype shared one table"
MUTANTS = (
    "refutes-nothing",
    "new-life-wins-nothing",
    "goodbye-is-not-heard",
    "own-word-forgotten-after-a-cut",
    "others-raise-incarnations",
    "clears-without-a-word",
    "commits-blindly",
    "no-replay-window",
    "window-forgets-the-late",
    "signatures-are-decoration",
    "mail-for-others",
)
ROWS: Sequence[Row] = (
    Row("S1", "50 nodes, 1 % loss, 120 s", "0.8 s", seconds(world(50, 120, loss=0.01), most_s=0.8), stops=WHOLE),
    Row(
        "S1-none",
        "the same, nothing encoded",
        "0.4 s",
        seconds(world(50, 120, loss=0.01, wire="none"), most_s=0.4),
        stops="as S1, but for the bytes",
    ),
    Row(
        "S2-100",
        "100 nodes, quiet",
        "150 virtual s a second",
        pace(world(100, 40, **KNOWN), least=150),
        stops="as S1",
    ),
    Row(
        "S2-1000",
        "1,000 nodes, quiet, no rules, nothing encoded",
        "15 virtual s a second",
        pace(world(1_000, 60, wire="none", expect=LITE, **KNOWN), least=15),
        is_long=True,
        stops="as S1",
    ),
    Row(
        "S2-10000",
        "10,000 nodes",
        "1 virtual s a second, 1,024 MiB",
        lambda _: Proof(f"none: a world has {NODES_MAX:,} nodes at most", is_met=False),
        stops=PAIRS,
    ),
    Row(
        "S3",
        "1,000 nodes, halves for 30 s, then healed",
        "150 s, 1,536 MiB",
        seconds(world(1_000, 60, wire="none", expect=LITE, fault=[HALVES], **KNOWN), most_s=150, mib_max=1_536),
        is_long=True,
        stops=f"{PAIRS}; and each half finds five hundred dead, told to everybody",
    ),
    Row(
        "S4",
        f"1,000 seeds of the swarm, 50 nodes, 120 s, two cores, from {SEEDS}",
        "10 min",
        swarm(SEEDS),
        stops="as S1; and a world of the swarm has work, too, and each death in it is a message to 49",
    ),
    Row("S5", "the same digest", "one, wherever it runs", lambda _: proofs.sameness()),
    Row(
        "S6",
        "200 actions on 12 nodes in which a mutant shows, made small",
        "at most 6 actions, 5 nodes, 60 s",
        lambda _: proofs.smallness(MUTANTS),
        is_long=True,
        stops="a smaller world is one run more, and a run of twelve nodes takes seconds",
    ),
    Row("S7", "mutants of the core that are caught", "95 %", lambda _: proofs.mutants(), is_long=True),
    Row(
        "S8",
        "a run of which every line is read, beside one that is not",
        "1.5 times",
        traced(world(20, 60, loss=0.01), most=1.5),
        stops="a line of a trace is text",
    ),
)
UNMEASURED = "not measured"
COLUMNS = ("goal", "what", "measured", "aim", "verdict")
NOTES = (
    "Processor time of one core of a small and shared machine, the best of several, so only what differs by more than "
    "a third says anything. A row is as old as the last time that it was asked for."
)


def verdict(row: Row, found: Proof) -> str:
    """One word, and what stops it where it is missed."""
    return "met" if found.is_met else f"**not met**: {row.stops or 'it is a defect'}"


def keep(measured: dict[str, tuple[str, ...]], path: Path = tables.README) -> None:
    """Put these rows into the table of the README, where the others stay; each goal has its row, measured or not."""
    old = {row[0]: tuple(row) for row in tables.read("speed", path.read_text(encoding="utf-8"))[1:]}
    rows = tuple(
        measured.get(row.name) or old.get(row.name) or (row.name, row.what, UNMEASURED, row.goal, NOTHING)
        for row in ROWS
    )
    said = "`python tests/bench/simulator.py --all`: how fast the simulator is, how large, and what it proves."
    tables.kept(tables.Table("speed", said, "", COLUMNS, rows, NOTES), path)


def main() -> None:
    """Rows, as they are measured."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="also what takes many minutes")
    parser.add_argument("--write", action="store_true", help="put them into simulations/README.md")
    asked = parser.parse_args()
    width = max(len(row.name) for row in ROWS)
    for row in ROWS:
        if row.name in asked.rows or (not asked.rows and (asked.all or not row.is_long)):
            found = row.measure(asked.times)
            print(f"{row.name:<{width}}  {row.what}: {found.said} (goal: {row.goal})", flush=True)
            if asked.write:
                keep({row.name: (row.name, row.what, found.said, row.goal, verdict(row, found))})


if __name__ == "__main__":
    main()
