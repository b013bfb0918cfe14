import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alps_geo.classes.exemplars import (
    KINDS,
    LEAST_PX,
    PER_KIND,
    Candidates,
    choose_exemplars,
)
from alps_geo.classes.model import ClassModel

segments = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(1, 3 * LEAST_PX),
        st.floats(0, 1, width=16),
        st.floats(0, 5, width=16),
    ),
    max_size=120,
)


def candidates(rows):
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.zeros(0)] * 4
    class_id, area_px, confidence, distance = columns
    number = np.arange(1, len(rows) + 1)
    return Candidates(number, class_id.astype(int), area_px.astype(np.int64), confidence, distance)


def chosen(found, class_id, kind):
    here = (found.class_id == class_id) & (found.kind == KINDS.index(kind))
    return found.segment_id[here].tolist()


def test_typical_ones_are_near_the_centre_odd_ones_far_borderline_ones_unsure():
    rows = [(0, 500, 0.5 + at / 100, float(at)) for at in range(20)]
    rows += [(0, 500, 0.1 + at / 100, 9.5) for at in range(4)]
    found = choose_exemplars(candidates(rows))
    assert chosen(found, 0, "typical") == [1, 2, 3, 4]
    assert chosen(found, 0, "borderline") == [21, 22, 23, 24]
    assert chosen(found, 0, "odd") == [20, 19, 18, 17]


@given(segments)
def test_each_class_has_as_many_of_each_kind_as_it_has_segments_for(rows):
    found = choose_exemplars(candidates(rows))
    assert len(set(found.segment_id.tolist())) == len(found)
    for number in {row[0] for row in rows}:
        total = sum(row[0] == number for row in rows)
        counts = [len(chosen(found, number, kind)) for kind in KINDS]
        assert sum(counts) == min(total, len(KINDS) * PER_KIND)
        assert max(counts) - min(counts) <= 1
        for kind in range(len(KINDS)):
            ranks = found.rank[(found.class_id == number) & (found.kind == kind)]
            assert ranks.tolist() == list(range(1, len(ranks) + 1))


@given(segments, st.randoms(use_true_random=False))
def test_the_order_of_segments_changes_nothing(rows, random):
    table = candidates(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    found, again = choose_exemplars(table), choose_exemplars(table.take(np.array(order, int)))
    for name in vars(found):
        assert getattr(found, name).tolist() == getattr(again, name).tolist()


@given(segments)
def test_small_segments_are_shown_only_where_larger_ones_are_too_few(rows):
    table = candidates(rows)
    found = choose_exemplars(table)
    for number in set(found.class_id.tolist()):
        shown = set(found.segment_id[found.class_id == number].tolist())
        large = table.segment_id[(table.class_id == number) & (table.area_px >= LEAST_PX)]
        small = table.segment_id[(table.class_id == number) & (table.area_px < LEAST_PX)]
        if shown & set(small.tolist()):
            assert set(large.tolist()) <= shown


def test_distances_are_to_the_nearest_centre_in_the_space_of_the_model():
    rows = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    model = ClassModel(n_classes=3, seed=0).fit(rows)
    found = model.distances(rows)
    # The nearest row of a class is nearer to the centre than the others of it.
    spaced = model.whiten(rows)
    to_centers = np.linalg.norm(spaced[:, np.newaxis] - model.cluster_centers_, axis=2)
    np.testing.assert_allclose(found, to_centers.min(axis=1), rtol=1e-5)
