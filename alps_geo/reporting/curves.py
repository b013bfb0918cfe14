"""A line chart as the numbers of an SVG: paths, ticks and labels, for the template to write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Size of a chart, and room for its axes, in pixels.
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 240, 56, 40, 12, 16


@dataclass(frozen=True)
class Curve:
    """A chart of one line, and one to compare it with.

    Attributes
    ----------
    path, other : str
        Of the lines; empty where there is no other one.
    points : list of (float, float)
        Corners of the first.
    x_ticks, y_ticks : list of (float, str)
        Where the axes have labels, and what these say.
    chosen : float or None
        Where a vertical line marks the value that was chosen.
    x_name, y_name : str
    """

    path: str
    other: str
    points: list[tuple[float, float]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    chosen: float | None
    x_name: str
    y_name: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    base: int = HEIGHT - BOTTOM
    top: int = TOP
    right: int = WIDTH - RIGHT


def draw_curve(
    x: Sequence[float],
    y: Sequence[float],
    chosen: float | None,
    x_name: str,
    y_name: str,
    other: Sequence[float] = (),
) -> Curve | None:
    """Lay out a chart; None where fewer than two points have both values.

    Parameters
    ----------
    x, y : sequence of float
        `x` above 0: it is shown by its logarithm.
    chosen : float or None
        Marked on the x axis.
    x_name, y_name : str
    other : sequence of float
        What to compare `y` with.
    """
    pairs, compared = _known_pairs(x, y), _known_pairs(x, other)
    if len({a for a, _ in pairs}) < 2:
        return None
    low_x, high_x = math.log(pairs[0][0]), math.log(pairs[-1][0])
    values = [b for _, b in (*pairs, *compared)]
    low_y, high_y = min(values), max(values)
    if high_y == low_y:
        low_y, high_y = low_y - 1, high_y + 1

    def across(value: float) -> float:
        """Return where a value lies on the x axis."""
        share = (math.log(value) - low_x) / (high_x - low_x)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def up(value: float) -> float:
        """Return where a value lies on the y axis."""
        share = (value - low_y) / (high_y - low_y)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)

    points = [(across(a), up(b)) for a, b in pairs]
    labels = _apart([(across(a), f"{a:g}") for a, _ in pairs], 34)
    mark = across(chosen) if chosen is not None and pairs[0][0] <= chosen <= pairs[-1][0] else None
    heights = [low_y + share * (high_y - low_y) for share in (0, 0.5, 1)]
    # The first line rules the axis: what it has no point for is not compared.
    inside = [(a, b) for a, b in compared if pairs[0][0] <= a <= pairs[-1][0]]
    return Curve(
        _path(points),
        _path([(across(a), up(b)) for a, b in inside]),
        points,
        labels,
        [(up(value), f"{value:.3g}") for value in heights],
        mark,
        x_name,
        y_name,
    )


def _known_pairs(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """Return the points that have both values, from left to right."""
    pairs = zip(x, y, strict=False)
    return sorted((float(a), float(b)) for a, b in pairs if _is_known(a) and _is_known(b) and a > 0)


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{a} {b}" for a, b in points) if points else ""


def _is_known(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _apart(labels: list[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """Return the labels that have room beside the one before."""
    kept: list[tuple[float, str]] = []
    for place, text in labels:
        if not kept or place - kept[-1][0] >= least:
            kept.append((place, text))
    return kept
