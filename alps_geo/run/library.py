"""Class models that a run still needs, in its folder: those that edits and packages refer to."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._files import move_into_place, replacing
from ..classes import file as classfile
from ..classes.model import ClassModel
from ..classes.prediction import Prediction
from ..errors import ModelError
from ..segments.table import Segments
from .folder import RunFolder

if TYPE_CHECKING:
    from .run import Run

#: Segments whose features are read at once.
BATCH = 65536
_Number = TypeVar("_Number", np.float32, np.int64, np.uint16)


class ModelLibrary:
    """Class models in the run folder, by checksum: those that edits and packages refer to.

    Parameters
    ----------
    run : Run

    Attributes
    ----------
    current : ClassModel or None
        The model among the results, as it was when they were opened.
    current_checksum : str
        Empty where there is none.
    """

    def __init__(self, run: Run) -> None:
        self._folder = RunFolder(run.folder).path
        self._models: dict[str, ClassModel | None] = {"": None}
        self._present = run.class_path
        self.current: ClassModel | None = None
        self.current_checksum = ""
        # A damaged one, which is about to be replaced, is none.
        with suppress(ModelError):
            self.current = ClassModel.load(self._present)
            self.current_checksum = classfile.checksum(self._present)
            self._models[self.current_checksum] = self.current

    def path(self, checksum: str) -> Path:
        """Return where the model with a checksum lies."""
        return self._folder / f"classes-{checksum[:16]}.safetensors"

    def load(self, checksum: str) -> ClassModel | None:
        """Return a model; None where it is not there, or none is meant."""
        if checksum not in self._models:
            path = self.path(checksum)
            self._models[checksum] = ClassModel.load(path) if path.is_file() else None
        return self._models[checksum]

    def add(self, model: ClassModel) -> str:
        """Keep a model, and the current one, and return the checksum of the first."""
        if self.current is not None:
            with replacing(self.path(self.current_checksum)) as temporary:
                # As it is: an earlier version's would be written otherwise.
                shutil.copyfile(self._present, temporary)
        # A name that the cleaner knows, should this be killed.
        draft = self._folder / f".classes.{secrets.token_hex(4)}.part.safetensors"
        model.save(draft)
        checksum = classfile.checksum(draft)
        move_into_place(draft, self.path(checksum))
        self._models[checksum] = model
        return checksum

    def keep(self, checksums: set[str]) -> None:
        """Remove all other models."""
        kept = {self.path(checksum) for checksum in checksums}
        for path in self._folder.glob("classes-*.safetensors"):
            if path not in kept:
                path.unlink(missing_ok=True)


def batches(rows: NDArray[_Number]) -> list[NDArray[_Number]]:
    """Cut rows into parts that are read at once."""
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def batches_of(
    segments: Sequence[Segments],
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]:
    """Return the features and areas of several scenes' segments, in parts as of `batches`."""
    features = [batch for part in segments for batch in batches(part.features)]
    areas = [batch for part in segments for batch in batches(part.area_px)]
    return features, areas


def predict(model: ClassModel | None, segments: Segments) -> Prediction:
    """Return the classes of a scene's segments."""
    if model is None or not len(segments):
        return Prediction(np.zeros(0, np.uint16), np.zeros(0, np.float32))
    parts = [model.assign(batch) for batch in batches(segments.features)]
    return Prediction(
        np.concatenate([part.class_id for part in parts]),
        np.concatenate([part.confidence for part in parts]),
    )


def heirs_by_model(before: ClassModel, now: ClassModel) -> dict[int, int]:
    """Return the present class for each class of a model of the same centres.

    Classes without segments have no other heirs.
    """
    if not np.array_equal(before.cluster_centers_, now.cluster_centers_):
        return {}
    owners = zip(before.class_of_center_.tolist(), now.class_of_center_.tolist(), strict=True)
    merged = {step.of: step.ids[0] for step in now.steps_ if step.is_merge}
    parts = {number: step.of for step in before.steps_ for number in step.ids}
    heirs = {**parts, **merged, **dict(sorted(owners, reverse=True))}
    heirs |= {number: number for number in now.class_ids}
    return {number: heirs[number] for number in before.class_ids if number in heirs}
