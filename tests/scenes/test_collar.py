"""Collars of nearly nodata: what compression leaves at a scene's border, and what it is not."""

from __future__ import annotations

import pickle
from functools import lru_cache
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from alps_geo.errors import ReadError, SceneError
from alps_geo.pipeline import label
from alps_geo.scenes.grid import Grid, Window
from alps_geo.scenes.rasters.collar import REACH, Collar, find_collar
from alps_geo.scenes.scene import Scene, open_scene
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.settings import SceneSettings

from ..conftest import SceneFactory

SIDE = 320
BUILTIN = {"model": "builtin", "features": "texture"}
JPEG = {"compress": "jpeg", "photometric": "ycbcr", "tiled": True}
BLOCKS = {"blockxsize": 64, "blockysize": 64}


def outside(slope: float = 0.15, side: int = SIDE) -> np.ndarray:
    """Return where the collar of a rotated image is."""
    rows, cols = np.mgrid[:side, :side] - side / 2
    turned = (
        rows * np.cos(slope) - cols * np.sin(slope),
        rows * np.sin(slope) + cols * np.cos(slope),
    )
    return (np.abs(turned[0]) > side * 0.4) | (np.abs(turned[1]) > side * 0.4)


def bright(collar: np.ndarray, *, bands: int = 3, seed: int = 0) -> np.ndarray:
    """Return a bright image with a black collar."""
    rng = np.random.default_rng(seed)
    ground = rng.normal(170, 12, (*collar.shape, bands))
    ground = np.clip(ndimage.gaussian_filter(ground, (1.5, 1.5, 0)), 120, 230)
    ground[collar] = 0
    return ground.astype(np.uint8)


def opened(path: Path, tolerance: float | None = 12, nodata: float | None = 0) -> Scene:
    return open_scene(str(path), SceneSettings(nodata=nodata, nodata_tolerance=tolerance))


def valid(scene: Scene) -> np.ndarray:
    return scene.valid(scene.grid.window)


