"""One reader of polygons: every kind of source, for areas of interest and references alike."""

import json
import warnings
import zipfile

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import CRS

from alps_geo.errors import OutsideSceneError, ReferenceDataError, SceneError
from alps_geo.evaluation.comparison import evaluate
from alps_geo.evaluation.polygons import read_polygons
from alps_geo.scenes.aoi import read_aoi
from alps_geo.scenes.grid import Grid
from alps_geo.scenes.vectorfiles import shapes_of

GRID = Grid(CRS.from_epsg(32640), Affine(2, 0, 500_000, 0, -2, 2_780_000), 60, 80)
LOCAL = 'LOCAL_CS["building site",UNIT["metre",1]]'
MOON = "IAU_2015:30100"


def ground(corners, grid=GRID):
    return shapely.Polygon(grid.to_ground(np.array(corners, float)))


def box(left, top, right, bottom, grid=GRID):
    return ground([(left, top), (right, top), (right, bottom), (left, bottom)], grid)


LEFT = box(0, 0, 40, 60)


def write(path, shapes, kinds=None, crs=GRID.crs, to=None, **options):
    table = gpd.GeoDataFrame({"kind": kinds or ["a"] * len(shapes)}, geometry=shapes, crs=crs)
    table = table if to is None else table.to_crs(to)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a missing CRS
        if path.suffix in (".parquet", ".geoparquet"):
            table.to_parquet(path)
        else:
            table.to_file(path, **options)
    return path


def as_gdb(folder):
    return write(folder / "area.gdb", [LEFT], driver="OpenFileGDB")


def as_shapefiles(folder):
    (folder / "shapes").mkdir()
    write(folder / "shapes" / "area.shp", [LEFT])
    write(folder / "shapes" / "stations.shp", [shapely.Point(500_001, 2_779_999)])
    return folder / "shapes"


def as_zip(folder):
    write(folder / "area.shp", [LEFT])
    with zipfile.ZipFile(folder / "area.zip", "w") as archive:
        for item in folder.glob("area.*"):
            if item.suffix != ".zip":
                archive.write(item, item.name)
    return folder / "area.zip"


def as_qgis_source(folder):
    path = write(folder / "area.gpkg", [box(60, 0, 80, 60)], layer="other")
    write(path, [LEFT, LEFT.buffer(300)], ["a", "b"], layer="area", mode="a")
    return f"{path}|layername=area|subset=kind = 'a'"


def as_layer_number(folder):
    path = write(folder / "area.gpkg", [box(60, 0, 80, 60)], layer="other")
    write(path, [LEFT], layer="area", mode="a")
    return f"{path}|layerid=1|geometrytype=Polygon"


def as_kml(folder):
    return write(folder / "area.kml", [LEFT], to=4326, driver="KML")


def as_curve(folder):
    shape = "CURVEPOLYGON(COMPOUNDCURVE((500000 2780000,500080 2780000),(500080 2780000,500080"
    shape += " 2779880),(500080 2779880,500000 2779880),(500000 2779880,500000 2780000)))"
    return as_csv(folder, shape)


def as_collection(folder):
    return as_csv(folder, f"GEOMETRYCOLLECTION({LEFT.wkt},POINT(500001 2779999))")


def as_heights(folder):
    return as_csv(folder, shapely.force_3d(LEFT, 7).wkt)


def as_triangles(folder):
    a, b, c, d = (f"{x:.0f} {y:.0f}" for x, y in list(LEFT.exterior.coords)[:4])
    return as_csv(folder, f"TIN((({a},{b},{c},{a})),(({a},{c},{d},{a})))")


