"""Tasks that are under way when the part of a run begins that one wants to see: where they are, and who else could.

Invariant: each asks for a capability of its own, which its first owner announces from the start and the others
a little later; so it is where it was wanted, and from then on moves as any task. Neighbours: `work` submits
them, `host` announces.
"""

from collections.abc import Sequence

from msgspec import Struct

from protocol.limits import CAPABILITIES_PER_CARD_MAX

PLACED_MAX = CAPABILITIES_PER_CARD_MAX - 1  # each is a capability of its own, beside the usual one
PLACED_S = 4.0  # when tasks that are under way are submitted: their first owners are known by then
OTHERS_S = 10.0  # when others announce that they could do them, too


class Placed(Struct, frozen=True, forbid_unknown_fields=True):
    """A task that is under way from the beginning to the end: its home, who does it first, and who else could."""

    home: str
    owner: str
    others: tuple[str, ...] = ()
    exclusive: bool = False


def placed_at(placed: Sequence[Placed], host: str, now_s: float) -> tuple[str, ...]:
    """The capabilities that this host announces for placed tasks by now."""
    is_open = now_s >= OTHERS_S
    return tuple(
        placed_capability(number)
        for number, task in enumerate(placed)
        if host == task.owner or (is_open and host in task.others)
    )


def placed_capability(number: int) -> str:
    """What the placed task of this number asks for."""
    return f"placed-{number}@1"
