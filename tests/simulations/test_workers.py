"""Processes that take a part of the work end with what they work for, whatever ends that."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulations.scenario import ScenarioError
from simulations.workers import workers

ROOT = Path(__file__).parents[2]
GONE_S = 10.0  # by then
WORK = """
import time
from simulations.workers import workers

if __name__ == "__main__":
    with workers(2) as pool:
        pids = {pool.submit(__import__("os").getpid).result() for _ in range(20)}
        tasks = [pool.submit(time.sleep, 600) for _ in pids]
        print(*pids, flush=True)
        [task.result() for task in tasks]
"""


def _is_there(pid: int) -> bool:
    """Does it run? One that nobody waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it is looked up there who runs")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_who_began_them_ends_they_end(ending: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    began = subprocess.Popen(
        [sys.executable, "work.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert began.stdout is not None
    pids = [int(word) for word in began.stdout.readline().split()]
    assert pids
    began.send_signal(ending)
    try:
        assert began.wait(GONE_S) != 0
        until = time.monotonic() + GONE_S
        while any(_is_there(pid) for pid in pids):
            assert time.monotonic() < until, "they are there still"
            os.sched_yield()
    finally:
        began.kill()
        began.stdout.close()


def test_one_that_was_killed_is_told_in_a_sentence() -> None:
    with pytest.raises(ScenarioError, match="a process was killed; fewer --jobs"), workers(1) as pool:
        pool.submit(os._exit, 3).result()
