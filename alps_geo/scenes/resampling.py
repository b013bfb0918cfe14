"""How pixels of one size become pixels of another, the same whatever window is read.

GDAL's warper could do it, but its result depends on the chunk that is warped, an undeclared NaN
spreads through it, and its validity has a band of its own. The two grids share their axes here, so
the weights of rows and columns are independent: a weighted mean over valid pixels is two sparse
matrix products, whose sums run in the same order for every window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .grid import Window

#: A pixel needs this share of its footprint valid to be valid itself.
VALID_SHARE = 0.5


@dataclass(frozen=True)
class Axis:
    """Rows or columns of a raster, `source` of them turned into `target` over the same length.

    Coarser pixels are means over their extent; finer ones are interpolated linearly between the
    two nearest centres.
    """

    source: int
    target: int

    @property
    def factor(self) -> float:
        """Source pixels per target pixel."""
        return self.source / self.target

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first and the stop source index that targets `start` to `stop - 1` need."""
        margin = 0 if self.factor >= 1 else 1
        first = math.floor(start * self.factor) - margin
        last = math.ceil(stop * self.factor) + margin
        return max(0, first), min(self.source, last)

    def weights(self, start: int, stop: int) -> sparse.csr_array:
        """Return the weights of source pixels, shape (stop - start, number of `needs`)."""
        first, last = self.needs(start, stop)
        targets = np.arange(start, stop, dtype=np.float64)[:, None]
        if self.factor >= 1:
            reach = np.arange(math.ceil(self.factor) + 1)
            sources = np.floor(targets * self.factor).astype(np.int64) + reach
            upper = np.minimum((targets + 1) * self.factor, sources + 1)
            values = upper - np.maximum(targets * self.factor, sources)
        else:
            centres = np.clip((targets + 0.5) * self.factor - 0.5, 0, self.source - 1)
            sources = np.floor(centres).astype(np.int64) + np.arange(2)
            values = 1 - np.abs(centres - sources)
        # Weights of rounding noise would ask for pixels outside of the window.
        kept = (values > 1e-9) & (sources >= first) & (sources < last)
        rows = np.broadcast_to(np.arange(stop - start)[:, None], sources.shape)
        place = rows[kept], sources[kept] - first
        return sparse.csr_array((values[kept], place), shape=(stop - start, last - first))


def source_window(window: Window, rows: Axis, cols: Axis) -> Window:
    """Return the source pixels that a window of target pixels needs."""
    row, row_stop = rows.needs(window.row, window.row_stop)
    col, col_stop = cols.needs(window.col, window.col_stop)
    return Window(row, col, row_stop - row, col_stop - col)


def resample(
    pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window, axes: tuple[Axis, Axis]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the pixels of a target window from those of its `source_window`.

    Parameters
    ----------
    pixels : ndarray, shape (bands, source height, source width)
    valid : ndarray of bool, shape (source height, source width)
        Invalid pixels count for nothing.
    window : Window
        In target pixels.
    axes : (Axis, Axis)
        Rows and columns.

    Returns
    -------
    pixels : ndarray of float64, shape (bands, height, width)
        0 where not valid.
    valid : ndarray of bool, shape (height, width)
        True where at least half of the footprint is valid.
    """
    down = axes[0].weights(window.row, window.row_stop)
    across = axes[1].weights(window.col, window.col_stop)

    def blend(band: NDArray[Any]) -> NDArray[np.float64]:
        """Add up what covers each coarse pixel, valid parts only."""
        half: NDArray[np.float64] = down @ np.where(valid, band, 0).astype(np.float64)
        blended: NDArray[np.float64] = (across @ half.T).T
        return blended

    weight = blend(valid)
    full = down.sum(axis=1)[:, None] * across.sum(axis=1)[None, :]
    # The tolerance keeps exactly one half valid, whatever the rounding of the sums.
    enough = weight >= (VALID_SHARE - 1e-9) * full
    divisor = np.where(enough, weight, 1)
    return np.stack([np.where(enough, blend(band) / divisor, 0) for band in pixels]), enough
