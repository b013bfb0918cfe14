"""Scenes: what is read, what masks, what is refused, on small files and on real odd ones."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from alps_geo.errors import ReadError, SceneError
from alps_geo.scenes import scene as scene_module
from alps_geo.scenes import statistics
from alps_geo.scenes.grid import Window
from alps_geo.scenes.paths import shown_name
from alps_geo.scenes.scene import Scene, open_scene
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.scenes.stretch import Stretch
from alps_geo.scenes.tiles import plan_tiles
from alps_geo.settings import SceneSettings, TileSettings

from ..conftest import SceneFactory

AS_IS = SceneSettings(stretch="none")


def ready(path: Path, settings: SceneSettings = AS_IS) -> Scene:
    scene = open_scene(str(path), settings)
    return scene.with_stretch(measure_stretch([scene]))


def noise(height: int, width: int, bands: int = 3, dtype: str = "uint8") -> np.ndarray:
    values = np.random.default_rng(0).integers(1, 100, (height, width, bands))
    return values.astype(dtype)


def declare(path: Path, *kinds: ColorInterp) -> Path:
    """Write the colour interpretation into a file."""
    with rasterio.open(path, "r+") as file:
        file.colorinterp = kinds
    return path


def unplaced(path: Path, pixels: np.ndarray, **extra: object) -> Path:
    """Write an image without a geotransform."""
    bands = np.moveaxis(pixels, 2, 0)
    shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", dtype=bands.dtype, **shape, **extra) as file:
            file.write(bands)
    return path


# Bands


def test_three_bands_are_red_green_blue(make_scene: SceneFactory) -> None:
    pixels = noise(40, 50)
    scene = ready(make_scene(pixels))
    read, valid = scene.read(scene.grid.window)
    assert (read == pixels).all()
    assert valid.all()
    assert (scene.bands, scene.dtype, scene.messages, scene.warnings) == (
        (1, 2, 3),
        "uint8",
        (),
        (),
    )


def test_one_band_is_repeated(make_scene: SceneFactory) -> None:
    pixels = noise(40, 50, 1)
    read, _ = ready(make_scene(pixels)).read(Window(5, 6, 7, 8))
    assert (read == pixels[5:12, 6:14]).all()


def test_of_two_bands_the_first_is_grey(make_scene: SceneFactory) -> None:
    scene = open_scene(str(make_scene(noise(9, 9, 2))), AS_IS)
    assert scene.bands == (1, 1, 1)
    assert "band 1 is used as grey" in scene.messages[0]


def test_of_many_bands_the_first_three_are_used_and_told(make_scene: SceneFactory) -> None:
    scene = open_scene(str(make_scene(noise(9, 9, 5), photometric="minisblack")), AS_IS)
    assert scene.bands == (1, 2, 3)
    assert "the first three of 5 bands" in scene.messages[0]


def test_declared_colours_decide(make_scene: SceneFactory) -> None:
    kinds = ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.alpha
    pixels = noise(20, 20, 4)
    scene = ready(declare(make_scene(pixels), *kinds))
    assert scene.bands == (3, 2, 1)
    assert (scene.read(scene.grid.window)[0] == pixels[:, :, [2, 1, 0]]).all()


def test_chosen_bands_are_used(make_scene: SceneFactory) -> None:
    pixels = noise(20, 20, 4)
    path = make_scene(pixels, photometric="minisblack")
    scene = ready(path, SceneSettings(bands=(4, 1, 4), stretch="none"))
    assert (scene.read(scene.grid.window)[0] == pixels[:, :, [3, 0, 3]]).all()
    assert open_scene(str(path), SceneSettings(bands=(4,))).bands == (4, 4, 4)


def test_a_band_that_does_not_exist_is_refused(make_scene: SceneFactory) -> None:
    with pytest.raises(
        SceneError, match=r"scene\.tif: band 7 does not exist; `bands` can name 1, 2"
    ):
        open_scene(str(make_scene(noise(9, 9))), SceneSettings(bands=(1, 2, 7)))


@pytest.mark.parametrize("chosen", [(4,), (4, 3, 2)])
def test_alpha_that_is_chosen_is_an_image_and_masks_nothing(
    make_scene: SceneFactory, chosen: tuple[int, ...]
) -> None:
    pixels = noise(9, 9, 4)
    pixels[:3, :, 3] = 0
    path = make_scene(pixels, photometric="rgb", alpha="yes")
    scene = ready(path, SceneSettings(bands=chosen, stretch="none"))
    read, valid = scene.read(scene.grid.window)
    assert valid.all()
    assert (read[:, :, 0] == pixels[:, :, 3]).all()
    assert "band 4 is flagged as alpha, but chosen in `bands`" in scene.messages[0]


@pytest.mark.parametrize("chosen", [(), (1, 2, 3), (2,)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_near_infrared_flagged_as_alpha_masks_nothing(
    make_scene: SceneFactory, chosen: tuple[int, ...], dtype: str
) -> None:
    pixels = noise(99, 99, 4, dtype)
    pixels[:9, :9, 3] = 0  # water
    scene = open_scene(
        str(make_scene(pixels, photometric="rgb", alpha="yes")), SceneSettings(bands=chosen)
    )
    assert scene.raster.alpha is None
    assert scene.valid(scene.grid.window).all()
    assert "band 4 is flagged as alpha, but has the values of an image" in scene.messages[0]
    assert scene.summary()["mask"] == "none"


@pytest.mark.parametrize("kind", ["hard", "feathered", "whole", "empty", "half"])
def test_true_alpha_stays_a_mask(make_scene: SceneFactory, kind: str) -> None:
    alpha = {
        "hard": np.where(np.arange(200) < 70, 0, 255),
        "feathered": np.clip(np.arange(200) * 8 - 400, 0, 255),
        "whole": np.full(200, 255),
        "empty": np.full(200, 0),
        "half": np.where(np.arange(200) < 70, 0, 128),
    }[kind]
    pixels = noise(150, 200, 4)
    pixels[:, :, 3] = alpha
    scene = open_scene(str(make_scene(pixels, photometric="rgb", alpha="yes")), SceneSettings())
    assert (scene.valid(scene.grid.window) == (alpha > 0)).all()
    assert scene.messages == ()


@pytest.mark.parametrize(("dtype", "whole"), [("uint8", 255), ("uint16", 65535)])
def test_a_mask_that_nobody_declared_is_used_and_told(
    make_scene: SceneFactory, dtype: str, whole: int
) -> None:
    pixels = noise(99, 99, 4, dtype)
    pixels[:, :, 3] = np.where(np.arange(99) < 30, 0, whole)
    path = make_scene(pixels, photometric="minisblack")
    scene = open_scene(str(path), SceneSettings())
    assert (scene.valid(scene.grid.window) == (pixels[:, :, 3] > 0)).all()
    assert (
        f"band 4 holds 0 and {whole} only, wherever it was looked at, and is used as"
        in scene.messages[0]
    )
    named = open_scene(str(path), SceneSettings(bands=(1, 2, 4)))
    assert named.valid(named.grid.window).all()


@pytest.mark.parametrize("value", [0, 1, 254])
def test_a_fourth_band_of_other_values_is_no_mask(make_scene: SceneFactory, value: int) -> None:
    pixels = noise(99, 99, 4)
    pixels[:, :, 3] = np.where(np.arange(99) < 30, 0, value)
    scene = open_scene(str(make_scene(pixels, photometric="minisblack")), SceneSettings())
    assert scene.valid(scene.grid.window).all()


# Validity


def test_black_pixels_are_valid(make_scene: SceneFactory) -> None:
    assert ready(make_scene(np.zeros((20, 20, 3), np.uint8))).valid(Window(0, 0, 20, 20)).all()


def test_nodata_in_all_bands_is_invalid_and_in_some_is_not(make_scene: SceneFactory) -> None:
    pixels = noise(20, 20, 4)
    pixels[0, 0] = 0
    pixels[1, 1, :2] = 0
    pixels[2, 2, :3] = 0  # deep shadow, seen in the near infrared only
    scene = ready(make_scene(pixels, nodata=0, photometric="minisblack"))
    read, valid = scene.read(scene.grid.window)
    assert np.argwhere(~valid).tolist() == [[0, 0]]
    assert read[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("declared", [None, 0, 7])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_nodata_that_is_chosen_counts_instead_of_the_files(
    make_scene: SceneFactory, declared: int | None, dtype: str
) -> None:
    pixels = noise(20, 20, 4, dtype) + 20
    pixels[0, 0], pixels[1, 1, :3], pixels[2, 2] = 7, 7, 0
    path = make_scene(pixels.astype(dtype), nodata=declared, photometric="minisblack")
    scene = open_scene(str(path), SceneSettings(nodata=7))
    assert np.argwhere(~scene.valid(scene.grid.window)).tolist() == [[0, 0]]
    assert scene.summary()["mask"] == "nodata 7"
    assert scene.fingerprint != open_scene(str(path), SceneSettings(nodata=20)).fingerprint


def test_nodata_that_is_chosen_adds_to_alpha_and_to_a_mask(make_scene: SceneFactory) -> None:
    pixels = noise(20, 20, 4)
    pixels[:, :, 3] = 255
    pixels[3, 3, 3] = 0
    pixels[4, 4, :3] = 200
    path = make_scene(pixels, photometric="rgb", alpha="yes")
    scene = open_scene(str(path), SceneSettings(nodata=200))
    assert np.argwhere(~scene.valid(scene.grid.window)).tolist() == [[3, 3], [4, 4]]
    masked = make_scene(pixels[:, :, :3], "masked.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as file:
        file.write_mask(pixels[:, :, 3] > 0)
    scene = open_scene(str(masked), SceneSettings(nodata=200))
    assert np.argwhere(~scene.valid(scene.grid.window)).tolist() == [[3, 3], [4, 4]]


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", -9999), ("uint8", 256), ("int16", 0.5)])
def test_nodata_that_no_pixel_can_have_is_refused(
    make_scene: SceneFactory, dtype: str, nodata: float
) -> None:
    path = make_scene(noise(9, 9, 3, dtype))
    with pytest.raises(SceneError, match=rf"`nodata` {nodata:g} cannot be in {dtype} pixels; choo"):
        open_scene(str(path), SceneSettings(nodata=nodata))


def test_nodata_of_one_band_does_not_spoil_the_stretch(make_scene: SceneFactory) -> None:
    pixels = noise(40, 40, 3, "int16")
    pixels[:10, :, 0] = -9999
    scene = open_scene(str(make_scene(pixels, nodata=-9999)), SceneSettings(stretch="minmax"))
    assert measure_stretch([scene]).low == (1.0, 1.0, 1.0)


def test_alpha_masks(make_scene: SceneFactory) -> None:
    pixels = noise(20, 20, 4)
    pixels[:, :, 3] = 255
    pixels[3:5, 3:5, 3] = 0
    path = make_scene(pixels, photometric="rgb", alpha="yes")
    assert np.count_nonzero(~ready(path).valid(Window(0, 0, 20, 20))) == 4


def test_a_mask_of_the_file_masks(make_scene: SceneFactory) -> None:
    path = make_scene(noise(20, 20))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(400).reshape(20, 20) >= 30)
    scene = ready(path)
    assert np.count_nonzero(~scene.valid(scene.grid.window)) == 30
    assert scene.summary()["mask"] == "mask in the file"


@pytest.mark.parametrize("nodata", [None, np.nan], ids=["undeclared", "declared"])
def test_nan_and_infinity_are_invalid(make_scene: SceneFactory, nodata: float | None) -> None:
    pixels = noise(20, 20, 3, "float32")
    pixels[0, 0], pixels[1, 1, 2], pixels[2, 2, 0] = np.nan, np.nan, np.inf
    scene = ready(make_scene(pixels, nodata=nodata), SceneSettings())
    _, valid = scene.read(scene.grid.window)
    assert np.argwhere(~valid).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert scene.stretch is not None
    assert max(scene.stretch.high) < 100


# Stretch


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"]
)
@pytest.mark.parametrize("kind", ["percentile", "minmax"])
def test_any_type_becomes_8_bits(make_scene: SceneFactory, dtype: str, kind: str) -> None:
    scene = ready(make_scene(noise(40, 40, 3, dtype)), SceneSettings(stretch=kind))
    read, _ = scene.read(scene.grid.window)
    assert (str(read.dtype), int(read.min()), int(read.max())) == ("uint8", 0, 255)


def test_the_stretch_is_the_same_for_every_tile(make_scene: SceneFactory) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    scene = ready(make_scene(pixels), SceneSettings())
    whole, _ = scene.read(scene.grid.window)
    for tile in plan_tiles(64, 64, TileSettings(size=64, overlap=32)):
        assert (scene.read(tile.window)[0] == whole[tile.window.slices]).all()


def test_several_scenes_share_a_stretch(make_scene: SceneFactory) -> None:
    paths = [make_scene(np.full((9, 9), value, np.uint16), f"{value}.tif") for value in (10, 900)]
    stretch = measure_stretch([open_scene(str(path), SceneSettings()) for path in paths])
    assert (stretch.low[0], stretch.high[0]) == (10, 900)


@pytest.mark.parametrize(
    ("limits", "low", "high"),
    [
        ((0.0, 1000.0), (0, 0, 0), (1000, 1000, 1000)),
        ((0.0, 1000.0, 5.0, 50.0, -1.0, 1.5), (0, 5, -1), (1000, 50, 1.5)),
    ],
)
def test_a_range_that_is_chosen_is_the_stretch(
    make_scene: SceneFactory,
    limits: tuple[float, ...],
    low: tuple[float, ...],
    high: tuple[float, ...],
) -> None:
    pixels = noise(30, 30, 3, "uint16")
    pixels[:20] = 60000  # clouds
    scene = ready(make_scene(pixels), SceneSettings(stretch_range=limits))
    assert scene.stretch is not None
    assert (scene.stretch.low, scene.stretch.high) == (low, high)
    read, _ = scene.read(scene.grid.window)
    assert (read[20:, :, 0] == np.rint(pixels[20:, :, 0] * (255 / 1000))).all()
    assert (read[:20] == 255).all()
    assert Stretch.from_dict(json.loads(json.dumps(scene.stretch.to_dict()))) == scene.stretch


@pytest.mark.parametrize("percentiles", [(0.0, 100.0), (2.0, 98.0), (5.0, 60.0), (0.0, 50.0)])
def test_percentiles_that_are_chosen_are_the_stretch(
    make_scene: SceneFactory, percentiles: tuple[float, float]
) -> None:
    path = make_scene(np.arange(100, dtype=np.uint16).reshape(10, 10))
    stretch = ready(path, SceneSettings(stretch_percentiles=percentiles)).stretch
    assert stretch is not None
    np.testing.assert_allclose((stretch.low[0], stretch.high[0]), percentiles, atol=1.01)
    if percentiles == (2.0, 98.0):
        assert stretch == ready(path, SceneSettings()).stretch


def test_no_stretch_of_16_bits_is_refused(make_scene: SceneFactory) -> None:
    path = make_scene(noise(9, 9, 3, "uint16"))
    with pytest.raises(
        SceneError, match=r"has uint16 pixels, .* use `stretch=percentile` or `stretch=minmax`"
    ):
        open_scene(str(path), AS_IS)


def test_reading_without_a_stretch_is_a_mistake(make_scene: SceneFactory) -> None:
    scene = open_scene(str(make_scene(noise(9, 9))), AS_IS)
    with pytest.raises(ValueError, match="needs a stretch"):
        scene.read(scene.grid.window)


def test_a_scene_without_valid_pixels_is_refused(make_scene: SceneFactory) -> None:
    scene = open_scene(str(make_scene(np.zeros((9, 9), np.uint8), nodata=0)), AS_IS)
    with pytest.raises(
        SceneError, match=r"scene\.tif: has no valid pixels; check its nodata value"
    ):
        measure_stretch([scene])


@pytest.mark.parametrize("tiling", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}])
def test_an_image_in_a_corner_of_a_large_scene_is_found(
    make_scene: SceneFactory, monkeypatch: pytest.MonkeyPatch, tiling: dict[str, object]
) -> None:
    monkeypatch.setattr(statistics, "SAMPLE_PX", 2**12)
    pixels = np.zeros((700, 900), np.uint8)
    pixels[-5:, -5:] = np.arange(1, 26).reshape(5, 5)
    scene = open_scene(str(make_scene(pixels, nodata=0, **tiling)), SceneSettings(stretch="minmax"))
    assert measure_stretch([scene]).high[0] == 25
    assert statistics.valid_share(scene) == 25 / (700 * 900)


def test_a_large_scene_is_sampled_evenly_and_always_alike(
    make_scene: SceneFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "SAMPLE_PX", 2**20)
    ramp = np.add.outer(np.arange(2048), np.arange(2048)).astype(np.uint16)
    path = make_scene(ramp, tiled=True, blockxsize=16, blockysize=16)
    first, second = (measure_stretch([open_scene(str(path), SceneSettings())]) for _ in range(2))
    assert first == second
    np.testing.assert_allclose(
        [first.low[0], first.high[0]], np.percentile(ramp, [2, 98]), atol=0.06 * ramp.max()
    )


@given(
    region=st.tuples(*[st.integers(0, 2000)] * 2, *[st.integers(1, 3000)] * 2),
    block=st.tuples(st.integers(1, 600), st.integers(1, 3000)),
    whole=st.booleans(),
)
def test_sample_windows_cover_the_region_once(
    region: tuple[int, int, int, int], block: tuple[int, int], whole: bool
) -> None:
    around = Window(*region)
    windows = list(statistics._sample_windows(around, block, whole=whole))
    assert len(set(windows)) == len(windows)
    assert sum(window.height * window.width for window in windows) == region[2] * region[3]
    assert all(window.intersect(around) == window for window in windows)


# Ground sampling distance


def test_resampled_windows_agree_where_they_overlap(make_scene: SceneFactory) -> None:
    pixels = noise(90, 110, 3, "uint16")
    pixels[:30, :30] = 0
    scene = ready(make_scene(pixels, nodata=0), SceneSettings(gsd=4.7))
    whole, valid = scene.read(scene.grid.window)
    assert whole.shape[:2] == (scene.grid.height, scene.grid.width) == (38, 47)
    part, part_valid = scene.read(Window(5, 7, 20, 30))
    assert (part == whole[5:25, 7:37]).all()
    assert (part_valid == valid[5:25, 7:37]).all()
    assert not valid[:12, :12].any()
    assert valid[13:, 13:].all()


def test_chunks_of_a_resampled_window_do_not_show(
    make_scene: SceneFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = ready(make_scene(noise(90, 110)), SceneSettings(gsd=5, stretch="none"))
    whole, _ = scene.read(scene.grid.window)
    monkeypatch.setattr(scene_module, "CHUNK_PX", 400)
    assert (scene.read(scene.grid.window)[0] == whole).all()


def test_a_turned_grid_is_resampled_along_its_own_axes(make_scene: SceneFactory) -> None:
    turned = Affine(1.6, 1.2, 320000, 1.2, -1.6, 2780000)
    pixels = np.kron(noise(10, 12)[:, :, 0], np.ones((2, 2), np.uint8))
    scene = ready(make_scene(pixels, transform=turned), SceneSettings(gsd=4, stretch="none"))
    assert (scene.read(scene.grid.window)[0][:, :, 0] == pixels[::2, ::2]).all()
    np.testing.assert_allclose(scene.grid.transform[:6], [3.2, 2.4, 320000, 2.4, -3.2, 2780000])


def test_the_present_pixel_size_changes_nothing(make_scene: SceneFactory) -> None:
    path = make_scene(noise(20, 20))
    scene = open_scene(str(path), SceneSettings(gsd=2))
    assert scene.fingerprint == open_scene(str(path), SceneSettings()).fingerprint


def test_gsd_without_a_crs_is_refused(make_scene: SceneFactory) -> None:
    with pytest.raises(SceneError, match="`gsd=2` means nothing; assign it a CRS"):
        open_scene(str(make_scene(noise(9, 9), crs=None)), SceneSettings(gsd=2))


@pytest.mark.parametrize("gsd", [0.1, 2001])
def test_an_absurd_gsd_is_refused(make_scene: SceneFactory, gsd: float) -> None:
    with pytest.raises(SceneError, match=r"too far from its pixel size of 2 m; use from 0\.125 to"):
        open_scene(str(make_scene(noise(9, 9))), SceneSettings(gsd=gsd))


# Area of interest


def test_pixels_outside_of_the_area_are_invalid(make_scene: SceneFactory, tmp_path: Path) -> None:
    area = shapely.box(320000, 2779980, 320020, 2780000)  # the first 10 x 10 pixels
    geopandas.GeoDataFrame(geometry=[area], crs=32640).to_file(tmp_path / "aoi.gpkg")
    pixels = noise(40, 40)
    pixels[20:] = 255
    settings = SceneSettings(aoi=str(tmp_path / "aoi.gpkg"), stretch="minmax")
    scene = ready(make_scene(pixels), settings)
    assert np.count_nonzero(scene.valid(scene.grid.window)) == 100
    assert scene.stretch is not None
    assert max(scene.stretch.high) < 100
    assert scene.fingerprint != open_scene(scene.path, SceneSettings()).fingerprint


def test_an_area_without_data_is_refused(make_scene: SceneFactory, tmp_path: Path) -> None:
    area = shapely.box(320000.1, 2779999, 320000.2, 2779999.9)
    geopandas.GeoDataFrame(geometry=[area], crs=32640).to_file(tmp_path / "aoi.gpkg")
    scene = open_scene(str(make_scene(noise(9, 9))), SceneSettings(aoi=str(tmp_path / "aoi.gpkg")))
    with pytest.raises(SceneError, match=r"has no valid pixels inside .*aoi\.gpkg"):
        measure_stretch([scene])


# Georeference


def test_a_scene_without_crs_works_and_warns(make_scene: SceneFactory) -> None:
    scene = ready(make_scene(noise(9, 9), crs=None))
    assert scene.grid.crs is None
    assert scene.grid.transform.a == 2
    assert "not georeferenced: no CRS; area_m2 will be empty" in scene.warnings[0]


@pytest.mark.parametrize("crs", [None, "EPSG:4326"])
def test_pixel_numbers_never_pass_for_coordinates(tmp_path: Path, crs: str | None) -> None:
    scene = ready(unplaced(tmp_path / "plain.tif", noise(9, 9), crs=crs))
    assert scene.grid.crs is None
    assert "plain.tif: not georeferenced: no geotransform" in scene.warnings[0]


def test_ground_control_points_alone_are_refused(tmp_path: Path) -> None:
    points = [GroundControlPoint(row=r, col=c, x=c, y=-r) for r, c in [(0, 0), (0, 9), (9, 0)]]
    path = unplaced(tmp_path / "gcps.tif", noise(9, 9), gcps=points, crs="EPSG:4326")
    with pytest.raises(SceneError, match=r"gcps\.tif: .*ground control points only; warp it"):
        open_scene(str(path), AS_IS)


def test_a_sensor_model_alone_is_refused(tmp_path: Path) -> None:
    offsets = dict.fromkeys(["height_off", "lat_off", "line_off", "long_off", "samp_off"], 1.0)
    scales = dict.fromkeys(
        ["height_scale", "lat_scale", "line_scale", "long_scale", "samp_scale"], 1.0
    )
    names = ["line_den_coeff", "line_num_coeff", "samp_den_coeff", "samp_num_coeff"]
    rpcs = RPC(**offsets, **scales, **dict.fromkeys(names, [1.0] * 20))
    path = unplaced(tmp_path / "rpc.tif", noise(9, 9), rpcs=rpcs, crs="EPSG:4326")
    with pytest.raises(SceneError, match=r"rpc\.tif: .*RPC .*warp it"):
        open_scene(str(path), AS_IS)


# Refusals


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(SceneError, match=r"^nowhere\.tif: no such file; check the path$"):
        open_scene("nowhere.tif", AS_IS)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="is a folder; give a raster file inside it"):
        open_scene(str(tmp_path), AS_IS)


def test_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.tif"
    path.write_text("no pixels here")
    with pytest.raises(SceneError, match=r"notes\.tif: cannot be opened as a raster .* give a"):
        open_scene(str(path), AS_IS)


def test_an_address_that_does_not_answer_is_refused_without_its_password() -> None:
    address = "http://user:secret@127.0.0.1:9/scene.tif?token=secret"
    with pytest.raises(
        SceneError, match=r"^http://127\.0\.0\.1:9/scene\.tif: cannot be"
    ) as refusal:
        open_scene(address, AS_IS)
    assert "secret" not in str(refusal.value)


def test_complex_pixels_are_refused(make_scene: SceneFactory) -> None:
    with pytest.raises(SceneError, match=r"band 1 is complex \(complex64\)"):
        open_scene(str(make_scene(noise(9, 9, 1, "complex64"))), SceneSettings())


def test_a_palette_is_refused(make_scene: SceneFactory) -> None:
    path = make_scene(noise(9, 9, 1), photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (255, 0, 0, 255)})
    with pytest.raises(SceneError, match=r"band 1 is paletted, .* turn it into red"):
        open_scene(str(path), AS_IS)


def test_of_several_pages_the_first_is_used_and_told(make_scene: SceneFactory) -> None:
    path = make_scene(noise(9, 9))
    first = ready(path).read(Window(0, 0, 9, 9))[0]
    make_scene(noise(9, 9) * 2, APPEND_SUBDATASET="YES")
    scene = ready(path)
    assert scene.messages == (f"{path}: has 2 pages; the first is used, see `subdataset`",)
    assert (scene.read(scene.grid.window)[0] == first).all()


def test_a_damaged_block_names_file_and_window(make_scene: SceneFactory) -> None:
    path = make_scene(noise(256, 256), tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    stretch = ready(path).stretch
    os.truncate(path, path.stat().st_size - 100)
    scene = open_scene(str(path), SceneSettings()).with_stretch(stretch)
    with pytest.raises(ReadError, match=r"scene\.tif: cannot read 64 x 32 pixels from row 192, "):
        scene.read(Window(192, 224, 64, 32))


def test_a_scene_that_changes_or_vanishes_is_not_read_on(make_scene: SceneFactory) -> None:
    path = make_scene(noise(64, 64))
    scene = ready(path)
    make_scene(noise(64, 64))
    os.utime(path, (1, 1))
    with pytest.raises(SceneError, match=r"scene\.tif: has changed since the run began"):
        scene.read(Window(0, 0, 9, 9))
    path.unlink()
    with pytest.raises(SceneError, match=r"scene\.tif: is not there \(any more\)"):
        scene.read(Window(0, 0, 9, 9))


# Travelling


def test_a_scene_reads_the_same_after_a_journey(make_scene: SceneFactory) -> None:
    scene = ready(make_scene(noise(64, 64)))
    copy = pickle.loads(pickle.dumps(scene))
    assert copy == scene
    with ThreadPoolExecutor(4) as pool:
        reads = list(pool.map(lambda _: copy.read(scene.grid.window)[0], range(16)))
    assert all((read == scene.read(scene.grid.window)[0]).all() for read in reads)


def test_a_replaced_file_is_read_anew(make_scene: SceneFactory) -> None:
    before = ready(make_scene(noise(20, 20)))
    make_scene(noise(20, 30) + 100)
    after = ready(Path(before.path))
    assert after.read(Window(0, 0, 20, 30))[0].min() > 100
    assert after.fingerprint != before.fingerprint


def test_a_fingerprint_knows_content_not_place_or_time(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    path = make_scene(noise(20, 20))
    (tmp_path / "other").mkdir()
    copy = Path(shutil.copy(path, tmp_path / "other" / "name.tif"))
    os.utime(copy, (1, 1))
    (tmp_path / "other" / "name.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    fingerprint = open_scene(str(path), AS_IS).fingerprint
    assert open_scene(str(copy), AS_IS).fingerprint == fingerprint
    for settings in (SceneSettings(bands=(3, 2, 1)), SceneSettings(gsd=4)):
        assert open_scene(str(path), settings).fingerprint != fingerprint


def test_a_fingerprint_sees_through_a_virtual_raster(make_scene: SceneFactory) -> None:
    source = make_scene(noise(20, 20), "source.tif")
    virtual = source.with_suffix(".vrt")
    virtual.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">source.tif</SourceFilename>'
        "<SourceBand>2</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    before = open_scene(str(virtual), AS_IS)
    assert (ready(virtual).read(Window(0, 0, 20, 20))[0][:, :, 0] == noise(20, 20)[:, :, 1]).all()
    make_scene(noise(20, 20) + 1, "source.tif")
    assert open_scene(str(virtual), AS_IS).fingerprint != before.fingerprint


def test_a_raster_in_an_archive_is_read(make_scene: SceneFactory, tmp_path: Path) -> None:
    path = make_scene(noise(200, 200))
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        archive.write(path, "scene.tif")
    inside = open_scene(f"zip://{tmp_path / 'scenes.zip'}!scene.tif", AS_IS)
    assert inside.stem == "scene"
    assert inside.fingerprint == open_scene(inside.path, AS_IS).fingerprint
    assert inside.with_stretch(measure_stretch([inside])).valid(Window(9, 9, 5, 5)).all()


@pytest.mark.parametrize(
    ("path", "stem"),
    [("a b/scene 1.tif", "scene_1"), ("x.y.TIF", "x.y"), ("ünï.tif", "ünï")],
)
def test_a_stem_is_fit_for_names_of_files(tmp_path: Path, path: str, stem: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    assert open_scene(str(unplaced(tmp_path / path, noise(9, 9))), AS_IS).stem == stem


def test_addresses_are_shown_without_secrets() -> None:
    assert shown_name("https://me:pw@host/a.tif?sig=1") == "https://host/a.tif"
    assert shown_name("/data/what?.tif") == "/data/what?.tif"


def test_a_summary_is_plain_values(make_scene: SceneFactory) -> None:
    scene = open_scene(str(make_scene(noise(20, 30), nodata=0)), SceneSettings())
    summary = json.loads(json.dumps(scene.summary()))
    assert (summary["crs"], summary["crs_code"]) == ("WGS 84 / UTM zone 40N", "EPSG:32640")
    assert (summary["height"], summary["width"], summary["mask"]) == (20, 30, "nodata 0")
    assert summary["pixel_size_m"] == pytest.approx(2)


# Real odd files

#: Refused although the list would label it: a paletted raster holds classes already.
PALETTED = "paletted_7168x8704.tif"


def test_odd_files_do_what_is_expected(
    shared_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cases = json.loads((shared_data / "odd" / "expected.json").read_text())
    outcomes = {case["file"]: _try(shared_data / "odd" / case["file"]) for case in cases}
    expected = {case["file"]: case["expect"] for case in cases} | {PALETTED: "refuse"}
    wrong = {
        name: outcome
        for name, outcome in outcomes.items()
        if expected[name] not in ("either", outcome)
    }
    assert not wrong
    assert capfd.readouterr().err == ""


def _try(path: Path) -> str:
    """Return what became of a file: label, label+warn, refuse."""
    try:
        scene = ready(path, SceneSettings())
        tiles = plan_tiles(scene.grid.height, scene.grid.width, TileSettings())
        shares = [scene.read(tile.window)[1].mean() for tile in tiles]
    except SceneError as error:
        named = str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return "refuse" if named else f"unclear: {error}"
    assert max(shares) > 0
    return "label+warn" if scene.warnings else "label"


def test_nothing_is_said_on_stderr_by_gdal(tmp_path: Path) -> None:
    path = tmp_path / "broken.tif"
    path.write_bytes(b"II*\0\x08\0\0\0\x01\0" + b"\xff" * 40)
    code = (
        "from alps_geo.scenes.scene import open_scene\n"
        "from alps_geo.settings import SceneSettings\n"
        "from alps_geo.errors import SceneError\n"
        f"try: open_scene({str(path)!r}, SceneSettings())\n"
        "except SceneError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot be opened as a raster" in run.stdout
    assert run.stderr == ""
