"""A report as one HTML file: nothing is fetched, and it can be read without its script.

Invariant: drawn from the report alone; every text is escaped, and the page's own policy lets no
script run but the one that is in it. Neighbours: `pictures` and `spacetime` draw, `style` colours,
`manypage` is the page of many runs.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

from simulations.reports import pictures
from simulations.reports.building import BROKEN, CUT_SHORT, HELD, NOT_SEEN, SEEN
from simulations.reports.shapes import (
    Broken,
    Commands,
    Distribution,
    Kind,
    Rule,
    RunReport,
    Setting,
    Stage,
    Traffic,
    Work,
)
from simulations.reports.spacetime import spacetime
from simulations.reports.style import SCRIPT, STYLE
from simulations.reports.svg import tag, words
from simulations.sides import left_out

SIGNS = {HELD: "✓", BROKEN: "✕", CUT_SHORT: "–", SEEN: "✓", NOT_SEEN: "✕"}
_COLOURS = {HELD: "mark-ok", BROKEN: "mark-bad", CUT_SHORT: "mark-dull", SEEN: "mark-ok", NOT_SEEN: "mark-bad"}
UNSIZED = 'Frames were not encoded (wire = "none"): there are no bytes to be counted.'
PROMISED_AT = "Of a promise that was kept: how long after the last fault, and how long it had."
PROMISED = {
    "always": "holds at every step",
    "eventually": "holds in the end",
    "sometimes": "is to be seen",
    "never": "is not to be seen",
    "figure": "is not exceeded",
    "unasked": "is so in every run",
}


def run_page(report: RunReport) -> str:
    """The page of one run."""
    parts = [
        *_head(report),
        *_findings(report),
        *_verdicts(report.rules),
        *_over_time(report),
        *_standings(report),
        *detection(report.detection, report.spread),
        *_traffic(report.traffic),
        *_work(report.work),
        *scenario(report.scenario, report.settings, drawn=report.drawn),
    ]
    return document(f"{report.name}, seed {report.seed}", parts, digest=report.digest)


def document(title: str, parts: Sequence[str], *, digest: str) -> str:
    """A whole file."""
    hashed = b64encode(sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hashed}'; base-uri 'none'"
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{words(title)}</title>",
        f"<style>{STYLE}</style>",
    ]
    foot = tag("footer", f"The same scenario and seed give this page again, byte for byte. Digest {words(digest)}")
    body = tag("main", *parts, foot)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            *head,
            "<body>",
            body,
            f"<script>{SCRIPT}</script>",
            "</body></html>",
            "",
        ]
    )


# --- parts


def _head(report: RunReport) -> list[str]:
    rule = report.broken[0] if report.broken else None
    if rule is not None:
        badge = tag("p", f"✕ {words(rule.rule)} was broken at {rule.at_s:.3f} s", class_="verdict bad")
    elif report.is_repeatable is False:
        badge = tag("p", "✕ not deterministic: a second run went otherwise", class_="verdict bad")
    elif any(each.verdict == NOT_SEEN for each in report.rules):
        badge = tag("p", "– passed, but what should be seen was not", class_="verdict bad")
    else:
        badge = tag("p", "✓ passed", class_="verdict")
    shrunk = tag("p", f"Made small of {words(report.shrunk_from)}.", class_="note") if report.shrunk_from else ""
    repeated = {None: "", True: " A second run gave the same digest.", False: ""}[report.is_repeatable]
    said = (
        f"Seed {report.seed}, {report.nodes} nodes, {report.ended_s:g} s of {report.run_s:g} s, "
        f"{report.steps:,} steps, {report.messages:,} messages.{repeated}"
    )
    return [
        tag("h1", words(report.name)),
        badge,
        tag("p", words(report.about), class_="about"),
        shrunk,
        tag("p", said, class_="note"),
        tiles(_figures(report)),
    ]


def _figures(report: RunReport) -> list[tuple[str, str, str]]:
    whole_s = report.agreement.whole_at_s
    struck_s = max((each.until_s or each.from_s for each in report.faults), default=0.0)
    one_view = ("not reached", "when the run ended" if report.passed else "when the run was stopped")
    if whole_s is not None:
        one_view = (
            f"{max(0.0, whole_s - struck_s):.2f} s",
            "after the last fault" if report.faults else "after the start",
        )
    found_dead, known = report.detection[1:]
    dead = known if known.count or known.never else found_dead
    judged, traffic = report.judged, report.traffic
    found = [
        ("One view", *one_view),
        (
            "Deaths, at all observers",
            f"{judged.deaths:,}",
            f"{judged.deaths_of_well:,} of nodes that ran and were linked",
        ),
        ("Messages", f"{traffic.messages_node_s_mean:,.2f}", "per node and second"),
    ]
    if traffic.bytes_node_s_mean is not None:
        found.append(("Bytes", f"{traffic.bytes_node_s_mean:,.0f}", "per node and second"))
    if dead.count or dead.never:
        median, p99, _ = quoted(dead)
        found.insert(1, ("Death known after", median, f"median; p99 {p99}"))
    if report.work is not None:
        first, last = report.work.stages[0], report.work.stages[-1]
        found.append(("Tasks done", f"{last.tasks or 0} / {first.tasks or 0}", "of those submitted"))
    return found


def tiles(figures: Sequence[tuple[str, str, str]]) -> str:
    """The few numbers that are looked at first."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", words(name)), tag("dd", words(value), tag("small", words(unit))), class_="tile")
            for name, value, unit in figures
        ),
        class_="tiles",
    )


