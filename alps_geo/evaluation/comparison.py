"""How labels agree with reference classes: a raster, polygons, or the labels of another run.

One confusion matrix is counted window by window, so memory follows the number of classes, not of
pixels; all measures come from it (`agreement`). Reference pixels without a label count as errors
in accuracy and IoU; purity, NMI and ARI are over the pixels that have both, and coverage says how
many those are.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._environment import notes, with_own_data
from ..errors import ReferenceDataError
from ..progress import Progress, listening
from ..settings.options import AnyPath
from . import measures as agreement
from .measures import Matching
from .pairs import is_of_run, pair_rasters
from .references import RasterClasses, ReferenceClasses, open_classes, open_reference

#: Side of the windows that are counted at once, in pixels.
BLOCK_PX = 2048
#: Most cells of a confusion matrix; with more, one side does not hold classes.
MAX_CELLS = 2**24
#: Most a number may be above the lowest one of its raster, so that pairs of them fit 64 bits.
MAX_VALUE_RANGE = 2**31
#: What uint8 rasters mostly mean by 255, where they do not declare a nodata value.
CUSTOMARY_IGNORE = 255


@dataclass(frozen=True)
class Evaluation:
    """How well labels agree with a reference.

    Attributes
    ----------
    labels, reference : tuple of str
        The files that were compared, pair by pair.
    is_agreement : bool
        The reference is another run, so that neither side is the truth.
    label_ids : ndarray of int64, shape (n_labels,)
        Class ids that occur, ascending.
    label_names : tuple of str, length n_labels
    class_names : tuple of str, length n_classes
        Reference classes that occur.
    confusion : ndarray of int64, shape (n_labels, n_classes)
        Pixels that have both.
    missed : ndarray of int64, shape (n_classes,)
        Reference pixels without a label.
    beyond : int
        Labelled pixels without a reference class.
    notes : tuple of str
        What the user should know of how it was compared.
    """

    labels: tuple[str, ...]
    reference: tuple[str, ...]
    is_agreement: bool
    label_ids: NDArray[np.int64]
    label_names: tuple[str, ...]
    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    missed: NDArray[np.int64]
    beyond: int
    notes: tuple[str, ...]

    @cached_property
    def many_to_one(self) -> Matching:
        """Each label stands for its majority class; unlabelled pixels are errors."""
        return agreement.match_majority(self.confusion, self.missed)

    @cached_property
    def hungarian(self) -> Matching:
        """Each label stands for at most one class and back; unlabelled pixels are errors."""
        return agreement.match_one_to_one(self.confusion, self.missed)

    @cached_property
    def measures(self) -> dict[str, float]:
        """All measures that are one number, from 0 to 1 (ARI from -0.5), by name."""
        found_only = np.zeros_like(self.missed)
        return {
            "accuracy": self.many_to_one.accuracy,
            "accuracy_hungarian": self.hungarian.accuracy,
            "miou": self.many_to_one.miou,
            "miou_hungarian": self.hungarian.miou,
            "miou_labelled": agreement.match_majority(self.confusion, found_only).miou,
            "miou_hungarian_labelled": agreement.match_one_to_one(self.confusion, found_only).miou,
            "purity": agreement.purity(self.confusion),
            "nmi": agreement.normalized_mutual_info(self.confusion),
            "ari": agreement.adjusted_rand(self.confusion),
            "coverage": agreement.coverage(self.confusion, self.missed),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python objects, ready for JSON."""
        pixels = self.confusion.sum(axis=0) + self.missed
        return {
            "labels": list(self.labels),
            "reference": list(self.reference),
            "agreement_of_runs": self.is_agreement,
            **self.measures,
            "pixels": {
                "reference": int(pixels.sum()),
                "both": int(self.confusion.sum()),
                "unlabelled": int(self.missed.sum()),
                "without_reference": self.beyond,
            },
            "classes": [
                {"name": name, "pixels": int(count), "iou": iou, "iou_hungarian": one_to_one}
                for name, count, iou, one_to_one in zip(
                    self.class_names,
                    pixels,
                    self.many_to_one.iou.tolist(),
                    self.hungarian.iou.tolist(),
                    strict=True,
                )
            ],
            "clusters": [
                {"id": number, "name": name, "class": majority, "class_hungarian": one_to_one}
                for number, name, majority, one_to_one in zip(
                    self.label_ids.tolist(),
                    self.label_names,
                    self.names_of(self.many_to_one),
                    self.names_of(self.hungarian),
                    strict=True,
                )
            ],
            "confusion": self.confusion.tolist(),
            "notes": list(self.notes),
        }

    def names_of(self, matching: Matching) -> list[str | None]:
        """Return the class that each label stands for; None where it stands for none."""
        return [self.class_names[at] if at >= 0 else None for at in matching.classes.tolist()]


