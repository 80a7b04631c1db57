"""Several processes that each take a part of the work: none of them outlives what it works for.

Invariant: Ctrl-C ends each at once and without a traceback; when the process that began them is gone, by
whatever signal, or goes on without them, they are gone, too. Neighbours: `sweep` and `grids.samples` give work.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from signal import SIG_DFL, SIGINT, signal
from threading import Thread

from simulations.scenario import ScenarioError

ORPHANED = 1


@contextmanager
def workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many. Raises ScenarioError when one of them was killed."""
    others = active_children()
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException as error:
        for child in active_children():
            if child not in others:
                child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise ScenarioError("a process was killed; fewer --jobs need less memory") from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """What each does first."""
    signal(SIGINT, SIG_DFL)
    Thread(target=_follow, name="follows", daemon=True).start()


def _follow() -> None:
    """It waits for the end of who began it; asked for work by nobody it would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(ORPHANED)
