"""Vector files: the same polygons in every format, and fewer of them where asked for."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from click.testing import CliRunner

import alps_geo
from alps_geo import OutputError, RecordedProgress, Run, RunError, SettingsError
from alps_geo.cli.main import cli
from alps_geo.exports.generalisation import absorb_small, dissolve, find_borders

from .conftest import SMALL, write_scene

ENDINGS = {
    "geoparquet": ".parquet", "flatgeobuf": ".fgb", "shapefile": ".shp", "geojson": ".geojson",
}  # fmt: skip


def read(path: Path) -> geopandas.GeoDataFrame:
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    return geopandas.read_file(path)


@pytest.mark.parametrize("kind", ENDINGS)
def test_every_format_has_all_segments_with_class_name_and_colour(
    run: Run, tmp_path: Path, kind: str
) -> None:
    paths = alps_geo.export(run, tmp_path, kind)
    assert paths == [tmp_path / f"{scene}{ENDINGS[kind]}" for scene in ("east", "west")]
    expected = run.segments("east").sort_values("segment_id")
    found = read(paths[0]).sort_values("segment_id")
    assert found.class_id.tolist() == expected.class_id.tolist()
    assert found.class_name.tolist() == expected.class_name.tolist()
    colors = run.classes["color"]
    assert found.color.tolist() == [colors[number] for number in expected.class_id]
    shapes = found.to_crs(expected.crs).geometry.to_numpy()
    gap = shapely.area(shapely.symmetric_difference(shapes, expected.geometry.to_numpy()))
    assert gap.sum() < 1e-3 * expected.area.sum()
    others = {path.suffix for path in tmp_path.iterdir()} - {ENDINGS[kind]}
    assert others <= {".shx", ".dbf", ".prj", ".cpg"}


def test_geoparquet_has_boxes_that_readers_skip_by(run: Run, tmp_path: Path) -> None:
    (path, _) = alps_geo.export(run, tmp_path, "geoparquet")
    file = pq.ParquetFile(path)
    assert b'"version": "1.1.0"' in file.schema_arrow.metadata[b"geo"]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    whole = geopandas.read_parquet(path)
    west, south, east, north = whole.total_bounds
    box = (west, south, (west + east) / 2, (south + north) / 2)
    part = geopandas.read_parquet(path, bbox=box)
    assert 0 < len(part) < len(whole)
    assert set(part.segment_id) == set(whole[whole.intersects(shapely.box(*box))].segment_id)


def test_duckdb_asks_geoparquet_by_box(run: Run, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    (path, _) = alps_geo.export(run, tmp_path, "geoparquet")
    middle = geopandas.read_parquet(path).total_bounds[[0, 2]].mean()
    query = f"select count(*) from '{path}' where bbox.xmax < {middle}"
    table = geopandas.read_parquet(path)
    assert duckdb.sql(query).fetchall()[0][0] == (table.bounds.maxx < middle).sum()


def test_a_shapefile_says_what_its_short_names_are(
    run: Run, tmp_path: Path, progress: RecordedProgress
) -> None:
    (path, _) = alps_geo.export(run, tmp_path, "shapefile", progress=progress)
    assert "predicted_iou is pred_iou" in progress.messages[-1]
    assert "pred_iou" in geopandas.read_file(path).columns


@pytest.mark.parametrize("mmu", ["0.02ha", "200m2", "50px"])
def test_no_segment_is_below_the_minimum_mapping_unit_and_no_ground_is_lost(
    run: Run, tmp_path: Path, mmu: str
) -> None:
    (path, _) = alps_geo.export(run, tmp_path, "geoparquet", mmu=mmu)
    found, before = geopandas.read_parquet(path), run.segments("east")
    assert found.area.min() >= 200
    assert len(found) < len(before)
    assert found.area.sum() == pytest.approx(before.area.sum())
    assert shapely.area(found.union_all()) == pytest.approx(found.area.sum())
    assert found.area_px.sum() == before.area_px.sum()
    assert found.segments.sum() == len(before)


def test_a_small_segment_joins_the_neighbour_with_the_longest_border() -> None:
    boxes = [shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 9), shapely.box(10, 9, 11, 10)]
    boxes.append(shapely.box(11, 9, 20, 10))
    table = frame(boxes, [1, 2, 3, 4])
    found = absorb_small(table, np.array([100.0, 90.0, 1.0, 9.0]), 2.0)
    # One unit each with the first, the second and the fourth: the first of them takes it in.
    assert sorted(found.area) == [9, 90, 101]
    assert found.class_id[found.area == 101].item() == 1
    found = absorb_small(table, np.array([100.0, 90.0, 1.0, 9.0]), 10.0)
    assert sorted(found.area) == [99, 101]


def test_what_has_no_neighbour_stays() -> None:
    table = frame([shapely.box(0, 0, 1, 1), shapely.box(1, 1, 9, 9)], [1, 2])
    assert find_borders(table) == [{}, {}]
    assert len(absorb_small(table, np.array([1.0, 64.0]), 5.0)) == 2


def test_neighbours_of_one_class_dissolve_and_others_stay() -> None:
    boxes = [shapely.box(place, 0, place + 1, 1) for place in range(4)]
    found = dissolve(frame([*boxes, shapely.box(9, 0, 10, 1)], [1, 1, 2, 1, 1]))
    assert sorted(zip(found.class_id, found.area, found.segments, strict=True)) == [
        (1, 1, 1), (1, 1, 1), (1, 2, 2), (2, 1, 1),
    ]  # fmt: skip


def frame(shapes: list[shapely.Polygon], classes: list[int]) -> geopandas.GeoDataFrame:
    count = len(shapes)
    areas = [shape.area for shape in shapes]
    columns = {
        "segment_id": range(1, count + 1), "class_id": classes, "class_name": ["x"] * count,
        "area_m2": areas, "area_px": [int(area) for area in areas],
        "predicted_iou": [1.0] * count, "stability": [1.0] * count, "confidence": [0.5] * count,
    }  # fmt: skip
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:32640")


def test_only_the_classes_that_were_named_are_written(run: Run, tmp_path: Path) -> None:
    name = run.classes["name"][2]
    (path, _) = alps_geo.export(run, tmp_path, "geoparquet", classes=("0", name))
    assert set(geopandas.read_parquet(path).class_id) <= {0, 2}
    with pytest.raises(RunError, match="has no class 'road'; it has 0 "):
        alps_geo.export(run, tmp_path / "b", "geoparquet", classes=("road",))


def test_unsure_segments_are_left_out(run: Run, tmp_path: Path) -> None:
    limit = run.segments("east").confidence.median()
    (path, _) = alps_geo.export(run, tmp_path, "geoparquet", min_confidence=limit)
    found = geopandas.read_parquet(path)
    assert 0 < len(found) < len(run.segments("east"))
    assert found.confidence.min() >= limit


def test_another_crs_tells_both_areas(run: Run, tmp_path: Path, progress: RecordedProgress) -> None:
    (path, _) = alps_geo.export(run, tmp_path, "geoparquet", crs="EPSG:3857", progress=progress)
    found = geopandas.read_parquet(path)
    assert found.crs.to_epsg() == 3857
    assert found.area_m2.sum() == pytest.approx(run.segments("east").area_m2.sum())
    assert "ha on the ground" in progress.messages[0]
    assert "ha as areas of WGS 84 / Pseudo-Mercator" in progress.messages[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mmu": "big"}, "`mmu` must be an area such as 0.5ha"),
        ({"min_confidence": 2.0}, "`min_confidence` must be from 0 to 1, not 2.0"),
        ({"overlap": 900}, "`overlap` must be from 0 to less than `patch_size`"),
        ({"crs": "EPSG:1"}, "`crs` 'EPSG:1' is no CRS"),
        ({"colour": 1}, "unknown setting 'colour'; known: block, classes"),
    ],
)
def test_what_cannot_work_is_refused(
    run: Run, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        alps_geo.export(run, tmp_path / "out", "geoparquet", **options)
    with pytest.raises(SettingsError, match="there is no format 'dwg'; known: geoparquet"):
        alps_geo.export(run, tmp_path / "out", "dwg")


def test_files_that_are_there_stay_unless_asked_otherwise(run: Run, tmp_path: Path) -> None:
    alps_geo.export(run, tmp_path, "flatgeobuf")
    before = (tmp_path / "east.fgb").read_bytes()
    with pytest.raises(OutputError, match=r"east\.fgb is there already"):
        alps_geo.export(run, tmp_path, "flatgeobuf", mmu="50px")
    assert (tmp_path / "east.fgb").read_bytes() == before
    alps_geo.export(run, tmp_path, "flatgeobuf", mmu="50px", overwrite=True)
    assert (tmp_path / "east.fgb").read_bytes() != before


def test_a_scene_without_crs_has_areas_in_pixels_only(tmp_path: Path) -> None:
    out = alps_geo.label(write_scene(tmp_path / "a.tif", crs=None), tmp_path / "out", **SMALL)
    alps_geo.export(out, tmp_path / "gis", "geoparquet", mmu="50px")
    with pytest.raises(RunError, match="say `mmu` in pixels"):
        alps_geo.export(out, tmp_path / "b", "geoparquet", mmu="1ha")
    with pytest.raises(RunError, match="GeoJSON needs longitude and latitude"):
        alps_geo.export(out, tmp_path / "c", "geojson")
    assert not list((tmp_path / "c").glob("*"))


def test_the_command_writes_and_says_where(run: Run, tmp_path: Path) -> None:
    arguments = ["export", str(run.folder), "-o", str(tmp_path), "--format", "geojson"]
    result = CliRunner().invoke(cli, [*arguments, "--mmu", "50px", "--dissolve"])
    assert result.exit_code == 0, result.output
    assert f"Written: {tmp_path / 'west.geojson'}" in result.output
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 1
    assert "choose another folder, or --overwrite" in again.output
