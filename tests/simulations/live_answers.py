"""What a daemon's API answers of a mesh of five in two regions, as plain values; each test bends its own copy."""

from typing import Any

NODES = {"a": "east", "b": "east", "c": "east", "d": "west", "e": "west"}


def node_id(name: str) -> str:
    return name * 32


def a_task(number: int, *, owner: str, home: str, **more: object) -> dict[str, Any]:
    ends = {"owner": node_id(owner), "home": node_id(home)}
    return {"id": f"task{number}", "capability": "work@1", "state": "running", **ends, **more}


def answers() -> dict[str, Any]:
    """As `meshctl sim from-live` hands them over."""
    peers = [
        {"name": name, "id": node_id(name), "state": "alive", "region": region, "load": {"slots": 2, "running": 0}}
        for name, region in NODES.items()
    ]
    agents = [{"node": node_id(name), "capabilities": ["work@1"], "state": "ready"} for name in "bcde"]
    return {
        "status": {"mesh": "mmm", "name": "a", "record": {"copies": 1, "where": "a"}},
        "peers": peers,
        "agents": agents,
        "tasks": [a_task(1, owner="d", home="a"), a_task(2, owner="b", home="b")],
        "settings": [
            {"key": "membership.preset", "value": "local"},
            {"key": "membership.suspicion_s_min", "value": 1.5},
            {"key": "membership.verifiers", "value": 2},
            {"key": "tasks.lease_s", "value": 2.0},
            {"key": "routing.policy", "value": "least-loaded"},
            {"key": "gossip.digest_interval_s", "value": 4.0},
            {"key": "link.islanded_after_s", "value": 1.5},
            {"key": "results.keep_s", "value": 600.0},
            {"key": "agents.drain_s", "value": 3.0, "default": 10.0},
            {"key": "results.bytes_max", "value": 0, "default": 0},
            {"key": "tasks.of_a_later_version", "value": 1},
            {"key": "node.name", "value": "a"},
        ],
    }
