"""A mixture of Gaussians that finds their number: a Dirichlet process, by splits and merges.

The steps are those of DeepDPM (Ronen, Finder and Freifeld, CVPR 2022) with exact expectations in
place of its network. Clusters and their halves are fitted by EM; a cluster is split, or two are
merged, with the chance that Metropolis and Hastings give it. The same seed gives the same clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from .clustering import nearest, seed_centers
from .niw import Prior, Statistics, log_density
from .sampling import Rows

#: What every cluster's share is raised by, so that none dies out at once.
_SMOOTHING = 0.1
#: Fewest rows of a cluster, and of each half, that may be split.
_FEWEST, _FEWEST_HALF = 5, 5
#: Nearest clusters that one may be merged with.
_NEAREST = 2
_HALF_ITERATIONS = 10


@dataclass(frozen=True)
class Mixture:
    """Gaussian clusters.

    Attributes
    ----------
    weights : ndarray of float64, shape (n_clusters,)
    means : ndarray of float64, shape (n_clusters, n_columns)
    covariances : ndarray of float64, shape (n_clusters, n_columns, n_columns)
    labels : ndarray of intp, shape (n_rows,)
        The likeliest cluster of each row.
    history : tuple of int
        Clusters after each round.
    settled : bool
        False if rounds, or the most clusters allowed, were reached first.
    """

    weights: Rows
    means: Rows
    covariances: Rows
    labels: NDArray[np.intp]
    history: tuple[int, ...]
    settled: bool

    @property
    def size(self) -> int:
        """The number of clusters."""
        return len(self.weights)


@dataclass(frozen=True)
class _Fitted:
    weights: Rows
    means: Rows
    covariances: Rows
    labels: NDArray[np.intp]


def fit_mixture(
    rows: Rows,
    *,
    init_k: int = 1,
    alpha: float = 10.0,
    psi_scale: float = 0.5,
    kappa: float = 1e-4,
    nu: float | None = None,
    max_rounds: int = 60,
    em_iterations: int = 5,
    max_clusters: int = 256,
    seed: int = 0,
) -> Mixture:
    """Find clusters and their number.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_rows, n_columns)
        32 columns at most do well; scaled by one number for all (see `number.reduce_rows`).
    init_k : int
        Clusters to begin with.
    alpha : float
        Concentration of the Dirichlet process.
    psi_scale, kappa, nu : float
        Of the prior; `nu` is columns + 2 if not given.
    max_rounds, em_iterations : int
        Rounds of splits, or of merges, and iterations of EM after each.
    max_clusters : int
    seed : int

    Returns
    -------
    Mixture
    """
    rng = np.random.default_rng(seed)
    prior = Prior.of(rows, psi_scale, kappa, nu)
    labels = _begin(rows, init_k, seed)
    fitted = _run_em(rows, labels, prior, em_iterations)
    history, quiet = [len(fitted.weights)], 0
    for number in range(max_rounds):
        is_split = number % 2 == 0
        labels = (
            _split(rows, fitted.labels, prior, alpha, rng)
            if is_split
            else _merge(rows, fitted, prior, alpha, rng)
        )
        changed = labels.max() != fitted.labels.max()
        fitted = _run_em(rows, labels, prior, em_iterations)
        history.append(len(fitted.weights))
        quiet = 0 if changed else quiet + 1
        if quiet == 2 or len(fitted.weights) > max_clusters:
            break
    return Mixture(
        fitted.weights,
        fitted.means,
        fitted.covariances,
        fitted.labels,
        tuple(history),
        quiet == 2,
    )


def log_split_ratio(
    whole: Statistics, first: Statistics, second: Statistics, prior: Prior, alpha: float
) -> float:
    """Return the logarithm of the Hastings ratio of splitting a cluster; less it, of merging."""
    return float(
        np.log(alpha)
        + gammaln(first.count)
        + prior.log_marginal(first)
        + gammaln(second.count)
        + prior.log_marginal(second)
        - gammaln(whole.count)
        - prior.log_marginal(whole)
    )


def _begin(rows: Rows, init_k: int, seed: int) -> NDArray[np.intp]:
    wanted = min(init_k, len(np.unique(rows, axis=0)))
    if wanted < 2:
        return np.zeros(len(rows), np.intp)
    return _compact(nearest(rows, seed_centers(rows, wanted, seed)))


def _compact(labels: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return labels numbered without gaps, in their order."""
    _, numbers = np.unique(labels, return_inverse=True)
    return np.asarray(numbers, np.intp)