@lru_cache(maxsize=1)
def noisy() -> np.ndarray:
    """Return a rotated image with a noisy collar, necks of dark pixels and dark spots."""
    rng = np.random.default_rng(3)
    collar = outside()
    pixels = bright(collar)
    dark = ndimage.gaussian_filter(rng.normal(size=collar.shape), 3) > 0.12
    pixels[collar | dark] = rng.integers(0, 13, (np.count_nonzero(collar | dark), 3))
    pixels[rng.random(collar.shape) < 0.03] = 60
    return pixels


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_validity_does_not_depend_on_the_window(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "noisy.tif"
    if not path.exists():
        shape = {"count": 3, "height": SIDE, "width": SIDE, "dtype": "uint8"}
        place = rasterio.Affine(2, 0, 320000, 0, -2, 2780000)
        with rasterio.open(path, "w", driver="GTiff", transform=place, **shape) as file:
            file.write(np.moveaxis(noisy(), 2, 0))
    scene = opened(path)
    assert 0.1 < scene.raster.collar.flooded.mean() < 0.9
    whole = valid(scene)
    row, col = data.draw(st.integers(0, SIDE - 1)), data.draw(st.integers(0, SIDE - 1))
    height = data.draw(st.integers(1, SIDE - row))
    width = data.draw(st.integers(1, SIDE - col))
    window = Window(row, col, height, width)
    assert np.array_equal(scene.valid(window), whole[window.slices])


def test_nothing_changes_without_a_tolerance_nor_with_one_of_0(make_scene: SceneFactory) -> None:
    path = make_scene(noisy())
    before = valid(opened(path, None))
    assert np.array_equal(before, noisy().any(axis=2))
    assert np.array_equal(valid(opened(path, 0)), before)
    assert opened(path, 0).raster.collar is opened(path, None).raster.collar is None


@pytest.mark.parametrize("nodata", [None, 0])
def test_a_black_border_is_data_where_nobody_asked(
    make_scene: SceneFactory, nodata: int | None
) -> None:
    pixels = bright(outside()) + np.uint8(1)
    assert valid(opened(make_scene(pixels), None, nodata)).all()


@pytest.mark.parametrize("quality", [50, 75, 90])
@pytest.mark.parametrize("slope", [0.0, 0.15, 0.6])
def test_a_collar_that_went_through_jpeg_is_invalid_up_to_the_image(
    make_scene: SceneFactory, quality: int, slope: float
) -> None:
    collar = outside(slope)
    path = make_scene(bright(collar), jpeg_quality=quality, **JPEG, **BLOCKS)
    found = valid(opened(path, 80))
    assert not found[ndimage.binary_erosion(collar, border_value=1)].any()
    assert found[ndimage.binary_erosion(~collar, iterations=2)].all()
    without = valid(opened(path, None))
    assert np.count_nonzero(without & collar) > 5 * np.count_nonzero(found & collar)


@pytest.mark.parametrize("width", [1, 3, 8, 15, 17, 23])
def test_a_narrow_collar_is_found_however_its_width_falls_on_cells(
    make_scene: SceneFactory, width: int
) -> None:
    collar = np.ones((100, 131), bool)
    collar[width:-width, width:-width] = False
    pixels = bright(collar)
    pixels[collar] = np.random.default_rng(0).integers(0, 10, (np.count_nonzero(collar), 3))
    assert np.array_equal(valid(opened(make_scene(pixels))), ~collar)


def test_dark_water_inside_is_data_also_near_the_collar(make_scene: SceneFactory) -> None:
    collar = np.zeros((SIDE, SIDE), bool)
    collar[:, :64] = True
    pixels = bright(collar)
    water = np.zeros_like(collar)
    water[100:250, 68:220] = True  # four pixels from the collar
    pixels[water] = np.random.default_rng(0).integers(1, 9, (np.count_nonzero(water), 3))
    assert np.array_equal(valid(opened(make_scene(pixels))), ~collar)


def test_exact_nodata_amid_dark_water_does_not_spread(make_scene: SceneFactory) -> None:
    pixels = bright(np.zeros((SIDE, SIDE), bool))
    pixels[64:256, 64:256] = 5
    pixels[100:140, 100:140] = 0
    assert np.count_nonzero(~valid(opened(make_scene(pixels)))) == 40 * 40


def test_a_neck_of_shadow_does_not_drain_a_lake(make_scene: SceneFactory) -> None:
    collar = np.zeros((SIDE, SIDE), bool)
    collar[:, :64] = True
    pixels = bright(collar)
    pixels[160:166, 64:160] = 4
    pixels[100:250, 160:300] = 4
    found = valid(opened(make_scene(pixels)))
    assert found[100:250, 160:300].all()
    assert found[:, 64 + REACH + 16 :].all()


@pytest.mark.parametrize("kind", ["alpha", "mask"])
def test_a_masked_area_inside_begins_a_collar_too(make_scene: SceneFactory, kind: str) -> None:
    inside = np.zeros((SIDE, SIDE), bool)
    inside[96:192, 96:192] = True
    rim = ndimage.binary_dilation(inside, iterations=9, structure=np.ones((3, 3)))
    pixels = bright(rim)
    pixels[rim] = 6
    shown = np.where(inside, 0, 255).astype(np.uint8)
    if kind == "alpha":
        path = make_scene(np.dstack([pixels, shown]), photometric="rgb", alpha="yes")
    else:
        path = make_scene(pixels)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(shown > 0)
    assert np.array_equal(valid(opened(path, None)), ~inside)
    assert np.array_equal(valid(opened(path)), ~rim)


@pytest.mark.parametrize(
    ("dtype", "nodata", "tolerance"),
    [("uint16", 65535, 300), ("int16", -9999, 40), ("float32", -1.0, 0.5), ("uint8", 255, 9)],
)
@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("declared", [True, False])
def test_collars_of_other_types_and_bands(
    make_scene: SceneFactory,
    dtype: str,
    nodata: float,
    tolerance: float,
    bands: int,
    declared: bool,
) -> None:
    collar, rng = outside(), np.random.default_rng(0)
    pixels = rng.integers(20, 90, (SIDE, SIDE, bands)).astype(dtype)
    if dtype == "float32":
        spread = rng.uniform(-tolerance, tolerance, (np.count_nonzero(collar), bands))
    else:
        low, high = -tolerance, tolerance if dtype == "int16" else 0
        spread = rng.integers(low, high + 1, (np.count_nonzero(collar), bands))
    pixels[collar] = (nodata + spread).astype(dtype)
    more = {"nodata": nodata} if declared else {}
    path = make_scene(pixels, photometric="minisblack", **more)
    scene = opened(path, tolerance, None if declared else nodata)
    assert np.array_equal(valid(scene), ~collar)


def test_one_band_away_from_nodata_is_enough_for_data(make_scene: SceneFactory) -> None:
    pixels = bright(np.zeros((64, 64), bool), bands=5)
    pixels[:, :32] = 3
    pixels[:20, :32, 4] = 90  # seen in the near infrared only
    found = valid(opened(make_scene(pixels, photometric="minisblack")))
    assert found[:20].all()
    assert not found[20:, :32].any()


@pytest.mark.parametrize("declared", [None, float("nan")])
def test_a_tolerance_of_nothing_is_refused(
    make_scene: SceneFactory, declared: float | None
) -> None:
    path = make_scene(bright(outside()).astype(np.float32), nodata=declared)
    with pytest.raises(SceneError, match=r"`nodata_tolerance` 12 needs a number .* as `nodata`$"):
        opened(path, nodata=None)


def test_the_tolerance_is_told_and_tells_scenes_apart(make_scene: SceneFactory) -> None:
    path = make_scene(bright(outside()))
    scene = opened(path)
    assert scene.summary()["mask"] == "nodata 0 and what is within 12 of nodata at the border"
    marks = {opened(path, tolerance).fingerprint for tolerance in (None, 5, 12)}
    assert len(marks) == 3


def test_a_scene_with_a_collar_travels_small(make_scene: SceneFactory) -> None:
    path = make_scene(noisy())
    scene = opened(path)
    packed = pickle.dumps(scene)
    assert len(packed) < len(pickle.dumps(opened(path, None))) + 1000
    assert np.array_equal(valid(pickle.loads(packed)), valid(scene))


def test_what_cannot_be_read_is_no_collar_and_ends_nothing() -> None:
    grid = Grid(None, rasterio.Affine.identity(), 1024, 512)

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        if window.intersect(Window(256, 0, 64, 512)):
            raise ReadError("damaged")
        shape = window.height, window.width
        return np.ones(shape, bool), np.zeros(shape, bool)

    flooded = find_collar(grid, read).flooded
    assert np.flatnonzero(~flooded.all(axis=1)).tolist() == [16, 17, 18, 19]


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_cells_survive_packing(height: int, width: int, seed: int) -> None:
    grid = Grid(None, rasterio.Affine.identity(), height, width)
    shape = -(-height // 16), -(-width // 16)
    cells = np.random.default_rng(seed).random(shape) < 0.5
    assert np.array_equal(Collar.pack(grid, cells).flooded, cells)


def test_a_resampled_scene_has_no_collar_either(make_scene: SceneFactory) -> None:
    path = make_scene(bright(outside()), jpeg_quality=75, **JPEG, **BLOCKS)
    options = {"nodata": 0.0, "nodata_tolerance": 80.0}
    scene = open_scene(str(path), SceneSettings(**options, gsd=4.0))
    found = valid(scene)
    centre = outside()[1::2, 1::2]
    assert not found[ndimage.binary_erosion(centre, iterations=2, border_value=1)].any()
    assert found[ndimage.binary_erosion(~centre, iterations=2)].all()


def test_a_collar_reaches_an_area_of_interest_from_far_away(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    pixels = bright(np.zeros((SIDE, SIDE), bool))
    pixels[:, 32:64] = pixels[100:132, 64:200] = pixels[220:260, 100:250] = 5
    pixels[:, :64] = 5
    path = make_scene(pixels)
    box = shapely.box(320000 + 2 * 96, 2780000 - 2 * 300, 320000 + 2 * 260, 2780000 - 2 * 90)
    area = tmp_path / "area.gpkg"
    geopandas.GeoSeries([box], crs="EPSG:32640").to_file(area)
    whole = valid(opened(path))
    scene = open_scene(str(path), SceneSettings(nodata=0, nodata_tolerance=12, aoi=str(area)))
    assert scene.grid.window.height < SIDE
    assert np.array_equal(valid(scene), whole[90:300, 96:260])
    assert not whole[104:128, 100:190].any()
    assert whole[220:260, 100:250].all()


def test_labels_end_where_the_collar_begins(make_scene: SceneFactory, tmp_path: Path) -> None:
    collar = outside()
    path = make_scene(bright(collar), jpeg_quality=75, **JPEG, **BLOCKS)
    shares = {}
    for tolerance, workers in ((None, 1), (80, 1), (80, 2)):
        out = tmp_path / f"out-{tolerance}-{workers}"
        options = {"nodata_tolerance": tolerance, "workers": workers, "fill": 256}
        tiles = {"tile_size": 128, "overlap": 32}
        found = label(path, out, n_classes=2, nodata=0, **BUILTIN, **options, **tiles)
        with rasterio.open(found.label_paths[0]) as file:
            shares[tolerance, workers] = file.read(1) != 255
    assert np.array_equal(shares[80, 1], shares[80, 2])
    deep = ndimage.binary_erosion(collar, border_value=1)
    assert not shares[80, 1][deep].any()
    assert shares[None, 1][deep].any()
    assert shares[80, 1][~collar].mean() > 0.9


def test_the_stretch_does_not_see_the_collar(make_scene: SceneFactory) -> None:
    path = make_scene(bright(outside()), jpeg_quality=75, **JPEG, **BLOCKS)
    given = {"nodata": 0.0, "stretch": "minmax"}
    low = [
        measure_stretch([open_scene(str(path), SceneSettings(**given, nodata_tolerance=one))]).low
        for one in (None, 80.0)
    ]
    assert max(low[0]) < 40 < min(low[1])
