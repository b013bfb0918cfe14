"""The Python face: what a user of rasterio, geopandas or scikit-learn types without a manual."""

from __future__ import annotations

import base64
import doctest
import importlib
import inspect
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from geopandas.testing import assert_geodataframe_equal
from PIL import Image
from rasterio.windows import Window

import alps_geo
from alps_geo import (
    AlpsGeoError,
    ClassModel,
    ModelError,
    RecordedProgress,
    RunError,
    SceneError,
    Settings,
    SettingsError,
)
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


# A run and its results

COLUMNS = [
    *("segment_id", "class_id", "class_name", "area_m2", "area_px"),
    *("predicted_iou", "stability", "confidence", "geometry"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("face")


def write_scene(path: Path, seed: int, crs: str | None = "EPSG:32640") -> Path:
    bands = np.moveaxis(draw_landscape(90, 110, seed), 2, 0)
    place = {"crs": crs, "transform": Affine(2, 0, 320000, 0, -2, 2780000)}
    shape = {"count": 3, "height": 90, "width": 110, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **place, **shape) as file:
        file.write(bands)
    return path


@pytest.fixture(scope="module")
def single(folder: Path) -> alps_geo.Run:
    scene = write_scene(folder / "land.tif", 1)
    return alps_geo.label(scene, folder / "single", model="fake", n_classes=3)


@pytest.fixture(scope="module")
def pair(folder: Path) -> alps_geo.Run:
    scenes = [write_scene(folder / f"{name}.tif", seed) for seed, name in enumerate("ab")]
    return alps_geo.label(scenes, folder / "pair", model="fake", n_classes=3)


def test_segments_are_those_of_the_layer(single: alps_geo.Run) -> None:
    segments = single.segments()
    assert isinstance(segments, geopandas.GeoDataFrame)
    assert list(segments.columns) == COLUMNS
    layer = geopandas.read_file(single.package_paths[0], layer="segments")
    assert_geodataframe_equal(segments, layer)
    assert segments.crs.to_epsg() == 32640
    assert_geodataframe_equal(single.segments("land"), segments)


def test_segments_of_several_scenes_say_of_which(pair: alps_geo.Run) -> None:
    assert pair.scenes == ("a", "b")
    everything = pair.segments()
    assert isinstance(everything, geopandas.GeoDataFrame)
    assert list(everything.columns) == ["scene", *COLUMNS]
    assert everything.crs.to_epsg() == 32640
    for name in pair.scenes:
        own = everything[everything.scene == name].drop(columns="scene").reset_index(drop=True)
        assert_geodataframe_equal(own, pair.segments(name))


def test_labels_are_an_array_with_its_place(single: alps_geo.Run) -> None:
    labels, transform, crs = single.labels()
    with rasterio.open(single.label_paths[0]) as file:
        assert (labels == file.read(1)).all()
        assert (transform, crs) == (file.transform, file.crs)
    masked, _, _ = single.labels(masked=True)
    assert (masked.mask == (labels == 255)).all()


@pytest.mark.parametrize("window", [Window(20, 10, 30, 40), ((10, 50), (20, 50))], ids=str)
def test_a_window_of_labels_has_its_own_transform(single: alps_geo.Run, window: Any) -> None:
    whole, transform, _ = single.labels()
    part, place, _ = single.labels(window=window)
    assert (part == whole[10:50, 20:50]).all()
    assert place == transform * Affine.translation(20, 10)


@pytest.mark.parametrize("window", [Window(-1, 0, 5, 5), Window(0, 86, 5, 5), ((0, 1), (0, 111))])
def test_a_window_outside_of_the_labels_is_refused(single: alps_geo.Run, window: Any) -> None:
    with pytest.raises(RunError, match=r"is not inside of .*labels.tif, which has 90 rows and 110"):
        single.labels(window=window)


def test_one_of_several_scenes_must_be_named(pair: alps_geo.Run) -> None:
    assert pair.labels("b")[0].shape == (90, 110)
    with pytest.raises(RunError, match="has several scenes; choose one with `scene`: a, b"):
        pair.labels()
    for read in (pair.labels, pair.segments):
        with pytest.raises(RunError, match="has no scene 'c'; it has a, b"):
            read("c")


def test_segments_of_scenes_in_different_crs_are_not_mixed(folder: Path) -> None:
    scenes = [
        write_scene(folder / f"{code}.tif", seed, f"EPSG:{code}")
        for seed, code in enumerate((32640, 32639))
    ]
    run = alps_geo.label(scenes, folder / "zones", model="fake", n_classes=3)
    with pytest.raises(RunError, match="different CRSs; choose one with `scene`: 32640, 32639"):
        run.segments()
    assert run.segments("32639").crs.to_epsg() == 32639


def test_a_scene_without_a_crs_has_segments_without_one(folder: Path) -> None:
    scene = write_scene(folder / "nowhere.tif", 1, None)
    run = alps_geo.label(scene, folder / "nowhere", model="fake", n_classes=3)
    assert run.labels()[2] is None
    assert run.segments().crs is None
    assert run.segments().area_m2.isna().all()


def test_classes_are_a_table_with_what_they_cover(pair: alps_geo.Run) -> None:
    classes = pair.classes
    assert list(classes.columns) == ["name", "color", "segments", "area_px", "share"]
    assert classes.index.name == "id"
    segments = pair.segments()
    counted = segments.groupby("class_id").agg(number=("area_px", "size"), area=("area_px", "sum"))
    assert classes.segments.tolist() == counted.number.tolist()
    assert classes.area_px.tolist() == counted.area.tolist()
    assert classes.share.sum() == pytest.approx(1)


def test_a_run_stands_for_its_folder_everywhere(
    single: alps_geo.Run, folder: Path, tmp_path: Path
) -> None:
    assert Path(single) == folder / "single"
    run = alps_geo.open(shutil.copytree(single, tmp_path / "copy"))
    assert alps_geo.classify(run, n_classes=2).classes.index.tolist() == [0, 1]
    alps_geo.edit_classes(run, names={1: "road"})
    assert run.classes.name[1] == "road"
    assert alps_geo.classify(run, classes=single).classes.name[0] == single.classes.name[0]
    assert ClassModel.load(run).n_classes == 3
    again = alps_geo.label(folder / "land.tif", tmp_path / "other", model="fake", classes=run)
    assert again.classes.name.tolist() == run.classes.name.tolist()


def test_a_run_is_found_again_as_it_was_left(pair: alps_geo.Run) -> None:
    again = alps_geo.open(str(pair.folder))
    assert (again.scenes, again.folder) == (pair.scenes, pair.folder)
    assert again.label_paths == pair.label_paths
    assert again.record == pair.record
    assert_geodataframe_equal(again.segments(), pair.segments())


def test_what_is_no_finished_run_is_not_opened(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"holds no finished run: run `label\(\)` to its end"):
            alps_geo.open(place)


def damage(path: Path) -> None:
    path.write_bytes(b"no such format")


@pytest.mark.parametrize("break_it", [Path.unlink, damage], ids=["missing", "damaged"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("labels.tif", lambda run: run.labels()),
        ("labels.gpkg", lambda run: run.segments()),
        ("labels.gpkg", lambda run: run.classes),
    ],
    ids=["labels", "segments", "classes"],
)
def test_a_missing_or_damaged_result_is_one_line(
    single: alps_geo.Run,
    tmp_path: Path,
    name: str,
    read: Callable[[alps_geo.Run], object],
    break_it: Callable[[Path], None],
) -> None:
    run = alps_geo.open(shutil.copytree(single, tmp_path / "out"))
    break_it(run.folder / name)
    with pytest.raises(RunError, match=rf"{name} cannot be read: .*; run `classify\(\)` again$"):
        read(run)
    assert "cannot be read" in run._repr_html_() or name != "labels.gpkg"


def test_results_that_were_not_all_written_are_not_read(
    single: alps_geo.Run, tmp_path: Path
) -> None:
    run = alps_geo.open(shutil.copytree(single, tmp_path / "out"))
    (run.folder / "run" / "results-outdated").touch()
    for read in (run.labels, run.segments, lambda: run.classes):
        with pytest.raises(RunError, match="were not all written"):
            read()


def test_a_run_says_in_one_line_what_it_is(pair: alps_geo.Run, folder: Path) -> None:
    assert repr(pair) == f"<Run {str(folder / 'pair')!r}: a, b>"


def test_notebooks_show_pictures_classes_and_coverage(single: alps_geo.Run, tmp_path: Path) -> None:
    run = alps_geo.open(shutil.copytree(single, tmp_path / "out"))
    alps_geo.edit_classes(run, names={1: "<b>roads & roofs"})
    shown = run._repr_html_()
    assert "&lt;b&gt;roads &amp; roofs" in shown
    assert "<b>roads" not in shown
    assert re.search(r"[\d.]+% of 9,900 pixels labelled", shown)
    (picture,) = re.findall(r"src='data:image/png;base64,([^']+)'", shown)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
    labels, colors = run.labels()[0], run.classes.color
    assert pixels.shape == (90, 110, 4)
    assert (pixels[..., 3] > 0).tolist() == (labels != 255).tolist()
    here = np.argwhere(labels == 1)[0]
    assert tuple(pixels[tuple(here)][:3]) == tuple(bytes.fromhex(colors[1][1:]))


# Comparing, and arrays in memory


def test_evaluate_takes_runs_and_paths(single: alps_geo.Run, pair: alps_geo.Run) -> None:
    found = alps_geo.evaluate(single, single.label_paths[0])
    assert isinstance(found, alps_geo.Evaluation)
    assert found.measures["miou"] == pytest.approx(1)
    assert alps_geo.evaluate(str(pair.folder), pair).measures["ari"] == pytest.approx(1)


def test_evaluate_stays_a_function_whatever_is_imported() -> None:
    importlib.import_module("alps_geo.evaluation.comparison")
    assert alps_geo.evaluate.__module__ == "alps_geo.evaluation.comparison"
    assert inspect.isfunction(alps_geo.evaluate)


PLACE = Affine(2, 0, 320000, 0, -2, 2780000)


def as_bands(seed: int = 1, height: int = 90, width: int = 110) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(draw_landscape(height, width, seed), 2, 0))


@pytest.mark.parametrize(("height", "width"), [(90, 110), (31, 40), (300, 70)])
def test_an_array_gives_the_segments_of_its_file_in_one_tile(
    make_scene: SceneFactory, tmp_path: Path, height: int, width: int
) -> None:
    pixels = draw_landscape(height, width, 1)
    options: dict[str, Any] = {"model": "builtin", "n_classes": 2}
    found = alps_geo.segment(
        np.moveaxis(pixels, 2, 0), transform=PLACE, crs="EPSG:32640", **options
    )
    run = alps_geo.label(make_scene(pixels), tmp_path / "out", tile_size=512, overlap=0, **options)
    assert list(found.columns) == COLUMNS
    assert_geodataframe_equal(found, run.segments())


def test_an_array_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alps_geo.segment(as_bands(), model="fake", n_classes=2)
    with pytest.raises(SettingsError, match="`n_classes` is 500 but only"):
        alps_geo.segment(as_bands(), model="fake", n_classes=500)
    assert list(tmp_path.iterdir()) == []


def test_an_array_without_a_place_is_in_pixels() -> None:
    found = alps_geo.segment(as_bands(), model="fake", n_classes=2)
    assert found.crs is None
    assert found.area_m2.isna().all()
    left, low, right, high = found.total_bounds
    assert (right - left, high - low) == (110, 90)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
def test_an_array_of_any_dtype_and_one_band_can_be_segmented(dtype: str) -> None:
    found = alps_geo.segment(as_bands()[0].astype(dtype), model="fake", n_classes=2)
    assert found.area_px.sum() > 0


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_what_is_masked_in_an_array_has_no_segments(kind: type) -> None:
    bands = np.ma.masked_array(as_bands().astype(kind), mask=False)
    bands[:, :45] = np.ma.masked
    found = alps_geo.segment(bands, transform=PLACE, crs=32640, model="fake", n_classes=2)
    assert found.total_bounds[3] <= 2780000 - 2 * 45


def test_four_bands_of_bytes_have_no_alpha() -> None:
    bands = np.concatenate([as_bands(), np.zeros((1, 90, 110), np.uint8)])
    found = alps_geo.segment(bands, model="fake", n_classes=2, bands=[1, 2, 3])
    assert_geodataframe_equal(found, alps_geo.segment(as_bands(), model="fake", n_classes=2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2049, 10)), "one tile of at most 2048 x 2048 pixels, and this one has 2049"),
        (np.zeros((90, 110, 3)), r"bands first: .* not \(90, 110, 3\); turn it with numpy"),
        (np.zeros(5), r"must have shape \(bands, height, width\) or \(height, width\), not \(5,\)"),
        (np.zeros((0, 5, 5)), r"not \(0, 5, 5\)"),
        (np.full((3, 9, 9), "a"), "an array must hold numbers, not <U1"),
        (np.full((3, 9, 9), None), "an array must hold numbers, not object"),
    ],
)
def test_an_array_that_cannot_be_a_scene_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        alps_geo.segment(array, model="fake")