def _findings(report: RunReport) -> list[str]:
    if not report.broken:
        return commands(report.commands)
    drawn = [tag("h2", "What was broken")]
    for each in report.broken:
        chain = [tag("p", words(chain_of(report, each)), class_="note"), tag("pre", words(steps_in(each)))]
        sentence = tag("p", tag("strong", words(each.rule)), f" at {each.at_s:.6f} s: {words(each.what)}")
        drawn.append(tag("div", sentence, *(chain if each.ancestors else []), class_="finding"))
    if report.space_time is not None and report.space_time.steps:
        count = len(report.space_time.steps)
        between = f"{report.space_time.left_out:,}"
        said = (
            f"The last {count} steps before it that tell something, downwards in their order; {between} lines of the "
            "trace between them are left out. Shaded and in the accent: what led to the break. ● event, ■ write of the "
            "record, ▲ run or reply, ◆ a life begins, ○ anything else; an arrow is a message."
        )
        drawn += [
            tag("h3", "Space and time"),
            tag("p", said, class_="note"),
            tag("div", spacetime(report.space_time), class_="spacetime", tabindex="0"),
        ]
    return [*drawn, *commands(report.commands)]


def chain_of(report: RunReport, broken: Broken) -> str:
    """What the steps that led to a break led to: a figure is over many cases, and known at the end alone."""
    is_figure = any((rule.name, rule.sort) == (broken.rule, "figure") for rule in report.rules)
    return f"What led to {'the slowest case, or of a count to the last one' if is_figure else 'it'}, the oldest first:"


def steps_in(broken: Broken) -> str:
    """These steps, a line each."""
    return "\n".join(
        f"{step.seq:>8} {step.at_s:>12.6f} s  {step.node:<8} {step.kind:<9} {step.what}" for step in broken.ancestors
    )


def commands(given: Commands) -> list[str]:
    """What to type to see it again."""
    lines = [
        f"{name + ':':<8} {line}"
        for name, line in zip(given.__struct_fields__, (given.run, given.replay, given.shrink), strict=True)
        if line
    ]
    return (
        [
            tag(
                "details",
                tag("summary", "Run it again"),
                tag("pre", words("\n".join(lines)), class_="wrap"),
                class_="printed",
            )
        ]
        if lines
        else []
    )


def _verdicts(rules: Sequence[Rule]) -> list[str]:
    rows = [tag("tr", *_verdict(rule), class_="bad" if is_bad(rule) else None) for rule in ranked(rules)]
    said = "What was broken first, then promises and what is to be seen, then what holds at every step."
    return [
        tag("h2", "Verdicts"),
        tag("p", f"{said} {PROMISED_AT}", class_="note"),
        table(["Rule", "Letter", "Verdict", "*At", "What it says"], rows, class_="rules"),
    ]


def _verdict(rule: Rule) -> list[str]:
    return [
        tag("td", tag("span", words(rule.name), class_="nowrap")),
        tag("td", words(rule.letter)),
        sign(rule.verdict),
        tag("td", words(when_of(rule)), class_="n"),
        tag("td", words(sentence_of(rule)), class_="w"),
    ]


def when_of(rule: Rule) -> str:
    """When it was broken; how often a sight was seen; of a promise that was kept how soon, and how long it had."""
    if rule.count is not None:
        return f"×{rule.count:,}"
    if rule.at_s is None:
        return ""
    is_kept = rule.within_s is not None and rule.verdict == HELD
    return f"{rule.at_s:.2f} s of {rule.within_s:g} s" if is_kept else f"{rule.at_s:.3f} s"


def ranked(rules: Sequence[Rule]) -> list[Rule]:
    """What is looked for first comes first."""
    return sorted(rules, key=lambda rule: (not is_bad(rule), rule.sort == "always"))


