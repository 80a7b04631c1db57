"""How fast the simulator is, beside its goals, in processor time of one core, and how much memory it takes.

Each row is a world in a process of its own, the best of `--times`; `--all` runs also those that take many minutes.
Nothing is asserted. Run: `python tests/bench/simulator.py [ROW]... [--times 3] [--all]`.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # a bench is a program, started by its path

from msgspec import Struct, structs

from simulations.running import Choice
from simulations.scenario import Scenario, checked
from simulations.trace import Line
from simulations.world import World

SEEDS = 4  # of the swarm, when not all thousand are run
SWARM_SEEDS = 1_000
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
    """One figure: how it is got, what it should be, and in which unit it is told."""

    name: str
    what: str
    goal: str
    measure: Callable[[int], str]
    is_long: bool = False


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


def seconds(scenario: Scenario) -> Callable[[int], str]:
    """How long a world takes."""

    def measure(times: int) -> str:
        one = took(scenario, times=times)
        return f"{one.seconds:.2f} s, {one.mib:.0f} MiB, {one.seconds / one.steps * 1e6:.0f} us a step{_told(one)}"

    return measure


def pace(scenario: Scenario) -> Callable[[int], str]:
    """How much faster than time, without the start: two runs, and what the longer takes more."""
    half = structs.replace(scenario, run_s=scenario.run_s / 2)

    def measure(times: int) -> str:
        short, whole = took(half, times=times), took(scenario, times=times)
        more_s = max(1e-9, whole.seconds - short.seconds)
        virtual_s = whole.virtual_s - short.virtual_s
        start = f"the first {short.virtual_s:.0f} s take {short.seconds:.1f} s"
        return f"{virtual_s / more_s:.1f} virtual s a second, {whole.mib:.0f} MiB; {start}{_told(whole)}"

    return measure


def swarm(seeds: int) -> Callable[[int], str]:
    """What a thousand worlds of the swarm take on two cores, from some of them."""

    def measure(times: int) -> str:
        del times
        choice = Choice("swarm", ("nodes=50", "run_s=120"), swarm=True)
        spent = [took(choice.scenario(seed), times=1, seed=seed).seconds for seed in range(1, seeds + 1)]
        minutes = sum(spent) / seeds * SWARM_SEEDS / CORES / 60
        return f"{minutes:.0f} min, from {seeds} seeds of {min(spent):.1f} to {max(spent):.1f} s"

    return measure


def traced(scenario: Scenario) -> Callable[[int], str]:
    """What it costs that somebody reads every line."""

    def measure(times: int) -> str:
        plain, read = took(scenario, times=times), took(scenario, times=times, is_traced=True)
        return f"{read.seconds / plain.seconds:.2f} times"

    return measure


def _told(one: Took) -> str:
    return f"; {one.problem}" if one.problem else ""


LITE: dict[str, list[str]] = {"always": []}
KNOWN: dict[str, Any] = {"start": "known"}  # what is measured is what follows
ROWS: Sequence[Row] = (
    Row("S1", "50 nodes, 1 % loss, 120 s", "0.8 s", seconds(world(50, 120, loss=0.01))),
    Row("S1-none", "the same, nothing encoded", "0.4 s", seconds(world(50, 120, loss=0.01, wire="none"))),
    Row("S1-known", "the same, all known from the beginning", "", seconds(world(50, 120, loss=0.01, **KNOWN))),
    Row("S2-100", "100 nodes, quiet", "150 virtual s a second", pace(world(100, 40, **KNOWN))),
    Row("S2-200", "200 nodes, quiet, no rules", "", pace(world(200, 20, wire="none", expect=LITE, **KNOWN))),
    Row(
        "S2-1000",
        "1,000 nodes, quiet, no rules",
        "15 virtual s a second",
        pace(world(1_000, 20, wire="none", expect=LITE, **KNOWN)),
        is_long=True,
    ),
    Row(
        "S3",
        "1,000 nodes, halves for 30 s, then healed",
        "150 s, 1,536 MiB",
        seconds(world(1_000, 60, wire="none", expect=LITE, fault=[HALVES], **KNOWN)),
        is_long=True,
    ),
    Row("S4", "1,000 seeds of the swarm, 50 nodes, 120 s, two cores", "10 min", swarm(SEEDS)),
    Row("S4-all", "the same, every seed", "10 min", swarm(SWARM_SEEDS), is_long=True),
    Row(
        "S8", "a run of which every line is read, beside one that is not", "1.5 times", traced(world(20, 60, loss=0.01))
    ),
)


def main() -> None:
    """Rows, as they are measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="also what takes many minutes")
    asked = parser.parse_args()
    width = max(len(row.name) for row in ROWS)
    for row in ROWS:
        if row.name in asked.rows or (not asked.rows and (asked.all or not row.is_long)):
            goal = f" (goal: {row.goal})" if row.goal else ""
            print(f"{row.name:<{width}}  {row.what}: {row.measure(asked.times)}{goal}", flush=True)


if __name__ == "__main__":
    main()
