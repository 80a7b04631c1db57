"""Names: the same everywhere, and nothing that is not one passes for one."""

from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import ids

NODES = [ids.node_id(bytes((number,)) * 32) for number in range(12)]


def test_ids_are_what_they_always_were() -> None:
    """They name records and subjects of running meshes: a change of the hash loses both."""
    assert ids.node_id(bytes(32)) == "tavffq53bpsqxr4cjuetoairylnwtb3k"
    assert ids.mesh_id(bytes(32)) == "nd6ydocxq6pk"
    assert ids.task_id(mesh="m", submitter="s", key="k") == "oewwsotfde525kfmjj4ijlcu24"
    assert ids.partition("oewwsotfde525kfmjj4ijlcu24") == 43


@given(st.binary(min_size=32, max_size=32))
def test_a_mesh_is_named_by_the_beginning_of_its_fingerprint(key: bytes) -> None:
    assert ids.fingerprint(key).startswith(ids.mesh_id(key))
    assert ids.is_token(ids.mesh_id(key))
    assert ids.is_token(ids.node_id(key))
    assert len(ids.node_id(key)) == 32


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_another_submitter_or_key_is_another_task(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    def task(parts: tuple[str, str, str]) -> str:
        mesh, submitter, key = (part.replace("\0", "") for part in parts)
        return ids.task_id(mesh=mesh, submitter=submitter, key=key)

    cleaned = [tuple(part.replace("\0", "") for part in parts) for parts in (one, other)]
    assert (task(one) == task(other)) == (cleaned[0] == cleaned[1])


@given(st.text(), st.integers(0, 10_000))
def test_the_key_of_a_task_leads_back_to_it(seed: str, epoch: int) -> None:
    task = ids.task_id(mesh="m", submitter="s", key=seed)
    assert len(task) == ids.TASK_CHARS
    key, late = ids.task_key(task), ids.late_key(task, epoch)
    assert ids.task_of(key) == ids.task_of(late) == task
    assert (ids.is_task_key(key), ids.is_task_key(late)) == (True, False)
    assert not ids.is_task_key(ids.presence_key(NODES[0]))
    assert key == f"p{ids.partition(task):02d}.{task}"
    assert 0 <= ids.partition(task) < ids.PARTITIONS


def test_tasks_spread_over_all_partitions() -> None:
    tasks = [ids.task_id(mesh="m", submitter="s", key=str(number)) for number in range(2_000)]
    assert {ids.partition(task) for task in tasks} == set(range(ids.PARTITIONS))


@pytest.mark.parametrize("text", ["scoring@2", "a@0", "a.b-c_d9@9999", "x" * 64 + "@1"])
def test_a_name_with_a_major_version_is_a_capability(text: str) -> None:
    assert ids.is_capability(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "scoring",
        "scoring@",
        "@2",
        "Scoring@2",
        "9a@1",
        "a@01",
        "a@-1",
        "a@1.0",
        "a b@1",
        "a@1\n",
        "x" * 65 + "@1",
        "a@10000",
        "ä@1",
    ],
)
def test_anything_else_is_no_capability(text: str) -> None:
    assert not ids.is_capability(text)


@pytest.mark.parametrize("text", ["", "a.b", "a*", ">", "A", "a b", "x" * 33, "a\n", "é"])
def test_what_would_break_a_subject_is_no_token(text: str) -> None:
    assert not ids.is_token(text)


def test_nodes_of_one_name_are_told_apart_and_the_name_is_found_again() -> None:
    assert ids.distinct("n1", NODES[0]) == f"n1#{NODES[0][:8]}"
    assert [ids.bare(ids.distinct("n1", NODES[0])), ids.bare("n1")] == ["n1", "n1"]
    assert not ids.is_token(ids.distinct("n1", NODES[0])), "so that nobody can call itself that"


def test_minted_ids_are_fresh_and_follow_from_the_seed() -> None:
    rng = Random(7)
    assert len({ids.minted(rng) for _ in range(1_000)}) == 1_000
    assert ids.minted(Random(7)) == ids.minted(Random(7))
    assert all(ids.is_token(ids.minted(rng)) for _ in range(100))


def _first(within: int, nodes: list[str], salt: str) -> set[str]:
    return {node for node in nodes if ids.is_ranked(node, nodes, salt=salt, within=within)}


@given(st.permutations(NODES), st.text(max_size=8))
def test_the_rank_does_not_depend_on_the_order_of_the_candidates(nodes: list[str], salt: str) -> None:
    assert _first(3, nodes, salt) == _first(3, NODES, salt)


@given(st.sampled_from(NODES), st.text(max_size=8))
def test_one_candidate_that_goes_moves_nobody_else(gone: str, salt: str) -> None:
    rest = [node for node in NODES if node != gone]
    for within in range(1, len(NODES)):
        former = _first(within, NODES, salt)
        assert _first(within - (gone in former), rest, salt) == former - {gone}


def test_everybody_is_first_for_some_salt() -> None:
    assert set().union(*(_first(1, NODES, f"partition/{number}") for number in range(300))) == set(NODES)


def test_a_node_knows_without_the_whole_order_whether_it_is_among_the_first() -> None:
    order = sorted(NODES, key=partial(ids.rendezvous, salt="x"))
    for within in range(1, 13):
        assert _first(within, NODES, "x") == set(order[:within])
