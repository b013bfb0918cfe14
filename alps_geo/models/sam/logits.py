"""From low-resolution logits to masks, without ever making an image of floats.

SAM enlarges its 256 x 256 logits to 1024 x 1024, cuts the padding off and scales to the image's
size, both bilinearly. Together that gives every output pixel weights on at most 3 x 3 logits,
separable in rows and columns. Output pixels with the same 3 x 3 logits form a cell; where all
logits of a cell lie on the same side of the three thresholds (mask, and mask plus and minus the
stability offset), so do all its pixels, and nothing needs to be interpolated. Only the mixed
cells, along the masks' outlines, are. The results differ from SAM's by the rounding of floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...scenes.spans import Spans
from ..compilation import compiled
from .pixels import StableMasks

#: Logits that an output pixel depends on, in each direction.
_TAPS = 3
#: A cell's code is the number of thresholds it lies above; from this on it belongs to the mask.
_INSIDE = 2
_MIXED = 255

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
#: First logits, weights and cells of an axis, as compiled code takes them.
Plan = tuple[Ints, Floats, Ints]
Weights = tuple[Floats, Floats]
#: Rows, columns (first and past the last), and the first logit in each direction.
Cell = tuple[int, int, int, int, int, int]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Axis:
    """How output pixels of one direction come from logits.

    Attributes
    ----------
    first : ndarray of int64, shape (length,)
        The first logit that an output pixel depends on; the next two are the others.
    weights : ndarray of float32, shape (length, 3)
    starts : ndarray of int64, shape (n_cells + 1,)
        Where cells begin: spans of output pixels with the same `first`.
    """

    first: NDArray[np.int64]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]


@dataclass(frozen=True)
class Measures:
    """What is known of masks before they are drawn, a row per mask.

    Attributes
    ----------
    stability : ndarray of float32, shape (n_masks,)
        Intersection over union of the masks cut at the threshold plus and minus the offset; NaN
        where both are empty.
    areas : ndarray of int64, shape (n_masks,)
    boxes : ndarray of int64, shape (n_masks, 4)
        First and last column and row with a pixel of the mask: x0, y0, x1, y1, as SAM has them;
        zeros for an empty mask.
    """

    stability: NDArray[np.float32]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]


class Resampler:
    """Maps logits to the pixels of one image.

    Parameters
    ----------
    logits : int
        Side of the square of logits.
    padded : int
        Side of the encoder's input.
    used : tuple of int
        Height and width of the image in the encoder's input; the rest is padding.
    size : tuple of int
        Height and width of the image.
    """

    def __init__(
        self, logits: int, padded: int, used: tuple[int, int], size: tuple[int, int]
    ) -> None:
        self.size = size
        self._rows, self._cols = (
            _plan_axis(logits, padded, inner, outer)
            for inner, outer in zip(used, size, strict=True)
        )

    def measure(self, logits: NDArray[np.float32], threshold: float, offset: float) -> Measures:
        """Measure masks without drawing them.

        Parameters
        ----------
        logits : ndarray of float32, shape (n_masks, side, side)
        threshold, offset : float
            SAM's mask threshold and stability offset.
        """
        limits = np.array([threshold - offset, threshold, threshold + offset], np.float32)
        counts, boxes = _measure_all(logits, limits, _unpack(self._rows), _unpack(self._cols))
        with np.errstate(divide="ignore", invalid="ignore"):
            inner, outer = counts[:, 2].astype(np.float32), counts[:, 0].astype(np.float32)
            stability: Floats = np.divide(inner, outer)
        return Measures(stability, counts[:, 1], boxes)

    def draw(self, logits: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
        """Draw one mask: logits of shape (side, side) to pixels of the image's size."""
        mask = np.zeros(self.size, np.bool_)
        limits = np.full(_TAPS, threshold, np.float32)
        _draw_one(logits, limits, _unpack(self._rows), _unpack(self._cols), mask)
        return mask


