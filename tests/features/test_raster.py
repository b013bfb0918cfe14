"""Rasters as features: means over their cells, exact, whatever grid and CRS they have."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

import alps_geo
from alps_geo.errors import ModelError, RunError, SceneError, SettingsError
from alps_geo.features.raster import RasterSource, open_source
from alps_geo.features.sources import TileView
from alps_geo.models.builtin.model import BuiltinModel
from alps_geo.models.masks import Embedding
from alps_geo.progress import RecordedProgress
from alps_geo.scenes.grid import Window
from alps_geo.scenes.scene import Scene, open_scene
from alps_geo.scenes.spans import Spans
from alps_geo.scenes.stretch import Stretch
from alps_geo.settings import FEATURES, ModelSettings, SceneSettings
from alps_geo.settings.features import split_features, split_raster

SceneFactory = Callable[..., Path]
NOTHING = Embedding(np.zeros((0, 1, 1), np.float32), 1, (), np.zeros(0, np.float32))
WHOLE = Stretch("none", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
PLACE = Affine(2, 0, 320000, 0, -2, 2780000)


def view(scene: Scene, window: Window) -> TileView:
    """Return what a source sees of a window."""
    pixels, valid = scene.with_stretch(WHOLE).read(window)
    return TileView(scene, window, pixels, valid, NOTHING)


def make_masks(shape: tuple[int, int], count: int = 6, seed: int = 0) -> NDArray[np.bool_]:
    """Return masks that overlap, full of holes."""
    rng = np.random.default_rng(seed)
    pictures = rng.random((count, *shape)) < rng.random((count, 1, 1))
    pictures[0] = True
    pictures[:, 0, 0] = True
    return pictures


def overlaps(edges: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Return how much of each cell lies between neighbouring edges, shape (n - 1, cells)."""
    low, high = np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:])
    number = np.arange(cells)
    return np.maximum(np.minimum(high[:, None], number + 1) - np.maximum(low[:, None], number), 0)


def test_an_embedding_is_pooled_as_by_brute_force(
    shared_data: Path, tmp_path: Path, progress: RecordedProgress
) -> None:
    scene = open_scene(str(shared_data / "dubai_tile5" / "image.tif"), SceneSettings())
    window = Window(1700, 1900, 192, 224)
    # As AlphaEarth's: int8, 64 bands, 10 m, rows from south to north, with gaps.
    rng = np.random.default_rng(0)
    numbers = rng.integers(-127, 128, (64, 26, 29)).astype(np.int8)
    numbers[:, rng.random((26, 29)) < 0.1] = -128
    west, south = scene.grid.transform * (window.col - 17.3, window.row_stop + 21.7)
    plain, path = tmp_path / "plain.tif", tmp_path / "embedding.tif"
    with rasterio.open(
        plain, "w", driver="GTiff", count=64, height=26, width=29, dtype="int8", nodata=-128,
        crs="EPSG:32640", transform=Affine(10, 0, west, 0, 10, south),
    ) as file:  # fmt: skip
        file.write(numbers)
    rasterio.shutil.copy(plain, path, driver="COG")

    tile = view(scene, window)
    masks, _ = BuiltinModel().segment(tile.pixels, tile.valid)
    source = open_source("", str(path))
    source.lay_over(scene, progress)
    found = source.describe(tile, masks.spans)

    assert "AlphaEarth" in progress.messages[0]
    step = scene.grid.transform.a
    cols = (np.arange(window.width + 1) + 17.3) * step / 10
    rows = (window.height + 21.7 - np.arange(window.height + 1)) * step / 10
    down, across = overlaps(rows, 26), overlaps(cols, 29)
    values = np.sign(numbers.astype(float)) * (numbers / 127.5) ** 2
    known = numbers != -128
    assert len(masks.spans) > 15
    for index in range(len(masks.spans)):
        weights = down.T @ masks.spans.bitmap(index, *tile.valid.shape) @ across
        expected = (weights * np.where(known, values, 0)).sum((1, 2)) / (weights * known).sum(
            (1, 2)
        )
        assert found.values[index] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32639"])
