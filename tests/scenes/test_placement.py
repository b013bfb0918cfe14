"""Polygons onto grids in other CRSs: clipping changes nothing, and the globe has no edge."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.features import rasterize

from alps_geo.errors import SceneError
from alps_geo.evaluation.comparison import evaluate
from alps_geo.evaluation.polygons import read_polygons
from alps_geo.scenes.antimeridian import period_of
from alps_geo.scenes.aoi import read_aoi
from alps_geo.scenes.grid import Grid
from alps_geo.scenes.placement import Purpose, connect

PURPOSE = Purpose("the area of interest", SceneError)
#: Grids of 64 x 64 pixels whose middle is at 180 degrees, or that hold a pole, or all of a disc.
GRIDS = {
    "UTM 1": (32601, (136_000, 400_000, 2_000)),
    "UTM 60": (32660, (770_000, 400_000, 2_000)),
    "PDC Mercator": (3832, (3_275_000, 500_000, 2_000)),
    "Web Mercator beyond its edge": (3857, (19_970_000, 500_000, 2_000)),
    "degrees beyond 180": (4326, (179.5, 10, 0.02)),
    "degrees beyond -180": (4326, (-180.6, 10, 0.02)),
    "north pole": (3413, (-1_000_000, 1_000_000, 31_250)),
    "south pole": (3031, (-1_000_000, 1_000_000, 31_250)),
    "the whole globe": (4326, (-180, 90, 5.625)),
    "Europe": (3035, (2_500_000, 5_500_000, 46_875)),
    "the disc of a satellite": (
        "+proj=geos +h=35785831 +lon_0=-75 +sweep=x +type=crs",
        (-5_600_000, 5_600_000, 175_000),
    ),
}


def make_grid(name):
    crs, (left, top, size) = GRIDS[name]
    height = 32 if name == "the whole globe" else 64
    return Grid(CRS.from_user_input(crs), Affine(size, 0, left, 0, -size, top), height, 64)


def place(shapes, crs, grid):
    """Return which pixels the polygons hold."""
    way = connect("area.gpkg", CRS.from_user_input(crs), grid, PURPOSE, "scene.tif")
    placed = way.place(np.array(shapes, object)).shapes
    if not len(placed):
        return np.zeros((grid.height, grid.width), bool)
    return rasterize(list(placed), (grid.height, grid.width)).astype(bool)


def lonlat(grid):
    """Return longitude, from -180 to 180, and latitude of each pixel's centre."""
    rows, cols = np.mgrid[: grid.height, : grid.width] + 0.5
    x, y = grid.to_ground(np.stack([cols.ravel(), rows.ravel()], axis=1)).T
    lon, lat = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    shape = grid.height, grid.width
    lon, lat = np.where(np.isfinite(lon), (lon, lat), np.nan)  # a disc has pixels off the earth
    lon = lon - 360 * np.round(lon / 360)
    return np.reshape(lon, shape), np.reshape(lat, shape)


@pytest.mark.parametrize("name", GRIDS)
def test_polygons_of_the_world_hold_all_of_a_grid(name):
    grid = make_grid(name)
    on_earth = np.isfinite(lonlat(grid)[0])
    inside = place([shapely.box(-180, -90, 180, 90)], 4326, grid)
    # On a disc, the outermost pixels are seen edge-on.
    assert np.count_nonzero(inside != on_earth) <= (0.07 * on_earth.sum() if "disc" in name else 0)


@pytest.mark.parametrize("name", [name for name in GRIDS if "disc" not in name])
@pytest.mark.parametrize("form", ["as RFC 7946 asks", "beyond 180", "from 0 to 360"])
def test_an_area_across_180_degrees_is_whole_however_it_is_written(name, form):
    grid = make_grid(name)
    lon, lat = lonlat(grid)
    middle = lat[-32, 32] if abs(lat[-32, 32]) < 80 else 78 * np.sign(lat[-32, 32])
    south, north = middle - 0.3133, middle + 0.2937
    if name in ("the whole globe", "north pole", "south pole"):
        south, north = middle - 8.3, middle + 8.1
    width = 13.3 if name in ("the whole globe", "Europe", "north pole", "south pole") else 0.3337
    shapes = {
        "as RFC 7946 asks": [
            shapely.box(180 - width, south, 180, north),
            shapely.box(-180, south, -180 + width, north),
        ],
        "beyond 180": [shapely.box(-180 - width, south, -180 + width, north)],
        "from 0 to 360": [shapely.box(180 - width, south, 180 + width, north)],
    }[form]
    expected = (np.abs(lon) > 180 - width) & (lat > south) & (lat < north)
    inside = place(shapes, 4326, grid)
    assert expected.any() or name == "Europe"
    # The seam of the two halves may leave out centres that lie exactly on it.
    assert np.count_nonzero(inside != expected) <= max(2, 0.02 * expected.sum())


