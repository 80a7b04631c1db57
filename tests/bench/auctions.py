"""An auction from end to end, and tasks a second over four nodes, against plain nats-py in the same run.

Three nodes offer the work; the fourth, in this process, has none of it and gives it to them. The floor of a
task is the two synced writes of its record, as large as the record is: with the input, then with the result.
"""

import statistics
from functools import partial
from pathlib import Path

from meshd.service import Service
from tests.bench.actor import SUBJECT
from tests.bench.guest import echoing, guest, submit_here
from tests.bench.latency import IN_FLIGHT, RAW, RECORD, plain, two_writes
from tests.bench.meter import Act, heading, per_s, row, side_by_side, spread

WORK = "work@1"
BIDDERS = 3
VALUE = {"text": "x" * 240}
SIZES = {"256 B": 256, "16 KiB": 16_384}
ROUNDS, BLOCK = 8, 20
TURNS, TASKS = 3, 400  # turns of each rate, so that noise meets all of them alike


async def auctions(directory: Path) -> None:
    """Nodes a (with the server), b and c do the work; a guest submits it."""
    async with (
        echoing(directory, **dict.fromkeys("abc", WORK)) as hosts,
        guest(directory, hosts["a"], "mine@1") as (service, credential, url),
        plain(url, credential) as client,
    ):
        bucket = await client.jetstream().create_key_value(bucket="floor", history=1)
        acts: dict[str, Act] = {
            "raw request to another process": lambda: client.request(SUBJECT, RAW, timeout=5),
            "floor: create and update of nats-py, synced": two_writes(bucket),
            "submit, given by gossip": lambda: submit_here(service, WORK, VALUE, route="gossip"),
            f"submit, {BIDDERS} bids": lambda: submit_here(service, WORK, VALUE, route="bids"),
        }
        heading("Auctions: p50 / p99, and p50 against a raw request of the same run")
        await _bids_of_one(service)
        found = await side_by_side(acts, rounds=ROUNDS, block=BLOCK)
        raw = statistics.median(next(iter(found.values())))
        for name, values in found.items():
            row(name, f"{spread(values)}  x {statistics.median(values) / raw:.2f}")
        heading(f"Tasks a second over four nodes, {IN_FLIGHT} in flight")
        for size, count in SIZES.items():
            write = two_writes(bucket, RECORD + bytes(count), RECORD + bytes(2 * count))
            submit = partial(submit_here, service, WORK, {"text": "x" * (count - 16)})
            rates: dict[str, list[float]] = {"floor": [], "tasks": []}
            for _ in range(TURNS):
                rates["floor"].append(await per_s(write, TASKS, IN_FLIGHT))
                rates["tasks"].append(await per_s(submit, TASKS, IN_FLIGHT))
            floor, tasks = (statistics.median(each) for each in rates.values())
            row(f"floor: create and update of nats-py, {size}", f"{floor:.0f} /s")
            row(f"tasks, {size}", f"{tasks:.0f} /s  x {tasks / floor:.2f} of the floor", ">= 0.35 of the floor")


async def _bids_of_one(service: Service) -> None:
    """What is measured is what it says: a task for which all of them bid."""
    task = await submit_here(service, WORK, VALUE, route="bids")
    (round_,) = (await service.why(task)).rounds
    row("bids for one task", str(sum(each.said == "bid" for each in round_.answers)), str(BIDDERS))