def test_a_raster_in_another_crs_is_pooled_as_by_brute_force(
    crs: str, make_scene: SceneFactory
) -> None:
    shape, grid = (12, 15), (20, 22)
    scene = open_scene(str(make_scene(np.full((*shape, 3), 9, np.uint8))), SceneSettings())
    ends = np.array(np.meshgrid([0.0, 15], [0.0, 12])).reshape(2, -1) * [[2], [-2]]
    bring = Transformer.from_crs("EPSG:32640", crs, always_xy=True).transform
    x, y = bring(320000 + ends[0], 2780000 + ends[1])
    cell = np.ptp(x) / 17, np.ptp(y) / 15
    place = Affine(cell[0], 0, x.min() - 2.2 * cell[0], 0, -cell[1], y.max() + 1.7 * cell[1])
    values = np.random.default_rng(1).normal(size=(*grid, 1)).astype(np.float32)
    path = make_scene(values, "other.tif", crs=crs, transform=place)
    pictures = make_masks(shape)
    found = open_source("", str(path)).describe(
        view(scene, scene.grid.window), Spans.from_bitmaps(pictures)
    )
    cells = shapely.box(*np.mgrid[0:22, 0:20], *np.mgrid[1:23, 1:21]).T
    for picture, mean in zip(pictures, found.values, strict=True):
        rows, cols = np.nonzero(picture)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        points = np.stack([cols, rows], axis=1)[:, None] + corners
        ground = bring(320000 + 2.0 * points[..., 0], 2780000 - 2.0 * points[..., 1])
        pixels = shapely.polygons(np.stack(~place * ground, axis=-1))
        share = shapely.area(shapely.intersection(pixels[:, None, None], cells)).sum(axis=0)
        assert mean[0] == pytest.approx((share * values[..., 0]).sum() / share.sum(), abs=1e-5)


def make_source(path: Path) -> RasterSource:
    """Open a raster under a name of its own."""
    return open_source("other", str(path))


def test_gaps_count_for_nothing_and_masks_in_them_get_the_usual_value(
    make_scene: SceneFactory, progress: RecordedProgress
) -> None:
    scene = open_scene(str(make_scene(np.full((8, 8, 3), 9, np.uint8))), SceneSettings())
    values = np.full((8, 4, 2), 5, np.float32)
    values[:4, :, 0] = -9999
    values[4:, 2:, 0] = 7
    values[5, 1, 1] = np.nan
    source = make_source(make_scene(values, "heights.tif", nodata=-9999, transform=PLACE))
    source.lay_over(scene, progress)
    assert any("covers about" in text and "heights.tif" in text for text in progress.warnings)
    pictures = np.zeros((4, 8, 8), bool)
    pictures[0, 2:6, :2] = True  # half of it in a gap of the first band
    pictures[1, :3, :3] = True  # all of it
    pictures[2, :, 5:] = True  # beyond the raster
    pictures[3, 5, :] = True  # crosses its border, and a gap of the second band
    found = source.describe(view(scene, scene.grid.window), Spans.from_bitmaps(pictures))
    assert found.names == ("band_1", "band_2")
    assert found.values == pytest.approx(np.array([[5, 5], [6, 5], [6, 5], [19 / 3 - 1 / 3, 5]]))


def test_a_mask_has_the_same_row_in_every_tile_that_sees_it_whole(make_scene: SceneFactory) -> None:
    scene = open_scene(str(make_scene(np.full((60, 60, 3), 9, np.uint8))), SceneSettings())
    rng = np.random.default_rng(0)
    turned = PLACE * Affine.rotation(20) * Affine.scale(1.3) * Affine.translation(-20, -20)
    source = make_source(make_scene(rng.normal(size=(80, 90, 5)), "o.tif", transform=turned))
    picture = np.zeros((1, 60, 60), bool)
    picture[0, 20:40, 20:40] = rng.random((20, 20)) < 0.5
    rows = []
    for window in (Window(0, 0, 60, 60), Window(10, 0, 40, 41), Window(19, 20, 41, 40)):
        spans = Spans.from_bitmaps(picture).clip(window).shift(-window.row, -window.col)
        rows.append(source.describe(view(scene, window), spans).values)
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