def test_a_crs_that_there_is_not_is_one_line() -> None:
    with pytest.raises(SceneError, match=r"no CRS 'EPSG:1': .*; give one such as EPSG:32633$"):
        alps_geo.segment(as_bands(), crs="EPSG:1", model="fake")


def test_an_xarray_brings_its_place_its_crs_and_its_nodata() -> None:
    rioxarray = pytest.importorskip("rioxarray")
    xarray = pytest.importorskip("xarray")
    assert rioxarray
    bands = as_bands()
    bands[:, :, 60:] = 0
    rows = 2780000 - 2 * (np.arange(90) + 0.5)
    cols = 320000 + 2 * (np.arange(110) + 0.5)
    scene = xarray.DataArray(bands, dims=("band", "y", "x"), coords={"y": rows, "x": cols})
    scene = scene.rio.write_crs(32640).rio.write_nodata(0)
    found = alps_geo.segment(scene, model="fake", n_classes=2)
    options: dict[str, Any] = {"model": "fake", "n_classes": 2, "nodata": 0}
    plain = alps_geo.segment(bands, transform=PLACE, crs=32640, **options)
    assert_geodataframe_equal(found, plain)
    assert found.total_bounds[2] <= 320000 + 2 * 60
    turned = alps_geo.segment(scene.transpose("y", "x", "band"), model="fake", n_classes=2)
    assert_geodataframe_equal(turned, found)


