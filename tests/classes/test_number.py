"""How many classes there are, and how sure that is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from alps_geo.classes.number import (
    NUMBERS,
    SAMPLE,
    by_mixture,
    by_stability,
    choose_number,
    draw_sample,
    reduce_rows,
)
from alps_geo.classes.sampling import Weighted
from alps_geo.progress import NoProgress, RecordedProgress


def draw_clusters(number: int, size: int = 60, columns: int = 12) -> NDArray[np.float64]:
    """Draw round clusters that lie well apart."""
    rng = np.random.default_rng(number)
    means = rng.normal(size=(number, columns)) * 6
    return np.repeat(means, size, axis=0) + rng.normal(size=(number * size, columns))


@pytest.mark.parametrize("number", [4, 8, 15])
@pytest.mark.parametrize("method", ["stability", "dp"])
def test_clusters_well_apart_are_counted(number: int, method: str) -> None:
    rows = draw_clusters(number)
    found = choose_number(Weighted(rows, np.ones(len(rows))), method, 0)
    assert abs(found.number - number) <= 0.2 * number
    assert found.sure >= 0.5


def test_rows_without_clusters_give_few_and_no_certainty() -> None:
    rows = np.random.default_rng(0).normal(size=(1500, 6))
    assert by_mixture(rows, 0, NoProgress()).number == 2
    found = by_stability(rows, 0, NoProgress())
    assert max(np.subtract(found.scores, found.shuffled)) < 0.2


@pytest.mark.parametrize("method", ["stability", "dp"])
def test_the_same_seed_chooses_the_same_and_tells_the_curve(
    method: str, progress: RecordedProgress
) -> None:
    rows = draw_clusters(6)
    sample = Weighted(rows, np.random.default_rng(0).random(len(rows)) + 0.1)
    first, second = (choose_number(sample, method, 5, progress) for _ in range(2))
    assert first == second
    facts = json.loads(json.dumps(first.to_json()))
    assert facts["method"] == method
    assert facts["chosen"] == first.number
    names = ("k", "score") if method == "stability" else ("scatters", "found")
    assert len(facts[names[0]]) == len(facts[names[1]])
    assert 0 <= facts["sure"] <= 1
    assert progress.steps


def test_the_sample_is_bounded_and_follows_the_weights() -> None:
    weights = np.repeat([0.2, 1.0], 10_000)
    rows = np.arange(20_000, dtype=float)[:, np.newaxis]
    drawn = draw_sample(Weighted(rows, weights), 0)
    assert len(drawn) == SAMPLE
    assert 0.72 < np.mean(drawn >= 10_000) < 0.85
    assert (draw_sample(Weighted(rows[:50], weights[:50]), 0) == rows[:50]).all()


def test_numbers_that_few_rows_cannot_tell_are_not_tried() -> None:
    found = by_stability(reduce_rows(draw_clusters(3, 40)), 0, NoProgress())
    assert found.numbers == tuple(number for number in NUMBERS if number <= 12)


@pytest.mark.parametrize(
    "rows", [np.zeros((150, 3)), np.repeat([[0.0, 1], [9, 1]], 80, axis=0)], ids=["equal", "two"]
)
@pytest.mark.parametrize("method", ["stability", "dp"])
@pytest.mark.filterwarnings("error")
def test_odd_rows_give_a_number_without_a_warning(rows: NDArray[np.float64], method: str) -> None:
    assert 2 <= choose_number(Weighted(rows, np.ones(len(rows))), method, 0).number <= 3