def test_heights_are_scaled_as_the_file_says_and_bands_go_by_their_descriptions(
    make_scene: SceneFactory,
) -> None:
    scene = open_scene(str(make_scene(np.full((4, 4, 3), 9, np.uint8))), SceneSettings())
    path = make_scene(np.full((4, 4, 2), 100, np.int16), "dsm.tif")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.descriptions = (0.1, 1), (-3, 0), ("height", "slope")
    found = make_source(path).describe(
        view(scene, scene.grid.window), Spans.from_bitmaps(np.ones((1, 4, 4), bool))
    )
    assert found.names == ("height", "slope")
    assert found.values == pytest.approx(np.array([[7, 100]]))


def test_a_raster_across_180_degrees_is_found_on_either_side(make_scene: SceneFactory) -> None:
    far = Affine(0.001, 0, 179.99, 0, -0.001, 10)
    scene = open_scene(
        str(make_scene(np.full((10, 20, 3), 9, np.uint8), crs="EPSG:4326", transform=far)),
        SceneSettings(),
    )
    values = np.arange(200, dtype=np.float32).reshape(10, 20, 1)
    path = make_scene(values, "o.tif", crs="EPSG:4326", transform=Affine.translation(-360, 0) * far)
    pictures = make_masks((10, 20))
    found = make_source(path).describe(view(scene, scene.grid.window), Spans.from_bitmaps(pictures))
    expected = [values[picture].mean() for picture in pictures]
    assert found.values[:, 0] == pytest.approx(expected, rel=1e-5)


def test_a_raster_of_another_place_or_without_a_crs_is_refused(
    make_scene: SceneFactory, progress: RecordedProgress
) -> None:
    scene = open_scene(str(make_scene(np.full((4, 4, 3), 9, np.uint8))), SceneSettings())
    flat = np.ones((4, 4, 1), np.float32)
    far = make_source(make_scene(flat, "far.tif", transform=Affine.translation(9e3, 0) * PLACE))
    with pytest.raises(SceneError, match=r"far\.tif: covers nothing of .*scene\.tif"):
        far.lay_over(scene, progress)
    with pytest.raises(SceneError, match=r"bare\.tif: the raster of features has no CRS"):
        make_source(make_scene(flat, "bare.tif", crs=None)).lay_over(scene, progress)


def test_the_checksum_is_that_of_what_is_measured_and_the_content_that_of_the_place(
    make_scene: SceneFactory,
) -> None:
    one = make_source(make_scene(np.ones((4, 4, 1), np.float32), "a.tif"))
    other = make_source(make_scene(np.zeros((5, 5, 1), np.float32), "b.tif"))
    more = make_source(make_scene(np.ones((4, 4, 2), np.float32), "c.tif"))
    assert one.checksum == other.checksum != more.checksum
    assert one.content != other.content
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(pickle.loads(pickle.dumps(one))) == hash(one)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("auto", ("auto",)),
        ("texture+cnn", ("texture", "cnn")),
        ("texture+raster:dem.tif", ("texture", "raster:dem.tif")),
        (r"auto+raster:C:\a+b\dem.tif+cnn", ("auto", r"raster:C:\a+b\dem.tif", "cnn")),
        ("raster:a+cnn.tif+raster:b.tif", ("raster:a+cnn.tif", "raster:b.tif")),
        ("raster:https://x/y+z.tif?a=b+c", ("raster:https://x/y+z.tif?a=b+c",)),
    ],
)
def test_paths_may_have_plus_signs_and_colons(text: str, blocks: tuple[str, ...]) -> None:
    assert split_features(text, FEATURES) == blocks
    assert ModelSettings(features=text).features == text


