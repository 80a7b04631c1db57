"""Forty real daemons on one nats-server: how fast they see what happens to others, and what it costs to look.

Each row stands beside its goal and the best figure of a peer at the same size; nothing is asserted. A figure
is `missed` only by its own goal, on the machine it was taken on: the processors are said at the top.
Run: `make bench-mesh`, or `python tests/bench/mesh.py --nodes 8 --only kills,idle --preset local`.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # a bench is a program, started by its path

from tests.bench import trials
from tests.bench.fleet import Fleet

LIMIT_S = 900.0  # for everything
TRIALS: Mapping[str, Callable[[Fleet], Awaitable[None]]] = {
    "kills": trials.kills,
    "hangs": trials.hangs,
    "stops": trials.stops,
    "idle": trials.idle,
    "blocked": trials.blocked,
    "burners": trials.burners,
    "holders": trials.holders,
    "server": trials.server,
    "rolling": trials.rolling,
    "leaves": trials.leaves,  # last: few are left after it
}
SHORT = ("kills", "hangs", "idle")  # what the preset decides


async def bench(asked: argparse.Namespace) -> None:
    """Each preset on a fleet of its own."""
    for preset in asked.preset or ("lan", "local"):
        names = asked.only or (list(TRIALS) if preset == "lan" or asked.preset else SHORT)
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"\n{asked.nodes} daemons, preset {preset}, on {os.cpu_count()} processors (load {load})")
        print(trials.HEAD, flush=True)
        with tempfile.TemporaryDirectory(prefix="meshd-bench-") as directory:
            async with Fleet(Path(directory), nodes=asked.nodes, preset=preset) as fleet:
                try:
                    await trials.bring_up(fleet)
                except TimeoutError as late:
                    trials.failed("bring-up", f"{late}; {fleet.lacking()}")
                    continue
                for name in names:
                    await _tried(name, fleet)


async def _tried(name: str, fleet: Fleet) -> None:
    """One trial; what does not come in time is a row that says so, and the next trial begins with all up again."""
    began = time.monotonic()
    try:
        await TRIALS[name](fleet)
    except TimeoutError as late:
        trials.failed(name, str(late))
        with contextlib.suppress(TimeoutError):  # then the next one says so, too
            await trials.all_up(fleet)
    print(f"{'':<4} {name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


async def main(asked: argparse.Namespace) -> None:
    """To the end, or to the limit, or until it is told to stop: all processes are ended in any case."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(LIMIT_S):
        await bench(asked)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in TRIALS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}; there are {', '.join(TRIALS)}")
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or not 4 <= int(text) <= 200:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 4 to 200")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """What can be asked."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    made.add_argument("--nodes", type=_count, default=40)
    made.add_argument("--only", type=_names, default=(), metavar="A,B", help=", ".join(TRIALS))
    made.add_argument("--preset", action="append", choices=("lan", "local", "wan"), help="lan and local unless told")
    return made


if __name__ == "__main__":
    try:
        asyncio.run(main(parser().parse_args()))
    except TimeoutError:
        sys.exit(f"not done within {LIMIT_S:g} s")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
