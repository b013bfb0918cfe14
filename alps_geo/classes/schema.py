"""Where features come from: what must agree before classes made there are used elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError


@dataclass(frozen=True, eq=False)
class FeatureSchema:
    """Where features come from; a class model fits no others.

    Attributes
    ----------
    model, checksum : str
        Name and checksum of the mask model.
    names : tuple of str, length n_features
    weights : ndarray of float32, shape (n_features,)
        How much each standardised feature counts.
    stretch : mapping
        How scenes were scaled to 8 bits, as JSON values.
    """

    model: str
    checksum: str
    names: tuple[str, ...]
    weights: NDArray[np.float32]
    stretch: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that names and weights fit each other."""
        weights = self.weights
        if weights.shape != (len(self.names),) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ModelError(
                f"mask model {self.model!r} must give each of its {len(self.names)} features a"
                f" finite weight of 0 or more, not {weights.tolist()}"
            )

    def check(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield batches of features as float32, those without weight set to zero.

        Parameters
        ----------
        batches : iterable of ndarray, shape (n, n_features)

        Raises
        ------
        ModelError
            If features are not finite, or not as many as there are names.
        """
        names = self.names
        row = 0
        for batch in batches:
            features = np.asarray(batch, np.float32)
            if features.ndim != 2 or features.shape[1] != len(names):
                raise ModelError(
                    f"features must have shape (segments, {len(names)}) as in the class model, not"
                    f" {features.shape}; make new classes, or use the mask model they come from"
                )
            if not np.isfinite(features).all():
                bad, column = np.argwhere(~np.isfinite(features))[0]
                raise ModelError(
                    f"feature {names[column]!r} of segment row {row + bad} is"
                    f" {features[bad, column]}, not a finite number; label the scene again with"
                    " `overwrite`"
                )
            row += len(features)
            yield np.where(self.weights > 0, features, np.float32(0))
