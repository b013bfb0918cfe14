"""Every dialog in a QGIS with its windows, with every kind of project; and classes found anew."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .test_gui import LIMIT, OPTIONS, PROGRAM, ROOT, SCREEN

pytestmark = pytest.mark.skipif(not (PROGRAM and SCREEN), reason="needs qgis and xvfb")
PICTURES = ("eight_classes", "four_classes")


@pytest.fixture(scope="module")
def facts(finished_run, scene, tmp_path_factory):
    """Return what the script inside QGIS found; pictures go to `ALPS_GEO_PICTURES`."""
    folder = tmp_path_factory.mktemp("dialogs")
    (folder / "runtime").mkdir(mode=0o700)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "config"),
        "ALPS_GEO_ENGINE": os.environ["ALPS_GEO_ENGINE"],
        "GUI_ROOT": str(ROOT),
        "GUI_SCENE": scene,
        "GUI_RUN": shutil.copytree(finished_run["OUTPUT"], folder / "run"),
        "GUI_OUT": str(folder),
    }
    environment = {key: str(value) for key, value in environment.items()}
    script = str(Path(__file__).with_name("dialogs_script.py"))
    result = subprocess.run(
        [*LIMIT, SCREEN, "-a", "-s", "-screen 0 1400x900x24", PROGRAM, *OPTIONS, script],
        capture_output=True,
        text=True,
        timeout=170,
        env=environment,
    )
    failure, last = folder / "failure.txt", folder / "last.txt"
    assert not failure.exists(), failure.read_text(encoding="utf-8")
    case = last.read_text(encoding="utf-8") if last.exists() else "before any dialog"
    assert (folder / "facts.json").exists(), (
        f"QGIS ended at {case}, exit code {result.returncode}:\n{result.stderr[-2000:]}"
    )
    pictures = os.environ.get("ALPS_GEO_PICTURES")
    if pictures:
        Path(pictures).mkdir(parents=True, exist_ok=True)
        for name in PICTURES:
            shutil.copy(folder / f"{name}.png", pictures)
    found = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return {**found, "run": environment["GUI_RUN"]}


def test_every_dialog_opens_with_every_kind_of_project(facts):
    print(f"{len(facts['opened'])} dialogs, {facts['seconds']:.0f} s")  # noqa: T201
    # Nothing, rasters, vectors, both; no layer current, and each of them.
    assert len(facts["opened"]) == len(facts["algorithms"]) * (1 + 3 + 3 + 5)


def test_labels_are_those_of_the_run_and_no_reference_is_chosen_by_default(facts):
    # Not the scene, also where that is current.
    assert facts["labels"] == ["labels"]
    assert facts["references"] == []


def test_forms_start_with_the_run_that_layers_show(facts):
    assert facts["suggested"] == {"nothing": [""], "layers": [facts["run"]]}


def test_classes_found_anew_are_what_is_shown_also_with_an_open_table(facts):
    assert [(run["ok"], run["raster"], run["segments"]) for run in facts["runs"]] == [
        (True, 8, 8),
        (True, 4, 4),
    ]
    assert [run["deleted"] for run in facts["runs"]] == [[], []]


def test_segments_are_the_current_layer_and_the_next_layer_is_seen(facts):
    assert [run["current"] for run in facts["runs"]] == ["Segments", "Segments"]
    assert facts["added_is_visible"]
