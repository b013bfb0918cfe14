"""What masks look like: one row of numbers per mask, pooled from the model's embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..models.masks import Embedding
from ..scenes.spans import Spans


@dataclass(frozen=True)
class Features:
    """The features of masks, a row per mask.

    Attributes
    ----------
    values : ndarray of float32, shape (n_masks, n_features)
    names : tuple of str, length n_features
    weights : ndarray of float32, shape (n_features,)
        How much each standardised feature counts in clustering.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    weights: NDArray[np.float32]


def pool_features(spans: Spans, embedding: Embedding, shape: tuple[int, int]) -> Features:
    """Average an embedding under each mask (eq. 4 of the ALPS paper).

    The embedding is brought to the tile's pixels by bilinear interpolation, and its mean over the
    mask's pixels is the mask's feature. Interpolation is linear, so the embedding is interpolated
    down only, and weighted by what each span's pixels take from each cell across: the numbers are
    those of the definition, all masks in one sparse product.

    Parameters
    ----------
    spans : Spans
        The masks' pixels; none may be empty.
    embedding : Embedding
    shape : (int, int)
        Height and width of the tile.

    Returns
    -------
    Features
    """
    _, rows, cols = embedding.values.shape
    if embedding.as_authors:
        weights, divisors = _weigh_as_authors(spans, shape, (rows, cols), embedding.stride)
        down = sparse.eye_array(rows)
    else:
        across = _upsample_axis(shape[1], cols, embedding.stride, embedding.origin[1])
        weights = _weigh_across(spans, shape[0], across)
        divisors = spans.areas.astype(np.float64)
        down = _upsample_axis(shape[0], rows, embedding.stride, embedding.origin[0])
    values = np.empty((len(spans), len(embedding.names)), np.float32)
    for index, plane in enumerate(embedding.values):
        # In float64, so that the mean of a constant is that constant in every tile.
        values[:, index] = (weights @ (down @ plane.astype(np.float64)).ravel()) / divisors
    return Features(values, embedding.names, embedding.weights)


def mean_colors(spans: Spans, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average the colour of each mask's pixels.

    Parameters
    ----------
    spans : Spans
        The masks' pixels; none may be empty.
    pixels : ndarray of uint8, shape (height, width, 3)

    Returns
    -------
    ndarray of float32, shape (n_masks, 3)
        Red, green and blue, from 0 to 255.
    """
    height, width, _ = pixels.shape
    # Sums along rows: a span's is the difference of two of them, exact as all are whole numbers.
    sums = np.zeros((height, width + 1, 3), np.int64)
    np.cumsum(pixels, axis=1, out=sums[:, 1:])
    row, start, stop = spans.values.T
    totals = np.zeros((len(spans), 3), np.int64)
    np.add.at(totals, spans.owners, sums[row, stop] - sums[row, start])
    return (totals / spans.areas[:, np.newaxis]).astype(np.float32)


def _weigh_across(spans: Spans, height: int, across: sparse.csr_array) -> sparse.csr_array:
    """Return masks' weights on cells interpolated down only, shape (n_masks, height * cols)."""
    width, cols = across.shape
    sums = np.zeros((width + 1, cols))
    np.cumsum(across.toarray(), axis=0, out=sums[1:])
    row, start, stop = spans.values.astype(np.int64).T
    # The cells that a span's pixels lie between; a pixel has one or two.
    first = across.indices[across.indptr[start]].astype(np.int64)
    last = across.indices[across.indptr[stop] - 1]
    sizes = last + 1 - first
    ends = np.concatenate([[0], np.cumsum(sizes)])
    cells = np.repeat(first - ends[:-1], sizes) + np.arange(ends[-1])
    weights = sums[np.repeat(stop, sizes), cells] - sums[np.repeat(start, sizes), cells]
    places = np.repeat(row * cols, sizes) + cells
    return sparse.csr_array((weights, places, ends[spans.offsets]), (len(spans), height * cols))


def _weigh_as_authors(
    spans: Spans, shape: tuple[int, int], cells: tuple[int, int], stride: float
) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """Return each mask's weights on the cells, and what the authors' program divides by.

    It brings masks and embedding to four times the embedding's grid, bilinearly both, and divides
    by the number of non-zero products, so that soft edges count in full below the line.
    """
    fine = 4 * cells[0], 4 * cells[1]
    ratio = 4 / stride
    shrinking = sparse.kron(
        *(_upsample_axis(*axis, ratio) for axis in zip(fine, shape, strict=True))
    )
    masks = spans.matrix(*shape).astype(np.float64)
    soft = sparse.csr_array(masks @ shrinking.T)
    growing = sparse.kron(*(_upsample_axis(*axis, 4) for axis in zip(fine, cells, strict=True)))
    touched = np.diff(soft.indptr).astype(np.float64)
    # A mask too thin for the coarser grid has no product at all: their program makes it zero.
    return sparse.csr_array(soft @ growing), np.maximum(touched, 1)


def _upsample_axis(pixels: int, cells: int, stride: float, origin: float = 0.0) -> sparse.csr_array:
    """Return linear interpolation along one axis, as torch does it without aligned corners."""
    place = np.clip((np.arange(pixels) + 0.5 - origin) / stride - 0.5, 0, cells - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, cells - 1)
    share = place - lower
    index = np.arange(pixels)
    weights = np.concatenate([1 - share, share])
    where = (np.concatenate([index, index]), np.concatenate([lower, upper]))
    matrix = sparse.coo_array((weights, where), (pixels, cells)).tocsr()
    # What a pixel does not depend on may be no number.
    matrix.eliminate_zeros()
    return matrix