class ResampledPixels:
    """Does what `MaskPixels` says with a `Resampler`, on a CPU.

    Parameters
    ----------
    resampler : Resampler
    """

    def __init__(self, resampler: Resampler) -> None:
        self._resampler = resampler

    def select(self, logits: Tensor, threshold: float, offset: float, least: float) -> StableMasks:
        """Return the masks whose stability is at least `least`; all where that is 0."""
        measures = self._resampler.measure(logits.numpy(), threshold, offset)
        kept = np.ones(len(logits), bool) if least <= 0 else measures.stability >= least
        return StableMasks(np.flatnonzero(kept), measures.stability[kept], measures.boxes[kept])

    def draw(self, logits: Tensor, threshold: float) -> Spans:
        """Draw masks."""
        return Spans.concatenate(
            [
                Spans.from_bitmaps(self._resampler.draw(mask, threshold)[np.newaxis])
                for mask in logits.numpy()
            ]
        )

    def cover(self, logits: Tensor, threshold: float) -> NDArray[np.bool_]:
        """Return the pixels, shape (height, width), that any of the masks covers."""
        covered = np.zeros(self._resampler.size, bool)
        for mask in logits.numpy():
            covered |= self._resampler.draw(mask, threshold)
        return covered


def _unpack(axis: Axis) -> Plan:
    return axis.first, axis.weights, axis.starts


def _plan_axis(logits: int, padded: int, used: int, size: int) -> Axis:
    """Compose both interpolations of one direction into weights on three logits."""
    weights = _interpolation(used, size) @ _interpolation(logits, padded)[:used]
    first = (weights > 0).argmax(axis=1)
    # Cells at the far end look back, so that all three logits exist.
    first = np.minimum(first, logits - _TAPS)
    taps = np.take_along_axis(weights, first[:, None] + np.arange(_TAPS), axis=1)
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    return Axis(
        first.astype(np.int64),
        np.ascontiguousarray(taps, np.float32),
        np.append(starts, size).astype(np.int64),
    )


def _interpolation(source: int, target: int) -> NDArray[np.float64]:
    """Return torch's bilinear interpolation (align_corners=False) as a (target, source) matrix."""
    place = np.maximum((np.arange(target) + 0.5) * (source / target) - 0.5, 0)
    below = np.minimum(place.astype(np.int64), source - 1)
    above = np.minimum(below + 1, source - 1)
    share = place - below
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), below), 1 - share)
    np.add.at(matrix, (np.arange(target), above), share)
    return matrix


@compiled
def _classify(logits: Floats, limits: Floats) -> NDArray[np.uint8]:
    """Give each 3 x 3 logits the number of limits they are all above, or `_MIXED`.

    What stands at (row, col) is said of the logits from there down and to the right.
    """
    height, width = logits.shape
    levels = np.empty((height, width), np.uint8)
    across = np.empty((height, width), np.uint8)
    codes = np.empty((height, width), np.uint8)
    for row in range(height):
        for col in range(width):
            value = logits[row, col]
            levels[row, col] = (value > limits[0]) + (value > limits[1]) + (value > limits[2])
        for col in range(width - 2):
            level = levels[row, col]
            same = (level == levels[row, col + 1]) & (level == levels[row, col + 2])
            across[row, col] = level if same else _MIXED
    for row in range(height - 2):
        for col in range(width - 2):
            level = across[row, col]
            same = (level == across[row + 1, col]) & (level == across[row + 2, col])
            codes[row, col] = level if same else _MIXED
    return codes


@compiled
def _between_rows(logits: Floats, weights: Floats, top: int, left: int) -> Triple:
    """Return three columns of logits, each interpolated between three rows."""
    a, b, c = weights
    x, y, z = logits[top], logits[top + 1], logits[top + 2]
    return (
        a * x[left] + b * y[left] + c * z[left],
        a * x[left + 1] + b * y[left + 1] + c * z[left + 1],
        a * x[left + 2] + b * y[left + 2] + c * z[left + 2],
    )


