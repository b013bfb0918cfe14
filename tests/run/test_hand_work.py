"""What users put into results, or change in them, is there after every command."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alps_geo import Run
from alps_geo.errors import OutputError, RunError
from alps_geo.models.fake import FakeModel, draw_objects
from alps_geo.outputs.rows import add_functions
from alps_geo.pipeline import classify, edit_classes, label
from alps_geo.progress import RecordedProgress
from alps_geo.run.folder import RunFolder
from alps_geo.settings import Settings

from ..test_pipeline import draw_blocks

OPTIONS: dict[str, Any] = {
    "stretch": "none", "tile_size": 128, "overlap": 32, "n_classes": 5,
}  # fmt: skip
OWN = """
CREATE TABLE field_notes (id INTEGER PRIMARY KEY, note TEXT);
INSERT INTO field_notes VALUES (1, 'visited');
CREATE TABLE qgis_projects (name TEXT PRIMARY KEY, metadata BLOB, content BLOB);
INSERT INTO qgis_projects VALUES ('mine', x'00', x'0102');
CREATE VIEW large_segments AS SELECT * FROM segments WHERE area_px > 100;
ALTER TABLE segments ADD COLUMN remark TEXT;
UPDATE segments SET remark = 'r' || segment_id;
ALTER TABLE classes ADD COLUMN code TEXT;
UPDATE classes SET code = 'c' || class_id;
INSERT INTO layer_styles (f_table_name, f_geometry_column, styleName, styleQML, useAsDefault)
 VALUES ('segments', 'geometry', 'mine', '<qgis/>', 0);
"""


# What versions did that marked nothing, and chose no exemplars.
FORGET = """
DROP TABLE alps_geo_marks;
DROP TABLE alps_geo_segments;
DROP VIEW exemplars;
DROP TABLE alps_geo_exemplars;
DELETE FROM gpkg_geometry_columns WHERE table_name = 'exemplars';
DELETE FROM gpkg_ogr_contents WHERE table_name = 'exemplars';
DELETE FROM gpkg_contents WHERE table_name = 'exemplars';
DELETE FROM layer_styles WHERE f_table_name = 'exemplars';
"""


def run_sql(package: Path, script: str) -> None:
    with closing(sqlite3.connect(package)) as database:
        add_functions(database)
        database.executescript(script)


def query(package: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(package)) as database:
        return database.execute(statement).fetchall()


def read_all(out: Path) -> dict[Path, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".gpkg-shm")
    return {path: path.read_bytes() for path in files}


def classes_of(package: Path) -> dict[int, int]:
    return dict(query(package, "SELECT segment_id, class_id FROM segments ORDER BY fid DESC"))


def label_it(scene: Path, out: Path, **options: Any) -> Run:
    progress = options.pop("progress", None)
    chosen = Settings.from_options(**{**OPTIONS, **options})
    return label(scene, out, settings=chosen, progress=progress, model=FakeModel())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Label a drawing once."""
    folder = tmp_path_factory.mktemp("base")
    pixels, scene = draw_objects(draw_blocks()), folder / "scene.tif"
    profile = {"count": 3, "height": 300, "width": 400, "dtype": "uint8", "crs": "EPSG:32640"}
    place = rasterio.Affine(2, 0, 320000, 0, -2, 2780000)
    with rasterio.open(scene, "w", driver="GTiff", transform=place, **profile) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    return scene, label_it(scene, folder / "out").folder


