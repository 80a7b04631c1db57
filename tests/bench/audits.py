"""What the audit costs: submits with it and without in turns, the journal alone, and its verification."""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from meshd.observe.export import export
from meshd.observe.journal import Journal
from meshd.observe.verify import verify
from meshd.perform import OPEN
from protocol.audit import Act
from tests.bench.guest import echoing, guest, submit_here
from tests.bench.meter import heading, per_s, row, spread, took_ms

ROUNDS, BLOCK = 8, 25
IN_FLIGHT, TASKS = 64, 512
RECORDS = 200_000
VERIFIED = 3  # times; the best counts
ACT = Act("task.award", f"task/{'t' * 26}", "allow", iid="i" * 26, gid="g" * 26, more={"epoch": 1, "owner": "n" * 32})


async def audits(directory: Path) -> None:
    """A node whose audit is switched off and on again within one run; the switch exists here only."""
    heading("Audit: with and without, in turns: p50 / p99")
    async with echoing(directory, a="here@1") as hosts, guest(directory, hosts["a"], "mine@1") as (service, _, _):
        performer = service._engine._performer
        gate, observers = performer._gate, performer._observers

        def switch(*, is_on: bool) -> None:
            performer._gate = gate if is_on else OPEN
            performer._observers = observers if is_on else observers[1:]

        submit = partial(submit_here, service, "mine@1", "x")
        one: dict[bool, list[float]] = {True: [], False: []}
        many: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(ROUNDS):
            for is_on in (True, False):
                switch(is_on=is_on)
                one[is_on] += [await took_ms(submit) for _ in range(BLOCK)]
                many[is_on].append(await per_s(submit, TASKS, IN_FLIGHT))
        switch(is_on=True)
    for is_on, name in ((True, "with the audit"), (False, "without")):
        row(f"submit {name}", spread(one[is_on]))
        row(f"tasks/s at {IN_FLIGHT} in flight {name}", f"{statistics.median(many[is_on]):.0f}")
    row("submit, ratio of p50", f"{statistics.median(one[True]) / statistics.median(one[False]):.2f}")
    row("tasks/s, ratio", f"{statistics.median(many[True]) / statistics.median(many[False]):.2f}")
    await _files(directory / "journal")


async def _files(folder: Path) -> None:
    kept = Journal(folder, node="n" * 32, life=1)
    kept.add(ACT)
    await kept.settled()
    single = [await took_ms(lambda: _added(kept, 1)) for _ in range(50)]
    batch = [await took_ms(lambda: _added(kept, 64)) for _ in range(50)]
    row("journal, one record to disk", spread(single))
    row("journal, 64 records to disk", f"{spread(batch)}  {64e3 / statistics.median(batch):.0f}/s")
    for _ in range(RECORDS // 10_000):
        await _added(kept, 10_000)
    await kept.close()
    with tempfile.NamedTemporaryFile(dir=folder.parent) as exported:
        exported.writelines(export(folder))
        exported.flush()
        for name, path in (("directory", folder), ("export", Path(exported.name))):
            used: list[float] = []
            for _ in range(VERIFIED):
                began = time.process_time()  # of one core: what else runs here says nothing about it
                (verdict,) = verify(path).chains
                used.append(time.process_time() - began)
            row(f"verify, {name} of {verdict.records}", f"{verdict.records / min(used):.0f} records/s", ">= 250000/s")


async def _added(kept: Journal, count: int) -> None:
    for _ in range(count):
        kept.add(ACT)
    await kept.settled()
