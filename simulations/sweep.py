"""One scenario with many seeds, in several processes.

Invariant: what is printed, the digest over all included, is the same whatever the number of
processes. Neighbours: `running` says which world a seed means, `command` asks.
"""

import shlex
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path
from textwrap import wrap

from msgspec import Struct, structs

from simulations import report
from simulations.progress import Progress
from simulations.reports import files
from simulations.reports.gathering import Gathering, Measured, measured
from simulations.reports.observer import Observer
from simulations.reports.shapes import Seed
from simulations.running import NEVER_SEEN, PASSED, VIOLATED, Choice, print_paths
from simulations.scenario import Scenario
from simulations.sights import SIGHTS
from simulations.visible import visible
from simulations.workers import workers
from simulations.world import Verdict, World
from simulations.written import on_one_line

WIDTH = 120  # of what is printed
AHEAD = 4  # seeds that wait for each process; the rest of a long range is not arranged yet


class Result(Struct, frozen=True):
    """What came of one seed, small enough to be handed from process to process."""

    seed: int
    digest: str
    broken: tuple[tuple[str, float, str], ...]  # rule, seconds, in what way
    sights: dict[str, int]
    drawn: str  # the scenario on one line, when the seed drew it
    found: Measured | None = None  # for a report


def result(choice: Choice, seed: int) -> Result:
    """One seed."""
    scenario = choice.scenario(seed)
    return _result(choice, scenario, World(scenario, seed=seed).run())


def watched(choice: Choice, seed: int) -> Result:
    """One seed, measured for a report."""
    scenario = choice.scenario(seed)
    observer = Observer(scenario)
    verdict = World(scenario, seed=seed, watch=(observer.begin,)).run()
    return structs.replace(_result(choice, scenario, verdict), found=measured(scenario, verdict, observer))


def _result(choice: Choice, scenario: Scenario, verdict: Verdict) -> Result:
    broken = tuple((each.rule, each.at_s, each.what) for each in verdict.violations)
    drawn = on_one_line(scenario) if choice.swarm else ""
    return Result(verdict.seed, verdict.digest, broken, verdict.sights, drawn)


def sweep(
    choice: Choice,
    seeds: range,
    *,
    jobs: int,
    program: str,
    reports: Sequence[Path] = (),
    tell: files.Tell | None = None,
) -> int:
    """Every seed; failures with the commands that run them alone, replay and shrink them; the exit code."""
    expected = choice.scenario(seeds[0]).expect.sometimes
    whole = blake2b(digest_size=16)
    sights: Counter[str] = Counter()  # in how many runs each was seen
    failures = 0
    gathering = Gathering(choice.base()) if reports or tell else None
    progress = Progress(len(seeds))
    results = _results(watched if gathering else result, choice, seeds, jobs)
    for done, each in enumerate(_told_when_stopped(results, len(seeds), progress), start=1):
        whole.update(f"{each.seed} {each.digest}\n".encode())
        sights.update(each.sights.keys())
        if gathering is not None and each.found is not None:
            gathering.add(_row(choice, each, each.found, program), each.found, sights=each.sights)
        if each.broken:
            failures += 1
            progress.clear()
            print(_failed(choice, each, program))
        progress.at(done, f"{failures} failed" if failures else "")
    progress.clear()
    print(f"{choice.name}: {len(seeds) - failures} of {len(seeds)} seeds passed, digest {whole.hexdigest()}")
    print("\n".join(_saw(sights, len(seeds))))
    if gathering is not None:
        span = f"{seeds[0]}:{seeds[-1]}"
        again = shlex.join([*program.split(), "sweep", choice.name, "--seeds", span, *choice.options])
        files.save(
            gathering.report(
                name=choice.name, seeds=span, digest=whole.hexdigest(), command=again, is_drawn=choice.swarm
            ),
            reports,
            tell,
        )
        print_paths(reports)
    if failures:
        return VIOLATED
    never = [sight for sight in expected if not sights.get(sight)]
    for sight in never:
        print(f"{choice.name}: {sight} was never seen, in {len(seeds)} runs")
    return NEVER_SEEN if never else PASSED


def _told_when_stopped(results: Iterator[Result], seeds: int, progress: Progress) -> Iterator[Result]:
    """The same; how far it came is told when somebody stops it."""
    done = failed = 0
    try:
        for each in results:
            done, failed = done + 1, failed + bool(each.broken)
            yield each
    except KeyboardInterrupt:
        progress.clear()
        print(f"stopped after {done} of {seeds} seeds, {failed} of them failed", file=sys.stderr)
        raise


def _saw(sights: Counter[str], runs: int) -> list[str]:
    """What was seen in how many runs, the rare first, and what in none: of that such a sweep says nothing."""
    seen = [f"{name} {sights[name]}" for name in sorted(sights, key=lambda name: (sights[name], name))]
    told = [f"  seen, in how many of {runs} runs: {', '.join(seen) or 'nothing'}"]
    never = [name for name in SIGHTS if not sights[name]]
    told += [f"  never seen: {', '.join(never)}"] if never else []
    return [line for each in told for line in wrap(each, WIDTH, subsequent_indent="    ", break_on_hyphens=False)]


def _failed(choice: Choice, failed: Result, program: str) -> str:
    lines = [
        f"{choice.name}: VIOLATED {rule} at {at_s:.6f} s, seed {failed.seed}: {what}"
        for rule, at_s, what in failed.broken
    ]
    if failed.drawn:
        lines.append(f"  drawn: {failed.drawn}")
    lines.append(f"  run: {report.repeat(choice.name, failed.seed, options=choice.options, program=program)}")
    lines += report.further(choice.name, failed.seed, options=choice.options, program=program)
    return visible("\n".join(lines))


def _row(choice: Choice, each: Result, found: Measured, program: str) -> Seed:
    rule, at_s, what = each.broken[0] if each.broken else ("", None, "")
    return Seed(
        name=choice.name,
        seed=each.seed,
        passed=not each.broken,
        rule=rule,
        at_s=None if at_s is None else round(at_s, 6),
        what=what,
        digest=each.digest,
        nodes=found.nodes,
        messages_node_s=found.messages_node_s,
        bytes_node_s=found.bytes_node_s,
        whole_s=found.whole_s,
        command=report.repeat(choice.name, each.seed, options=choice.options, program=program),
        drawn=each.drawn if each.broken else "",
    )


def _results(one: Callable[[Choice, int], Result], choice: Choice, seeds: range, jobs: int) -> Iterator[Result]:
    """In the order of the seeds."""
    if jobs == 1:
        yield from (one(choice, seed) for seed in seeds)
        return
    waiting: deque[Future[Result]] = deque()
    with workers(min(jobs, len(seeds))) as pool:
        for seed in seeds:
            waiting.append(pool.submit(one, choice, seed))
            if len(waiting) >= jobs * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