def is_bad(rule: Rule) -> bool:
    """Is this what is wrong with the run?"""
    return rule.verdict in (BROKEN, NOT_SEEN)


def sentence_of(rule: Rule) -> str:
    """What a rule says, as a sentence."""
    return titled(rule.about or PROMISED[rule.sort])


def titled(text: str) -> str:
    """The same with a capital letter."""
    return text[:1].upper() + text[1:]


def sign(verdict: str) -> str:
    """A verdict with its mark."""
    return tag("td", tag("span", f"{SIGNS[verdict]} {words(verdict)}", class_=f"nowrap {_COLOURS[verdict]}"))


def table(heads: Sequence[str], rows: Sequence[str], *, class_: str | None = None) -> str:
    """A table; heads with a star stand over numbers."""
    cells = [tag("th", words(head.lstrip("*")), class_="n" if head.startswith("*") else None) for head in heads]
    drawn = tag("table", tag("thead", tag("tr", *cells)), tag("tbody", *rows), class_=class_)
    return tag("div", drawn, class_="wide")


def _over_time(report: RunReport) -> list[str]:
    traffic = report.traffic
    faults = tag("p", "Nothing was done to the mesh.", class_="note")
    if report.faults:
        more = f"Not drawn: {report.faults_left_out:,} more." if report.faults_left_out else ""
        key = "Each bar lasts as long as its fault; a dashed one lasted to the end. Shaded below."
        said = " ".join(each for each in (key, more, left_out(report.sides_left_out)) if each)
        faults = tag("p", words(said), class_="note") + _wide(pictures.ribbon(report))
    whole_s = report.agreement.whole_at_s
    whole = "At the end they do not all agree." if whole_s is None else f"From {whole_s:.3f} s on all agree."
    return [
        tag("h2", "Over time"),
        tag("h3", "Faults"),
        faults,
        tag("h3", "Agreement"),
        tag(
            "p",
            words(
                "The share of pairs (observer that is up, subject) in which the observer is right: who is up stands "
                f"alive, who is down does not. Pale: how low it went within {report.agreement.column_s:g} s. {whole}"
            ),
            class_="note",
        ),
        _wide(pictures.agreement(report)),
        tag("h3", "Messages sent, per node and second"),
        _rates_key(),
        _wide(
            pictures.rate(
                report,
                traffic.messages_node_s,
                traffic.messages_node_s_max,
                unit="msg/s",
                name="Messages per node and second",
            )
        ),
        *_bytes_over_time(report),
    ]


def _bytes_over_time(report: RunReport) -> list[str]:
    traffic, name = report.traffic, "Bytes per node and second"
    if traffic.bytes_node_s_mean is None:
        return []
    drawn = pictures.rate(report, traffic.bytes_node_s, traffic.bytes_node_s_max, unit="B/s", name=name)
    return [tag("h3", "Bytes sent, per node and second"), _wide(drawn)]


def _rates_key() -> str:
    return tag(
        "p",
        pictures.sample(0),
        "mean of the nodes that were up \u2003",
        pictures.sample(1),
        "the busiest node",
        class_="note",
    )


def _wide(drawn: str) -> str:
    return tag("div", drawn, class_="wide")


def _standings(report: RunReport) -> list[str]:
    standings = report.standings
    if not standings.frames or not standings.nodes:
        return []
    shown = (
        ""
        if len(standings.nodes) == standings.nodes_total
        else f" {len(standings.nodes)} of {standings.nodes_total} nodes are drawn."
    )
    last, first = len(standings.frames) - 1, pictures.most_told(standings)
    slider = tag(
        "div",
        tag("p", "At ", tag("output", f"{standings.frames[first].at_s:g} s"), ":"),
        f'<input type="range" min="0" max="{last}" value="{first}" aria-label="time">',
        pictures.large_map(standings, first),
        class_="scrub",
        hidden="hidden",
    )
    maps = [
        tag("figure", pictures.small_map(standings, number), tag("figcaption", f"{standings.frames[number].at_s:g} s"))
        for number in pictures.chosen(standings)
    ]
    said = f"A row an observer, a column a subject. Drawn where something had changed.{shown}"
    return [
        tag("h2", "Who takes whom for what"),
        tag("p", words(said), class_="note"),
        pictures.frame_symbols(standings),
        _key(),
        tag("div", *maps, class_="maps"),
        slider,
    ]


def _key() -> str:
    entries = [
        tag("li", pictures.state_sample(name), words(said))
        for name, said in (
            ("alive", "alive"),
            *((name, name) for _, name in pictures.STATES),
            ("nobody", "itself, or it is down"),
        )
    ]
    return tag("ul", *entries, class_="key")


