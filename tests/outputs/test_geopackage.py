import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine

from alps_geo.classes.legend import Legend
from alps_geo.outputs.class_layers import layer_name
from alps_geo.outputs.geopackage import SegmentTable, write_layers
from alps_geo.scenes.grid import Grid
from alps_geo.segments.polygons import Polygons

GRID = Grid(pyproj.CRS.from_epsg(32632), Affine(1, 0, 0, 0, -1, 0), 100, 100)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bare soil", "class_01_bare_soil"),
        ("Straße", "class_01_strasse"),
        ("Forêt/Éclaircie", "class_01_foret_eclaircie"),
        ("🌳", "class_01"),
        ("道路", "class_01"),
        ("x'); DROP TABLE segments; --", "class_01_x_drop_table_segments"),
        ("_" * 50 + "a", "class_01_a"),
        ("long " * 20, "class_01_long_long_long_long_long_long_long_long"),
        ("class_01", "class_01"),
    ],
)
def test_layers_are_named_by_id_and_what_plain_letters_a_name_has(name, expected):
    assert layer_name(Legend(4, (0, 1, 2, 3), {1: name.strip()}), 1) == expected


def test_layers_without_a_name_of_their_own_are_named_by_id():
    assert layer_name(Legend(4, (0, 1, 2, 3)), 1) == "class_01"
    assert layer_name(Legend(1000, tuple(range(1000))), 1) == "class_001"


def test_polygons_may_come_in_parts(tmp_path):
    boxes = [shapely.MultiPolygon([shapely.box(i, 0, i + 1, 1)]) for i in range(6)]
    ids, ones = np.arange(1, 7, dtype=np.uint32), np.ones(6)
    everything = Polygons(ids, np.array(boxes), ones)
    scores = ones.astype(np.float32)
    table = SegmentTable(ids, ids % 2, ids.astype(np.int64), scores, scores, scores)

    def parts():
        for chosen in ([3, 5], [], [0, 1], [2, 4]):
            yield Polygons(ids[chosen], everything.geometry[chosen], ones[chosen])

    write_layers(tmp_path / "parts.gpkg", parts(), table, Legend(2, (0, 1)), GRID)
    found = pyogrio.read_dataframe(tmp_path / "parts.gpkg", layer="segments")
    assert found.segment_id.tolist() == [4, 6, 1, 2, 3, 5]
    assert found.area_px.tolist() == [4, 6, 1, 2, 3, 5]
    info = pyogrio.read_info(tmp_path / "parts.gpkg", layer="class_01", force_total_bounds=True)
    assert tuple(info["total_bounds"]) == (0, 0, 5, 1)


def test_unknown_scores_are_null(tmp_path):
    unknown = np.array([np.nan], np.float32)
    one = np.array([1])
    table = SegmentTable(one.astype(np.uint32), one * 0, one, unknown, unknown, unknown)
    box = np.array([shapely.MultiPolygon([shapely.box(0, 0, 1, 1)])])
    polygons = Polygons(table.segment_id, box, np.array([np.nan]))
    write_layers(tmp_path / "nulls.gpkg", [polygons], table, Legend(2, (0, 1)), GRID)
    query = "SELECT count(*) AS n FROM segments WHERE confidence IS NULL AND area_m2 IS NULL"
    assert pyogrio.read_dataframe(tmp_path / "nulls.gpkg", sql=query).n.tolist() == [1]
