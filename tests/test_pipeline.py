"""The recipes end to end, with the fake and the built-in model, on files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from geopandas.testing import assert_geodataframe_equal
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.features import rasterize

import alps_geo
from alps_geo import Run
from alps_geo.classes import file as classfile
from alps_geo.classes.model import ClassModel
from alps_geo.cli.main import cli
from alps_geo.errors import (
    Cancelled,
    ModelError,
    OutsideSceneError,
    RunError,
    SceneError,
    SettingsError,
)
from alps_geo.evaluation.comparison import evaluate
from alps_geo.models.fake import FakeModel, draw_objects
from alps_geo.pipeline import classify, edit_classes, label
from alps_geo.progress import NoProgress, RecordedProgress
from alps_geo.run.folder import RunFolder
from alps_geo.settings import Settings

from .conftest import SceneFactory, draw_landscape
from .strategies import number_parts

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "n_classes": 4}


def read(path: Path) -> NDArray[np.generic]:
    with rasterio.open(path) as file:
        return file.read(1)


def draw_blocks(height: int = 300, width: int = 400) -> NDArray[np.int64]:
    rng = np.random.default_rng(3)
    scene = np.zeros((height, width), np.int64)
    for number in range(1, 40):
        row, col = rng.integers(0, height - 9), rng.integers(0, width - 9)
        scene[row : row + rng.integers(8, 90), col : col + rng.integers(8, 90)] = number * 41017
    return number_parts(scene)


def label_drawing(path: Path, out: Path, **options: object) -> Run:
    chosen = {"stretch": "none", "tile_size": 128, "overlap": 32, "n_classes": 3, **options}
    settings = Settings.from_options(**chosen)
    return label(path, out, settings=settings, model=FakeModel())


@pytest.fixture(scope="module")
def landscape_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """Label a drawn landscape once with the built-in model."""
    folder = tmp_path_factory.mktemp("landscape")
    scene = folder / "land.tif"
    pixels = draw_landscape(300, 400)
    with rasterio.open(
        scene, "w", driver="GTiff", count=3, height=300, width=400, dtype="uint8",
        crs="EPSG:32640", transform=rasterio.Affine(2, 0, 320000, 0, -2, 2780000),
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, 2, 0))
    return scene, label(scene, folder / "out", **SMALL)


def test_every_promised_file_is_there_and_on_the_scenes_grid(
    landscape_run: tuple[Path, Run],
) -> None:
    scene, outputs = landscape_run
    names = {path.name for path in outputs.folder.iterdir()}
    assert names == {
        "labels.tif", "labels.tif.aux.xml", "labels.qml", "labels.gpkg",
        "classes.safetensors", "run.json", "report.html", "run",
    }  # fmt: skip
    with rasterio.open(scene) as image, rasterio.open(outputs.label_paths[0]) as labels:
        assert (labels.crs, labels.transform, labels.shape) == (
            image.crs,
            image.transform,
            image.shape,
        )
        assert (labels.count, labels.dtypes, labels.nodata) == (1, ("uint8",), 255)


def test_rasterized_segments_give_back_the_label_map(landscape_run: tuple[Path, Run]) -> None:
    _, outputs = landscape_run
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    with rasterio.open(outputs.label_paths[0]) as file:
        shapes = zip(segments.geometry, segments.class_id, strict=True)
        painted = rasterize(shapes, file.shape, fill=255, transform=file.transform, dtype="uint8")
        assert (painted == file.read(1)).all()
    assert segments.geometry.is_valid.all()
    assert segments.geometry.area.sum() == pytest.approx(segments.geometry.union_all().area)


def test_areas_are_those_of_the_pixels_in_square_metres(
    landscape_run: tuple[Path, Run],
) -> None:
    _, outputs = landscape_run
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    assert segments.area_m2.to_numpy() == pytest.approx(4 * segments.area_px.to_numpy())
    labels = read(outputs.label_paths[0])
    counts = np.bincount(labels[labels < 255], minlength=4)
    assert segments.groupby("class_id").area_px.sum().to_dict() == dict(enumerate(counts))


def test_classes_are_numbered_by_area_and_follow_the_land_cover(
    landscape_run: tuple[Path, Run],
) -> None:
    _, outputs = landscape_run
    labels = read(outputs.label_paths[0])
    counts = np.bincount(labels[labels < 255], minlength=4)
    assert (np.diff(counts) <= 0).all()
    water = np.mgrid[:300, :400][1] > 300
    assert np.bincount(labels[water]).max() > 0.9 * np.count_nonzero(water)


def test_the_record_accounts_for_every_pixel(landscape_run: tuple[Path, Run]) -> None:
    _, outputs = landscape_run
    record = json.loads(outputs.record_path.read_text())
    coverage = record["scenes"][0]["coverage"]
    parts = [coverage[f"{name}_px"] for name in ("labelled", "no_mask", "gated", "outside")]
    assert sum(parts) == coverage["total_px"] == 300 * 400
    assert np.count_nonzero(read(outputs.label_paths[0]) != 255) == coverage["labelled_px"]
    assert {"tiles", "stitch", "paint", "classes", "raster"} <= record["seconds"].keys()


def test_the_same_command_again_finds_the_run_finished(
    landscape_run: tuple[Path, Run], progress: RecordedProgress
) -> None:
    scene, outputs = landscape_run
    before = outputs.record_path.read_bytes()
    assert label(scene, outputs.folder, progress=progress, **SMALL).folder == outputs.folder
    assert outputs.record_path.read_bytes() == before
    assert re.search("finished; nothing to do", progress.messages[-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [({"tile_size": 192}, "`tile_size` is 128 there, and 192 now"), ({"n_classes": 5}, "classify")],
    ids=["masks", "classes"],
)
def test_a_folder_with_another_run_is_refused_with_the_difference(
    landscape_run: tuple[Path, Run], change: dict[str, object], said: str
) -> None:
    scene, outputs = landscape_run
    with pytest.raises(RunError, match=said):
        label(scene, outputs.folder, **{**SMALL, **change})


def test_a_class_model_that_has_changed_does_not_pass_for_the_one_that_was_used(
    landscape_run: tuple[Path, Run],
    make_scene: SceneFactory,
    tmp_path: Path,
    progress: RecordedProgress,
) -> None:
    shutil.copytree(landscape_run[1].folder, tmp_path / "first")
    other = make_scene(draw_landscape(200, 250, seed=5), "other.tif")
    options = {**SMALL, "classes": str(tmp_path / "first")}
    out = tmp_path / "out"
    label(other, out, **options)
    edit_classes(tmp_path / "first", names={0: "sand"})
    with pytest.raises(RunError, match="has changed; use `classify"):
        label(other, out, **options)
    classify(out, classes=str(tmp_path / "first"))
    outputs = label(other, out, **options, progress=progress)
    assert re.search("finished; nothing to do", progress.messages[-1])
    assert ClassModel.load(outputs.class_path).names[0] == "sand"


class Removing(NoProgress):
    """Removes a file when the run is well under way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stage(self, name: str) -> None:
        if name == "stitch":
            self.path.unlink()


