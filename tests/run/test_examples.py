"""Classes of a finished run from examples: which segments they take, and what is said of them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

import alps_geo
from alps_geo.classes import ClassModel, ExampleModel
from alps_geo.errors import ReferenceDataError, RunError, SettingsError
from alps_geo.progress import RecordedProgress

from ..conftest import draw_landscape
from .test_hand_work import KILLER, content, run_sql

OPTIONS: dict[str, Any] = {
    "model": "builtin",
    "features": "texture",
    "n_classes": 5,
    "tile_size": 192,
    "overlap": 64,
    "progress": False,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a scene and its finished run, not to be changed."""
    folder = tmp_path_factory.mktemp("base")
    transform = rasterio.Affine(2, 0, 320000, 0, -2, 2780000)
    shape = {"height": 240, "width": 320, "count": 3, "dtype": "uint8"}
    path = folder / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32640", transform=transform, **shape
    ) as file:
        file.write(draw_landscape(240, 320).transpose(2, 0, 1))
    alps_geo.label(path, folder / "out", **OPTIONS)
    return folder


@pytest.fixture
def run(base: Path, tmp_path: Path) -> alps_geo.Run:
    return alps_geo.open(shutil.copytree(base / "out", tmp_path / "out"))


def largest(run: alps_geo.Run, count: int) -> gpd.GeoDataFrame:
    """Return the largest segments of each of the three largest classes, with made up names."""
    table = run.segments()
    names = {0: "grass", 1: "roof", 2: "road"}
    table = table[table.class_id.isin(names)].sort_values("area_px", ascending=False)
    table = table.groupby("class_id").head(count)
    return table.assign(**{"class": table.class_id.map(names)})


