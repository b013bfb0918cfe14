"""Whole commands on a small scene: what they print, write and refuse."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio

from alps_geo.classes.model import ClassModel

from .conftest import SMALL, run

PROGRAM = [sys.executable, "-m", "alps_geo.cli"]


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def listed(out):
    rows = json.loads(run("classes", out, "--json", "--progress", "none").stdout)["classes"]
    return {row["id"]: row for row in rows}


def test_label_tells_what_it_found_and_what_to_open(finished_run):
    out, printed = finished_run
    assert "Labelled 100.0% of 120,000 pixels" in printed
    assert "in 5 classes" in printed
    assert "labels.gpkg  open this in QGIS" in printed
    assert f"alps-geo classify {out} -k 8" in printed
    assert {path.name for path in out.iterdir()} >= {
        "labels.tif",
        "labels.qml",
        "labels.gpkg",
        "classes.safetensors",
        "run.json",
        "run",
    }


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_label_shows_its_warnings_once(make_scene, landscape, tmp_path, mode):
    scene = make_scene(landscape, crs=None)
    result = run("label", scene, "-o", tmp_path / "out", "--progress", mode, *SMALL)
    assert result.exit_code == 0
    assert result.output.count("not georeferenced: no CRS") == 1
    assert ("Warnings:\n" in result.stdout) == (mode == "none")


def test_several_scenes_get_files_of_their_own(small_scene, make_scene, landscape, tmp_path):
    other = make_scene(landscape[::-1].copy(), "other.tif")
    out = tmp_path / "out"
    result = run("label", small_scene, other, "-o", out, "--progress", "none", *SMALL)
    assert result.exit_code == 0, result.output
    assert (out / "drawn.labels.tif").exists()
    assert "other.labels.gpkg  open this in QGIS" in result.stdout


def test_a_scene_that_is_not_there_is_one_line(tmp_path):
    result = run("label", tmp_path / "no.tif", "-o", tmp_path / "out", "--progress", "none")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "no.tif" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_with_another_run_is_refused(own_run, make_scene, landscape):
    scene = make_scene(landscape[::-1].copy(), "drawn.tif")
    result = run("label", scene, "-o", own_run, "--progress", "none", *SMALL)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr


def test_json_ends_with_absolute_paths_of_the_results(small_scene, tmp_path):
    result = subprocess.run(
        [*PROGRAM, "label", small_scene, "-o", "out", "--progress", "json", *SMALL],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
    )
    found = events(result.stdout)
    assert result.returncode == 0, result.stderr
    assert [item["name"] for item in found if item["event"] == "stage"][:2] == ["scenes", "tiles"]
    assert found[-1]["event"] == "result"
    assert found[-1]["labels"] == [str(tmp_path / "out" / "labels.tif")]


def test_a_cancelled_run_goes_on_to_the_same_result(small_scene, finished_run, tmp_path):
    command = [*PROGRAM, "label", str(small_scene), "-o", "out", "--progress", "json", *SMALL]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    for line in process.stdout:
        item = json.loads(line)
        if item["event"] == "progress" and item["done"] >= 1:
            break
    stdout, _ = process.communicate("cancel\n", timeout=60)
    assert process.returncode == 130
    last = events(stdout)[-1]
    assert last["event"] == "cancelled"
    assert "finished tiles are kept, to go on: alps-geo label" in last["message"]
    assert not (tmp_path / "out" / "labels.tif").exists()
    tiles = list((tmp_path / "out" / "run").rglob("*.parquet"))
    assert tiles
    times = {path: path.stat().st_mtime_ns for path in tiles}

    again = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=tmp_path, stdin=subprocess.DEVNULL
    )
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in tiles} == times
    with (
        rasterio.open(tmp_path / "out" / "labels.tif") as resumed,
        rasterio.open(finished_run[0] / "labels.tif") as whole,
    ):
        assert (resumed.read() == whole.read()).all()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_workers_too(small_scene, tmp_path):
    process = subprocess.Popen(
        [*PROGRAM, "label", str(small_scene), "-o", "out", "--workers", "2", *SMALL],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    for line in process.stderr:
        if line.startswith("tiles: "):  # so the workers are at work
            break
    # As a terminal does: to the whole group, workers included.
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "to go on: alps-geo label" in stderr


def test_classify_makes_another_number_of_classes(own_run):
    before = sorted((own_run / "run").rglob("tiles/*.parquet"))
    result = run("classify", own_run, "-k", "3", "--progress", "none")
    assert result.exit_code == 0, result.output
    assert "in 3 classes" in result.stdout
    assert ClassModel.load(own_run).class_ids == (0, 1, 2)
    assert sorted((own_run / "run").rglob("tiles/*.parquet")) == before


def test_classify_applies_a_class_model(own_run, finished_run):
    run("classify", own_run, "-k", "3", "--progress", "none")
    result = run("classify", own_run, "--classes", finished_run[0], "--progress", "none")
    assert result.exit_code == 0, result.output
    assert "in 5 classes" in result.stdout


def test_classify_needs_a_run(tmp_path):
    result = run("classify", tmp_path, "-k", "3", "--progress", "none")
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_classes_lists_ids_colours_and_shares(finished_run):
    out, _ = finished_run
    rows = listed(out)
    assert sorted(rows) == list(range(5))
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    assert sum(row["area_px"] for row in rows.values()) == 120_000
    shares = [rows[number]["share"] for number in sorted(rows)]
    assert shares == sorted(shares, reverse=True)
    table = run("classes", out, "--progress", "none").stdout
    assert rows[0]["color"] in table
    assert "class_04" in table


def test_classes_counts_no_packages_but_those_of_the_run(own_run):
    command = ("classes", own_run, "--json", "--progress", "none")
    before = run(*command).stdout
    for name in ("old.labels.gpkg", "labels.kept-1.gpkg", "my_labels.gpkg"):
        shutil.copy(Path(own_run) / "labels.gpkg", Path(own_run) / name)
    assert run(*command).stdout == before


def test_classes_names_colours_and_merges(own_run):
    before = listed(own_run)
    result = run(
        *("classes", own_run, "--name", "3=road [old]", "--color", "3=#888888"),
        *("--merge", "0,1", "--progress", "none"),
    )
    assert result.exit_code == 0, result.output
    assert "road [old]" in result.stdout
    after = listed(own_run)
    assert sorted(after) == [0, 2, 3, 4]
    assert (after[3]["name"], after[3]["color"]) == ("road [old]", "#888888")
    assert after[0]["area_px"] == before[0]["area_px"] + before[1]["area_px"]
    with rasterio.open(own_run / "labels.tif") as labels:
        assert labels.colormap(1)[3][:3] == (0x88, 0x88, 0x88)
        assert not (labels.read(1) == 1).any()


def test_classes_splits_sets_reads_tables_and_undoes(own_run, tmp_path):
    def edit(*arguments):
        result = run("classes", own_run, "--progress", "none", *arguments)
        assert result.exit_code == 0, result.output
        return listed(own_run)

    before, labels = listed(own_run), (own_run / "labels.tif").read_bytes()
    after = edit("--split", "0", "--merge", "2,1=roof", "--set", "1=roof", "--legend", "corine")
    assert sorted(after) == [0, 2, 3, 4, 5]
    assert after[2]["name"] == "roof"
    assert edit("--undo") == before
    assert (own_run / "labels.tif").read_bytes() == labels
    table = tmp_path / "classes.csv"
    edit("--to-csv", table)
    table.write_text(table.read_text().replace("class_03", "Mixed forest"))
    after = edit("--from-csv", table, "--legend", "corine")
    assert (after[3]["code"], after[3]["color"]) == ("313", "#4dff00")
    (tmp_path / "set.csv").write_text("segment_id,class\n1,mixed forest\n")
    result = run("classes", own_run, "--set-from", tmp_path / "set.csv", "--progress", "none")
    assert "there is no class called 'mixed forest'" in result.stderr
    after = edit("--name-from", own_run / "labels.tif", "--drop-edits")
    assert after[0]["name"] == "class_00"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "x"], "--split takes a class id and a value, as in 3=…, not 'x=2'"),
        (["--split", "1=many"], "--split takes a class id and a number of parts"),
        (["--set", "road"], "--set takes a segment id and a class, as in 3=…"),
        (["--set", "1=99"], "there is no class 99"),
        (["--merge", "0,1=a", "--name", "0=b"], "--name is given twice for class 0"),
        (["--from-csv", "no.csv"], "--from-csv: no.csv cannot be read"),
        (["--undo", "--name", "1=a"], "--undo goes with no other change"),
        (["--name", "road"], "--name takes a class id and a value, as in 3=…, not 'road'"),
        (["--name", "1=a", "--name", "1=b"], "--name is given twice for class 1"),
        (["--color", "x=#000000"], "--color takes a class id and a value"),
        (["--color", "1=grey"], "must be #rrggbb"),
        (["--merge", "4"], "--merge takes two or more class ids, as in 4,7, not '4'"),
        (["--merge", "4,99"], "there is no class 99"),
        (["--name", "77=sea"], "there is no class 77"),
    ],
)
def test_classes_refuses_what_cannot_be(finished_run, arguments, message):
    out, _ = finished_run
    result = run("classes", out, "--progress", "none", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_classes_needs_a_finished_run(tmp_path):
    result = run("classes", tmp_path, "--progress", "none")
    assert result.exit_code == 2
    assert "holds no finished run" in result.stderr


def test_info_tells_what_label_would_do(small_scene):
    result = run("info", small_scene, *SMALL, "--progress", "none")
    assert result.exit_code == 0, result.output
    assert "400 x 300 pixels, 100.0% valid" in result.stdout
    assert "builtin" in result.stdout
    assert "about" in result.stdout


def test_info_gives_json(small_scene):
    result = run("info", small_scene, *SMALL, "--progress", "none", "--json")
    plan = json.loads(result.stdout)
    assert plan["tiles"] == 12
    assert plan["scene"]["bands"] == [1, 2, 3]
    assert plan["seconds"] > 0
    assert plan["memory_mb"] > 0


@pytest.mark.parametrize(
    "arguments",
    [["--bands", "1,2,9"], ["--stretch", "none", "--gsd", "0.0001"], ["--aoi", "no.gpkg"]],
)
def test_info_refuses_what_label_refuses(small_scene, tmp_path, arguments):
    told = run("info", small_scene, "--progress", "none", *arguments)
    refused = run("label", small_scene, "-o", tmp_path / "out", "--progress", "none", *arguments)
    assert told.exit_code == refused.exit_code != 0
    assert told.stderr == refused.stderr
    assert not (tmp_path / "out").exists()
