"""Any raster over the same ground as features: heights, embeddings of others, a stack of dates.

It has its own CRS, cells and extent. What a mask gets of a band is the mean over the cells it
covers, each weighing by how much of it is covered.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pyproj.enums import TransformDirection

from ..errors import SceneError
from ..progress import Notice, Progress
from ..scenes.antimeridian import period_of
from ..scenes.fingerprint import fingerprint
from ..scenes.grid import Grid, Window
from ..scenes.placement import LATTICE, Placement, Purpose, connect
from ..scenes.rasters.measured import (
    Measured,
    describe_bands,
    name_bands,
    read_measured,
    spread_windows,
    typical_values,
)
from ..scenes.rasters.raster import Raster, open_raster
from ..scenes.scene import Scene
from ..scenes.spans import Spans
from ..settings import SceneSettings
from ..settings.features import RASTER
from .coverage import Points, Strips, cover
from .pooling import Features
from .sources import TileView

#: Values that are read at once, at most.
_VALUES = 2**21
#: Pieces of outlines that are looked at once, at most.
_PIECES = 2**22
#: A raster that covers less than this share of a scene is worth a warning.
_WHOLE = 0.995
_PURPOSE = Purpose("the raster of features", SceneError)


@dataclass(frozen=True)
class RasterSource:
    """The bands of a raster, averaged over the cells that masks cover.

    Attributes
    ----------
    name : str
        `raster:` and what the user calls it.
    raster : Raster
    bands : tuple of Measured
    """

    name: str
    raster: Raster
    bands: tuple[Measured, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What the bands are called, each otherwise: by their descriptions, if these differ."""
        return name_bands(self.bands)

    @property
    def checksum(self) -> str:
        """Tells what is measured, not where: another place's raster of the same kind will do."""
        facts = json.dumps([self.columns, [band.is_squared for band in self.bands]])
        return hashlib.sha256(facts.encode()).hexdigest()

    @cached_property
    def content(self) -> str:
        """The same for the same content, wherever the file lies."""
        return fingerprint(self.raster, self.raster.grid, None, self.raster.grid.window)

    def anchored(self) -> RasterSource:
        """Return the source with a path that holds in any working directory."""
        return dataclasses.replace(self, raster=self.raster.anchored())

    def lay_over(self, scene: Scene, progress: Progress) -> None:
        """Tell how the raster covers a scene.

        Raises
        ------
        SceneError
            If it covers nothing of it, or one of the two has no CRS.
        """
        placement, name = self._connect(scene), self.raster.name
        share = self._share_covered(scene, placement)
        if share == 0:
            raise SceneError(
                f"{name}: covers nothing of {scene.name}; name a raster of the same place in"
                " `features`, or assign the right CRS",
                code="features.raster_elsewhere",
                path=name,
            )
        if self.bands[0].is_squared:
            progress.message(
                f"{name}: 64 bands of int8 are read as AlphaEarth's embedding:"
                " sign(x) * (x / 127.5)^2, and -128 is no data"
            )
        caveat = placement.caveat(scene.name)
        if caveat:
            progress.warning(f"{name}: {caveat}")
        if share < _WHOLE:
            progress.warning(
                Notice(
                    f"{name}: covers about {share:.0%} of {scene.name}; segments are described by"
                    " what it covers of them, and those it does not touch by its mean",
                    code="features.raster_gaps",
                    path=name,
                )
            )

    def describe(self, tile: TileView, spans: Spans) -> Features:
        """Average the bands under each mask; see `FeatureSource.describe`."""
        count = len(spans)
        sums, known = np.zeros((count, len(self.bands))), np.zeros((count, len(self.bands)))
        placement = self._connect(tile.scene)
        for first, part in self._batches(tile, spans, placement):
            strips = self._cover(placement, tile.window, part)
            for window, shares in strips.matrices(len(part)):
                for index, values in self._read(window):
                    there = np.isfinite(values)
                    rows = slice(first, first + len(part))
                    sums[rows, index] += shares @ np.where(there, values, 0)
                    # Bands that share their gaps, or have none, are counted once.
                    counted = there[:, :1] if (there == there[:, :1]).all() else there
                    known[rows, index] += shares @ counted.astype(np.float64)
        means = np.divide(sums, known, where=known > 0, out=np.zeros_like(sums))
        if not (known > 0).all():
            typical = np.broadcast_to(typical_values(self.raster, self.bands), means.shape)
            means = np.where(known > 0, means, typical)
        ones = np.ones(len(self.bands), np.float32)
        return Features(means.astype(np.float32), self.columns, ones)

    def _cover(self, placement: Placement, window: Window, spans: Spans) -> Strips:
        """Return the raster's cells that masks of a window of a scene cover."""

        def to_cells(corners: Points) -> Points:
            """Bring corners of the window's pixels onto the raster."""
            return self._to_cells(placement, corners + window[1::-1])

        grid = self.raster.grid
        shape = grid.height, grid.width
        return cover(spans, to_cells, shape, bent=placement.transformer is not None)

    def _batches(
        self, tile: TileView, spans: Spans, placement: Placement
    ) -> Iterator[tuple[int, Spans]]:
        """Yield masks in groups of bounded outlines, each with the number of its first."""
        if not len(spans):
            return
        corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]) * tile.window[:1:-1]
        reach = np.ptp(self._to_cells(placement, corners + tile.window[1::-1]), axis=0)
        cells = float((reach / tile.window[:1:-1]).max()) if np.isfinite(reach).all() else 1.0
        pieces = np.cumsum(np.diff(spans.offsets) * (2 + 2 * cells)) // _PIECES
        starts = np.flatnonzero(np.diff(pieces, prepend=-1))
        for first, stop in zip(starts, np.append(starts[1:], len(spans)), strict=True):
            yield int(first), spans.take(np.arange(first, stop))

    def _read(self, window: Window) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield some bands at a time and their values, shape (n_cells, n_bands), NaN in gaps."""
        step = max(1, _VALUES // (window.height * window.width))
        for first in range(0, len(self.bands), step):
            index = slice(first, first + step)
            values = read_measured(self.raster, self.bands[index], window)
            yield index, values.reshape(len(values), -1).T

    def _connect(self, scene: Scene) -> Placement:
        grid = self.raster.grid
        return connect(self.raster.name, grid.crs, scene.grid, _PURPOSE, scene.name)

    def _to_cells(self, placement: Placement, corners: Points) -> Points:
        """Turn pixel corners of a scene into places on the raster, in cells."""
        grid, ground = self.raster.grid, placement.grid.to_ground(corners)
        if placement.transformer is not None:
            x, y = placement.transformer.transform(
                ground[:, 0], ground[:, 1], direction=TransformDirection.INVERSE
            )
            ground = np.stack([x, y], axis=1)
            ground[~np.isfinite(ground).all(axis=1)] = np.nan
        if grid.crs is not None:
            ground[:, 0] -= _turns(ground[:, 0], grid)
        return Grid(None, ~grid.transform, 1, 1).to_ground(ground)

    def _share_covered(self, scene: Scene, placement: Placement) -> float:
        """Return about what share of a scene the raster has values for."""
        region, side = scene.region, (np.arange(LATTICE) + 0.5) / LATTICE
        cols = region.col + side * region.width
        rows = region.row + side * region.height
        points = np.stack(np.meshgrid(cols, rows), axis=-1).reshape(-1, 2)
        cells = self._to_cells(placement, points)
        grid = self.raster.grid
        inside = ((cells >= 0) & (cells < (grid.width, grid.height))).all(axis=1)
        if not inside.any():
            return 0.0
        low, high = (np.floor(end(cells[inside], axis=0)).astype(int) for end in (np.min, np.max))
        part = Window(low[1], low[0], high[1] + 1 - low[1], high[0] + 1 - low[0])
        values = [
            read_measured(self.raster, self.bands[:1], window) for window in spread_windows(part)
        ]
        known = sum(int(np.isfinite(part).sum()) for part in values)
        return float(inside.mean()) * known / sum(part.size for part in values)


def _turns(x: NDArray[np.float64], grid: Grid) -> NDArray[np.float64] | float:
    """Return the turns of the globe that x is away from the middle of a grid, in its units."""
    period = None if grid.crs is None else period_of(grid.crs)
    if period is None:
        return 0.0
    middle = grid.to_ground(np.array([[grid.width / 2, grid.height / 2]]))[0, 0]
    turns: NDArray[np.float64] = np.rint((x - middle) / period) * period
    return turns


def open_source(name: str, path: str) -> RasterSource:
    """Open a raster to take features from.

    Parameters
    ----------
    name : str
        What the user calls it; empty for the file's name without folder and ending.
    path : str
        Anything that GDAL opens.

    Raises
    ------
    SceneError
        If it cannot be opened, or is no raster of numbers.
    """
    raster = open_raster(path, SceneSettings(bands=(1,)))
    return RasterSource(f"{RASTER}{name or raster.stem}", raster, describe_bands(raster))


def require_names(sources: Sequence[RasterSource]) -> None:
    """Refuse two rasters of one name."""
    names = [source.name for source in sources]
    for source in sources:
        if names.count(source.name) > 1:
            raise SceneError(
                f"{source.raster.name}: another raster in `features` is called"
                f" {source.name[len(RASTER) :]!r} too; name one raster:OTHER=FILE"
            )
