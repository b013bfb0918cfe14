"""The set-up dialog in a QGIS with its windows, pressed by a mouse."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.qgis_plugin.pythons import make_python

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = shutil.which("qgis.bin") or shutil.which("qgis")
NEEDED = PROGRAM and shutil.which("xvfb-run") and shutil.which("xdotool")
# A notebook with small pixels: newer versions of QGIS scale all for it, older ones only texts.
SCREEN = "-screen 0 1366x768x24 -dpi 144"
COMMAND = ("timeout", "--kill-after=5", "100", "xvfb-run", "-a", "-s", SCREEN)
OPTIONS = ("--nologo", "--noversioncheck", "--code")
pytestmark = pytest.mark.skipif(not NEEDED, reason="needs qgis, xvfb and xdotool")


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """Return what the script inside QGIS found; pictures go to `ALPS_GEO_PICTURES`."""
    folder = tmp_path_factory.mktemp("setup")
    settings = json.loads((ROOT / "qgis_plugin" / "settings.json").read_text(encoding="utf-8"))
    good = make_python(folder / "good", settings["version"])
    bad = make_python(folder / "bad", settings["version"], ["[Errno 28] No space left"], 1)
    (folder / "wheels").mkdir()
    (folder / "wheels" / "alps_geo-1.0-py3-none-any.whl").touch()
    (folder / "runtime").mkdir(mode=0o700)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "config"),
        "ALPS_GEO_ENVIRONMENTS": str(folder / "environments"),
        "SETUP_ROOT": str(ROOT),
        "SETUP_GOOD": str(good),
        "SETUP_BAD": str(bad),
        "SETUP_WHEELS": str(folder / "wheels"),
        "SETUP_OUT": str(folder),
    }
    script = str(Path(__file__).with_name("setup_script.py"))
    result = subprocess.run(
        [*COMMAND, PROGRAM, *OPTIONS, script],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    pictures = os.environ.get("ALPS_GEO_PICTURES")
    if pictures:
        Path(pictures).mkdir(parents=True, exist_ok=True)
        for picture in folder.glob("setup_*.png"):
            shutil.copy(picture, pictures)
    failure = folder / "failure.txt"
    assert not failure.exists(), failure.read_text(encoding="utf-8")
    assert (folder / "facts.json").exists(), result.stdout + result.stderr
    return json.loads((folder / "facts.json").read_text(encoding="utf-8"))


def test_qgis_stays_usable_while_the_dialog_is_open(facts):
    assert not facts["modal"]
    assert facts["qgis_usable"]


def test_a_bad_interpreter_is_refused_and_not_kept(facts):
    assert "/usr/bin/python3 has no alps-geo" in facts["refused"]
    assert facts["kept_after_refusal"] == ""


def test_a_failed_replacement_leaves_the_old_engine_in_use(facts):
    assert "The engine is ready" in facts["created"]
    assert "Remove the old one then?" in facts["asked_again"]
    assert facts["answers_again"][-1] == "Cancel"
    assert "The disk is full" in facts["failed"]
    assert facts["kept_after_failure"] == facts["first"] != ""
    assert len(facts["left_after_failure"]) == 1


def test_a_removal_is_asked_for_with_its_size(facts):
    assert "It is the engine in use" in facts["asked_remove"]
    assert " GB)" in facts["asked_remove"]
    assert facts["there_after_cancel"]
    assert "was removed" in facts["removed"]
    assert facts["left"] == 0


def test_the_variable_is_named_and_the_dialog_goes_with_the_plugin(facts):
    assert "ALPS_GEO_ENGINE names" in facts["notice"]
    assert facts["hidden"]


def test_the_dialog_fits_a_small_screen_and_no_text_is_cut_off(facts):
    assert facts["outside"] == []
    assert facts["cut_off"] == []
