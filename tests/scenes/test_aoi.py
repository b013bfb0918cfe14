"""Areas of interest: any vector file, any CRS, any grid; refused where they mean nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from alps_geo.errors import SceneError
from alps_geo.scenes.aoi import Aoi, read_aoi
from alps_geo.scenes.grid import Grid, Window

UTM = CRS.from_epsg(32640)
GRID = Grid(UTM, Affine(2, 0, 320000, 0, -2, 2780000), 60, 80)
#: Turned by 30 degrees.
TURNED = Grid(UTM, Affine(1.732, 1, 320000, 1, -1.732, 2780000), 60, 80)


def ground(grid: Grid, corners: list[tuple[float, float]]) -> shapely.Polygon:
    return shapely.Polygon(grid.to_ground(np.array(corners, float)))


def write(path: Path, shapes: list[shapely.Geometry], crs: object = UTM, **options: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pyogrio warns where there is no CRS
        geopandas.GeoDataFrame(geometry=shapes, crs=crs).to_file(path, **options)
    return str(path)


TRIANGLE = [(5.2, 5.1), (70.3, 20.2), (20.4, 55.6)]


def centres_inside(corners: list[tuple[float, float]]) -> np.ndarray:
    rows, cols = np.mgrid[:60, :80] + 0.5
    inside: np.ndarray = shapely.contains_xy(shapely.Polygon(corners), cols, rows)
    return inside


@pytest.mark.parametrize("grid", [GRID, TURNED], ids=["north up", "turned"])
@pytest.mark.parametrize("name", ["aoi.gpkg", "aoi.shp", "aoi.geojson"])
def test_a_pixel_is_inside_if_its_centre_is(grid: Grid, name: str, tmp_path: Path) -> None:
    shape = geopandas.GeoSeries([ground(grid, TRIANGLE)], crs=UTM)
    if name == "aoi.geojson":
        shape = shape.to_crs(4326)
    path = write(tmp_path / name, list(shape), shape.crs)
    inside = read_aoi(path, grid, "scene.tif").inside(grid.window)
    # GeoJSON keeps seven decimals of a degree, so single pixels at the edge may differ.
    assert np.count_nonzero(inside != centres_inside(TRIANGLE)) <= (2 if "json" in name else 0)


@given(data=st.data())
def test_windows_cut_the_same_pixels_out(data: st.DataObject) -> None:
    aoi = Aoi("aoi.gpkg", (shapely.to_wkb(shapely.Polygon(TRIANGLE)),))
    row, col = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 79))
    window = Window(
        row, col, data.draw(st.integers(1, 60 - row)), data.draw(st.integers(1, 80 - col))
    )
    assert (aoi.inside(window) == aoi.inside(GRID.window)[window.slices]).all()


def test_holes_and_several_polygons_count(tmp_path: Path) -> None:
    outer = shapely.Polygon(
        ground(GRID, [(0, 0), (40, 0), (40, 40), (0, 40)]).exterior.coords,
        [ground(GRID, [(10, 10), (20, 10), (20, 20), (10, 20)]).exterior.coords],
    )
    other = ground(GRID, [(60, 0), (80, 0), (80, 10), (60, 10)])
    path = write(tmp_path / "aoi.gpkg", [outer, other, shapely.Point(320010, 2779990)])
    inside = read_aoi(path, GRID, "scene.tif").inside(GRID.window)
    assert inside.sum() == 40 * 40 - 10 * 10 + 20 * 10
    assert not inside[15, 15]


def test_a_bow_tie_is_mended(tmp_path: Path) -> None:
    path = write(tmp_path / "aoi.gpkg", [ground(GRID, [(0, 0), (40, 40), (40, 0), (0, 40)])])
    assert read_aoi(path, GRID, "scene.tif").inside(GRID.window).sum() == pytest.approx(800, abs=45)


def test_the_first_layer_with_polygons_counts(tmp_path: Path) -> None:
    path = tmp_path / "aoi.gpkg"
    write(path, [shapely.Point(0, 0)], layer="points")
    write(path, [ground(GRID, TRIANGLE)], layer="area", mode="a")
    assert read_aoi(str(path), GRID, "scene.tif").inside(GRID.window).any()


def test_two_files_without_crs_share_a_plane(tmp_path: Path) -> None:
    grid = Grid(None, GRID.transform, 60, 80)
    path = write(tmp_path / "aoi.shp", [ground(GRID, TRIANGLE)], None)
    inside = read_aoi(path, grid, "scene.tif").inside(grid.window)
    assert (inside == centres_inside(TRIANGLE)).all()


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(SceneError, match=r"^nowhere\.gpkg: the area of interest does not exist"):
        read_aoi("nowhere.gpkg", GRID, "scene.tif")


def test_a_file_without_vectors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no vectors here")
    with pytest.raises(SceneError, match=r"notes\.txt: .* cannot be read as a vector file"):
        read_aoi(str(path), GRID, "scene.tif")


def test_an_area_without_crs_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "aoi.shp", [ground(GRID, TRIANGLE)], None)
    with pytest.raises(
        SceneError, match=r"has no CRS, so .* assign the one that its coordinates are in"
    ):
        read_aoi(path, GRID, "scene.tif")


def test_a_scene_without_crs_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "aoi.gpkg", [ground(GRID, TRIANGLE)])
    with pytest.raises(SceneError, match=r"^scene\.tif: has no CRS, so that .*aoi\.gpkg"):
        read_aoi(path, Grid(None, GRID.transform, 60, 80), "scene.tif")


def test_lines_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "aoi.gpkg", [shapely.LineString(ground(GRID, TRIANGLE).exterior)])
    with pytest.raises(SceneError, match="has no polygons"):
        read_aoi(path, GRID, "scene.tif")


def test_an_area_elsewhere_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "aoi.gpkg", [ground(GRID, [(200, 0), (210, 0), (210, 10)])])
    with pytest.raises(SceneError, match=r"aoi\.gpkg, does not touch scene\.tif"):
        read_aoi(path, GRID, "scene.tif")


def test_an_area_off_the_projection_is_said_to_lie_elsewhere(tmp_path: Path) -> None:
    disc = CRS.from_proj4("+proj=geos +h=35785831 +lon_0=0 +sweep=y")
    path = write(tmp_path / "aoi.gpkg", [shapely.box(170, -80, 179, -70)], 4326)
    with pytest.raises(
        SceneError, match=r"does not touch .* x 170 to 179, y -80 to -70, and scene\.tif at x 3\.2"
    ):
        read_aoi(path, Grid(disc, GRID.transform, 60, 80), "scene.tif")


def area(*polygons: list[tuple[float, float]]) -> Aoi:
    return Aoi("aoi.gpkg", tuple(shapely.to_wkb([shapely.Polygon(each) for each in polygons])))


corners = st.tuples(st.floats(-9, 89), st.floats(-9, 69))


@given(
    polygons=st.lists(
        st.lists(corners, min_size=3, max_size=3, unique=True), min_size=1, max_size=3
    ),
    window=st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 40)] * 2),
)
def test_what_is_touched_holds_all_that_is_inside(
    polygons: list[list[tuple[float, float]]], window: tuple[int, int, int, int]
) -> None:
    place, aoi = Window(*window), area(*polygons)
    touched, inside = aoi.touched(place), aoi.inside(place)
    if touched is None:
        assert not inside.any()
        return
    assert touched.intersect(place) == touched
    rows, cols = touched.shift(-place.row, -place.col).slices
    assert inside[rows, cols].sum() == inside.sum()
    assert (aoi.inside(touched) == inside[rows, cols]).all()


@given(rows=st.integers(-30, 30), cols=st.integers(-30, 30))
def test_a_shifted_area_is_the_same_on_a_shifted_grid(rows: int, cols: int) -> None:
    aoi, window = area(TRIANGLE), Window(0, 0, 60, 80)
    moved = aoi.shift(rows, cols).inside(window.shift(rows, cols))
    assert (moved == aoi.inside(window)).all()
