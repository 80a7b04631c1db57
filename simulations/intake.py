"""What waits in front of a node: inputs in the order in which they came, handled when its host gets to them.

Invariant: in order, each with its cause; what finds no room is dropped and seen. Nothing waits
while nothing ails the host. Neighbours: `host` puts in and handles; `havoc` makes it ail.
"""

from collections import deque
from collections.abc import Callable
from random import Random

from protocol.inputs import Absent, Input, Received
from protocol.primitives import NS_PER_S
from simulations.timeline import Timeline, ns


class Intake:
    """The inputs of one host. `handle` takes one; `overrun` is told of what found no room."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        rng: Random,
        most: int,
        handle: Callable[[Input], None],
        overrun: Callable[[], None],
    ) -> None:
        self._timeline = timeline
        self._rng = rng
        self._most = most
        self._handle = handle
        self._overrun = overrun
        self._waiting: deque[tuple[Input, int]] = deque()  # each with its cause
        self._generation = 0
        self._last_ns = 0  # when the last of them is handled
        self._is_held = False
        self.caught_up_ns = 0  # when the last of those that waited was handled
        self.late_s: tuple[float, float] | None = None  # starved: each is read so much later
        self.cost_ns = 0  # slow: each takes so long

    @property
    def is_ailing(self) -> bool:
        """Does anything keep it from handling what comes as it comes? What still waits does so, too."""
        return self._is_held or self.late_s is not None or self.cost_ns > 0 or bool(self._waiting)

    @property
    def busy_until_ns(self) -> int:
        """A slow host handles what waits before it looks at its timers."""
        return self._last_ns if self.cost_ns and self._waiting else 0

    def put(self, input: Input) -> None:
        """Handle it, now or in its turn."""
        if not self.is_ailing:
            self._handle(input)
            return
        if len(self._waiting) >= self._most and isinstance(input, Received | Absent):
            self._overrun()
            return
        self._waiting.append((input, self._timeline.cause))
        if not self._is_held:
            self._plan(self._delay_ns())

    def clear(self) -> None:
        """The life that these were for has ended; what ails the host goes on."""
        self._waiting.clear()
        self._generation += 1
        self._is_held = False
        self._last_ns = 0

    def hold(self) -> None:
        """From now on everything waits."""
        self._is_held = True
        self._generation += 1  # also what was about to be handled

    def release(self, *, per_s: float = 0.0) -> None:
        """It goes on with what waits: so many a second, or with all of it at once."""
        if not self._is_held:
            return
        self._is_held = False
        self._last_ns = self._timeline.now_ns
        for _ in range(len(self._waiting)):
            self._plan(int(NS_PER_S / per_s) if per_s else 0)

    def take_time(self, cost_ns: int) -> None:
        """From now on each input takes it so long, those that wait, too."""
        self.cost_ns = cost_ns
        if self._waiting and not self._is_held and self.late_s is None:
            self._generation += 1
            self._last_ns = self._timeline.now_ns
            for _ in range(len(self._waiting)):
                self._plan(cost_ns)

    def take_all(self) -> None:
        """All that waits, now."""
        self._is_held = False
        self._generation += 1
        resumed = self._timeline.cause
        while self._waiting and not self._is_held:
            self._next()
        self._timeline.cause = resumed

    def _delay_ns(self) -> int:
        if self.late_s is not None:
            least_s, most_s = self.late_s
            late_ns = self._timeline.now_ns + ns(least_s + self._rng.random() * (most_s - least_s))
            return max(0, late_ns - max(self._last_ns, self._timeline.now_ns))
        return self.cost_ns

    def _plan(self, delay_ns: int) -> None:
        """One more of those that wait is handled that long after the one before it."""
        self._last_ns = max(self._last_ns, self._timeline.now_ns) + delay_ns
        self._timeline.at(self._last_ns, self._turn, self._generation)

    def _turn(self, generation: int) -> None:
        if generation == self._generation and self._waiting:
            self._next()

    def _next(self) -> None:
        input, self._timeline.cause = self._waiting.popleft()
        if not self._waiting:
            self.caught_up_ns = self._timeline.now_ns
        self._handle(input)
