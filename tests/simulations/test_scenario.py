"""Scenarios from TOML: what is wrong with one is said with its key."""

import os
from pathlib import Path

import pytest

from simulations.scenario import ScenarioError, named, parsed, stock
from simulations.written import written

HEAD = 'about = "x"\nnodes = 3\nrun_s = 30\n'

WRONG = {
    "unknown key": ("speed = 3\n", "speed"),
    "unknown fault": ('[[fault]]\nkind = "flood"\nat_s = 1\n', "flood"),
    "negative time": ('[[fault]]\nkind = "stall"\nat_s = -1\nfor_s = 1\n', "fault[0].at_s"),
    "missing field": ('[[fault]]\nkind = "stall"\nat_s = 1\n', "for_s"),
    "unknown node": ('[[fault]]\nkind = "crash"\nnode = "n9"\nat_s = 1\n', "there is no node 'n9'"),
    "unknown node of a span": (
        '[[fault]]\nkind = "pause"\nnode = "n2-n5"\nat_s = 1\nfor_s = 1\n',
        "there is no node 'n4'",
    ),
    "span backwards": (
        '[[fault]]\nkind = "pause"\nnode = "n3-n1"\nat_s = 1\nfor_s = 1\n',
        "fault[0]: there is no node 'n3-n1'",
    ),
    "overlapping spans": (
        '[[fault]]\nkind = "partition"\ngroups = [["n1-n2"], ["n2-n3"]]\nat_s = 1\n',
        "fault[0].groups: n2 stands in two groups",
    ),
    "unknown shape": ('[[fault]]\nkind = "partition"\nshape = "star"\nat_s = 1\n', "fault[0].shape"),
    "endless swizzle": ('[[fault]]\nkind = "partition"\nshape = "swizzle"\nat_s = 1\n', "for_s: a swizzle ends"),
    "faults that overlap themselves": (
        '[[fault]]\nkind = "outage"\nat_s = 1\nfor_s = 5\ntimes = 3\nevery_s = 4\n',
        "fault[0].every_s: it begins again",
    ),
    "one way to oneself": (
        '[[fault]]\nkind = "one-way"\nsrc = ["n1"]\ndst = ["n1"]\nat_s = 1\n',
        "fault[0].dst: no node is cut off from another",
    ),
    "one way from nobody": ('[[fault]]\nkind = "one-way"\nsrc = []\ndst = ["n1"]\nat_s = 1\n', "fault[0].src"),
    "a link to oneself": (
        '[[fault]]\nkind = "links"\none = ["n1"]\nother = ["n1"]\nlink = { loss = 1 }\nat_s = 1\n',
        "fault[0].other: there is no link between these",
    ),
    "links as before": ('[[fault]]\nkind = "links"\none = ["n1"]\nlink = {}\nat_s = 1\n', "fault[0].link: it says"),
    "a link of oneself": ('[[link.between]]\none = ["n1"]\nother = ["n1"]\nlink = { loss = 1 }\n', "link.between[0]"),
    "a clock that is right": ('[[fault]]\nkind = "clock"\nnode = "n1"\nat_s = 1\n', "fault[0].ahead_s"),
    "a share of nothing": ('[[fault]]\nkind = "lose-acks"\nshare = 0\nat_s = 1\nfor_s = 1\n', "fault[0].share"),
    "a pose as oneself": (
        '[[fault]]\nkind = "impostor"\nnode = "n3"\nof = "n3"\nshape = "key"\nat_s = 1\n',
        "fault[0].of: it poses as itself",
    ),
    "lies of oneself": (
        '[[fault]]\nkind = "attack"\nnode = "n3"\nof = "n3"\nshape = "bury"\nat_s = 1\nfor_s = 1\n',
        "fault[0].of: it tells lies of others",
    ),
    "two other versions at once": (
        '[[fault]]\nkind = "skew"\nshape = "newer"\nnode = "all"\nstep_s = 1\nat_s = 1\nfor_s = 5\n'
        '[[fault]]\nkind = "skew"\nshape = "older"\nnode = "n3"\nat_s = 6\nfor_s = 5\n',
        "fault[1].at_s: n3 is in the midst of fault[0] at 6 s",
    ),
    "a tail before the median": ("[link]\ndelay = { p50_ms = 50 }\n", "p99_ms: 5 is below p50_ms, which is 50"),
    "a burst too short for its share": (
        "[link]\nloss = 0.9\nburst = 2\n",
        "burst: to lose 0.9 of all takes 9 in a row",
    ),
    "a link that cannot be otherwise as well": (
        '[link]\ncorrupt = 0.6\n[[fault]]\nkind = "links"\none = ["n1"]\nlink = { truncate = 0.6 }\nat_s = 1\n',
        "fault[0].link.corrupt: with truncate and oversize it is more than all",
    ),
    "the key of a link": (
        '[[fault]]\nkind = "links"\none = ["n1"]\nlink = { delay = { p50_ms = -1 } }\nat_s = 1\n',
        "here.toml: fault[0].link.delay.p50_ms: Expected float > 0.0",
    ),
    "work after the end": ("work = { tasks = 3, from_s = 30 }\n", "work.from_s: 30 is after the end of the run"),
    "a promise about no work": ("[expect.eventually]\nhands-empty = 3\n", "expect.eventually.hands-empty: there is no"),
    "a sight that must be and must not": (
        '[expect]\nsometimes = ["peer-dead"]\nnever = ["peer-dead"]\n',
        "expect.never: peer-dead is in expect.sometimes, too",
    ),
    "a span of time that ends before it begins": ("agents.runs_s = [3, 1]\n", "runs_s: the least is above the most"),
    "who reads late, never": (
        '[[fault]]\nkind = "starve"\nnode = "n1"\nlate_s = [0, 0]\nat_s = 1\n',
        "late_s: the least and the most",
    ),
    "negative delay": ("[link]\ndelay = { p50_ms = -1 }\n", "link.delay.p50_ms"),
    "impossible link": ('[[fault]]\nkind = "links"\none = ["n1"]\nlink = { loss = 3 }\nat_s = 1\n', "loss"),
    "link of nobody": (
        '[[link.between]]\none = ["n7"]\nother = ["n1"]\nlink = { loss = 1 }\n',
        "link.between[0]: there is no node 'n7'",
    ),
    "links otherwise of nobody": (
        '[[link.between]]\none = []\nother = ["n1"]\nlink = { loss = 1 }\n',
        "link.between[0].one: there is nobody in it",
    ),
    "links otherwise by nothing": (
        '[[link.between]]\none = ["n2"]\nother = ["n1"]\nlink = {}\n',
        "link.between[0].link: there is nothing in it",
    ),
    "shares of no kind": ("[link]\nkinds = []\n", "here.toml: link.kinds: there is none in it; name some"),
    "shares of no kind between some": (
        '[[link.between]]\none = ["n2"]\nother = ["n1"]\nlink = { kinds = [] }\n',
        "link.between[0].link.kinds: there is none in it",
    ),
    "shares of no kind for a while": (
        '[[fault]]\nkind = "links"\none = ["n1"]\nlink = { kinds = [] }\nat_s = 1\n',
        "fault[0].link.kinds: there is none in it",
    ),
    "a region of nobody": ("[regions]\nb = []\n", "regions.b: there is nobody in it"),
    "unknown danger": ('[expect]\nnever = ["ufo"]\n', "expect.never: there is no 'ufo'"),
    "fault after the end": ('[[fault]]\nkind = "crash"\nnode = "n1"\nat_s = 31\n', "after the end of the run"),
    "overlapping groups": (
        '[[fault]]\nkind = "partition"\ngroups = [["n1"], ["n1", "n2"]]\nrecord = "n1"\nat_s = 1\n',
        "n1 stands in two groups",
    ),
    "one group": (
        '[[fault]]\nkind = "partition"\ngroups = [["n1"]]\nat_s = 1\n',
        "fault[0].groups: one group is cut off from nobody",
    ),
    "group of nobody": (
        '[[fault]]\nkind = "partition"\ngroups = [[], ["n2"]]\nat_s = 1\n',
        "fault[0].groups[0]: there is nobody in it",
    ),
    "groups and a shape": (
        '[[fault]]\nkind = "partition"\ngroups = [["n1"], ["n2"]]\nshape = "halves"\nat_s = 1\n',
        "fault[0].shape: it has groups, and so no shape",
    ),
    "groups and nodes": (
        '[[fault]]\nkind = "partition"\ngroups = [["n1"], ["n2"]]\nnodes = ["n3"]\nat_s = 1\n',
        "fault[0].nodes: a partition in groups is of all nodes",
    ),
    "a shape that takes no nodes": (
        '[[fault]]\nkind = "partition"\nshape = "ring"\nnodes = ["n3"]\nat_s = 1\n',
        "fault[0].nodes: shape ring is of all nodes; some are named for isolate, bridge, swizzle alone",
    ),
    "shape of nobody": (
        '[[fault]]\nkind = "partition"\nshape = "bridge"\nnodes = []\nat_s = 1\n',
        "fault[0].nodes: there is nobody in it",
    ),
    "share above one": ("[link]\nloss = 1.5\n", "link.loss"),
    "unknown predicate": ('[expect]\nalways = ["peace"]\n', "expect.always: there is no 'peace'"),
    "mistyped predicate": ('[expect]\nalways = ["one-reslt"]\n', "there is no 'one-reslt'; did you mean one-result?"),
    "mistyped fault": (
        '[[fault]]\nkind = "crsh"\nnode = "n1"\nat_s = 1\n',
        "Invalid value 'crsh' - at $.fault[0].kind; did you mean crash?",
    ),
    "mistyped message": ('[link]\nkinds = ["Pong"]\n', "link.kinds: there is no message 'Pong'; did you mean Ping?"),
    "unknown promise": ("[expect]\neventually = { peace = 3 }\n", "expect.eventually: there is no 'peace'"),
    "unknown sight": ('[expect]\nsometimes = ["ufo"]\n', "expect.sometimes: there is no 'ufo'"),
    "promise after the end": ("[expect]\neventually = { one-view = 60 }\n", "run_s"),
    "unknown preset": ('preset = "moon"\n', "preset: there is no 'moon'"),
    "unknown node for work": ('[work]\nat = "n7"\n', "work.at"),
    "unknown routing": ('routing = "fair"\n', "routing: there is no 'fair'"),
    "unknown route": ('[work]\nroute = "fast"\n', "work.route"),
    "odd agent of nobody": ("[agents.odd]\nn9 = { slower = 10 }\n", "agents.odd: there is no node 'n9'"),
    "setting out of range": ("[tasks]\nlease_s = 0.1\n", "tasks.lease_s"),
    "region of nobody": ('[regions]\neast = ["n2-n4"]\n', "regions.east: there is no node 'n2-n4'"),
    "region of a span backwards": ('[regions]\neast = ["n3-n1"]\n', "regions.east: there is no node 'n3-n1'"),
    "region of all": ('[regions]\neast = ["all"]\n', "regions.east: there is no node 'all'"),
    "region of no node": ('[regions]\neast = ["east"]\n', "regions.east: there is no node 'east'"),
    "node in two regions": (
        '[regions]\neast = ["n1-n2"]\nwest = ["n2-n3"]\n',
        "regions.west: n2 stands in east already",
    ),
    "name of no region": ('[regions]\n"Far East" = ["n1"]\n', "regions: 'Far East' is no name of a region; it must be"),
    "region that is no list": ('[regions]\neast = "n1"\n', "regions"),
    "no TOML": ("nodes = = 3\n", "line 4"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_bad_scenario_is_refused_with_its_origin_and_key(what: str) -> None:
    text, told = WRONG[what]
    with pytest.raises(ScenarioError) as caught:
        parsed(HEAD + text, origin="here.toml")
    assert str(caught.value).startswith("here.toml: ")
    assert told in str(caught.value)


def test_every_scenario_of_the_stock_can_be_read_and_says_what_it_is_about() -> None:
    assert len(stock()) >= 10
    assert all(parsed(text, origin=name).about for name, text in stock().items())


def test_a_name_that_is_neither_of_the_stock_nor_a_file_is_answered_with_what_there_is() -> None:
    with pytest.raises(ScenarioError, match="quiet-join"):
        named("nowhere")


def test_a_folder_and_a_file_of_another_kind_are_said_to_be_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"is a folder; name a \.toml file in it"):
        named(str(tmp_path))
    notes = tmp_path / "notes.txt"
    notes.write_text("nothing")
    with pytest.raises(ScenarioError, match=r"is no \.toml file"):
        named(str(notes))


@pytest.mark.parametrize("name", [f"{what}.{end}" for what in ("missing", "folder", "pipe") for end in ("toml", "py")])
def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path, name: str) -> None:
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    elif name.startswith("pipe"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ScenarioError, match=r"cannot be read: (is a directory|there is no such file|it is a pipe)"):
        named(str(tmp_path / name))


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_text('about = "from an editor"\nnodes = 2\nrun_s = 3\n', encoding="utf-8-sig")
    assert named(str(path)).about == "from an editor"


