"""The pictures of a report: faults, agreement, traffic, distributions, work, standings.

Invariant: a pure function of the report; pictures over time have one scale, so that they can be
read downwards. Neighbours: `svg` draws, `page` arranges; `spacetime` is the picture of a failure.
"""

from collections.abc import Callable, Sequence
from math import floor, log10

from simulations.reports import svg
from simulations.reports.shapes import Distribution, FaultSpan, Figure, Frame, RunReport, Standings, Work
from simulations.sides import told

WIDTH, LEFT, RIGHT = 960.0, 150.0, 24.0  # of pictures over time
ROW = 22.0  # of a bar with a name
LETTER = 7.0  # as wide as most are
RIBBON_ROWS_MAX = 16  # more faults of nodes are drawn in one row a kind
CURVE_LEAST_S = 0.0001  # a logarithmic scale has no zero
LOG_RATIO = 40.0  # from the median to the longest: more is drawn on a logarithmic scale
MULTIPLES = 8
MAP_SIDE_MAX, MAP_CELL = 520.0, 34.0
STATES = (("-", "unknown"), ("s", "suspect"), ("u", "unreachable"), ("d", "dead"), ("l", "left"))
LINES = ("first", "second", "third")


def time_scale(report: RunReport) -> svg.Scale:
    """Seconds of the run, for every picture over time."""
    return svg.Scale(0.0, max(report.ended_s, 0.001), LEFT, WIDTH - RIGHT)


def _bands(report: RunReport, scale: svg.Scale, bottom: float) -> str:
    """When anything was done to the mesh, behind a curve; and when a rule was broken."""
    drawn, end_s = [], -1.0
    for fault in sorted(report.faults, key=lambda each: each.from_s):
        until_s = report.ended_s if fault.until_s is None else fault.until_s
        if until_s > end_s and until_s > fault.from_s:
            start = scale.at(max(fault.from_s, end_s))
            drawn.append(svg.bar(start, 8, scale.at(until_s) - start, bottom - 8, "band"))
            end_s = until_s
    return "".join(drawn)


def _breaks(report: RunReport, scale: svg.Scale, bottom: float) -> str:
    return "".join(
        svg.line([(scale.at(each.at_s), 2), (scale.at(each.at_s), bottom)], "break") for each in report.broken[:1]
    )


# --- over time


def ribbon(report: RunReport) -> str:
    """A bar for each fault while it lasted; a mark for what happened in an instant."""
    scale = time_scale(report)
    rows = _ribbon_rows(report.faults)
    bottom = 10 + ROW * max(1, len(rows))
    drawn = [svg.x_axis(scale, top=6, bottom=bottom, unit="s")]
    for number, (name, faults) in enumerate(rows):
        y = 10 + ROW * number
        drawn.append(svg.label((LEFT - 10, y + 14), _cut(name, 22), "name", anchor="end"))
        for fault in faults:
            until_s = report.ended_s if fault.until_s is None else fault.until_s
            start, said = scale.at(fault.from_s), _said_of(fault)
            if fault.kind == "join" or scale.at(until_s) - start < 1.5:
                drawn.append(svg.bar(start - 1.5, y + 2, 3, ROW - 6, "instant", title=said))
            else:
                lasting = "fault endless" if fault.until_s is None else "fault"
                drawn.append(svg.bar(start, y + 4, scale.at(until_s) - start, ROW - 10, lasting, title=said))
        if faults[0].groups and len(faults) == 1:
            drawn.append(_beside(faults[0], scale, y + 14))
    drawn.append(_breaks(report, scale, bottom))
    return svg.picture(WIDTH, bottom + 24, *drawn, label="Faults over time")


def _ribbon_rows(faults: Sequence[FaultSpan]) -> list[tuple[str, list[FaultSpan]]]:
    """By who was hit and cut off; of too many rows those that differ in sides alone are one, else those of a kind."""
    by_sides = _together(faults, lambda fault: (_name_of(fault), fault.groups))
    if len(by_sides) <= RIBBON_ROWS_MAX:
        return [(_name_of(each[0]) if len(each) == 1 else _name_and_sides_of(each[0]), each) for each in by_sides]
    by_name = _together(faults, _name_of)
    if len(by_name) <= RIBBON_ROWS_MAX:
        return [(_name_of(each[0]) + f" ×{len(each)}" * (len(each) > 1), each) for each in by_name]
    return [(f"{each[0].kind} ×{len(each)}", each) for each in _together(faults, lambda fault: fault.kind)]


