"""What is a piece, and what belongs to it."""

import sys
from pathlib import Path

import pytest

from meshd.demo.pieces import Installation, Piece, UnknownPieceError, normalised


def test_every_distribution_and_every_part_of_the_standard_library_is_a_piece(here: Installation) -> None:
    found = {(piece.kind, piece.name) for piece in here.pieces()}
    assert found == {
        ("distribution", "shapes"),
        ("distribution", "helper-lib"),
        ("distribution", "declared-thing"),
        ("distribution", "quiet"),
        ("stdlib", "json"),
        ("stdlib", "wave"),
    }


def test_pieces_come_by_name_with_distributions_first_and_the_order_never_changes(here: Installation) -> None:
    first = here.pieces()
    names = ["declared-thing", "helper-lib", "quiet", "shapes", "json", "wave"]
    assert [piece.name for piece in first] == names
    assert first == Installation(search=here.search, stdlib=here.stdlib).pieces()


def test_the_python_that_runs_this_test_has_at_least_sixty_pieces() -> None:
    pieces = Installation().pieces()
    assert len(pieces) >= 60
    assert Piece("distribution", "msgspec") in pieces
    assert Piece("stdlib", "asyncio") in pieces


def test_names_are_compared_as_the_index_compares_them() -> None:
    assert normalised("Ruamel.Yaml__clib") == "ruamel-yaml-clib"


def test_an_import_name_leads_to_the_distribution_that_provides_it(here: Installation) -> None:
    assert here.providers["helper_lib"] == frozenset({"helper-lib"})


def test_requirements_are_declared_whatever_their_markers_and_spelling(here: Installation) -> None:
    assert here.contents(Piece("distribution", "Shapes")).declared == frozenset({"declared-thing"})


def test_an_unknown_piece_is_refused_by_name(here: Installation) -> None:
    with pytest.raises(UnknownPieceError, match="no distribution is called nothing"):
        here.contents(Piece("distribution", "nothing"))
    with pytest.raises(UnknownPieceError, match="no part called test"):
        here.contents(Piece("stdlib", "test"))


def test_a_missing_standard_library_has_no_parts(tmp_path: Path) -> None:
    assert Installation(search=(), stdlib=tmp_path / "none").pieces() == []


def test_compiled_caches_belong_to_no_piece(here: Installation) -> None:
    (here.stdlib / "json/__pycache__").mkdir()
    (here.stdlib / "json/__pycache__/tool.cpython.pyc").write_bytes(b"x")
    assert [file.shown for file in here.contents(Piece("stdlib", "json")).files] == ["json/__init__.py", "json/tool.py"]
    assert "quiet.pyc" not in str(here.contents(Piece("distribution", "quiet")).files)
    assert here.contents(Piece("stdlib", "json")).version == sys.version.split()[0]
