"""How a daemon goes: nothing new is taken, what is in hand is finished, and what could not be is named.

Invariant: every wait has an end, and a short one where nothing can be written. Neighbours: `app` calls this
when it is told to stop, and takes down the parts afterwards.
"""

import asyncio
import contextlib
import logging

from meshd.wiring import Wired
from protocol.inputs import Drain, Leave

FLUSH_S_MAX = 5.0  # for the last writes
CUT_OFF_S_MAX = 1.0  # for the same when no server answers, or none that writes
NAMED_MAX = 8  # tasks that one line of the log names


async def leave(wired: Wired, *, drain_s: float, log: logging.Logger) -> None:
    """Take nothing new, finish what is in hand if it ends in `drain_s`, say goodbye, flush."""
    engine, performer, holder = wired.engine, wired.performer, wired.engine.node.holder
    engine.put(Drain(on=True, cause="leaving"))

    def is_done() -> bool:
        wait_in_vain = 0 if engine.node.link.is_usable else len(holder.unwritten())  # they wait for a server
        return not wired.hosting.working and holder.in_hand <= wait_in_vain

    def has_stopped() -> bool:
        """What was given back is told once no agent is at it any more."""
        return holder.in_hand <= len(holder.unwritten())

    try:
        async with asyncio.timeout(drain_s):
            await engine.until(is_done)
    except TimeoutError:
        if wired.hosting.working:
            log.warning("%d tasks and calls were not done within %g s", wired.hosting.working, drain_s)
    engine.put(Leave())
    flush_s = FLUSH_S_MAX if engine.node.link.is_usable else CUT_OFF_S_MAX
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(flush_s):
            await engine.until(lambda: not engine.waiting and not performer.writes_waiting and has_stopped())
    _name_unwritten(holder.unwritten(), log)
    await wired.auditing.stop(flush_s)
    wired.outlet.flush()
    await wired.transport.flush()
    performer.refuse_all("not_ready", state="stopping")


def _name_unwritten(tasks: tuple[str, ...], log: logging.Logger) -> None:
    """Ends that never came into the record are lost with this life; their tasks are not."""
    if tasks:
        named = ", ".join(sorted(tasks)[:NAMED_MAX]) + (", ..." if len(tasks) > NAMED_MAX else "")
        what = "the results of %d tasks were not written, and are lost with this daemon: %s; others do these tasks anew"
        log.warning(what, len(tasks), named)