def _together(faults: Sequence[FaultSpan], key: Callable[[FaultSpan], object]) -> list[list[FaultSpan]]:
    rows: dict[object, list[FaultSpan]] = {}
    for fault in faults:
        rows.setdefault(key(fault), []).append(fault)
    return list(rows.values())


def _beside(fault: FaultSpan, scale: svg.Scale, y: float) -> str:
    """Who was cut off from whom, at the beginning of its bar; before it, where there is more room."""
    x = scale.at(fault.from_s)
    is_early = x < (scale.start + scale.end) / 2
    said = _cut(told(fault.kind, fault.groups), int(max(x - scale.start, scale.end - x) / LETTER))
    return svg.label((x + 5 if is_early else x - 5, y), said, "sides", anchor="start" if is_early else "end")


def _name_of(fault: FaultSpan) -> str:
    return " ".join((fault.kind, *[fault.shape] * bool(fault.shape), *fault.nodes))


def _name_and_sides_of(fault: FaultSpan) -> str:
    return f"{_name_of(fault)} {told(fault.kind, fault.groups)}".rstrip()


def _said_of(fault: FaultSpan) -> str:
    until = "to the end" if fault.until_s is None else f"to {fault.until_s:g} s"
    sides = f": {told(fault.kind, fault.groups)}" if fault.groups else ""
    return f"{_name_of(fault)}{sides}, from {fault.from_s:g} s {until}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def agreement(report: RunReport) -> str:
    """The share of pairs that agree with the truth, and how low it went within each column."""
    scale, bottom = time_scale(report), 160.0
    share = svg.Scale(0.0, 1.0, bottom, 12.0)
    curve = report.agreement
    ends = [min((number + 1) * curve.column_s, report.ended_s) for number in range(len(curve.share))]
    first = curve.share[0] if curve.share else 1.0
    shares = [
        (scale.at(0), share.at(first)),
        *((scale.at(s), share.at(v)) for s, v in zip(ends, curve.share, strict=True)),
    ]
    starts = [0.0, *ends[:-1]]
    # The least within a column holds from its beginning, the share at its end from its end on.
    low = [(scale.at(s), share.at(v)) for s, v in zip(starts, curve.least, strict=True)]
    high = [(scale.at(s), share.at(v)) for s, v in zip(starts, [first, *curve.share[:-1]], strict=True)]
    if ends:
        low.append((scale.at(ends[-1]), low[-1][1]))
        high.append((scale.at(ends[-1]), high[-1][1]))
    drawn = [
        _bands(report, scale, bottom),
        svg.x_axis(scale, top=8, bottom=bottom, unit="s"),
        svg.y_axis(share, left=LEFT, right=WIDTH - RIGHT, unit=" %", factor=100.0),
        svg.between(high, low, "range"),
        svg.steps(shares, "first"),
        _breaks(report, scale, bottom),
    ]
    return svg.picture(WIDTH, bottom + 24, *drawn, label="Share of pairs of nodes that agree with the truth")


def rate(report: RunReport, mean: Sequence[float], busiest: Sequence[float], *, unit: str, name: str) -> str:
    """What one node sent in a second: the mean, and the busiest."""
    scale, bottom = time_scale(report), 130.0
    top = max((*busiest, *mean, 0.001))
    high = svg.rounded_up(top)
    heights = svg.Scale(0.0, high, bottom, 12.0)
    is_kilo = high >= 2_000
    starts = [number * report.traffic.column_s for number in range(len(mean) + 1)]

    def drawn_line(values: Sequence[float], class_: str) -> str:
        held = [*values, *values[-1:]]
        return svg.steps([(scale.at(s), heights.at(v)) for s, v in zip(starts, held, strict=True)], class_)

    shown_unit = f" k{unit}" if is_kilo else f" {unit}"
    drawn = [
        _bands(report, scale, bottom),
        svg.x_axis(scale, top=8, bottom=bottom, unit="s"),
        svg.y_axis(heights, left=LEFT, right=WIDTH - RIGHT, unit=shown_unit, factor=0.001 if is_kilo else 1.0),
        drawn_line(busiest, "second") if mean else "",
        drawn_line(mean, "first") if mean else "",
        _breaks(report, scale, bottom),
    ]
    return svg.picture(WIDTH, bottom + 24, *drawn, label=name)


