"""The slots of a node's own agents: how many things each may do at once, and what holds them.

Invariant: a key holds at most one slot; taken never exceeds the card's slots; what was told to stop
holds its slot until it has.
Pure leaf; `holder` (tasks) and `calls` share one.
"""

from collections.abc import Hashable

from protocol.wire.agents import Card


class Slots:
    """Agents by name, and who holds their slots."""

    def __init__(self) -> None:
        self._cards: dict[str, Card] = {}
        self._held: dict[Hashable, str] = {}
        self._taken: dict[str, int] = {}
        self._free: tuple[tuple[str, int], ...] | None = None  # None: to be counted

    def advertise(self, cards: tuple[Card, ...]) -> None:
        """The agents that are ready now; slots in use stay in use."""
        self._cards = {card.name: card for card in cards}
        self._free = None

    def has(self, capability: str, agent: str = "") -> bool:
        """True when an agent here can do this, free or not."""
        return any(capability in card.capabilities for card in self._cards.values() if agent in ("", card.name))

    def take(self, key: Hashable, capability: str, agent: str = "") -> str | None:
        """Hold a slot for `key`, in place of the one it holds: the agent with most room, or None when all are busy."""
        self.give_back(key)
        best = self.best(capability, agent)
        if best is None:
            return None
        name = best[0].name
        self._held[key] = name
        self._taken[name] = self._taken.get(name, 0) + 1
        self._free = None
        return name

    def best(self, capability: str, agent: str = "") -> tuple[Card, int] | None:
        """The agent with most room for this, and how many slots are free there; None when all are busy."""
        found: tuple[Card, int] | None = None
        for name, card in self._cards.items():
            room = card.slots - self._taken.get(name, 0)
            if capability in card.capabilities and agent in ("", name) and room > (found[1] if found else 0):
                found = card, room
        return found

    def down(self, capability: str, agent: str = "") -> Card | None:
        """The card of an agent for this that is not up, when none is."""
        able = [each for each in self._cards.values() if capability in each.capabilities and agent in ("", each.name)]
        return None if any(card.slots for card in able) else next(iter(able), None)

    def agent_of(self, key: Hashable) -> str:
        """The agent whose slot `key` holds, or nothing."""
        return self._held.get(key, "")

    def give_back(self, key: Hashable) -> None:
        """Free the slot that `key` holds; harmless when it holds none."""
        agent = self._held.pop(key, None)
        if agent is not None:
            self._taken[agent] -= 1
            self._free = None

    def wind_down(self, key: Hashable, epoch: int) -> None:
        """The run that holds a slot for `key` was told to stop: it holds it as (key, epoch) until it has ended."""
        agent = self._held.pop(key, None)
        if agent is not None:
            self.give_back((key, epoch))
            self._held[(key, epoch)] = agent

    def free(self) -> tuple[tuple[str, int], ...]:
        """Free slots by agent, in the order of the cards."""
        if self._free is None:  # asked after every input
            cards = self._cards.items()
            self._free = tuple((name, max(0, card.slots - self._taken.get(name, 0))) for name, card in cards)
        return self._free

    @property
    def taken(self) -> int:
        """How many slots are in use."""
        return len(self._held)
