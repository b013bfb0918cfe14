"""Classes that are split, and merged after that; legends that come with the program."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alps_geo.classes import ClassModel
from alps_geo.classes import file as classfile
from alps_geo.classes.legend_tables import LEGENDS, match_legend, read_legend
from alps_geo.errors import ModelError, SettingsError

from .test_model import make_blobs, read_parts

VALUES, _ = make_blobs(400, noise=1.5)
AREAS = np.random.default_rng(0).integers(1, 500, len(VALUES))
MODEL = ClassModel(4, seed=0).fit(VALUES, sample_weight=AREAS)

MOVES = st.tuples(st.booleans(), st.integers(0, 99), st.integers(0, 99))


@settings(max_examples=15)
@given(moves=st.lists(MOVES, min_size=1, max_size=4))
def test_splits_and_merges_in_any_order_move_only_the_segments_they_name(
    moves: list[tuple[bool, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = MODEL
    for is_split, first, second in moves:
        before, ids = model.predict(VALUES), model.class_ids
        class_id, other = ids[first % len(ids)], ids[second % len(ids)]
        if is_split and np.count_nonzero(before == class_id) > 1:
            model = model.split(class_id, 2, VALUES, sample_weight=AREAS)
            (new,) = set(model.class_ids) - set(ids)
            after = model.predict(VALUES)
            assert set(after[before == class_id].tolist()) == {class_id, new}
            assert AREAS[after == class_id].sum() >= AREAS[after == new].sum()
            assert (after[before != class_id] == before[before != class_id]).all()
        elif class_id != other:
            model = model.merge([(class_id, other)])
            after = np.where(before == other, class_id, before)
            assert (model.predict(VALUES) == after).all()
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    model.save(path)
    again = ClassModel.load(path)
    found, kept = model.assign(VALUES), again.assign(VALUES)
    assert (found.class_id == kept.class_id).all()
    assert (found.confidence == kept.confidence).all()
    assert again.names == model.names
    assert again.colors == model.colors


def test_a_part_is_no_surer_than_its_class() -> None:
    parts = MODEL.split(0, 3, VALUES)
    before, after = MODEL.assign(VALUES), parts.assign(VALUES)
    assert (after.confidence <= before.confidence).all()
    assert (after.confidence == before.confidence)[before.class_id != 0].all()


def test_only_models_with_splits_need_a_newer_program(tmp_path: Path) -> None:
    for model, version in [(MODEL, 3), (MODEL.split(1, 2, VALUES), 4)]:
        model.save(tmp_path / "m.safetensors")
        assert read_parts(tmp_path / "m.safetensors")[0]["version"] == version


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("splits", [{"of": 1, "ids": [1, 4, 5], "merged": False}], "do not match"),
        ("splits", [{"of": 9, "ids": [1, 4], "merged": False}], "class 9 is split or merged"),
        ("splits", [{"of": 1, "ids": [4], "merged": False}], "less than two"),
        ("splits", [{"of": 1}], "'ids'"),
        ("size", 4, "an id of 4 or more"),
    ],
)
def test_splits_that_cannot_be_are_refused(
    tmp_path: Path, name: str, value: object, message: str
) -> None:
    path = tmp_path / "m.safetensors"
    MODEL.split(1, 2, VALUES).recolor({4: "#010203"}).save(path)
    header, tensors = read_parts(path)
    classfile.write(path, {**header, name: value}, tensors)
    with pytest.raises(ModelError, match=f"damaged .*{message}"):
        ClassModel.load(path)


def test_a_class_without_segments_cannot_be_split() -> None:
    with pytest.raises(SettingsError, match="class 2 cannot be split into 2: it has no segment"):
        MODEL.split(2, 2, VALUES[MODEL.predict(VALUES) != 2])


@pytest.mark.parametrize(("legend", "size"), [("corine", 44), ("osm", 37)])
def test_legends_that_come_along_are_whole(legend: str, size: int) -> None:
    entries = read_legend(legend)
    assert len(entries) == len({entry.code for entry in entries}) == size
    assert all(re.fullmatch("#[0-9a-f]{6}", entry.color) for entry in entries)
    assert all(entry.uri.startswith("http") and entry.name for entry in entries)
    assert legend in LEGENDS
    names = dict(enumerate(entry.name for entry in entries[:4]))
    found = match_legend(MODEL.rename(names).legend_, entries)
    assert [found[place].code for place in range(4)] == [entry.code for entry in entries[:4]]
