"""Shrinking: a long plan in which a defect shows becomes a few actions on a few nodes that show the same defect."""

from pathlib import Path
from weakref import WeakSet

import pytest
from msgspec import structs

from protocol.effects import Effect, Emit
from protocol.errors import INTERRUPTED
from protocol.events import PeerDead
from protocol.inputs import Input, LinkChanged
from protocol.node import Node
from protocol.primitives import Instant
from simulations.chance import Chance
from simulations.command import main
from simulations.faults import Starve
from simulations.progress import Progress
from simulations.running import BAD_SCENARIO, PASSED, VIOLATED
from simulations.scenario import Scenario, parsed
from simulations.shrink import _smaller, shrunk
from simulations.store import StoreModel
from simulations.swarm import drawable, several
from simulations.world import World
from simulations.written import written

BASE = """
about = "twelve nodes, two hundred faults"
nodes = 12
run_s = 60
preset = "local"
link = { loss = 0.01, duplicate = 0.02 }
work = { tasks = 40, from_s = 3, every_s = 0.5 }
[expect]
always = ["no-exception", "lawful-records"]
eventually = { tasks-end = 0 }
"""


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that lost its connection forgets something, and stumbles over it when it finds a peer dead."""
    handle, hurt = Node.handle, WeakSet[Node]()

    def broken(self: Node, input: Input, now: Instant) -> list[Effect]:
        effects = handle(self, input, now)
        if isinstance(input, LinkChanged) and not input.up:
            hurt.add(self)
        if self in hurt and any(isinstance(each, Emit) and isinstance(each.event, PeerDead) for each in effects):
            raise KeyError("forgotten")
        return effects

    monkeypatch.setattr(Node, "handle", broken)


def _long(*, nodes: int = 12, each: int = 40) -> Scenario:
    base, chance = structs.replace(parsed(BASE, origin="base"), nodes=nodes), Chance(5)
    kinds = [
        kind for kind in drawable() if str(kind.__struct_config__.tag) in ("crash", "pause", "unlink", "clock", "stall")
    ]
    rng = chance.stream("test", "plan")
    faults = [fault for kind in kinds for fault in several(kind, base.names, rng, count=each, begin_s=6, until_s=55)]
    return structs.replace(base, fault=tuple(sorted(faults, key=lambda fault: fault.at_s)))


def test_two_hundred_actions_become_a_few_on_a_few_nodes(defect: None) -> None:
    plan = _long()
    assert len(plan.fault) == 200
    small = shrunk(plan, seed=1)
    left = small.scenario
    assert small.violation.rule == "no-exception"
    assert small.runs < 200
    assert len(left.fault) <= 6
    assert left.nodes <= 5
    assert left.run_s < plan.run_s
    assert left.link.loss == 0
    assert left.link.delay.p50_ms == left.link.delay.p99_ms
    again = World(parsed(written(left), origin="left"), seed=1).run()
    assert [each.rule for each in again.violations] == ["no-exception"]
    assert "forgotten" in again.violations[0].what


def test_regions_keep_their_share_of_the_nodes() -> None:
    parted = structs.replace(parsed(BASE, origin="base"), regions={"eu": ("n1-n8",), "us": ("n9-n12",)})
    (small, *_) = _smaller(parted, 3, run_s=60)
    assert small.regions == {"eu": ("n1-n2",), "us": ("n3",)}
    assert [each.regions for each in _smaller(structs.replace(parted, regions={}), 3, run_s=60)] == [{}, {}, {}]


def test_what_is_left_is_a_file_that_fails_when_it_is_run_with_the_printed_command(
    defect: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("long.toml").write_text(written(_long(nodes=4, each=8)))
    assert main(["run", "long.toml", "--once", "--trace", "long.trace"]) == VIOLATED
    said = capsys.readouterr().out
    assert "VIOLATED no-exception" in said
    assert "shrink: python -m simulations shrink long.toml --seed 1" in said
    assert main(["shrink", "long.trace", "--runs", "12"]) == PASSED
    printed = capsys.readouterr().out.splitlines()
    command = printed[-1].removeprefix("  run: python -m simulations ").split()
    assert command == ["run", "long-1-small.toml", "--seed", "1"]
    assert main(command) == VIOLATED


def test_who_stops_it_has_the_smallest_so_far(
    defect: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(self: Progress, done: int, note: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Progress, "at", stop)
    Path("long.toml").write_text(written(_long(nodes=4, each=8)))
    assert main(["shrink", "long.toml"]) == INTERRUPTED
    assert "smallest so far" in capsys.readouterr().err
    assert len(parsed(Path("long-1-small.toml").read_text(), origin="small").fault) < 40


def test_where_nothing_is_broken_there_is_nothing_to_make_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "calm.toml").write_text('about = "x"\nnodes = 2\nrun_s = 3\n')
    assert main(["shrink", str(tmp_path / "calm.toml")]) == BAD_SCENARIO
    assert "nothing is broken" in capsys.readouterr().err


def test_what_cannot_be_opened_is_refused_and_a_trace_takes_no_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junk = tmp_path / "junk.trace"
    junk.write_bytes(b"\x00\xff" * 99)
    assert main(["shrink", str(junk)]) == BAD_SCENARIO
    assert "is no trace" in capsys.readouterr().err
    assert main(["shrink", str(junk), "--seed", "3"]) == BAD_SCENARIO
    assert "no --set, --swarm, --seed" in capsys.readouterr().err
    assert main(["shrink", str(tmp_path / "none.trace")]) == BAD_SCENARIO


def test_a_promise_that_is_not_kept_is_made_small_as_well() -> None:
    cut = '[[fault]]\nkind = "one-way"\nsrc = ["n3"]\ndst = ["n4"]\nat_s = 2\nfor_s = 8\n'
    stall = '[[fault]]\nkind = "stall"\nat_s = 3\nfor_s = 2\n'
    head = 'about = "x"\nnodes = 4\nrun_s = 14\npreset = "local"\nwork = { tasks = 8, from_s = 6 }\n'
    head += "agents = { runs_s = [3, 4] }\n"
    plan = parsed(f"{head}{cut}{stall}[expect]\neventually = {{ tasks-done = 0 }}\n", origin="x")
    small = shrunk(plan, seed=2, runs_max=20)
    assert small.violation.rule == "tasks-done"
    assert len(small.scenario.fault) <= 1
    assert small.scenario.nodes == 2
    assert small.scenario.expect.eventually == {"tasks-done": 0}


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_runs_are_taken_than_are_allowed_and_the_first_is_one_of_them(most: int) -> None:
    head = 'about = "x"\nnodes = 4\nrun_s = 5\nexpect.never = ["fault-began"]\n'
    plan = parsed(head + '[[fault]]\nkind = "pause"\nnode = "n2"\nat_s = 2\nfor_s = 1\n', origin="x")
    assert shrunk(plan, seed=1, runs_max=most).runs == most


def test_single_keys_go_back_to_what_is_usual_and_gaps_in_time_are_closed() -> None:
    text = """
