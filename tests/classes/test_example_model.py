"""Classes from examples have the face, and the file, of pseudo-classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alps_geo.classes import ClassModel, ExampleModel
from alps_geo.classes import file as classfile
from alps_geo.classes.example_model import learn_classes
from alps_geo.classes.examples import MOST, Examples
from alps_geo.classes.novelty import DRIFT, Drift, columns_of
from alps_geo.classes.schema import FeatureBlock
from alps_geo.errors import ModelError, SettingsError

from .test_model import make_blobs, make_schema

NAMES = np.array(["road", "roof", "tree", "lake", "sand"])


def make_examples(rows: NDArray[np.float32], truth: NDArray[np.int64], count: int) -> Examples:
    """Return the first few rows of each class as examples."""
    chosen = np.concatenate([np.flatnonzero(truth == each)[:count] for each in np.unique(truth)])
    return Examples(rows[chosen], np.full(len(chosen), 100), NAMES[truth[chosen]])


@pytest.fixture(scope="module")
def blobs() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return make_blobs(2000, noise=0.2)


@pytest.fixture(scope="module")
def ground(blobs: tuple[NDArray[np.float32], NDArray[np.int64]]) -> ClassModel:
    return ClassModel(8, schema=make_schema()).fit([blobs[0]])


def everything(rows: NDArray[np.float32]) -> Examples:
    return Examples(rows, np.full(len(rows), 100), np.full(len(rows), ""))


@pytest.fixture(scope="module")
def model(blobs: tuple[NDArray[np.float32], NDArray[np.int64]], ground: ClassModel) -> ExampleModel:
    return learn_classes(ground, make_examples(*blobs, 5), everything(blobs[0]))


def named(model: ClassModel, rows: NDArray[np.float32]) -> NDArray[np.str_]:
    return np.array([model.names[number] for number in model.predict(rows).tolist()])


def test_classes_have_the_names_of_the_examples(
    model: ExampleModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    rows, truth = blobs
    assert model.names == dict(enumerate(sorted(NAMES)))
    assert (named(model, rows) == NAMES[truth]).mean() > 0.95
    confidence = model.assign(rows).confidence
    assert (confidence > 0.2).all()
    assert (confidence <= 1).all()


def test_a_file_gives_the_same_model_and_the_same_bytes(
    model: ExampleModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]], tmp_path: Path
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    model.rejecting(0.4).save(first)
    loaded = ClassModel.load(first)
    assert isinstance(loaded, ExampleModel)
    loaded.save(second)
    assert first.read_bytes() == second.read_bytes()
    before, after = model.rejecting(0.4).assign(blobs[0]), loaded.assign(blobs[0])
    assert (before.class_id == after.class_id).all()
    assert (before.confidence == after.confidence).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coef", np.zeros((6, 4))),
        ("intercept", np.full(5, np.nan)),
        ("class_of_name", np.full(5, 77, np.int32)),
        ("example_class", np.full(25, 9, np.int32)),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(
    model: ExampleModel, tmp_path: Path, name: str, value: NDArray[np.generic]
) -> None:
    path = tmp_path / "odd.safetensors"
    header, tensors = model._content()
    classfile.write(path, header, {**tensors, name: value})
    with pytest.raises(ModelError, match="not a class model, or damaged"):
        ClassModel.load(path)


def test_merged_classes_add_their_probabilities(
    model: ExampleModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]], tmp_path: Path
) -> None:
    merged = model.merge([(0, 3)]).rename({0: "wet"})
    assert set(merged.names.values()) == {"wet", "road", "roof", "tree"}
    both = model.probabilities(blobs[0])[:, [0, 3]].sum(axis=1)
    of_both = merged.predict(blobs[0]) == 0
    assert merged.assign(blobs[0]).confidence[of_both] == pytest.approx(
        np.minimum(both[of_both], 1), abs=1e-5
    )
    merged.save(tmp_path / "merged.safetensors")
    again = ClassModel.load(tmp_path / "merged.safetensors")
    assert (again.predict(blobs[0]) == merged.predict(blobs[0])).all()
    assert isinstance(again, ExampleModel)
    assert set(again.named_examples().names.tolist()) == {"wet", "road", "roof", "tree"}


def test_classes_keep_their_ids_when_others_join(
    ground: ClassModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    examples = make_examples(*blobs, 5)
    model = learn_classes(ground, examples, everything(blobs[0]), ids={"tree": 0, "road": 4})
    assert model.names == {0: "tree", 1: "lake", 2: "roof", 3: "sand", 4: "road"}


def test_what_is_doubtful_or_far_away_is_unknown(
    model: ExampleModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    careful = model.rejecting(0.6)
    unknown = careful.unknown_
    assert careful.names[5] == "unknown"
    assert careful.colors[5] == "#808080"
    before, after = model.assign(blobs[0]), careful.assign(blobs[0])
    doubtful = before.confidence < 0.6
    assert (after.class_id[doubtful] == unknown).all()
    assert (after.confidence[after.class_id == unknown] == 0).all()
    sure = ~doubtful & (after.class_id != unknown)
    assert (after.class_id[sure] == before.class_id[sure]).all()
    assert (careful.predict(blobs[0] + 50) == unknown).all()
    assert careful.rejecting(0).names == model.names


def test_pseudo_classes_reject_what_lies_beyond_their_spread(
    ground: ClassModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]], tmp_path: Path
) -> None:
    careful = ground.rejecting(0.1)
    share = (careful.predict(blobs[0]) == careful.unknown_).mean()
    assert 0 < share < 0.03
    assert (careful.predict(blobs[0] + 50) == careful.unknown_).all()
    careful.save(tmp_path / "careful.safetensors")
    again = ClassModel.load(tmp_path / "careful.safetensors")
    assert (again.predict(blobs[0]) == careful.predict(blobs[0])).all()
    assert again.names == careful.names
    merged = careful.merge([(0, 8)])
    assert merged.unknown_ == 0
    assert (merged.predict(blobs[0] + 50) == 0).all()


def test_a_class_that_is_called_unknown_already_is_said(ground: ClassModel) -> None:
    with pytest.raises(SettingsError, match=r"class 2 is called 'unknown'.*another name"):
        ground.rename({2: "unknown"}).rejecting(0.5)


def test_segments_that_fit_no_example_keep_pseudo_classes(
    ground: ClassModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    rows, truth = blobs
    examples = make_examples(rows, truth, 10)
    two = examples.take(np.isin(examples.names, ["road", "roof"]))
    model = learn_classes(ground, two, everything(rows), keep_rest=True)
    found = named(model, rows)
    assert set(np.unique(found)) > {"road", "roof"}
    rest = ~np.isin(NAMES[truth], ["road", "roof"])
    assert np.isin(found[rest], ["road", "roof"]).mean() < 0.1
    assert (found[~rest] == NAMES[truth][~rest]).mean() > 0.8


def test_one_class_is_too_few_unless_the_rest_is_kept(
    ground: ClassModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    examples = make_examples(*blobs, 5)
    one = examples.take(examples.names == "road")
    with pytest.raises(SettingsError, match=r"only one class, 'road'.*two classes or more"):
        learn_classes(ground, one, everything(blobs[0]))
    kept = learn_classes(ground, one, everything(blobs[0]), keep_rest=True)
    assert "road" in set(named(kept, blobs[0]))


def test_examples_join_and_later_ones_of_a_segment_count(
    blobs: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    examples = make_examples(*blobs, 2)
    later = Examples(examples.features[:1], examples.area_px[:1], np.array(["pond"]))
    joined = examples.join(later)
    assert len(joined) == len(examples)
    assert joined.names[-1] == "pond"


def test_of_very_many_examples_small_classes_keep_all() -> None:
    names = np.array(["many"] * (MOST + 500) + ["few"] * 7)
    examples = Examples(np.zeros((len(names), 2), np.float32), np.ones(len(names), int), names)
    thin = examples.thin(0)
    assert len(thin) == MOST
    assert (thin.names == "few").sum() == 7


def test_a_scene_does_not_drift_from_itself_and_another_does(
    ground: ClassModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    blocks = (FeatureBlock("texture", ""),)

    def drift(features: NDArray[np.float32]) -> float:
        found = Drift(ground.spread_)
        for part in np.array_split(features, 3):
            found.add(ground.standardise(part))
        return found.by_block(ground.schema.names, blocks)["texture"]

    assert drift(blobs[0]) == pytest.approx(0, abs=0.01)
    assert 0.5 < drift(blobs[0] + 0.5 * ground.scale_.astype(np.float32)) < 6
    assert drift(blobs[0] + 3 * ground.scale_.astype(np.float32)) > DRIFT


def test_models_of_versions_that_knew_no_spread_reject_nothing(
    ground: ClassModel, blobs: tuple[NDArray[np.float32], NDArray[np.int64]], tmp_path: Path
) -> None:
    header, tensors = ground._content()
    del header["spread"], tensors["references"], tensors["moments"]
    classfile.write(tmp_path / "old.safetensors", header, tensors)
    old = ClassModel.load(tmp_path / "old.safetensors").rejecting(0.5)
    assert (old.predict(blobs[0]) == ground.predict(blobs[0])).all()
    old.save(tmp_path / "again.safetensors")
    found = Drift(old.spread_)
    found.add(old.standardise(blobs[0]))
    assert found.by_block(old.schema.names, old.schema.blocks) == {}


def test_columns_belong_to_the_block_whose_name_they_bear() -> None:
    blocks = (FeatureBlock("texture", ""), FeatureBlock("cnn", ""))
    names = ("lightness", "cnn.0", "cnn.1")
    assert columns_of("texture", names, blocks).tolist() == [True, False, False]
    assert columns_of("cnn", names, blocks).tolist() == [False, True, True]
