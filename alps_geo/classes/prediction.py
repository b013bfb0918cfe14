"""What a class model says of segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """The classes of segments.

    Attributes
    ----------
    class_id : ndarray of uint16, shape (n_segments,)
    confidence : ndarray of float32, shape (n_segments,)
        Of pseudo-classes 1 - d1 / d2, the distances to the nearest centre and the nearest of
        another class: 0 halfway between two classes, 1 on a centre, 1 if there is one class only.
        Of a class that was split, the lesser of that and the same between its parts.
        Of classes from examples their probability. 0 of what is unknown.
    """

    class_id: NDArray[np.uint16]
    confidence: NDArray[np.float32]