def as_csv(folder, wkt):
    """Write a table with WKT, and say its CRS in a VRT beside it."""
    (folder / "area.csv").write_text(f'kind,WKT\na,"{wkt}"\n')
    (folder / "area.vrt").write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="area"><SrcDataSource relativeToVRT="1">area.csv'
        "</SrcDataSource><LayerSRS>EPSG:32640</LayerSRS><Field name='kind'/>"
        '<GeometryField encoding="WKT" field="WKT"/></OGRVRTLayer></OGRVRTDataSource>'
    )
    return folder / "area.vrt"


SOURCES = {
    "GeoPackage": lambda folder: write(folder / "area.gpkg", [LEFT]),
    "GeoJSON": lambda folder: write(folder / "area.geojson", [LEFT], to=4326),
    "FlatGeobuf": lambda folder: write(folder / "area.fgb", [LEFT]),
    "GeoParquet": lambda folder: write(folder / "area.parquet", [LEFT], to=4326),
    "GeoParquet by its long name": lambda folder: write(folder / "area.geoparquet", [LEFT]),
    "File Geodatabase": as_gdb,
    "folder of Shapefiles": as_shapefiles,
    "zipped Shapefile": as_zip,
    "path into an archive": lambda folder: f"/vsizip/{as_zip(folder)}/area.shp",
    "layer and filter of QGIS": as_qgis_source,
    "layer by number": as_layer_number,
    "KML": as_kml,
    "curve polygon": as_curve,
    "collection": as_collection,
    "heights": as_heights,
    "triangles": as_triangles,
}


@pytest.mark.parametrize("name", SOURCES)
def test_an_area_of_interest_comes_from_any_source(name, tmp_path):
    inside = read_aoi(str(SOURCES[name](tmp_path)), GRID, "scene.tif").inside(GRID.window)
    expected = np.repeat([[True, False]], 40, axis=1).repeat(60, axis=0)
    assert np.count_nonzero(inside != expected) <= 60  # a column, where degrees are rounded


@pytest.mark.parametrize("name", SOURCES)
def test_a_reference_comes_from_any_source(name, tmp_path):
    labels = write_labels(tmp_path / "labels.tif")
    result = evaluate(labels, SOURCES[name](tmp_path), attribute="kind")
    assert result.class_names == ("a",)
    assert result.confusion.sum() == pytest.approx(40 * 60, abs=60)


def write_labels(path, crs="EPSG:32640", transform=GRID.transform, values=None):
    values = np.repeat([[1, 2]], 40, axis=1).repeat(60, axis=0) if values is None else values
    values = np.atleast_3d(values).astype(np.uint8)
    profile = {"height": values.shape[0], "width": values.shape[1], "count": values.shape[2]}
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", crs=crs, transform=transform, **profile
    ) as file:
        file.write(np.moveaxis(values, 2, 0))
    return path


BOW_TIE = [(0, 0), (40, 40), (40, 0), (0, 40)]


@pytest.mark.parametrize("crs", [32640, 4326, 3857])
def test_a_bow_tie_keeps_both_halves_in_any_crs(crs, tmp_path):
    path = write(tmp_path / "tie.gpkg", [ground(BOW_TIE)], to=crs)
    labels = write_labels(tmp_path / "labels.tif")
    assert evaluate(labels, path).confusion.sum() == pytest.approx(800, abs=45)
    assert read_aoi(str(path), GRID, "s").inside(GRID.window).sum() == pytest.approx(800, abs=45)


def test_what_is_left_out_is_counted_for_both(tmp_path):
    shapes = [
        LEFT,
        LEFT.exterior,
        shapely.Point(500_001, 2_779_999),
        None,
        shapely.Polygon(),
        shapely.Polygon([(500_000, 2_780_000), (500_010, 2_779_990), (500_000, 2_780_000)]),
        box(1000, 0, 1010, 10),
    ]
    path = str(write(tmp_path / "mixed.gpkg", shapes))
    aoi = read_aoi(path, GRID, "scene.tif")
    found = read_polygons(path, GRID)
    expected = f"{path}: left out 2 lines or points, 1 beyond repair"
    assert aoi.warnings == (expected,)
    assert aoi.messages == (f"{path}: 3 features do not touch scene.tif",)
    assert found.notes == [expected, f"{path}: 3 features outside the labels were left out"]