def test_a_class_model_that_vanishes_in_mid_run_has_been_read(
    landscape_run: tuple[Path, Run], make_scene: SceneFactory, tmp_path: Path
) -> None:
    model = Path(shutil.copy(landscape_run[1].class_path, tmp_path))
    checksum = classfile.checksum(model)
    other = make_scene(draw_landscape(200, 250, seed=5), "other.tif")
    options = {**SMALL, "classes": str(model), "progress": Removing(model)}
    outputs = label(other, tmp_path / "out", **options)
    assert json.loads(outputs.record_path.read_text())["class_model"] == checksum


@pytest.mark.parametrize("name", ["features.npy", "segments.parquet"])
@pytest.mark.parametrize("content", [b"", b"junk"], ids=["empty", "junk"])
def test_damaged_segments_are_named(
    landscape_run: tuple[Path, Run], tmp_path: Path, name: str, content: bytes
) -> None:
    shutil.copytree(landscape_run[1].folder, tmp_path / "out")
    (found,) = (tmp_path / "out" / "run").glob(f"*/{name}")
    found.write_bytes(content)
    with pytest.raises(RunError, match=r"missing or damaged .*; run `label\(\)` with `overwrite`"):
        classify(tmp_path / "out", n_classes=3)


def test_results_of_two_commands_are_not_compared(
    landscape_run: tuple[Path, Run], tmp_path: Path
) -> None:
    """What a command that was stopped in mid-writing leaves is of the one and of the other."""
    out = tmp_path / "out"
    shutil.copytree(landscape_run[1].folder, out)
    RunFolder(out).results_outdated = True
    for labels in (out, out / "labels.tif"):
        with pytest.raises(RunError, match=r"not all written.*give that command again first"):
            evaluate(labels, landscape_run[1].folder)
    listed = CliRunner().invoke(cli, ["classes", str(out)])
    assert listed.exit_code == 2
    assert "not all written" in listed.output
    classify(out, n_classes=3)
    evaluate(out, landscape_run[1].folder)


