"""The parts of one class: its segments, clustered in the space of the class model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingsError
from ..progress import Progress
from .clustering import cluster, nearest
from .sampling import Rows, Weighted, reblock, sketch

#: Segments of the class that centres start from.
_SAMPLE = 20_000


def find_parts(
    rows: Callable[[], Iterable[Weighted]],
    pixels: Sequence[NDArray[Any]],
    class_id: int,
    parts: int,
    seed: int,
    progress: Progress | None = None,
) -> Rows:
    """Cluster the segments of a class.

    Parameters
    ----------
    rows : callable
        Starts a pass over them, always in the same batches, as the model transforms them.
    pixels : sequence of ndarray, shape (n,)
        Their areas, in the same batches.
    class_id : int
    parts : int
    seed : int
    progress : Progress, optional
        Is told of every pass.

    Returns
    -------
    ndarray of float64, shape (parts, n_columns)
        The centre of each part, the part of the largest area first.

    Raises
    ------
    SettingsError
        If there are fewer different segments than parts.
    """
    if parts < 2:
        raise SettingsError(
            f"class {class_id} cannot be split into {parts}; give 2 or more parts",
            code="settings.splits",
            setting="splits",
            found=parts,
        )
    seen = sketch(rows(), max(_SAMPLE, 10 * parts), parts, seed)
    distinct = 0 if seen is None else seen.distinct
    if seen is None or distinct < parts:
        found = "no segment" if not distinct else f"only {distinct} different segments"
        raise SettingsError(
            f"class {class_id} cannot be split into {parts}: it has {found}; give fewer parts, or"
            " split another class",
            code="settings.splits",
            setting="splits",
            found=parts,
        )
    result = cluster(lambda: reblock(rows()), seen.sample, parts, seed, progress)
    areas = np.zeros(parts)
    for batch, sizes in zip(rows(), pixels, strict=True):
        areas += np.bincount(nearest(batch.rows, result.centers), sizes, minlength=parts)
    return result.centers[np.argsort(-areas, kind="stable")]