@with_own_data
def evaluate(
    labels: AnyPath,
    reference: AnyPath,
    *,
    attribute: str | None = None,
    layer: str | None = None,
    ignore: Sequence[str] = (),
    scene: str | None = None,
    progress: Progress | bool | None = None,
) -> Evaluation:
    """Compare labels with reference classes.

    Parameters
    ----------
    labels : Run or path
        A run, its folder, or a label raster.
    reference : Run or path
        A raster of class numbers, a mask with one colour per class, or a vector layer of
        polygons, on any grid and in any CRS, or the folder or a label raster of another run.
    attribute, layer : str, optional
        Which column of which layer holds the classes of a vector reference.
    ignore : sequence of str
        Reference classes to leave out, by number or name. Pixels without data are always left
        out; where a uint8 raster declares no nodata value and nothing is given here, so is 255,
        unless it is a mask of two values.
    scene : str, optional
        Stem of the scene to compare, where the run has several.
    progress : Progress or bool, optional
        As of `label`.

    Returns
    -------
    Evaluation

    Raises
    ------
    RunError
        If the folder holds no labels, or several of which none was chosen.
    ReferenceDataError
        If reference and labels cannot be compared.
    ReadError
        If a raster is damaged.

    Examples
    --------
    >>> import alps_geo
    >>> run = alps_geo.open("out")  # doctest: +SKIP
    >>> alps_geo.evaluate(run, "truth.tif").measures["miou"]  # doctest: +SKIP
    """
    pairs = pair_rasters(os.fspath(labels), os.fspath(reference), scene)
    tally = _Tally()
    with listening(progress) as told:
        for text in notes():
            told.message(text)
        for label_path, reference_path in pairs:
            with open_classes(label_path) as raster:
                opened = open_reference(
                    reference_path, raster.grid, attribute=attribute, layer=layer
                )
                with opened as source:
                    tally.add(raster, source, told)
    tally.ignore(set(ignore))
    if not tally.classes:
        reference, labels = os.fspath(reference), os.fspath(labels)
        raise ReferenceDataError(
            f"{reference} has no class on any pixel of {labels}: they do not overlap, or all of"
            " it is nodata or ignored; check the CRS of both"
        )
    is_agreement = all(is_of_run(Path(path)) for pair in pairs for path in pair)
    return tally.finish(pairs, is_agreement=is_agreement)


