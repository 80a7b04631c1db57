"""What is measured in one run: numbers under a name, each as often as it occurred.

Invariant: a function of scenario and seed; rules that the run is held to are the scenario's, and a
broken one is a number too (`broken`). Neighbours: `diary` saw it; the studies say of which cell.
"""

from collections.abc import Collection
from typing import TypeAlias

from simulations.crowds import members
from simulations.faults import Links, OnNodes, Partition
from simulations.grids.diary import Diary, Traffic
from simulations.scenario import Scenario
from simulations.setting import Check, Setting
from simulations.swarm import drawn
from simulations.world import Verdict, World

Sample: TypeAlias = dict[str, list[float]]  # what was measured → every time it was

NEVER_S = 1e9  # of what did not happen
SETTLED_S = 10.0  # by then all know all, and what each said at its start is repeated
FACTS = ("Alive", "Suspect", "Confirm", "Dead", "Left", "Capabilities", "Load")  # one sent is n - 1 heard


def detection(scenario: Scenario, seed: int) -> Sample:
    """Crashes and hangs: how long until each healthy observer knows; and who was taken for gone while it ran."""
    verdict, diary = _lived(scenario, seed)
    ailing = _named(scenario, "starve", "block")
    sample: Sample = {
        "suspicions": [sum(said.is_false for said in diary.suspected.values())],
        "deaths": [sum(said.is_false for said in diary.killed.values())],
        "missed": [0.0],
        "broken": [len(verdict.violations)],
        "messages": [sum(verdict.sent.values()) / scenario.nodes / verdict.ended_s],
    }
    for subject, at_s in diary.began_s("crash"):
        gone = {name for name, since_s in diary.began_s("crash") if since_s <= at_s}
        heard = diary.first(subject, "dead", since_s=at_s)
        times = [time_s for observer, time_s in heard.items() if observer not in ailing and observer not in gone]
        _add(sample, "detect_s", *times)
        _add(sample, "missed", len(set(scenario.names) - ailing - gone - set(heard)))
        if times:
            _add(sample, "first_s", min(times))
            _add(sample, "last_s", max(times))
            _add(sample, "spread_s", max(times) - min(times))
        suspected_s = diary.suspected_s(subject, since_s=at_s)
        if suspected_s is not None:
            _add(sample, "suspected_s", suspected_s)
    return sample


def blocked(scenario: Scenario, seed: int) -> Sample:
    """Members that stand in their sends: first news of their deaths, and deaths of members that were well."""
    verdict, diary = _lived(scenario, seed)
    ailing = _named(scenario, "block")
    healthy = set(scenario.names) - ailing
    sample: Sample = {
        "false_anywhere": [diary.count("dead", but=ailing)],
        "false_at_healthy": [diary.count("dead", but=ailing, observers=healthy)],
        "messages": [sum(verdict.sent.values())],
    }
    for subject, at_s in diary.began_s("block"):
        heard = diary.first(subject, "dead", since_s=at_s)
        times = [time_s for observer, time_s in heard.items() if observer in healthy]
        if times:
            _add(sample, "first_s", min(times))
            _add(sample, "last_s", max(times))
    return sample


def load(scenario: Scenario, seed: int) -> Sample:
    """What a quiet mesh says and hears once it has settled, for each node and second."""
    counted: list[Traffic] = []

    def traffic(setting: Setting) -> Check:
        counted.append(Traffic(setting, since_s=SETTLED_S))
        return counted[0]

    World(scenario, seed=seed, watch=[traffic]).run()
    sent, node_s = counted[0].sent, scenario.nodes * (scenario.run_s - SETTLED_S)
    whole, facts = sum(sent.values()), sum(sent.get(kind, 0) for kind in FACTS)
    heard = whole - facts + facts * (scenario.nodes - 1)
    return {
        "probes": [(sent.get("Ping", 0) + sent.get("Ack", 0)) / node_s],
        "sent": [whole / node_s],
        "heard": [heard / node_s],
        "both": [(whole + heard) / node_s],
    }


