"""A call that fails says who failed it and where, on whichever node it was made."""

import pytest

from meshd.api.problems import Decider, document
from meshd.api.schemas import CallRequest
from meshd.ports import Desk, Failed, Outcome, Work
from protocol.errors import MeshError
from tests.meshd.little_daemons import CAPABILITY, Actor, little_daemons


async def test_a_call_that_is_refused_is_on_record_with_who_asked() -> None:
    async with little_daemons() as mesh:
        a = await mesh.start("a")
        with pytest.raises(MeshError) as caught:
            await a.service.call(CAPABILITY, CallRequest(input="x"), principal="operator")
        assert a.audits.refusals == [("call.refuse", f"capability/{CAPABILITY}", "operator", "no_agent")]
        assert len(str(caught.value.fields["iid"])) == 26
        await mesh.start("b", Actor("clerk"))
        await a.service.call(CAPABILITY, CallRequest(input="x"), principal="operator")
        assert len(a.audits.refusals) == 1


async def test_a_call_that_an_agent_elsewhere_fails_names_agent_and_node() -> None:
    async def fail(_work: Work, _desk: Desk) -> Outcome:
        return Failed("agent_crashed", "no such customer", retry=False)

    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", Actor("clerk", do=fail))
        with pytest.raises(MeshError) as caught:
            await a.service.call(CAPABILITY, CallRequest(input="x"))
        said = document(caught.value, instance="/", decider=Decider(a.me.id, "a")).error
    assert said.message == "no such customer (agent clerk)"
    assert (said.node, said.node_name) == (b.me.id, "b")
    assert said.hint.startswith("see what it wrote with: meshctl agents logs clerk, on that node")
