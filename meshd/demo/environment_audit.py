"""The agent `environment-audit@1`: audits the whole Python installation by sharing the pieces out over the mesh.

Invariant: one task for each piece, under this task's goal; each has a key of its own, so that an
audit that starts over (its node died) finds the answers that are already there instead of asking
for them again. Neighbours: `package_audit` does the pieces, `consolidation` adds them up.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from meshd.demo.consolidation import as_value, consolidate
from meshd.demo.pieces import Installation, Piece
from meshd.sdk import Agent, Context, MeshRefusal

PIECE = "package-audit@1"
CAPABILITY = "environment-audit@1"
AT_ONCE_MAX = 64
# What passes by itself; the key makes asking again safe. Half a minute and more, longer than a host takes to restart.
PASSING = frozenset({"cut_off", "detached", "not_ready", "overloaded", "timed_out", "unsettled"})
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)

Value = Mapping[str, object]

agent = Agent("environment-audit")


@agent.handles(CAPABILITY)
async def audit(ctx: Context, pieces: int = 0, at_once: int = 12) -> dict[str, Any]:
    """Audit the first `pieces` pieces (0: all), at most `at_once` of them under way, into one report."""
    chosen = Installation().pieces()[: pieces if pieces > 0 else None]
    await ctx.step("pieces listed", pieces=len(chosen))
    places = asyncio.Semaphore(max(1, min(at_once, AT_ONCE_MAX)))
    results: list[Value | None] = [None] * len(chosen)
    failures: list[dict[str, str]] = []

    async def one(index: int, piece: Piece) -> None:
        async with places:
            try:
                results[index] = await _audited(ctx, piece)
            except MeshRefusal as error:
                failures.append({"kind": piece.kind, "name": piece.name, "error": str(error)})
            ctx.progress({"done": sum(result is not None for result in results), "of": len(chosen)})

    async with asyncio.TaskGroup() as group:
        for index, piece in enumerate(chosen):
            group.create_task(one(index, piece))
    await ctx.step("pieces audited", pieces=len(chosen), failed=len(failures))
    report = consolidate([result for result in results if result is not None], failures)
    return {"asked": [f"{piece.kind}/{piece.name}" for piece in chosen], **report}


async def _audited(ctx: Context, piece: Piece) -> Value:
    """The answer for one piece; what passes by itself is waited out. Raises MeshRefusal."""
    work = {"kind": piece.kind, "name": piece.name}
    key = f"{ctx.task}/{piece.kind}/{piece.name}"
    for pause_s in PAUSES_S:
        try:
            return as_value(await ctx.submit(PIECE, work, key=key, wait=True))
        except MeshRefusal as refusal:
            if refusal.code not in PASSING:
                raise
        await asyncio.sleep(pause_s)
    return as_value(await ctx.submit(PIECE, work, key=key, wait=True))