@pytest.mark.parametrize("crs", [32601, 32660, 3832])
def test_an_area_in_a_projection_of_the_pacific_lies_on_a_grid_in_degrees(crs):
    grid = make_grid("degrees beyond 180")
    corners = shapely.segmentize(shapely.box(179.7, 9.1, 180.2, 9.8), 0.01)
    to = Transformer.from_crs(4326, crs, always_xy=True)
    shape = shapely.transform(
        corners, lambda points: np.stack(to.transform(points[:, 0], points[:, 1]), axis=1)
    )
    for own in (grid, make_grid("degrees beyond -180")):
        lon, lat = lonlat(own)
        expected = ((lon > 179.7) | (lon < -179.8)) & (lat > 9.1) & (lat < 9.8)
        assert expected.any()
        assert np.count_nonzero(place([shape], crs, own) != expected) <= 30


def test_an_area_around_a_pole_lies_on_a_grid_in_degrees():
    circle = shapely.Point(0, 0).buffer(2_000_000, quad_segs=64)
    grid = make_grid("the whole globe")
    expected = lonlat(grid)[1] > 71.9
    assert np.count_nonzero(place([circle], 3413, grid) != expected) <= 64


@settings(max_examples=60)
@given(data=st.data())
def test_clipping_and_then_reprojecting_equals_reprojecting(data):
    name = data.draw(st.sampled_from(["UTM 1", "UTM 60", "PDC Mercator", "north pole", "Europe"]))
    grid = make_grid(name)
    lon, lat = lonlat(grid)
    reach = 25 if name in ("north pole", "Europe") else 1.5
    middle = data.draw(st.integers(0, 63)), data.draw(st.integers(0, 63))
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    radii = np.array(data.draw(st.lists(st.floats(0.1, 1), min_size=8, max_size=8))) * reach
    x = lon[middle] + radii * np.cos(angles)
    y = np.clip(lat[middle] + radii * np.sin(angles), -89, 89)
    shape = shapely.Polygon(np.stack([x, y], axis=1))
    # Reprojecting each pixel the other way needs neither clipping nor segments.
    near = lon + 360 * np.round((lon[middle] - lon) / 360)
    expected = np.zeros(lon.shape, bool)
    for turn in (-360, 0, 360):
        expected |= shapely.contains_xy(shape, near + turn, lat)
    inside = place([shape], 4326, grid)
    edge = expected != inside
    # Only pixels whose centre is next to an edge may differ: lines are cut into 256 pieces.
    apart = np.min(
        [
            shapely.distance(shape.exterior, shapely.points(near + turn, lat))
            for turn in (-360, 0, 360)
        ],
        axis=0,
    )
    assert (apart[edge] < 0.02 * reach).all()
    assert edge.sum() <= 12


def test_a_polygon_of_the_world_is_bounded_by_the_grid_and_costs_no_time():
    grid = make_grid("UTM 1")
    way = connect("area.gpkg", CRS.from_epsg(4326), grid, PURPOSE, "scene.tif")
    bounds = shapely.total_bounds(way.place(np.array([shapely.box(-180, -90, 180, 90)])).shapes)
    assert np.abs(bounds).max() < 100


@pytest.mark.parametrize(
    ("crs", "period"),
    [
        (4326, 360),
        (4807, 400),
        (3857, 40_075_016.7),
        (3832, 40_075_016.7),
        (32633, None),
        (2056, None),
    ],
)
def test_x_has_a_period_where_it_grows_with_longitude(crs, period):
    assert period_of(CRS.from_epsg(crs)) == (None if period is None else pytest.approx(period))


def write_raster(path, crs, transform, values, **options):
    height, width = values.shape
    profile = {"crs": crs, "transform": transform, "height": height, "width": width, "count": 1}
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", **profile, **options) as file:
        file.write(values.astype(np.uint8), 1)
    return path


@pytest.mark.parametrize("name", ["UTM 1", "UTM 60", "degrees beyond 180", "degrees beyond -180"])
@pytest.mark.parametrize("west", [150, -180, -210])
def test_a_reference_raster_across_180_degrees_is_whole(name, west, tmp_path):
    grid = make_grid(name)
    labels = write_raster(tmp_path / "labels.tif", grid.crs, grid.transform, np.ones((64, 64)))
    if west == -180:  # the whole globe
        truth = np.ones((180, 360))
        place_of = Affine(1, 0, -180, 0, -1, 90)
    else:
        truth, place_of = np.ones((60, 60)), Affine(1, 0, west, 0, -1, 30)
    truth = write_raster(tmp_path / "truth.tif", "EPSG:4326", place_of, truth)
    assert evaluate(labels, truth).confusion.sum() == 64 * 64


def test_both_halves_are_read_from_a_file_for_both(tmp_path):
    grid = make_grid("degrees beyond 180")
    halves = [shapely.box(179, 9, 180, 10), shapely.box(-180, 9, -179, 10)]
    table = gpd.GeoDataFrame({"kind": ["a", "a"]}, geometry=halves, crs=4326)
    path = tmp_path / "halves.geojson"
    table.to_file(path)
    assert read_aoi(str(path), grid, "scene.tif").inside(grid.window)[20:48].all()
    assert read_polygons(str(path), grid).read(grid.window)[1][20:48].all()
