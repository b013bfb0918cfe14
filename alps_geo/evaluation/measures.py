"""How well labels agree with reference classes: measures of a confusion matrix; numpy and scipy.

A confusion matrix has a row per label, a column per reference class, and counts the pixels that
have both. Reference pixels without a label stand apart, as `missed`, a number per class: they are
errors of accuracy and IoU (the class is there and was not found), and no part of the measures of
clustering (purity, NMI, ARI), which ask how labels split the ground that they cover.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..progress import Notice

#: Most classes that one line names.
LISTED = 8


@dataclass(frozen=True)
class Matching:
    """Which reference class each label stands for, and how well that fits.

    Attributes
    ----------
    classes : ndarray of int64, shape (n_labels,)
        Column of the reference class; -1 where the label stands for none.
    accuracy : float
        Share of the reference pixels whose label stands for their class.
    iou : ndarray of float64, shape (n_classes,)
        Intersection over union per class; NaN for a class without a pixel.
    miou : float
        Mean over the classes that have a pixel; 0 where there is none.
    """

    classes: NDArray[np.int64]
    accuracy: float
    iou: NDArray[np.float64]
    miou: float


def match_majority(confusion: NDArray[np.int64], missed: NDArray[np.int64]) -> Matching:
    """Let each label stand for the class most of its pixels have (many-to-one).

    Of classes with equally many pixels it is the first.

    Parameters
    ----------
    confusion : ndarray of int64, shape (n_labels, n_classes)
    missed : ndarray of int64, shape (n_classes,)
        Reference pixels without a label.
    """
    classes = np.full(len(confusion), -1, np.int64)
    counted = confusion.any(axis=1)
    classes[counted] = confusion[counted].argmax(axis=1)
    return _judge(confusion, missed, classes)


def match_one_to_one(confusion: NDArray[np.int64], missed: NDArray[np.int64]) -> Matching:
    """Pair labels and classes so that most pixels agree (the Hungarian method).

    With more labels than classes the labels left over stand for none, so all their pixels are
    errors; with more classes than labels the classes left over have an IoU of 0. Parameters are
    those of `match_majority`.
    """
    classes = np.full(len(confusion), -1, np.int64)
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    # A pair that shares no pixel is only what was left over.
    real = confusion[rows, columns] > 0
    classes[rows[real]] = columns[real]
    return _judge(confusion, missed, classes)


def _judge(
    confusion: NDArray[np.int64], missed: NDArray[np.int64], classes: NDArray[np.int64]
) -> Matching:
    n_classes = confusion.shape[1]
    kept = classes >= 0
    rows, columns = np.flatnonzero(kept), classes[kept]
    found = np.zeros(n_classes, np.int64)
    np.add.at(found, columns, confusion[rows, columns])
    claimed = np.zeros(n_classes, np.int64)
    np.add.at(claimed, columns, confusion[rows].sum(axis=1))
    present = confusion.sum(axis=0) + missed
    union = claimed + present - found
    iou = np.full(n_classes, np.nan)
    np.divide(found, union, out=iou, where=present > 0)
    accuracy = _share(found.sum(), present.sum())
    miou = float(iou[present > 0].mean()) if present.any() else 0.0
    return Matching(classes, accuracy, iou, miou)


def _share(part: int | np.integer, whole: int | np.integer) -> float:
    return float(part) / float(whole) if whole else 0.0


def purity(confusion: NDArray[np.int64]) -> float:
    """Return the share of pixels that have the class most common for their label.

    Parameters
    ----------
    confusion : ndarray of int64, shape (n_labels, n_classes)

    Returns
    -------
    float
        0 for an empty matrix.
    """
    if not confusion.size:
        return 0.0
    return _share(confusion.max(axis=1).sum(), confusion.sum())


def coverage(confusion: NDArray[np.int64], missed: NDArray[np.int64]) -> float:
    """Return the share of the reference pixels that have a label."""
    return _share(confusion.sum(), confusion.sum() + missed.sum())


def normalized_mutual_info(confusion: NDArray[np.int64]) -> float:
    """Return the mutual information, divided by the arithmetic mean of both entropies.

    As in scikit-learn: 1 where labels and classes split the pixels alike, also where neither
    splits them at all. 0 for an empty matrix.
    """
    total = confusion.sum()
    if not total:
        return 0.0
    joint = confusion / total
    labels, classes = joint.sum(axis=1), joint.sum(axis=0)
    if max(np.count_nonzero(labels), np.count_nonzero(classes)) == 1:
        return 1.0
    entropies = _entropy(labels) + _entropy(classes)
    information = entropies - _entropy(joint.ravel())
    # Rounding can leave a trace on either side of the bounds.
    return float(np.clip(2 * information / entropies, 0, 1))


def _entropy(shares: NDArray[np.float64]) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())


def adjusted_rand(confusion: NDArray[np.int64]) -> float:
    """Return the share of pixel pairs on which both agree, corrected for chance.

    1 for the same split, about 0 for independent ones, below 0 for worse. 0 for an empty matrix.
    """
    total = int(confusion.sum())
    if not total:
        return 0.0
    both = _pairs(confusion)
    in_labels, in_classes = _pairs(confusion.sum(axis=1)), _pairs(confusion.sum(axis=0))
    expected_twice = 2 * in_labels * in_classes
    all_pairs = total * (total - 1)
    # The usual formula times 2 * all_pairs, so that it stays in whole numbers.
    chance_free = 2 * all_pairs * both - expected_twice
    at_most = all_pairs * (in_labels + in_classes) - expected_twice
    return chance_free / at_most if at_most else 1.0


def _pairs(counts: NDArray[np.int64]) -> int:
    """Return how many ordered pairs of pixels lie in one cell."""
    # Python's integers: squares of a gigapixel's counts overflow 64 bits.
    cells = counts[counts > 0].astype(object)
    return int((cells * (cells - 1)).sum()) if len(cells) else 0


def caveats(cells: list[list[int]], names: list[str]) -> list[str]:
    """Return what keeps the measures from meaning what they seem to.

    Parameters
    ----------
    cells : list of list of int
        Pixels, a row per label and a column per reference class.
    names : list of str
        Of the reference classes.
    """
    if not cells:
        return [Notice("no pixel with a reference class is labelled", code="reference.unlabelled")]
    if len(names) == 1:
        text = (
            f"the reference has one class only, {names[0]}: purity is 1 and NMI and ARI are 0 or 1"
            " whatever the labels are; give a reference with two classes or more"
        )
        return [Notice(text, code="reference.one_class", found=names)]
    standing = {row.index(max(row)) for row in cells}
    absent = [name for at, name in enumerate(names) if at not in standing]
    if not absent:
        return []
    if len(standing) == 1:
        text = (
            f"every label stands for {names[standing.pop()]}: the labels do not tell the"
            " reference's classes apart, and accuracy is that class's share; check that these are"
            " the labels, or use a larger `n_classes`"
        )
        return [Notice(text, code="reference.not_told_apart", absent=absent)]
    listed = ", ".join(absent[:LISTED]) + (", ..." if len(absent) > LISTED else "")
    text = (
        f"no label stands for {len(absent)} of the {len(names)} reference classes ({listed}): their"
        " IoU is 0 however good the others are; use a larger `n_classes`, or leave them out with"
        " `ignore`"
    )
    return [Notice(text, code="reference.absent_classes", absent=absent)]
