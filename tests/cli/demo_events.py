"""Recorded events of a small audit on three nodes, as `/v1/events` gives them."""

from itertools import count

NODES = {"a": "a" * 16, "b": "b" * 16, "c": "c" * 16}

Event = dict[str, object]
_SEQ = count(1)


def said(node: str, kind: str, **fields: object) -> Event:
    """One event of `node`."""
    return {"seq": next(_SEQ), "time_ms": 1_700_000_000_000, "node": NODES[node], "kind": kind, **fields}


def up(node: str, peer: str, life: int = 1) -> Event:
    return said(node, "peer_alive", peer=NODES[peer], name=peer, life=life, incarnation=0)


def awarded(task: str, epoch: int, owner: str, former: str = "", why: str = "gossip") -> Event:
    former_id = NODES[former] if former else ""
    return said("a", "task_awarded", task=task, iid="i", epoch=epoch, owner=NODES[owner], why=why, former=former_id)


def started(task: str, epoch: int, owner: str) -> Event:
    return said(owner, "task_started", task=task, iid="i", epoch=epoch, agent="package-audit")


def done(task: str, epoch: int, owner: str) -> Event:
    return said(owner, "task_done", task=task, iid="i", epoch=epoch, owner=NODES[owner], took_ms=12)


def lapsed(task: str, epoch: int, owner: str, evidence: str = "absent", silent_s: float = 0.9) -> Event:
    fields = {"epoch": epoch, "owner": NODES[owner], "evidence": evidence, "silent_s": silent_s}
    return said("a", "lease_lapsed", task=task, iid="i", **fields)


def all_up() -> list[Event]:
    return [up(node, peer) for node in NODES for peer in NODES]
