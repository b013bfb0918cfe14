"""Scenes of every kind: pixel types, many bands, addresses, mosaics, odd places on Earth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from pyproj import Geod
from rasterio._env import get_gdal_config

from alps_geo import Run
from alps_geo.errors import AlpsGeoError, SceneError
from alps_geo.pipeline import label
from alps_geo.scenes.grid import Window
from alps_geo.scenes.rasters.datasets import for_gdal, opened
from alps_geo.scenes.scene import open_scene
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.segments.painting import bounded_cache
from alps_geo.settings import SceneSettings

from ..conftest import SceneFactory, draw_landscape
from ..range_server import SENT, WHOLE, Counts, serving

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "features": "texture", "n_classes": 3}
DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def read(outputs: Run) -> np.ndarray:
    with rasterio.open(outputs.label_paths[0]) as file:
        return file.read(1)


def test_labels_do_not_depend_on_the_type_of_the_pixels(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    pixels = draw_landscape(100, 130) // 2  # so that all types hold them
    found = [
        read(label(make_scene(pixels.astype(dtype), f"{dtype}.tif"), tmp_path / dtype, **SMALL))
        for dtype in DTYPES
    ]
    assert (np.array(found) == found[0]).all()
    assert (found[0] < 3).any()


def test_a_scene_of_13_bands_uses_the_chosen_ones(make_scene: SceneFactory, tmp_path: Path) -> None:
    pixels = draw_landscape(100, 130).astype(np.uint16)
    many = np.repeat(pixels[:, :, :1], 13, axis=2)
    many[:, :, [3, 2, 1]] = pixels
    chosen = label(make_scene(many, "many.tif"), tmp_path / "many", **SMALL, bands=(4, 3, 2))
    plain = label(make_scene(pixels, "plain.tif"), tmp_path / "plain", **SMALL)
    assert (read(chosen) == read(plain)).all()


def test_a_south_up_scene_keeps_its_grid_and_has_valid_polygons(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    place = rasterio.Affine(2, 0, 320000, 0, 2, 2780000)
    outputs = label(make_scene(draw_landscape(100, 130), transform=place), tmp_path / "o", **SMALL)
    with rasterio.open(outputs.label_paths[0]) as file:
        assert file.transform == place
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    assert segments.is_valid.all()
    assert segments.area_m2.sum() == pytest.approx(4 * segments.area_px.sum())


def test_areas_across_the_antimeridian_are_geodesic(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    place = rasterio.Affine(0.001, 0, 179.935, 0, -0.001, -16.5)  # Fiji: to 180.065
    path = make_scene(draw_landscape(100, 130), crs="EPSG:4326", transform=place)
    outputs = label(path, tmp_path / "o", **SMALL)
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    geod = Geod(ellps="WGS84")
    whole = abs(
        geod.polygon_area_perimeter(
            [179.935, 179.935, 180.065, 180.065], [-16.5, -16.6, -16.6, -16.5]
        )[0]
    )
    assert segments.total_bounds[2] > 180
    assert segments.area_m2.sum() / whole == pytest.approx(segments.area_px.sum() / 13000, 1e-3)


def test_gaps_of_a_mosaic_stay_unlabelled(make_scene: SceneFactory, tmp_path: Path) -> None:
    make_scene(draw_landscape(100, 100), "west.tif")
    make_scene(draw_landscape(100, 100, seed=1), "east.tif")
    source = (
        '<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename><SourceBand>{}'
        '</SourceBand><SrcRect xOff="0" yOff="0" xSize="100" ySize="100"/>'
        '<DstRect xOff="{}" yOff="0" xSize="100" ySize="100"/></SimpleSource>'
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>0</NoDataValue>'
        f"{source.format('west.tif', band, 0)}{source.format('east.tif', band, 140)}"
        "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    mosaic = tmp_path / "mosaic.vrt"
    mosaic.write_text(
        '<VRTDataset rasterXSize="240" rasterYSize="100"><SRS>EPSG:32640</SRS>'
        f"<GeoTransform>320000,2,0,2780000,0,-2</GeoTransform>{bands}</VRTDataset>"
    )
    pixels = read(label(mosaic, tmp_path / "out", **SMALL))
    assert (pixels[:, 100:140] == 255).all()
    assert (pixels[:, :100] != 255).mean() > 0.9


def test_python_in_a_mosaic_is_not_run(make_scene: SceneFactory, tmp_path: Path) -> None:
    make_scene(draw_landscape(50, 50)[:, :, 0], "plain.tif")
    trap = tmp_path / "trap"
    mosaic = tmp_path / "mosaic.vrt"
    mosaic.write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="50">'
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand">'
        "<PixelFunctionType>f</PixelFunctionType>"
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionCode><![CDATA[\n"
        f"open({str(trap)!r}, 'w').close()\n"
        "def f(in_ar, out_ar, *args, **kwargs):\n    out_ar[:] = 1\n"
        "]]></PixelFunctionCode><SimpleSource>"
        '<SourceFilename relativeToVRT="1">plain.tif</SourceFilename></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SceneError, match=r"mosaic\.vrt"):
        label(mosaic, tmp_path / "out", **SMALL)
    assert not trap.exists()


@pytest.fixture
def served(make_scene: SceneFactory, tmp_path: Path) -> Iterator[tuple[str, Counts, Path]]:
    """Serve a Cloud-Optimized GeoTIFF of 1536 x 2048 pixels."""
    path = make_scene(draw_landscape(1536, 2048), "plain.tif")
    rasterio.shutil.copy(path, tmp_path / "cog.tif", driver="COG", blocksize=256, compress="LZW")
    with serving(tmp_path / "cog.tif") as (address, counts):
        yield address, counts, tmp_path / "cog.tif"


def test_of_a_scene_on_a_server_only_the_needed_ranges_are_fetched(
    served: tuple[str, Counts, Path],
) -> None:
    address, counts, path = served
    size = path.stat().st_size
    local = open_scene(str(path), SceneSettings())
    stretch = measure_stretch([local])
    window = Window(512, 768, 256, 256)
    scene = open_scene(address, SceneSettings()).with_stretch(stretch)
    opened = counts[SENT]
    assert 0 < opened < 0.2 * size
    pixels, valid = scene.read(window)
    assert (pixels == local.with_stretch(stretch).read(window)[0]).all()
    assert valid.all()
    assert counts[WHOLE] == 0
    assert 0 < counts[SENT] - opened < 0.1 * size


def fetched_to_read(path: Path, window: Window) -> int:
    """Return the bytes that GDAL takes from a server to open a file and read a window once."""
    with (
        serving(path) as (address, counts),
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        rasterio.open(address) as file,
    ):
        file.read([1, 2, 3], window=for_gdal(window))
        return int(counts[SENT])


@pytest.mark.parametrize("side", [300, 700, 1100])
def test_an_area_of_a_scene_on_a_server_is_fetched_once(
    served: tuple[str, Counts, Path], tmp_path: Path, side: int
) -> None:
    address, counts, path = served
    place = Window(130, 270, side, side)
    with rasterio.open(path) as file:
        left, top = file.transform * (place.col, place.row)
        right, bottom = file.transform * (place.col_stop, place.row_stop)
        area = geopandas.GeoSeries([shapely.box(left, bottom, right, top)], crs=file.crs)
    area.to_file(tmp_path / "area.gpkg")
    label(address, tmp_path / "out", aoi=str(tmp_path / "area.gpkg"), **SMALL)
    assert counts[SENT] <= 1.5 * fetched_to_read(path, place)


def test_what_a_thread_has_fetched_another_need_not_fetch(
    served: tuple[str, Counts, Path],
) -> None:
    address, counts, _ = served
    scene, window = open_scene(address, SceneSettings()), Window(200, 300, 400, 400)
    pixels, _ = scene.read_values(window)
    before = counts[SENT]
    with ThreadPoolExecutor(1) as thread:
        again, _ = thread.submit(scene.read_values, window).result()
    assert (again == pixels).all()
    assert counts[SENT] == before


def test_threads_that_read_at_the_same_time_see_the_right_pixels(
    make_scene: SceneFactory,
) -> None:
    image = draw_landscape(700, 900)
    scene = open_scene(str(make_scene(image)), SceneSettings())
    rng = np.random.default_rng(0)
    windows = [Window(*rng.integers(0, 400, 2).tolist(), 250, 350) for _ in range(60)]
    with ThreadPoolExecutor(6) as threads:
        for window, (pixels, _) in zip(
            windows, threads.map(scene.read_values, windows), strict=True
        ):
            rows, cols = window.slices
            assert (pixels == np.moveaxis(image[rows, cols], 2, 0)).all()


def test_a_scene_that_was_not_on_its_server_is_found_once_it_is(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    ready, late = make_scene(draw_landscape(90, 120)), tmp_path / "late.tif"
    with serving(late) as (address, _):
        with pytest.raises(SceneError, match="404"):
            label(address, tmp_path / "out", **SMALL)
        ready.rename(late)
        label(address, tmp_path / "out", **SMALL)


def test_a_scene_that_changed_on_its_server_is_read_anew(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    image = draw_landscape(90, 120)
    path, other = make_scene(image), make_scene(image[::-1], "other.tif")
    with serving(path) as (address, _):
        read(label(address, tmp_path / "out", **SMALL))
        other.replace(path)
        scene = open_scene(address, SceneSettings())
        pixels, _ = scene.read_values(scene.grid.window)
    assert (pixels == np.moveaxis(image[::-1], 2, 0)).all()


def test_an_area_of_interest_that_was_not_on_its_server_is_found_once_it_is(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    scene, late = make_scene(draw_landscape(90, 120)), tmp_path / "late.gpkg"
    with rasterio.open(scene) as file:
        area = geopandas.GeoSeries([shapely.box(*file.bounds)], crs=file.crs)
    with serving(late) as (address, _):
        with pytest.raises(AlpsGeoError, match="404"):
            label(scene, tmp_path / "out", aoi=address, **SMALL)
        area.to_file(late)
        label(scene, tmp_path / "out", aoi=address, **SMALL)


def hold_scene(path: str) -> AbstractContextManager[object]:
    """Return what is open while a scene is read."""
    return opened(path)


def hold_segments(path: str) -> AbstractContextManager[object]:
    """Return what is open while segments are painted and read."""
    return bounded_cache()


@pytest.mark.parametrize("hold", [hold_scene, hold_segments])
def test_gdal_keeps_blocks_of_megabytes_and_no_share_of_all_memory(
    make_scene: SceneFactory, hold: Callable[[str], AbstractContextManager[object]]
) -> None:
    # rasterio takes bytes where GDAL's own variable takes megabytes.
    with hold(str(make_scene(draw_landscape(30, 30)))):
        assert 2**24 <= get_gdal_config("GDAL_CACHEMAX") <= 2**28


def test_a_missing_address_is_one_line(served: tuple[str, Counts, Path]) -> None:
    with pytest.raises(SceneError, match=r"nothing\.tif: cannot be opened"):
        open_scene(served[0].replace("cog", "nothing"), SceneSettings())