about = "x"
nodes = 4
run_s = 40
preset = "local"
join_s = 3
store = { acks_lost = 0.1, repeat_s = 0.5 }
membership = { verifiers = 2, suspicion_s_min = 1.2 }
work = { tasks = 2, from_s = 3, every_s = 0.2 }
[[fault]]
kind = "one-way"
src = ["n1", "n2"]
dst = ["n3", "n4"]
at_s = 6
for_s = 8
[[fault]]
kind = "stall"
at_s = 20
for_s = 4
times = 2
every_s = 5
[expect]
always = []
never = ["islanded"]
"""
    small = shrunk(parsed(text, origin="x"), seed=1, runs_max=60)
    left = small.scenario
    assert small.violation.rule == "never islanded"
    assert [str(fault.__struct_config__.tag) for fault in left.fault] == ["stall"]
    assert (left.fault[0].times, left.fault[0].for_s) == (1, 4)
    assert left.fault[0].at_s < 3, "it need not wait for what is no more"
    assert left.nodes == 2
    assert (left.store, left.membership, left.work.tasks, left.join_s) == (StoreModel(), {}, 0, 1.0)


def test_a_fault_of_several_is_made_one_of_one_node_and_its_particulars_go() -> None:
    text = """
about = "x"
nodes = 4
run_s = 20
preset = "local"
[[fault]]
kind = "starve"
node = "n1-n4"
at_s = 3
for_s = 10
late_s = [0.9, 2.0]
step_s = 0.1
[expect]
always = []
never = ["peer-suspect"]
"""
    (fault,) = shrunk(parsed(text, origin="x"), seed=1, runs_max=60).scenario.fault
    assert written(structs.replace(parsed(BASE, origin="b"), fault=(fault,))).count("late_s") == 0
    assert isinstance(fault, Starve)
    assert fault.node in ("n1", "n2", "n3", "n4")
    assert fault.step_s == 0


def test_a_scenario_in_python_is_made_small_by_the_command_that_its_failure_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        'about = "too dear"\\nnodes = 3\\nrun_s = 5\\nstart = "known"\\nexpect = { figures = { messages-node-s = 0 } }'
    )
    Path("dear.py").write_text(
        f'from simulations.scenario import parsed\ndef scenario():\n    return parsed("""{text}""", origin="here")\n'
    )
    assert main(["run", "dear.py", "--seed", "3", "--once"]) == VIOLATED
    command = capsys.readouterr().out.split("shrink: python -m simulations ")[1].split()
    assert main(command) == PASSED
    assert main(["run", "dear-3-small.toml", "--seed", "3", "--once"]) == VIOLATED
