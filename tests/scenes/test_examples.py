"""Points, lines and polygons of vector files, on the pixels of a scene."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from shapely.geometry import GeometryCollection, LineString, MultiPoint, Point, box

from alps_geo.errors import ReferenceDataError
from alps_geo.scenes.examples import LINE, POINT, POLYGON, read_shapes
from alps_geo.scenes.grid import Grid, Window

GRID = Grid(CRS.from_epsg(32640), Affine(2, 0, 320000, 0, -2, 2780000), 100, 120)
#: Segments are squares of 10 pixels, numbered row by row from 1; the first has no number.
SEGMENTS = np.kron(np.arange(1, 121).reshape(10, 12), np.ones((10, 10), int)).astype(np.uint32)
SEGMENTS[:10, :10] = 0


def read(window: Window) -> NDArray[np.uint32]:
    return SEGMENTS[window.slices]


def at(col: float, row: float) -> tuple[float, float]:
    """Return the ground coordinates of a place in pixels."""
    return 320000 + 2 * col, 2780000 - 2 * row


def write(
    path: Path, shapes: list[object], crs: str | None = "EPSG:32640", **columns: object
) -> str:
    given = columns or {"class": ["road"] * len(shapes)}
    gpd.GeoDataFrame(given, geometry=shapes, crs="EPSG:32640").to_crs(crs or 32640).to_file(path)
    return str(path)


def pixels(path: str, field: str | None = None) -> dict[int, dict[int, int]]:
    """Return the pixels of each segment that each feature has."""
    table = read_shapes(path, field, GRID, "scene").count_pixels(read, GRID)
    found: dict[int, dict[int, int]] = {}
    for owner, segment, count in table.itertuples(index=False):
        found.setdefault(owner, {})[segment] = count
    return found


@pytest.mark.parametrize("crs", ["EPSG:32640", "EPSG:4326", "EPSG:3857"])
@pytest.mark.parametrize("name", ["points.gpkg", "points.geojson", "points.shp"])
def test_points_of_any_crs_and_format_lie_in_their_segments(
    tmp_path: Path, crs: str, name: str
) -> None:
    shapes = [Point(at(15.5, 5.5)), Point(at(55.5, 95.5)), Point(at(5.5, 5.5)), Point(at(500, 5))]
    path = write(tmp_path / name, shapes, crs)
    # One lies where there is no segment, and one outside.
    assert list(pixels(path).values()) == [{2: 1}, {114: 1}]


def test_a_point_on_the_last_border_is_in_the_last_pixel(tmp_path: Path) -> None:
    assert pixels(write(tmp_path / "a.gpkg", [Point(at(120, 100))])) == {0: {120: 1}}


def test_points_of_one_feature_count_each(tmp_path: Path) -> None:
    shape = MultiPoint([at(15, 5), at(16, 5), at(25, 5)])
    assert pixels(write(tmp_path / "a.gpkg", [shape])) == {0: {2: 2, 3: 1}}


@pytest.mark.parametrize("crs", ["EPSG:32640", "EPSG:4326"])
def test_a_line_has_the_pixels_that_it_crosses(tmp_path: Path, crs: str) -> None:
    line = LineString([at(15.5, 5.5), at(34.5, 5.5)])
    assert pixels(write(tmp_path / "a.gpkg", [line], crs)) == {0: {2: 5, 3: 10, 4: 5}}


def test_a_line_that_leaves_the_scene_counts_inside(tmp_path: Path) -> None:
    line = LineString([at(-500, 15.5), at(500, 15.5)])
    found = pixels(write(tmp_path / "a.gpkg", [line], "EPSG:4326"))
    assert sum(found[0].values()) >= 100


@pytest.mark.parametrize("crs", ["EPSG:32640", "EPSG:4326"])
def test_a_polygon_has_the_pixels_whose_centres_it_holds(tmp_path: Path, crs: str) -> None:
    area = box(*at(12, 18), *at(28, 2))
    assert pixels(write(tmp_path / "a.gpkg", [area], crs)) == {0: {2: 64, 3: 64, 14: 64, 15: 64}}


def test_kinds_are_told_apart_also_in_collections(tmp_path: Path) -> None:
    mixed = GeometryCollection([Point(at(15, 5)), box(*at(22, 8), *at(24, 6))])
    shapes = [Point(at(15, 5)), LineString([at(1, 15), at(5, 15)]), mixed]
    path = write(tmp_path / "a.geojson", shapes, "EPSG:4326")
    assert read_shapes(path, None, GRID, "scene").kinds.tolist() == [POINT, LINE, POLYGON]


def test_empty_and_missing_geometries_and_values_are_no_examples(tmp_path: Path) -> None:
    shapes = [Point(at(15, 5)), Point(), None, Point(at(25, 5))]
    path = write(tmp_path / "a.gpkg", shapes, **{"class": ["a", "b", "c", " "]})
    found = read_shapes(path, None, GRID, "scene")
    assert "a" in found.names.tolist()
    assert None in found.names.tolist()


@pytest.mark.parametrize(
    ("columns", "field", "names"),
    [
        ({"kind": ["roof"]}, None, ["roof"]),
        ({"class": [" roof "], "note": ["x"]}, None, ["roof"]),
        ({"kind": [3], "note": ["x"]}, "kind", ["3"]),
        ({"kind": [3.0], "note": ["x"]}, "kind", ["3"]),
    ],
)
def test_the_field_is_named_or_called_class_or_the_only_one(
    tmp_path: Path, columns: dict[str, object], field: str | None, names: list[str]
) -> None:
    path = write(tmp_path / "a.gpkg", [Point(at(15, 5))], **columns)
    assert read_shapes(path, field, GRID, "scene").names.tolist() == names


@pytest.mark.parametrize("field", ["klass", None])
def test_a_missing_field_is_said_with_those_that_are_there(
    tmp_path: Path, field: str | None
) -> None:
    path = write(tmp_path / "a.gpkg", [Point(at(15, 5))], kind=["roof"], note=["x"])
    with pytest.raises(ReferenceDataError, match=r"by `field`: kind, note$"):
        read_shapes(path, field, GRID, "scene")


def test_a_file_that_is_not_there_or_no_vector_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReferenceDataError, match="the file of examples does not exist"):
        read_shapes(str(tmp_path / "none.gpkg"), None, GRID, "scene")
    (tmp_path / "text.gpkg").write_text("no package")
    with pytest.raises(ReferenceDataError, match="cannot be read as a vector file"):
        read_shapes(str(tmp_path / "text.gpkg"), None, GRID, "scene")


def test_of_several_layers_one_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    table = gpd.GeoDataFrame({"class": ["a"]}, geometry=[Point(at(15, 5))], crs="EPSG:32640")
    table.to_file(path, layer="one")
    table.to_file(path, layer="two")
    with pytest.raises(ReferenceDataError, match=r"2 layers; name one, such as .*\|layername=one"):
        read_shapes(str(path), None, GRID, "scene")
    assert read_shapes(f"{path}|layername=two", None, GRID, "scene").names.tolist() == ["a"]


def test_points_across_180_degrees_find_their_pixel(tmp_path: Path) -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(0.1, 0, 179, 0, -0.1, 1), 10, 20)
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame({"class": ["a"]}, geometry=[Point(-179.95, 0.55)], crs="EPSG:4326").to_file(
        path
    )
    found = read_shapes(str(path), None, grid, "scene")
    assert np.floor(found.points).tolist() == [[10, 4]]
    assert shapely.is_empty(found.polygons).sum() == 0