def joining(scenario: Scenario, seed: int) -> Sample:
    """Who starts late: until all see it and it sees all, and the time between the first and the last who see it."""
    _, diary = _lived(scenario, seed)
    sample: Sample = {}
    for subject, at_s in diary.began_s("join"):
        later = {name for name, since_s in diary.began_s("join") if since_s > at_s}
        others = set(scenario.names) - later - {subject}
        seen_by = [time_s for name, time_s in diary.first(subject, "alive", since_s=at_s).items() if name in others]
        sees = [time_s for name in others for time_s in diary.first_by(subject, name, "alive", since_s=at_s)]
        is_whole = len(seen_by) == len(sees) == len(others)
        _add(sample, "joined_s", max(*seen_by, *sees) if is_whole else NEVER_S)
        _add(sample, "spread_s", max(seen_by) - min(seen_by) if is_whole else NEVER_S)
    return sample


def healing(scenario: Scenario, seed: int) -> Sample:
    """What the mesh makes of faults that end: deaths, of whom, and when all see one view again."""
    verdict, diary = _lived(scenario, seed)
    disturbed = _named(scenario, "pause", "crash", "block")
    one_view_s = verdict.kept.get("one-view", NEVER_S)
    return {
        "dead": [diary.count("dead")],
        "others_dead": [diary.count("dead", but=disturbed)],
        "conflicts": [diary.conflicts],
        "one_view_s": [NEVER_S if verdict.violations else one_view_s],
    }


def flapping(scenario: Scenario, seed: int) -> Sample:
    """Nodes that are cut off or lose most messages: how often they are removed, and shown as that, and who else is."""
    _, diary = _lived(scenario, seed)
    faulty = _afflicted(scenario)
    names = set(scenario.names) - faulty
    observer = min(names)
    of_faulty = [word for word in diary.words if word.subject in faulty and word.observer == observer]
    began_s = min(fault.at_s for fault in scenario.fault)
    minutes = (scenario.run_s - began_s) / 60 * len(faulty)
    shown = [word for word in of_faulty if not word.is_damped]
    return {
        "removed_a_minute": [sum(word.state == "dead" for word in of_faulty) / minutes],
        "back_a_minute": [sum(word.was == "dead" for word in of_faulty) / minutes],
        "shown_removed_a_minute": [sum(word.state == "dead" for word in shown) / minutes],
        "shown_back_a_minute": [sum(word.was in ("dead", "damped") for word in shown) / minutes],
        "healthy_dead": [diary.count("dead", but=faulty, observers=names)],
    }


def attacked(scenario: Scenario, seed: int) -> Sample:
    """Somebody lies with the key of one of them: who believed what the liar wanted of the others."""
    verdict, diary = _lived(scenario, seed)
    return {
        "broken": [len(verdict.violations)],
        "killed": [diary.killed_alive],
        "raised": [diary.raised_dead],
        "renamed": [diary.conflicts],
        "added": [diary.unheard_of],
    }


def swarming(scenario: Scenario, seed: int) -> Sample:
    """One world as a swarm draws it: is a rule broken, and is the second run another?"""
    world = drawn(scenario, seed=seed, settled=("nodes", "run_s"))
    first = World(world, seed=seed).run()
    return {"broken": [len(first.violations)], "differs": [World(world, seed=seed).run().digest != first.digest]}


# --- one run


def _lived(scenario: Scenario, seed: int) -> tuple[Verdict, Diary]:
    diaries: list[Diary] = []

    def diary(setting: Setting) -> Check:
        diaries.append(Diary(setting))
        return diaries[0]

    verdict = World(scenario, seed=seed, watch=[diary]).run()
    return verdict, diaries[0]


def _named(scenario: Scenario, *kinds: str) -> set[str]:
    """All nodes with such a fault."""
    return {
        name
        for fault in scenario.fault
        if isinstance(fault, OnNodes) and str(fault.__struct_config__.tag) in kinds
        for name in members((fault.node,), scenario.names)
    }


def _afflicted(scenario: Scenario) -> set[str]:
    """Nodes that partitions isolate, and those at one end of worse links."""
    crowds: list[Collection[str]] = [
        fault.nodes if isinstance(fault, Partition) else fault.one
        for fault in scenario.fault
        if isinstance(fault, Partition | Links)
    ]
    return {name for crowd in crowds for name in members(tuple(crowd), scenario.names)}


def _add(sample: Sample, name: str, *values: float) -> None:
    sample.setdefault(name, []).extend(values)
