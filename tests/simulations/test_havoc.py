"""Faults as they are carried out: who is hit when, and that everything is as before afterwards."""

from collections.abc import Callable

import pytest

from simulations.scenario import parsed
from simulations.trace import Line
from simulations.world import Verdict, World

HEAD = 'about = "x"\nnodes = 6\nrun_s = 30\nexpect.always = ["no-exception"]\n'


def _world(text: str, *, seed: int = 1) -> World:
    return World(parsed(HEAD + text, origin="here"), seed=seed)


def _spans(text: str, *, seed: int = 1) -> list[tuple[float, str]]:
    lines: list[Line] = []
    World(parsed(HEAD + text, origin="here"), seed=seed, write=lines.append).run()
    return [(round(line.at_ns / 1e9, 3), line.what.strip()) for line in lines if line.kind == "fault"]


def _reached(fault: str) -> dict[str, str]:
    """Whom each node reaches in the middle of the fault, `r` for the record."""
    world = _world(f"[[fault]]\nkind = 'partition'\n{fault}\nat_s = 5\nfor_s = 10\n")
    seen: dict[str, str] = {}

    def look() -> None:
        for name in world.hosts:
            others = [other for other in [*world.hosts, "record"] if other != name]
            seen[name] = "".join(other[-1] if other != "record" else "r" for other in others if _reach(name, other))

    def _reach(one: str, other: str) -> bool:
        return world.network.reaches(one, other) and world.network.reaches(other, one)

    world.timeline.at(int(10e9), look)
    world.run()
    assert all(world.network.reaches(one, other) for one in world.hosts for other in world.hosts), "healed"
    return seen


@pytest.mark.parametrize(
    ("fault", "reached"),
    [
        ("groups = [['n1-n2'], ['n3'], ['n4-n6']]\nrecord = 'n5'", ["2", "1", "", "56r", "46r", "45r"]),
        ("shape = 'halves'", ["23r", "13r", "12r", "56", "46", "45"]),
        ("shape = 'isolate'\nnodes = ['n2', 'n5']", ["346r", "", "146r", "136r", "", "134r"]),
        ("shape = 'ring'", ["26r", "13r", "24r", "35r", "46r", "15r"]),
        ("shape = 'bridge'\nnodes = ['n3']\nrecord = 'n1'", ["23r", "13r", "12456r", "356", "346", "345"]),
    ],
)
def test_a_partition_has_the_shape_that_was_asked_for(fault: str, reached: list[str]) -> None:
    assert list(_reached(fault).values()) == reached


def test_a_fault_of_a_span_comes_to_one_after_another_and_as_often_as_asked() -> None:
    text = "[[fault]]\nkind = 'pause'\nnode = 'n2-n3'\nat_s = 2\nfor_s = 1\nstep_s = 0.25\ntimes = 2\nevery_s = 4\n"
    begins = [(at, what) for at, what in _spans(text) if "begins" in what]
    assert begins == [
        (2.0, "pause begins n2"),
        (2.25, "pause begins n3"),
        (6.0, "pause begins n2"),
        (6.25, "pause begins n3"),
    ]
    assert len(_spans(text)) == 8


def test_a_swizzle_isolates_each_once_and_all_of_them_for_a_moment() -> None:
    text = "[[fault]]\nkind = 'partition'\nshape = 'swizzle'\nnodes = ['n1-n5']\nat_s = 5\nfor_s = 10\n"
    spans = _spans(text)
    assert [what.split()[1] for _, what in spans] == ["begins"] * 5 + ["ends"] * 5
    assert [at for at, _ in spans] == [5, 6, 7, 8, 9, 11, 12, 13, 14, 15]


def test_who_joins_later_is_not_there_before() -> None:
    world = _world("[[fault]]\nkind = 'join'\nnode = 'n4-n6'\nat_s = 10\nstep_s = 1\n")
    up: list[int] = []
    for at_s in (9, 10.5, 11.5, 12.5):
        world.timeline.at(int(at_s * 1e9), lambda: up.append(sum(host.is_up for host in world.hosts.values())))
    world.run()
    assert up == [3, 4, 5, 6]


def _run(text: str) -> Verdict:
    return _world(text + "[expect.eventually]\none-view = 10\n").run()


