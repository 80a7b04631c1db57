"""People who are not as they should be: what they say arrives, and what they want does not come about."""

from collections import Counter

import pytest

from protocol.events import FrameRefused, PeerMisbehaved
from simulations.checks_bounds import Honest
from simulations.scenario import ScenarioError, parsed
from simulations.seen import Happened, Span
from simulations.timeline import ns
from simulations.trace import Line
from simulations.world import Verdict, World

HEAD = 'about = "x"\nnodes = 4\nrun_s = 24\n'
END = "[expect.eventually]\none-view = 5\n"


def _run(fault: str, *, expect: str = "") -> tuple[Verdict, World, list[str]]:
    lines: list[Line] = []
    world = World(parsed(f"{HEAD}{expect}[[fault]]\n{fault}\n{END}", origin="here"), seed=1, write=lines.append)
    verdict = world.run()
    return verdict, world, [f"{line.node} {line.what}" for line in lines if line.kind == "event"]


def _attack(shape: str, *, of: str = "all") -> tuple[Verdict, World, list[str]]:
    return _run(f"kind = 'attack'\nshape = '{shape}'\nnode = 'n4'\nof = '{of}'\nat_s = 6\nfor_s = 8")


@pytest.mark.parametrize(
    ("shape", "trace"),
    [
        ("accuse", "PeerSuspect"),
        ("bury", "PeerSuspect"),
        ("inflate", "PeerSuspect"),
        ("outbid", "PeerSuspect"),
        ("ahead", "unknown_life"),
        ("pose", "wrong_signer"),
        ("invent", "not_admitted"),
        ("relay", "echo"),
        ("boast", "version=1099511627776"),
    ],
)
def test_a_lie_is_heard_and_kills_renames_and_adds_nobody(shape: str, trace: str) -> None:
    verdict, world, events = _attack(shape)
    assert not verdict.violations, verdict.violations
    assert not [event for event in events if "PeerDead" in event or "NameConflict" in event]
    assert shape == "relay" or [event for event in events if trace in event]
    assert {len(host.node.membership.snapshot()) for host in world.hosts.values()} == {4}


def test_who_answers_every_refutation_with_a_higher_accusation_makes_nobody_speak_oftener_than_they_may() -> None:
    verdict, world, events = _attack("outbid", of="n2")
    refuted = [event for event in events if event.startswith("n2 AccusationRefuted")]
    assert refuted, "it spoke up"
    assert verdict.sent["Alive"] < 8 / world.settings.membership.refute_interval_s * 4
    assert not verdict.violations


def test_an_idle_one_keeps_what_it_was_given_until_its_deadline_and_what_ended_before_is_done() -> None:
    text = 'about = "x"\nnodes = 3\nrun_s = 30\n[agents]\nruns_s = [0.2, 0.4]\n[tasks]\ndeadline_s = 8\n'
    work = '[work]\ntasks = 12\nfrom_s = 4\nevery_s = 0.3\nat = "n2"\nroute = "broadcast"\n'
    idle = '[[fault]]\nkind = "attack"\nshape = "idle"\nnode = "n3"\nat_s = 5\nfor_s = 6\n'
    world = World(parsed(text + work + idle, origin="here"), seed=1)
    verdict = world.run()
    ends = Counter((record.state.value, record.owner == world.hosts["n3"].id) for record in world.store.records())
    assert 0 < ends[("failed", True)] <= 4
    assert sum(count for (state, _), count in ends.items() if state == "done") == 12 - ends[("failed", True)]
    assert not verdict.violations


def test_an_attack_is_of_whom_it_names_and_ends_when_it_should() -> None:
    verdict, world, events = _attack("accuse", of="n2")
    suspected = Counter(event.partition("name='")[2][:2] for event in events if "PeerSuspect" in event)
    assert set(suspected) == {"n2"}
    assert world.hosts["n2"].node.membership.incarnation > 10 > world.hosts["n3"].node.membership.incarnation
    assert not verdict.violations


def test_an_impostor_bears_the_name_and_is_somebody_else() -> None:
    fault = "kind = 'impostor'\nshape = 'name'\nnode = 'n4'\nof = 'n2'\nat_s = 6\nfor_s = 6"
    verdict, world, events = _run(fault)
    assert not verdict.violations, verdict.violations
    assert [event for event in events if "NameConflict(name='n2'" in event]
    assert world.hosts["n4"].known_as == "n4"
    assert not world.hosts["n4"].is_up


