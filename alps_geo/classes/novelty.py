"""What a class model has never seen: segments, and scenes, unlike those that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .clustering import nearest, squared_distance
from .sampling import Rows
from .schema import FeatureBlock

#: Name and colour of the class of what fits no other.
UNKNOWN, UNKNOWN_COLOR = "unknown", "#808080"
#: Segments that a model keeps to tell whether others are like them.
_REFERENCES = 1000
#: Share of the segments that a model was made from that lie within the spread.
_INSIDE = 0.99
#: Of its covariance, the share that is taken as equal in all directions.
_SHRINKAGE = 1e-3
#: A block of features that is farther off than this is of a scene unlike the training scene. On the
#: benchmark's scenes, two of one sensor are 1.4 to 2.1 apart, others 3.1 to 4.2.
DRIFT = 2.6


@dataclass(frozen=True)
class Spread:
    """How far the segments reach that a model was made from.

    Attributes
    ----------
    references : ndarray of float32, shape (n_references, n_columns)
        Some of them, whitened; none in files of versions that did not keep any.
    distance : float
        That from one of them to the nearest reference, for all but 1 % of them.
    moments : ndarray of float64, shape (n_columns + 1, n_columns)
        Their mean, and below it their covariance, standardised; no row where they are not known.
    """

    references: NDArray[np.float32]
    distance: float
    moments: Rows

    @property
    def is_known(self) -> bool:
        """Whether there is anything to compare with."""
        return len(self.references) > 0

    def is_beyond(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows, whitened, are farther from all references than is usual."""
        if not self.is_known:
            return np.zeros(len(rows), bool)
        references = self.references.astype(np.float64)
        squares = squared_distance(rows, references[nearest(rows, references)])
        # References are rounded: a row may not be beyond itself.
        limit = self.distance**2 * (1 + 1e-6) + 1e-9
        beyond: NDArray[np.bool_] = squares > limit
        return beyond


def measure_spread(standardised: Rows, whitened: Rows, seed: int) -> Spread:
    """Measure the spread of a sample of segments.

    Parameters
    ----------
    standardised, whitened : ndarray of float64, shape (n_rows, n_columns)
        The same rows.
    seed : int
    """
    order = np.random.default_rng(seed).permutation(len(whitened))
    half = min(_REFERENCES, (len(order) + 1) // 2)
    chosen, others = whitened[order[:half]], whitened[order[half : 3 * half]]
    distance = 0.0
    if len(others):
        squares = squared_distance(others, chosen[nearest(others, chosen)])
        distance = float(np.sqrt(np.quantile(squares, _INSIDE)))
    mean = standardised.mean(axis=0)
    centred = standardised - mean
    covariance = np.einsum("ni,nj->ij", centred, centred) / len(centred)
    return Spread(chosen.astype(np.float32), distance, np.vstack([mean, covariance]))


class Drift:
    """Adds up the features of a scene, to tell how far they are from those of another.

    Parameters
    ----------
    spread : Spread
        Of the scene that a class model was made in.
    """

    def __init__(self, spread: Spread) -> None:
        columns = spread.moments.shape[1]
        self._moments = spread.moments
        self._count, self._sum = 0, np.zeros(columns)
        self._products = np.zeros((columns, columns))

    def add(self, standardised: Rows) -> None:
        """Take some more segments, shape (n, n_columns), into account."""
        self._count += len(standardised)
        self._sum += standardised.sum(axis=0)
        self._products += standardised.T @ standardised

    def by_block(self, names: Sequence[str], blocks: Sequence[FeatureBlock]) -> dict[str, float]:
        """Return how far the means of each block of features lie apart, in standard deviations.

        In the direction in which the two scenes are told apart best (Mahalanobis' distance, with
        the mean of both covariances). 0 for the scene itself; nothing where there is nothing to
        compare.
        """
        if not self._count or not len(self._moments):
            return {}
        mean = self._sum / self._count
        own = self._products / self._count - np.outer(mean, mean)
        covariance = (own + self._moments[1:]) / 2
        found = {}
        for block in blocks:
            mine = np.flatnonzero(columns_of(block.name, names, blocks))
            part = covariance[np.ix_(mine, mine)]
            usual = float(np.trace(part)) / max(len(mine), 1)
            if usual > 0:
                part = part + _SHRINKAGE * usual * np.eye(len(mine))
                apart = (mean - self._moments[0])[mine]
                squared = float(apart @ np.linalg.solve(part, apart))
                found[block.name] = round(float(np.sqrt(max(squared, 0))), 2)
        return found


def columns_of(
    block: str, names: Sequence[str], blocks: Sequence[FeatureBlock]
) -> NDArray[np.bool_]:
    """Return which columns are of a block: those called by its name and a dot, or by no other's."""
    prefixes = [other.name for other in blocks]
    owners = [next((p for p in prefixes if name.startswith(f"{p}.")), None) for name in names]
    if block in owners:
        return np.array([owner == block for owner in owners], bool)
    return np.array([owner is None for owner in owners], bool)
