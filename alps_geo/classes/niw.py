"""Gaussian clusters under a normal-inverse-Wishart prior: what rows say of them, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import multigammaln

from .sampling import Rows

#: Added to covariances where rounding has spoilt them.
_JITTER = 1e-8


@dataclass(frozen=True)
class Statistics:
    """All that a Gaussian learns from rows.

    Attributes
    ----------
    count : float
        Rows, or the sum of their shares.
    mean : ndarray of float64, shape (n_columns,)
    scatter : ndarray of float64, shape (n_columns, n_columns)
        Sum of the products of the deviations from the mean.
    """

    count: float
    mean: Rows
    scatter: Rows

    @classmethod
    def of(cls, rows: Rows, shares: Rows | None = None) -> Statistics:
        """Return the statistics of rows, each counting by its share (1 without)."""
        weights = np.ones(len(rows)) if shares is None else shares
        count = float(weights.sum())
        mean = weights @ rows / count if count > 0 else np.zeros(rows.shape[1])
        rest = rows - mean
        return cls(count, mean, (rest * weights[:, np.newaxis]).T @ rest)

    def join(self, other: Statistics) -> Statistics:
        """Return the statistics of both sets of rows together."""
        count = self.count + other.count
        if count <= 0:
            return self
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        between = np.outer(apart, apart) * (self.count * other.count / count)
        return Statistics(count, mean, self.scatter + other.scatter + between)


@dataclass(frozen=True)
class Prior:
    """What is known of clusters before any row is seen.

    Attributes
    ----------
    mean : ndarray of float64, shape (n_columns,)
    kappa : float
        Rows that the mean counts as.
    nu : float
        Rows that the scatter counts as; at least columns + 1.
    psi : ndarray of float64, shape (n_columns, n_columns)
        The scatter.
    """

    mean: Rows
    kappa: float
    nu: float
    psi: Rows

    @classmethod
    def of(cls, rows: Rows, psi_scale: float, kappa: float, nu: float | None) -> Prior:
        """Return the usual prior: the mean of all rows, and a round scatter."""
        columns = rows.shape[1]
        chosen = columns + 2.0 if nu is None else nu
        return cls(rows.mean(axis=0), kappa, chosen, psi_scale * np.eye(columns))

    def update(self, seen: Statistics) -> Prior:
        """Return what is known once rows are seen."""
        kappa = self.kappa + seen.count
        apart = seen.mean - self.mean
        pull = self.kappa * seen.count / kappa
        return Prior(
            (self.kappa * self.mean + seen.count * seen.mean) / kappa,
            kappa,
            self.nu + seen.count,
            self.psi + seen.scatter + pull * np.outer(apart, apart),
        )

    def log_marginal(self, seen: Statistics) -> float:
        """Return the logarithm of how likely the rows are, whatever their Gaussian is."""
        after, columns = self.update(seen), len(self.mean)
        return float(
            -0.5 * seen.count * columns * np.log(np.pi)
            + multigammaln(after.nu / 2, columns)
            - multigammaln(self.nu / 2, columns)
            + 0.5 * self.nu * log_determinant(self.psi)
            - 0.5 * after.nu * log_determinant(after.psi)
            + 0.5 * columns * (np.log(self.kappa) - np.log(after.kappa))
        )

    def likeliest(self, seen: Statistics) -> tuple[Rows, Rows]:
        """Return the likeliest mean and covariance once rows are seen."""
        after = self.update(seen)
        return after.mean, after.psi / (self.nu + seen.count + len(self.mean) + 2)


def log_determinant(matrix: Rows) -> float:
    """Return the logarithm of the determinant of a positive definite matrix."""
    return float(2 * np.log(np.diag(_factor(matrix))).sum())


def log_density(rows: Rows, mean: Rows, covariance: Rows) -> NDArray[np.float64]:
    """Return the logarithm of a Gaussian's density at each row."""
    factor = _factor(covariance)
    apart = solve_triangular(factor, (rows - mean).T, lower=True, check_finite=False)
    logs = np.log(np.diag(factor)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
    density: NDArray[np.float64] = -0.5 * np.einsum("ij,ij->j", apart, apart) - logs
    return density


def _factor(matrix: Rows) -> Rows:
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        factor = np.linalg.cholesky(matrix + _JITTER * np.trace(matrix) * np.eye(len(matrix)))
    return np.asarray(factor, np.float64)