def _run_em(rows: Rows, labels: NDArray[np.intp], prior: Prior, iterations: int) -> _Fitted:
    """Fit Gaussians by EM, beginning with rows that each belong to one; empty ones are dropped."""
    size = int(labels.max()) + 1
    shares = np.zeros((len(rows), size))
    shares[np.arange(len(rows)), labels] = 1.0
    for _ in range(iterations):
        weights, means, covariances = _maximise(rows, shares, prior)
        logs = np.stack(
            [
                np.log(weight) + log_density(rows, mean, covariance)
                for weight, mean, covariance in zip(weights, means, covariances, strict=True)
            ],
            axis=1,
        )
        shares = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
    found = shares.argmax(axis=1)
    used = np.unique(found)
    weights, means, covariances = _maximise(rows, shares[:, used], prior)
    return _Fitted(weights, means, covariances, _compact(found))


def _maximise(rows: Rows, shares: Rows, prior: Prior) -> tuple[Rows, Rows, Rows]:
    counts = shares.sum(axis=0)
    weights = counts / len(rows) + _SMOOTHING
    both = [prior.likeliest(Statistics.of(rows, column)) for column in shares.T]
    means, covariances = (np.stack(part) for part in zip(*both, strict=True))
    return weights / weights.sum(), means, covariances


def _halve(rows: Rows, prior: Prior) -> NDArray[np.bool_]:
    """Part the rows of a cluster in two: along the longest axis, then by EM of two Gaussians."""
    centred = rows - rows.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    along = centred @ directions[:, -1]
    border = 0.0
    for _ in range(20):
        above = along > border
        if above.all() or not above.any():
            break
        moved = 0.5 * (along[above].mean() + along[~above].mean())
        if moved == border:
            break
        border = moved
    fitted = _run_em(rows, (along > border).astype(np.intp), prior, _HALF_ITERATIONS)
    halves: NDArray[np.bool_] = fitted.labels == 1
    return halves


def _accept(log_ratio: float, rng: np.random.Generator) -> bool:
    # Drawn in any case, so that one chance does not shift the next.
    chance = rng.random()
    return log_ratio > 0 or chance < np.exp(log_ratio)


def _split(
    rows: Rows, labels: NDArray[np.intp], prior: Prior, alpha: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Try to split every cluster."""
    size = int(labels.max()) + 1
    changed: NDArray[np.intp] = labels.copy()
    for cluster in range(size):
        members = np.flatnonzero(labels == cluster)
        if len(members) < max(_FEWEST, 2):
            continue
        own = rows[members]
        half = _halve(own, prior)
        if min(half.sum(), (~half).sum()) <= _FEWEST_HALF:
            continue
        first, second = Statistics.of(own[~half]), Statistics.of(own[half])
        ratio = log_split_ratio(first.join(second), first, second, prior, alpha)
        if _accept(ratio, rng):
            changed[members[half]] = size
            size += 1
    return changed


def _merge(
    rows: Rows, fitted: _Fitted, prior: Prior, alpha: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Try to merge every cluster with its nearest ones; each takes part in one merge at most."""
    labels: NDArray[np.intp] = fitted.labels.copy()
    means = fitted.means
    known = [Statistics.of(rows[labels == cluster]) for cluster in range(len(means))]
    apart = np.square(means[:, np.newaxis] - means).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    merged: set[int] = set()
    for cluster in range(len(means)):
        for other in np.argsort(apart[cluster], kind="stable")[:_NEAREST].tolist():
            if cluster == other or cluster in merged or other in merged:
                continue
            first, second = known[cluster], known[other]
            ratio = -log_split_ratio(first.join(second), first, second, prior, alpha)
            if _accept(ratio, rng):
                labels[labels == other] = cluster
                merged |= {cluster, other}
    return _compact(labels)