@pytest.mark.parametrize(
    "fault",
    [
        "kind = 'outage'",
        "kind = 'hold'",
        "kind = 'starve'\nnode = 'n2'",
        "kind = 'block'\nnode = 'n2'",
        "kind = 'slow'\nnode = 'n2'",
        "kind = 'links'\none = ['n2']\nlink = { loss = 0.8 }",
        "kind = 'links'\none = ['all']\nlink = { corrupt = 0.05, truncate = 0.05, oversize = 0.01, replay = 0.05 }",
        "kind = 'full-disk'\nnode = 'n2'",
    ],
)
def test_whatever_ails_the_mesh_for_a_while_it_has_one_view_again_afterwards(fault: str) -> None:
    verdict = _run(f"[[fault]]\n{fault}\nat_s = 5\nfor_s = 8\n")
    assert not verdict.violations, verdict.violations


def test_during_an_outage_nobody_is_linked_and_who_starts_is_cut_off() -> None:
    world = _world(
        "[[fault]]\nkind = 'outage'\nat_s = 5\nfor_s = 8\n[[fault]]\nkind = 'crash'\nnode = 'n3'\nat_s = 6\nfor_s = 1\n"
    )
    seen: list[tuple[int, int]] = []
    for at_s in (4.9, 12.9, 14.0):
        world.timeline.at(
            int(at_s * 1e9),
            lambda: seen.append(
                (sum(host.is_up for host in world.hosts.values()), sum(host.is_linked for host in world.hosts.values()))
            ),
        )
    world.run()
    assert seen == [(6, 6), (6, 0), (6, 6)]


def test_what_a_broker_held_comes_in_a_burst() -> None:
    lines: list[Line] = []
    text = HEAD + "[[fault]]\nkind = 'hold'\nat_s = 10\nfor_s = 4\n"
    World(parsed(text, origin="here"), seed=1, write=lines.append).run()
    at = [line.at_ns / 1e9 for line in lines if line.kind == "message"]
    assert not [each for each in at if 10 < each < 14]
    assert len([each for each in at if 14 <= each < 14.02]) > 40


def test_what_is_said_after_a_hold_does_not_overtake_what_was_held() -> None:
    lines: list[Line] = []
    text = HEAD + "broker.flush_per_s = 150\n[[fault]]\nkind = 'hold'\nat_s = 10\nfor_s = 4\n"
    World(parsed(text, origin="here"), seed=1, write=lines.append).run()
    causes: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        if line.kind == "message":
            causes.setdefault((line.node, line.what.rpartition(" ")[2]), []).append(line.cause)
    assert len([line for line in lines if line.kind == "message" and 14.1 < line.at_ns / 1e9 < 14.5]) > 40
    assert all(said == sorted(said) for said in causes.values())


def test_nobody_can_be_seen_for_certain_before_all_that_was_held_has_come() -> None:
    world = _world("broker.flush_per_s = 300\n[[fault]]\nkind = 'hold'\nat_s = 10\nfor_s = 4\n")
    clear_s: list[float] = []
    for at_s in (14.1, 29.0):
        world.timeline.at(int(at_s * 1e9), lambda: clear_s.append(world.network.clear_since_ns("n1", "n2") / 1e9))
    world.run()
    assert clear_s[0] == 14.1
    assert 14.1 < clear_s[1] < 29.0


@pytest.mark.parametrize(
    "other",
    [
        "kind = 'outage'\nat_s = 4\nfor_s = 4",
        "kind = 'unlink'\nnode = 'n2'\nat_s = 4\nfor_s = 4",
        "kind = 'crash'\nnode = 'n2'\nat_s = 7\nfor_s = 1",
    ],
)
def test_who_is_kept_off_the_broker_stays_so_whatever_else_ends_or_begins_meanwhile(other: str) -> None:
    world = _world(f"[[fault]]\nkind = 'unlink'\nnode = 'n2'\nat_s = 6\nfor_s = 9\n[[fault]]\n{other}\n")
    linked: list[bool] = []
    for at_s in (3.0, 9.0, 14.9, 15.1):
        world.timeline.at(int(at_s * 1e9), lambda: linked.append(world.hosts["n2"].is_linked))
    world.run()
    assert linked == [True, False, False, True]


@pytest.mark.parametrize("kind", ["crash", "pause", "starve", "block", "slow", "unlink", "full-disk"])
def test_of_two_faults_of_a_node_at_once_the_end_of_one_is_not_that_of_the_other(kind: str) -> None:
    def state(world: World) -> tuple[object, ...]:
        host = world.hosts["n2"]
        late = host.intake.late_s, host.intake.cost_ns, host.intake._is_held
        return host.is_up, host.is_paused, host.kept_off, host.disk.is_full, *late

    _lasts_as_long_as_any(f"kind = '{kind}'\nnode = 'n2'\n", state)


