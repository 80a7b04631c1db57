"""What the benches measure with: the printed table, medians, and what the kernel says of a process.

Invariant: a figure is printed with its aim and judged by nobody. Neighbours: every bench here.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

Act = Callable[[], Awaitable[object]]


def heading(text: str) -> None:
    """The title of a group of rows."""
    print(f"\n{text}\n{'figure':<50} {'measured':<38} aim", flush=True)


def row(figure: str, measured: str, aim: str = "") -> None:
    """One line of the table."""
    print(f"{figure:<50} {measured:<38} {aim}".rstrip(), flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def took_ms(act: Act) -> float:
    """How long one act took, in milliseconds."""
    began = time.perf_counter()
    await act()
    return (time.perf_counter() - began) * 1e3


async def side_by_side(acts: dict[str, Act], *, rounds: int, block: int) -> dict[str, list[float]]:
    """Durations in milliseconds of every act, taken in turns, so that noise meets all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in acts}
    for act in acts.values():  # once for nothing: connections, caches
        for _ in range(5):
            await act()
    for _ in range(rounds):
        for name, act in acts.items():
            found[name] += [await took_ms(act) for _ in range(block)]
    return found


async def per_s(act: Act, count: int, in_flight: int) -> float:
    """Acts a second, `count` of them, with so many under way."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await act()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return count / (time.perf_counter() - began)


def spread(values: Sequence[float], unit: str = "ms") -> str:
    """Median and 99th percentile."""
    return f"{statistics.median(values):.2f} / {percentile(values, 0.99):.2f} {unit}"


def cpu_s(pid: int) -> float:
    """User and system time that a process has used, with the children it waited for left out."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident and proportional set size, MiB."""
    sizes = {"Rss": 0.0, "Pss": 0.0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0]) / 1024
    return sizes["Rss"], sizes["Pss"]


def switches(pid: int) -> int:
    """How often the process has gone to sleep by itself: about one a wake-up."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])
    return 0
