"""Pages: everything is in them, every picture is XML, nothing is fetched, and no text becomes markup."""

import re
from xml.etree import ElementTree

import pytest
from msgspec import structs

from simulations.reports import pictures
from simulations.reports.files import page
from simulations.reports.shapes import FaultSpan, Frame, Report, RunReport
from simulations.reports.style import SCRIPT
from simulations.reports.ticket import ticket
from simulations.scenario import parsed
from tests.simulations.reports.conftest import HOSTILE, SMALL, gathered, reported, small

SECTIONS = (
    "Verdicts",
    "Over time",
    "Faults",
    "Agreement",
    "Messages sent, per node and second",
    "Bytes sent, per node and second",
    "Who takes whom for what",
    "How soon it was known",
    "Detection",
    "Spread",
    "Messages by kind",
    "Work",
    "What was run",
)


def _pictures(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def test_every_section_stands_in_the_page_of_a_run(passing: RunReport) -> None:
    heads = re.findall(r"<h[23]>(.*?)</h[23]>", page(passing))
    assert [name for name in SECTIONS if name not in heads] == []
    assert "What was broken" not in heads


def test_the_page_of_a_failure_says_what_broke_and_draws_what_led_to_it(failing: RunReport) -> None:
    text = page(failing)
    assert "What was broken" in text
    assert failing.broken[0].rule in text
    drawn = next(each for each in _pictures(text) if each.get("aria-label") == "The last steps before the break")
    assert sum("cause" in (each.get("class") or "").split() for each in drawn.iter("text")) == len(
        failing.space_time.ancestry if failing.space_time else ()
    )


@pytest.mark.parametrize("name", ["passing", "failing", "sweeping"])
def test_every_picture_is_well_formed(name: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(name)
    assert len(_pictures(page(report))) > 3


@pytest.mark.parametrize("name", ["passing", "failing", "sweeping"])
def test_nothing_is_fetched(name: str, request: pytest.FixtureRequest) -> None:
    text = page(request.getfixturevalue(name))
    assert "http" not in text.replace("http-equiv", "")
    assert not re.findall(r"\ssrc=|@import|url\((?!#)", text)
    assert all(target.startswith("#frame-") for target in re.findall(r'href="([^"]*)"', text))


def test_hostile_names_and_sentences_stay_text() -> None:
    text = page(
        reported(parsed(SMALL.replace("four nodes", HOSTILE.replace("\u202e", "\\u202E")), origin=""), name=HOSTILE)
    )
    assert "onload=alert" in text
    assert "<svg onload" not in text
    assert "\u202e" not in text
    assert text.count("<script>") == text.count("</script>") == 1
    assert f"<script>{SCRIPT}</script>" in text


def test_the_ribbon_says_beside_its_bar_who_was_cut_off_from_whom(passing: RunReport) -> None:
    (drawn,) = (each for each in _pictures(page(passing)) if each.get("aria-label") == "Faults over time")
    assert [each.text for each in drawn.iter("text") if each.get("class") == "sides"] == ["n1 record / n2-n4"]
    assert "partition: n1 record / n2-n4, from 20 s to 22 s" in [each.text for each in drawn.iter("title")]


def test_partitions_of_other_sides_are_rows_of_their_own_and_no_words_beside_a_bar_are_too_long() -> None:
    odd, even = ([f"n{number}" for number in range(first, 200, 2)] for first in (1, 2))
    cut = '[[fault]]\nkind = "partition"\nfor_s = 0.5\n'
    head = 'about = "x"\nnodes = 200\nrun_s = 2\nstart = "known"\nwire = "none"\nexpect.always = []\n'
    report = reported(parsed(f"{head}{cut}at_s = 0.5\n{cut}at_s = 1.2\ngroups = {[odd, even]}\n", origin="here"))
    picture = ElementTree.fromstring(pictures.ribbon(report))
    beside = [each.text or "" for each in picture.iter("text") if each.get("class") == "sides"]
    assert beside == ["n1-n100 record / n101-n200", "n1 n3 n5 n7 and 97 more / n2 n4 n6 n8 and 95 more"]


def _names_of_rows(report: RunReport) -> list[str]:
    picture = ElementTree.fromstring(pictures.ribbon(report))
    return [next(each.itertext()) for each in picture.iter("text") if each.get("class") == "name"]


def test_of_many_partitions_those_that_differ_in_sides_alone_are_one_row_and_who_crashed_is_named(
    passing: RunReport,
) -> None:
    apart = [
        FaultSpan("partition", (), 5.0 + number, 20.0, "isolate", ((f"n{number}",), ("record",)))
        for number in range(1, 21)
    ]
    crashes = [FaultSpan("crash", (f"n{number}",), 1.0, None) for number in range(1, 17)]
    assert _names_of_rows(structs.replace(passing, faults=(*apart[:16],))) == ["partition isolate"] * 16
    assert _names_of_rows(structs.replace(passing, faults=(crashes[0], *apart))) == [
        "crash n1",
        "partition isolate ×20",
    ]
    assert _names_of_rows(structs.replace(passing, faults=(*crashes, *apart))) == ["crash ×16", "partition ×20"]


def test_a_row_of_several_bars_says_in_its_name_who_was_cut_off_and_not_across_them(passing: RunReport) -> None:
    again = [FaultSpan("partition", (), at_s, at_s + 1, "", (("n1",), ("n2-n4",))) for at_s in (5.0, 8.0, 11.0)]
    report = structs.replace(passing, faults=(*again,))
    assert 'class="sides"' not in pictures.ribbon(report)
    assert _names_of_rows(report) == ["partition n1 / n2-n4"]


@pytest.mark.parametrize("name", ["passing", "sweeping"])
def test_on_a_narrow_screen_what_a_rule_says_stands_below_its_name(name: str, request: pytest.FixtureRequest) -> None:
    text = page(request.getfixturevalue(name))
    narrow = text.partition("@media (max-width:")[2].partition("@media")[0]
    assert '<table class="rules">' in text
    assert ".rules tr{display:flex" in narrow
    assert ".rules td.w{flex:1 0 100%}" in narrow


def test_of_what_was_measured_the_words_have_a_row_of_their_own(passing: RunReport) -> None:
    heads = len(("", "cases", "never", "median", "p99", "longest"))
    for each in (*passing.detection, *passing.spread):
        assert (f'<tr><td class="note" colspan="{heads}">{each.about}</td></tr>' in page(passing)) == bool(each.count)


def test_the_policy_of_the_page_allows_its_own_script_alone(passing: RunReport) -> None:
    policy = re.findall(r'Content-Security-Policy" content="(.*?)"', page(passing))
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]
    assert "script-src 'sha256-" in policy[0]


def test_the_same_seed_gives_the_same_page(passing: RunReport) -> None:
    assert page(reported(small())) == page(passing)
    assert page(reported(small(), seed=4)) != page(passing)


def test_every_id_is_there_once_and_everything_that_is_used_is_there(passing: RunReport) -> None:
    text = page(passing)
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text))
    used = {one or other for one, other in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)}
    assert used <= set(ids)


