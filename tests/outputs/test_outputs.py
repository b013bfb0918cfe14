import json
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from geopandas.testing import assert_geodataframe_equal
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo.cogeo import cog_validate

from alps_geo.classes.legend import Legend
from alps_geo.errors import OutputError
from alps_geo.outputs.writing import (
    MaskTable,
    SegmentTable,
    unlabelled_value,
    write_labels,
    write_package,
    write_record,
)
from alps_geo.progress import RecordedProgress
from alps_geo.scenes.grid import Grid
from alps_geo.segments.polygons import Polygons, polygonize

UTM = pyproj.CRS.from_epsg(32632)
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
ROTATED = Affine(2.0, 0.3, 4e5, 0.4, -1.9, 5e6)
# As a file tells it: GeoTIFF has no words of its own for it.
GEOSTATIONARY = pyproj.CRS.from_wkt(
    rasterio.crs.CRS.from_proj4("+proj=geos +h=35785831 +lon_0=-75 +sweep=x +ellps=GRS80").to_wkt()
)
ESRI = pyproj.CRS.from_user_input("ESRI:102008")
NAMES = {1: 'roof "A/B"; DROP TABLE segments; --', 2: "🌳 Straße <&>"}


@dataclass(frozen=True)
class Result:
    """Segments in squares of 10 pixels, every fourth square empty, with classes in turn."""

    segments: NDArray[np.uint32]
    grid: Grid
    legend: Legend
    table: SegmentTable

    @property
    def lookup(self):
        lookup = np.full(int(self.segments.max()) + 1, -1)
        lookup[self.table.segment_id] = self.table.class_id
        return lookup

    @property
    def labels(self):
        values = np.where(self.lookup < 0, unlabelled_value(self.legend), self.lookup)
        return values[self.segments]

    def read(self, window):
        return self.segments[window.slices]

    def write_labels(self, path, progress=None):
        return write_labels(path, self.read, self.lookup, self.grid, self.legend, progress)

    def write_package(self, path, **options):
        polygons = Polygons.concatenate(list(polygonize(self.read, self.grid)))
        write_package(path, [polygons], self.table, self.legend, self.grid, **options)
        return polygons


def make_result(height=60, width=80, *, crs=UTM, transform=NORTH_UP, size=4, names=NAMES):
    rows, cols = np.mgrid[:height, :width] // 10
    segments = (rows * (width // 10 + 1) + cols + 1).astype(np.uint32)
    segments[segments % 4 == 0] = 0
    segment_id, area_px = np.unique(segments[segments > 0], return_counts=True)
    class_id = np.arange(len(segment_id)) % size
    score = np.linspace(0, 1, len(segment_id), dtype=np.float32)
    table = SegmentTable(segment_id, class_id, area_px, score, score, score)
    return Result(segments, Grid(crs, transform, height, width), make_legend(size, names), table)


def make_legend(size, names=NAMES):
    return Legend(size, tuple(range(size)), names, {1: "#112233"})


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, NORTH_UP),
        (UTM, ROTATED),
        (pyproj.CRS.from_epsg(4326), Affine(1e-4, 0, 8, 0, -1e-4, 47)),
        (GEOSTATIONARY, Affine(3000, 0, -1e6, 0, -3000, 1e6)),
        (ESRI, NORTH_UP),
        (None, ROTATED),
        (None, Affine.identity()),
    ],
    ids=["utm", "rotated", "degrees", "geostationary", "esri", "no-crs", "pixels-only"],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_labels_lie_where_the_scene_does(tmp_path, crs, transform):
    result = make_result(crs=crs, transform=transform)
    result.write_labels(tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), result.labels)
        assert raster.transform == transform
        assert raster.crs == (None if crs is None else rasterio.crs.CRS.from_user_input(crs))
        assert (raster.dtypes, raster.nodata, raster.count) == (("uint8",), 255, 1)


@pytest.mark.parametrize(
    ("height", "width"), [(2, 2), (60, 80), (700, 1100), (1152, 1024), (1300, 512)]
)
def test_labels_are_a_valid_cloud_optimized_geotiff(tmp_path, height, width):
    make_result(height, width).write_labels(tmp_path / "labels.tif")
    assert cog_validate(tmp_path / "labels.tif", strict=True, quiet=True) == (True, [], [])
    with rasterio.open(tmp_path / "labels.tif") as raster:
        assert raster.block_shapes[0][0] == raster.block_shapes[0][1] or max(height, width) < 512
        assert bool(raster.overviews(1)) == (max(height, width) > 512)


