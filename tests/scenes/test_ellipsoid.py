"""Metres of a CRS that are no metres on the ground."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from alps_geo.pipeline import label
from alps_geo.planning import info
from alps_geo.progress import RecordedProgress
from alps_geo.scenes.ellipsoid import scale, to_degrees
from alps_geo.scenes.grid import Grid
from alps_geo.scenes.scene import open_scene
from alps_geo.segments.polygons import polygonize
from alps_geo.settings import SceneSettings

from ..conftest import SceneFactory, draw_landscape

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "features": "texture", "n_classes": 2}
#: Systems, and a place in longitude and latitude where their metres are none, or far from it.
STRETCHED = {
    "Web Mercator at 60 N": ("EPSG:3857", 10, 60),
    "World Mercator at 60 S": ("EPSG:3395", 10, -60),
    "UTM far from its zone": ("EPSG:32632", 24, 40),
    "polar stereographic at 60 N": ("EPSG:3995", 20, 60),
    "Robinson": ("ESRI:54030", 40, 60),
    "Mercator in feet": ("+proj=merc +datum=WGS84 +units=us-ft", 10, 50),
    "axes to the south and west, far off": ("EPSG:2053", 44, -25),
}
TRUE = {
    "UTM": ("EPSG:32632", 9, 50),
    "Web Mercator at the equator": ("EPSG:3857", 10, 0.1),
    "New York": ("EPSG:2263", -74, 40.7),
    "LAEA Europe": ("EPSG:3035", 10, 52),
}


def grid_at(system: str, longitude: float, latitude: float, side: float = 3.0) -> Grid:
    crs = CRS.from_user_input(system)
    transformer = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    x, y = transformer.transform(longitude, latitude)
    return Grid(crs, Affine(side, 0, x, 0, -side, y), 40, 50)


@pytest.mark.parametrize(("system", "longitude", "latitude"), STRETCHED.values(), ids=STRETCHED)
def test_where_a_crs_stretches_areas_and_pixels_are_geodesic(
    system: str, longitude: float, latitude: float
) -> None:
    grid = grid_at(system, longitude, latitude)
    assert grid.is_stretched
    assert grid.areas == "geodesic"
    labels = np.repeat(np.arange(1, 5, dtype=np.uint32), 10)[:, None].repeat(50, axis=1)
    (polygons,) = polygonize(lambda window: labels[window.slices], grid)
    geod = grid.crs.get_geod()
    unproject = Transformer.from_crs(grid.crs, grid.crs.geodetic_crs, always_xy=True)
    expected = [
        abs(geod.geometry_area_perimeter(part)[0])
        for part in shapely.transform(polygons.geometry, unproject.transform, interleaved=False)
    ]
    np.testing.assert_allclose(polygons.area_m2, expected, rtol=1e-6)
    assert grid.pixel_size_m == pytest.approx(math.sqrt(sum(expected) / 2000), rel=1e-3)
    assert grid.resample(5).pixel_size_m == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize(("system", "longitude", "latitude"), TRUE.values(), ids=TRUE)
def test_where_a_crs_tells_metres_they_are_planar(
    system: str, longitude: float, latitude: float
) -> None:
    grid = grid_at(system, longitude, latitude)
    assert (grid.is_stretched, grid.areas) == (False, "planar")
    assert grid.scale == pytest.approx(1, abs=0.007)
    assert grid.pixel_size_m == 3 * grid.metres_per_unit


def test_local_systems_stay_as_they_are() -> None:
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]')
    grid = Grid(local, Affine(2, 0, 0, 0, -2, 0), 10, 10)
    assert (grid.scale, grid.areas, grid.pixel_size_m) == (None, "planar", 2)
    nowhere = Grid(None, Affine.identity(), 10, 10)
    assert (nowhere.scale, nowhere.areas, nowhere.pixel_size_m) == (None, None, None)


@given(latitude=st.floats(-80, 80))
def test_web_mercator_stretches_by_the_secant_of_the_latitude(latitude: float) -> None:
    grid = grid_at("EPSG:3857", 10, latitude)
    # Its sphere is the equator's, so that lengths differ by 0.7 % with the direction.
    assert grid.scale == pytest.approx(1 / math.cos(math.radians(latitude)), rel=0.008)


def test_long_edges_follow_the_map_not_the_great_circle() -> None:
    grid = grid_at("EPSG:3857", 0, 60, side=20_000.0)
    labels = np.ones((40, 50), np.uint32)
    (polygons,) = polygonize(lambda window: labels[window.slices], grid)
    corners = to_degrees(grid.crs, grid.to_ground(np.array([[0.0, 0.0], [50.0, 40.0]])))
    (west, north), (east, south) = corners
    ring = [
        *((lon, north) for lon in np.linspace(west, east, 5000)),
        *((lon, south) for lon in np.linspace(east, west, 5000)),
    ]
    expected = abs(Geod(ellps="WGS84").polygon_area_perimeter(*np.array(ring).T)[0])
    assert polygons.area_m2[0] == pytest.approx(expected, rel=1e-5)


def test_areas_beyond_the_map_are_unknown_and_spoil_no_others() -> None:
    crs = CRS.from_user_input("+proj=ortho +lat_0=0 +lon_0=0")
    grid = Grid(crs, Affine(1e5, 0, -7e6, 0, -1e5, 7e6), 140, 140)
    labels = np.zeros((140, 140), np.uint32)
    labels[0:5, 0:5], labels[30:60, 100:110], labels[60:80, 60:80] = 1, 2, 3
    parts = polygonize(lambda window: labels[window.slices], grid)
    areas = np.concatenate([part.area_m2 for part in parts])
    assert np.isnan(areas).tolist() == [True, False, False]
    assert areas[2] == pytest.approx(4e12, rel=0.1)
    assert scale(crs, np.array([[7e6, 7e6]])) is None


def test_a_stretched_scene_is_said_to_be_so_everywhere(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    place = grid_at("EPSG:3857", 10, 60, side=2.0)
    scene = make_scene(draw_landscape(100, 130), crs="EPSG:3857", transform=place.transform)
    progress = RecordedProgress()
    outputs = label(scene, tmp_path / "out", progress=progress, **SMALL)
    assert any("makes lengths 2 times as long here as they are" in t for t in progress.messages)
    (facts,) = json.loads(outputs.record_path.read_text("utf-8"))["scenes"]
    assert facts["areas"] == "geodesic"
    assert facts["crs_scale"] == pytest.approx(2, abs=0.01)
    _, _, _, (area_m2, area_px) = pyogrio.raw.read(
        outputs.package_paths[0], layer="segments", columns=["area_m2", "area_px"]
    )
    np.testing.assert_allclose(area_m2, area_px * 1.0, rtol=0.01)
    plan = info(scene, **SMALL)
    assert plan.scene["pixel_size_m"] == pytest.approx(1, abs=0.01)
    coarse = open_scene(str(scene), SceneSettings(gsd=2))
    assert (coarse.grid.height, coarse.grid.width) == (50, 65)
