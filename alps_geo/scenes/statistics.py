"""What the pixels of scenes are like as a whole: the stretch to 8 bits, and how many are valid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError, SceneError
from .grid import Window
from .scene import Scene, cut
from .stretch import Sample, Stretch

#: A stretch looks at this many pixels of a scene; smaller scenes are read whole.
SAMPLE_PX = 2**24
#: It looks further until it has seen this many valid ones: an image in a corner still counts.
SAMPLE_VALID_PX = 2**18
#: It keeps this many values of each band, of all scenes together.
SAMPLE_VALUES = 2**20
#: What cannot be read is cut up to find what can be, down to this side.
LEAST_PART_PX = 32


def measure_stretch(scenes: Sequence[Scene], *, skip_unreadable: bool = False) -> Stretch:
    """Find the one stretch for all scenes of a run, over their valid pixels.

    Small scenes are read whole, large ones in parts spread evenly; the minimum and maximum of
    `minmax` always take the whole scene. Memory is bounded, and the result always the same.

    Parameters
    ----------
    scenes : sequence of Scene
        One or more, opened with the same settings.
    skip_unreadable : bool
        Leave out parts that cannot be read, instead of raising.

    Raises
    ------
    SceneError
        If a scene has no valid pixels.
    ReadError
        If a file is damaged.
    """
    settings = scenes[0].settings
    kind = settings.stretch
    samples = []
    for scene in scenes:
        limit = max(1, SAMPLE_VALUES // len(scenes))
        sample = _sample(scene, kind, limit, skip_unreadable=skip_unreadable)
        if not sample.valid:
            where = "" if scene.aoi is None else f" inside {scene.aoi.path}"
            raise SceneError(
                f"{scene.name}: has no valid pixels{where}; check its nodata value, its mask and"
                " the area of interest"
            )
        samples.append(sample)
    if settings.stretch_range is not None:
        return Stretch.between(settings.stretch_range)
    return Stretch.measure(kind, samples, settings.stretch_percentiles)


def valid_share(scene: Scene) -> float:
    """Return the share of a grid's pixels that hold data: counted in a small scene, else estimated.

    Parameters
    ----------
    scene : Scene
    """
    sample = _sample(scene, "none", 1)
    return sample.valid / sample.seen * _area(scene.region) / _area(scene.grid.window)


def _sample(scene: Scene, kind: str, limit: int, *, skip_unreadable: bool = False) -> Sample:
    """Return valid values of a scene, about `limit` of each band."""
    region = scene.region
    total, file_px = _area(region), _area(scene.raster.grid.window)
    # A coarse pixel costs as many pixels of the file as it covers.
    affordable = SAMPLE_PX * _area(scene.whole.window) // file_px
    enough = total if kind == "minmax" else min(total, SAMPLE_PX, max(affordable, 2**16))
    enough_valid = total if kind == "minmax" else min(SAMPLE_VALID_PX, enough // 4)
    step = -(-enough // limit)
    parts: list[list[NDArray[Any]]] = [[], [], []]
    seen = known = 0
    place = region.shift(scene.part.row, scene.part.col)
    block = (256, 256) if scene.is_resampled else scene.raster.block
    for placed in _sample_windows(place, block, whole=enough == total):
        window = placed.shift(-scene.part.row, -scene.part.col)
        for pixels, valid in _read_parts(scene, window, skip_unreadable=skip_unreadable):
            seen, known = seen + valid.size, known + int(np.count_nonzero(valid))
            for part, band, nodata in zip(parts, pixels, scene.raster.nodata, strict=True):
                values = _known_values(band, valid, nodata)
                extremes = [values.min(), values.max()] if kind == "minmax" and len(values) else []
                part.append(np.array(extremes) if kind == "minmax" else values[::step].copy())
        if seen >= enough and known >= enough_valid:
            break
    nothing = np.zeros(0, scene.dtype)
    red, green, blue = (np.concatenate([*part, nothing]) for part in parts)
    return Sample((red, green, blue), known, seen)


def _read_parts(
    scene: Scene, window: Window, *, skip_unreadable: bool
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yield pixels and validity of a window; of one that cannot be read, the parts that can be."""
    try:
        yield scene.read_values(window)
    except ReadError:
        if not skip_unreadable:
            raise
        side = max(window.height, window.width) // 2
        if side >= LEAST_PART_PX:
            for part in cut(window, side, side):
                yield from _read_parts(scene, part, skip_unreadable=True)


def _known_values(
    band: NDArray[Any], valid: NDArray[np.bool_], nodata: float | None
) -> NDArray[Any]:
    """Return a band's values, shape (n,), without its nodata where the other bands have data."""
    values = band[valid]
    if nodata is None or math.isnan(nodata):
        return values
    with np.errstate(over="ignore"):  # a nodata value may be out of the band's range
        kept: NDArray[Any] = values[values != nodata]
    return kept


def _sample_windows(region: Window, block: tuple[int, int], *, whole: bool) -> Iterator[Window]:
    """Yield windows that cover a region, along the file's blocks, spread evenly unless `whole`."""
    height, width = min(block[0], region.height), min(block[1], region.width)
    top, left = region.row // height * height, region.col // width * width
    # Small blocks are read some at a time, those of millions of pixels a part at a time; all that
    # is wanted of a whole region in as few reads as may be, as each asks a server anew.
    side, most = (1024, 2**22) if whole else (256, 2**20)
    width *= -(-min(side, region.col_stop - left) // width)
    height *= -(-min(side**2 // width, region.row_stop - top) // height) or 1
    width = min(width, most)
    height = min(height, max(1, most // width))
    down, across = -(-(region.row_stop - top) // height), -(-(region.col_stop - left) // width)
    count = down * across
    for index in range(count) if whole else spread(count):
        row, col = divmod(index, across)
        window = Window(top + row * height, left + col * width, height, width).intersect(region)
        if window is not None:
            yield window


def spread(count: int) -> Iterator[int]:
    """Yield the numbers below `count`, each once, any number of first ones spread evenly."""
    stride = round(count * 0.6180339887)  # steps of the golden ratio
    while math.gcd(stride, count) != 1:
        stride += 1
    for index in range(count):
        yield index * stride % count


def _area(window: Window) -> int:
    return window.height * window.width
