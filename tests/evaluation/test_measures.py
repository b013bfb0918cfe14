import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from alps_geo.evaluation import measures as agreement

NONE_MISSED = np.zeros(3, np.int64)
#: Two labels on three classes: label 0 is mostly class 0, label 1 mostly class 2.
WORKED = np.array([[6, 2, 0], [0, 1, 3]])

pixel_labels = st.integers(1, 60).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.int64, size, elements=st.integers(0, 6)),
        hnp.arrays(np.int64, size, elements=st.integers(0, 4)),
    )
)
matrices = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: hnp.arrays(np.int64, shape, elements=st.integers(0, 50))
)


def confusion_of(labels, classes):
    confusion = np.zeros((7, 5), np.int64)
    np.add.at(confusion, (labels, classes), 1)
    return confusion[np.ix_(confusion.any(axis=1), confusion.any(axis=0))]


@given(pixel_labels)
def test_nmi_is_that_of_scikit_learn(pixels):
    ours = agreement.normalized_mutual_info(confusion_of(*pixels))
    assert ours == pytest.approx(metrics.normalized_mutual_info_score(*pixels[::-1]), abs=1e-7)


@given(pixel_labels)
def test_ari_is_that_of_scikit_learn(pixels):
    ours = agreement.adjusted_rand(confusion_of(*pixels))
    assert ours == pytest.approx(metrics.adjusted_rand_score(*pixels[::-1]), abs=1e-9)


@given(pixel_labels)
def test_majority_accuracy_and_iou_are_those_of_scikit_learn_on_mapped_labels(pixels):
    labels, classes = pixels
    confusion = confusion_of(labels, classes)
    matching = agreement.match_majority(confusion, np.zeros(confusion.shape[1], np.int64))
    mapped = np.unique(classes)[matching.classes][np.unique(labels, return_inverse=True)[1]]
    assert matching.accuracy == pytest.approx(metrics.accuracy_score(classes, mapped))
    iou = metrics.jaccard_score(classes, mapped, labels=np.unique(classes), average=None)
    np.testing.assert_allclose(matching.iou, iou)
    assert matching.miou == pytest.approx(iou.mean())


@given(pixel_labels)
def test_one_to_one_iou_is_that_of_scikit_learn_on_paired_labels(pixels):
    labels, classes = pixels
    confusion = confusion_of(labels, classes)
    matching = agreement.match_one_to_one(confusion, np.zeros(confusion.shape[1], np.int64))
    names = np.append(np.unique(classes), 99)  # -1, no class, picks the last
    mapped = names[matching.classes][np.unique(labels, return_inverse=True)[1]]
    iou = metrics.jaccard_score(classes, mapped, labels=names[:-1], average=None)
    np.testing.assert_allclose(matching.iou, iou)
    assert matching.accuracy == pytest.approx(metrics.accuracy_score(classes, mapped))


@given(matrices)
def test_no_pairing_of_labels_and_classes_beats_the_one_to_one_matching(confusion):
    missed = np.zeros(confusion.shape[1], np.int64)
    best = agreement.match_one_to_one(confusion, missed)
    rng = np.random.default_rng(0)
    size = min(confusion.shape)
    for _ in range(10):
        rows, columns = (rng.permutation(side)[:size] for side in confusion.shape)
        assert confusion[rows, columns].sum() <= best.accuracy * confusion.sum() + 1e-6
    assert best.accuracy <= agreement.match_majority(confusion, missed).accuracy
    paired = best.classes[best.classes >= 0]
    assert len(set(paired.tolist())) == len(paired)


@given(matrices, st.randoms())
def test_order_of_labels_and_classes_does_not_matter(confusion, random):
    rows, columns = (random.sample(range(side), side) for side in confusion.shape)
    shuffled = confusion[np.ix_(rows, columns)]
    assert agreement.adjusted_rand(shuffled) == agreement.adjusted_rand(confusion)
    for measure in (agreement.normalized_mutual_info, agreement.purity):
        assert measure(shuffled) == pytest.approx(measure(confusion), abs=1e-9)


