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
from numba import njit
from numpy.typing import NDArray

#: Logits that an output pixel depends on, in each direction.
_TAPS = 3
_MIXED = 255


@dataclass(frozen=True)
class Axis:
    """How output pixels of one direction come from logits.

    Attributes
    ----------
    first : ndarray of int64, shape (length,)
        The first logit that an output pixel depends on; the next two are the others.
    weights : ndarray of float32, shape (length, 3)
    starts : ndarray of int64, shape (n_cells + 1,)
        Where cells begin: runs of output pixels with the same `first`.
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
        counts, boxes = _measure_all(
            logits, limits, *_unpack(self._rows), *_unpack(self._cols)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            stability = counts[:, 2].astype(np.float32) / counts[:, 0].astype(np.float32)
        return Measures(stability, counts[:, 1], boxes)

    def draw(self, logits: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
        """Draw one mask: logits of shape (side, side) to pixels of the image's size."""
        mask = np.zeros(self.size, np.bool_)
        limits = np.full(_TAPS, threshold, np.float32)
        _draw_one(logits, limits, *_unpack(self._rows), *_unpack(self._cols), mask)
        return mask


def _unpack(
    axis: Axis,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
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


@njit(cache=True, nogil=True)
def _classify(logits, limits, codes):  # type: ignore[no-untyped-def]
    """Give each 3 x 3 logits the number of limits they are all above, or `_MIXED`.

    Returns by `codes`, shape (side, side): of the logits from there down and to the right.
    """
    height, width = logits.shape
    levels = np.empty((height, width), np.uint8)
    across = np.empty((height, width), np.uint8)
    for row in range(height):
        for col in range(width):
            value = logits[row, col]
            levels[row, col] = (
                (value > limits[0]) + (value > limits[1]) + (value > limits[2])
            )
        for col in range(width - 2):
            level = levels[row, col]
            same = (level == levels[row, col + 1]) & (level == levels[row, col + 2])
            across[row, col] = level if same else _MIXED
    for row in range(height - 2):
        for col in range(width - 2):
            level = across[row, col]
            same = (level == across[row + 1, col]) & (level == across[row + 2, col])
            codes[row, col] = level if same else _MIXED


@njit(cache=True, nogil=True, inline="always")
def _mix_rows(logits, row_weights, top, left):  # type: ignore[no-untyped-def]
    """Return three columns of logits, each interpolated between rows."""
    a, b, c = row_weights
    return (
        a * logits[top, left] + b * logits[top + 1, left] + c * logits[top + 2, left],
        a * logits[top, left + 1] + b * logits[top + 1, left + 1] + c * logits[top + 2, left + 1],
        a * logits[top, left + 2] + b * logits[top + 1, left + 2] + c * logits[top + 2, left + 2],
    )


@njit(cache=True, nogil=True)
def _measure_one(  # type: ignore[no-untyped-def]
    logits, limits, row_first, row_weights, row_starts, col_first, col_weights, col_starts,
    counts, box,
):
    codes = np.empty(logits.shape, np.uint8)
    _classify(logits, limits, codes)
    for i in range(len(row_starts) - 1):
        row_start, row_stop = row_starts[i], row_starts[i + 1]
        top = row_first[row_start]
        for j in range(len(col_starts) - 1):
            start, stop = col_starts[j], col_starts[j + 1]
            left = col_first[start]
            code = codes[top, left]
            if code == 0:
                continue
            if code != _MIXED:
                area = (row_stop - row_start) * (stop - start)
                for level in range(code):
                    counts[level] += area
                if code >= 2:
                    box[0] = min(box[0], start)
                    box[1] = min(box[1], row_start)
                    box[2] = max(box[2], stop - 1)
                    box[3] = max(box[3], row_stop - 1)
                continue
            for row in range(row_start, row_stop):
                x, y, z = _mix_rows(logits, row_weights[row], top, left)
                for col in range(start, stop):
                    value = (
                        col_weights[col, 0] * x + col_weights[col, 1] * y + col_weights[col, 2] * z
                    )
                    counts[0] += value > limits[0]
                    counts[2] += value > limits[2]
                    if value > limits[1]:
                        counts[1] += 1
                        box[0] = min(box[0], col)
                        box[1] = min(box[1], row)
                        box[2] = max(box[2], col)
                        box[3] = max(box[3], row)


@njit(cache=True, nogil=True)
def _measure_all(  # type: ignore[no-untyped-def]
    logits, limits, row_first, row_weights, row_starts, col_first, col_weights, col_starts
):
    number = len(logits)
    counts = np.zeros((number, 3), np.int64)
    boxes = np.zeros((number, 4), np.int64)
    for index in range(number):
        boxes[index, 0] = len(col_first)
        boxes[index, 1] = len(row_first)
        _measure_one(
            logits[index], limits, row_first, row_weights, row_starts,
            col_first, col_weights, col_starts, counts[index], boxes[index],
        )
        if counts[index, 1] == 0:
            boxes[index] = 0
    return counts, boxes


@njit(cache=True, nogil=True)
def _draw_one(  # type: ignore[no-untyped-def]
    logits, limits, row_first, row_weights, row_starts, col_first, col_weights, col_starts, mask
):
    codes = np.empty(logits.shape, np.uint8)
    _classify(logits, limits, codes)
    for i in range(len(row_starts) - 1):
        row_start, row_stop = row_starts[i], row_starts[i + 1]
        top = row_first[row_start]
        for j in range(len(col_starts) - 1):
            start, stop = col_starts[j], col_starts[j + 1]
            left = col_first[start]
            code = codes[top, left]
            if code == 0:
                continue
            if code != _MIXED:
                mask[row_start:row_stop, start:stop] = True
                continue
            for row in range(row_start, row_stop):
                x, y, z = _mix_rows(logits, row_weights[row], top, left)
                for col in range(start, stop):
                    value = (
                        col_weights[col, 0] * x + col_weights[col, 1] * y + col_weights[col, 2] * z
                    )
                    mask[row, col] = value > limits[1]


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Encode a mask as COCO's uncompressed run lengths, column by column, background first."""
    pixels = mask.T.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()
    if pixels[0]:
        counts = [0, *counts]
    return {"size": [int(side) for side in mask.shape], "counts": counts}