@pytest.fixture
def out(base: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return the folder of a run of its own."""
    return Path(shutil.copytree(base[1], tmp_path / "out"))


@pytest.fixture(params=["marked", "of an earlier version"])
def either(request: pytest.FixtureRequest, out: Path) -> Path:
    """Return the folder of a run, also as versions left it that marked nothing."""
    if request.param != "marked":
        forget_marks(out)
    return out


def forget_marks(out: Path) -> None:
    run_sql(out / "labels.gpkg", FORGET)
    qml = out / "labels.qml"
    qml.write_text(qml.read_text().rpartition("\n<!--")[0])
    for model in (out / "run").glob("classes-*"):
        model.unlink()


def check_agreement(out: Path) -> None:
    """Compare package, raster and record."""
    package = out / "labels.gpkg"
    record = json.loads((out / "run.json").read_text())
    with rasterio.open(out / "labels.tif") as file:
        labels = file.read(1)
    counts = np.bincount(labels[labels < 255], minlength=256)
    with rasterio.open(next((out / "run").glob("*/segments.tif"))) as file:
        segments = file.read(1)
    (pairs,) = [np.unique(np.stack([segments.ravel(), labels.ravel()]), axis=1).T.tolist()]
    painted = {segment: class_id for segment, class_id in pairs if segment}
    for segment, class_id in classes_of(package).items():
        if segment is not None:
            assert painted[segment] == class_id
    names = {item["id"]: (item["name"], item["color"]) for item in record["classes"]}
    rows = query(package, "SELECT class_id, name, color, area_px FROM classes")
    assert {row[0]: (row[1], row[2]) for row in rows if row[0] in names} == names
    assert all(counts[row[0]] == row[3] for row in rows)
    for class_id, name in query(package, "SELECT DISTINCT class_id, class_name FROM segments"):
        if class_id is not None:
            assert names[class_id][0] == name
    check_package(package, set(names))


def check_package(package: Path, ids: set[int]) -> None:
    """Look whether GDAL and SQLite find the package whole, with its layers of classes."""
    assert query(package, "PRAGMA integrity_check") == [("ok",)]
    assert query(package, "PRAGMA foreign_key_check") == []
    layers = pyogrio.list_layers(package)[:, 0].tolist()
    assert {int(name[6:8]) for name in layers if name.startswith("class_")} == ids
    count = query(package, "SELECT count(*) FROM segments")[0][0]
    assert (
        pyogrio.read_info(package, layer="segments", force_feature_count=True)["features"] == count
    )
    assert query(package, "SELECT feature_count FROM gpkg_ogr_contents WHERE table_name='segments'")
    assert (
        sum(
            len(pyogrio.read_dataframe(package, layer=name))
            for name in layers
            if name.startswith("class_")
        )
        == query(package, "SELECT count(*) FROM segments WHERE class_id IS NOT NULL")[0][0]
    )
    unnamed = "SELECT table_name FROM gpkg_contents WHERE table_name NOT IN (SELECT name FROM"
    assert query(package, f"{unnamed} sqlite_master)") == []


COMMANDS = [
    pytest.param(lambda out, **o: edit_classes(out, names={1: "road"}, **o), id="name"),
    pytest.param(lambda out, **o: edit_classes(out, merges=[(0, 3)], **o), id="merge"),
    pytest.param(lambda out, **o: classify(out, n_classes=3, **o), id="classify"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_layers_columns_views_styles_and_projects_of_users_stay(either: Path, command: Any) -> None:
    package = either / "labels.gpkg"
    run_sql(package, OWN)
    command(either)
    assert query(package, "SELECT note FROM field_notes") == [("visited",)]
    assert query(package, "SELECT name, content FROM qgis_projects") == [("mine", b"\x01\x02")]
    assert query(package, "SELECT DISTINCT remark = 'r' || segment_id FROM segments") == [(1,)]
    assert query(package, "SELECT DISTINCT code = 'c' || class_id FROM classes") == [(1,)]
    assert query(package, "SELECT count(*) FROM large_segments")[0][0] > 0
    assert query(package, "SELECT styleQML FROM layer_styles WHERE styleName = 'mine'")
    check_agreement(either)


@pytest.mark.parametrize("command", COMMANDS)
def test_segments_are_not_written_again(either: Path, command: Any) -> None:
    package = either / "labels.gpkg"
    inode = package.stat().st_ino
    columns = "SELECT fid, segment_id, geometry, area_m2, predicted_iou FROM segments"
    before = query(package, columns)
    command(either)
    assert query(package, columns) == before
    assert package.stat().st_ino == inode  # a program that has it open sees the new classes


@pytest.mark.parametrize("command", COMMANDS)
def test_styles_that_nobody_changed_follow_and_changed_ones_stay(
    either: Path, command: Any, progress: RecordedProgress
) -> None:
    package = either / "labels.gpkg"
    own = "UPDATE layer_styles SET styleQML = '<qgis>mine</qgis>' WHERE f_table_name = 'segments'"
    run_sql(package, own)
    before = dict(query(package, "SELECT f_table_name, styleQML FROM layer_styles"))
    command(either, progress=progress)
    after = dict(query(package, "SELECT f_table_name, styleQML FROM layer_styles"))
    assert after["segments"] == before["segments"]
    layers = pyogrio.list_layers(package)[:, 0]
    of_classes = {name for name in layers if name.startswith("class_")}
    assert of_classes == after.keys() - {"segments", "exemplars"}
    assert any("the style of segments was changed by hand" in text for text in progress.warnings)


def test_the_users_default_style_stays_the_default_one(out: Path) -> None:
    package = out / "labels.gpkg"
    run_sql(package, OWN + "UPDATE layer_styles SET useAsDefault = (styleName = 'mine');")
    classify(out, n_classes=3)
    chosen = "SELECT styleName FROM layer_styles WHERE f_table_name = 'segments' AND useAsDefault"
    assert query(package, chosen) == [("mine",)]


def test_a_layer_of_the_users_with_our_name_stays(out: Path) -> None:
    package = out / "labels.gpkg"
    run_sql(package, "CREATE TABLE class_01_road (note TEXT); INSERT INTO class_01_road VALUES (7)")
    edit_classes(out, names={1: "road"})
    assert query(package, "SELECT note FROM class_01_road") == [("7",)]
    assert "class_01_road_2" in pyogrio.list_layers(package)[:, 0]


def test_a_style_of_the_raster_that_was_changed_stays(
    either: Path, progress: RecordedProgress
) -> None:
    qml = either / "labels.qml"
    qml.write_text(qml.read_text().replace("alpha", "alpha2"))
    before = qml.read_text()
    edit_classes(either, names={1: "road"}, progress=progress)
    assert qml.read_text() == before
    assert any("labels.qml was changed by hand" in text for text in progress.warnings)


def test_a_style_of_the_raster_that_nobody_changed_follows(
    either: Path, progress: RecordedProgress
) -> None:
    for name in ("road", "path"):
        edit_classes(either, names={1: name}, progress=progress)
        assert f'label="{name}"' in (either / "labels.qml").read_text()
    assert not progress.warnings


def test_what_others_put_into_the_rasters_sidecar_stays(
    out: Path, progress: RecordedProgress
) -> None:
    sidecar = out / "labels.tif.aux.xml"
    statistics = '<Metadata><MDI key="STATISTICS_MEAN">1</MDI><MDI key="OF">band</MDI></Metadata>'
    text = sidecar.read_text().replace("</PAMRasterBand>", f"{statistics}</PAMRasterBand>")
    note = '<Metadata><MDI key="OWNER">me</MDI></Metadata></PAMDataset>'
    sidecar.write_text(text.replace("</PAMDataset>", note))
    edit_classes(out, names={1: "road"}, progress=progress)
    text = sidecar.read_text()
    assert ">me<" in text
    assert ">band<" in text
    assert "STATISTICS" not in text  # of other classes
    assert ">road<" in text
    assert not progress.warnings
    sidecar.write_text(text.replace(">road<", ">Weg<"))
    edit_classes(out, names={1: "path"}, progress=progress)
    assert ">path<" in sidecar.read_text()
    assert ">Weg<" in (out / "labels.tif.aux.kept-1.xml").read_text()
    assert "a copy is kept as labels.tif.aux.kept-1.xml" in progress.warnings[0]


def test_a_new_run_keeps_a_copy_of_a_package_with_what_users_made(
    base: tuple[Path, Path], out: Path, progress: RecordedProgress
) -> None:
    label_it(base[0], out, overwrite=True)
    assert not list(out.glob("*.kept-*"))
    run_sql(out / "labels.gpkg", OWN)
    label_it(base[0], out, overwrite=True, n_classes=3, progress=progress)
    assert query(out / "labels.kept-1.gpkg", "SELECT note FROM field_notes") == [("visited",)]
    assert "a copy is kept as labels.kept-1.gpkg" in progress.warnings[0]
    check_agreement(out)


def test_a_file_that_is_no_package_is_set_aside(out: Path) -> None:
    (out / "labels.gpkg").write_bytes(b"not a database" * 100)
    classify(out, n_classes=3)
    assert (out / "labels.kept-1.gpkg").read_bytes() == b"not a database" * 100
    check_agreement(out)


def test_a_missing_package_is_made_again_with_its_edits(out: Path) -> None:
    package = out / "labels.gpkg"
    segment, old = next(iter(classes_of(package).items()))
    run_sql(package, f"UPDATE segments SET class_id = {(old + 1) % 5} WHERE segment_id = {segment}")
    edit_classes(out)
    package.unlink()
    edit_classes(out)
    assert classes_of(package)[segment] == (old + 1) % 5
    check_agreement(out)


# Edits


@pytest.mark.parametrize("command", COMMANDS)
def test_classes_given_by_hand_stay(either: Path, command: Any, progress: RecordedProgress) -> None:
    package = either / "labels.gpkg"
    before = classes_of(package)
    chosen = [segment for segment in before if before[segment] != 2][:3]
    members = [segment for segment in before if before[segment] == 2]
    ids = ", ".join(map(str, chosen))
    run_sql(package, f"UPDATE segments SET class_id = 2 WHERE segment_id IN ({ids})")
    command(either, progress=progress)
    after = classes_of(package)
    areas = dict(query(package, "SELECT segment_id, area_px FROM segments"))
    sizes = np.zeros(5)
    for member in members:
        sizes[after[member]] += areas[member]
    assert {after[segment] for segment in chosen} == {sizes.argmax()}
    assert any("3 segments of labels.gpkg changed by hand; kept" in t for t in progress.messages)
    scene = json.loads((either / "run.json").read_text())["scenes"][0]
    assert scene["edits"] == {"segments": {str(s): int(sizes.argmax()) for s in sorted(chosen)}}
    sure = f"SELECT DISTINCT confidence FROM segments WHERE segment_id IN ({ids})"
    assert query(package, sure) == [(1.0,)]
    check_agreement(either)


def test_edits_find_their_class_again_when_it_is_back(out: Path) -> None:
    package = out / "labels.gpkg"
    before = classes_of(package)
    segment = next(number for number in before if before[number] != 2)
    run_sql(package, f"UPDATE segments SET class_id = 2 WHERE segment_id = {segment}")
    for count in (2, 3, 5):
        classify(out, n_classes=count)
    assert classes_of(package) == {**before, segment: 2}


def test_an_edit_is_taken_back_by_giving_a_segment_its_class_again(out: Path) -> None:
    package = out / "labels.gpkg"
    before = classes_of(package)
    segment = next(number for number in before if before[number] != 2)
    for class_id in (2, before[segment]):
        run_sql(package, f"UPDATE segments SET class_id = {class_id} WHERE segment_id = {segment}")
        edit_classes(out)
    assert classes_of(package) == before
    assert not list((out / "run").glob("*/edits.parquet"))
    assert "edits" not in json.loads((out / "run.json").read_text())["scenes"][0]


def test_a_name_alone_is_an_edit_and_the_number_leads(out: Path) -> None:
    package = out / "labels.gpkg"
    before = classes_of(package)
    first, second = [number for number in before if before[number] == 0][:2]
    edit = "UPDATE segments SET class_name = 'class_02'"
    run_sql(package, f"{edit} WHERE segment_id = {first}")
    run_sql(package, f"{edit}, class_id = 3 WHERE segment_id = {second}")
    edit_classes(out)
    assert classes_of(package) == {**before, first: 2, second: 3}
    check_agreement(out)


@pytest.mark.parametrize("value", ["99", "NULL", "'water'", "1.5"])
def test_a_class_that_is_not_there_stops_before_anything_is_written(out: Path, value: str) -> None:
    package = out / "labels.gpkg"
    run_sql(package, f"UPDATE segments SET class_id = {value} WHERE fid = 1")
    before = read_all(out)
    with pytest.raises(RunError, match=r"was given .*; the ids are 0, 1, 2, 3, 4; change class_id"):
        classify(out, n_classes=3)
    assert read_all(out) == before


def test_names_that_are_no_classs_are_kept_and_said(out: Path, progress: RecordedProgress) -> None:
    package = out / "labels.gpkg"
    run_sql(package, "UPDATE segments SET class_name = 'my own' WHERE fid = 1")
    classify(out, n_classes=3, progress=progress)
    assert query(package, "SELECT class_name FROM segments WHERE fid = 1") == [("my own",)]
    assert "class_name that is no class's" in progress.warnings[0]


def test_deleted_added_and_reshaped_segments_stay_and_are_said(
    out: Path, progress: RecordedProgress
) -> None:
    package = out / "labels.gpkg"
    columns = "geometry, segment_id, class_id, class_name"
    run_sql(
        package,
        f"""
        DELETE FROM segments WHERE fid = 1;
        INSERT INTO segments ({columns}) SELECT {columns} FROM segments WHERE fid = 2;
        INSERT INTO segments (geometry, class_id) SELECT geometry, 4 FROM segments WHERE fid = 3;
        UPDATE segments SET geometry = (SELECT geometry FROM segments WHERE fid = 5) WHERE fid = 4;
        """,
    )
    geometry = query(package, "SELECT fid, geometry FROM segments")
    for _ in range(2):
        classify(out, n_classes=3, progress=progress)
        assert query(package, "SELECT fid, geometry FROM segments") == geometry
        scene = json.loads((out / "run.json").read_text())["scenes"][0]
        assert scene["edits"] == {"deleted": 1, "reshaped": 1, "added": 2}
    assert len(progress.warnings) == 6
    assert {row[0] for row in query(package, "SELECT class_id FROM segments")} <= {0, 1, 2}
    check_agreement(out)


def test_names_and_colours_given_in_the_table_of_classes_are_taken(out: Path) -> None:
    run_sql(
        out / "labels.gpkg",
        "UPDATE classes SET name = 'water', color = '#0000ff' WHERE class_id = 2;"
        "UPDATE classes SET name = '' WHERE class_id = 3",
    )
    edit_classes(out, names={1: "road"})
    record = json.loads((out / "run.json").read_text())
    names = [item["name"] for item in record["classes"]]
    assert names == ["class_00", "road", "water", "class_03", "class_04"]
    assert record["classes"][2]["color"] == "#0000ff"
    check_agreement(out)


def test_labelling_again_takes_edits_into_a_finished_run(
    base: tuple[Path, Path], out: Path, progress: RecordedProgress
) -> None:
    package = out / "labels.gpkg"
    before = classes_of(package)
    segment = next(number for number in before if before[number] != 2)
    run_sql(package, f"UPDATE segments SET class_id = 2 WHERE segment_id = {segment}")
    label_it(base[0], out)
    assert classes_of(package)[segment] == 2
    check_agreement(out)
    label_it(base[0], out, progress=progress)
    assert "nothing to do" in progress.messages[-1]


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_package_that_another_program_writes_to_is_one_line_and_nothing_changes(
    out: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alps_geo.outputs.revision._PATIENCE", 0.1)
    package = out / "labels.gpkg"
    with closing(sqlite3.connect(package, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode = {journal}")
        other.execute("SELECT count(*) FROM segments").fetchall()
        before = read_all(out)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match=r"labels.gpkg: another program is writing to it"):
            classify(out, n_classes=3)
        other.execute("ROLLBACK")
        assert read_all(out) == before
        # Reading does no harm.
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM segments").fetchall()
        if journal == "WAL":
            classify(out, n_classes=3)
            other.execute("ROLLBACK")
            assert other.execute("SELECT max(class_id) FROM segments").fetchone() == (2,)
        else:
            with pytest.raises(OutputError, match="another program is "):
                classify(out, n_classes=3)
            assert not RunFolder(out).results_outdated
            other.execute("ROLLBACK")
            check_agreement(out)


def test_where_one_of_several_packages_is_locked_none_changes(
    base: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alps_geo.outputs.revision._PATIENCE", 0.1)
    scenes = [Path(shutil.copy(base[0], tmp_path / f"{name}.tif")) for name in "ab"]
    chosen = Settings.from_options(**OPTIONS)
    outputs = label(scenes, tmp_path / "out", settings=chosen, model=FakeModel())
    first, second = outputs.package_paths
    segment = next(number for number, old in classes_of(first).items() if old != 2)
    run_sql(first, f"UPDATE segments SET class_id = 2 WHERE segment_id = {segment}")
    before = read_all(outputs.folder)
    with closing(sqlite3.connect(second, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match=r"b.labels.gpkg: another program is writing"):
            classify(outputs.folder, n_classes=3)
    assert read_all(outputs.folder) == before
    unedited = classes_of(second)
    edit_classes(outputs.folder)
    assert classes_of(first)[segment] == 2
    assert classes_of(second) == unedited


segment_edits = st.tuples(st.just("edit"), st.integers(0, 10**6), st.integers(0, 10**6))
STEPS = st.one_of(
    segment_edits,
    st.tuples(st.just("classify"), st.integers(2, 6)),
    st.tuples(st.just("name"), st.integers(0, 10**6), st.text("abc", min_size=1, max_size=4)),
    st.tuples(st.just("merge"), st.integers(0, 10**6), st.integers(0, 10**6)),
    st.tuples(st.just("again")),
)


@pytest.mark.slow
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, min_size=1, max_size=6))
def test_whatever_is_done_nothing_of_users_is_lost_and_all_results_agree(
    base: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    out = Path(shutil.copytree(base[1], folder / "out"))
    package, edited = out / "labels.gpkg", set()
    run_sql(package, OWN)
    outlines = query(package, "SELECT fid, segment_id, geometry FROM segments")
    for step in [*steps, ("again",)]:
        record = json.loads((out / "run.json").read_text())
        ids = [item["id"] for item in record["classes"]]
        if step[0] == "edit":
            segment, class_id = outlines[step[1] % len(outlines)][1], ids[step[2] % len(ids)]
            given_class = f"SET class_id = {class_id} WHERE segment_id = {segment}"
            run_sql(package, f"UPDATE segments {given_class}")
            edited.add(segment)
            continue
        before = classes_of(package)
        if step[0] == "classify":
            classify(out, n_classes=step[1])
        elif step[0] == "name":
            edit_classes(out, names={ids[step[1] % len(ids)]: f"{step[2]}{step[1]}"})
        elif step[0] == "merge" and ids[step[1] % len(ids)] != ids[step[2] % len(ids)]:
            pair = ids[step[1] % len(ids)], ids[step[2] % len(ids)]
            edit_classes(out, merges=[pair])
            merged = {s: pair[0] if c == pair[1] else c for s, c in before.items()}
            assert classes_of(package) == merged
        else:
            edit_classes(out)
            assert classes_of(package) == before
        check_agreement(out)
    assert query(package, "SELECT fid, segment_id, geometry FROM segments") == outlines
    assert query(package, "SELECT note FROM field_notes") == [("visited",)]
    assert query(package, "SELECT name, content FROM qgis_projects") == [("mine", b"\x01\x02")]
    assert query(package, "SELECT DISTINCT remark = 'r' || segment_id FROM segments") == [(1,)]
    found = json.loads((out / "run.json").read_text())["scenes"][0].get("edits", {})
    assert {int(number) for number in found.get("segments", {})} <= edited
    shutil.rmtree(folder)


KILLER = """
import os, signal, sys
from pathlib import Path
from alps_geo.pipeline import classify
OURS = ("class_layers.py", "edits.py", "files.py", "label_raster.py", "library.py", "marks.py")
OURS += ("outputs.py", "results.py", "revision.py", "scene_results.py", "store.py")
calls, last = 0, int(sys.argv[2])
def watch(frame, event, argument):
    global calls
    if event in ("call", "c_call") and Path(frame.f_code.co_filename).name in OURS:
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(watch)
classify(sys.argv[1], n_classes=3)
sys.setprofile(None)
print(calls)
"""


def content(package: Path) -> tuple[list[tuple[Any, ...]], ...]:
    """Return all that is in a package and depends on classes."""
    return (
        query(package, "SELECT fid, class_id, class_name, confidence FROM segments"),
        query(package, "SELECT class_id, name, segments FROM classes"),
        query(package, "SELECT f_table_name, styleQML FROM layer_styles"),
        query(package, "SELECT name, sql FROM sqlite_master"),
        query(package, "SELECT table_name, min_x, max_y FROM gpkg_contents ORDER BY 1"),
        query(package, "SELECT segment_id, class_id FROM alps_geo_segments"),
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_kill_at_any_instant_leaves_all_old_or_all_new_and_loses_no_edit(
    out: Path, tmp_path: Path
) -> None:
    package = out / "labels.gpkg"
    segment = next(number for number, old in classes_of(package).items() if old != 2)
    run_sql(package, OWN)
    edit_classes(out)
    run_sql(package, f"UPDATE segments SET class_id = 2 WHERE segment_id = {segment}")

    def run(folder: Path, last: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLER, str(folder), str(last)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    whole = Path(shutil.copytree(out, tmp_path / "whole"))
    calls, found = int(run(whole, 0).stdout), []
    for share in np.linspace(0.02, 0.98, 9).tolist():
        killed = Path(shutil.copytree(out, tmp_path / f"killed {share:.2f}"))
        assert run(killed, int(share * calls)).returncode == -signal.SIGKILL
        there = content(killed / "labels.gpkg")
        found.append(there == content(whole / "labels.gpkg"))
        assert found[-1] or there == content(package)
        other = Path(shutil.copytree(killed, tmp_path / f"other {share:.2f}"))
        classify(killed, n_classes=3)
        assert content(killed / "labels.gpkg") == content(whole / "labels.gpkg")
        edit_classes(other)  # may be of the old or the new classes, but all of it is
        classify(other, n_classes=5)
        assert classes_of(other / "labels.gpkg")[segment] == 2
        for folder in (killed, other):
            check_agreement(folder)
            assert not RunFolder(folder).results_outdated
            notes = query(folder / "labels.gpkg", "SELECT note FROM field_notes")
            assert notes == [("visited",)]
    assert set(found) == {False, True}
