"""The installed zip in `qgis_process`, with the real engine on a piece of the example scene."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from .timed import last_run, make_timed

ROOT = Path(__file__).resolve().parents[2]
# Debian's wrapper of 3.22 passes an option that the program refuses.
PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
EXAMPLE = ROOT / "examples" / "dubai.tif"
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="qgis_process is not installed")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return variables for a fresh profile with the zip unpacked and the plugin enabled."""
    engine = os.environ.get("ALPS_GEO_ENGINE")
    if not engine:
        pytest.skip("ALPS_GEO_ENGINE names no Python with alps-geo")
    folder = tmp_path_factory.mktemp("process")
    built = subprocess.run(
        [engine, "-m", "qgis_plugin.build", "-o", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    profile = folder / "config" / "profiles" / "default"
    with zipfile.ZipFile(built.stdout.strip()) as archive:
        archive.extractall(profile / "python" / "plugins")
    (folder / "run").mkdir(mode=0o700)
    variables = {
        # An activated environment would become the Python of QGIS.
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "config"),
        "ALPS_GEO_ENGINE": engine,
    }
    process(variables, "plugins", "enable", "alps_geo_qgis")
    return variables


def process(environment, *arguments, code=0, timeout=180):
    result = subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result


def test_all_algorithms_are_listed(environment):
    listed = process(environment, "list").stdout
    found = re.findall(r"^\s+alps_geo:(\w+)", listed, re.MULTILINE)
    assert len(found) == 6


def test_help_has_parameters_outputs_and_texts(environment):
    text = process(environment, "help", "alps_geo:label_scene").stdout
    assert "N_CLASSES: Number of classes" in text
    assert "Number of pseudo-classes." in text
    assert "LABELS: <outputRaster>" in text


def test_a_run_is_that_of_the_terminal_and_adds_three_seconds_at_most(environment, scene, tmp_path):
    command = [environment["ALPS_GEO_ENGINE"], "-m", "alps_geo.cli", "label", scene]
    options = ["--model", "builtin", "-k", "6", "-o", str(tmp_path / "terminal")]
    subprocess.run([*command, *options], capture_output=True, timeout=180, check=True, cwd=tmp_path)
    engine = make_timed(tmp_path, environment["ALPS_GEO_ENGINE"])
    before = time.monotonic()
    process(environment, "help", "alps_geo:label_scene")
    start_up = time.monotonic() - before
    before = time.monotonic()
    result = process(
        {**environment, "ALPS_GEO_ENGINE": engine},
        *("run", "alps_geo:label_scene", "--", f"INPUT={scene}", "MODEL=builtin"),
        *("N_CLASSES=6", f"OUTPUT={tmp_path / 'qgis'}"),
    )
    seconds, own = time.monotonic() - before, last_run(tmp_path)
    print(f"engine {own:.1f} s, qgis_process {seconds:.1f} s, of which to start {start_up:.1f} s")  # noqa: T201
    assert seconds - own - start_up <= 3
    assert "Tiles …" in result.stdout
    assert re.search(r"LABELS:\s+.*labels\.tif", result.stdout)
    same = [(tmp_path / name / "labels.tif").read_bytes() for name in ("terminal", "qgis")]
    assert same[0] == same[1]


def test_json_is_one_object(environment, scene, tmp_path):
    result = process(
        environment,
        *("--json", "run", "alps_geo:label_scene", "--", f"INPUT={scene}", "MODEL=builtin"),
        *("N_CLASSES=6", "BANDS=3", "BANDS=2", "BANDS=1", f"OUTPUT={tmp_path / 'out'}"),
    )
    results = json.loads(result.stdout)["results"]
    assert Path(results["LABELS"]).is_file()
    assert results["OUTPUT"] == str(tmp_path / "out")
    record = json.loads(Path(results["RECORD"]).read_text(encoding="utf-8"))
    assert record["settings"]["scene"]["bands"] == [3, 2, 1]


def test_wrong_values_are_one_message(environment, tmp_path):
    result = process(
        environment,
        *("run", "alps_geo:label_scene", "--", f"INPUT={EXAMPLE}", "OVERLAP=33"),
        f"OUTPUT={tmp_path / 'out'}",
        code=1,
    )
    assert "Overlap must be even" in result.stdout + result.stderr


def test_without_an_engine_the_way_to_one_is_told(environment, tmp_path):
    variables = {key: value for key, value in environment.items() if key != "ALPS_GEO_ENGINE"}
    result = process(
        variables,
        *("run", "alps_geo:label_scene", "--", f"INPUT={EXAMPLE}", f"OUTPUT={tmp_path / 'out'}"),
        code=1,
    )
    assert "Set up engine" in result.stdout + result.stderr


def test_an_interrupted_run_stops_clean_and_goes_on(environment, scene, tmp_path):
    arguments = [
        *("run", "alps_geo:label_scene", "--", f"INPUT={scene}", "MODEL=builtin"),
        *("N_CLASSES=4", "TILE_SIZE=64", "OVERLAP=16", f"OUTPUT={tmp_path / 'out'}"),
    ]
    running = subprocess.Popen(
        [PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    tiles = tmp_path / "out" / "run" / "dubai_piece"
    end = time.monotonic() + 60
    while not list(tiles.glob("**/*.parquet")) and time.monotonic() < end:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    before = time.monotonic()
    running.communicate(timeout=30)
    assert time.monotonic() - before < 4
    assert list(tiles.glob("**/*.parquet"))
    assert not (tmp_path / "out" / "labels.tif").exists()
    process(environment, *arguments)
    assert (tmp_path / "out" / "labels.tif").exists()
