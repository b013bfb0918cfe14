import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner

from alps_geo.cli.main import cli

ENGINE = [sys.executable, "-m", "alps_geo.cli"]
HALVES = np.repeat([[0, 1]], 10, axis=1).repeat(10, axis=0).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    def write_raster(name, values):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        profile = {
            "dtype": "uint8",
            "crs": "EPSG:32640",
            "transform": Affine(1, 0, 5e5, 0, -1, 2e6),
        }
        height, width = values.shape
        with rasterio.open(
            path, "w", "GTiff", width, height, count=1, nodata=255, **profile
        ) as file:
            file.write(values, 1)
        return str(path)

    return write_raster


def run(*arguments):
    return CliRunner().invoke(cli, ["evaluate", *arguments], env={"COLUMNS": "120"})


def test_tables_tell_people_the_measures_and_what_stands_for_what(write):
    labels = HALVES.copy()
    labels[:, 15:] = 255
    result = run(write("labels.tif", labels), write("truth.tif", HALVES + 3))
    assert result.exit_code == 0
    assert "mean IoU, many-to-one                          0.750" in result.stdout
    assert "labelled pixels only                           1.000" not in result.stdout.split()
    assert "coverage (reference pixels that have a label)  0.750" in result.stdout
    assert ["4", "100", "0.500", "0.500", "1"] in [
        line.split() for line in result.stdout.split("\n")
    ]


def test_json_is_one_object_on_stdout(write):
    result = run(write("labels.tif", HALVES), write("truth.tif", HALVES), "--json")
    document = json.loads(result.stdout)
    assert document["miou"] == document["nmi"] == 1
    assert document["confusion"] == [[100, 0], [0, 100]]
    assert result.stderr == ""


def test_two_runs_get_the_measures_that_are_symmetric(write, tmp_path):
    for name in ("one", "two"):
        write(f"{name}/labels.tif", HALVES)
        (tmp_path / name / "run.json").write_text("{}")
    result = run(str(tmp_path / "one"), str(tmp_path / "two"))
    assert "Agreement of two runs" in result.stdout
    assert "adjusted Rand index" in result.stdout
    assert "mean IoU" not in result.stdout


def test_names_are_shown_as_they_are_and_never_as_markup(write, tmp_path):
    path = write("truth.tif", HALVES)
    (tmp_path / "truth.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category>[red]roof</Category>"
        "</CategoryNames></PAMRasterBand></PAMDataset>"
    )
    assert "[red]roof" in run(write("labels.tif", HALVES), path).stdout


def test_notes_follow_the_tables(write):
    result = run(write("labels.tif", HALVES), write("truth.tif", HALVES), "--ignore", "7")
    assert result.stdout.endswith("Note: the reference has no class 7 to ignore\n")


def test_reference_that_does_not_exist_is_one_line_and_exit_code_1(write, tmp_path):
    result = run(write("labels.tif", HALVES), str(tmp_path / "none.tif"))
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "none.tif does not exist; check the path" in result.stderr


def test_folder_without_labels_is_a_usage_error(write, tmp_path):
    result = run(str(tmp_path), write("truth.tif", HALVES))
    assert result.exit_code == 2
    assert "holds no labels.tif" in result.stderr


def test_a_program_gets_the_same_numbers_as_an_event(write):
    truth = write("truth.tif", HALVES)
    plain = json.loads(run(write("labels.tif", HALVES), truth, "--json").stdout)
    result = subprocess.run(
        [*ENGINE, "evaluate", plain["labels"][0], truth, "--progress", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[-1] == {"event": "result", **plain}
