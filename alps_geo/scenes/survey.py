"""Whether a scene's colour is in blocks, looked for in parts spread over its file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ..errors import ReadError
from ..progress import Progress
from .blocks import BlockGauge, Blocks, known_pixels
from .grid import Grid, Window
from .scene import Scene
from .statistics import spread

#: Side of the squares that are looked at, in the file's own pixels.
SIDE = 512
#: This many pixels say enough; smaller scenes are looked at whole.
ENOUGH_PX = 2**22
#: More are looked at until this many valid ones were seen.
ENOUGH_VALID_PX = 2**18


def find_blocks(
    scenes: Mapping[str, Scene], progress: Progress, *, skip_unreadable: bool = False
) -> dict[str, Scene]:
    """Return scenes that are read without the blocks of their own colour, and say which have some.

    Parameters
    ----------
    scenes : mapping of str to Scene
    progress : Progress
    skip_unreadable : bool
        Leave out parts that cannot be read, instead of raising.

    Raises
    ------
    ReadError
        If a file is damaged.
    """
    found = {}
    for stem, scene in scenes.items():
        blocks = measure_blocks(scene, skip_unreadable=skip_unreadable)
        if blocks is not None:
            progress.message(f"{scene.name}: {blocks}, as JPEG leaves; its colour is smoothed")
        found[stem] = scene.without_blocks(blocks)
    return found


def measure_blocks(scene: Scene, *, skip_unreadable: bool = False) -> Blocks | None:
    """Find the blocks that compression left in a scene's colour, whatever its file says of it.

    Looked at are the file's own pixels, because others no longer have lines of one phase. Memory
    and time are bounded, and the result is always the same.

    Parameters
    ----------
    scene : Scene
    skip_unreadable : bool
        Leave out parts that cannot be read, instead of raising.

    Returns
    -------
    Blocks or None
        None where colour has no blocks, as in any clean image, and where there is no colour.

    Raises
    ------
    ReadError
        If the file is damaged.
    """
    raster, gauge = scene.raster, BlockGauge()
    if len(set(scene.bands)) == 1:
        return None
    if scene.stretch is not None and scene.stretch.components is not None:
        return None
    seen = valid_px = 0
    for square in _squares(raster.grid):
        window = _wanted(scene, square)
        if window is None:
            continue
        try:
            pixels, valid = raster.read(window)
        except ReadError:
            if not skip_unreadable:
                raise
            continue
        known = known_pixels(pixels, valid, raster.nodata)
        gauge.add(pixels, known, window)
        seen, valid_px = seen + valid.size, valid_px + int(known.sum())
        if seen >= ENOUGH_PX and valid_px >= ENOUGH_VALID_PX:
            break
    return gauge.measure()


def _squares(grid: Grid) -> Iterator[Window]:
    """Yield squares that cover the grid, any number of first ones spread evenly over it."""
    down, across = -(-grid.height // SIDE), -(-grid.width // SIDE)
    for index in spread(down * across):
        row, col = (SIDE * place for place in divmod(index, across))
        yield Window(row, col, min(SIDE, grid.height - row), min(SIDE, grid.width - col))


def _wanted(scene: Scene, window: Window) -> Window | None:
    """Return the part of a window of the file that will be read, None where nothing is."""
    part = window.intersect(scene.source_of(scene.region))
    if part is None or scene.aoi is None:
        return part
    source, grid = scene.raster.grid, scene.whole
    down, across = grid.height / source.height, grid.width / source.width
    row, col = math.floor(part.row * down), math.floor(part.col * across)
    row_stop, col_stop = math.ceil(part.row_stop * down), math.ceil(part.col_stop * across)
    placed = Window(row, col, row_stop - row, col_stop - col)
    seen = placed.shift(-scene.part.row, -scene.part.col).intersect(scene.grid.window)
    return part if seen is not None and scene.aoi.inside(seen).any() else None
