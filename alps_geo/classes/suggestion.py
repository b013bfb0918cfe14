"""Which segments' classes would teach most: uncertain, large and unlike each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .clustering import nearest, seed_centers, squared_distance
from .sampling import Rows, count_of_areas

#: Of the rows of a cluster, the share nearest to its centre of which the largest is typical.
_TYPICAL, _TYPICAL_LEAST = 0.1, 5


def choose_typical(
    rows: Rows, area_px: NDArray[np.integer], number: int, seed: int
) -> NDArray[np.int64]:
    """Choose rows when nothing is known: one typical of each cluster, large clusters first.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, n_columns)
        Whitened.
    area_px : ndarray of int, shape (n,)
    number : int
        Rows to choose, and clusters.
    seed : int

    Returns
    -------
    ndarray of int64, shape (at most `number`,)
    """
    number = min(number, len(np.unique(rows, axis=0)))
    centers = seed_centers(rows, number, seed, count_of_areas(area_px))
    index = nearest(rows, centers)
    squares = squared_distance(rows, centers[index])
    sizes = np.bincount(index, area_px, number)
    chosen = []
    for cluster in np.argsort(-sizes, kind="stable").tolist():
        mine = np.flatnonzero(index == cluster)
        if len(mine):
            few = max(_TYPICAL_LEAST, int(_TYPICAL * len(mine)))
            close = mine[np.argsort(squares[mine], kind="stable")[:few]]
            chosen.append(close[np.argmax(area_px[close])])
    return np.array(chosen, np.int64)


def choose_doubtful(
    rows: Rows, area_px: NDArray[np.integer], doubt: Rows, known: Rows, number: int
) -> NDArray[np.int64]:
    """Choose rows when something is known: doubtful, large, and far from known and chosen ones.

    One after the other, that with the largest product of doubt, the square root of its area, and
    its distance to the nearest row that is known or was chosen before.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, n_columns)
        Whitened.
    area_px : ndarray of int, shape (n,)
    doubt : ndarray of float64, shape (n,)
        From 0, sure, to 1.
    known : ndarray of float64, shape (n_known, n_columns)
        One at least.
    number : int

    Returns
    -------
    ndarray of int64, shape (at most `number`,)
    """
    squares = np.full(len(rows), np.inf)
    for row in known:
        np.minimum(squares, squared_distance(rows, row[np.newaxis]), out=squares)
    worth = doubt * np.sqrt(area_px)
    chosen: list[int] = []
    while len(chosen) < number:
        values = worth * np.sqrt(squares)
        best = int(values.argmax())
        if values[best] <= 0:
            break
        chosen.append(best)
        np.minimum(squares, squared_distance(rows, rows[best : best + 1]), out=squares)
        squares[best] = 0
    return np.array(chosen, np.int64)