@pytest.mark.parametrize("kind", ["stall", "outage", "hold", "lose-acks", "stale-reads"])
def test_of_two_faults_of_the_mesh_at_once_the_end_of_one_is_not_that_of_the_other(kind: str) -> None:
    def state(world: World) -> tuple[object, ...]:
        store, broker = world.store, world._broker
        return store._is_stalled, store._acks_lost, store._stale[0], broker.is_down, broker._is_still

    _lasts_as_long_as_any(f"kind = '{kind}'\n", state)


def _lasts_as_long_as_any(fault: str, state: Callable[[World], tuple[object, ...]]) -> None:
    """From the first beginning to the last end."""
    world = _world(f"[[fault]]\n{fault}at_s = 5\nfor_s = 4\n[[fault]]\n{fault}at_s = 7\nfor_s = 6\n")
    states: list[tuple[object, ...]] = []
    for at_s in (4.9, 6.0, 10.0, 13.6):
        world.timeline.at(int(at_s * 1e9), lambda: states.append(state(world)))
    world.run()
    assert [each == states[0] for each in states] == [True, False, False, True]


def test_the_last_of_two_faults_says_how_much_and_then_the_first_again() -> None:
    world = _world(
        "[[fault]]\nkind = 'slow'\nnode = 'n2'\ncost_ms = 5\nat_s = 5\nfor_s = 9\n"
        "[[fault]]\nkind = 'slow'\nnode = 'n2'\ncost_ms = 20\nat_s = 7\nfor_s = 4\n"
    )
    costs: list[int] = []
    for at_s in (6, 8, 12, 15):
        world.timeline.at(int(at_s * 1e9), lambda: costs.append(world.hosts["n2"].intake.cost_ns // 1_000_000))
    world.run()
    assert costs == [5, 20, 5, 0]


def _ahead(world: World, at: tuple[int, ...]) -> list[float]:
    """Seconds that the clock of n2 is ahead at each of these seconds."""
    ahead: list[float] = []
    for at_s in at:
        world.timeline.at(int(at_s * 1e9), lambda: ahead.append(round(world.hosts["n2"].clock.ahead_s, 3)))
    world.run()
    return ahead


def test_a_clock_goes_on_drifting_when_what_set_it_before_ends() -> None:
    world = _world(
        "[[fault]]\nkind = 'clock'\nnode = 'n2'\nahead_s = 1\nat_s = 5\nfor_s = 10\n"
        "[[fault]]\nkind = 'clock'\nnode = 'n2'\ndrift = 0.1\nat_s = 8\nfor_s = 20\n"
    )
    assert _ahead(world, (7, 10, 14, 16, 29)) == [1.0, 0.2, 0.6, 0.8, 0.0]


def test_a_drift_that_another_clock_fault_covered_goes_on_from_where_it_would_be() -> None:
    world = _world(
        "[[fault]]\nkind = 'clock'\nnode = 'n2'\nahead_s = 1\ndrift = 0.1\nat_s = 5\nfor_s = 20\n"
        "[[fault]]\nkind = 'clock'\nnode = 'n2'\nahead_s = 9\nat_s = 8\nfor_s = 7\n"
    )
    assert _ahead(world, (7, 10, 16, 20, 26)) == [1.2, 9.0, 2.1, 2.5, 0.0]


def test_who_is_blocked_reads_nothing_when_it_goes_on() -> None:
    world = _world(
        "[[fault]]\nkind = 'pause'\nnode = 'n2'\nat_s = 5\nfor_s = 4\n"
        "[[fault]]\nkind = 'block'\nnode = 'n2'\nat_s = 7\nfor_s = 9\n"
    )
    held: list[bool] = []
    for at_s in (8, 12, 20):
        world.timeline.at(int(at_s * 1e9), lambda: held.append(world.hosts["n2"].intake._is_held))
    world.run()
    assert held == [True, True, False]


def test_who_has_no_connection_writes_nothing_either() -> None:
    lines: list[Line] = []
    text = HEAD + "store.acks_lost = 0.9\n[[fault]]\nkind = 'unlink'\nnode = 'n1-n6'\nat_s = 6\nfor_s = 9\n"
    World(parsed(text, origin="here"), seed=1, write=lines.append).run()
    wrote = [line.at_ns / 1e9 for line in lines if line.kind in ("stored", "sight")]
    assert not [at for at in wrote if 6.2 < at < 15]
    assert [at for at in wrote if at < 6]


def test_a_fault_that_comes_after_the_end_is_told_as_that_and_one_that_lasts_to_the_end_is_none() -> None:
    pauses = "[[fault]]\nkind = 'pause'\nnode = 'n1'\nat_s = 20\nfor_s = 2\ntimes = 4\nevery_s = 5\n"
    (missed,) = _world(pauses).run().violations
    assert (missed.rule, missed.what) == (
        "faults-happen",
        "pause at 35 s never began: the run ended before",
    )
    assert not _world("[[fault]]\nkind = 'pause'\nnode = 'n1'\nat_s = 20\nfor_s = 60\n").run().violations


def test_a_disk_that_is_full_lets_no_new_life_begin() -> None:
    world = _world(
        "[[fault]]\nkind = 'full-disk'\nnode = 'n2'\nat_s = 4\nfor_s = 8\n"
        "[[fault]]\nkind = 'crash'\nnode = 'n2'\nat_s = 6\nfor_s = 1\n"
    )
    up: list[bool] = []
    for at_s in (5.0, 11.9, 13.0):
        world.timeline.at(int(at_s * 1e9), lambda: up.append(world.hosts["n2"].is_up))
    world.run()
    assert up == [True, False, True]


def test_a_fault_that_is_taken_out_moves_nothing_that_happened_before_it() -> None:
    def until(text: str) -> list[str]:
        lines: list[Line] = []
        World(parsed(HEAD + "link = { loss = 0.05 }\n" + text, origin="here"), seed=3, write=lines.append).run()
        return [str(line)[9:] for line in lines if line.at_ns < 12e9 and line.kind != "fault"]

    late = "[[fault]]\nkind = 'partition'\nshape = 'swizzle'\nnodes = ['n1-n4']\nat_s = 12\nfor_s = 8\n"
    assert until(late) == until("")


def test_a_daemon_that_is_not_there_yet_cannot_be_stopped_and_starts_as_any_other() -> None:
    text = 'about = "x"\nnodes = 2\nrun_s = 8\n[[fault]]\nkind = "pause"\nnode = "n1"\nat_s = 0.01\nfor_s = 2\n'
    assert not World(parsed(text + "[expect.eventually]\none-view = 4\n", origin="x"), seed=1).run().violations


@pytest.mark.parametrize(
    ("before", "ups"),
    [
        (("leave", 3, 7, ""), [False, True, False, False]),
        (("full-disk", 3, 16, ""), [False, False, False, False]),
        (("skew", 17, 2, "shape = 'newer'\n"), [False, True, False, False]),
    ],
)
def test_who_crashed_for_ever_stays_down_whatever_ends_afterwards_or_was_to_begin(
    before: tuple[str, float, float, str], ups: list[bool]
) -> None:
    kind, at_s, for_s, more = before
    crash = "[[fault]]\nkind = 'crash'\nnode = 'n2'\n"
    world = _world(
        f"[[fault]]\nkind = '{kind}'\nnode = 'n2'\nat_s = {at_s}\nfor_s = {for_s}\n{more}"
        f"{crash}at_s = 5\nfor_s = 2\n{crash}at_s = 15\n"
    )
    seen: list[bool] = []
    for looked_s in (6, 12, 16, 29):
        world.timeline.at(int(looked_s * 1e9), lambda: seen.append(world.hosts["n2"].is_up))
    world.run()
    assert seen == ups


def test_who_is_to_come_back_while_it_still_leaves_does_when_it_has_left() -> None:
    world = _world("[[fault]]\nkind = 'leave'\nnode = 'n2'\nat_s = 10\nfor_s = 0.05\n")
    lives: list[tuple[bool, int]] = []
    for at_s in (9.9, 10.1, 12):
        world.timeline.at(int(at_s * 1e9), lambda: lives.append((world.hosts["n2"].is_well, world.hosts["n2"].life)))
    world.run()
    (_, first), leaving, (is_well, last) = lives
    assert leaving == (False, first)
    assert is_well
    assert last > first


def test_a_disk_is_lost_in_the_crash_that_says_so_however_long_another_lasts() -> None:
    world = _world(
        "[[fault]]\nkind = 'crash'\nnode = 'n2'\ndisk = 'lost'\nat_s = 10\nfor_s = 3\n"
        "[[fault]]\nkind = 'crash'\nnode = 'n2'\nat_s = 11\nfor_s = 9\n"
    )
    blank: list[bool] = []
    for at_s in (9, 12, 19, 21):
        world.timeline.at(int(at_s * 1e9), lambda: blank.append(world.hosts["n2"].disk.is_blank))
    world.run()
    assert blank == [False, True, True, False]