def test_empty_geometries_are_counted_where_the_file_has_no_index(tmp_path):
    path = write(tmp_path / "mixed.parquet", [LEFT, None, shapely.Polygon()])
    assert len(read_polygons(str(path), GRID).geometry) == 1


def test_the_first_layer_of_several_is_said_to_be_used(tmp_path):
    path = write(tmp_path / "areas.gpkg", [LEFT], layer="first")
    write(path, [LEFT], layer="second", mode="a")
    (message,) = read_aoi(str(path), GRID, "scene.tif").messages
    assert message.endswith(f"not second; for another one, name it: {path}|layername=second")


@pytest.mark.parametrize("part", ["layername=third", "layerid=7", "option:X=1"])
def test_a_part_of_a_source_that_is_not_there_is_refused(part, tmp_path):
    path = write(tmp_path / "areas.gpkg", [LEFT])
    with pytest.raises(SceneError, match=r"has no layer|cannot be read with|does not exist"):
        read_aoi(f"{path}|{part}", GRID, "scene.tif")


def test_a_filter_that_cannot_be_is_one_line(tmp_path):
    path = write(tmp_path / "areas.gpkg", [LEFT])
    with pytest.raises(SceneError, match="cannot be read as a vector file"):
        read_aoi(f"{path}|subset=no such thing", GRID, "scene.tif")