def as_points(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return table.set_geometry(table.representative_point())[["class", "geometry"]]


@pytest.fixture
def points(run: alps_geo.Run, tmp_path: Path) -> Path:
    path = tmp_path / "points.gpkg"
    as_points(largest(run, 3)).to_crs(4326).to_file(path)
    return path


def given(run: alps_geo.Run) -> dict[int, str]:
    """Return the class of each segment that is an example of the record's run."""
    table = run.segments().set_index("segment_id")
    return table.class_name.to_dict()


def test_points_lines_polygons_and_tables_give_the_same_classes(
    run: alps_geo.Run, tmp_path: Path
) -> None:
    table = largest(run, 3)
    inside = as_points(table).geometry
    shapes = {
        "points.geojson": as_points(table).to_crs(4326),
        "lines.shp": table.set_geometry(inside.buffer(0.4).boundary)[["class", "geometry"]],
        "areas.gpkg": table[["class", "geometry"]].to_crs(3857),
    }
    found = []
    for name, layer in shapes.items():
        layer.to_file(tmp_path / name)
        alps_geo.classify(run, examples=tmp_path / name)
        found.append(run.segments().class_name.tolist())
    table[["segment_id", "class"]].to_csv(tmp_path / "rows.csv", index=False)
    alps_geo.classify(run, examples=tmp_path / "rows.csv")
    found.append(run.segments().class_name.tolist())
    assert found[1:] == found[:1] * 3
    assert set(found[0]) == {"grass", "roof", "road"}


def test_all_results_follow(run: alps_geo.Run, points: Path) -> None:
    alps_geo.classify(run, examples=points)
    assert run.classes.name.tolist() == ["grass", "road", "roof"]
    assert run.record["examples"]["segments"] == {"grass": 3, "road": 3, "roof": 3}
    assert isinstance(ClassModel.load(run), ExampleModel)
    labels, _, _ = run.labels()
    assert set(np.unique(labels)) <= {0, 1, 2, 255}
    with rasterio.open(run.label_paths[0]) as file:
        assert file.colormap(1)[0][:3] == tuple(bytes.fromhex(run.classes.color[0][1:]))
    table = run.segments().set_index("segment_id")
    assert table.confidence.between(0.3, 1).all()
    examples = largest(run, 3)
    assert (table.class_name[examples.segment_id] == examples.class_name.to_numpy()).all()


def test_several_files_join(run: alps_geo.Run, points: Path, tmp_path: Path) -> None:
    table = gpd.read_file(points)
    table[table["class"] == "roof"].to_file(tmp_path / "roof.gpkg")
    table[table["class"] != "roof"].to_file(tmp_path / "rest.gpkg")
    alps_geo.classify(run, examples=points)
    together = given(run)
    alps_geo.classify(run, examples=[tmp_path / "roof.gpkg", tmp_path / "rest.gpkg"])
    assert given(run) == together


def test_a_polygon_takes_what_lies_in_it_and_what_it_lies_in(
    run: alps_geo.Run, tmp_path: Path
) -> None:
    table = run.segments()
    large = table.sort_values("area_px", ascending=False).iloc[0]
    inside = large.geometry.representative_point().buffer(3)
    everything = table.union_all().envelope
    path = tmp_path / "areas.gpkg"
    gpd.GeoDataFrame({"class": ["a", "b"]}, geometry=[inside, everything], crs=table.crs).to_file(
        path
    )
    alps_geo.classify(run, examples=path)
    taken = run.record["examples"]
    assert taken["segments"] == {"a": 1, "b": len(table) - 1}
    assert taken["contradictory"] == [
        f"segment {large.segment_id} has examples of 'a' (1) and 'b' (1)"
    ]


def test_contradictory_examples_are_named_and_most_count(
    run: alps_geo.Run, tmp_path: Path, progress: RecordedProgress
) -> None:
    table = largest(run, 2)[["segment_id", "class"]]
    number = int(table.segment_id.iloc[0])
    others = [(number, "hut"), (number, "hut")]
    path = tmp_path / "rows.csv"
    pd.concat([table, pd.DataFrame(others, columns=table.columns)]).to_csv(path, index=False)
    alps_geo.classify(run, examples=path, progress=progress)
    (text,) = [text for text in progress.warnings if "contradictory" in text]
    assert f"segment {number} has examples of 'hut' (2) and " in text
    assert run.record["examples"]["segments"]["hut"] == 1


def test_no_example_on_a_segment_is_one_line_and_changes_nothing(
    run: alps_geo.Run, points: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    away = gpd.read_file(points).to_crs(32640)
    away["geometry"] = away.translate(90_000, 0)
    away.to_file(tmp_path / "away.gpkg")
    with pytest.raises(ReferenceDataError, match=r"no example of .*away.gpkg takes a segment"):
        alps_geo.classify(run, examples=tmp_path / "away.gpkg")
    assert before == {path: path.read_bytes() for path in before}


def test_one_class_only_is_refused_unless_the_rest_is_kept(
    run: alps_geo.Run, points: Path, tmp_path: Path
) -> None:
    table = gpd.read_file(points)
    table[table["class"] == "roof"].to_file(tmp_path / "roof.gpkg")
    with pytest.raises(SettingsError, match="only one class, 'roof'"):
        alps_geo.classify(run, examples=tmp_path / "roof.gpkg")
    alps_geo.classify(run, examples=tmp_path / "roof.gpkg", keep_rest=True)
    names = run.classes.name.tolist()
    assert names[0] == "roof"
    assert names[1] == "class_01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("segment_id,class\nx,roof\n", "segment_id must be a whole number, not 'x'"),
        ("segment_id,class\n1.5,roof\n", "segment_id must be a whole number, not '1.5'"),
        ("segment_id,a,b\n1,roof,x\n", "choose the one with the classes by `field`: a, b"),
        ("segment_id\n1\n", "a table needs the columns segment_id and class"),
        ("segment_id,class\n999999,roof\n", "takes a segment"),
    ],
)
def test_odd_tables_are_refused_in_one_line(
    run: alps_geo.Run, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(ReferenceDataError, match=message):
        alps_geo.classify(run, examples=path)


def test_settings_of_examples_need_examples(run: alps_geo.Run) -> None:
    with pytest.raises(SettingsError, match="`keep_rest` needs `examples`"):
        alps_geo.classify(run, keep_rest=True)
    with pytest.raises(SettingsError, match="`field` needs `examples`"):
        alps_geo.classify(run, field="class")
    with pytest.raises(SettingsError, match="`reject` must be from 0 to 1"):
        alps_geo.classify(run, reject=1.5)


def test_what_fits_nothing_is_unknown_in_all_results(run: alps_geo.Run, points: Path) -> None:
    alps_geo.classify(run, examples=points, reject=0.9)
    assert run.classes.name.tolist() == ["grass", "road", "roof", "unknown"]
    table = run.segments()
    unknown = table[table.class_name == "unknown"]
    assert len(unknown)
    assert (unknown.confidence == 0).all()
    assert (table[table.class_name != "unknown"].confidence >= 0.9).all()


def test_classes_keep_ids_and_colours_when_more_are_given(
    run: alps_geo.Run, points: Path, tmp_path: Path
) -> None:
    alps_geo.classify(run, examples=points)
    alps_geo.edit_classes(run, colors={0: "#123456"})
    before = run.classes
    number = int(run.segments().segment_id.iloc[0])
    (tmp_path / "more.csv").write_text(f"segment_id,class\n{number},asphalt\n")
    alps_geo.classify(run, examples=[points, tmp_path / "more.csv"])
    after = run.classes
    assert after.name.tolist() == [*before.name, "asphalt"]
    assert after.color.tolist()[:3] == before.color.tolist()


def test_a_saved_model_learns_more_and_applies_to_another_scene(
    base: Path, run: alps_geo.Run, points: Path, tmp_path: Path, progress: RecordedProgress
) -> None:
    alps_geo.classify(run, examples=points)
    other = alps_geo.label(
        base / "scene.tif", tmp_path / "other", classes=run, **{**OPTIONS, "n_classes": 16}
    )
    assert given(other) == given(run)
    assert other.record["novelty"]["drift"]["texture"] == pytest.approx(0, abs=0.01)
    assert other.record["novelty"]["beyond_share"] < 0.1
    number = int(run.segments().segment_id.iloc[0])
    (tmp_path / "more.csv").write_text(f"segment_id,class\n{number},asphalt\n")
    alps_geo.classify(other, classes=run, examples=tmp_path / "more.csv", progress=progress)
    assert other.classes.name.tolist() == ["grass", "road", "roof", "asphalt"]


def test_a_scene_of_another_kind_is_said_and_unknown(
    run: alps_geo.Run, tmp_path: Path, progress: RecordedProgress
) -> None:
    path = tmp_path / "noise.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (3, 200, 200)).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=200, width=200, count=3, dtype="uint8",
        crs="EPSG:32640", transform=rasterio.Affine(2, 0, 0, 0, -2, 0),
    ) as file:  # fmt: skip
        file.write(pixels)
    options = {name: value for name, value in OPTIONS.items() if name not in ("n_classes",)}
    other = alps_geo.label(
        path, tmp_path / "other", classes=run, reject=0.1, **{**options, "progress": progress}
    )
    assert any("does not look like the training scene" in text for text in progress.warnings)
    assert other.record["novelty"]["unknown_share"] > 0.5


