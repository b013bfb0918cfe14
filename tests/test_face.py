"""The Python face: what a user of rasterio, geopandas or scikit-learn types without a manual."""

from __future__ import annotations

import inspect
import io
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alps_geo
from alps_geo import AlpsGeoError, ClassModel, ModelError, RecordedProgress, Settings, SettingsError
from alps_geo.models.fake import FakeModel
from alps_geo.planning import choose
from alps_geo.progress import NoProgress, TextProgress, listening
from alps_geo.settings import all_settings, option_name

from .conftest import ROOT, SceneFactory, draw_landscape

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


# Options: what `help`, completion and type checkers know


RECIPES = [alps_geo.label, alps_geo.info]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
def test_signature_and_help_name_every_option_with_its_default(recipe: Callable[..., Any]) -> None:
    shown = inspect.signature(recipe).parameters
    text = inspect.getdoc(recipe) or ""
    for part, item in all_settings():
        name = option_name(item)
        if name != "model":
            assert shown[name].default == item.default, f"{part.name}.{item.name}"
            assert shown[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert f"\n{name} : " in text
    assert not [item for item in shown.values() if item.kind is item.VAR_KEYWORD]


def test_what_type_checkers_know_is_in_step_with_the_settings() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "--diff", "alps_geo/settings/options.py"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert checked.returncode == 0, f"run 'cog -r alps_geo/settings/options.py'\n{checked.stdout}"


def test_type_checkers_accept_good_calls_and_refuse_bad_ones(tmp_path: Path) -> None:
    calls = """
import numpy as np
from pathlib import Path
import alps_geo

alps_geo.label("a.tif", Path("out"), n_classes=8, aoi=Path("a.gpkg"), bands=[3, 2, 1])
alps_geo.label([Path("a.tif"), "b.tif"], "out", model="builtin", stretch="minmax")
alps_geo.info(Path("a.tif"), tile_size=512, progress=False)
alps_geo.label("a.tif", "out", n_clases=8)
alps_geo.label("a.tif", "out", n_classes="8")
alps_geo.info("a.tif", stretch="median")
"""
    (tmp_path / "calls.py").write_text(calls)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", str(tmp_path / "calls.py")],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    lines = re.findall(r"calls\.py:(\d+): error", found.stdout)
    assert lines == ["9", "10", "11"], found.stdout + found.stderr


def test_an_option_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"unknown setting 'n_clases'; known: bands, .*n_class"):
        alps_geo.label("scene.tif", tmp_path / "out", n_clases=8)  # type: ignore[call-arg]


def test_options_change_the_settings_that_are_given() -> None:
    settings = Settings.from_options(n_classes=9, tile_size=640)
    changed, own = choose(settings, "fake", {"tile_size": 512})
    assert own is None
    assert (changed.classes.n_classes, changed.tiles.size, changed.model.name) == (9, 512, "fake")
    assert settings.tiles.size == 640


def test_a_mask_model_of_ones_own_works_in_this_process_only(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    scene = make_scene(draw_landscape(80, 80))
    with pytest.raises(SettingsError, match="`workers` and `scheduler` need a mask model by its"):
        alps_geo.label(scene, tmp_path / "out", model=FakeModel(), workers=2)
    assert not (tmp_path / "out").exists()


# One preparation: `info` refuses what `label` refuses


@pytest.mark.parametrize(
    "options",
    [
        {"bands": (4, 3, 2)},
        {"aoi": "nowhere.gpkg"},
        {"classes": "nowhere"},
        {"classes": Path("nowhere")},
        {"checkpoint": "nowhere.pth"},
        {"model": "unheard-of"},
        {"n_classes": 8.5},
        {"nodata": 7},
        {"gsd": 0.0001},
    ],
    ids=str,
)
def test_info_refuses_what_label_refuses_in_the_same_words(
    make_scene: SceneFactory, tmp_path: Path, options: dict[str, Any]
) -> None:
    scene = make_scene(np.full((80, 80, 3), 7, np.uint8))
    told = []
    for recipe in (partial(alps_geo.info, scene), partial(alps_geo.label, scene, tmp_path / "o")):
        with pytest.raises(AlpsGeoError, match=r".") as caught:
            recipe(**options)
        told.append((type(caught.value), str(caught.value)))
    assert told[0] == told[1]


def test_info_tells_what_label_tells(make_scene: SceneFactory, tmp_path: Path) -> None:
    scene = make_scene(draw_landscape(80, 80), crs=None)
    heard = RecordedProgress(), RecordedProgress()
    plan = alps_geo.info(scene, model="fake", progress=heard[0])
    alps_geo.label(scene, tmp_path / "out", model="fake", n_classes=2, progress=heard[1])
    assert heard[0].messages == heard[1].messages
    assert list(plan.warnings) == heard[0].warnings == heard[1].warnings != []


# Progress


def test_progress_as_text_rewrites_its_line() -> None:
    stream = io.StringIO()
    shown = TextProgress(stream)
    shown.stage("tiles")
    shown.step(1, 12)
    shown.warning("look")
    shown.step(12, 12)
    shown.close()
    lines = [line.split("\r")[-1] for line in stream.getvalue().split("\n")]
    assert lines[0].rstrip() == "Warning: look"
    assert lines[1].startswith("tiles 12/12, 0 s")


@pytest.mark.parametrize(("wanted", "kind"), [(True, TextProgress), (False, NoProgress)])
def test_true_shows_progress_and_false_does_not(wanted: bool, kind: type) -> None:
    with listening(wanted) as told:
        assert type(told) is kind


@pytest.mark.parametrize("is_interactive", [True, False])
def test_progress_shows_by_default_where_somebody_sits(
    monkeypatch: pytest.MonkeyPatch, is_interactive: bool
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    if not is_interactive:
        monkeypatch.delattr(sys, "ps1")
    with listening(None) as told:
        assert isinstance(told, TextProgress) is is_interactive