@dataclass
class _Tally:
    """Pixels per pair of label and reference class; None stands for neither."""

    pixels: Counter[tuple[int | None, int | None]] = field(default_factory=Counter)
    label_names: dict[int, str] = field(default_factory=dict)
    class_names: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    has_numbers: bool = True
    is_plain_uint8: bool = False

    @property
    def labels(self) -> list[int]:
        """Labels that meet a reference class."""
        return sorted({a for a, b in self.pixels if a is not None and b is not None})

    @property
    def classes(self) -> list[int]:
        """Reference classes that were seen."""
        return sorted({b for _, b in self.pixels if b is not None})

    def add(self, labels: RasterClasses, reference: ReferenceClasses, progress: Progress) -> None:
        """Count the pixels of one scene."""
        blocks = [*chain.from_iterable(labels.grid.window.bands(BLOCK_PX, BLOCK_PX))]
        progress.stage("evaluate")
        for done, window in enumerate(blocks, start=1):
            self.pixels.update(_count_pairs(labels.read(window), reference.read(window)))
            self._check_size()
            progress.step(done, len(blocks))
        self.label_names.update((at, labels.class_name(at)) for at in self.labels)
        self.class_names.update((at, reference.class_name(at)) for at in self.classes)
        notes = [*reference.notes, *reference.remarks()]
        self.notes += [note for note in notes if note not in self.notes]
        self.has_numbers = reference.has_numbers
        self.is_plain_uint8 |= isinstance(reference, RasterClasses) and reference.is_plain_uint8

    def _check_size(self) -> None:
        n_labels, n_classes = len(self.labels), len(self.classes)
        if n_labels * n_classes > MAX_CELLS:
            raise ReferenceDataError(
                f"{n_labels} labels and {n_classes} reference values are too many to be classes;"
                " give a raster or a field of classes, not of objects or measurements"
            )

    def ignore(self, chosen: set[str]) -> None:
        """Count the pixels of reference classes that were not meant as pixels without a class."""
        dropped = {at for at in self.classes if self._texts(at) & chosen}
        missing = sorted(chosen - {text for at in dropped for text in self._texts(at)})
        self.notes += [f"the reference has no class {text} to ignore" for text in missing]
        by_custom = self.is_plain_uint8 and not chosen
        # A mask of 0 and 255 has two classes, and 255 is the one that matters.
        if by_custom and CUSTOMARY_IGNORE in self.classes and len(self.classes) > 2:
            dropped.add(CUSTOMARY_IGNORE)
            self.notes.append("255 was ignored as unlabelled; `ignore` says otherwise")
        for label, number in [pair for pair in self.pixels if pair[1] in dropped]:
            self.pixels[label, None] += self.pixels.pop((label, number))

    def _texts(self, number: int) -> set[str]:
        # Numbers that we gave are nobody's: a class of polygons called 2 may have the number 1.
        own = {str(number)} if self.has_numbers else set()
        return {self.class_names[number], *own}

    def finish(self, pairs: list[tuple[str, str]], *, is_agreement: bool) -> Evaluation:
        """Make the result of all that was counted."""
        labels, classes = self.labels, self.classes
        cells = [[self.pixels[label, number] for number in classes] for label in labels]
        missed = [self.pixels[None, number] for number in classes]
        names = [self.class_names[number] for number in classes]
        # Of two runs neither is the truth, so that none has to tell the other's classes apart.
        if not (is_agreement and labels and len(names) > 1):
            self.notes += agreement.caveats(cells, names)
        return Evaluation(
            labels=tuple(label for label, _ in pairs),
            reference=tuple(reference for _, reference in pairs),
            is_agreement=is_agreement,
            label_ids=np.array(labels, np.int64),
            label_names=tuple(self.label_names[label] for label in labels),
            class_names=tuple(self.class_names[number] for number in classes),
            confusion=np.array(cells, np.int64).reshape(len(labels), len(classes)),
            missed=np.array(missed, np.int64),
            beyond=sum(self.pixels[a, b] for a, b in self.pixels if a is not None and b is None),
            notes=tuple(self.notes),
        )


def _count_pairs(
    labels: tuple[NDArray[np.int64], NDArray[np.bool_]],
    classes: tuple[NDArray[np.int64], NDArray[np.bool_]],
) -> dict[tuple[int | None, int | None], int]:
    """Count the pixels of each pair of label and class; each side is values and where known."""
    label_codes, lowest_label, _ = _encode(*labels)
    class_codes, lowest_class, n_codes = _encode(*classes)
    codes = (label_codes * n_codes + class_codes).ravel()
    # Counting by value is ten times as fast as sorting, but takes memory for every value.
    if codes.max() < codes.size:
        counts = np.bincount(codes)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(codes, return_counts=True)
    pairs = zip(*np.divmod(found, n_codes), counts, strict=True)
    return {
        (
            int(lowest_label + label - 1) if label else None,
            int(lowest_class + number - 1) if number else None,
        ): int(count)
        for label, number, count in pairs
    }


def _encode(
    values: NDArray[np.int64], known: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], int, int]:
    """Return codes from 0 (not known) on, the value of code 1, and the number of codes."""
    if not known.any():
        return np.zeros(values.shape, np.int64), 0, 1
    lowest, highest = int(values[known].min()), int(values[known].max())
    if highest - lowest >= MAX_VALUE_RANGE:
        raise ReferenceDataError(
            f"values from {lowest} to {highest} are no class numbers; declare which of them means"
            " no data (Translate in QGIS, or rio edit-info)"
        )
    return np.where(known, values - lowest + 1, 0), lowest, highest - lowest + 2
