"""QGIS with its windows, on a screen that is not there: install the zip, set up, run, look."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .timed import last_run, make_timed

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "dubai.tif"
PROGRAM = shutil.which("qgis.bin") or shutil.which("qgis")
SCREEN = shutil.which("xvfb-run")
LIMIT = ("timeout", "--kill-after=5", "150")
OPTIONS = ("--nologo", "--noversioncheck", "--code")
pytestmark = pytest.mark.skipif(not (PROGRAM and SCREEN), reason="needs qgis and xvfb")


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """Return what the script inside QGIS found; pictures go to `ALPS_GEO_PICTURES`."""
    engine = os.environ.get("ALPS_GEO_ENGINE")
    if not engine:
        pytest.skip("ALPS_GEO_ENGINE names no Python with alps-geo")
    folder = tmp_path_factory.mktemp("gui")
    built = subprocess.run(
        [engine, "-m", "qgis_plugin.build", "-o", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    (folder / "runtime").mkdir(mode=0o700)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "config"),
        "ALPS_GEO_ENGINE": make_timed(folder, engine),
        "GUI_ZIP": built.stdout.strip(),
        "GUI_SCENE": shutil.copy(EXAMPLE, folder),
        "GUI_OUT": str(folder),
    }
    script = str(Path(__file__).with_name("gui_script.py"))
    # A process of its own session, so that nothing is left when QGIS hangs.
    result = subprocess.run(
        [*LIMIT, SCREEN, "-a", "-s", "-screen 0 1400x900x24", PROGRAM, *OPTIONS, script],
        capture_output=True,
        text=True,
        timeout=170,
        env=environment,
    )
    failure = folder / "failure.txt"
    assert not failure.exists(), failure.read_text(encoding="utf-8")
    assert (folder / "facts.json").exists(), result.stdout + result.stderr
    pictures = os.environ.get("ALPS_GEO_PICTURES")
    if pictures:
        Path(pictures).mkdir(parents=True, exist_ok=True)
        for picture in folder.glob("*.png"):
            shutil.copy(picture, pictures)
    found = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return {**found, "engine": last_run(folder), "folder": folder}


def test_the_zip_installs_in_a_fresh_profile(facts):
    assert facts["installed"]
    assert facts["algorithm"]


def test_the_check_button_tells_versions_device_and_models(facts):
    assert "alps-geo 0." in facts["check"]
    assert "Device:" in facts["check"]
    assert "Installed mask models:" in facts["check"]


def test_a_run_from_the_dialog_adds_three_seconds_at_most(facts):
    print(f"engine {facts['engine']:.1f} s, dialog {facts['seconds']:.1f} s")  # noqa: T201
    assert facts["ok"]
    assert facts["seconds"] - facts["engine"] <= 3


def test_the_gui_lives_while_the_engine_works(facts):
    print(f"longest gap {facts['longest_gap_s']:.2f} s")  # noqa: T201
    assert facts["longest_gap_s"] < 1.5


def test_the_layers_are_there_grouped_and_the_classes_off(facts):
    assert facts["groups"] == ["dubai", "dubai/Classes"]
    assert {"Segments", "Class map", "class_00", "class_05"} <= set(facts["layers"])
    assert [name for name in facts["visible"] if name.startswith("class_")] == []


def test_pictures_were_taken(facts):
    for name in ("set_up_engine", "label_scene", "results"):
        assert (facts["folder"] / f"{name}.png").stat().st_size > 20_000
