"""What a host remembers between two lives of its daemon: which life it was, the one thing the core relies on.

Invariant: a life is on the disk, synced, before its first word is said; so a crash loses nothing
of it, and only a disk that is put back, lost or full does. Neighbours: `host` asks for the next
life, `havoc` restores and wipes.
"""

from protocol.primitives import WallMs


class Disk:
    """The disk of one host."""

    def __init__(self) -> None:
        self._lives: list[WallMs] = []  # every one that was written, the last one counts
        self.is_full = False

    @property
    def is_blank(self) -> bool:
        """Is nothing written here? Then its host never was a member."""
        return not self._lives

    def next_life(self, wall_ms: WallMs) -> WallMs:
        """The number of the life that begins now: the wall clock, but above what is written here."""
        life = max(wall_ms, self._lives[-1] + 1) if self._lives else wall_ms
        self._lives.append(life)
        return life

    def remember(self, life: WallMs) -> None:
        """The life that begins next is above this one."""
        self._lives.append(life)

    def restore(self) -> None:
        """An image from before its last life is put back."""
        self._lives = self._lives[:1] if len(self._lives) > 1 else []

    def lose(self) -> None:
        """Nothing is left of it but the key."""
        self._lives = []
