"""The proof, worked out from records."""

import pytest

from cli.demo_proof import Proof, Task, prove

PIECES = ["stdlib/json", "stdlib/wave", "distribution/click"]


def record(task: str, piece: str = "", *, state: str = "done", owner: str = "b", **fields: object) -> dict[str, object]:
    kind, _, name = piece.partition("/")
    result = {"kind": kind, "name": name} if piece and state == "done" else None
    return {
        "id": task,
        "state": state,
        "epoch": 1,
        "owner": owner * 16,
        "owner_name": owner,
        "attempts": [],
        "result": result,
        "key": f"goal/{piece}" if piece else "",
        **fields,
    }


def lost_by(owner: str, ended: str = "absent", epoch: int = 1) -> dict[str, object]:
    return {"epoch": epoch, "owner": owner * 16, "owner_name": owner, "ended": ended, "at_ms": 1, "detail": ""}


def judged(tasks: list[dict[str, object]], pieces: list[str] | None = None) -> Proof:
    given: list[Task] = list(tasks)
    return prove(given, goal="goal", pieces=pieces or PIECES, read_from="b", read_alike_by="a", copies=1, kept_on="a")


def complete() -> list[dict[str, object]]:
    return [record("goal", owner="a"), *(record(f"t{number}", piece) for number, piece in enumerate(PIECES))]


def test_a_done_record_for_the_goal_and_for_each_piece_proves_it() -> None:
    proof = judged(complete())
    assert proof.holds
    assert (proof.submitted, proof.pieces, proof.done) == (4, 3, 4)
    assert (proof.lost, proof.failed, proof.committed_twice, proof.moved) == ((), (), (), ())


@pytest.mark.parametrize("state", ["open", "awarded", "running"])
def test_a_task_that_has_not_ended_is_lost(state: str) -> None:
    tasks = [*complete()[:-1], record("t2", PIECES[2], state=state)]
    proof = judged(tasks)
    assert proof.lost == ("t2",)
    assert not proof.holds


def test_a_piece_without_a_record_is_lost() -> None:
    proof = judged(complete()[:-1])
    assert proof.lost == ("distribution/click",)
    assert not proof.holds


def test_no_record_at_all_proves_nothing() -> None:
    proof = judged([])
    assert proof.lost == ("goal", "distribution/click", "stdlib/json", "stdlib/wave")
    assert not proof.holds


@pytest.mark.parametrize("state", ["failed", "cancelled", "poison"])
def test_a_task_that_ended_without_a_result_is_not_lost_but_nothing_is_proved(state: str) -> None:
    proof = judged([*complete()[:-1], record("t2", PIECES[2], state=state)])
    assert (proof.lost, proof.failed) == ((), ("t2",))
    assert not proof.holds


def test_two_done_tasks_for_one_piece_are_committed_twice() -> None:
    proof = judged([*complete(), record("t9", "stdlib/wave", owner="a")])
    assert proof.committed_twice == ("stdlib/wave",)
    assert not proof.holds


def test_two_records_of_one_task_are_committed_twice() -> None:
    proof = judged([*complete(), record("t0", PIECES[0], owner="a")])
    assert "t0" in proof.committed_twice
    assert not proof.holds


def test_a_task_whose_owner_was_lost_has_moved_to_where_it_ended() -> None:
    tasks = [*complete()[:-1], record("t2", PIECES[2], owner="a", epoch=2, attempts=[lost_by("c")])]
    (move,) = judged(tasks).moved
    assert (move.piece, move.former, move.owner, move.why) == ("click", "c", "a", "absent")
    assert judged(tasks).holds


def test_a_task_that_its_owner_took_up_again_has_not_moved() -> None:
    tasks = [*complete()[:-1], record("t2", PIECES[2], owner="a", epoch=2, attempts=[lost_by("a", "node_restarted")])]
    proof = judged(tasks)
    assert proof.moved == ()
    assert proof.again == 1


def test_a_busy_node_that_said_no_has_lost_nothing() -> None:
    tasks = [*complete()[:-1], record("t2", PIECES[2], epoch=2, attempts=[lost_by("c", "busy")])]
    assert judged(tasks).moved == ()
