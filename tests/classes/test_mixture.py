"""The number of Gaussian clusters: closed forms, and drawings whose number is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import multivariate_t
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from alps_geo.classes.mixture import fit_mixture, log_split_ratio
from alps_geo.classes.niw import Prior, Statistics, log_density

Drawing = tuple[NDArray[np.float64], NDArray[np.int64]]


def draw_gaussians(seed: int = 0) -> Drawing:
    """Draw 15 Gaussians in 8 columns, of 60 to 2000 rows."""
    rng = np.random.default_rng(seed)
    sizes = np.linspace(60, 2000, 15).astype(int)
    labels = np.repeat(np.arange(15), sizes)
    means = rng.normal(size=(15, 8)) * 3
    spreads = [rng.normal(size=(8, 8)) * 0.15 + np.eye(8) * 0.25 for _ in sizes]
    rows = [
        mean + rng.normal(size=(size, 8)) @ spread
        for mean, spread, size in zip(means, spreads, sizes, strict=True)
    ]
    return np.concatenate(rows), labels


def draw_embedding(seed: int = 0) -> Drawing:
    """Draw 16 t-distributed clusters of 40 to 1500 rows in 20 of 256 dimensions."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(40, 1500, 16).astype(int)
    labels = np.repeat(np.arange(16), sizes)
    basis, _ = np.linalg.qr(rng.normal(size=(256, 20)))
    means = rng.normal(size=(16, 20)) * 3
    tails = rng.standard_t(5, size=(len(labels), 20)) * 0.6
    noise = rng.normal(size=(len(labels), 256)) * 0.05
    return (means[labels] + tails) @ basis.T + noise, labels


def reduce(rows: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    reduced = PCA(columns, random_state=0).fit_transform(rows)
    return np.asarray(reduced / reduced.std(), np.float64)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), columns=st.integers(1, 5), count=st.integers(1, 12))
def test_rows_are_as_likely_as_one_after_the_other(seed: int, columns: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, columns)) * 2 + 1
    prior = Prior(rng.normal(size=columns), 0.3, columns + 2.5, np.eye(columns) * 0.7)
    known, total = prior, 0.0
    for row in rows:
        degrees = known.nu - columns + 1
        shape = known.psi * (known.kappa + 1) / (known.kappa * degrees)
        total += float(multivariate_t.logpdf(row, known.mean, shape, degrees))
        known = known.update(Statistics.of(row[np.newaxis]))
    assert prior.log_marginal(Statistics.of(rows)) == pytest.approx(total, abs=1e-8, rel=1e-8)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 19))
def test_statistics_join_and_splits_undo_merges(seed: int, cut: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(20, 3))
    whole, first, second = (Statistics.of(part) for part in (rows, rows[:cut], rows[cut:]))
    joined = first.join(second)
    np.testing.assert_allclose(joined.mean, whole.mean, atol=1e-12)
    np.testing.assert_allclose(joined.scatter, whole.scatter, atol=1e-12)
    prior = Prior.of(rows, 0.5, 1e-4, None)
    split = log_split_ratio(whole, first, second, prior, 10.0)
    merge = -log_split_ratio(joined, second, first, prior, 10.0)
    assert np.exp(split + merge) == pytest.approx(1)


def test_densities_are_those_of_a_gaussian() -> None:
    rng = np.random.default_rng(0)
    rows, root = rng.normal(size=(50, 3)), rng.normal(size=(3, 3))
    covariance = root @ root.T + np.eye(3)
    from scipy.stats import multivariate_normal

    expected = multivariate_normal.logpdf(rows, np.ones(3), covariance)
    np.testing.assert_allclose(log_density(rows, np.ones(3), covariance), expected)


@pytest.mark.parametrize("init_k", [1, 5, 40])
def test_fifteen_gaussians_are_found_from_any_number(init_k: int) -> None:
    rows, labels = draw_gaussians()
    found = fit_mixture(rows / rows.std(), init_k=init_k, psi_scale=0.05)
    assert found.size == 15
    assert adjusted_rand_score(labels, found.labels) == pytest.approx(1.0, abs=0.001)
    assert found.settled


def test_sixteen_clusters_in_a_space_of_256_columns_are_found_in_16() -> None:
    rows, labels = draw_embedding()
    found = fit_mixture(reduce(rows, 16))
    assert 15 <= found.size <= 17
    assert adjusted_rand_score(labels, found.labels) >= 0.98


def test_the_same_seed_gives_the_same_clusters() -> None:
    rows = reduce(draw_embedding(1)[0], 8)
    first, second = (fit_mixture(rows, seed=3) for _ in range(2))
    assert (first.labels == second.labels).all()
    assert first.history == second.history


def test_digits_are_told_apart() -> None:
    values, labels = load_digits(return_X_y=True)
    rows = PCA(10, random_state=0).fit_transform(values)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = fit_mixture(rows, psi_scale=0.005)
    assert 8 <= found.size <= 12
    assert adjusted_rand_score(labels, found.labels) >= 0.62


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        pytest.param(np.zeros((30, 3)), 1, id="equal"),
        pytest.param(np.random.default_rng(0).normal(size=(500, 4)), 1, id="one cluster"),
        pytest.param(np.repeat([[0.0, 1], [9, 1]], 40, axis=0), 2, id="duplicates"),
        pytest.param(np.ones((1, 2)), 1, id="one row"),
    ],
)
def test_odd_rows_are_no_clusters_of_their_own(rows: NDArray[np.float64], size: int) -> None:
    assert fit_mixture(rows).size == size


def test_too_many_clusters_end_the_search() -> None:
    rows, _ = draw_gaussians()
    found = fit_mixture(rows / rows.std(), psi_scale=0.05, max_clusters=4)
    assert not found.settled
    assert found.size > 4
