"""The same scene is the same run, whatever the interpreter hashes by; and a minute of ten nodes is soon over."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.meshd.virtual.stage import mesh, play

ROOT = Path(__file__).parents[3]
HERE = "from tests.meshd.virtual.test_determinism import trace; print(trace())"


def trace() -> str:
    """Every frame of a scene with work, a cut and a slow reader in it, as one digest."""

    async def scene() -> str:
        async with mesh("abcdef") as m:
            tasks = [await m["a"].submit(number, key=f"key {number}") for number in range(6)]
            m.wires.slow(m["b"].transport, 0.1, 0.4)
            m.wires.split([m["e"].transport, m["f"].transport])
            tasks += [await m["c"].submit(number) for number in range(6)]
            await asyncio.sleep(15.0)
            m.wires.heal()
            await m.until(m.is_one_view, 60.0, "one view")
            ended = [await m["d"].ended(task.id) for task in tasks]
            events = [str(event) for each in m.all for event in each.events]
            return f"{m.wires.carried} {m.wires.digest} {[task.owner_name for task in ended]} {len(events)}"

    return play(scene)


def _elsewhere(hash_seed: int) -> str:
    environ = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HERE]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_same_scene_is_the_same_run_under_other_hash_seeds() -> None:
    assert _elsewhere(1) == _elsewhere(2)


def test_the_same_scene_is_the_same_run_twice_in_one_process() -> None:
    assert trace() == trace()


def test_a_minute_of_ten_nodes_has_no_more_messages_than_they_need() -> None:
    async def scene() -> int:
        async with mesh("abcdefghij") as m:
            before = m.wires.carried
            await asyncio.sleep(60.0)
            assert m.is_one_view()
            assert m.dead() == set()
            return m.wires.carried - before

    assert play(scene) < 10 * 60 * 6  # a probe and its answer a second, what gossip repairs, the facts of load
