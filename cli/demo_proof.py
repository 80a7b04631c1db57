"""The proof at the end of the demo, worked out from the mesh's record alone.

Invariant: a pure function of the records that a node answers; what the demo itself saw is no part
of it. Neighbours: `demo` reads the pages of `/v1/tasks`, `demo_show` prints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

Task = Mapping[str, object]

ENDED = frozenset({"done", "failed", "cancelled", "poison"})
OWNER_LOST = frozenset({"silent", "absent", "lapsed", "node_restarted", "agent_crashed", "drained"})


@dataclass(frozen=True)
class Move:
    """A task that ended at another node than one that lost it."""

    task: str
    piece: str
    former: str
    owner: str
    why: str


@dataclass(frozen=True)
class Proof:
    """Counts of tasks. `pieces` are what the goal's report was made of; each needs one done record of its own."""

    submitted: int
    pieces: int
    done: int
    lost: tuple[str, ...]
    failed: tuple[str, ...]
    committed_twice: tuple[str, ...]
    moved: tuple[Move, ...]
    again: int  # awarded anew to the node that had lost it, after its restart
    read_from: str
    read_alike_by: str  # another node, which reads the same ends of the same tasks
    copies: int
    kept_on: str

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing failed, nothing committed twice."""
        return not (self.lost or self.failed or self.committed_twice) and self.done == self.submitted > 0

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return {**asdict(self), "holds": self.holds}


def prove(
    tasks: Sequence[Task],
    *,
    goal: str,
    pieces: Sequence[str],
    read_from: str,
    read_alike_by: str,
    copies: int,
    kept_on: str,
) -> Proof:
    """Judge the records of one goal. `pieces` are the names `kind/name` that were to be done."""
    by_id: dict[str, list[Task]] = {}
    for task in tasks:
        by_id.setdefault(str(task["id"]), []).append(task)
    done = [one for one in by_id if all(record["state"] == "done" for record in by_id[one])]
    by_piece: dict[str, list[str]] = {}
    for one in done:
        if one != goal:
            by_piece.setdefault(piece_of(by_id[one][0]), []).append(one)
    unended = [one for one, records in by_id.items() if any(record["state"] not in ENDED for record in records)]
    failed = [one for one in by_id if one not in done and one not in unended]
    # One key holds one end. Two would be two records of one id, or two tasks for one piece.
    ended_twice = [one for one, records in by_id.items() if len(records) > 1]
    ended_twice += [piece for piece, ids in sorted(by_piece.items()) if len(ids) > 1]
    moves = [move for one in by_id for move in _moves(by_id[one][-1])]
    return Proof(
        submitted=len(by_id),
        pieces=len(pieces),
        done=len(done),
        lost=(
            *sorted(unended),
            *(() if goal in by_id else (goal,)),
            *sorted(set(pieces) - set(by_piece) - {piece_of(by_id[one][0]) for one in (*unended, *failed)}),
        ),
        failed=tuple(sorted(failed)),
        committed_twice=tuple(ended_twice),
        moved=tuple(move for move in moves if move.former != move.owner),
        again=sum(move.former == move.owner for move in moves),
        read_from=read_from,
        read_alike_by=read_alike_by,
        copies=copies,
        kept_on=kept_on,
    )


def piece_of(task: Task) -> str:
    """`kind/name` of the piece that a record is about: its result says so, else its key; its id when neither does."""
    result, key = task.get("result"), str(task.get("key") or "")
    if isinstance(result, Mapping) and "kind" in result and "name" in result:
        return f"{result['kind']}/{result['name']}"
    _, _, piece = key.partition("/")
    return piece or str(task["id"])


def _moves(task: Task) -> list[Move]:
    """The first owner that was lost while it held the task, against the one that the task ended at."""
    history = task.get("attempts")
    rows = [row for row in history if isinstance(row, Mapping)] if isinstance(history, Sequence) else []
    lost = [row for row in rows if row.get("ended") in OWNER_LOST]
    if not lost:
        return []
    former, owner = str(lost[0].get("owner_name") or lost[0].get("owner")), str(task.get("owner_name") or task["owner"])
    piece = piece_of(task).rpartition("/")[2] if "/" in str(task.get("key")) else "the audit itself"
    return [Move(task=str(task["id"]), piece=piece, former=former, owner=owner, why=str(lost[0].get("ended")))]