# --- distributions


def curves(distributions: Sequence[Distribution], *, name: str) -> str:
    """What share took no longer than how long; empty when nothing was measured."""
    shown = [each for each in distributions if each.count]
    if not shown:
        return ""
    width, left, bottom = 460.0, 52.0, 190.0
    longest = max(each.max_s or 0.0 for each in shown)
    median = min(each.curve[-1][0] if each.p50_s is None else each.p50_s for each in shown)
    is_log = longest > LOG_RATIO * max(median, CURVE_LEAST_S) and longest > CURVE_LEAST_S
    if is_log:
        low = 10.0 ** floor(log10(max(median / 10, CURVE_LEAST_S)))
        times = svg.Scale(low, 10.0 ** -floor(-log10(longest)), left, width - 34, is_log=True)
    else:
        times = svg.Scale(0.0, max(longest * 1.04, 0.001), left, width - 34)
    shares = svg.Scale(0.0, 1.0, bottom, 12.0)
    drawn = [
        svg.x_axis(times, top=12, bottom=bottom, unit="s"),
        svg.y_axis(shares, left=left, right=width - 34, unit=" %", factor=100.0),
    ]
    for number, each in enumerate(distributions):
        if each.count:
            points = [(times.at(each.curve[0][0]), shares.at(0.0))]
            points += [(times.at(took_s), shares.at(share)) for took_s, share in each.curve]
            points.append((times.at(times.high), shares.at(each.curve[-1][1])))
            drawn.append(svg.steps(points, LINES[number % len(LINES)]))
    return svg.picture(width, bottom + 26, *drawn, label=name)


def sample(number: int) -> str:
    """A piece of the line by which a curve is drawn, for a table that names it."""
    return svg.picture(30, 10, svg.line([(1, 5), (29, 5)], LINES[number % len(LINES)]), label="", class_="sample")


def histogram(figure: Figure) -> str:
    """How many runs had which figure."""
    width, left, bottom = 460.0, 52.0, 130.0
    most = max((count for _, _, count in figure.bins), default=1)
    values = svg.Scale(figure.bins[0][0], figure.bins[-1][1], left, width - 34)
    heights = svg.Scale(0.0, svg.rounded_up(most), bottom, 12.0)
    drawn = [
        svg.x_axis(values, top=12, bottom=bottom, unit=figure.unit),
        svg.y_axis(heights, left=left, right=width - 34, unit=""),
    ]
    for low, high, count in figure.bins:
        start, y = values.at(low), heights.at(count)
        said = f"{low:g} to {high:g} {figure.unit}: {count}"
        drawn.append(svg.bar(start + 1, y, values.at(high) - start - 2, bottom - y, "fill", title=said))
    return svg.picture(width, bottom + 26, *drawn, label=figure.name)


def funnel(work: Work) -> str:
    """How many tasks came to each stage, and how often that happened."""
    most = max(max((stage.tasks or 0 for stage in work.stages), default=0), 1)
    widths = svg.Scale(0.0, most, 0.0, 430.0)
    drawn = [
        svg.label((LEFT + 470, 14), "tasks", "tick", anchor="end"),
        svg.label((LEFT + 540, 14), "times", "tick", anchor="end"),
    ]
    for number, stage in enumerate(work.stages):
        y = 22 + 26.0 * number
        drawn.append(svg.label((LEFT - 10, y + 15), stage.name, "name", anchor="end"))
        if stage.tasks is not None:
            drawn.append(svg.bar(LEFT, y + 3, widths.at(stage.tasks), 16, "fill", title=stage.about))
            drawn.append(svg.label((LEFT + 470, y + 16), f"{stage.tasks:,}", "value", anchor="end"))
        drawn.append(svg.label((LEFT + 540, y + 16), f"{stage.count:,}", "value", anchor="end"))
        drawn.append(svg.label((LEFT + 556, y + 16), stage.about, "tick"))
    return svg.picture(WIDTH + 80, 26 + 26.0 * len(work.stages), *drawn, label="The way of the tasks")


# --- standings


