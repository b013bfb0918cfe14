"""Classes are found, kept, named and applied the same way every time."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score

from alps_geo.classes import file as classfile
from alps_geo.classes.clustering import (
    nearest,
    seed_centers,
    squared_distance,
    update_exactly,
    update_online,
)
from alps_geo.classes.legend import Legend
from alps_geo.classes.model import ClassModel
from alps_geo.classes.palette import PALETTE
from alps_geo.classes.sampling import BLOCK, Weighted, reblock, sketch, weigh
from alps_geo.classes.schema import FeatureSchema
from alps_geo.classes.whitening import choose_reach, compress, measure_axes, rotate
from alps_geo.errors import ModelError, OutputError, SettingsError
from alps_geo.progress import RecordedProgress

STRETCH = {"kind": "percentile", "low": [0.1, 2.0, 3.0], "high": [200.0, 210.5, 1 / 3]}


def make_schema(columns: int = 6, weights: list[float] | None = None) -> FeatureSchema:
    names = tuple(f"feature_{number}" for number in range(columns))
    return FeatureSchema(
        "builtin", "0123abcd" * 8, names, np.array(weights or [1.0] * columns, np.float32), STRETCH
    )


def make_blobs(
    rows: int, columns: int = 6, blobs: int = 5, noise: float = 0.1, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, blobs, rows)
    centers = rng.normal(size=(blobs, columns))
    values = centers[truth] + noise * rng.normal(size=(rows, columns))
    return values.astype(np.float32), truth


def cut(values: NDArray[np.float32], places: list[int]) -> list[NDArray[np.float32]]:
    return np.split(values, sorted(place % (len(values) + 1) for place in places))


@pytest.fixture(scope="module")
def blobs() -> NDArray[np.float32]:
    return make_blobs(3000)[0]


@pytest.fixture(scope="module")
def model(blobs: NDArray[np.float32]) -> ClassModel:
    return ClassModel(5, schema=make_schema()).fit([blobs])


# Fitting


def test_blobs_become_classes() -> None:
    values, truth = make_blobs(4000, blobs=6)
    model = ClassModel(6, schema=make_schema()).fit([values])
    assert adjusted_rand_score(truth, model.predict(values)) > 0.99
    assert model.settled_


def test_more_rows_than_the_sample_are_clustered_as_well_as_by_full_k_means() -> None:
    values, _ = make_blobs(30000, columns=8, blobs=25, noise=0.5)
    values = values[np.argsort(values[:, 0])]  # the worst order for online k-means
    model = ClassModel(12, schema=make_schema(8)).fit(cut(values, [9, 20000]))
    rows = (values - values.mean(axis=0, dtype=float)) / values.std(axis=0, dtype=float)
    rows = rotate(compress(rows, model.reach_), model.axes_)
    full = KMeans(12, n_init=3, random_state=1).fit(rows)
    assert model.inertia_ <= 1.02 * full.inertia_
    ours = ((rows - model.cluster_centers_[nearest(rows, model.cluster_centers_)]) ** 2).sum()
    assert model.inertia_ == pytest.approx(ours, rel=1e-3)


@settings(max_examples=10)
@given(places=st.lists(st.integers(0, 10**6), max_size=8))
def test_where_batches_are_cut_makes_no_difference(places: list[int]) -> None:
    values, _ = make_blobs(2 * BLOCK + 500, columns=3)
    areas = np.random.default_rng(1).integers(1, 1000, len(values))
    whole, parts = (ClassModel(4, schema=make_schema(3)) for _ in range(2))
    whole.fit([values], sample_weight=[areas])
    parts.fit(cut(values, places), sample_weight=cut(areas, places))
    assert whole.cluster_centers_.tobytes() == parts.cluster_centers_.tobytes()
    assert whole.mean_.tobytes() == parts.mean_.tobytes()
    assert (whole.counts_ == parts.counts_).all()


def test_the_seed_decides_and_nothing_else(blobs: NDArray[np.float32]) -> None:
    def fit(seed: int) -> ClassModel:
        return ClassModel(9, seed=seed, schema=make_schema()).fit([blobs])

    assert fit(3).cluster_centers_.tobytes() == fit(3).cluster_centers_.tobytes()
    assert fit(3).cluster_centers_.tobytes() != fit(4).cluster_centers_.tobytes()


def test_features_are_standardised_and_weighted() -> None:
    values, truth = make_blobs(2000, columns=2, blobs=3)
    noise = np.random.default_rng(5).normal(size=(2000, 1))
    values = np.hstack([values[:, :1] * 1e6 + 1e7, values[:, 1:], noise]).astype(np.float32)
    source = make_schema(3, [1.0, 1.0, 0.0])
    model = ClassModel(3, schema=source).fit([values])
    assert adjusted_rand_score(truth, model.predict(values)) > 0.99
    assert model.mean_[:2] == pytest.approx(values[:, :2].mean(axis=0, dtype=float))
    assert model.scale_[:2] == pytest.approx(values[:, :2].std(axis=0, dtype=float))
    assert (model.cluster_centers_[:, 2] == 0).all()


def test_a_constant_feature_does_no_harm(blobs: NDArray[np.float32]) -> None:
    values = np.hstack([blobs, np.full((len(blobs), 1), 1000.1, np.float32)])
    model = ClassModel(5, schema=make_schema(7)).fit([values])
    assert model.scale_[6] == 1
    assert np.isfinite(model.assign(values).confidence).all()


def test_fitting_tells_of_every_pass(blobs: NDArray[np.float32]) -> None:
    progress = RecordedProgress()
    model = ClassModel(5, schema=make_schema()).fit([blobs], progress=progress)
    assert len(progress.steps) == model.n_iter_ + 1
    assert progress.steps[-1][1] == progress.steps[-1][2]


def test_an_iterator_is_refused_because_it_can_be_read_once(blobs: NDArray[np.float32]) -> None:
    model, areas = ClassModel(schema=make_schema()), [np.ones(len(blobs), np.int64)]
    with pytest.raises(TypeError, match="pass lists"):
        model.fit(iter([blobs]))
    with pytest.raises(TypeError, match="pass lists"):
        model.fit([blobs], sample_weight=iter(areas))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.eye(9, 6, dtype=np.float32).cumsum(axis=0)[:9],
            "`n_classes` is 16 but only 6 of the 9 segments",
        ),
        (
            np.arange(54, dtype=np.float32).reshape(9, 6),
            "only 9 segments were found; use `n_classes=9` or",
        ),
        (np.ones((40, 6), np.float32), "only 1 of the 40 segments found differ; label a larger"),
        (np.ones((1, 6), np.float32), "only 1 segment was found; label a larger area"),
        (np.ones((0, 6), np.float32), "only 0 segments were found; label a larger area"),
    ],
)
def test_more_classes_than_different_segments_are_refused(
    values: NDArray[np.float32], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        ClassModel(schema=make_schema()).fit([values])


def test_as_many_classes_as_segments_put_each_in_its_own() -> None:
    values = np.random.default_rng(2).normal(size=(9, 6)).astype(np.float32)
    model = ClassModel(9, schema=make_schema()).fit([values])
    found = model.assign(values)
    assert sorted(found.class_id) == list(range(9))
    assert (found.confidence > 0.999).all()


def test_rare_segments_among_very_many_equal_ones_are_found() -> None:
    values = np.zeros((200_000, 2), np.float32)
    values[::25_000] = np.random.default_rng(1).normal(size=(8, 2))
    model = ClassModel(9, schema=make_schema(2)).fit([values])
    assert sorted(model.counts_) == [1] * 8 + [199_992]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 6), np.nan), "feature 'feature_0' of segment row 20 is nan, not a finite"),
        (np.ones((3, 5)), r"must have shape \(segments, 6\) as in the class model, not \(3, 5\)"),
        (np.ones(6), r"not \(6,\)"),
    ],
)
def test_features_that_cannot_be_are_refused(values: NDArray[np.float32], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ClassModel(schema=make_schema()).fit([np.ones((20, 6), np.float32), values])


def test_weights_must_fit_the_names() -> None:
    with pytest.raises(ModelError, match="each of its 2 features a finite weight of 0 or more"):
        make_schema(2, [1.0, -1.0])


# Clustering, piece by piece


@pytest.mark.parametrize(("version", "missing"), [(1, {"axes", "reach"}), (2, {"reach"})])
def test_files_of_earlier_versions_classify_as_they_did(
    version: int, missing: set[str], tmp_path: Path
) -> None:
    values, _ = make_blobs(2000, noise=1.0)
    values[::50] *= 5
    weights = np.linspace(0.5, 2, 6)
    model = ClassModel(5, schema=make_schema(6, weights.tolist())).fit([values])
    path = tmp_path / "m.safetensors"
    model.save(path)
    header, tensors = read_parts(path)
    classfile.write(
        path,
        {name: value for name, value in header.items() if name not in missing},
        {name: value for name, value in tensors.items() if name not in missing},
        version,
    )
    axes = np.eye(6) if "axes" in missing else model.axes_
    rows = rotate((values - model.mean_) * (weights / model.scale_), axes)
    older = ClassModel.load(path)
    assert read_parts(path)[0]["version"] == version
    assert (older.predict(values) == nearest(rows, model.cluster_centers_)).all()
    assert (older.predict(values) != model.predict(values)).any()


def test_rows_are_drawn_in_then_weighted_then_whitened() -> None:
    values, _ = make_blobs(2000, noise=1.0)
    values[::50] *= 5
    weights = np.linspace(0.5, 2, 6)
    model = ClassModel(5, schema=make_schema(6, weights.tolist())).fit([values])
    rows = compress((values - model.mean_) / model.scale_, model.reach_) * weights
    np.testing.assert_allclose(model.axes_, measure_axes(rows, 0), rtol=1e-6)
    rows = rotate(rows, model.axes_)
    index = nearest(rows, model.cluster_centers_)
    means = [rows[index == number].mean(axis=0) for number in range(5)]
    np.testing.assert_allclose(means, model.cluster_centers_, atol=1e-3)
    assert (model.predict(values) == index).all()


def test_many_columns_are_kept_in_the_file_as_they_are(tmp_path: Path) -> None:
    values, _ = make_blobs(500, columns=193)
    model = ClassModel(5, schema=make_schema(193)).fit([values])
    model.save(tmp_path / "m.safetensors")
    again = ClassModel.load(tmp_path / "m.safetensors")
    assert again.reach_ == model.reach_ == np.inf
    assert (again.axes_ == np.eye(193)).all()
    assert (again.predict(values) == model.predict(values)).all()


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    reach=st.sampled_from([0.5, 2.0, np.inf]),
)
def test_values_far_out_are_drawn_in_and_keep_their_order(
    values: list[float], reach: float
) -> None:
    rows = np.sort(values)[:, np.newaxis]
    drawn = compress(rows, reach)
    near = np.abs(rows) <= reach
    assert (drawn[near] == rows[near]).all()
    assert (np.diff(drawn[:, 0]) >= 0).all()
    assert (np.sign(drawn) == np.sign(rows)).all()
    assert (np.abs(drawn) <= np.abs(rows)).all()
    alone = np.concatenate([compress(row[np.newaxis], reach) for row in rows])
    assert alone.tobytes() == drawn.tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_a_few_odd_segments_share_a_class(seed: int) -> None:
    """Roofs of strong colours are one kind of thing; squared distances would part them."""
    values, _ = make_blobs(4000, columns=3, blobs=4, noise=0.3, seed=seed)
    odd = np.zeros((4, 3), np.float32)
    odd[:, 0] = (8, 12, 18, 30)
    model = ClassModel(5, schema=make_schema(3))
    model.fit([np.concatenate([values, odd.repeat(20, axis=0)])])
    (shared,) = set(model.predict(odd).tolist())
    assert shared not in model.predict(values)


def test_whitened_rows_scatter_more_alike_inside_small_clusters() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(4000, 8)) @ rng.normal(size=(8, 8))
    centers = seed_centers(rows, 64, 0)
    rest = rows - centers[nearest(rows, centers)]
    whitened = rotate(rest, measure_axes(rows, 0))
    assert np.linalg.cond(np.cov(whitened.T)) < np.linalg.cond(np.cov(rest.T)) / 3


def test_a_row_is_whitened_the_same_in_any_company() -> None:
    rows = make_blobs(500)[0].astype(np.float64)
    axes = measure_axes(rows, 0)
    alone = np.concatenate([rotate(row[None], axes) for row in rows])
    assert alone.tobytes() == rotate(rows, axes).tobytes()


@pytest.mark.parametrize("shape", [(10, 4), (2000, 193)], ids=["few rows", "many columns"])
def test_what_cannot_be_measured_stays_as_it_is(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(1).normal(size=shape)
    assert (measure_axes(rows, 0) == np.eye(shape[1])).all()
    assert (measure_axes(np.zeros((100, 3)), 0) == np.eye(3)).all()
    assert choose_reach(192) < choose_reach(193) == np.inf


def test_the_online_step_is_that_of_mini_batch_k_means() -> None:
    values = make_blobs(2000)[0].astype(np.float64)
    start = values[:7]
    theirs = MiniBatchKMeans(7, init=start, n_init=1, reassignment_ratio=0, batch_size=500)
    centers, counts = start, np.zeros(7, np.int64)
    for block in np.split(values, 4):
        theirs.partial_fit(block)
        centers, counts = update_online(centers, counts, block)
    np.testing.assert_allclose(centers, theirs.cluster_centers_, rtol=1e-9, atol=1e-12)
    assert counts.sum() == 2000


def test_a_centre_without_rows_moves_to_the_farthest_row() -> None:
    rows = np.array([[0.0], [1.0], [10.0]])
    block = Weighted(rows, np.array([2.0, 1.0, 1.0]))
    moved, masses, counts, inertia = update_exactly([block], np.array([[0.5], [99.0]]), rows)
    assert masses.tolist() == [4, 0]
    assert counts.tolist() == [3, 0]
    assert moved[:, 0].tolist() == [11 / 4, 10]
    assert inertia == pytest.approx(2 * (11 / 4) ** 2 + (7 / 4) ** 2 + (29 / 4) ** 2)


@given(places=st.lists(st.integers(0, 10**6), max_size=6), rows=st.integers(0, 3 * BLOCK))
@settings(max_examples=25)
def test_blocks_hold_the_rows_in_order(places: list[int], rows: int) -> None:
    values = np.arange(rows, dtype=np.float32)[:, None]
    areas = np.arange(1, rows + 1)
    blocks = list(reblock(weigh(cut(values, places), cut(areas, places))))
    assert [len(block) for block in blocks[:-1]] == [BLOCK] * (len(blocks) - 1)
    assert np.array_equal(np.concatenate([values[:0], *[block.rows for block in blocks]]), values)
    weights = np.concatenate([areas[:0], *[block.weights for block in blocks]])
    assert np.array_equal(weights, areas / (areas + 64))


def test_small_segments_count_less_and_large_ones_all_alike() -> None:
    areas = [np.array([16, 64, 640, 10**6, 10**7])]
    (found,) = weigh([np.zeros((5, 2), np.float32)], areas)
    assert found.weights[1] == 0.5
    assert (np.diff(found.weights) > 0).all()
    assert found.weights[2:].min() > 0.9


def test_classes_go_to_large_segments_rather_than_to_specks() -> None:
    large, _ = make_blobs(2000, blobs=4, noise=0.02)
    specks = np.random.default_rng(4).normal(scale=3, size=(300, 6)).astype(np.float32)
    values = np.concatenate([large, specks])
    areas = np.repeat([1000, 1], [len(large), len(specks)])

    def error(areas: list[NDArray[np.int64]] | None) -> float:
        """Return how far large segments are from their centres."""
        model = ClassModel(5, schema=make_schema()).fit([values], sample_weight=areas)
        rows = model.whiten(large)
        return float(
            ((rows - model.cluster_centers_[nearest(rows, model.cluster_centers_)]) ** 2).mean()
        )

    assert error([areas]) < 0.5 * error(None)


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        ([np.ones(3, int), np.ones(6, int)], "here are 3 for 5 segments"),
        ([np.ones(5, int)], "here are 0 for 4 segments"),
        ([np.ones(5, int), np.ones(4, int), np.ones(1, int)], "here are 1 for 0 segments"),
        ([np.ones(5, int), np.array([1, 2, 0, 3])], "1 pixel or more, not 0"),
    ],
)
def test_areas_that_cannot_be_are_refused(areas: list[NDArray[np.int64]], message: str) -> None:
    batches = np.split(make_blobs(9)[0], [5])
    with pytest.raises(ModelError, match=message):
        ClassModel(2, schema=make_schema()).fit(batches, sample_weight=areas)


@pytest.mark.parametrize("area", [1, 64, 5000])
def test_segments_of_one_size_all_count_as_much(blobs: NDArray[np.float32], area: int) -> None:
    plain, sized = (ClassModel(5, schema=make_schema()) for _ in range(2))
    plain.fit([blobs])
    sized.fit([blobs], sample_weight=[np.full(len(blobs), area)])
    np.testing.assert_allclose(plain.cluster_centers_, sized.cluster_centers_)


def test_a_sketch_measures_exactly_and_draws_fairly() -> None:
    values = (np.arange(20000, dtype=np.float32) + 1e5)[:, None]
    areas = np.arange(20000) + 1
    parts = weigh(cut(values, [7, 12000]), cut(areas, [7, 12000]))
    drawn = sketch(parts, size=2000, n_distinct=5, seed=0)
    assert drawn is not None
    assert drawn.mean[0] == pytest.approx(values.mean(dtype=float), rel=1e-12)
    assert drawn.std[0] == pytest.approx(values.std(dtype=float), rel=1e-12)
    rows = drawn.sample.rows[:, 0]
    assert len(np.unique(rows)) == 2000
    counts = np.histogram(rows, bins=5)[0]
    numbers = rows - 1e5 + 1
    assert drawn.sample.weights == pytest.approx(numbers / (numbers + 64), rel=1e-6)
    assert np.abs(counts - 400).max() < 80


# Predicting


@settings(max_examples=20)
@given(places=st.lists(st.integers(0, 400), max_size=12), merged=st.booleans())
def test_what_a_segment_gets_does_not_depend_on_its_company(
    model: ClassModel, blobs: NDArray[np.float32], places: list[int], merged: bool
) -> None:
    model = model.merge([(0, 1)]) if merged else model
    values = blobs[:400]
    whole = model.assign(values)
    for parts in (cut(values, places), list(values[:, None])):
        found = [model.assign(part) for part in parts]
        assert np.array_equal(np.concatenate([part.class_id for part in found]), whole.class_id)
        confidence = np.concatenate([part.confidence for part in found])
        assert confidence.tobytes() == whole.confidence.tobytes()


@given(
    data=st.data(),
    centers=st.integers(1, 6),
    columns=st.integers(1, 4),
    rows=st.integers(1, 30),
)
@settings(max_examples=50)
def test_the_nearest_centre_is_the_first_of_the_nearest(
    data: st.DataObject, centers: int, columns: int, rows: int
) -> None:
    # Small whole numbers: many exact ties, and distances without rounding.
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    points = rng.integers(-2, 3, (rows, columns)).astype(float)
    places = rng.integers(-2, 3, (centers, columns)).astype(float)
    table = ((points[:, None] - places[None]) ** 2).sum(axis=2)
    assert np.array_equal(nearest(points, places), table.argmin(axis=1))
    groups = np.arange(centers) % 2
    if centers > 1:
        barred = rng.integers(0, 2, rows)
        table[groups[None] == barred[:, None]] = np.inf
        assert np.array_equal(nearest(points, places, groups, barred), table.argmin(axis=1))


def test_a_near_tie_is_decided_by_exact_distances_not_by_a_matrix_product() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 5)) + 1000
    # Two centres on opposite sides of each point: only the last digits tell which is nearer.
    offsets = rng.normal(size=(200, 5))
    for point, offset in zip(points, offsets, strict=True):
        places = np.stack([point + offset, point - offset])
        exact = np.concatenate([squared_distance(point[None], place[None]) for place in places])
        assert nearest(point[None], places)[0] == exact.argmin()


def test_confidence_is_the_margin_between_the_two_nearest_classes() -> None:
    values = np.array([[0.0], [0.0], [4.0], [4.0]], np.float32)
    model = ClassModel(2, schema=make_schema(1)).fit([values])
    found = model.assign(np.array([[0.0], [1.0], [2.0], [3.0], [-1.0], [-4.0]], np.float32))
    far = 1.75 + np.log1p(3 - 1.75)  # where -4, three deviations below the mean, is drawn in to
    confidence = [1, 2 / 3, 0, 2 / 3, 4 / 5, 2 / (far + 1)]
    assert found.confidence.tolist() == pytest.approx(confidence)
    assert found.confidence.dtype == np.float32
    assert found.class_id.dtype == np.uint16


def test_a_merged_centre_is_no_rival() -> None:
    values = np.array([[0.0], [1.0], [10.0]], np.float32)
    model = ClassModel(3, schema=make_schema(1)).fit([values])
    low, high = model.predict(values[:2]).tolist()
    halfway = np.array([[0.5]], np.float32)
    assert model.assign(halfway).confidence[0] == pytest.approx(0, abs=1e-6)
    assert model.merge([(low, high)]).assign(halfway).confidence[0] > 0.9


def test_one_class_alone_is_certain(model: ClassModel, blobs: NDArray[np.float32]) -> None:
    found = model.merge([(4, 0, 1, 2, 3)]).assign(blobs)
    assert set(found.class_id) == {4}
    assert set(found.confidence) == {1}


def test_no_segments_get_no_classes(model: ClassModel) -> None:
    assert len(model.predict(np.zeros((0, 6), np.float32))) == 0


def test_a_model_that_has_not_learned_cannot_predict(blobs: NDArray[np.float32]) -> None:
    model = ClassModel(5, schema=make_schema()).partial_fit(blobs[:20])
    with pytest.raises(ModelError, match=r"partial_fit with 50 segments or more \(so far 20\)"):
        model.assign(blobs)


# Learning as segments come


def test_online_learning_finds_the_same_blobs() -> None:
    values, truth = make_blobs(4000)
    model = ClassModel(5, schema=make_schema())
    for batch in np.array_split(values, 300):  # the first ones hold fewer rows than needed
        model.partial_fit(batch)
    assert model.n_samples_ == model.counts_.sum() == 4000
    assert adjusted_rand_score(truth, model.predict(values)) > 0.99


def test_learning_goes_on_from_a_file_as_if_it_had_never_stopped(
    tmp_path: Path, blobs: NDArray[np.float32]
) -> None:
    model = ClassModel(5, schema=make_schema()).fit([blobs[:1000]])
    model.save(tmp_path / "half.safetensors")
    loaded = ClassModel.load(tmp_path / "half.safetensors").partial_fit(blobs[1000:])
    assert (
        loaded.cluster_centers_.tobytes()
        == model.partial_fit(blobs[1000:]).cluster_centers_.tobytes()
    )


def test_learning_leaves_a_renamed_copy_as_it_was(blobs: NDArray[np.float32]) -> None:
    model = ClassModel(5, schema=make_schema()).fit([blobs])
    copy, before = model.rename({0: "road"}), model.cluster_centers_.copy()
    model.partial_fit(blobs[:100])
    assert (copy.cluster_centers_ == before).all()
    assert (model.cluster_centers_ != before).any()


# Ids, names, colours


def test_the_largest_class_gets_id_zero(model: ClassModel, blobs: NDArray[np.float32]) -> None:
    areas = [3.0, 9.0, 1.0, 9.0, 5.0]
    ordered = model.order_by_area(areas)
    old, new = model.predict(blobs), ordered.predict(blobs)
    assert {(int(a), int(b)) for a, b in zip(old, new, strict=True)} == {
        (1, 0), (3, 1), (4, 2), (0, 3), (2, 4)
    }  # fmt: skip


def test_a_chosen_name_goes_with_its_class_when_ids_change(model: ClassModel) -> None:
    ordered = model.rename({2: "lake"}).recolor({2: "#0000FF"}).order_by_area([0, 0, 7])
    assert ordered.names[0] == "lake"
    assert ordered.colors[0] == "#0000ff"
    assert ordered.names[1] == "class_01"


def test_default_names_sort_like_ids() -> None:
    assert Legend(5, (0, 3)).names == {0: "class_00", 3: "class_03"}
    assert Legend(101, (7,)).names == {7: "class_007"}
    assert Legend(5, (0, 3)).colors == {0: PALETTE[0], 3: PALETTE[3]}


def test_merging_keeps_the_other_ids(model: ClassModel, blobs: NDArray[np.float32]) -> None:
    merged = model.rename({3: "lawn"}).merge([(1, 3)])
    assert merged.class_ids == (0, 1, 2, 4)
    assert list(merged.names.values()) == ["class_00", "class_01", "class_02", "class_04"]
    expected = model.predict(blobs)
    expected[expected == 3] = 1
    assert np.array_equal(merged.predict(blobs), expected)
    assert merged.merge([(4, 2)]).class_ids == (0, 1, 4)
    assert merged.rename({0: "lawn"}).names[0] == "lawn"


@pytest.mark.parametrize("name", ["\"quoted\" 'name'", "Wiese/Äcker", "森林", "🌳🏽‍🌾", "a" * 100])
def test_names_may_hold_anything_that_prints(model: ClassModel, tmp_path: Path, name: str) -> None:
    model.rename({1: f" {name} " if len(name) < 98 else name}).save(tmp_path / "m.safetensors")
    assert ClassModel.load(tmp_path / "m.safetensors").names[1] == name


def test_names_can_be_swapped_at_once(model: ClassModel) -> None:
    named = model.rename({0: "a", 1: "b"}).rename({0: "b", 1: "a"})
    assert (named.names[0], named.names[1]) == ("b", "a")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({9: "road"}, "there is no class 9; the ids are 0-2, 4"),
        ({3: "road"}, "there is no class 3"),
        ({0: "  "}, "the name of class 0 is empty"),
        ({0: "x" * 101}, "the name of class 0 has 101 characters; use 100 or fewer"),
        ({0: "a\nb"}, r"class 0 holds the control character '\\n'"),
        ({0: "a\udc80"}, r"class 0 holds the control character"),
        ({0: "road", 1: "road"}, "classes 0 and 1 cannot both be called 'road'; merge them"),
        ({0: "class_01"}, "classes 0 and 1 cannot both be called 'class_01'"),
    ],
)
def test_names_that_cannot_be_are_refused(
    model: ClassModel, names: dict[int, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        model.merge([(1, 3)]).rename(names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("color", ["red", "#12345", "#12345g", "", "#1234567"])
def test_colours_that_cannot_be_are_refused(model: ClassModel, color: str) -> None:
    with pytest.raises(SettingsError, match="of class 2 must be #rrggbb, such as #e8d48c"):
        model.recolor({2: color})


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([(1, 8)], "there is no class 8; the ids are 0-4"),
        ([(1, 2), (2, 3)], "there is no class 2; the ids are 0-1, 3-4"),
        ([(1, 1)], "two or more different ids, not 1,1"),
        ([(1,)], "two or more different ids, not 1"),
    ],
)
def test_merges_that_cannot_be_are_refused(
    model: ClassModel, groups: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        model.merge(groups)


def test_classes_of_another_mask_model_are_refused(model: ClassModel) -> None:
    model.schema.require_model("builtin", "0123abcd" * 8)
    with pytest.raises(ModelError, match="made with mask model 'builtin', not 'sam-vit-b'; use"):
        model.schema.require_model("sam-vit-b", "0123abcd" * 8)
    with pytest.raises(
        ModelError, match=r"another version of mask model 'builtin'.*0123abcd0123, "
    ):
        model.schema.require_model("builtin", "f" * 64)


# The file


def test_a_file_gives_back_every_bit(
    model: ClassModel, blobs: NDArray[np.float32], tmp_path: Path
) -> None:
    edited = model.order_by_area([1, 2, 3, 4, 5]).merge([(0, 2)]).rename({4: "é"})
    edited = edited.recolor({1: "#010203"})
    edited.save(tmp_path / classfile.FILE_NAME)
    loaded = ClassModel.load(tmp_path)  # the folder of a run
    for name in ("cluster_centers_", "counts_", "class_of_center_", "mean_", "scale_", "axes_"):
        ours, theirs = getattr(edited, name), getattr(loaded, name)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tobytes() == theirs.tobytes()
    assert loaded.schema.weights.tobytes() == edited.schema.weights.tobytes()
    assert loaded.schema.names == edited.schema.names
    assert loaded.schema.stretch == STRETCH
    assert loaded.legend_ == edited.legend_
    assert (loaded.n_classes, loaded.seed) == (edited.n_classes, edited.seed)
    assert loaded.n_samples_ == 3000
    found, again = edited.assign(blobs), loaded.assign(blobs)
    assert found.class_id.tobytes() == again.class_id.tobytes()
    assert found.confidence.tobytes() == again.confidence.tobytes()


def test_the_same_model_gives_the_same_bytes_in_another_process(
    model: ClassModel, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    model.save(first)
    program = (
        "import sys; from alps_geo.classes.model import ClassModel;"
        "ClassModel.load(sys.argv[1]).save(sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", program, first, second], check=True)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no class model .*gone.safetensors; give a"):
        ClassModel.load(tmp_path / "gone.safetensors")
    with pytest.raises(ModelError, match=r"there is no class model .*classes\.safetensors"):
        ClassModel.load(tmp_path)


def test_any_damaged_byte_is_noticed(model: ClassModel, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    whole = path.read_bytes()
    for place in [*range(0, len(whole), 61), len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelError, match=r"m\.safetensors") as caught:
            ClassModel.load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_a_truncated_file_is_refused(model: ClassModel, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"is not a class model, or damaged .*take another copy"):
        ClassModel.load(path)


def read_parts(path: Path) -> tuple[dict[str, object], dict[str, NDArray[np.generic]]]:
    return classfile.read(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("centers", np.full((5, 6), np.nan), "centers is not finite"),
        ("centers", np.zeros((4, 6)), r"centers is float64 of shape \(4, 6\)"),
        ("mean", np.zeros(6, np.float32), "mean is float32"),
        ("scale", np.zeros(6), "not above 0"),
        ("axes", np.zeros((6, 5)), r"axes is float64 of shape \(6, 5\)"),
        ("weights", np.ones(5, np.float32), "6 features"),
        ("class_of_center", np.zeros(5, np.int32), "centres and classes do not match"),
    ],
)
def test_tensors_that_cannot_be_are_refused(
    model: ClassModel, tmp_path: Path, name: str, value: NDArray[np.generic], message: str
) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    header, tensors = read_parts(path)
    classfile.write(path, header, {**tensors, name: value})
    with pytest.raises(ModelError, match=f"damaged .*{message}"):
        ClassModel.load(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classes", [{"id": 0, "name": "", "color": "#000000"}], "empty"),
        ("settings", {"n_classes": 1, "seed": 0}, "`n_classes` must be"),
        ("settings", {"k": 1}, "unexpected keyword"),
        ("mask_model", None, "TypeError"),
        ("reach", 0.0, "not above 0"),
        ("reach", "far", "could not convert"),
        ("reach", 10**400, "too large"),
    ],
)
def test_headers_that_cannot_be_are_refused(
    model: ClassModel, tmp_path: Path, name: str, value: object, message: str
) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    header, tensors = read_parts(path)
    classfile.write(path, {**header, name: value}, tensors)
    with pytest.raises(ModelError, match=f"damaged .*{message}"):
        ClassModel.load(path)


def write_safetensors(path: Path, metadata: dict[str, str]) -> None:
    text = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "written by another program"),
        ({"alps_geo": "{"}, "its header is no JSON"),
        ({"alps_geo": "[]"}, "does not say that it is one"),
        ({"alps_geo": '{"format": "cake"}'}, "does not say that it is one"),
        ({"alps_geo": '{"format": "alps-geo class model", "reach": NaN}'}, "its checksum"),
        ({"alps_geo": '{"format": "alps-geo class model", "reach": 1e999}'}, "its checksum"),
        (
            {"alps_geo": '{"format": "alps-geo class model", "version": 5}'},
            "by a newer alps-geo .*version 5, this one reads up to 4.; upgrade",
        ),
    ],
)
def test_other_safetensors_files_are_refused(
    tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    path = tmp_path / "other.safetensors"
    write_safetensors(path, metadata)
    with pytest.raises(ModelError, match=message):
        ClassModel.load(path)


def test_a_failed_write_leaves_the_older_file_whole(model: ClassModel, tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()  # a folder cannot be replaced by a file
    (target / "kept").write_text("kept")
    with pytest.raises(OutputError, match=r"cannot write the class model .*taken.*choose a folder"):
        model.save(target)
    with pytest.raises(OutputError, match=r"cannot write the class model .*gone"):
        model.save(tmp_path / "gone" / "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
