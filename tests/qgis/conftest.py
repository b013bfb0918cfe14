"""A QGIS without a screen, the plugin's provider in it, and engines real and false."""

import os
import stat
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
try:
    from qgis.core import QgsApplication
except ImportError:
    # The ordinary tests run in a Python without QGIS; scripts/test_qgis starts these in another.
    collect_ignore_glob = ["test_*.py"]
else:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("QGIS_CUSTOM_CONFIG_PATH", tempfile.mkdtemp(prefix="qgis-profile-"))
    sys.path.insert(0, str(ROOT))

# QGIS does not survive its application being freed.
_KEPT = []
# What every false engine begins with; it is started as `-I -X utf8 -u -m alps_geo.cli COMMAND …`.
GREETING = """
import json, os, sys, time
arguments = sys.argv[1:]
def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)
say("hello", protocol=1, version="99.0.0", command="label")
"""


@pytest.fixture(scope="session")
def qgis_app():
    """Return the application, with Processing on the path."""
    application = QgsApplication([], True)
    _KEPT.append(application)
    application.initQgis()
    sys.path.append(str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins"))
    yield application
    application.exitQgis()


@pytest.fixture(scope="session")
def provider(qgis_app):
    """Return the plugin's provider, registered."""
    from processing.core.Processing import Processing

    from qgis_plugin.provider import AlpsGeoProvider

    Processing.initialize()
    registered = AlpsGeoProvider()
    QgsApplication.processingRegistry().addProvider(registered)
    yield registered
    QgsApplication.processingRegistry().removeProvider(registered)


@pytest.fixture
def run(provider):
    """Return a function that runs an algorithm, as `processing.run` does."""
    from processing import run as run_algorithm

    from .support import Feedback

    def call(name, parameters, feedback=None, context=None):
        feedback = feedback or Feedback()
        return run_algorithm(f"alps_geo:{name}", parameters, feedback=feedback, context=context)

    return call


@pytest.fixture
def engine(monkeypatch):
    """Return the real engine's Python, which `ALPS_GEO_ENGINE` names."""
    path = os.environ.get("ALPS_GEO_ENGINE")
    if not path:
        pytest.skip("ALPS_GEO_ENGINE names no Python with alps-geo")
    return path


@pytest.fixture
def false_engine(monkeypatch, tmp_path):
    """Return a function that makes a script the engine, after a proper greeting."""

    def make(body, greeting=GREETING):
        script, program = tmp_path / "engine.py", tmp_path / "engine"
        script.write_text(textwrap.dedent(greeting) + textwrap.dedent(body), encoding="utf-8")
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -u "{script}" "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("ALPS_GEO_ENGINE", str(program))
        return program

    return make


@pytest.fixture(scope="session")
def scene(qgis_app, tmp_path_factory):
    """Return a small piece of the example scene, as a file."""
    from osgeo import gdal

    path = tmp_path_factory.mktemp("scene") / "dubai_piece.tif"
    whole = gdal.Open(str(ROOT / "examples" / "dubai.tif"))
    gdal.Translate(str(path), whole, srcWin=[300, 300, 256, 200])
    return str(path)


@pytest.fixture(scope="session")
def finished_run(provider, scene, tmp_path_factory):
    """Return the outputs of one run of the real engine on the small scene; not to be changed."""
    from processing import run as run_algorithm

    if not os.environ.get("ALPS_GEO_ENGINE"):
        pytest.skip("ALPS_GEO_ENGINE names no Python with alps-geo")
    out = tmp_path_factory.mktemp("finished") / "out"
    parameters = {"INPUT": scene, "N_CLASSES": 5, "MODEL": "builtin", "OUTPUT": str(out)}
    return run_algorithm("alps_geo:label_scene", parameters)


@pytest.fixture
def own_run(finished_run, tmp_path):
    """Return the folder of a finished run that the test may change."""
    import shutil

    return Path(shutil.copytree(finished_run["OUTPUT"], tmp_path / "run"))


@pytest.fixture
def project(qgis_app):
    """Return the project, empty before and after."""
    from qgis.core import QgsProject

    found = QgsProject.instance()
    found.clear()
    yield found
    found.clear()