@pytest.mark.parametrize(("codec", "start"), [("utf-16", 0), ("latin-1", 9)])
def test_a_file_of_another_encoding_is_refused_with_the_cure(tmp_path: Path, codec: str, start: int) -> None:
    path = tmp_path / "elsewhere.toml"
    path.write_text('about = "\u00fcber Nacht"\nnodes = 2\nrun_s = 3\n', encoding=codec)
    said = f"cannot be read: it is no UTF-8 at byte {start}; save it as UTF-8$"
    with pytest.raises(ScenarioError, match=said):
        named(str(path))


def test_a_file_without_an_end_is_refused_and_so_is_no_name_at_all(tmp_path: Path) -> None:
    endless = tmp_path / "endless.toml"
    endless.symlink_to("/dev/zero")
    with pytest.raises(ScenarioError, match="has more than 16 MiB"):
        named(str(endless))
    with pytest.raises(ScenarioError, match="the name of a scenario is empty"):
        named("")


PROGRAM = """
from simulations.faults import Pause
from simulations.scenario import Expectation, Scenario


def scenario() -> Scenario:
    pauses = tuple(Pause(node=f"n{number}", at_s=3.0 * number, for_s=1.0) for number in range(1, {last}))
    return Scenario(about="one after another stands still", nodes=3, run_s=30, fault=pauses)
"""


def test_a_python_file_makes_the_same_scenario_as_the_text_of_it(tmp_path: Path) -> None:
    path = tmp_path / "pauses.py"
    path.write_text(PROGRAM.replace("{last}", "4"))
    made = named(str(path))
    assert [fault.at_s for fault in made.fault] == [3, 6, 9]
    assert parsed(written(made), origin="text") == made


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PROGRAM.replace("{last}", "5"), "fault[3]: there is no node 'n4'"),
        ("scenario = 3\n", "there is no function scenario()"),
        ("def scenario():\n    return 3\n", "returned int, not a Scenario"),
        ("def scenario(:\n", "cannot be read"),
        ("import sys\nsys.exit(0)\n", ", line 2: SystemExit: 0"),
        (
            "def scenario():\n    return inner()\n\ndef inner():\n    raise ValueError('no')\n",
            ", line 5: ValueError: no",
        ),
        (PROGRAM.replace("nodes=3", "nodez=3").replace("{last}", "4"), ", line 8: TypeError: "),
        (PROGRAM.replace("nodes=3", "nodes=object()").replace("{last}", "4"), "a Scenario with what none can have"),
    ],
)
def test_what_is_wrong_with_a_python_scenario_is_said_with_its_file(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        named(str(path))
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)
