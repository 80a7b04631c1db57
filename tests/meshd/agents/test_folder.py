"""What a folder of manifests is taken to declare; how agents follow it is tried in `test_crew`."""

from pathlib import Path

import pytest

from meshd.agents.folder import Folder
from protocol.limits import CARDS_PER_NODE_MAX
from tests.meshd.crew_stage import text


def test_hidden_files_and_others_are_no_manifests(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(text("one"))
    (tmp_path / ".two.toml").write_text(text("two"))
    (tmp_path / "three.toml~").write_text(text("three"))
    folder = Folder(tmp_path)
    folder.read()
    assert list(folder.manifests) == ["one"]
    assert folder.refused == {}


def test_a_folder_that_never_was_declares_nothing_and_is_no_problem(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "none")
    folder.read()
    assert (folder.manifests, folder.refused) == ({}, {})


def test_a_file_that_is_renamed_or_names_another_agent_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text(text("one"))
    folder = Folder(tmp_path)
    folder.read()
    path.write_text(text("another"))
    path.rename(tmp_path / "moved.toml")
    folder.read()
    assert {name: each.path.name for name, each in folder.manifests.items()} == {"another": "moved.toml"}


def test_a_manifest_that_is_written_anew_with_the_same_words_is_another(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text(text("one"))
    folder = Folder(tmp_path)
    folder.read()
    former = folder.manifests["one"]
    folder.read()
    assert folder.manifests["one"] is former
    path.unlink()
    path.write_text(text("one"))
    folder.read()
    assert folder.manifests["one"] == former
    assert folder.manifests["one"] is not former  # that is how an agent's new code comes into use


def test_more_agents_than_a_node_may_announce_are_refused_by_file(tmp_path: Path) -> None:
    for number in range(CARDS_PER_NODE_MAX + 2):
        (tmp_path / f"a{number:03d}.toml").write_text(text(f"a{number:03d}"))
    folder = Folder(tmp_path)
    folder.read()
    assert len(folder.manifests) == CARDS_PER_NODE_MAX
    assert list(folder.refused) == ["a128.toml", "a129.toml"]
    assert "128 agents already" in folder.refused["a128.toml"].message


def test_more_files_than_are_looked_at_are_said_and_the_first_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshd.agents.folder.FILES_MAX", 3)
    few = Folder(tmp_path)
    for number in range(4):
        (tmp_path / f"{number}.toml").write_text(text(f"a{number}"))
    few.read()
    assert list(few.manifests) == ["a0", "a1", "a2"]
    assert [error.message for error in few.refused.values()] == [
        f"{tmp_path}: holds more than 3 manifests; the rest is not looked at"
    ]