def test_overviews_hold_only_classes(tmp_path):
    result = make_result(700, 1100)
    result.write_labels(tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif", overview_level=0) as raster:
        assert set(np.unique(raster.read(1))) <= {0, 1, 2, 3, 255}


def test_labels_have_colours_and_names(tmp_path):
    result = make_result()
    counts = result.write_labels(tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif") as raster:
        assert raster.colormap(1)[1] == (0x11, 0x22, 0x33, 255)
        assert raster.colormap(1)[255][3] == 0
    assert counts == {number: np.count_nonzero(result.labels == number) for number in range(4)}
    band = ElementTree.parse(tmp_path / "labels.tif.aux.xml").getroot().find("PAMRasterBand")
    names = [item.text for item in band.iterfind("CategoryNames/Category")]
    assert names == ["class_00", NAMES[1], NAMES[2], "class_03"]
    rows = [
        [cell.text for cell in row.iterfind("F")]
        for row in band.iterfind("GDALRasterAttributeTable/Row")
    ]
    assert rows[1] == ["1", NAMES[1], str(counts[1]), "17", "34", "51", "255"]


def test_a_style_for_qgis_lies_beside_the_labels(tmp_path):
    make_result().write_labels(tmp_path / "scene.1.labels.tif")
    entries = ElementTree.parse(tmp_path / "scene.1.labels.qml").iter("paletteEntry")
    found = [(entry.get("value"), entry.get("label"), entry.get("color")) for entry in entries]
    assert found[1] == ("1", NAMES[1], "#112233")
    assert len(found) == 4


@pytest.mark.parametrize(
    ("size", "dtype", "unlabelled"), [(255, "uint8", 255), (256, "uint16", 65535)]
)
def test_more_than_255_classes_take_16_bits(tmp_path, size, dtype, unlabelled):
    result = make_result(200, 200, size=size, names={})
    result.write_labels(tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), result.labels)
        assert (raster.dtypes[0], raster.nodata) == (dtype, unlabelled)
        assert raster.colormap(1)[size - 1][3] == 255
    assert cog_validate(tmp_path / "labels.tif", quiet=True)[0]


def test_rasterised_segments_give_the_labels_back(tmp_path):
    result = make_result(crs=None, transform=ROTATED)
    result.write_labels(tmp_path / "labels.tif")
    result.write_package(tmp_path / "labels.gpkg")
    segments = geopandas.read_file(tmp_path / "labels.gpkg", layer="segments")
    drawn = rasterio.features.rasterize(
        zip(segments.geometry, segments.class_id, strict=True),
        result.segments.shape,
        fill=255,
        transform=ROTATED,
        dtype="uint8",
    )
    with rasterio.open(tmp_path / "labels.tif") as raster:
        np.testing.assert_array_equal(drawn, raster.read(1))


def test_segments_carry_what_is_known_of_them(tmp_path):
    result = make_result()
    polygons = result.write_package(tmp_path / "labels.gpkg")
    segments = geopandas.read_file(tmp_path / "labels.gpkg", layer="segments")
    assert list(segments.columns) == [
        *("segment_id", "class_id", "class_name", "area_m2", "area_px"),
        *("predicted_iou", "stability", "confidence", "geometry"),
    ]
    np.testing.assert_array_equal(segments.segment_id, result.table.segment_id)
    np.testing.assert_array_equal(segments.class_id, result.table.class_id)
    np.testing.assert_array_equal(segments.area_m2, polygons.area_m2)
    np.testing.assert_array_equal(segments.area_px * 0.25, segments.area_m2)
    np.testing.assert_allclose(segments.confidence, result.table.confidence)
    assert segments.class_name[1] == NAMES[1]
    assert shapely.equals_exact(segments.geometry.to_numpy(), polygons.geometry).all()
    assert segments.crs == UTM


def test_each_class_is_a_layer(tmp_path):
    result = make_result()
    result.write_package(tmp_path / "labels.gpkg")
    layers = pyogrio.list_layers(tmp_path / "labels.gpkg")[:, 0].tolist()
    assert layers == [
        *("segments", "class_00", "class_01_roof_a_b_drop_table_segments"),
        *("class_02_strasse", "class_03", "classes", "layer_styles"),
    ]
    segments = geopandas.read_file(tmp_path / "labels.gpkg", layer="segments")
    for class_id, layer in enumerate(layers[1:5]):
        members = geopandas.read_file(tmp_path / "labels.gpkg", layer=layer)
        expected = segments[segments.class_id == class_id].reset_index(drop=True)
        assert_geodataframe_equal(members, expected)
        info = pyogrio.read_info(tmp_path / "labels.gpkg", layer=layer, force_total_bounds=True)
        assert info["features"] == len(expected)
        np.testing.assert_array_equal(info["total_bounds"], expected.total_bounds)


def test_a_class_layer_can_be_searched_by_place(tmp_path):
    make_result().write_package(tmp_path / "labels.gpkg")
    box = (500_000, 4_999_996, 500_004, 5_000_000)
    found = geopandas.read_file(tmp_path / "labels.gpkg", layer="class_00", bbox=box)
    assert found.segment_id.tolist() == [1]


def test_classes_are_listed_with_their_shares(tmp_path):
    result = make_result()
    result.write_package(tmp_path / "labels.gpkg")
    classes = pyogrio.read_dataframe(tmp_path / "labels.gpkg", layer="classes")
    assert list(classes.columns) == ["class_id", "name", "color", "segments", "area_px", "share"]
    assert classes.name.tolist() == ["class_00", NAMES[1], NAMES[2], "class_03"]
    assert classes.color[1] == "#112233"
    assert classes.segments.sum() == len(result.table)
    assert classes.area_px.sum() == np.count_nonzero(result.segments)
    assert classes.share.sum() == pytest.approx(1)


def test_every_layer_opens_with_its_style(tmp_path):
    make_result().write_package(tmp_path / "labels.gpkg", masks=[])
    with sqlite3.connect(tmp_path / "labels.gpkg") as database:
        styled = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault FROM layer_styles"
        ).fetchall()
        layers = database.execute("SELECT table_name, column_name FROM gpkg_geometry_columns")
        assert sorted(styled) == sorted((*layer, 1) for layer in layers.fetchall())
    database.close()


