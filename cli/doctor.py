"""`meshctl doctor`: what is wrong with this host and this mesh, where, and what to do about it.

Invariant: exit code 0 says that no check that could run found anything but notes, 9 that one did;
what could not be looked at is named. Neighbours: `checks` is the table of questions.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec

from cli import checks
from cli.checks import Finding, Found, Host, Told
from cli.client import Client
from cli.exits import Refusal
from cli.output import GREEN, RED, YELLOW, Item, is_colored, write
from cli.session import Session, verb
from meshd.observe.text import shown
from meshd.where import state_dir
from protocol.errors import DEGRADED, OK

TONES = {"error": RED, "warning": YELLOW, "note": GREEN}
AGENTS = "agents.folder"


class Report(msgspec.Struct):
    """What was found, by which checks, and which could not be made."""

    findings: list[Finding]
    passed: list[str]
    skipped: list[str]
    why: str = ""


@verb("doctor")
@click.pass_obj
def doctor(session: Session) -> int:
    """Look for what is wrong, here and in the mesh, and say how to mend it. Exit code 9 when something is."""
    report = _examined(session)
    if session.wants_json():
        write(json.dumps(msgspec.to_builtins(report)) + "\n")
    elif session.output == "name":
        write("".join(f"{finding.check}\n" for finding in report.findings))
    else:
        _print(session, report)
    return DEGRADED if any(finding.severity != "note" for finding in report.findings) else OK


def _examined(session: Session) -> Report:
    folder = Path("agents.d")
    told: Told | None = None
    unreachable: list[Finding] = []
    why = ""
    try:
        client = Client(session)
        status, diagnosis = client.get("v1", "status").value, client.get("v1", "diagnosis").value
        told = Told(status, diagnosis, client.get("v1", "audit", "head").value)
        folder = _folder(client.get("v1", "config").value["settings"])
    except Refusal as refusal:
        why = refusal.body["message"]
        where = str(session.node or state_dir(session.dir))
        unreachable = [Finding("error", "daemon", why, where, refusal.body["hint"])]
    report = Report(unreachable, [], [])
    if told is None:
        _skip(report, checks.MESH, why)
    elif why := checks.cut_off(told):
        _run(report, [check for check in checks.MESH if check not in checks.OF_OTHERS], told)
        _skip(report, checks.OF_OTHERS, why)
    else:
        _run(report, checks.MESH, told)
    if session.node:  # the files of another host are not here
        _skip(report, checks.HOST, "they look at the daemon's own host, and --node may be another one")
    else:
        home = Path(told.diagnosis["directory"]) if told is not None else state_dir(session.dir)
        _run(report, checks.HOST, Host(home, home / folder, checks.environment()))
    return report


def _skip(report: Report, table: Sequence[Callable[[checks.T], Found]], why: str) -> None:
    report.skipped += [check.__name__ for check in table]
    report.why = f"{report.why}, and {why}" if report.why else why


def _run(report: Report, table: Sequence[Callable[[checks.T], Found]], subject: checks.T) -> None:
    for check in table:
        found = list(check(subject))
        report.findings += found
        if not found:
            report.passed.append(check.__name__)


def _folder(settings: Sequence[Item]) -> Path:
    return Path(next((str(each["value"]) for each in settings if each["key"] == AGENTS), "agents.d"))


def _print(session: Session, report: Report) -> None:
    lines = []
    for finding in report.findings:
        word: str = finding.severity
        if is_colored(session):
            word = f"\x1b[{TONES[finding.severity]}m{word}\x1b[0m"
        lines.append(f"{word}[{finding.check}]: {shown(finding.where)}: {shown(finding.what)}")
        lines.append(f"  try: {shown(finding.cure)}")
    if not session.is_quiet:
        if report.passed:
            lines.append(f"fine: {', '.join(report.passed)}")
        if report.skipped:
            lines.append(f"skipped: {', '.join(report.skipped)}, for {shown(report.why)}")
    write("".join(f"{line}\n" for line in lines))