def test_where_frames_were_not_encoded_no_bytes_are_shown_and_the_page_says_why() -> None:
    scenario = parsed('about = "x"\nnodes = 2\nrun_s = 3\nwire = "none"\n', origin="x")
    report, many = reported(scenario), gathered(scenario, range(1, 3))
    assert {kind.bytes for kind in report.traffic.kinds} == {None}
    assert (report.traffic.bytes_node_s, report.traffic.bytes_node_s_mean) == ((), None)
    assert not [figure.name for figure in many.figures if "bytes" in figure.name]
    for each in (report, many):
        text, why = page(each), "Frames were not encoded"
        assert text.count(why) == 1
        assert [word for word in ("B per node and s", "Bytes sent", "<dt>Bytes") if word in text] == []
    assert "Frames were not encoded" in ticket(report)
    assert "B per node and s" not in ticket(report)


def test_the_maps_begin_with_somebody_who_sees_and_paper_shows_the_commands(passing: RunReport) -> None:
    nobody = Frame(0.0, (" " * 4,) * 4)
    sighted = [Frame(float(at), (" .." + ".s"[at % 2],) * 4) for at in range(1, 12)]
    standings = structs.replace(passing.standings, frames=(nobody, *sighted))
    assert pictures.chosen(standings)[0] == 1
    assert len(pictures.chosen(standings)) == pictures.MULTIPLES
    assert pictures.chosen(structs.replace(standings, frames=(nobody, *sighted[:3]))) == [1, 2, 3]
    assert '<details class="printed">' in page(passing)
    assert "beforeprint" in page(passing)