def detection(found: Sequence[Distribution], spread: Sequence[Distribution]) -> list[str]:
    """How soon faults were noticed, and how fast the news went round."""
    if not any(each.count or each.never for each in (*found, *spread)):
        return []
    halves = [
        tag(
            "div",
            tag("h3", words(name)),
            pictures.curves(group, name=name) or tag("p", words(none), class_="note"),
            distributions(group),
        )
        for name, group, none in (
            ("Detection", found, "No fault of a node that makes it silent, or nobody noticed."),
            ("Spread", spread, "There was no news."),
        )
    ]
    return [
        tag("h2", "How soon it was known"),
        tag(
            "p",
            "Share of all cases that took no longer. Nodes that were cut off count too, and wait for the cut to heal. "
            "Never: well and within reach all along, and had not found out although there was time enough.",
            class_="note",
        ),
        tag("div", *halves, class_="two"),
    ]


def distributions(group: Sequence[Distribution]) -> str:
    """The numbers that are quoted from curves, each with a row below that says of what."""
    rows, heads = [], ["", "*cases", "*never", "*median", "*p99", "*longest"]
    for number, each in enumerate(group):
        if each.count or each.never:
            values = [tag("td", said, class_="n") for said in (str(each.never or ""), *quoted(each))]
            name = tag("td", pictures.sample(number), words(each.name))
            rows.append(tag("tr", name, tag("td", f"{each.count + each.never:,}", class_="n"), *values))
            rows.append(tag("tr", tag("td", words(each.about), class_="note", colspan=len(heads))))
    return table(heads, rows, class_="pairs") if rows else ""


def quoted(times: Distribution) -> list[str]:
    """Median, 99th percentile and the longest that came to an end, in words."""
    none = "never" if times.never else ""
    return [none if value is None else seconds(value) for value in (times.p50_s, times.p99_s, times.max_s)]


def seconds(value: float | None) -> str:
    """A time with its unit, three digits."""
    if value is None:
        return ""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1_000:.3g} ms"


def _traffic(traffic: Traffic) -> list[str]:
    rows = [tag("tr", *_kind(kind)) for kind in traffic.kinds]
    if traffic.bytes_node_s_mean is None:
        heads = ["Kind", "*messages", "*messages per node and s"]
        return [tag("h2", "Messages by kind"), tag("p", words(UNSIZED), class_="note"), table(heads, rows)]
    heads = ["Kind", "*messages", "*bytes", "*each, B", "*messages per node and s", "*B per node and s"]
    return [tag("h2", "Messages by kind"), table(heads, rows)]


def _kind(kind: Kind) -> list[str]:
    numbers = [f"{kind.messages:,}", f"{kind.messages_node_s:.3f}"]
    if kind.bytes is not None:
        each = f"{kind.bytes / kind.messages:,.0f}"
        numbers = [numbers[0], f"{kind.bytes:,}", each, numbers[1], f"{kind.bytes_node_s:,.1f}"]
    return [tag("td", words(kind.kind)), *(tag("td", number, class_="n") for number in numbers)]


def _work(work: Work | None) -> list[str]:
    if work is None:
        return []
    setbacks = [tag("tr", *_setback(stage)) for stage in work.setbacks]
    timed = tag("div", pictures.curves(work.times, name="Waiting and running"), distributions(work.times))
    back = tag("div", tag("h3", "Setbacks"), table(["", "*tasks", "*times", ""], setbacks)) if setbacks else ""
    return [
        tag("h2", "Work"),
        _wide(pictures.funnel(work)),
        tag("div", tag("div", tag("h3", "Waiting and running"), timed), back, class_="two"),
    ]


def _setback(stage: Stage) -> list[str]:
    numbers = [tag("td", f"{value:,}", class_="n") for value in (stage.tasks or 0, stage.count)]
    return [tag("td", words(stage.name)), *numbers, tag("td", words(stage.about), class_="note")]


def scenario(text: str, settings: Sequence[Setting], *, drawn: str = "") -> list[str]:
    """All that was run, and all that nodes were told."""
    rows = [
        tag(
            "tr",
            tag("td", tag("code", words(setting.key))),
            tag("td", tag("code", words(setting.value)), class_="w"),
            tag("td", "" if setting.is_default else "changed"),
            class_=None if setting.is_default else "own",
        )
        for setting in settings
    ]
    swarm = [tag("h3", "What the seed drew"), tag("pre", words(drawn), class_="wrap")] if drawn else []
    return [
        tag("h2", "What was run"),
        tag("h3", "The scenario, without what stands at its default"),
        tag("pre", words(text), class_="wrap"),
        *swarm,
        tag("details", tag("summary", f"All {len(settings)} settings"), table(["Key", "Value", ""], rows)),
    ]
