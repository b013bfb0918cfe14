"""What masks look like: one row of numbers per mask, pooled from the model's embedding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .masks import Embedding
from .runs import Runs


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


def pool_features(runs: Runs, embedding: Embedding, shape: tuple[int, int]) -> Features:
    """Average an embedding under each mask (eq. 4 of the ALPS paper).

    The embedding is brought to the tile's pixels by bilinear interpolation, and its mean over the
    mask's pixels is the mask's feature. Interpolation is linear, so the mean is taken on the cells
    with weights `U' m`, all masks in one sparse product; the numbers are those of the definition.

    Parameters
    ----------
    runs : Runs
        The masks' pixels; none may be empty.
    embedding : Embedding
    shape : (int, int)
        Height and width of the tile.

    Returns
    -------
    Features
    """
    height, width = shape
    _, rows, cols = embedding.values.shape
    weights = runs.matrix(height, width).astype(np.float64)
    areas = runs.areas.astype(np.float64)
    if embedding.as_authors:
        weights, areas = _weigh_as_authors(weights, shape, (rows, cols), embedding.stride)
    elif embedding.stride != 1:
        weights = weights @ _upsampling(height, width, rows, cols, embedding.stride)
    values = np.empty((len(runs), len(embedding.names)), np.float32)
    for index, plane in enumerate(embedding.values):
        # In float64, so that the mean of a constant is that constant in every tile.
        values[:, index] = (weights @ plane.ravel().astype(np.float64)) / areas
    return Features(values, embedding.names, embedding.weights)


def _weigh_as_authors(
    masks: sparse.csr_array, shape: tuple[int, int], cells: tuple[int, int], stride: float
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
    soft = sparse.csr_array(masks @ shrinking.T)
    growing = sparse.kron(*(_upsample_axis(*axis, 4) for axis in zip(fine, cells, strict=True)))
    touched = np.diff(soft.indptr).astype(np.float64)
    # A mask too thin for the coarser grid has no product at all: their program makes it zero.
    return sparse.csr_array(soft @ growing), np.maximum(touched, 1)


@lru_cache(maxsize=4)
def _upsampling(height: int, width: int, rows: int, cols: int, stride: float) -> sparse.csr_array:
    """Return bilinear interpolation from cells to pixels, shape (height * width, rows * cols)."""
    return sparse.csr_array(
        sparse.kron(_upsample_axis(height, rows, stride), _upsample_axis(width, cols, stride))
    )


def _upsample_axis(pixels: int, cells: int, stride: float) -> sparse.csr_array:
    """Return linear interpolation along one axis, as torch does it without aligned corners."""
    place = np.clip((np.arange(pixels) + 0.5) / stride - 0.5, 0, cells - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, cells - 1)
    share = place - lower
    index = np.arange(pixels)
    weights = np.concatenate([1 - share, share])
    where = (np.concatenate([index, index]), np.concatenate([lower, upper]))
    return sparse.coo_array((weights, where), (pixels, cells)).tocsr()
