"""Classes merged, split, named, taken from tables and undone; segments classed by hand."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from alps_geo import ClassModel
from alps_geo.cli.main import cli
from alps_geo.errors import OutputError, RunError, SettingsError
from alps_geo.models.fake import FakeModel
from alps_geo.pipeline import classify, edit_classes, label
from alps_geo.progress import RecordedProgress
from alps_geo.run.folder import RunFolder
from alps_geo.run.run import open as open_run
from alps_geo.settings import Settings

from .test_hand_work import (
    OPTIONS,
    base,  # noqa: F401 - a fixture
    check_agreement,
    classes_of,
    content,
    query,
    read_all,
    run_sql,
)


@pytest.fixture
def out(base: tuple[Path, Path], tmp_path: Path) -> Path:  # noqa: F811
    """Return the folder of a run of its own."""
    return Path(shutil.copytree(base[1], tmp_path / "out"))


def rows_of(package: Path) -> list[Any]:
    """Return the segments and the classes of a package."""
    return [sorted(rows, key=str) for rows in content(package)[:2]]


def segments_of(out: Path, class_id: int) -> list[int]:
    return sorted(s for s, number in classes_of(out / "labels.gpkg").items() if number == class_id)


# Splits


def test_a_split_gives_new_ids_to_all_parts_but_the_largest_and_moves_no_other_segment(
    out: Path,
) -> None:
    before = classes_of(out / "labels.gpkg")
    edit_classes(out, splits={0: 3})
    after = classes_of(out / "labels.gpkg")
    assert {s: c for s, c in after.items() if before[s]} == {s: c for s, c in before.items() if c}
    table = open_run(out).classes
    assert table.index.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert table.area_px[0] >= table.area_px[5] >= table.area_px[6] > 0
    assert len(set(table.color)) == 7
    check_agreement(out)


def test_a_split_is_kept_in_the_class_model_for_other_runs(out: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(out, tmp_path / "other"))
    edit_classes(out, splits={0: 2}, merges=[(1, 2)], names={5: "small"})
    classify(other, classes=out)
    assert classes_of(other / "labels.gpkg") == classes_of(out / "labels.gpkg")
    assert ClassModel.load(other).names[5] == "small"


def test_a_part_can_be_split_and_merged_again(out: Path) -> None:
    before = classes_of(out / "labels.gpkg")
    edit_classes(out, splits={0: 2})
    edit_classes(out, splits={5: 2})
    edit_classes(out, merges=[(0, 5, 6)])
    assert classes_of(out / "labels.gpkg") == before
    check_agreement(out)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({9: 2}, "there is no class 9"),
        ({0: 1}, "class 0 cannot be split into 1; give 2 or more"),
        ({0: 999}, "class 0 cannot be split into 999: it has only"),
    ],
)
def test_splits_that_cannot_be_change_nothing(
    out: Path, splits: dict[int, int], message: str
) -> None:
    before = read_all(out)
    with pytest.raises(SettingsError, match=message):
        edit_classes(out, splits=splits)
    assert read_all(out) == before


# Undo


CHANGES = [
    pytest.param(lambda out: edit_classes(out, merges=[(0, 3)]), id="merge"),
    pytest.param(lambda out: edit_classes(out, splits={0: 3}), id="split"),
    pytest.param(lambda out: edit_classes(out, names={1: "road"}), id="name"),
    pytest.param(lambda out: edit_classes(out, segments={1: 4, 2: 4, 3: 0}), id="set"),
    pytest.param(lambda out: edit_classes(out, drop_edits=True), id="drop"),
    pytest.param(lambda out: classify(out, n_classes=3), id="classify"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_undo_gives_back_every_byte_of_the_labels_and_a_second_time_the_change(
    out: Path, change: Any
) -> None:
    edit_classes(out, segments={5: 2}, names={2: "water"})
    package = out / "labels.gpkg"
    old, old_rows = (out / "labels.tif").read_bytes(), rows_of(package)
    old_record = json.loads((out / "run.json").read_text())
    change(out)
    new, new_rows = (out / "labels.tif").read_bytes(), rows_of(package)
    edit_classes(out, undo=True)
    assert (out / "labels.tif").read_bytes() == old
    assert rows_of(package) == old_rows
    record = json.loads((out / "run.json").read_text())
    for name in ("classes", "settings", "class_model", "scenes"):
        assert record[name] == old_record[name]
    check_agreement(out)
    edit_classes(out, undo=True)
    assert (out / "labels.tif").read_bytes() == new
    assert rows_of(package) == new_rows


def test_undo_keeps_what_was_changed_by_hand_before_and_after(out: Path) -> None:
    package = out / "labels.gpkg"
    first, second, third = [s for s, c in classes_of(package).items() if c not in (2, 4)][:3]

    def edit(segment: int) -> None:
        run_sql(package, f"UPDATE segments SET class_id = 2 WHERE segment_id = {segment}")

    edit(first)
    edit_classes(out, merges=[(2, 4)])
    edit(second)
    edit_classes(out)  # takes the edit, and is no step of its own
    edit(third)
    edit_classes(out, undo=True)
    assert {first, second, third} <= set(segments_of(out, 2))
    assert 4 in open_run(out).classes.index
    check_agreement(out)


def test_where_nothing_was_changed_nothing_can_be_undone(out: Path) -> None:
    with pytest.raises(RunError, match="there is nothing to undo"):
        edit_classes(out, undo=True)
    with pytest.raises(SettingsError, match="`undo` goes with no other change"):
        edit_classes(out, undo=True, names={1: "road"})


def test_a_new_run_cannot_be_undone_to_an_older_one(
    base: tuple[Path, Path],  # noqa: F811
    out: Path,
) -> None:
    edit_classes(out, names={1: "road"})
    options = Settings.from_options(**OPTIONS, overwrite=True)
    label(base[0], out, settings=options, model=FakeModel())
    with pytest.raises(RunError, match="nothing to undo"):
        edit_classes(out, undo=True)


# Segments by hand


def test_segments_classed_by_hand_survive_new_classes_until_they_are_dropped(
    out: Path, tmp_path: Path
) -> None:
    package = out / "labels.gpkg"
    before = classes_of(package)
    chosen = [s for s, c in before.items() if c != 2][:3]
    listed = tmp_path / "set.csv"
    listed.write_text(f"segment_id;class\n{chosen[1]};water\n{chosen[2]};2\n")
    edit_classes(out, names={2: "water"}, segments={chosen[0]: "water"}, segments_from=listed)
    assert classes_of(package) == {**before, **dict.fromkeys(chosen, 2)}
    for count in (3, 5):
        classify(out, n_classes=count)
    assert classes_of(package) == {**before, **dict.fromkeys(chosen, 2)}
    check_agreement(out)
    run_sql(package, f"UPDATE segments SET class_id = 1 WHERE segment_id = {chosen[0]}")
    edit_classes(out, drop_edits=True)
    assert classes_of(package) == before
    assert not list((out / "run").glob("*/edits.parquet"))


def test_a_segments_own_class_set_by_hand_stays_too(out: Path) -> None:
    first, second = segments_of(out, 0)[:2]
    edit_classes(out, segments={first: "all"}, merges=[(1, 0)], names={1: "all"})
    scene = json.loads((out / "run.json").read_text())["scenes"][0]
    assert scene["edits"]["segments"] == {str(first): 1}
    assert second in segments_of(out, 1)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ({99999: 1}, "has no segment 99999"),
        ({1: 77}, "there is no class 77"),
        ({1: "sea"}, "there is no class called 'sea'; the names are class_00, "),
    ],
)
def test_segments_that_cannot_be_set_change_nothing(
    out: Path, segments: dict[int, int | str], message: str
) -> None:
    before = read_all(out)
    with pytest.raises(SettingsError, match=message):
        edit_classes(out, segments=segments, names={1: "road"})
    assert read_all(out) == before


def test_segments_of_several_scenes_need_the_scene(
    base: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    scenes = [Path(shutil.copy(base[0], tmp_path / f"{name}.tif")) for name in "ab"]
    settings = Settings.from_options(**OPTIONS)
    run = label(scenes, tmp_path / "out", settings=settings, model=FakeModel())
    with pytest.raises(RunError, match="choose one with `scene`: a, b"):
        edit_classes(run, segments={1: 2})
    before = [classes_of(path) for path in run.package_paths]
    edit_classes(run, segments={1: 2, 2: 2, 3: 2}, scene="b")
    after = [classes_of(path) for path in run.package_paths]
    assert after == [before[0], {**before[1], 1: 2, 2: 2, 3: 2}]
    listed = tmp_path / "set.csv"
    listed.write_text("scene,segment_id,class\na,1,4\nb,1,3\n")
    edit_classes(run, segments_from=listed)
    after = [classes_of(path) for path in run.package_paths]
    assert [found[1] for found in after] == [4, 3]


# Tables and legends


def test_a_table_gives_back_what_it_was_written_from(out: Path, tmp_path: Path) -> None:
    edit_classes(out, names={1: 'a "b", c', 2: "Wasser; süß"}, colors={1: "#123456"})
    edit_classes(out, names={3: "Forest"}, legend="osm", to_csv=tmp_path / "a.csv")
    before = (out / "classes.safetensors").read_bytes()
    edit_classes(out, from_csv=tmp_path / "a.csv", to_csv=tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    assert (out / "classes.safetensors").read_bytes() == before
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[3]["code"] == "landuse=forest"


def test_a_table_changes_what_it_says_and_nothing_else(out: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("\ufeffID;Name;Colour\n1;road;\n2;;#0000ff\n", encoding="utf-8")
    before = open_run(out).classes
    edit_classes(out, from_csv=table)
    after = open_run(out).classes
    assert after.name.tolist() == ["class_00", "road", "class_02", "class_03", "class_04"]
    assert after.color.drop(2).tolist() == before.color.drop(2).tolist()
    assert after.color[2] == "#0000ff"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nroad\n", "needs the column id, and has name"),
        ("id,name\nx,road\n", "'x' in the column id is no class id"),
        ("id,name\n1,a\n1,b\n", "'1' in the column id comes twice"),
        ("id,name\n9,a\n", "there is no class 9"),
        ("id,color\n1,red\n", "must be #rrggbb"),
        ('id,name\n1,"a\n', "is no CSV"),
    ],
)
def test_tables_that_cannot_be_change_nothing(
    out: Path, tmp_path: Path, text: str, message: str
) -> None:
    table, before = tmp_path / "table.csv", read_all(out)
    table.write_text(text)
    with pytest.raises(SettingsError, match=message):
        edit_classes(out, from_csv=table)
    with pytest.raises(SettingsError, match=r"nowhere\.csv cannot be read: No such file"):
        edit_classes(out, from_csv=tmp_path / "nowhere.csv")
    assert read_all(out) == before
    with pytest.raises(OutputError, match=r"cannot write .*the folder must be there"):
        edit_classes(out, to_csv=tmp_path / "no" / "a.csv")


def test_classes_called_as_in_a_legend_get_its_colours_codes_and_uris(
    out: Path, progress: RecordedProgress
) -> None:
    edit_classes(
        out,
        names={0: "MIXED forest", 1: "512", 3: "Water courses 2"},
        colors={3: "#010203"},
        legend="corine",
        progress=progress,
    )
    assert "3 of 5 classes are called as in the legend" in progress.messages
    table = open_run(out).classes
    assert table.code.tolist() == ["313", "512", "", "511", ""]
    assert table.color[[0, 1, 3]].tolist() == ["#4dff00", "#80f2e6", "#010203"]
    assert table.uri[0].endswith("/clc/313")
    rows = query(out / "labels.gpkg", "SELECT class_code FROM classes ORDER BY class_id")
    assert rows == [("313",), ("512",), (None,), ("511",), (None,)]
    root = ElementTree.fromstring((out / "labels.tif.aux.xml").read_text())
    fields = [item.text for item in root.iter("Name")]
    cells = [[cell.text for cell in row] for row in root.iter("Row")]
    assert [row[fields.index("Code")] for row in cells] == ["313", "512", None, "511", None]
    check_agreement(out)
    assert ClassModel.load(out).legend_.codes == {0: "313", 1: "512", 3: "511"}
    edit_classes(out, merges=[(0, 1)])
    assert query(out / "labels.gpkg", "SELECT count(class_code) FROM classes") == [(2,)]


def test_a_legend_of_ones_own_is_taken_and_one_that_fits_nothing_is_said(
    out: Path, tmp_path: Path, progress: RecordedProgress
) -> None:
    legend = tmp_path / "mine.csv"
    legend.write_text("name,colour\nSand,#ffee00\n")
    edit_classes(out, names={4: "sand"}, legend=legend)
    assert open_run(out).classes.color[4] == "#ffee00"
    edit_classes(out, names={4: "x"}, legend=legend, progress=progress)
    assert "no class is called as one of the legend" in progress.warnings[0]
    with pytest.raises(SettingsError, match="legends that come with this program: corine, osm"):
        edit_classes(out, legend="urban atlas")


# Names from a reference


def test_classes_are_named_after_what_most_of_their_pixels_are(
    out: Path, tmp_path: Path, progress: RecordedProgress
) -> None:
    with rasterio.open(out / "labels.tif") as file:
        labels, profile = file.read(1), file.profile
    truth = np.select([labels <= 1, labels == 2, labels == 4], [1, 2, 3], 0).astype(np.uint8)
    truth[:60][labels[:60] == 0] = 2
    profile = {name: profile[name] for name in ("height", "width", "crs", "transform")}
    path = tmp_path / "truth.tif"
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", count=1, nodata=0, **profile) as f:
        f.write(truth, 1)
    edit_classes(out, name_from=path, names={4: "mine"}, progress=progress)
    table = open_run(out).classes
    first, second = sorted([0, 1], key=lambda one: -np.count_nonzero(truth[labels == one] == 1))
    assert table.name[[first, second, 2, 3, 4]].tolist() == ["1", "1 2", "2", "class_03", "mine"]
    share = np.mean(truth[labels == 0] == 1)
    name = table.name[0]
    said = f"class 0 is '{name}' by {share:.0%} of its pixels in the reference"
    assert said in progress.messages
    with pytest.raises(SettingsError, match="once they are split"):
        edit_classes(out, name_from=path, splits={0: 2})


# One transaction


KILLER = """
import os, signal, sys
from pathlib import Path
import alps_geo.pipeline
from alps_geo.cli.main import cli
OURS = ("class_layers.py", "edits.py", "files.py", "label_raster.py", "library.py", "marks.py")
OURS += ("results.py", "revision.py", "scene_results.py", "_files.py", "state.py", "folder.py")
OURS += ("opening.py", "writing.py", "editing.py", "file.py")
calls, last = 0, int(sys.argv[2])
def watch(frame, event, argument):
    global calls
    if event in ("call", "c_call") and Path(frame.f_code.co_filename).name in OURS:
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(watch)
cli(["classes", sys.argv[1], "--merge", "0,3=both", "--progress", "none"], standalone_mode=False)
sys.setprofile(None)
print("calls", calls)
"""


def kill(folder: Path, last: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLER, str(folder), str(last)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kinds(out: Path) -> tuple[bytes, Any, bytes, Any, str]:
    """Return what each result says of the classes."""
    record = json.loads((out / "run.json").read_text())
    qml = (out / "labels.qml").read_text()
    rows = [sorted(rows) for rows in content(out / "labels.gpkg")[:3]]
    labels = (out / "labels.tif").read_bytes()
    return labels, rows, (out / "classes.safetensors").read_bytes(), record["classes"], qml


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_merge_killed_at_any_of_20_instants_is_made_whole_or_not_at_all(
    out: Path, tmp_path: Path
) -> None:
    whole = Path(shutil.copytree(out, tmp_path / "whole"))
    finished = kill(whole, 0)
    found = re.search(r"calls (\d+)", finished.stdout)
    assert found is not None, finished.stderr
    calls, old, new = int(found[1]), kinds(out), kinds(whole)
    assert all(a != b for a, b in zip(old, new, strict=True))
    # The last calls, where files take their places, as well as those before.
    shares = [*np.linspace(0.02, 0.9, 8), *np.linspace(0.92, 0.999, 12)]
    became = []
    for share in shares:
        killed = Path(shutil.copytree(out, tmp_path / f"killed {share:.3f}"))
        assert kill(killed, int(share * calls)).returncode == -signal.SIGKILL
        if RunFolder(killed).is_whole:
            assert kinds(killed) in (old, new)
        command = ["classes", str(killed), "--json", "--progress", "none"]
        shown = CliRunner().invoke(cli, command, catch_exceptions=False)
        became.append(kinds(killed) == new)
        assert became[-1] or kinds(killed) == old
        names = [item["name"] for item in json.loads(shown.stdout)["classes"]]
        assert ("both" in names) == became[-1]
        check_agreement(killed)
        assert RunFolder(killed).is_whole
        edit_classes(killed)
        assert not list(killed.rglob(".*.part*"))
    assert became == sorted(became)
    assert set(became) == {False, True}


@pytest.mark.parametrize(
    "stopped_at",
    [
        pytest.param("alps_geo._files.Waiting.place", id="files"),
        pytest.param("alps_geo.run.placing.save_undo", id="undo"),
    ],
)
def test_what_is_stopped_once_it_is_decided_is_finished_by_the_next_command(
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    progress: RecordedProgress,
    stopped_at: str,
) -> None:
    whole = Path(shutil.copytree(out, tmp_path / "whole"))
    run_sql(out / "labels.gpkg", "UPDATE segments SET class_id = 2 WHERE segment_id = 1")
    shutil.copy(out / "labels.gpkg", whole / "labels.gpkg")
    edit_classes(whole, merges=[(0, 3)])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stopped_at, stop)
    with pytest.raises(KeyboardInterrupt):
        edit_classes(out, merges=[(0, 3)])
    monkeypatch.undo()
    with pytest.raises(RunError, match="were not all written"):
        open_run(out).labels()
    classes = edit_classes(out, names={1: "road"}, progress=progress).classes
    assert "a change of classes that was stopped half-way is finished now" in progress.messages
    assert classes.index.tolist() == [0, 1, 2, 4]
    assert classes_of(out / "labels.gpkg") == classes_of(whole / "labels.gpkg")
    check_agreement(out)
    edit_classes(out, undo=True)
    assert (out / "labels.tif").read_bytes() == (whole / "labels.tif").read_bytes()


def test_a_file_that_cannot_be_written_leaves_all_as_it_was(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_all(out)

    def fail(*_: object) -> None:
        raise OutputError("no room")

    monkeypatch.setattr("alps_geo.run.results.write_record", fail)
    with pytest.raises(OutputError, match="no room"):
        edit_classes(out, merges=[(0, 3)])
    after = read_all(out)
    assert {path: after[path] for path in before} == before
    assert {path.name[:8] for path in after.keys() - before.keys()} <= {"classes-"}
    assert not list(out.rglob(".*.part*"))