def test_classes_given_by_hand_stay(run: alps_geo.Run, points: Path) -> None:
    alps_geo.classify(run, examples=points)
    table = run.segments()
    edited = table[table.class_id == 0].iloc[0].segment_id
    run_sql(run.package_paths[0], f"UPDATE segments SET class_id = 2 WHERE segment_id = {edited}")
    alps_geo.classify(run, examples=points, reject=0.2)
    after = run.segments().set_index("segment_id")
    assert after.class_name[edited] == "roof"
    assert after.confidence[edited] == 1


def test_labelling_with_examples_goes_on_and_notices_other_ones(
    base: Path, run: alps_geo.Run, points: Path, tmp_path: Path
) -> None:
    options = {**OPTIONS, "examples": points}
    first = alps_geo.label(base / "scene.tif", tmp_path / "new", **options)
    assert first.classes.name.tolist() == ["grass", "road", "roof"]
    record = first.record_path.read_bytes()
    again = alps_geo.label(base / "scene.tif", tmp_path / "new", **options)
    assert again.record_path.read_bytes() == record
    gpd.read_file(points).iloc[:-1].to_file(points)
    with pytest.raises(RunError, match="examples had then, and they have changed"):
        alps_geo.label(base / "scene.tif", tmp_path / "new", **options)