def test_the_package_follows_version_1_3(tmp_path):
    make_result().write_package(tmp_path / "labels.gpkg")
    with sqlite3.connect(tmp_path / "labels.gpkg") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (10300,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = database.execute("SELECT name, type FROM sqlite_master").fetchall()
        assert {"segments", "classes", "layer_styles"} <= {name for name, _ in tables}
    database.close()


@pytest.mark.parametrize("crs", [None, GEOSTATIONARY, ESRI, pyproj.CRS.from_epsg(4326)])
def test_packages_lie_where_the_scene_does(tmp_path, crs):
    transform = Affine(1e-3, 0, 8, 0, -1e-3, 47)
    make_result(crs=crs, transform=transform).write_package(tmp_path / "labels.gpkg")
    for layer in ("segments", "class_00"):
        segments = geopandas.read_file(tmp_path / "labels.gpkg", layer=layer)
        assert segments.area_m2.isna().all() == (crs is None)
        if crs is None:
            assert segments.crs is None or segments.crs.is_engineering
        else:
            found = pyproj.CRS(segments.crs).coordinate_operation or pyproj.CRS(segments.crs)
            assert found == (crs.coordinate_operation or crs)


QGIS_SCRIPT = """
import sys
from qgis.core import QgsApplication, QgsRasterLayer, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
raster = QgsRasterLayer(sys.argv[1] + "/labels.tif")
print(raster.renderer().type(), [(c.value, c.color.name()) for c in raster.renderer().classes()])
for name in ("segments", "class_01_roof_a_b_drop_table_segments", "masks"):
    layer = QgsVectorLayer(sys.argv[1] + "/labels.gpkg|layername=" + name)
    print(name, layer.featureCount(), layer.crs().authid(), layer.renderer().type())
    if name == "segments":
        print([(c.value(), c.symbol().color().name()) for c in layer.renderer().categories()])
    if name.startswith("class"):
        print(layer.renderer().symbol().color().name())
    del layer
del raster
application.exitQgis()
"""


@pytest.mark.qgis
def test_qgis_shows_the_classes_in_their_colours(tmp_path):
    system_python, environment = "/usr/bin/python3", {"QT_QPA_PLATFORM": "offscreen"}
    environment |= {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    environment |= {name: str(tmp_path / "home") for name in ("HOME", "QGIS_CUSTOM_CONFIG_PATH")}
    (tmp_path / "home").mkdir()

    def run(*arguments):
        command = [system_python, "-c", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    if not Path(system_python).exists() or run("import qgis.core").returncode:
        pytest.skip("the system's Python has no QGIS")
    make_result().write_labels(tmp_path / "labels.tif")
    make_result().write_package(tmp_path / "labels.gpkg", masks=[])
    done = run(QGIS_SCRIPT, str(tmp_path))
    colors = [color.strip() for color in make_legend(4).colors.values()]
    assert done.stdout.splitlines() == [
        f"paletted {[(float(number), color) for number, color in enumerate(colors)]}",
        "segments 36 EPSG:32632 categorizedSymbol",
        str([(str(number), color) for number, color in enumerate(colors)]),
        "class_01_roof_a_b_drop_table_segments 9 EPSG:32632 singleSymbol",
        "#112233",
        "masks 0 EPSG:32632 singleSymbol",
    ]


def test_masks_are_a_layer_of_their_own(tmp_path):
    outlines = np.array([shapely.MultiPolygon([shapely.box(0, 0, side, side)]) for side in (4, 2)])
    scores = np.array([0.9, 0.8], np.float32)
    masks = MaskTable(
        np.array([1, 2]), np.array([0, 1]), np.array([16, 4]), scores, scores, outlines
    )
    make_result().write_package(tmp_path / "labels.gpkg", masks=[masks])
    found = geopandas.read_file(tmp_path / "labels.gpkg", layer="masks")
    assert found.parent_id.tolist() == [0, 1]
    assert found.area_px.tolist() == [16, 4]
    assert found.geometry.area.tolist() == [16, 4]


def test_nothing_found_is_a_valid_result(tmp_path):
    result = make_result()
    nothing = SegmentTable(*(column[:0] for column in vars(result.table).values()))
    empty = Result(np.zeros_like(result.segments), result.grid, make_legend(2, {}), nothing)
    empty.write_labels(tmp_path / "labels.tif")
    empty.write_package(tmp_path / "labels.gpkg")
    with rasterio.open(tmp_path / "labels.tif") as raster:
        assert (raster.read(1) == 255).all()
    for layer in ("segments", "class_00", "class_01"):
        assert len(geopandas.read_file(tmp_path / "labels.gpkg", layer=layer)) == 0
    classes = pyogrio.read_dataframe(tmp_path / "labels.gpkg", layer="classes")
    assert classes.segments.tolist() == [0, 0]


def test_results_can_be_written_again_with_other_classes(tmp_path):
    make_result().write_labels(tmp_path / "labels.tif")
    make_result().write_package(tmp_path / "labels.gpkg")
    (tmp_path / "labels.gpkg-wal").write_bytes(b"of a program that has the old file open")
    other = make_result(size=2, names={})
    other.write_labels(tmp_path / "labels.tif")
    other.write_package(tmp_path / "labels.gpkg")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("labels.gpkg", "labels.qml", "labels.tif", "labels.tif.aux.xml"),
    ]
    assert len(pyogrio.list_layers(tmp_path / "labels.gpkg")) == 5


def test_progress_counts_rows_and_segments(tmp_path):
    progress, result = RecordedProgress(), make_result()
    result.write_labels(tmp_path / "labels.tif", progress)
    result.write_package(tmp_path / "labels.gpkg", progress=progress)
    count = len(result.table)
    assert [step[1:] for step in progress.steps] == [(60, 60), (count, count)]


@pytest.mark.parametrize("name", ["labels.tif", "labels.gpkg", "run.json"])
def test_a_missing_folder_is_named(tmp_path, name):
    path = tmp_path / "gone" / name
    with pytest.raises(OutputError, match=r"cannot write .*gone.*; the folder must be there"):
        write_by_name(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits on Windows")
@pytest.mark.parametrize("name", ["labels.tif", "labels.gpkg", "run.json"])
def test_a_full_disk_leaves_the_old_result_and_nothing_else(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    script = f"""
        import resource, sys
        sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
        from pathlib import Path
        import test_outputs
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
        test_outputs.write_by_name(Path({str(path)!r}), 700)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert f"OutputError: cannot write {path}" in done.stderr
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write_by_name(path, side=60):
    if path.suffix == ".tif":
        make_result(side, side).write_labels(path)
    elif path.suffix == ".gpkg":
        make_result(side, side).write_package(path)
    else:
        write_record(path, {"numbers": list(range(1000))})


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path):
    result = make_result()

    def read(window):
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        write_labels(tmp_path / "labels.tif", read, result.lookup, result.grid, result.legend)
    with pytest.raises(IndexError, match="out of bounds"):
        write_package(
            tmp_path / "labels.gpkg",
            polygonize(result.read, result.grid),
            SegmentTable(*(column[:3] for column in vars(result.table).values())),
            result.legend,
            result.grid,
        )
    assert list(tmp_path.iterdir()) == []


def test_the_record_is_plain_json(tmp_path):
    record = {
        "version": "1",
        "path": Path("a"),
        "share": np.float32(0.5),
        "missing": float("nan"),
        "bands": (1, 2, 3),
        "grid": {3: np.arange(2)},
        "name": "Straße",
    }
    write_record(tmp_path / "run.json", record)
    text = (tmp_path / "run.json").read_text("utf-8")
    assert json.loads(text) == {
        "version": "1",
        "path": "a",
        "share": 0.5,
        "missing": None,
        "bands": [1, 2, 3],
        "grid": {"3": [0, 1]},
        "name": "Straße",
    }
    assert text.index("version") < text.index("path")
    assert "Straße" in text


def test_pixels_only_scenes_stay_quiet(tmp_path, recwarn):
    make_result(crs=None, transform=Affine.identity()).write_labels(tmp_path / "labels.tif")
    assert not [item for item in recwarn if item.category is NotGeoreferencedWarning]
