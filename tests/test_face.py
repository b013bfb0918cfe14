"""The Python face: what a user of rasterio, geopandas or scikit-learn types without a manual."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alps_geo import ClassModel, ModelError, SettingsError

# Classes, in the words of scikit-learn


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(at, 0.1, size=(200, 3)) for at in (0, 5, 10)])


def test_a_class_model_is_fitted_as_scikit_learn_fits(rows: np.ndarray) -> None:
    areas = np.full(len(rows), 100)
    model = ClassModel(n_classes=3, seed=0).fit(rows, sample_weight=areas)
    found = model.predict(rows)
    assert found.shape == (600,)
    assert sorted(np.bincount(found)) == [200, 200, 200]
    assert model.cluster_centers_.shape == (3, 3)
    assert model.n_iter_ >= 1


@pytest.mark.parametrize("cut", [[200], [0, 1, 599]])
def test_one_array_and_a_list_of_its_parts_give_the_same_classes(
    rows: np.ndarray, cut: list[int]
) -> None:
    areas = np.arange(len(rows)) + 1
    whole = ClassModel(3).fit(rows, sample_weight=areas)
    parts = ClassModel(3).fit(np.split(rows, cut), sample_weight=np.split(areas, cut))
    lists = ClassModel(3).fit(rows.tolist(), sample_weight=areas.tolist())
    for model in (parts, lists):
        assert model.cluster_centers_.tobytes() == whole.cluster_centers_.tobytes()


def test_a_model_of_plain_rows_is_saved_and_loaded_and_fits_no_mask_model(
    rows: np.ndarray, tmp_path: Path
) -> None:
    model = ClassModel(3, seed=4).fit(rows)
    model.save(tmp_path / "classes.safetensors")
    again = ClassModel.load(tmp_path)
    assert (again.predict(rows) == model.predict(rows)).all()
    assert (again.n_classes, again.seed) == (3, 4)
    with pytest.raises(ModelError, match="made with mask model '', not 'builtin'"):
        again.schema.require_model("builtin", "0" * 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_classes": 8.5}, "`n_classes` must be a whole number, not 8.5"),
        ({"n_classes": 1}, "`n_classes` must be from 2 to 65535, not 1"),
        ({"seed": "x"}, "`seed` must be a whole number, not 'x'"),
    ],
)
def test_a_class_model_checks_what_it_is_made_with(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        ClassModel(**options)  # type: ignore[arg-type]