def frame_symbols(standings: Standings) -> str:
    """Every picture of all standings once, to be used in several places, and the patterns that tell states apart."""
    patterns = [
        _pattern("suspect", svg.tag("path", d="M0 .4L.4 0", class_="hatch")),
        _pattern("unreachable", svg.tag("circle", cx=".2", cy=".2", r=".09", class_="dot")),
        _pattern("left", svg.tag("path", d="M0 .2L.4 .2", class_="hatch")),
        _pattern("unknown", svg.tag("circle", cx=".2", cy=".2", r=".04", class_="dot")),
    ]
    size = len(standings.nodes)
    frames = [
        svg.tag("g", *_frame(frame, size), id=f"frame-{number}", data_at=f"{frame.at_s:g} s")
        for number, frame in enumerate(standings.frames)
    ]
    return svg.tag(
        "svg", svg.tag("defs", *patterns, *frames), class_="symbols", aria_hidden="true", width="0", height="0"
    )


def _pattern(name: str, drawn: str) -> str:
    ground = svg.tag("rect", width=".4", height=".4", class_=f"ground-{name}")
    return svg.tag("pattern", ground, drawn, id=f"state-{name}", width=".4", height=".4", patternUnits="userSpaceOnUse")


def _frame(frame: Frame, size: int) -> list[str]:
    drawn = [svg.tag("rect", width=size, height=size, class_="nobody")]
    for letter, name in ((".", "alive"), *STATES):
        path = svg.cells(frame.rows, letter)
        if path:
            drawn.append(svg.tag("path", d=path, class_=f"is-{name}"))
    return drawn


def chosen(standings: Standings) -> list[int]:
    """The frames that show most: the first with anybody in it, the last, and those after which most had changed."""
    frames = standings.frames
    first = next((number for number, frame in enumerate(frames) if any(row.strip() for row in frame.rows)), 0)
    if len(frames) - first <= MULTIPLES:
        return list(range(first, len(frames)))
    changes = [0] * len(frames)
    for number in range(1, len(frames)):
        before, after = frames[number - 1].rows, frames[number].rows
        changes[number] = sum(
            a != b for one, other in zip(before, after, strict=True) for a, b in zip(one, other, strict=True)
        )
    inner = sorted(range(first + 1, len(frames) - 1), key=lambda number: (-changes[number], number))[: MULTIPLES - 2]
    return sorted({first, len(frames) - 1, *inner})


def most_told(standings: Standings) -> int:
    """The frame in which most are suspect, unreachable or dead: there is most to look at; the last of such."""

    def weight(number: int) -> tuple[int, int]:
        text = "".join(standings.frames[number].rows)
        return sum(text.count(letter) for letter in "sud"), number

    return max(range(len(standings.frames)), key=weight)


def small_map(standings: Standings, number: int) -> str:
    """One frame, small."""
    size = float(len(standings.nodes))
    return svg.picture(
        size, size, svg.tag("use", href=f"#frame-{number}"), label=f"Standings at {standings.frames[number].at_s:g} s"
    )


def large_map(standings: Standings, number: int) -> str:
    """One frame with the names of observers at the left and of subjects above."""
    size, edge = len(standings.nodes), 84.0
    side = min(MAP_SIDE_MAX, max(8 * MAP_CELL, size * MAP_CELL))
    unit = side / size
    every = max(1, round(14 / unit + 0.49))
    drawn = [
        svg.tag(
            "g", svg.tag("use", href=f"#frame-{number}"), transform=f"translate({edge:g} {edge:g}) scale({unit:.4f})"
        )
    ]
    for place in range(0, size, every):
        middle = edge + (place + 0.5) * unit
        drawn.append(svg.label((edge - 6, middle + 4), standings.nodes[place], "tick", anchor="end"))
        turned = f"translate({svg.number(middle + 4)} {edge - 6:g}) rotate(-90)"
        drawn.append(svg.tag("text", svg.words(standings.nodes[place]), transform=turned, class_="tick"))
    drawn.append(svg.label((edge - 6, 12), "observer ↓", "tick", anchor="end"))
    drawn.append(svg.label((edge, 12), "subject →", "tick"))
    whole = edge + MAP_SIDE_MAX + 8  # as wide as the largest, so that letters are as large
    return svg.picture(whole, edge + side + 8, *drawn, label="Standings", class_="large")


def state_sample(name: str) -> str:
    """One cell of a state, for the key."""
    cell = (
        svg.tag("path", d="M0 0h1v1h-1z", class_=f"is-{name}")
        if name != "nobody"
        else svg.tag("rect", width="1", height="1", class_="nobody")
    )
    return svg.picture(1, 1, cell, label="")
