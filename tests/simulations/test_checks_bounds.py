"""Rules of any node, as they depend on time and on the size of the mesh."""

from simulations.checks import CHECKS
from simulations.checks_bounds import IDLE_PER_S, IDLE_S, QUIET_S
from simulations.scenario import parsed
from simulations.seen import Said, Span
from simulations.timeline import ns
from simulations.world import World


def test_an_idle_mesh_says_little_once_nothing_is_left_to_say() -> None:
    world = World(parsed('about = "x"\nnodes = 3\nrun_s = 600\n', origin="x"), seed=1)
    most = int(IDLE_PER_S * IDLE_S * 3)
    for at_s, count, is_broken in ((QUIET_S + 1, most, False), (QUIET_S + 1, most + 1, True), (1.0, most + 1, False)):
        check = CHECKS["quiet"](world)
        check.on(Span("crash", ("n1",), is_on=True))
        world.timeline.now_ns = ns(at_s)
        said = [check.on(Said("n1", "Digest")) for _ in range(count)]
        assert any(each is not None for each in said) is is_broken
        world.timeline.now_ns = 0
