"""Work that comes back to itself, over tasks and calls of two daemons in one process; recursion is another thing."""

from collections.abc import Callable

import pytest

from meshd.ports import Desk, Failed, Finished, Outcome, Work
from protocol import limits
from protocol.errors import MeshError
from tests.meshd.little_daemons import CAPABILITY, Actor, little_daemons

OTHER = "other@1"
Ask = Callable[[Desk, str, object], object]


async def submitted(desk: Desk, capability: str, input: object) -> object:
    return await desk.submit(capability, input, key="", is_awaited=True)


async def called(desk: Desk, capability: str, input: object) -> object:
    return await desk.call(capability, input, 10.0)


def passing(to: str, ask: Ask) -> Callable[[Work, Desk], object]:
    """Passes its input on, and tells how that was refused."""

    async def do(work: Work, desk: Desk) -> Outcome:
        try:
            return Finished(await ask(desk, to, work.input))  # type: ignore[misc]  # both are coroutines
        except MeshError as refusal:
            return Finished([refusal.code, refusal.message])

    return do


@pytest.mark.parametrize("first", [submitted, called])
@pytest.mark.parametrize("second", [submitted, called])
async def test_the_same_work_again_is_refused_with_its_path_over_tasks_and_calls(first: Ask, second: Ask) -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("one", passing(OTHER, first)))  # type: ignore[arg-type]  # an async function
        await mesh.start("b", Actor("two", passing(CAPABILITY, second), capability=OTHER))  # type: ignore[arg-type]  # so is this
        code, message = (await a.ended((await a.submit({"a": 1})).id)).result
        assert code == "cycle"
        assert f"{CAPABILITY} → {OTHER} → {CAPABILITY}" in message


@pytest.mark.parametrize("ask", [submitted, called])
async def test_the_same_capability_with_other_input_is_recursion_as_deep_as_hops_go(ask: Ask) -> None:
    async def factorial(work: Work, desk: Desk) -> Outcome:
        number = int(str(work.input))
        try:
            below = await ask(desk, CAPABILITY, number - 1) if number > 1 else 1  # type: ignore[misc]  # both are coroutines
        except MeshError as refusal:
            return Failed("agent_failed", refusal.message, retry=False)
        return Finished(number * int(str(below)))

    async with little_daemons() as mesh:
        a = await mesh.start("a", Actor("math", factorial, slots=2 * limits.HOPS_MAX))
        assert (await a.ended((await a.submit(5)).id)).result == 120
        deep = await a.ended((await a.submit(limits.HOPS_MAX + 2)).id)
        assert deep.error is not None
        assert "in a row" in deep.error.message
