"""Probabilities of classes learned from one example of each, or thousands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alps_geo.classes.classifier import Classifier, expect_shares, learn
from alps_geo.classes.suggestion import choose_doubtful, choose_typical


def make_rows(
    counts: list[int], spread: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return rows round a centre per class, in 5 columns, and their classes."""
    rng = np.random.default_rng(seed)
    centers = 4 * np.eye(5)[: len(counts)]
    numbers = np.repeat(np.arange(len(counts)), counts)
    return centers[numbers] + spread * rng.normal(size=(len(numbers), 5)), numbers


@pytest.mark.parametrize("counts", [[1, 1, 1], [3, 3, 3], [1, 40, 7], [3000, 4000, 3000]])
def test_classes_are_told_apart_after_one_example_of_each_and_after_ten_thousand(
    counts: list[int],
) -> None:
    rows, numbers = make_rows(counts)
    found = learn(rows, numbers, np.ones(len(rows)), 3)
    others, truth = make_rows([300, 300, 300], seed=1)
    right = found.probabilities(others).argmax(axis=1) == truth
    assert right.mean() > (0.85 if min(counts) < 3 else 0.95)


def test_two_classes_have_the_probabilities_of_one_question() -> None:
    rows, numbers = make_rows([20, 20])
    found = learn(rows, numbers, np.ones(40), 2).probabilities(rows)
    assert found.sum(axis=1) == pytest.approx(1)
    assert found[numbers == 0, 0].mean() > 0.8
    assert found[numbers == 1, 1].mean() > 0.8


def test_one_class_is_sure() -> None:
    found = learn(np.zeros((2, 5)), np.zeros(2, int), np.ones(2), 1)
    assert (found.probabilities(np.ones((3, 5))) == 1).all()


def test_many_examples_of_one_class_do_not_make_it_likelier() -> None:
    rows, numbers = make_rows([500, 10], spread=2)
    middle = rows[numbers == 1].mean(axis=0, keepdims=True)
    found = learn(rows, numbers, np.ones(510), 2)
    assert found.probabilities(middle)[0, 1] > 0.7


def test_probabilities_say_how_often_they_are_right() -> None:
    rows, numbers = make_rows([200, 200, 200], spread=3)
    others, truth = make_rows([2000, 2000, 2000], spread=3, seed=1)
    found = learn(rows, numbers, np.ones(600), 3).probabilities(others)
    right = found.argmax(axis=1) == truth
    assert found.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.04)


@given(st.integers(0, 20), st.integers(1, 20))
def test_no_bit_of_a_row_depends_on_the_others(start: int, count: int) -> None:
    rows, numbers = make_rows([15, 15, 15])
    found = learn(rows, numbers, np.ones(45), 3)
    together = found.probabilities(rows)[start : start + count]
    assert (found.probabilities(rows[start : start + count]) == together).all()


def test_the_same_examples_give_the_same_classifier() -> None:
    rows, numbers = make_rows([30, 9, 4])
    first, second = (learn(rows, numbers, np.ones(43), 3) for _ in range(2))
    assert (first.coef == second.coef).all()
    assert (first.intercept == second.intercept).all()


def test_what_covers_most_of_the_ground_is_likelier_the_more_examples_there_are() -> None:
    even = Classifier(np.array([[-1.0, 1.0]]), np.zeros(2))
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(-2, 1, (900, 1)), rng.normal(2, 1, (100, 1))])
    few, many = (
        expect_shares(even, rows, np.ones(1000), np.array([count, count])) for count in (1, 100)
    )
    halfway = np.zeros((1, 1))
    shares = [each.probabilities(halfway)[0, 0] for each in (even, few, many)]
    assert shares == sorted(shares)
    assert shares[0] == 0.5
    assert 0.7 < shares[2] < 0.9


def test_typical_rows_are_of_different_groups_the_largest_first() -> None:
    rows, numbers = make_rows([50, 100, 30], spread=0.3)
    chosen = choose_typical(rows, np.full(180, 10), 3, seed=0)
    assert numbers[chosen].tolist() == [1, 0, 2]


def test_doubtful_rows_are_unlike_each_other_and_the_known_ones() -> None:
    rows = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
    doubt = np.array([1.0, 1.0, 0.5, 0.4, 0.0])
    chosen = choose_doubtful(rows, np.full(5, 4), doubt, np.array([[-3.0]]), 4)
    assert chosen.tolist()[:2] == [2, 1]
    assert 4 not in chosen  # nothing is to be learned there


def test_large_rows_come_before_small_ones() -> None:
    rows = np.array([[1.0], [-1.0]])
    chosen = choose_doubtful(rows, np.array([10, 1000]), np.ones(2), np.zeros((1, 1)), 2)
    assert chosen.tolist() == [1, 0]
