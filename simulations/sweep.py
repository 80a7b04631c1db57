"""One scenario with many seeds, in several processes.

Invariant: what is printed, the digest over all included, is the same whatever the number of
processes. Neighbours: `running` says which world a seed means, `command` asks.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from hashlib import blake2b
from multiprocessing import get_context

from msgspec import Struct

from simulations import report
from simulations.progress import Progress
from simulations.running import NEVER_SEEN, PASSED, VIOLATED, Choice
from simulations.scenario import ScenarioError
from simulations.world import World
from simulations.written import on_one_line

AHEAD = 4  # seeds that wait for each process; the rest of a long range is not arranged yet


class Result(Struct, frozen=True):
    """What came of one seed, small enough to be handed from process to process."""

    seed: int
    digest: str
    broken: tuple[tuple[str, float, str], ...]  # rule, seconds, in what way
    sights: dict[str, int]
    drawn: str  # the scenario on one line, when the seed drew it


def result(choice: Choice, seed: int) -> Result:
    """One seed."""
    scenario = choice.scenario(seed)
    verdict = World(scenario, seed=seed).run()
    broken = tuple((each.rule, each.at_s, each.what) for each in verdict.violations)
    drawn = on_one_line(scenario) if choice.swarm else ""
    return Result(seed, verdict.digest, broken, verdict.sights, drawn)


def sweep(choice: Choice, seeds: range, *, jobs: int, program: str) -> int:
    """Every seed; failures with the command that runs them alone; the exit code."""
    expected = choice.scenario(seeds[0]).expect.sometimes
    whole = blake2b(digest_size=16)
    sights: dict[str, int] = {}
    failures = 0
    progress = Progress(len(seeds))
    for done, each in enumerate(_results(choice, seeds, jobs), start=1):
        whole.update(f"{each.seed} {each.digest}\n".encode())
        for sight, count in each.sights.items():
            sights[sight] = sights.get(sight, 0) + count
        if each.broken:
            failures += 1
            progress.clear()
            print(_failed(choice, each, program))
        progress.at(done, f"{failures} failed" if failures else "")
    progress.clear()
    print(f"{choice.name}: {len(seeds) - failures} of {len(seeds)} seeds passed, digest {whole.hexdigest()}")
    if failures:
        return VIOLATED
    never = [sight for sight in expected if not sights.get(sight)]
    for sight in never:
        print(f"{choice.name}: {sight} was never seen, in {len(seeds)} runs")
    return NEVER_SEEN if never else PASSED


def _failed(choice: Choice, failed: Result, program: str) -> str:
    lines = [
        f"{choice.name}: VIOLATED {rule} at {at_s:.6f} s, seed {failed.seed}: {what}"
        for rule, at_s, what in failed.broken
    ]
    if failed.drawn:
        lines.append(f"  drawn: {failed.drawn}")
    lines.append(f"  run: {report.repeat(choice.name, failed.seed, options=choice.options, program=program)}")
    return "\n".join(lines)


def _results(choice: Choice, seeds: range, jobs: int) -> Iterator[Result]:
    """In the order of the seeds."""
    if jobs == 1:
        yield from (result(choice, seed) for seed in seeds)
        return
    waiting: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(min(jobs, len(seeds)), mp_context=get_context("spawn")) as pool:
        try:
            for seed in seeds:
                waiting.append(pool.submit(result, choice, seed))
                if len(waiting) >= jobs * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ScenarioError("a process of the sweep was killed; fewer --jobs need less memory") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
