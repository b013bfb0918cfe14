"""Which differences between rows tell classes apart: those large beside the scatter of like rows.

K-means takes clusters for round and squares distances. So values far from the mean are first drawn
in, or odd rows would get too many centres. Then rows are brought to where small clusters are round:
distances are measured in units of the scatter inside them, which is that of one thing. It is the
metric of linear discriminant analysis and of mixtures with one shared covariance, without their
labels.
"""

from __future__ import annotations

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from .clustering import nearest, seed_centers
from .sampling import Rows

#: Clusters so small that the scatter inside them is that of one thing, and rows each has at least.
_CLUSTERS, _ROWS_EACH = 64, 8
#: Share of the scatter that is taken as equal in all directions, at least; more for few rows.
_SHRINKAGE = 0.1
#: Rows of more columns stay as they are, such as SAM's embedding of 256: few rows say too little of
#: so many directions, and rotating takes long.
_MAX_COLUMNS = 192
#: Standard deviations from the mean up to which a value counts in full. On the benchmark's scenes
#: 1.5 to 2.25 do about as well, 1 and none at all worse.
_REACH = 1.75


def choose_reach(columns: int) -> float:
    """Return how far, in standard deviations, values of rows of so many columns count in full."""
    return _REACH if columns <= _MAX_COLUMNS else np.inf


def compress(rows: Rows, reach: float) -> Rows:
    """Let what values exceed `reach` by grow as a logarithm; their order stays.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_rows, n_columns)
        In standard deviations from the mean.
    reach : float
        Above 0; infinite for rows that stay as they are.

    Returns
    -------
    ndarray of float64, shape (n_rows, n_columns)
        The rows themselves, not a copy, where none reaches so far.
    """
    beyond = np.abs(rows) - reach
    far = beyond > 0
    if not far.any():
        return rows
    drawn: Rows = rows.copy()
    drawn[far] = np.copysign(reach + np.log1p(beyond[far]), rows[far])
    return drawn


def measure_axes(sample: Rows, seed: int) -> Rows:
    """Return the matrix after which rows scatter alike in all directions inside small clusters.

    Parameters
    ----------
    sample : ndarray of float64, shape (n_sampled, n_columns)
        Standardised, log-compressed and weighted.
    seed : int

    Returns
    -------
    ndarray of float64, shape (n_columns, n_columns)
        Symmetric; the identity where there is nothing to measure.
    """
    columns = sample.shape[1]
    count = min(_CLUSTERS, len(sample) // _ROWS_EACH)
    if count < 2 or columns > _MAX_COLUMNS:
        return np.eye(columns)
    centers = seed_centers(sample, count, seed)
    rest = sample - centers[nearest(sample, centers)]
    scatter = np.einsum("ni,nj->ij", rest, rest) / len(rest)
    usual = float(np.trace(scatter)) / columns
    if usual <= 0:
        return np.eye(columns)
    equal = max(_SHRINKAGE, float(ledoit_wolf_shrinkage(rest, assume_centered=True)))
    scatter = (1 - equal) * scatter / usual + equal * np.eye(columns)
    sizes, directions = np.linalg.eigh(scatter)
    axes: Rows = (directions / np.sqrt(sizes)) @ directions.T
    return axes


def rotate(rows: Rows, axes: Rows) -> Rows:
    """Multiply rows by a matrix; no bit of a row depends on the other rows.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_rows, n_columns)
    axes : ndarray of float64, shape (n_columns, n_columns)
    """
    if np.array_equal(axes, np.eye(len(axes))):
        return rows
    turned = np.zeros_like(rows)
    for column, axis in zip(rows.T, axes, strict=True):
        turned += column[:, np.newaxis] * axis
    return turned