# The page of the docs, and notebooks


def snippets() -> str:
    """Return docs/python.md without the fences of its snippets, which doctest would take along."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    return re.sub(r"^```.*$", "", text, flags=re.MULTILINE)


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the folder of examples, which is the working directory then."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    return tmp_path / "examples"


@pytest.mark.slow
def test_the_snippets_of_the_docs_do_what_they_say(examples: Path) -> None:
    parsed = doctest.DocTestParser().get_doctest(snippets(), {}, "docs/python.md", None, 0)
    told: list[str] = []
    result = doctest.DocTestRunner().run(parsed, out=told.append)
    assert result.failed == 0, "".join(told)
    assert result.attempted > 30


@pytest.mark.slow
def test_in_a_notebook_progress_shows_and_a_run_is_rich(examples: Path) -> None:
    pytest.importorskip("ipykernel", reason="a notebook needs a kernel: pip install ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient")
    nbformat = pytest.importorskip("nbformat")
    cells = [
        'import alps_geo\nrun = alps_geo.label("dubai.tif", "out", model="builtin", n_classes=6)',
        "run",
        "run.segments().head()",
        "from IPython.core.completer import provisionalcompleter\n"
        "with provisionalcompleter():\n"
        '    found = [*get_ipython().Completer.completions("alps_geo.label(n_cl", 19)]\n'
        "found",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    labelled, run, segments, completed = (cell.outputs for cell in notebook.cells)
    text = "".join(output.text for output in labelled if output.output_type == "stream")
    assert re.search(r"tiles 4/4, \d+ s", text)
    assert "<img alt='labels.tif' src='data:image/png;base64," in run[0].data["text/html"]
    assert run[0].data["text/plain"] == "<Run 'out': dubai>"
    assert "class_00" in segments[0].data["text/html"]
    assert "n_classes=" in completed[0].data["text/plain"]


@pytest.mark.parametrize("name", sorted(set(alps_geo.__all__)))
def test_every_public_name_is_documented_with_its_parameters(name: str) -> None:
    thing = getattr(alps_geo, name)
    text = inspect.getdoc(thing) or ""
    assert text, name
    if inspect.isfunction(thing):
        assert "Parameters\n----------" in text
        assert "Returns\n-------" in text
        assert "Raises\n------" in text
        assert "Examples\n--------" in text
        for parameter in inspect.signature(thing).parameters:
            assert re.search(rf"(^|, ){parameter}(, \w+)* : ", text, re.MULTILINE), parameter
