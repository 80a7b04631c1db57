"""Pictures as text: escaped words, elements, scales, axes, lines, steps, bars and cells.

Invariant: pure functions; every word that comes from elsewhere goes through `words`, and what is
returned is well-formed XML. Neighbours: `pictures` composes, `page` holds the colours.
"""

import html
from collections.abc import Iterable, Sequence
from math import floor, log10
from typing import TypeAlias

from msgspec import Struct

from simulations.visible import visible

Point: TypeAlias = tuple[float, float]


def words(text: object) -> str:
    """Any text, safe within elements and attributes; what cannot be seen is shown as an escape."""
    return html.escape(visible(str(text)), quote=True)


def tag(name: str, *children: str, **attributes: object) -> str:
    """An element. `class_` is class, `stroke_width` is stroke-width; None is left out; children are markup already."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{number(value) if isinstance(value, float) else words(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{said}>{''.join(children)}</{name}>" if children else f"<{name}{said}/>"


def picture(width: float, height: float, *children: str, label: str, class_: str = "") -> str:
    """A whole picture of that size; `label` is read aloud in its place."""
    box = f"0 0 {number(width)} {number(height)}"
    return tag("svg", *children, viewBox=box, role="img", aria_label=label, class_=class_ or None)


def number(value: float) -> str:
    """A coordinate, no longer than it must be."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def label(at: Point, text: object, class_: str = "", *, anchor: str = "start") -> str:
    """A word in a picture."""
    return tag("text", words(text), x=float(at[0]), y=float(at[1]), class_=class_ or None, text_anchor=anchor)


class Scale(Struct, frozen=True):
    """From values to coordinates; with `is_log` equal ratios are equally far apart."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Where a value lies; at the edge, when it lies beyond."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_log:
            low, high, value = log10(low), log10(high), log10(value)
        share = (value - low) / (high - low) if high > low else 0.0
        return self.start + share * (self.end - self.start)


def ticks(scale: Scale, *, count: int = 6) -> list[float]:
    """Round values along a scale, at most about so many; along a logarithmic one powers of ten."""
    if scale.is_log:
        return [10.0**power for power in range(round(log10(scale.low)), round(log10(scale.high)) + 1)]
    step = ceiling((scale.high - scale.low) / count)
    first = int(-(-scale.low // step))
    return [step * each for each in range(first, int(scale.high / step + 1e-9) + 1)]


def ceiling(value: float) -> float:
    """The next round number: 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** floor(log10(value))
    return next(unit * factor for factor in (1, 2, 5, 10) if value <= unit * factor * (1 + 1e-9))


def rounded_up(value: float, *, count: int = 4) -> float:
    """The end of an axis that holds this value: a multiple of the step between its lines."""
    step = ceiling(value / count)
    return step * -(-value // step)


def x_axis(scale: Scale, *, top: float, bottom: float, unit: str) -> str:
    """Lines upwards and their values below; the last one has the unit, which is ms where seconds are too coarse."""
    values = ticks(scale)
    is_ms = unit == "s" and scale.high < 0.1
    unit, factor = ("ms", 1_000.0) if is_ms else (unit, 1.0)
    drawn = [tag("path", d=_line((scale.at(value), top), (scale.at(value), bottom)), class_="grid") for value in values]
    for value in values:
        shown = f"{value * factor:g} {unit}" if value == values[-1] else f"{value * factor:g}"
        drawn.append(label((scale.at(value), bottom + 16), shown, "tick", anchor="middle"))
    return "".join(drawn)


def y_axis(scale: Scale, *, left: float, right: float, unit: str, factor: float = 1.0, count: int = 4) -> str:
    """Lines across and their values at the left, each times `factor`; the highest one has the unit."""
    values = ticks(scale, count=count)
    drawn = [tag("path", d=_line((left, scale.at(value)), (right, scale.at(value))), class_="grid") for value in values]
    for value in values:
        shown = f"{value * factor:,.10g}{unit}" if value == values[-1] else f"{value * factor:,.10g}"
        drawn.append(label((left - 8, scale.at(value) + 4), shown, "tick", anchor="end"))
    return "".join(drawn)


def _line(one: Point, other: Point) -> str:
    return f"M{number(one[0])} {number(one[1])}L{number(other[0])} {number(other[1])}"


def line(points: Sequence[Point], class_: str) -> str:
    """From point to point."""
    return tag("path", d=_path(points), class_=class_) if points else ""


def steps(points: Sequence[Point], class_: str) -> str:
    """Each height holds until the next point."""
    return line(_stairs(points), class_)


def between(upper: Sequence[Point], lower: Sequence[Point], class_: str) -> str:
    """The area between two lines of steps."""
    outline = [*_stairs(upper), *reversed(_stairs(lower))]
    return tag("path", d=f"{_path(outline)}Z", class_=class_) if outline else ""


def _stairs(points: Sequence[Point]) -> list[Point]:
    corners = list(points[:1])
    for x, y in points[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners


def _path(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def bar(x: float, y: float, width: float, height: float, class_: str, *, title: str = "") -> str:
    """A rectangle, with words for who points at it."""
    said = [tag("title", words(title))] if title else []
    return tag("rect", *said, x=float(x), y=float(y), width=float(width), height=float(height), class_=class_)


def arrow(one: Point, other: Point, class_: str) -> str:
    """A line with a head at its end; heads are drawn by hand, so that a picture needs no other."""
    (x1, y1), (x2, y2) = one, other
    length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 0.01)
    along, across = ((x2 - x1) / length, (y2 - y1) / length), (-(y2 - y1) / length, (x2 - x1) / length)
    wings = [
        (x2 - 6 * along[0] + 2.5 * side * across[0], y2 - 6 * along[1] + 2.5 * side * across[1]) for side in (1, -1)
    ]
    head = tag("path", d=f"{_path([other, *wings])}Z", class_=f"{class_} head")
    return line([one, other], class_) + head


def cells(rows: Sequence[str], letter: str) -> str:
    """One path over every cell with this letter, a unit wide and high; empty when there is none."""
    drawn: list[str] = []
    for y, row in enumerate(rows):
        x = row.find(letter)
        while x >= 0:
            end = x
            while end < len(row) and row[end] == letter:
                end += 1
            drawn.append(f"M{x} {y}h{end - x}v1h{x - end}z")
            x = row.find(letter, end)
    return "".join(drawn)
