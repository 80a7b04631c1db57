"""Every rule that must hold at every step, by the name under which a scenario or a report knows it.

Invariant: all of them are on unless a scenario names some. Neighbours: `checks_members`,
`checks_news`, `checks_tasks`, `checks_bounds` and `checks_frames` are the rules; `world` tells them what happens;
`ends` says what must hold in the end, `sights` what must happen at least once.
"""

from collections.abc import Callable, Mapping

from simulations.checks_bounds import Bounded, Calm, Honest, NoException, Quiet
from simulations.checks_frames import Rehearsed
from simulations.checks_members import (
    CutOffJudgesNobody,
    KnownAgents,
    NoFalseDeath,
    NoHastyDeath,
    OwnWord,
    ProvenDeath,
    RisingNumbers,
)
from simulations.checks_news import DeadAreFound, GoodbyesHeard, RefutedSoon
from simulations.checks_tasks import (
    EndsAbsorb,
    LawfulRecords,
    NothingPromisedInVain,
    OneAnswer,
    OneAtATime,
    OneResult,
    OneStart,
    RightClocks,
)
from simulations.setting import Check, Setting

# Broken by what does not happen in time: what happens just then has nothing to do with it.
LATE = frozenset({"dead-are-found", "refuted-soon", "goodbyes-heard"})

CHECKS: Mapping[str, Callable[[Setting], Check]] = {
    "no-exception": NoException,
    "lawful-records": LawfulRecords,
    "ends-absorb": EndsAbsorb,
    "one-result": OneResult,
    "one-start": OneStart,
    "one-at-a-time": OneAtATime,
    "nothing-promised-in-vain": NothingPromisedInVain,
    "one-answer": OneAnswer,
    "no-false-death": NoFalseDeath,
    "no-hasty-death": NoHastyDeath,
    "proven-death": ProvenDeath,
    "cut-off-judges-nobody": CutOffJudgesNobody,
    "own-word": OwnWord,
    "rising-numbers": RisingNumbers,
    "known-agents": KnownAgents,
    "dead-are-found": DeadAreFound,
    "refuted-soon": RefutedSoon,
    "goodbyes-heard": GoodbyesHeard,
    "honest": Honest,
    "right-clocks": RightClocks,
    "calm": Calm,
    "quiet": Quiet,
    "bounded": Bounded,
    "rehearsed": Rehearsed,
}
