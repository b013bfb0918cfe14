"""Segments that somebody said the class of, as a classifier learns from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._columns import Columns

#: Examples that a classifier learns from; of more, as many of each class as there is room for.
MOST = 20000


@dataclass(frozen=True)
class Examples(Columns):
    """Examples, a row per segment.

    Attributes
    ----------
    features : ndarray of float32, shape (n, n_features)
        As they are stored.
    area_px : ndarray of int64, shape (n,)
    names : ndarray of str, shape (n,)
        The class of each.
    """

    features: NDArray[np.float32]
    area_px: NDArray[np.int64]
    names: NDArray[np.str_]

    def join(self, later: Examples) -> Examples:
        """Return both; where the same segment is in both, the later one counts."""
        there = {row.tobytes() for row in later.features}
        kept = np.array([row.tobytes() not in there for row in self.features], bool)
        return Examples.concatenate([self.take(kept), later])

    def thin(self, seed: int) -> Examples:
        """Return `MOST` of them at most, drawn so that small classes keep all theirs."""
        if len(self) <= MOST:
            return self
        order = np.random.default_rng(seed).permutation(len(self))
        _, numbers = np.unique(self.names, return_inverse=True)
        # The turn at which each is drawn within its class.
        turn = np.zeros(len(self), np.int64)
        for number in range(numbers.max() + 1):
            mine = order[numbers[order] == number]
            turn[mine] = np.arange(len(mine))
        return self.take(np.sort(np.lexsort((order, turn))[:MOST]))
