"""Probabilities of classes learned from examples: logistic regression that knows what is common.

Rows come whitened (`whitening`), where a straight line between two classes is a good guess after
one example each, and still a good rule after thousands. Classes count alike while it is fitted,
however many examples each has; then the shares of the ground that classes cover are estimated from
all segments, and trusted the more, the more examples there are. `benchmarks/examples.py` compares
it with others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from .sampling import Rows

#: Inverse strength of the ridge: from 0.1 to 3 makes no difference on the benchmark's scenes.
_C = 0.3
#: Examples of each class from which on probabilities are calibrated by cross-validation.
_CALIBRATED_FROM, _FOLDS = 3, 5
#: None lower: clicks are on clear cases, and of these alone any rule would be surer than it may be.
_TEMPERATURES = np.geomspace(0.5, 4, 13)
#: For fewer examples: what made confidence and accuracy agree on the benchmark's scenes.
_USUAL_TEMPERATURE = 0.35
#: Share of the log odds of classes' areas that counts in the end, and the examples per class with
#: which half of that does: estimates from few examples are wrong in the same direction as they.
_TRUST, _HALF_TRUST = 0.7, 3
_PASSES, _LEAST_SHARE = 30, 0.1


@dataclass(frozen=True)
class Classifier:
    """A linear rule: log odds are `rows @ coef + intercept`.

    Attributes
    ----------
    coef : ndarray of float64, shape (n_columns, n_classes)
    intercept : ndarray of float64, shape (n_classes,)
    """

    coef: Rows
    intercept: Rows

    def probabilities(self, rows: Rows) -> Rows:
        """Return the probability of each class, shape (n_rows, n_classes).

        No bit of a row depends on the other rows: columns are added one by one.
        """
        scores = np.repeat(self.intercept[np.newaxis], len(rows), axis=0)
        for column, weights in zip(rows.T, self.coef, strict=True):
            scores += column[:, np.newaxis] * weights
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        total = np.zeros(len(rows))
        for column in scores.T:
            total += column
        return scores / total[:, np.newaxis]


def learn(rows: Rows, numbers: NDArray[np.integer], weights: Rows, n_classes: int) -> Classifier:
    """Learn classes that count alike, from one example of each or thousands.

    With three examples of each class and more, probabilities are calibrated: scores are divided by
    the temperature at which examples that were left out are most likely. With fewer, by the one
    that was right on average where the truth is known.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_examples, n_columns)
        Whitened.
    numbers : ndarray of int, shape (n_examples,)
        The class of each; every class from 0 to `n_classes` - 1 has one at least.
    weights : ndarray of float64, shape (n_examples,)
        How much each counts within its class.
    n_classes : int
        With one class only, everything is of that class.
    """
    if n_classes == 1:
        return Classifier(np.zeros((rows.shape[1], 1)), np.zeros(1))
    with threadpool_limits(1):
        coef, intercept = _fit(rows, numbers, weights, n_classes)
        temperature = _temperature(rows, numbers, weights, n_classes)
    return Classifier(coef / temperature, intercept / temperature)


def _fit(
    rows: Rows, numbers: NDArray[np.integer], weights: Rows, n_classes: int
) -> tuple[Rows, Rows]:
    sums = np.bincount(numbers, weights, n_classes)
    balanced = weights / sums[numbers] * (len(rows) / n_classes)
    model = LogisticRegression(C=_C, max_iter=1000).fit(rows, numbers, sample_weight=balanced)
    coef, intercept = model.coef_.T, model.intercept_
    if n_classes == 2:  # scikit-learn has one column then
        coef = np.concatenate([-coef / 2, coef / 2], axis=1)
        intercept = np.concatenate([-intercept / 2, intercept / 2])
    return np.ascontiguousarray(coef), intercept


def _temperature(rows: Rows, numbers: NDArray[np.integer], weights: Rows, n_classes: int) -> float:
    """Return what scores are divided by, by cross-validation; the usual for few examples."""
    counts = np.bincount(numbers, minlength=n_classes)
    if counts.min() < _CALIBRATED_FROM:
        return _USUAL_TEMPERATURE
    scores = np.zeros((len(rows), n_classes))
    folds = StratifiedKFold(min(_FOLDS, int(counts.min())), shuffle=True, random_state=0)
    for fitted, left_out in folds.split(rows, numbers):
        coef, intercept = _fit(rows[fitted], numbers[fitted], weights[fitted], n_classes)
        scores[left_out] = rows[left_out] @ coef + intercept
    balanced = weights / np.bincount(numbers, weights, n_classes)[numbers]
    losses = [
        balanced @ (logsumexp(scores / t, axis=1) - scores[np.arange(len(rows)), numbers] / t)
        for t in _TEMPERATURES
    ]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def expect_shares(
    classifier: Classifier, rows: Rows, areas: NDArray[Any], counts: NDArray[np.integer]
) -> Classifier:
    """Return the classifier when classes cover unlike shares of the ground.

    The shares are those at which the classifier's own answers agree with them (expectation
    maximisation; Saerens, Latinne and Decaestecker 2002).

    Parameters
    ----------
    classifier : Classifier
        Of classes that count alike.
    rows : ndarray of float64, shape (n_rows, n_columns)
        A fair sample of all segments, whitened.
    areas : ndarray, shape (n_rows,)
    counts : ndarray of int, shape (n_classes,)
        Examples of each class.
    """
    equal = 1 / len(counts)
    even = classifier.probabilities(rows)
    shares = np.full(len(counts), equal)
    for _ in range(_PASSES):
        found = even * shares
        found /= found.sum(axis=1, keepdims=True)
        measured = areas @ found / areas.sum()
        shares = (1 - _LEAST_SHARE) * measured + _LEAST_SHARE * equal
    typical = float(np.exp(np.log(counts).mean()))
    trust = _TRUST * typical / (typical + _HALF_TRUST)
    return Classifier(classifier.coef, classifier.intercept + trust * np.log(shares / equal))