@pytest.mark.parametrize(
    ("crash", "times", "ups"), [((9, 9), 1, "0100000"), ((9, 9), 2, "0100010"), ((2, 2), 1, "0110000")]
)
def test_who_only_poses_is_there_while_it_poses_and_is_not_gone(crash: tuple[int, int], times: int, ups: str) -> None:
    pose = f"kind = 'impostor'\nnode = 'n4'\nof = 'n2'\nat_s = 6\nfor_s = 6\ntimes = {times}\nevery_s = 10"
    gone = f"kind = 'crash'\nnode = 'n4'\nat_s = {crash[0]}\nfor_s = {crash[1]}"
    world = World(parsed(f"{HEAD}[[fault]]\n{pose}\n[[fault]]\n{gone}\n", origin="here"), seed=1)
    seen: list[bool] = []
    for at_s in (5, 8, 10, 13, 17, 19, 23):
        world.timeline.at(ns(at_s), lambda: seen.append(world.hosts["n4"].is_up))
    world.run()
    assert "".join(str(int(each)) for each in seen) == ups


def test_the_older_of_two_with_one_key_says_so_and_is_well_again_in_its_next_life() -> None:
    twin = "kind = 'impostor'\nshape = 'key'\nnode = 'n4'\nof = 'n2'\nat_s = 6\nfor_s = 4"
    verdict, world, events = _run(f"{twin}\n[[fault]]\nkind = 'crash'\nnode = 'n2'\nat_s = 14\nfor_s = 1")
    assert not verdict.violations, verdict.violations
    assert [event for event in events if event.startswith("n2 FrameRefused(code='twin'")]
    assert world.hosts["n2"].is_well


@pytest.mark.parametrize("shape", ["newer", "older"])
def test_a_daemon_of_another_version_is_one_of_us(shape: str) -> None:
    verdict, _, events = _run(f"kind = 'skew'\nshape = '{shape}'\nnode = 'n2'\nat_s = 6\nfor_s = 6")
    assert not verdict.violations, verdict.violations
    unknown = [event for event in events if "unknown_kind" in event]
    assert bool(unknown) == (shape == "newer")
    assert sum("restarted=True" in event for event in events) == 6, "three others see two new lives"


def test_what_a_stranger_says_is_refused() -> None:
    junk = _run("kind = 'stranger'\nshape = 'junk'\nat_s = 6\nfor_s = 5")
    replay = _run("kind = 'stranger'\nshape = 'replay'\nlate_s = 5\nat_s = 6\nfor_s = 10")
    assert not junk[0].violations
    assert not replay[0].violations
    codes = [{event.partition("code='")[2].partition("'")[0] for event in each[2]} for each in (junk, replay)]
    assert {"bad_magic", "too_short", "bad_header"} <= codes[0]
    assert "replayed" in codes[1]


def test_whose_key_somebody_has_may_be_called_a_liar_and_nobody_else() -> None:
    world = World(parsed(HEAD, origin="here"), seed=1)
    check, ids = Honest(world), {name: host.id for name, host in world.hosts.items()}

    def said(event: PeerMisbehaved | FrameRefused) -> str | None:
        return check.on(Happened("n1", 1, event))

    strange = FrameRefused("wrong_signer", "nobody", "", 1)
    assert said(strange)
    check.on(Span("attack", ("n4",), is_on=True))
    assert said(strange) is said(PeerMisbehaved(ids["n4"], "unknown_life", "")) is None
    assert said(FrameRefused("wrong_signer", ids["n4"], "", 1)) is None
    assert said(PeerMisbehaved(ids["n2"], "unknown_life", ""))
    assert said(FrameRefused("wrong_signer", ids["n2"], "", 1))


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("kind = 'attack'\nshape = 'flatter'\nnode = 'n4'\nat_s = 6\nfor_s = 8", "flatter"),
        ("kind = 'attack'\nshape = 'accuse'\nnode = 'n4'\nof = 'n9'\nat_s = 6\nfor_s = 8", "n9"),
        ("kind = 'attack'\nshape = 'accuse'\nnode = 'n4'\nat_s = 6", "for_s"),
        ("kind = 'attack'\nshape = 'accuse'\nnode = 'n4'\nat_s = 6\nfor_s = 0", "for_s"),
        ("kind = 'impostor'\nnode = 'n4'\nof = 'all'\nat_s = 6", "fault.0..of: it poses as one node"),
        ("kind = 'stranger'\nshape = 'junk'\nat_s = 6\nfor_s = 1\ngap_s = 0", "gap_s"),
        ("kind = 'skew'\nshape = 'other'\nnode = 'n4'\nat_s = 6", "other"),
    ],
)
def test_people_that_cannot_be_are_refused_with_the_key(fault: str, problem: str) -> None:
    with pytest.raises(ScenarioError, match=problem):
        parsed(f"{HEAD}[[fault]]\n{fault}\n", origin="here")
