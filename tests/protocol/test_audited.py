"""The table of what is recorded is complete, and a row says what its event says."""

import os
import typing
from pathlib import Path

import pytest

from protocol import events
from protocol.audited import AUDITED, NOT_AUDITED, act_of
from protocol.events import Event

README = Path(__file__).parents[2] / "protocol" / "README.md"
KINDS = typing.get_args(Event)


def test_every_event_is_recorded_or_named_with_the_reason_why_not() -> None:
    assert set(AUDITED) | set(NOT_AUDITED) == set(KINDS)
    assert not set(AUDITED) & set(NOT_AUDITED)
    assert all(len(reason.split()) > 3 for reason in NOT_AUDITED.values())


@pytest.mark.parametrize("kind", AUDITED, ids=lambda kind: str(kind.__struct_config__.tag))
def test_a_row_names_fields_that_its_event_has(kind: type) -> None:
    row = AUDITED[kind]
    named = {*row.more, *((row.by,) if row.by else ()), *((row.who,) if row.who else ())}
    assert named <= set(kind.__struct_fields__)  # type: ignore[attr-defined]  # every event is a Struct
    assert row.decision in ("allow", "deny", "done")


def test_no_two_events_are_recorded_as_the_same_action() -> None:
    actions = [row.action for row in AUDITED.values()]
    assert sorted(actions) == sorted(set(actions))


def test_a_submit_says_who_asked_for_what_under_which_goal_and_parent() -> None:
    act = act_of(events.TaskSubmitted("t", "i", "g", "scoring@2", "operator", "p"))
    assert act is not None
    assert (act.action, act.resource, act.decision, act.who) == ("task.submit", "task/t", "allow", "operator")
    assert (act.iid, act.gid, act.parent, act.more) == ("i", "g", "p", {"capability": "scoring@2"})


def test_several_names_are_kept_as_one_text() -> None:
    act = act_of(events.TaskPoison("t", "i", 3, ("a", "b")))
    assert act is not None
    assert act.more == {"epoch": 3, "died": "a, b"}


def test_what_is_not_recorded_makes_no_act() -> None:
    assert act_of(events.PeerUnreachable(("a",))) is None


def _table() -> str:
    rows = [
        f"| `{kind.__struct_config__.tag}` | `{row.action}` | {row.decision} | {', '.join(row.more)} |"
        for kind, row in AUDITED.items()
    ]
    left_out = [f"| `{kind.__struct_config__.tag}` | – | – | {why} |" for kind, why in NOT_AUDITED.items()]
    return "\n".join(
        ("| event | recorded as | decision | with, or why not |", "|---|---|---|---|", *rows, *left_out, "")
    )


def test_the_table_in_the_wire_specification_is_this_one() -> None:
    text = README.read_text()
    before, mark, rest = text.partition("<!-- audited -->\n")
    _, end, after = rest.partition("<!-- end -->")
    renewed = f"{before}{mark}{_table()}{end}{after}"
    if os.environ.get("MESHD_RENEW"):
        README.write_text(renewed)
    assert README.read_text() == renewed, "renew it with: MESHD_RENEW=1 pytest tests/protocol/test_audited.py"
