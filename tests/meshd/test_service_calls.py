"""A call that fails says who failed it and where, on whichever node it was made."""

from meshd.api.problems import Decider, document
from meshd.ports import Desk, Failed, Outcome, Work
from tests.meshd.little_daemons import CAPABILITY, Actor, call, little_daemons, refused


async def test_a_call_that_an_agent_elsewhere_fails_names_agent_and_node() -> None:
    async def fail(_work: Work, _desk: Desk) -> Outcome:
        return Failed("agent_crashed", "no such customer", retry=False)

    async with little_daemons() as mesh:
        a = await mesh.start("a")
        b = await mesh.start("b", Actor("clerk", do=fail))
        failure = await refused(a.service.call(CAPABILITY, call()))
        said = document(failure, instance="/", decider=Decider(a.me.id, "a")).error
    assert said.message == "no such customer (agent clerk)"
    assert (said.node, said.node_name) == (b.me.id, "b")
    assert said.hint.startswith("see what it wrote with: meshctl agents logs clerk, on that node")
