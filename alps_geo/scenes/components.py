"""Principal components: what three numbers say most of all bands of a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError


@dataclass(frozen=True)
class Components:
    """The first three principal components of bands, each band in its standard deviations.

    Attributes
    ----------
    mean : tuple of float, length n_bands
        Taken from the bands' measurements.
    axes : tuple of three tuples of float, length n_bands
        What then makes the components: sums of the bands, each times its number.
    shares : tuple of three float
        Of all that varies, how much each component has.
    """

    mean: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    shares: tuple[float, ...]

    @classmethod
    def measure(
        cls, samples: Sequence[NDArray[np.float64]], stands_for: Sequence[float]
    ) -> Components:
        """Find the components of all samples together.

        Parameters
        ----------
        samples : sequence of ndarray of float64, shape (n_values, n_bands)
            NaN where a band has no value: it counts as the band's mean.
        stands_for : sequence of float
            The number of pixels that a row of each sample stands for.

        Returns
        -------
        Components
            The same for the same samples, always: the largest number of each axis is positive.
        """
        rows = np.concatenate(samples)
        weights = np.repeat(stands_for, [len(sample) for sample in samples])[:, np.newaxis]
        known = np.isfinite(rows)
        counts = np.maximum((known * weights).sum(axis=0), 1e-300)
        mean = (np.where(known, rows, 0) * weights).sum(axis=0) / counts
        rest = np.where(known, rows - mean, 0)
        spread = np.sqrt((np.square(rest) * weights).sum(axis=0) / counts)
        # A constant band has no part in anything.
        scale = np.where(spread > 0, spread, np.inf)
        rest /= scale
        together = np.einsum("ni,nj->ij", rest * weights, rest) / weights.sum()
        sizes, directions = np.linalg.eigh(together)
        first = directions[:, ::-1][:, :3].T
        first = first * np.sign(first[np.arange(3), np.abs(first).argmax(axis=1)])[:, np.newaxis]
        shares = np.maximum(sizes[::-1][:3], 0) / max(float(sizes.sum()), 1e-300)
        axes = (first / scale).tolist()
        return cls(tuple(mean.tolist()), tuple(map(tuple, axes)), tuple(shares.tolist()))

    def project(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn bands into components; a value is the same to the last bit in any company.

        Parameters
        ----------
        values : ndarray of float64, shape (n_bands, ...)
            NaN where a band has no value.

        Returns
        -------
        ndarray of float64, shape (3, ...)
        """
        found = np.zeros((3, *values.shape[1:]))
        for band, mean, *numbers in zip(values, self.mean, *self.axes, strict=True):
            rest = np.nan_to_num(band - mean, nan=0.0)
            for component, number in zip(found, numbers, strict=True):
                component += rest * number
        return found

    def to_dict(self) -> dict[str, object]:
        """Return the components as plain values for JSON."""
        axes = [list(axis) for axis in self.axes]
        return {"mean": list(self.mean), "axes": axes, "shares": list(self.shares)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Components:
        """Make components from what `to_dict` returned.

        Raises
        ------
        ModelError
            If a value is missing or of the wrong kind.
        """
        try:
            mean = tuple(float(value) for value in values["mean"])
            axes = tuple(tuple(float(value) for value in axis) for axis in values["axes"])
            shares = tuple(float(value) for value in values["shares"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"principal components need means, axes and shares, not {values!r}"
            ) from error
        if [len(axis) for axis in axes] != [len(mean)] * 3:
            raise ModelError(f"three axes need a number for each of {len(mean)} bands, not {axes}")
        return cls(mean, axes, shares)
