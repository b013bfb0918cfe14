"""What the pixels of scenes are like as a whole: the stretch to 8 bits, and how many are valid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError, SceneError
from ..settings import COMPONENTS
from .components import Components
from .grid import Window, cut
from .scene import Read, Scene
from .stretch import Sample, Stretch

#: A stretch looks at this many pixels of a scene; smaller scenes are read whole.
SAMPLE_PX = 2**24
#: It looks further until it has seen this many valid ones: an image in a corner still counts.
SAMPLE_VALID_PX = 2**18
#: It keeps this many values of each band, of all scenes together.
SAMPLE_VALUES = 2**20
#: And no more of all bands together, where all are looked at.
SAMPLE_CELLS = 2**23
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
    if settings.bands == COMPONENTS:
        return _measure_components(scenes, skip_unreadable=skip_unreadable)
    kind = settings.stretch
    samples = []
    for scene in scenes:
        limit = max(1, SAMPLE_VALUES // len(scenes))
        sample = _sample(scene, kind, limit, skip_unreadable=skip_unreadable)
        _require_pixels(scene, sample.valid)
        samples.append(sample)
    if settings.stretch_range is not None:
        return Stretch.between(settings.stretch_range)
    return Stretch.measure(kind, samples, settings.stretch_percentiles)


def _require_pixels(scene: Scene, valid: int) -> None:
    if not valid:
        where = "" if scene.aoi is None else f" inside {scene.aoi.path}"
        raise SceneError(
            f"{scene.name}: has no valid pixels{where}; check its nodata value, its mask and"
            " the area of interest"
        )


def _measure_components(scenes: Sequence[Scene], *, skip_unreadable: bool) -> Stretch:
    """Find the components of all bands of all scenes together, and their stretch."""
    settings = scenes[0].settings
    count = len(scenes[0].measured)
    limit = max(1, min(SAMPLE_VALUES, SAMPLE_CELLS // count) // len(scenes))
    drawn = []
    for scene in scenes:
        scene.require_components(count)
        drawn.append(_sample_rows(scene, limit, skip_unreadable=skip_unreadable))
        _require_pixels(scene, drawn[-1].valid)
    rows = [np.stack(sample.bands, axis=1) for sample in drawn]
    stands_for = [sample.valid / len(sample.bands[0]) for sample in drawn]
    components = Components.measure(rows, stands_for)
    samples = [
        dataclasses.replace(sample, bands=tuple(components.project(np.stack(sample.bands))))
        for sample in drawn
    ]
    stretch = Stretch.measure(settings.stretch, samples, settings.stretch_percentiles)
    # One width for all, or the third component would be noise in full colour.
    half = max(high - low for low, high in zip(stretch.low, stretch.high, strict=True)) / 2
    middles = [(low + high) / 2 for low, high in zip(stretch.low, stretch.high, strict=True)]
    (red, green, blue) = middles
    low, high = (red - half, green - half, blue - half), (red + half, green + half, blue + half)
    return Stretch(stretch.kind, low, high, components)


def _sample_rows(scene: Scene, limit: int, *, skip_unreadable: bool) -> Sample:
    """Return about `limit` valid pixels of a scene with all its bands, NaN in their gaps."""

    def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read all bands of a window."""
        return scene.read_bands(window, scene.measured), scene.valid(window)

    budget = _Budget.of(scene, "percentile")
    step = -(-budget.pixels // limit)
    parts = []
    seen = known = 0
    for pixels, valid in _walk(scene, budget, read, skip_unreadable=skip_unreadable):
        seen, known = seen + valid.size, known + int(np.count_nonzero(valid))
        parts.append(pixels[:, valid][:, ::step].copy())
    nothing = np.zeros((len(scene.measured), 0))
    return Sample(tuple(np.concatenate([*parts, nothing], axis=1)), known, seen)


def valid_share(scene: Scene) -> float:
    """Return the share of a grid's pixels that hold data: counted in a small scene, else estimated.

    Parameters
    ----------
    scene : Scene
    """
    sample = _sample(scene, "none", 1)
    return sample.valid / sample.seen * _area(scene.region) / _area(scene.grid.window)


@dataclass(frozen=True)
class _Budget:
    """How many pixels of a scene are looked at: so many, and on until so many are valid."""

    pixels: int
    valid: int
    whole: bool

    @classmethod
    def of(cls, scene: Scene, kind: str) -> _Budget:
        """Return what a kind of stretch needs."""
        total, file_px = _area(scene.region), _area(scene.raster.grid.window)
        # A coarse pixel costs as many pixels of the file as it covers.
        affordable = SAMPLE_PX * _area(scene.whole.window) // file_px
        enough = total if kind == "minmax" else min(total, SAMPLE_PX, max(affordable, 2**16))
        valid = total if kind == "minmax" else min(SAMPLE_VALID_PX, enough // 4)
        return cls(enough, valid, enough == total)


def _sample(scene: Scene, kind: str, limit: int, *, skip_unreadable: bool = False) -> Sample:
    """Return valid values of a scene, about `limit` of each band."""
    budget = _Budget.of(scene, kind)
    step = -(-budget.pixels // limit)
    parts: list[list[NDArray[Any]]] = [[], [], []]
    seen = known = 0
    for pixels, valid in _walk(scene, budget, scene.read_values, skip_unreadable=skip_unreadable):
        seen, known = seen + valid.size, known + int(np.count_nonzero(valid))
        for part, band, nodata in zip(parts, pixels, scene.raster.nodata, strict=True):
            values = _known_values(band, valid, nodata)
            extremes = [values.min(), values.max()] if kind == "minmax" and len(values) else []
            part.append(np.array(extremes) if kind == "minmax" else values[::step].copy())
    nothing = np.zeros(0, scene.dtype)
    red, green, blue = (np.concatenate([*part, nothing]) for part in parts)
    return Sample((red, green, blue), known, seen)


def _walk(
    scene: Scene, budget: _Budget, read: Read, *, skip_unreadable: bool
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yield pixels and validity from all over a scene until there are enough."""
    place = scene.region.shift(scene.part.row, scene.part.col)
    block = (256, 256) if scene.is_resampled else scene.raster.block
    seen = known = 0
    for placed in _sample_windows(place, block, whole=budget.whole):
        window = placed.shift(-scene.part.row, -scene.part.col)
        for pixels, valid in _read_parts(read, window, skip_unreadable=skip_unreadable):
            seen, known = seen + valid.size, known + int(np.count_nonzero(valid))
            yield pixels, valid
        if seen >= budget.pixels and known >= budget.valid:
            return


def _read_parts(
    read: Read, window: Window, *, skip_unreadable: bool
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yield pixels and validity of a window; of one that cannot be read, the parts that can be."""
    try:
        yield read(window)
    except ReadError:
        if not skip_unreadable:
            raise
        side = max(window.height, window.width) // 2
        if side >= LEAST_PART_PX:
            for part in cut(window, side, side):
                yield from _read_parts(read, part, skip_unreadable=True)


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
