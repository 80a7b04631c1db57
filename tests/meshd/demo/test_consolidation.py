"""The report over all pieces."""

import json

import pytest

from meshd.demo.consolidation import consolidate
from meshd.demo.package_audit import audit
from meshd.demo.pieces import Installation

Report = dict[str, object]


@pytest.fixture
def results(here: Installation) -> list[Report]:
    return [audit(piece, here) for piece in here.pieces()]


def test_the_report_adds_the_pieces_up(results: list[Report]) -> None:
    report = consolidate(results)
    assert (report["pieces"], report["distributions"], report["stdlib"]) == (6, 4, 2)
    assert report["altered"] == {"count": 1, "first": [{"piece": "shapes", "found": "shapes/kept.txt"}]}
    assert report["licences"] == {
        "Apache 2.0 (declared only)": 1,
        "BSD-3-Clause": 1,
        "MIT": 1,
        "none (declared only)": 1,
    }
    assert report["licence_verdicts"] == {"agrees": 1, "differs": 1, "unconfirmed": 1, "undeclared": 1}
    assert report["dangerous_calls"] == {
        "by_kind": {"eval": 1, "exec": 1, "os.system": 1, "pickle load": 1, "shell=True": 1},
        "most": [
            {"piece": "shapes", "count": 4, "first": {"call": "eval", "where": "shapes/area.py:35"}},
            {"piece": "json", "count": 1, "first": {"call": "exec", "where": "json/__init__.py:2"}},
        ],
    }
    assert report["unreadable"] == {
        "count": 1,
        "first": [{"piece": "shapes", "found": "shapes/broken.py:1: invalid syntax"}],
    }


def test_imports_that_always_happen_are_listed_and_optional_ones_only_counted(results: list[Report]) -> None:
    found = consolidate(results)["undeclared_imports"]
    assert isinstance(found, dict)
    assert (found["always"], found["optional"]) == (2, 2)
    assert [item["module"] for item in found["first"]] == ["helper_lib", "undeclared_thing"]


def test_the_order_in_which_results_come_in_changes_nothing(results: list[Report]) -> None:
    assert json.dumps(consolidate(results)) == json.dumps(consolidate(results[::-1]))


def test_the_most_complex_functions_come_first(results: list[Report]) -> None:
    most = consolidate(results)["most_complex"]
    assert isinstance(most, list)
    assert [(item["piece"], item["complexity"]) for item in most] == [("shapes", 8), ("json", 1), ("quiet", 1)]


def test_a_piece_that_failed_is_in_the_report() -> None:
    failure = {"kind": "stdlib", "name": "wave", "error": "the agent crashed"}
    assert consolidate([], [failure])["failed"] == [failure]


def test_a_result_of_another_shape_is_an_error_that_names_the_capability() -> None:
    with pytest.raises(ValueError, match="package-audit@1 answered str where an object was due"):
        consolidate([{"kind": "distribution", "name": "x", "licence": "MIT"}])
