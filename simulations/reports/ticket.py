"""A report as Markdown, fit for a ticket: the tables, without the pictures.

Invariant: drawn from the report alone; text that comes from elsewhere can neither break a table nor
become markup. Neighbour: `page` shows the same, and more.
"""

import re
from collections.abc import Iterable, Sequence

from simulations.reports.page import (
    PROMISED_AT,
    SIGNS,
    UNSIZED,
    chain_of,
    quoted,
    ranked,
    sentence_of,
    steps_in,
    when_of,
)
from simulations.reports.shapes import Distribution, Report, Rule, RunReport, Seen, Stage, SweepReport
from simulations.sides import left_out, told
from simulations.visible import visible

ROWS_MAX = 50  # of seeds; a ticket is read by people
_MARKUP = re.compile(r"([\\`*_\[\]<>#|@!~&])")


def ticket(report: Report) -> str:
    """The whole text."""
    parts = _run(report) if isinstance(report, RunReport) else _sweep(report)
    return "\n\n".join(part for part in parts if part) + "\n"


def _run(report: RunReport) -> list[str]:
    rates = report.traffic
    judged, is_sized = report.judged, rates.bytes_node_s_mean is not None
    sized = f" and {rates.bytes_node_s_mean:,.0f} B" if is_sized else ""
    parts = [
        f"# {plain(report.name)}: {'passed' if report.passed else 'broken'}",
        plain(report.about),
        f"Seed {report.seed}, {report.nodes} nodes, {report.ended_s:g} s of {report.run_s:g} s, "
        f"{report.messages:,} messages ({rates.messages_node_s_mean:.2f} messages{sized} "
        f"per node and second), digest {report.digest}. Believed suspicions {judged.suspicions} "
        f"({judged.suspicions_of_well} of nodes that were well), deaths {judged.deaths} ({judged.deaths_of_well}).",
    ]
    for each in report.broken:
        parts.append(f"**{plain(each.rule)}** at {each.at_s:.6f} s: {plain(each.what)}")
        parts += [chain_of(report, each), fenced(steps_in(each))] if each.ancestors else []
    parts += ["## Verdicts", PROMISED_AT, _rules(report.rules)]
    if report.faults:
        rows = [
            (
                " ".join((fault.kind, *[fault.shape] * bool(fault.shape))),
                " ".join(fault.nodes) or told(fault.kind, fault.groups),
                f"{fault.from_s:g}",
                "to the end" if fault.until_s is None else f"{fault.until_s:g}",
            )
            for fault in report.faults[:ROWS_MAX]
        ]
        more = len(report.faults) + report.faults_left_out - len(rows)
        parts += ["## Faults", _table(("fault", "nodes", "from, s", "to, s"), rows), f"{more} more." if more else ""]
        parts += [left_out(report.sides_left_out)]
    parts += _times((*report.detection, *report.spread))
    if report.work is not None:
        stages: Sequence[Stage] = (*report.work.stages, *report.work.setbacks)
        rows = [
            (stage.name, "" if stage.tasks is None else f"{stage.tasks:,}", f"{stage.count:,}", stage.about)
            for stage in stages
        ]
        parts += ["## Work", _table(("stage", "tasks", "times", ""), rows)]
    heads: tuple[str, ...] = ("kind", "messages", "messages per node and s")
    kinds: list[tuple[str, ...]] = [
        (kind.kind, f"{kind.messages:,}", f"{kind.messages_node_s:.3f}") for kind in rates.kinds
    ]
    if is_sized:
        heads += ("bytes", "B per node and s")
        sizes = [(f"{kind.bytes:,}", f"{kind.bytes_node_s:,.1f}") for kind in rates.kinds]
        kinds = [(*counts, *each) for counts, each in zip(kinds, sizes, strict=True)]
    parts += ["## Messages", "" if is_sized else plain(UNSIZED), _table(heads, kinds)]
    again = [line for line in (report.commands.run, report.commands.replay, report.commands.shrink) if line]
    parts += ["## Run it again", fenced("\n".join(again))] if again else []
    parts += ["## Scenario", fenced(report.scenario.rstrip("\n"), "toml")]
    return parts


def _sweep(report: SweepReport) -> list[str]:
    rows = [
        (
            str(row.seed),
            "passed" if row.passed else row.rule,
            "" if row.at_s is None else f"{row.at_s:.3f}",
            str(row.nodes),
            f"{row.messages_node_s:.2f}",
            "" if row.whole_s is None else f"{row.whole_s:.2f}",
            row.what,
        )
        for row in report.rows[:ROWS_MAX]
    ]
    more = report.runs - len(rows)
    figures = [
        (each.name, each.unit, str(each.count), f"{each.least:g}", f"{each.p50:g}", f"{each.p90:g}", f"{each.most:g}")
        for each in report.figures
    ]
    return [
        f"# {plain(report.name)}: {report.passed} of {report.runs} runs passed",
        plain(report.about),
        f"Seeds {report.seeds}, digest {report.digest}.",
        "## Verdicts",
        _rules(report.rules),
        "## Seeds",
        _table(
            ("seed", "verdict", "at, s", "nodes", "messages per node and s", "one view after, s", "in what way"), rows
        ),
        f"{more} more." if more else "",
        *_sights(report.sights),
        "## Over all runs",
        _table(("figure", "unit", "runs", "least", "median", "p90", "most"), figures),
        *_times((*report.detection, *report.spread)),
        "## Run it again",
        fenced(report.command),
        "## Scenario",
        fenced(report.scenario.rstrip("\n"), "toml"),
    ]


def _sights(sights: Sequence[Seen]) -> list[str]:
    if not sights:
        return []
    never = ", ".join(each.name for each in sights if not each.runs)
    rows = [(each.name, f"{each.runs:,}", f"{each.count:,}") for each in sights if each.runs]
    return ["## What was seen", plain(f"Never: {never}.") if never else "", _table(("sight", "runs", "times"), rows)]


def _rules(rules: Sequence[Rule]) -> str:
    rows = []
    for rule in ranked(rules):
        at = f"in {rule.seeds:,} runs" if rule.seeds else when_of(rule)
        rows.append((rule.name, rule.letter, f"{SIGNS[rule.verdict]} {rule.verdict}", at, sentence_of(rule)))
    return _table(("rule", "letter", "verdict", "when", "what it says"), rows)


def _times(group: Sequence[Distribution]) -> list[str]:
    rows = [
        (each.name, f"{each.count + each.never:,}", f"{each.never:,}", *quoted(each), each.about)
        for each in group
        if each.count or each.never
    ]
    heads = ("", "cases", "never", "median", "p99", "longest", "")
    return ["## How soon it was known", _table(heads, rows)] if rows else []


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(text: str) -> str:
    """Text on one line that means nothing to Markdown, nor to the HTML that may stand in it."""
    return _MARKUP.sub(r"\\\1", " ".join(visible(text).split()))


def fenced(text: str, language: str = "") -> str:
    """Text as it is; the fence is longer than any that stands in it."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{visible(text)}\n{fence}"
