"""Small holes filled and small islands dropped, as SAM's `min_mask_region_area` does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...scenes.spans import Spans


def remove_small_regions(
    spans: Spans, min_area: int, size: tuple[int, int]
) -> tuple[Spans, NDArray[np.bool_]]:
    """Fill holes and then drop islands below an area, in each mask.

    Parameters
    ----------
    spans : Spans
    min_area : int
        In pixels; holes and islands are 8-connected.
    size : tuple of int
        Height and width of the image.

    Returns
    -------
    spans : Spans
    changed : ndarray of bool, shape (n_masks,)
    """
    cleaned, changed = [], np.zeros(len(spans), bool)
    for index in range(len(spans)):
        mask = spans.bitmap(index, *size)
        clean = _drop_islands(_fill_holes(mask, min_area), min_area)
        changed[index] = not np.array_equal(clean, mask)
        cleaned.append(Spans.from_bitmaps(clean[None]))
    return Spans.concatenate(cleaned), changed


def _fill_holes(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    labels, sizes = _label(~mask)
    small = sizes < min_area
    small[0] = False
    return mask | small[labels]


def _drop_islands(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    labels, sizes = _label(mask)
    large = sizes >= min_area
    large[0] = False
    if not large.any() and len(sizes) > 1:
        # An object is never lost: its largest part stays.
        large[1 + int(sizes[1:].argmax())] = True
    return large[labels]


def _label(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return labels, np.bincount(labels.ravel(), minlength=count + 1)
