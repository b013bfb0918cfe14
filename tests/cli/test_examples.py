"""`classify --examples`, `label --examples` and `suggest` on the command line."""

import json

import geopandas as gpd
import pytest

from alps_geo.run.run import open as open_run

from .conftest import SMALL, run


@pytest.fixture
def points(own_run, tmp_path):
    """Return a file of two points per class of the run, with names, in degrees."""
    table = open_run(own_run).segments().sort_values("area_px", ascending=False)
    table = table[table.class_id < 3].groupby("class_id").head(2)
    names = table.class_id.map({0: "grass", 1: "roof", 2: "road"})
    path = tmp_path / "points.geojson"
    layer = gpd.GeoDataFrame(
        {"kind": names.to_numpy(), "note": "x"},
        geometry=table.representative_point().to_numpy(),
        crs=table.crs,
    )
    layer.to_crs(4326).to_file(path)
    return path


def test_classify_learns_classes_and_says_what_they_cover(own_run, points):
    result = run("classify", own_run, "--examples", points, "--field", "kind", "--reject", "0.2")
    assert result.exit_code == 0, result.output
    assert "in 4 classes" in result.output
    listed = json.loads(run("classes", own_run, "--json").stdout)["classes"]
    assert [item["name"] for item in listed] == ["grass", "road", "roof", "unknown"]


def test_several_files_of_examples_may_be_given(own_run, points, tmp_path):
    number = int(open_run(own_run).segments().segment_id.iloc[-1])
    more = tmp_path / "more.csv"
    more.write_text(f"segment_id,kind\n{number},tree\n")
    result = run(
        "classify", own_run, "--examples", points, "--examples", more, "--field", "kind",
        "--keep-rest",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    names = open_run(own_run).classes.name.tolist()
    assert names[:4] == ["grass", "road", "roof", "tree"]


def test_a_missing_field_is_one_line_with_the_option_and_the_fields(own_run, points):
    result = run("classify", own_run, "--examples", points)
    assert result.exit_code == 1
    assert "by --field: kind, note" in result.output
    assert len(result.output.strip().splitlines()) <= 2


def test_settings_of_examples_without_examples_are_wrong_usage(own_run):
    result = run("classify", own_run, "--keep-rest")
    assert result.exit_code == 2
    assert "--keep-rest needs --examples" in result.output


def test_label_takes_examples(small_scene, own_run, points, tmp_path):
    out = tmp_path / "new"
    options = [*SMALL, "--examples", points, "--field", "kind", "--progress", "none"]
    result = run("label", small_scene, "-o", out, *options)
    assert result.exit_code == 0, result.output
    assert open_run(out).classes.name.tolist() == ["grass", "road", "roof"]


def test_suggest_writes_points_to_fill_in(own_run, tmp_path):
    path = tmp_path / "next.gpkg"
    result = run("suggest", own_run, "-n", "4", "-o", path)
    assert result.exit_code == 0, result.output
    assert "Wrote 4 points" in result.output
    table = gpd.read_file(path)
    assert {"segment_id", "guess", "confidence", "reason", "class"} < set(table.columns)
    again = run("suggest", own_run, "-n", "4", "-o", path)
    assert again.exit_code == 2
    assert "give another --output, or --overwrite" in again.output
    assert run("suggest", own_run, "-n", "4", "-o", path, "--overwrite").exit_code == 0
    assert gpd.list_layers(path).name.tolist() == ["suggestions"]


def test_suggest_refuses_what_cannot_be(own_run, tmp_path):
    assert run("suggest", own_run, "-n", "0", "-o", tmp_path / "a.gpkg").exit_code == 2
    result = run("suggest", own_run, "-o", tmp_path / "a.xyz123")
    assert result.exit_code == 2
    assert "--output must end in .gpkg, .geojson, .fgb, not '.xyz123'" in result.output
    result = run("suggest", tmp_path, "-o", tmp_path / "a.gpkg")
    assert result.exit_code != 0
    assert "holds no" in result.output