@given(matrices)
def test_ari_and_nmi_are_symmetric(confusion):
    assert agreement.adjusted_rand(confusion.T) == agreement.adjusted_rand(confusion)
    nmi = agreement.normalized_mutual_info(confusion)
    assert agreement.normalized_mutual_info(confusion.T) == pytest.approx(nmi, abs=1e-9)


@given(matrices, st.integers(0, 40))
def test_missed_pixels_never_raise_accuracy_or_iou(confusion, count):
    none = np.zeros(confusion.shape[1], np.int64)
    for match in (agreement.match_majority, agreement.match_one_to_one):
        full, short = match(confusion, none), match(confusion, none + count)
        assert short.accuracy <= full.accuracy
        assert (np.nan_to_num(short.iou) <= np.nan_to_num(full.iou)).all()


def test_majority_matching_is_as_worked_by_hand():
    matching = agreement.match_majority(WORKED, NONE_MISSED)
    assert matching.classes.tolist() == [0, 2]
    assert matching.accuracy == 9 / 12
    assert matching.iou.tolist() == [6 / 8, 0, 3 / 4]
    assert matching.miou == 0.5


def test_missed_pixels_count_as_false_negatives():
    matching = agreement.match_majority(WORKED, np.array([4, 0, 0]))
    assert matching.iou.tolist() == [6 / 12, 0, 3 / 4]
    assert matching.accuracy == 9 / 16
    assert agreement.coverage(WORKED, np.array([4, 0, 0])) == 12 / 16


def test_several_labels_share_a_class_many_to_one_but_not_one_to_one():
    confusion = np.array([[5, 0], [4, 0], [0, 3]])
    missed = np.zeros(2, np.int64)
    assert agreement.match_majority(confusion, missed).miou == 1
    paired = agreement.match_one_to_one(confusion, missed)
    assert paired.classes.tolist() == [0, -1, 1]
    assert paired.iou.tolist() == [5 / 9, 1]


def test_label_that_shares_no_pixel_with_what_is_left_stands_for_no_class():
    paired = agreement.match_one_to_one(np.array([[5, 0], [4, 0]]), np.array([0, 2]))
    assert paired.classes.tolist() == [0, -1]


def test_class_without_a_pixel_has_no_iou_and_no_part_in_the_mean():
    matching = agreement.match_majority(np.array([[5, 0]]), np.array([0, 0]))
    assert math.isnan(matching.iou[1])
    assert matching.miou == 1


def test_class_that_was_missed_whole_has_an_iou_of_zero():
    assert agreement.match_majority(np.array([[5, 0]]), np.array([0, 3])).miou == 0.5


def test_purity_is_as_worked_by_hand():
    assert agreement.purity(WORKED) == 9 / 12


def test_ari_is_exact_for_counts_whose_squares_overflow_64_bits():
    small = np.array([[30, 10], [5, 55]])
    large = agreement.adjusted_rand(small * 10**9)
    # Pairs of a pixel with itself, which ARI leaves out, matter less the more pixels there are.
    assert large == pytest.approx(agreement.adjusted_rand(small * 10**6), abs=1e-6)
    assert agreement.adjusted_rand(np.diag([10**10, 10**10])) == 1


@pytest.mark.parametrize(
    "measure", [agreement.purity, agreement.adjusted_rand, agreement.normalized_mutual_info]
)
def test_measures_of_no_labelled_pixel_are_zero(measure):
    assert measure(np.zeros((0, 3), np.int64)) == 0


def test_matching_of_no_labels_misses_every_class():
    for match in (agreement.match_majority, agreement.match_one_to_one):
        matching = match(np.zeros((0, 2), np.int64), np.array([3, 4]))
        assert (matching.accuracy, matching.miou) == (0, 0)
