"""Who takes whom for what, put together from events, and how much of it is true.

Invariant: the share of pairs that agree is kept up to date by what changes, never by looking at all
pairs; a picture of all standings is taken now and then. Neighbours: `observer` tells it, `building`
reads it.
"""

from collections.abc import Sequence

from simulations.reports.shapes import Agreement, Frame, Standings

UNKNOWN, ALIVE, SUSPECT, UNREACHABLE, DEAD, LEFT = range(6)
LETTERS = {
    "-": "unknown",
    ".": "alive",
    "s": "suspect",
    "u": "unreachable",
    "d": "dead",
    "l": "left",
    " ": "the observer is down, or it is itself",
}
_BY_CODE = bytes.maketrans(bytes(range(6)), b"-.sudl")
_HOLDS = (False, True, False, False, False, False)  # of a subject that is up: alive is right
_HOLDS_GONE = (True, False, False, False, True, True)  # of one that is down: gone, or never heard of

MAP_NODES_MAX = 200  # more cannot be told apart on a screen
MAP_CELLS_MAX = 800_000  # of all pictures together
PICTURES = (12, 48)


class Views:
    """All standings of one world, and the truth about who is up."""

    def __init__(self, nodes: int, shown: Sequence[int], *, run_s: float) -> None:
        self._up = [False] * nodes
        self._known = [False] * nodes  # has it ever been up?
        self._rows = [bytearray(nodes) for _ in range(nodes)]
        self._shown = tuple(shown)
        self._pairs = self._agreeing = 0
        self._least = 1.0
        self.share: list[float] = []
        self.least: list[float] = []
        fewest, most = PICTURES
        self._every_s = run_s / max(fewest, min(most, MAP_CELLS_MAX // max(1, len(shown) ** 2)))
        self._next_s = 0.0
        self._has_changed = True
        self._frames: list[Frame] = []
        self._whole_since_s: float | None = None

    @property
    def up(self) -> int:
        """How many nodes are up."""
        return sum(self._up)

    def is_up(self, node: int) -> bool:
        """As it is in truth."""
        return self._up[node]

    def standing(self, observer: int, subject: int) -> int:
        """What the one takes the other for."""
        return self._rows[observer][subject]

    # --- what changes

    def turn(self, node: int, *, is_up: bool, now_s: float) -> None:
        """A node came up, or went down."""
        if self._up[node] == is_up:
            return
        before = self._of(node)
        self._up[node] = is_up
        self._known[node] = self._known[node] or is_up
        after = self._of(node)
        self._move(after[0] - before[0], after[1] - before[1], now_s)

    def begin(self, node: int, *, now_s: float) -> None:
        """A new life of an observer: it knows nobody yet."""
        agreeing = self._row(node)
        self._rows[node] = bytearray(len(self._up))
        self._move(self._row(node) - agreeing, 0, now_s)

    def see(self, observer: int, subject: int, standing: int, *, now_s: float) -> None:
        """An observer takes a subject for something."""
        row = self._rows[observer]
        before = self._agrees(subject, row[subject])
        row[subject] = standing
        self._has_changed = True
        if observer == subject or not self._up[observer] or not self._known[subject]:
            return
        self._move(self._agrees(subject, standing) - before, 0, now_s)

    def _move(self, agreeing: int, pairs: int, now_s: float) -> None:
        self._agreeing += agreeing
        self._pairs += pairs
        self._has_changed = True
        self._least = min(self._least, self.agreement)
        is_whole = self._agreeing == self._pairs
        self._whole_since_s = None if not is_whole else now_s if self._whole_since_s is None else self._whole_since_s

    @property
    def agreement(self) -> float:
        """The share of pairs that agree with the truth now."""
        return self._agreeing / self._pairs if self._pairs else 1.0

    def _agrees(self, subject: int, standing: int) -> bool:
        return (_HOLDS if self._up[subject] else _HOLDS_GONE)[standing]

    def _row(self, observer: int) -> int:
        """Of an observer that is up: with how many others it is right."""
        if not self._up[observer]:
            return 0
        row = self._rows[observer]
        return sum(
            self._agrees(subject, row[subject])
            for subject, is_known in enumerate(self._known)
            if is_known and subject != observer
        )

    def _of(self, node: int) -> tuple[int, int]:
        """Pairs in which a node has a part: those that agree, and all."""
        agreeing, pairs = self._row(node), 0
        if self._up[node]:
            pairs += sum(self._known) - self._known[node]
        if self._known[node]:
            observers = [other for other, is_up in enumerate(self._up) if is_up and other != node]
            pairs += len(observers)
            agreeing += sum(self._agrees(node, self._rows[other][node]) for other in observers)
        return agreeing, pairs

    # --- time

    def close_column(self) -> None:
        """A column of the curve has ended."""
        self.share.append(round(self.agreement, 4))
        self.least.append(round(self._least, 4))
        self._least = self.agreement

    def look(self, now_s: float) -> None:
        """Time has come to `now_s`, and nothing has happened since the last change: perhaps a picture is due."""
        if now_s >= self._next_s:
            self._next_s = (int(now_s / self._every_s) + 1) * self._every_s
            self._take(now_s)

    def _take(self, now_s: float) -> None:
        if not self._has_changed:
            return
        self._has_changed = False
        rows = tuple(self._drawn(observer) for observer in self._shown)
        self._frames.append(Frame(round(now_s, 3), rows))

    def _drawn(self, observer: int) -> str:
        if not self._up[observer]:
            return " " * len(self._shown)
        row = self._rows[observer].translate(_BY_CODE).decode("ascii")
        return "".join(" " if subject == observer else row[subject] for subject in self._shown)

    # --- in a report

    def standings(self, names: Sequence[str], now_s: float) -> Standings:
        """All pictures, the last one of the end."""
        self._take(now_s)
        return Standings(tuple(names[node] for node in self._shown), len(names), LETTERS, tuple(self._frames))

    def agreed(self, column_s: float) -> Agreement:
        """The curve."""
        since_s = None if self._whole_since_s is None else round(self._whole_since_s, 3)
        return Agreement(column_s, tuple(self.share), tuple(self.least), since_s)
