"""Classes that somebody gave to segments by hand, kept in the run folder, for whatever classes.

An edit says "this segment is of that class", and in which class model the class has this id. So it
does not change when new classes are found: it is applied as the class that stands for the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .._columns import Columns
from .._files import replacing
from ..errors import OutputError, RunError

FILE_NAME = "edits.parquet"
#: Confidence of a segment whose class somebody chose.
CONFIDENCE = 1.0


@dataclass(frozen=True)
class Edits(Columns):
    """The edits of a scene, a row per segment.

    Attributes
    ----------
    segment_id : ndarray of int64, shape (n,)
        Ascending.
    class_id : ndarray of int64, shape (n,)
    model : ndarray of str, shape (n,)
        Checksum of the class model whose id it is.
    """

    segment_id: NDArray[np.int64]
    class_id: NDArray[np.int64]
    model: NDArray[np.str_]

    @classmethod
    def none(cls) -> Edits:
        """Return no edits."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, np.zeros(0, np.str_))

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]]) -> Edits:
        """Return the edits that `to_rows` gave."""
        listed = list(rows)
        return cls(
            np.array([row[0] for row in listed], np.int64),
            np.array([row[1] for row in listed], np.int64),
            np.array([row[2] for row in listed], np.str_),
        )

    def to_rows(self) -> list[list[Any]]:
        """Return segment, class and model of each edit, as JSON values."""
        columns = (self.segment_id.tolist(), self.class_id.tolist(), self.model.tolist())
        return [list(row) for row in zip(*columns, strict=True)]

    def put(
        self, segment_id: NDArray[np.integer], class_id: NDArray[np.integer], model: str
    ) -> Edits:
        """Return the edits with some more, which replace older ones of the same segments.

        Parameters
        ----------
        segment_id, class_id : ndarray of int, shape (m,)
            Each segment once.
        model : str
            Checksum of the class model that the classes are of.
        """
        kept = self.drop(segment_id)
        segments = np.concatenate([kept.segment_id, segment_id.astype(np.int64)])
        models = np.concatenate([kept.model, np.full(len(segment_id), model)])
        classes = np.concatenate([kept.class_id, class_id.astype(np.int64)])
        order = np.argsort(segments)
        return Edits(segments[order], classes[order], models[order])

    def drop(self, segment_id: NDArray[np.integer]) -> Edits:
        """Return the edits without those of some segments."""
        kept = ~np.isin(self.segment_id, segment_id)
        return Edits(self.segment_id[kept], self.class_id[kept], self.model[kept])

    def models(self) -> list[str]:
        """Return the class models that the edits name, each once."""
        return sorted(set(self.model.tolist()))

    def apply(
        self,
        segment_id: NDArray[np.integer],
        class_id: NDArray[np.integer],
        confidence: NDArray[np.floating],
        heirs: Mapping[str, Mapping[int, int]],
    ) -> int:
        """Write the edits over what a class model found.

        Parameters
        ----------
        segment_id : ndarray of int, shape (n,)
            Ascending.
        class_id, confidence : ndarray, shape (n,)
            Are changed; a segment that somebody has classed is sure.
        heirs : mapping of str to mapping of int to int
            For each class model that the edits name, the present class for each of its own.

        Returns
        -------
        int
            Edits that could be applied.
        """
        present = [
            heirs.get(model, {}).get(number, -1)
            for model, number in zip(self.model.tolist(), self.class_id.tolist(), strict=True)
        ]
        rows = np.searchsorted(segment_id, self.segment_id)
        there = rows < len(segment_id)
        there[there] = segment_id[rows[there]] == self.segment_id[there]
        there &= np.array(present, np.int64) >= 0
        class_id[rows[there]] = np.array(present, np.int64)[there]
        confidence[rows[there]] = CONFIDENCE
        return int(np.count_nonzero(there))


def load_edits(folder: Path) -> Edits:
    """Read the edits of a scene; none where there is no file.

    Parameters
    ----------
    folder : Path
        The scene's part of the run folder.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return Edits.none()
    try:
        table = pq.read_table(path)
        segments, classes = (
            table[name].to_numpy().astype(np.int64) for name in ("segment_id", "class_id")
        )
        models = np.array(table["model"].to_pylist(), np.str_)
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise RunError(
            f"{path}, which holds what was changed by hand, cannot be read: {error}; take another"
            " copy of it, or remove it to go on without"
        ) from error
    return Edits(segments, classes, models)


def save_edits(folder: Path, edits: Edits) -> None:
    """Write the edits of a scene, whole or not at all; without any, no file stays.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path = folder / FILE_NAME
    if len(edits):
        columns = {
            "segment_id": edits.segment_id,
            "class_id": edits.class_id,
            "model": edits.model.tolist(),
        }
        with replacing(path) as temporary:
            pq.write_table(pa.table(columns), temporary)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def find_heirs(
    parts: Iterable[tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]],
) -> dict[int, int]:
    """Say which new class stands for each old one: the one with most of its pixels.

    Parameters
    ----------
    parts : iterable of (old class, new class, pixels), each an ndarray of int, shape (n,)
        Of all segments, scene by scene.

    Returns
    -------
    dict of int to int
        By old class; of equal ones the lower id. Old classes without a segment are not there.
    """
    areas: dict[tuple[int, int], int] = {}
    for old, new, pixels in parts:
        pairs, place = np.unique(
            np.stack([old, new], axis=1).astype(np.int64), axis=0, return_inverse=True
        )
        sums = np.zeros(len(pairs), np.int64)
        np.add.at(sums, place.ravel(), pixels)
        for (old_id, new_id), area in zip(pairs.tolist(), sums.tolist(), strict=True):
            areas[old_id, new_id] = areas.get((old_id, new_id), 0) + area
    heirs: dict[int, int] = {}
    for (old_id, new_id), area in sorted(areas.items()):
        if old_id not in heirs or area > areas[old_id, heirs[old_id]]:
            heirs[old_id] = new_id
    return heirs
