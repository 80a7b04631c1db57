"""Listings longer than a page: the commands follow them to their end."""

import json

import pytest

from cli import paging
from tests.cli.conftest import Meshctl
from tests.meshd.api.fake_backend import LIFE, FakeBackend, Served, a_task


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_MAX", 3)


def _tasks(backend: FakeBackend, count: int) -> list[str]:
    backend.put(*(a_task(f"t{n:02d}", submitted_ms=LIFE + n) for n in range(count)))
    return [f"t{n:02d}".ljust(26, "x") for n in reversed(range(count))]


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 20])
def test_pages_are_followed_as_far_as_was_asked(
    meshctl: Meshctl, served: Served, backend: FakeBackend, limit: int
) -> None:
    ids = _tasks(backend, 8)
    said = meshctl("tasks", "-o", "name", "--limit", str(limit))
    assert said.out.split() == ids[:limit]
    assert ("there are more" in said.err) == (limit < 8)
    lines = meshctl("tasks", "-o", "jsonl", "--limit", str(limit)).out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids[:limit]
    table = meshctl("tasks", "--limit", str(limit)).out.splitlines()
    assert [row[:8] for row in table[1:]] == [task[:8] for task in ids[:limit]]


def test_the_cursor_that_is_told_goes_on_after_the_last_page(
    meshctl: Meshctl, served: Served, backend: FakeBackend
) -> None:
    ids = _tasks(backend, 8)
    cursor = meshctl("tasks", "-o", "name", "--limit", "5").err.rpartition(" ")[2].strip()
    assert meshctl("tasks", "-o", "name", "--cursor", cursor).out.split() == ids[5:]


def test_json_is_one_answer_with_its_cursor(meshctl: Meshctl, served: Served, backend: FakeBackend) -> None:
    ids = _tasks(backend, 8)
    answer = json.loads(meshctl("tasks", "-o", "json", "--limit", "5").out)
    assert [task["id"] for task in answer["tasks"]] == ids[:3]
    assert answer["next"]