def test_a_class_model_gives_the_same_ids_there_and_back(
    landscape_run: tuple[Path, Run], make_scene: SceneFactory, tmp_path: Path
) -> None:
    scene, outputs = landscape_run
    other = make_scene(draw_landscape(200, 250, seed=5), "other.tif")
    there = label(other, tmp_path / "there", **SMALL, classes=str(outputs.folder))
    back = label(scene, tmp_path / "back", **SMALL, classes=str(there.class_path))
    assert there.class_path.read_bytes() == outputs.class_path.read_bytes()
    assert (read(back.label_paths[0]) == read(outputs.label_paths[0])).all()


def test_several_scenes_share_one_class_model(make_scene: SceneFactory, tmp_path: Path) -> None:
    scenes = [make_scene(draw_landscape(150, 200, seed), f"{seed}.tif") for seed in (1, 2)]
    outputs = label(scenes, tmp_path / "out", **SMALL)
    assert [path.name for path in outputs.label_paths] == ["1.labels.tif", "2.labels.tif"]
    first, second = (read(path) for path in outputs.label_paths)
    assert (first == second).mean() > 0.85  # the same land cover, with noise of its own


def test_scenes_of_one_name_get_files_of_their_own(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    scenes = [make_scene(draw_landscape(80, 90, 1), f"{folder}/x.tif") for folder in "ab"]
    outputs = label(scenes, tmp_path / "out", **SMALL)
    assert [path.name for path in outputs.label_paths] == ["x.labels.tif", "x_2.labels.tif"]


def test_scenes_whose_names_differ_only_in_case_get_files_of_their_own(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    # On Windows and macOS `X` and `x` are one folder, and one label raster.
    (tmp_path / "a").mkdir()
    scenes = [make_scene(draw_landscape(80, 90, 1), name) for name in ("x.tif", "a/X.tif")]
    outputs = label(scenes, tmp_path / "out", **SMALL)
    assert [path.name for path in outputs.label_paths] == ["x.labels.tif", "X_2.labels.tif"]


def test_paths_may_be_paths_in_every_call(make_scene: SceneFactory, tmp_path: Path) -> None:
    scene = make_scene(draw_landscape(120, 160))
    first = label(scene, tmp_path / "first", **SMALL)
    second = label(scene, tmp_path / "second", classes=tmp_path / "first", **SMALL)
    assert (read(first.label_paths[0]) == read(second.label_paths[0])).all()
    classify(tmp_path / "second", classes=first.class_path)
    record = json.loads(second.record_path.read_text())
    assert record["settings"]["classes"]["classes"] == str(first.class_path)


def test_no_number_of_classes_is_not_the_present_one(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    label(make_scene(draw_landscape(120, 160)), tmp_path / "out", **SMALL)
    with pytest.raises(SettingsError, match="from 2 to 65535, not 0"):
        classify(tmp_path / "out", n_classes=0)


def test_new_classes_need_no_mask_model_and_all_files_follow(
    make_scene: SceneFactory, tmp_path: Path, progress: RecordedProgress
) -> None:
    path = make_scene(draw_objects(draw_blocks()))
    outputs = label_drawing(path, tmp_path / "out", n_classes=5)
    before = (read(outputs.label_paths[0]) == 255).sum()
    classify(outputs.folder, n_classes=3, progress=progress)
    assert "tiles" not in progress.stages
    labels = read(outputs.label_paths[0])
    assert set(np.unique(labels)) == {0, 1, 2, 255}
    assert (labels == 255).sum() == before
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    assert set(segments.class_id) == {0, 1, 2}
    layers = geopandas.list_layers(outputs.package_paths[0]).name.tolist()
    assert [name for name in layers if name.startswith("class_")] == [
        "class_00", "class_01", "class_02",
    ]  # fmt: skip
    record = json.loads(outputs.record_path.read_text())
    assert len(record["classes"]) == 3 == record["settings"]["classes"]["n_classes"]


def test_classes_are_named_coloured_and_merged_with_stable_ids(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    path = make_scene(draw_objects(draw_blocks()))
    outputs = label_drawing(path, tmp_path / "out", n_classes=4)
    before = read(outputs.label_paths[0])
    edit_classes(
        outputs.folder, names={2: 'Straße "1/2" 🛣'}, colors={2: "#123456"}, merges=[(0, 3)]
    )
    after = read(outputs.label_paths[0])
    assert (after == np.where(before == 3, 0, before)).all()
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    assert set(segments[segments.class_id == 2].class_name) == {'Straße "1/2" 🛣'}
    with rasterio.open(outputs.label_paths[0]) as file:
        assert file.colormap(1)[2] == (0x12, 0x34, 0x56, 255)
    again = label(
        path, tmp_path / "again", model="fake", stretch="none", classes=str(outputs.folder)
    )
    assert 3 not in np.unique(read(again.label_paths[0]))


def test_kept_masks_have_whole_outlines_and_parents(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    class Nested(FakeModel):
        """Finds every object, and all objects of a tile together as one."""

        def segment(self, pixels, valid):
            from alps_geo.models.masks import Masks
            from alps_geo.scenes.spans import Spans

            masks, embedding = super().segment(pixels, valid)
            around = np.zeros((1, *valid.shape), bool)
            around[0, 10:40, 10:90] = True
            both = Spans.concatenate([masks.spans, Spans.from_bitmaps(around)])
            return Masks.from_spans(both), embedding

    scene = np.zeros((100, 100), np.int64)
    scene[20:30, 20:30], scene[20:30, 40:60], scene[60:80, 60:80] = 100, 200, 65280
    path = make_scene(draw_objects(scene))
    settings = Settings.from_options(
        stretch="none", n_classes=2, keep_masks=True, area_threshold=0.5
    )
    outputs = label(path, tmp_path / "out", settings=settings, model=Nested())
    masks = geopandas.read_file(outputs.package_paths[0], layer="masks").set_index("mask_id")
    assert sorted(masks.area_px) == [100, 200, 400, 30 * 80]
    whole = masks.area_px.idxmax()
    assert masks.geometry[whole].area == 4 * 30 * 80
    assert masks.parent_id[masks.area_px == 100].item() == whole
    assert masks.parent_id[masks.area_px == 400].item() == 0


def test_labels_do_not_depend_on_the_number_of_workers(
    landscape_run: tuple[Path, Run], tmp_path: Path
) -> None:
    scene, outputs = landscape_run
    other = label(scene, tmp_path / "out", **SMALL, workers=2)
    assert (read(other.label_paths[0]) == read(outputs.label_paths[0])).all()
    assert_geodataframe_equal(outputs.segments(), other.segments())


def test_a_cancelled_run_goes_on_with_the_tiles_it_has(
    landscape_run: tuple[Path, Run], tmp_path: Path, progress: RecordedProgress
) -> None:
    class Impatient(NoProgress):
        def step(self, done: int, total: int) -> None:
            if done == 5:
                raise Cancelled("enough")

    scene, outputs = landscape_run
    with pytest.raises(Cancelled, match="enough"):
        label(scene, tmp_path / "out", **SMALL, progress=Impatient())
    assert not (tmp_path / "out" / "labels.tif").exists()
    other = label(scene, tmp_path / "out", **SMALL, progress=progress)
    assert re.match("[5-9] of 20 tiles were finished before", progress.messages[-1])
    assert (read(other.label_paths[0]) == read(outputs.label_paths[0])).all()


def test_a_uniform_scene_is_a_valid_result_with_a_warning(
    make_scene: SceneFactory, tmp_path: Path, progress: RecordedProgress
) -> None:
    path = make_scene(np.full((90, 100, 3), 77, np.uint8))
    outputs = label(path, tmp_path / "out", **SMALL, progress=progress)
    assert (read(outputs.label_paths[0]) == 255).all()
    assert re.search("no segment was found", progress.warnings[-1])
    assert len(geopandas.read_file(outputs.package_paths[0], layer="segments")) == 0


def test_too_many_classes_are_refused_and_a_smaller_number_then_reuses_the_tiles(
    make_scene: SceneFactory, tmp_path: Path, progress: RecordedProgress
) -> None:
    scene = np.zeros((90, 100), np.int64)
    scene[10:30, 10:30], scene[40:60, 40:60] = 1, 70000
    path = make_scene(draw_objects(scene))
    with pytest.raises(SettingsError, match="`n_classes` is 16 but only 2 segments were found"):
        label_drawing(path, tmp_path / "out", n_classes=16)
    assert not (tmp_path / "out" / "labels.tif").exists()
    outputs = label_drawing(path, tmp_path / "out", n_classes=2)
    assert set(np.unique(read(outputs.label_paths[0]))) == {0, 1, 255}


def test_large_masks_are_gated_and_counted(make_scene: SceneFactory, tmp_path: Path) -> None:
    scene = np.zeros((100, 100), np.int64)
    scene[:40], scene[50:60, 50:60], scene[70:80, 20:30] = 1, 60000, 300
    path = make_scene(draw_objects(scene))
    outputs = label_drawing(path, tmp_path / "out", n_classes=2)
    coverage = json.loads(outputs.record_path.read_text())["scenes"][0]["coverage"]
    assert (coverage["gated_px"], coverage["labelled_px"]) == (4000, 200)


def test_geographic_scenes_have_geodesic_areas(make_scene: SceneFactory, tmp_path: Path) -> None:
    place = rasterio.Affine(0.001, 0, 55, 0, -0.001, 60)
    path = make_scene(draw_objects(draw_blocks()), crs="EPSG:4326", transform=place)
    outputs = label_drawing(path, tmp_path / "out")
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    geod = Geod(ellps="WGS84")
    expected = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in segments.geometry]
    assert segments.area_m2.to_numpy() == pytest.approx(expected, rel=1e-6)


def test_simplified_polygons_still_tile_the_plane(make_scene: SceneFactory, tmp_path: Path) -> None:
    path = make_scene(draw_landscape(150, 200))
    outputs = label(path, tmp_path / "out", **SMALL, simplify=2)
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    assert segments.geometry.is_valid.all()
    assert segments.geometry.area.sum() == pytest.approx(segments.geometry.union_all().area)


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        ("other model", ModelError, "was made with mask model 'fake', not 'builtin'"),
        ("missing", ModelError, "nowhere"),
    ],
)
def test_unfit_class_models_are_refused(
    make_scene: SceneFactory, tmp_path: Path, damage: str, error: type[Exception], said: str
) -> None:
    path = make_scene(draw_objects(draw_blocks()))
    outputs = label_drawing(path, tmp_path / "fake")
    classes = str(outputs.class_path) if damage == "other model" else str(tmp_path / "nowhere")
    with pytest.raises(error, match=said):
        label(path, tmp_path / "out", **SMALL, classes=classes)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_used_is_named(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    path = make_scene(draw_landscape(80, 90))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep me")
    with pytest.raises(RunError, match="holds files that are not a run"):
        label(path, tmp_path / "notes", **SMALL)
    with pytest.raises(RunError, match="is a file"):
        label(path, path, **SMALL)
    with pytest.raises(alps_geo.OutputError, match="cannot write"):
        label(path, path / "below", **SMALL)


def test_a_scene_named_twice_is_refused(make_scene: SceneFactory, tmp_path: Path) -> None:
    path = make_scene(draw_landscape(80, 90))
    with pytest.raises(SettingsError, match="named twice"):
        label([path, path], tmp_path / "out", **SMALL)
    with pytest.raises(SettingsError, match="named twice"):
        label([path, path.parent / ".." / path.parent.name / path.name], tmp_path, **SMALL)
    with pytest.raises(SceneError, match="missing"):
        label(tmp_path / "missing.tif", tmp_path / "out", **SMALL)


def test_the_same_area_in_another_file_is_the_same_run(
    tmp_path: Path, make_scene: SceneFactory
) -> None:
    # Programs that run alps-geo write areas to temporary files.
    scene = make_scene(draw_landscape(160, 200))
    with rasterio.open(scene) as file:
        left, bottom, _, top = file.bounds
    box = shapely.box(left, bottom, left + 200, top)
    areas = []
    for name in ("first", "second"):
        areas.append(tmp_path / f"{name}.gpkg")
        geopandas.GeoSeries([box], crs="EPSG:32640").to_file(areas[-1])
    label(str(scene), tmp_path / "out", aoi=str(areas[0]), **SMALL)
    listener = RecordedProgress()
    label(str(scene), tmp_path / "out", aoi=str(areas[1]), progress=listener, **SMALL)
    assert any("nothing to do" in text for text in listener.messages)


def test_an_area_that_touches_some_scenes_labels_those_and_says_so(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    for name, left in (("west", 320000), ("middle", 330000), ("east", 340000)):
        place = Affine(2, 0, left, 0, -2, 2780000)
        make_scene(draw_landscape(130, 140), f"{name}.tif", transform=place)
    paths = [str(tmp_path / f"{name}.tif") for name in ("west", "middle", "east")]
    area = shapely.box(320000, 2779800, 330200, 2780000)
    geopandas.GeoDataFrame(geometry=[area], crs=32640).to_file(tmp_path / "aoi.gpkg")
    listener = RecordedProgress()
    aoi = str(tmp_path / "aoi.gpkg")
    outputs = label(paths, tmp_path / "out", aoi=aoi, progress=listener, **SMALL)
    assert [path.name for path in outputs.label_paths] == ["west.labels.tif", "middle.labels.tif"]
    (warning,) = [text for text in listener.warnings if "left out" in text]
    assert "does not touch" in warning
    assert "aoi.gpkg" in warning
    assert "east.tif" in warning
    record = json.loads(outputs.record_path.read_text())
    assert [text for text in record["warnings"] if "east.tif" in text]


def test_an_area_that_touches_no_scene_is_refused(make_scene: SceneFactory, tmp_path: Path) -> None:
    paths = [str(make_scene(draw_landscape(130, 140), name)) for name in ("a.tif", "b.tif")]
    area = shapely.box(820000, 2779800, 830200, 2780000)
    geopandas.GeoDataFrame(geometry=[area], crs=32640).to_file(tmp_path / "aoi.gpkg")
    with pytest.raises(OutsideSceneError, match=r"does not touch .*a\.tif"):
        label(paths, tmp_path / "out", aoi=str(tmp_path / "aoi.gpkg"), **SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["label", "info", "evaluate"])
def test_a_local_grid_and_polygons_of_the_globe_are_one_line(
    command: str, make_scene: SceneFactory, tmp_path: Path
) -> None:
    local = 'LOCAL_CS["building site",UNIT["metre",1]]'
    scene = str(make_scene(np.ones((140, 140), np.uint8), crs=local))
    area = str(tmp_path / "area.gpkg")
    geopandas.GeoDataFrame({"kind": ["a"]}, geometry=[shapely.box(8, 47, 9, 48)], crs=4326).to_file(
        area
    )
    arguments = {
        "label": ["label", scene, "-o", str(tmp_path / "out"), "--aoi", area],
        "info": ["info", scene, "--aoi", area],
        "evaluate": ["evaluate", scene, area],
    }[command]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert "there is no transformation between its CRS" in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