@compiled
def _measure_cell(
    logits: Floats, limits: Floats, cell: Cell, weights: Weights, counts: Ints, box: Ints
) -> None:
    """Count a mixed cell's pixels above each limit, and grow the box by those of the mask."""
    row_start, row_stop, start, stop, top, left = cell
    for row in range(row_start, row_stop):
        x, y, z = _between_rows(logits, weights[0][row], top, left)
        for col in range(start, stop):
            a, b, c = weights[1][col]
            value = a * x + b * y + c * z
            counts[0] += value > limits[0]
            counts[2] += value > limits[2]
            if value > limits[1]:
                counts[1] += 1
                _grow(box, row, row + 1, col, col + 1)


@compiled
def _grow(box: Ints, row_start: int, row_stop: int, start: int, stop: int) -> None:
    box[0] = min(box[0], start)
    box[1] = min(box[1], row_start)
    box[2] = max(box[2], stop - 1)
    box[3] = max(box[3], row_stop - 1)


@compiled
def _measure_uniform(
    line: NDArray[np.uint8],
    widths: Ints,
    starts: Ints,
    top: int,
    stop: int,
    counts: Ints,
    box: Ints,
) -> None:
    """Count the pixels of a row of cells that are not mixed, and grow the box by the mask's."""
    low = middle = high = 0
    for j in range(len(widths)):
        code, width = line[j], widths[j]
        known = code != _MIXED
        low += width * (known & (code > 0))
        middle += width * (known & (code >= _INSIDE))
        high += width * (known & (code > _INSIDE))
    counts[0] += low * (stop - top)
    counts[1] += middle * (stop - top)
    counts[2] += high * (stop - top)
    if middle:
        first, last = 0, len(widths) - 1
        while line[first] < _INSIDE or line[first] == _MIXED:
            first += 1
        while line[last] < _INSIDE or line[last] == _MIXED:
            last -= 1
        _grow(box, top, stop, starts[first], starts[last + 1])


@compiled
def _measure_one(
    logits: Floats, limits: Floats, rows: Plan, cols: Plan, counts: Ints, box: Ints
) -> None:
    codes = _classify(logits, limits)
    weights, starts = (rows[1], cols[1]), cols[2]
    widths, lefts = starts[1:] - starts[:-1], cols[0][starts[:-1]]
    line = np.empty(len(lefts), np.uint8)
    for i in range(len(rows[2]) - 1):
        row_start, row_stop = rows[2][i], rows[2][i + 1]
        top = rows[0][row_start]
        across = codes[top]
        for j in range(len(lefts)):
            line[j] = across[lefts[j]]
        _measure_uniform(line, widths, starts, row_start, row_stop, counts, box)
        for j in range(len(lefts)):
            if line[j] == _MIXED:
                cell = (row_start, row_stop, starts[j], starts[j + 1], top, lefts[j])
                _measure_cell(logits, limits, cell, weights, counts, box)


@compiled
def _measure_all(logits: Floats, limits: Floats, rows: Plan, cols: Plan) -> tuple[Ints, Ints]:
    number = len(logits)
    counts = np.zeros((number, 3), np.int64)
    boxes = np.zeros((number, 4), np.int64)
    for index in range(number):
        boxes[index, 0] = len(cols[0])
        boxes[index, 1] = len(rows[0])
        _measure_one(logits[index], limits, rows, cols, counts[index], boxes[index])
        if counts[index, 1] == 0:
            boxes[index] = 0
    return counts, boxes


@compiled
def _draw_one(
    logits: Floats, limits: Floats, rows: Plan, cols: Plan, mask: NDArray[np.bool_]
) -> None:
    codes = _classify(logits, limits)
    for i in range(len(rows[2]) - 1):
        row_start, row_stop = rows[2][i], rows[2][i + 1]
        top = rows[0][row_start]
        for j in range(len(cols[2]) - 1):
            start, stop = cols[2][j], cols[2][j + 1]
            left = cols[0][start]
            code = codes[top, left]
            if code != _MIXED:
                mask[row_start:row_stop, start:stop] = code > 0
                continue
            for row in range(row_start, row_stop):
                x, y, z = _between_rows(logits, rows[1][row], top, left)
                for col in range(start, stop):
                    a, b, c = cols[1][col]
                    mask[row, col] = a * x + b * y + c * z > limits[1]