@pytest.mark.parametrize(
    ("block", "name", "path"),
    [
        ("raster:dem.tif", "", "dem.tif"),
        ("raster:dem=x/y=z.tif", "dem", "x/y=z.tif"),
        (r"raster:C:\y=z.tif", "", r"C:\y=z.tif"),
        ("raster:https://x/y.tif?a=b", "", "https://x/y.tif?a=b"),
        ('raster:NETCDF:"a.nc":b', "", 'NETCDF:"a.nc":b'),
    ],
)
def test_a_raster_may_be_given_a_name(block: str, name: str, path: str) -> None:
    assert split_raster(block) == (name, path)


@pytest.mark.parametrize("text", ["raster:", "raster:a.tif+raster:a.tif", "texture+", "dem.tif"])
def test_blocks_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="`features` must be some of auto"):
        ModelSettings(features=text)


@pytest.fixture
def two_halves(make_scene: SceneFactory) -> tuple[Path, Path]:
    """Return a scene of one grey, with noise, and a raster of two heights over it."""
    rng = np.random.default_rng(0)
    grey = rng.integers(90, 110, (96, 96, 3)).astype(np.uint8)
    grey[::16] = grey[:, ::16] = 200
    heights = np.zeros((24, 24, 1), np.float32)
    heights[:, 12:] = 30
    return make_scene(grey), make_scene(heights, "dsm.tif", transform=PLACE * Affine.scale(4))


OPTIONS = {"model": "builtin", "n_classes": 3, "tile_size": 64, "overlap": 16}


def labels_of(run: alps_geo.Run) -> NDArray[np.integer]:
    """Read the label map of one scene."""
    with rasterio.open(run.label_paths[0]) as file:
        return file.read(1)


def test_a_run_with_a_raster_is_the_same_in_other_processes_and_knows_the_raster(
    two_halves: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, heights = two_halves
    monkeypatch.chdir(tmp_path)
    options = {**OPTIONS, "features": "texture+raster:dsm.tif"}
    alone = alps_geo.label(scene, "one", **options)
    shared = alps_geo.label(scene, "two", workers=2, **options)
    assert np.array_equal(labels_of(alone), labels_of(shared))
    assert alone.class_path.read_bytes() == shared.class_path.read_bytes()
    with rasterio.open(heights, "r+") as file:
        file.write(file.read() + 1)
    with pytest.raises(RunError, match="raster:dsm is"):
        alps_geo.label(scene, "one", **options)


def test_classes_made_with_a_raster_want_one_of_its_name(
    two_halves: tuple[Path, Path], tmp_path: Path
) -> None:
    scene, heights = two_halves
    copy = tmp_path / "other.tif"
    copy.write_bytes(heights.read_bytes())
    first = alps_geo.label(scene, tmp_path / "one", features=f"auto+raster:{heights}", **OPTIONS)
    del (again := dict(OPTIONS))["n_classes"]
    again["classes"] = first.class_path
    second = alps_geo.label(scene, tmp_path / "two", features=f"auto+raster:dsm={copy}", **again)
    assert np.array_equal(labels_of(first), labels_of(second))
    with pytest.raises(SettingsError, match=r"`features=auto\+raster:dsm=FILE`"):
        alps_geo.label(scene, tmp_path / "three", **again)
    with pytest.raises(ModelError, match=r"made with features 'texture.*raster:dsm', not"):
        alps_geo.label(scene, tmp_path / "three", features=f"texture+raster:{copy}", **again)


def test_two_rasters_of_one_name_are_refused(two_halves: tuple[Path, Path], tmp_path: Path) -> None:
    scene, heights = two_halves
    copy = tmp_path / "folder" / "dsm.tif"
    copy.parent.mkdir()
    copy.write_bytes(heights.read_bytes())
    with pytest.raises(SceneError, match="is called 'dsm' too; name one raster:OTHER=FILE"):
        alps_geo.label(
            scene, tmp_path / "out", features=f"raster:{heights}+raster:{copy}", **OPTIONS
        )
