"""The picture of a failure: a column a node, a row a step, arrows for messages, and the steps in words beside it.

Invariant: time runs downwards, one step a row, so that nothing overlaps; what led to the break is
drawn in the accent. Neighbours: `building` chose the steps, `svg` draws.
"""

import re

from simulations.reports import svg
from simulations.reports.building import sender_of
from simulations.reports.shapes import SpaceTime, Step

ROW, LANE, TOP = 17.0, 26.0, 40.0
TIME_WIDTH, WORDS_WIDTH, WORDS_CHARS = 92.0, 640.0, 80  # bold letters are 8 wide, and no word is cut without a sign
ID_CHARS = 6  # of an id of a task or a node; who points at a line sees all of it
MARKS = {"event": "event", "stored": "stored", "run": "run", "stop": "run", "life": "life", "reply": "reply"}
_ID = re.compile(r"\b[a-z2-7]{26,32}\b")


def spacetime(report: SpaceTime) -> str:
    """All of it."""
    place = {node: TIME_WIDTH + LANE * (number + 0.5) for number, node in enumerate(report.nodes)}
    rows = {step.seq: TOP + ROW * (number + 0.5) for number, step in enumerate(report.steps)}
    ancestry = frozenset(report.ancestry)
    width = TIME_WIDTH + LANE * len(place) + 16 + WORDS_WIDTH
    bottom = TOP + ROW * len(report.steps)
    lanes = [svg.line([(x, TOP - 4), (x, bottom)], "lane") for x in place.values()]
    heads = [
        svg.tag("text", svg.words(node), transform=f"translate({x + 4:g} {TOP - 8:g}) rotate(-60)", class_="tick")
        for node, x in place.items()
    ]
    by_seq = {step.seq: step for step in report.steps}
    drawn = [
        _row(step, y, place, width, is_cause=step.seq in ancestry)
        for step, y in zip(report.steps, rows.values(), strict=True)
    ]
    arrows = [
        _arrow(step, rows, place, by_seq, step.seq in ancestry) for step in report.steps if step.kind == "message"
    ]
    marks = [
        _mark(step, (place[step.node], rows[step.seq]), is_cause=step.seq in ancestry)
        for step in report.steps
        if step.node in place
    ]
    return svg.picture(
        width, bottom + 6, *lanes, *drawn, *arrows, *marks, *heads, label="The last steps before the break"
    )


def _row(step: Step, y: float, place: dict[str, float], width: float, *, is_cause: bool) -> str:
    class_ = "cause" if is_cause else "step"
    start = TIME_WIDTH + LANE * len(place) + 16
    text = f"{step.node} {step.kind}: {step.what}"
    brief = _ID.sub(lambda found: f"{found[0][:ID_CHARS]}…", text)
    shown = brief if len(brief) <= WORDS_CHARS else f"{brief[: WORDS_CHARS - 1]}…"
    ground = svg.bar(0, y - ROW / 2, width, ROW, "led") if is_cause else ""
    words = svg.tag("text", svg.tag("title", svg.words(text)), svg.words(shown), x=start, y=y + 4, class_=class_)
    fault = ""
    if step.kind == "fault" and place:
        fault = svg.line([(TIME_WIDTH, y), (TIME_WIDTH + LANE * len(place), y)], "break")
    return ground + svg.label((TIME_WIDTH - 10, y + 4), f"{step.at_s:.6f} s", "tick", anchor="end") + fault + words


def _arrow(step: Step, rows: dict[int, float], place: dict[str, float], by_seq: dict[int, Step], is_cause: bool) -> str:
    """From where it was sent, when that is in the picture; else from the lane of its sender, a row before."""
    sender, end = sender_of(step.what), rows[step.seq]
    if sender not in place or step.node not in place or sender == step.node:
        return ""
    cause = by_seq.get(step.cause)
    start = rows[cause.seq] if cause is not None and cause.node == sender else end - ROW
    class_ = "arrow cause" if is_cause else "arrow"
    x1, x2 = place[sender], place[step.node]
    return svg.arrow((x1, start), (x2 + (5 if x1 > x2 else -5), end), class_)


def _mark(step: Step, at: svg.Point, *, is_cause: bool) -> str:
    """A shape for each sort of step, so that they differ without colour."""
    class_ = f"mark {'cause' if is_cause else ''}".strip()
    x, y = at
    match MARKS.get(step.kind, ""):
        case "event":
            return svg.tag("circle", cx=x, cy=y, r=4.5, class_=class_)
        case "stored":
            return svg.bar(x - 4, y - 4, 8, 8, class_)
        case "run" | "reply":
            return svg.tag("path", d=f"M{x:g} {y - 5:g}l5 9h-10z", class_=class_)
        case "life":
            return svg.tag("path", d=f"M{x:g} {y - 5:g}l5 5l-5 5l-5 -5z", class_=class_)
        case _:
            return svg.tag("circle", cx=x, cy=y, r=2.5, class_=f"{class_} hollow")
