"""Chips: small pictures of exemplars and what lies around them, each with its outline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from ..classes.exemplars import KINDS, PER_KIND
from ..errors import AlpsGeoError
from ..progress import Progress
from ..scenes.grid import Window
from ..scenes.pictures import read_picture
from .encoding import encode_picture
from .formats import show_number
from .maps import EMPTY, fill_gaps
from .sources import Exemplar, SceneSource, Source

#: Side of a chip, in pixels.
SIDE = 144
#: Chips of a page, and the bytes of each; classes come by size, and each kind's first before its
#: second.
MOST_CHIPS, CHIP_BYTES = 300, 9_000
#: A chip shows so many times the longer side of its segment, and so many pixels at least.
AROUND, LEAST_PX = 1.7, 48
#: Letters of an outline; a longer one is simplified further.
_OUTLINE_LETTERS = 1_400


@dataclass(frozen=True)
class Chip:
    """A segment as a small picture.

    Attributes
    ----------
    picture : str
        Its address.
    outline : str
        As the path of an SVG, in pixels of the chip.
    text : str
        For those who do not see it.
    caption : str
    """

    picture: str
    outline: str
    text: str
    caption: str


def make_chips(
    source: Source, class_ids: list[int], progress: Progress
) -> dict[int, dict[str, list[Chip]]]:
    """Make the chips of classes, by class and kind.

    Parameters
    ----------
    source : Source
    class_ids : list of int
        The largest first.
    progress : Progress
        Is told of scenes that cannot be read.
    """
    found: dict[int, dict[str, list[Chip]]] = {}
    unread: set[str] = set()
    several = len(source.scenes) > 1
    for scene, exemplar in _choose(source, class_ids):
        if scene.stem in unread or scene.scene is None:
            continue
        try:
            chip = _make_chip(scene, exemplar, several=several)
        except AlpsGeoError as error:
            unread.add(scene.stem)
            progress.message(f"the report lacks chips of {scene.stem}: {error}")
            continue
        found.setdefault(exemplar.class_id, {}).setdefault(exemplar.kind, []).append(chip)
    return found


def _choose(source: Source, class_ids: list[int]) -> list[tuple[SceneSource, Exemplar]]:
    """Return the exemplars that get chips, in the order of classes, kinds and ranks."""
    waiting: dict[tuple[int, str], list[tuple[SceneSource, Exemplar]]] = {}
    for scene in source.scenes:
        for exemplar in scene.exemplars:
            key = exemplar.class_id, exemplar.kind
            waiting.setdefault(key, []).append((scene, exemplar))
    for group in waiting.values():
        # Of several scenes, the first of each comes before the second of any.
        group.sort(key=lambda pair: pair[1].rank)
    chosen = list(_in_turns(waiting, class_ids))[:MOST_CHIPS]
    order = {number: place for place, number in enumerate(class_ids)}
    return sorted(chosen, key=lambda pair: (order[pair[1].class_id], KINDS.index(pair[1].kind)))


def _in_turns(
    waiting: dict[tuple[int, str], list[tuple[SceneSource, Exemplar]]], class_ids: list[int]
) -> Iterator[tuple[SceneSource, Exemplar]]:
    for place in range(PER_KIND):
        for number in class_ids:
            for kind in KINDS:
                yield from waiting.get((number, kind), [])[place : place + 1]


def _make_chip(scene: SceneSource, exemplar: Exemplar, *, several: bool) -> Chip:
    outline = shapely.transform(exemplar.outline, _Pixels(~scene.grid.transform))
    left, top, right, bottom = outline.bounds
    side = max(LEAST_PX, round(AROUND * max(right - left, bottom - top)))
    corner = round((top + bottom - side) / 2), round((left + right - side) / 2)
    pixels = _read_square(scene, *corner, side)
    within = shapely.transform(
        outline, lambda points: (points - (corner[1], corner[0])) * SIDE / side
    )
    sure = show_number(exemplar.confidence)
    where = f" in {scene.stem}" if several else ""
    return Chip(
        encode_picture(pixels, CHIP_BYTES),
        _svg_path(within),
        f"Segment {exemplar.segment_id}{where}, {exemplar.kind}, confidence {sure}",
        f"{scene.stem} {exemplar.segment_id}" if several else f"{exemplar.segment_id}",
    )


class _Pixels:
    """Turns ground coordinates into pixels."""

    def __init__(self, transform: Affine) -> None:
        self._to = transform

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        to, (x, y) = self._to, points.T
        return np.stack([to.a * x + to.b * y + to.c, to.d * x + to.e * y + to.f], axis=1)


def _read_square(scene: SceneSource, row: int, col: int, side: int) -> NDArray[np.uint8]:
    """Read a square around a segment; what lies beyond the scene is grey."""
    grid, chip = scene.grid, np.empty((SIDE, SIDE, 3), np.uint8)
    chip[:] = EMPTY
    part = Window(row, col, side, side).intersect(grid.window)
    if part is None or scene.scene is None:
        return chip
    first = np.array([part.row - row, part.col - col]) * SIDE // side
    stop = np.array([part.row_stop - row, part.col_stop - col]) * SIDE // side
    height, width = np.maximum(stop - first, 1).tolist()
    pixels, valid = read_picture(scene.scene, part, (height, width))
    top, left = np.minimum(first, SIDE - 1).tolist()
    place = chip[top : top + height, left : left + width]
    place[:] = fill_gaps(pixels, valid)[: place.shape[0], : place.shape[1]]
    return chip


def _svg_path(outline: shapely.Geometry) -> str:
    tolerance = 0.5
    while True:
        text = "".join(_rings(shapely.simplify(outline, tolerance)))
        if len(text) <= _OUTLINE_LETTERS or tolerance > SIDE:
            return text[:_OUTLINE_LETTERS] if len(text) <= _OUTLINE_LETTERS else ""
        tolerance *= 2


def _rings(outline: shapely.Geometry) -> Iterator[str]:
    for polygon in shapely.get_parts(outline):
        for ring in (polygon.exterior, *polygon.interiors):
            points = np.rint(shapely.get_coordinates(ring)[:-1]).astype(int).tolist()
            yield "M" + "L".join(f"{x} {y}" for x, y in points) + "Z"