def test_a_damaged_parquet_file_is_one_line(tmp_path):
    (tmp_path / "area.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(SceneError, match=r"area\.parquet: .* cannot be read as a vector file"):
        read_aoi(str(tmp_path / "area.parquet"), GRID, "scene.tif")
    labels = write_labels(tmp_path / "labels.tif")
    with pytest.raises(ReferenceDataError, match=r"area\.parquet.* cannot be read as a vector"):
        evaluate(labels, tmp_path / "area.parquet")


def test_damaged_wkb_is_none_and_the_rest_is_read():
    good = shapely.to_wkb(LEFT)
    shapes = shapes_of(np.array([good, good[:30], b"", None], object))
    assert [shape is None for shape in shapes] == [False, True, True, True]


@pytest.mark.parametrize("name", ["area.gdb", "shapes"])
def test_a_folder_of_layers_is_no_run_and_a_run_is_no_folder_of_layers(name, tmp_path):
    labels = write_labels(tmp_path / "labels.tif")
    source = as_gdb(tmp_path) if name == "area.gdb" else as_shapefiles(tmp_path)
    assert not evaluate(labels, source).is_agreement
    (source / "run.json").write_text("{}")
    write_labels(source / "labels.tif")
    assert evaluate(labels, source).class_names == ("1", "2")


def test_a_folder_of_neither_is_one_line(tmp_path):
    labels = write_labels(tmp_path / "labels.tif")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("nothing")
    with pytest.raises(ReferenceDataError, match="nor the folder of a run"):
        evaluate(labels, tmp_path / "folder")


@pytest.mark.parametrize(
    ("scene", "polygons"), [(LOCAL, 32640), (32640, LOCAL), (MOON, 4326), (32640, MOON)]
)
def test_crss_without_a_transformation_are_one_line(scene, polygons, tmp_path):
    crs = CRS.from_user_input(polygons)
    path = write(tmp_path / "area.gpkg", [shapely.box(1, 1, 2, 2)], crs=crs)
    grid = Grid(CRS.from_user_input(scene), Affine(0.1, 0, 0, 0, -0.1, 5), 60, 80)
    expected = r"area\.gpkg: there is no transformation between its CRS .* and that of"
    with pytest.raises(SceneError, match=expected):
        read_aoi(str(path), grid, "scene.tif")
    with pytest.raises(ReferenceDataError, match=expected):
        read_polygons(str(path), grid)


@pytest.mark.parametrize(("crs", "other"), [(LOCAL, 32640), (32640, LOCAL), (MOON, 32640)])
def test_rasters_whose_crss_have_no_transformation_are_one_line(crs, other, tmp_path):
    labels, truth = (
        write_labels(tmp_path / name, CRS.from_user_input(each).to_wkt("WKT1_GDAL"))
        for name, each in (("labels.tif", crs), ("truth.tif", other))
    )
    with pytest.raises(ReferenceDataError, match=r"truth\.tif: there is no transformation"):
        evaluate(labels, truth)


def test_local_crss_of_one_name_are_one(tmp_path):
    crs = CRS.from_wkt(LOCAL)
    path = write(tmp_path / "area.gpkg", [box(0, 0, 40, 60)], crs=crs)
    labels = write_labels(tmp_path / "labels.tif", crs.to_wkt("WKT1_GDAL"))
    with rasterio.open(labels) as file:
        own = CRS.from_wkt(file.crs.to_wkt())
    grid = Grid(own, GRID.transform, 60, 80)
    assert read_aoi(str(path), grid, "scene.tif").inside(grid.window).sum() == 2400
    assert evaluate(labels, path).confusion.sum() == 2400
    finer = GRID.transform @ Affine.scale(0.5)
    truth = write_labels(
        tmp_path / "truth.tif", crs.to_wkt("WKT1_GDAL"), finer, np.ones((120, 160))
    )
    assert evaluate(labels, truth).confusion.sum() == 4800


def test_heights_in_a_crs_do_not_matter(tmp_path):
    path = write(tmp_path / "area.gpkg", [LEFT.buffer(0)], crs=32640, to="EPSG:4979")
    grid = Grid(CRS.from_user_input("EPSG:32640+5773"), GRID.transform, 60, 80)
    assert read_aoi(str(path), grid, "scene.tif").inside(grid.window).sum() == 2400


def test_a_ballpark_transformation_is_told(tmp_path):
    path = write(tmp_path / "area.gpkg", [LEFT], crs=32640, to=4326)
    table = gpd.read_file(path).set_crs(4267, allow_override=True)  # NAD27, far from America
    table.to_file(path)
    for said in (read_aoi(str(path), GRID, "s.tif").warnings, read_polygons(str(path), GRID).notes):
        assert "no accurate transformation is known" in said[0]


def test_projected_geojson_without_crs_is_told_the_reason(tmp_path):
    document = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"kind": "a"},
                "geometry": shapely.geometry.mapping(LEFT),
            }
        ],
    }
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(document))
    expected = r"coordinates such as \(500000, 2779880\), which are no degrees"
    with pytest.raises(SceneError, match=expected):
        read_aoi(str(path), GRID, "scene.tif")
    with pytest.raises(ReferenceDataError, match=expected):
        read_polygons(str(path), GRID)


def test_polygons_elsewhere_are_told_where_they_are_and_where_the_scene_is(tmp_path):
    path = write(tmp_path / "area.gpkg", [shapely.box(8, 47, 9, 48)], crs=4326)
    place = r"it lies at x 8 to 9, y 47 to 48, and .* at x 57 to 57\.\d+, y 25\.\d+ to"
    with pytest.raises(OutsideSceneError, match=place):
        read_aoi(str(path), GRID, "scene.tif")
    with pytest.raises(ReferenceDataError, match=place):
        read_polygons(str(path), GRID)


def test_an_undefined_crs_of_a_geopackage_is_none(tmp_path):
    crs = CRS.from_wkt('LOCAL_CS["Undefined Cartesian SRS",UNIT["Meter",1]]')
    path = write(tmp_path / "area.gpkg", [LEFT], crs=crs)
    with pytest.raises(SceneError, match="has no CRS"):
        read_aoi(str(path), GRID, "scene.tif")