def test_labelling_refuses_examples_before_tiles_are_labelled(base: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "examples": tmp_path / "none.gpkg"}
    with pytest.raises(ReferenceDataError, match="does not exist"):
        alps_geo.label(base / "scene.tif", tmp_path / "new", **options)
    assert not list((tmp_path / "new").rglob("*.parquet"))


def test_runs_of_versions_without_these_settings_go_on(base: Path, run: alps_geo.Run) -> None:
    record = run.record
    for name in ("examples", "field", "reject", "keep_rest"):
        del record["settings"]["classes"][name]
    run.record_path.write_text(json.dumps(record))
    alps_geo.label(base / "scene.tif", run.folder, **OPTIONS)


def test_suggestions_are_typical_first_then_doubtful_and_make_examples(
    run: alps_geo.Run, points: Path, tmp_path: Path
) -> None:
    path = tmp_path / "next.gpkg"
    first = alps_geo.suggest(run, 6, path)
    assert first.columns.tolist() == [
        "segment_id", "guess", "confidence", "reason", "class", "geometry",
    ]  # fmt: skip
    assert first.segment_id.is_unique
    table = run.segments().set_index("segment_id")
    assert table.geometry[first.segment_id].contains(first.geometry, align=False).all()
    with pytest.raises(ReferenceDataError, match="none of the 6 features on segments has a class"):
        alps_geo.classify(run, examples=path)
    filled = gpd.read_file(path)
    filled["class"] = ["a", "b", "c", "a", "b", "c"]
    filled.to_file(path, layer="suggestions")
    alps_geo.classify(run, examples=path)
    then = alps_geo.suggest(run, 6)
    assert not set(then.segment_id) & set(first.segment_id)
    assert set(then.guess) <= {"a", "b", "c"}
    assert set(then.reason) != set(first.reason)


def test_suggestions_are_the_same_every_time_and_no_more_than_segments(run: alps_geo.Run) -> None:
    first, second = alps_geo.suggest(run, 4), alps_geo.suggest(run, 4)
    assert first.equals(second)
    assert len(alps_geo.suggest(run, 10_000)) <= len(run.segments())
    with pytest.raises(SettingsError, match="`n` must be 1 or more, not 0"):
        alps_geo.suggest(run, 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_kill_at_any_instant_leaves_all_old_or_all_new(
    run: alps_geo.Run, points: Path, tmp_path: Path
) -> None:
    killer = KILLER.replace("n_classes=3", "examples=sys.argv[3]")

    def classify(folder: Path, last: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", killer, str(folder), str(last), str(points)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    old, whole = run.folder, Path(shutil.copytree(run.folder, tmp_path / "whole"))
    calls, found = int(classify(whole, 0).stdout), []
    for share in (0.05, 0.5, 0.95, 0.98, 0.995):
        killed = Path(shutil.copytree(old, tmp_path / f"killed {share}"))
        assert classify(killed, int(share * calls)).returncode == -signal.SIGKILL
        there = content(killed / "labels.gpkg")
        found.append(there == content(whole / "labels.gpkg"))
        assert found[-1] or there == content(old / "labels.gpkg")
        alps_geo.classify(killed, examples=points)
        assert content(killed / "labels.gpkg") == content(whole / "labels.gpkg")
        for name in ("labels.tif", "classes.safetensors"):
            assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert set(found) == {False, True}
