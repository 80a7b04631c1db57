"""The page of many runs: which failed, in what, and what all of them measured.

Invariant: as `page`, whose parts it uses. Neighbours: `gathering` made the report, `pictures` draws.
"""

from collections.abc import Sequence

from simulations.reports import pictures
from simulations.reports.page import (
    UNSIZED,
    commands,
    detection,
    document,
    is_bad,
    quoted,
    ranked,
    scenario,
    sentence_of,
    sign,
    table,
    tiles,
    titled,
)
from simulations.reports.shapes import Commands, Figure, Rule, Seed, Seen, SweepReport
from simulations.reports.svg import tag, words

SQUARES_MAX = 2_000


def sweep_page(report: SweepReport) -> str:
    """The page."""
    rows = [_rule(rule, report.runs) for rule in ranked(report.rules)]
    parts = [
        *_head(report),
        *_seeds(report),
        tag("h2", "Verdicts"),
        table(
            ["Rule", "Letter", "Verdict", "*Runs", "What it says"],
            rows,
            class_="rules",
        ),
        *_sights(report.sights, report.runs),
        *_figures(report),
        *detection(report.detection, report.spread),
        *scenario(report.scenario, report.settings),
    ]
    return document(f"{report.name}, seeds {report.seeds}", parts, digest=report.digest)


def _head(report: SweepReport) -> list[str]:
    failed = report.runs - report.passed
    if failed:
        badge = tag("p", f"✕ {failed:,} of {report.runs:,} runs broke a rule", class_="verdict bad")
    else:
        badge = tag("p", f"✓ all {report.runs:,} runs passed", class_="verdict")
    judged = report.judged
    well = f"{judged.deaths_of_well:,} of nodes that ran and were linked"
    shown = [
        ("Runs passed", f"{report.passed:,} / {report.runs:,}", f"seeds {report.seeds}"),
        (
            "Deaths, at all observers",
            f"{judged.deaths:,}",
            well,
        ),
    ]
    found_dead, known = report.detection[1:]
    dead = known if known.count or known.never else found_dead
    if dead.count or dead.never:
        median, p99, _ = quoted(dead)
        shown.append(("Death known after", median, f"median; p99 {p99}"))
    shown += [
        (
            each.name.capitalize(),
            f"{each.p50:,.3g}" if each.p50 < 100 else f"{each.p50:,.0f}",
            f"{each.unit}, median of runs",
        )
        for each in report.figures[:3]
    ]
    drawn = " Each seed drew a scenario of its own." if report.is_drawn else ""
    return [
        tag("h1", words(report.name)),
        badge,
        tag("p", words(report.about), class_="about"),
        tag("p", f"Seeds {words(report.seeds)}.{drawn}", class_="note"),
        tiles(shown),
        *commands(Commands(run=report.command)),
    ]


def _seeds(report: SweepReport) -> list[str]:
    by_seed = sorted(report.rows, key=lambda row: row.seed)[:SQUARES_MAX]
    squares = [
        tag(
            "i",
            "",
            class_=None if row.passed else "bad",
            title=f"seed {row.seed}: {'passed' if row.passed else row.rule}",
        )
        for row in by_seed
    ]
    failed = [row for row in report.rows if not row.passed]
    passed = [row for row in report.rows if row.passed]
    is_sized = any(row.bytes_node_s is not None for row in report.rows)
    sized = ["*B per node and s"] * is_sized
    heads = ["Seed", "Verdict", "*At", "*Nodes", "*msg per node and s", *sized, "*One view after", "In what way"]
    unsized = "" if is_sized or not report.rows else tag("p", words(UNSIZED), class_="note")
    more = f" Not listed: {report.rows_left_out:,} more that passed." if report.rows_left_out else ""
    parts = [
        tag("h2", "Seeds"),
        tag(
            "p",
            words(f"A square is a run that passed, a disc one that broke a rule; in the order of their seeds.{more}"),
            class_="note",
        ),
        tag("div", *squares, class_="seeds"),
        unsized,
    ]
    if failed:
        parts += [tag("h3", "Broken"), table(heads, [_row(row) for row in failed])]
    if passed:
        count = f"{len(passed):,} that passed"
        parts.append(tag("details", tag("summary", count), table(heads[:-1], [_row(row) for row in passed])))
    return parts


def _row(row: Seed) -> str:
    verdict = tag("span", "✓ passed", class_="nowrap mark-ok")
    if not row.passed:
        verdict = tag("span", f"✕ {words(row.rule)}", class_="nowrap mark-bad")
    numbers = (
        "" if row.at_s is None else f"{row.at_s:.3f} s",
        f"{row.nodes}",
        f"{row.messages_node_s:.2f}",
        *([] if row.bytes_node_s is None else [f"{row.bytes_node_s:,.0f}"]),
        "never" if row.whole_s is None else f"{row.whole_s:.2f} s",
    )
    drawn = tag("details", tag("summary", "what it drew"), tag("code", words(row.drawn))) if row.drawn else ""
    cells = [
        tag("td", f"{row.seed}", class_="n"),
        tag("td", verdict),
        *(tag("td", each, class_="n") for each in numbers),
    ]
    if not row.passed:
        cells.append(tag("td", words(row.what), tag("br"), tag("code", words(row.command)), drawn, class_="w"))
    return tag("tr", *cells, class_=None if row.passed else "bad")


def _rule(rule: Rule, runs: int) -> str:
    cells = [
        tag("td", tag("span", words(rule.name), class_="nowrap")),
        tag("td", words(rule.letter)),
        sign(rule.verdict),
        tag("td", f"{rule.seeds or 0:,} of {runs:,}" if rule.seeds or rule.count is not None else "", class_="n"),
        tag("td", words(sentence_of(rule)), class_="w"),
    ]
    return tag("tr", *cells, class_="bad" if is_bad(rule) else None)


def _sights(sights: Sequence[Seen], runs: int) -> list[str]:
    """What no run showed was tested by none."""
    if not sights:
        return []
    never = [each.name for each in sights if not each.runs]
    said = f"Never seen: {', '.join(never)}." if never else "All that there is to be seen was."
    rows = [
        tag(
            "tr",
            tag("td", words(each.name)),
            tag("td", f"{each.runs:,} of {runs:,}", class_="n"),
            tag("td", f"{each.count:,}", class_="n"),
        )
        for each in sorted(sights, key=lambda each: (-each.runs, each.name))
        if each.runs
    ]
    seen = tag("details", tag("summary", f"{len(rows)} that were seen"), table(["Sight", "*Runs", "*Times"], rows))
    return [tag("h2", "What was seen"), tag("p", words(said)), seen if rows else ""]


def _figures(report: SweepReport) -> list[str]:
    if not report.figures:
        return []
    parts = [tag("div", tag("h3", words(titled(each.name))), _figure(each)) for each in report.figures]
    return [
        tag("h2", "Over all runs"),
        tag("p", "How many runs had which figure.", class_="note"),
        tag("div", *parts, class_="two"),
    ]


def _figure(figure: Figure) -> str:
    numbers = f"median {figure.p50:,.4g}, p90 {figure.p90:,.4g}, from {figure.least:,.4g} to {figure.most:,.4g}"
    said = f"{numbers} {figure.unit}; {figure.count:,} runs"
    drawn = pictures.histogram(figure) if figure.most > figure.least else ""
    return drawn + tag("p", words(said), class_="note")
