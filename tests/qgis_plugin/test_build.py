"""The zip, and the settings in it, against what QGIS and its plugin repository ask for."""

import ast
import configparser
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from alps_geo.errors import SettingsError
from alps_geo.settings import Settings
from qgis_plugin import build

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = build.describe_settings()["settings"]
LIMITED = [item for item in SETTINGS if "least" in item or "most" in item]
REQUIRED = (
    "name description version qgisMinimumVersion author email about tracker repository homepage"
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    result = subprocess.run(
        [sys.executable, "-m", "qgis_plugin.build", "-o", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    return zipfile.ZipFile(result.stdout.strip())


def test_the_settings_in_the_plugin_are_those_of_the_engine():
    # Written by `python -m qgis_plugin.build`.
    assert build.SETTINGS_FILE.read_text(encoding="utf-8") == build.settings_text()


@pytest.mark.parametrize("item", LIMITED, ids=lambda item: item["name"])
def test_the_limits_that_forms_show_are_those_of_the_engine(item):
    step = 1 if item["type"] == "int" else 0.001
    for limit, sign in (("least", -1), ("most", 1)):
        if limit not in item or (item["name"], limit) in {("seed", "most"), ("overlap", "most")}:
            continue
        assert accepts(item["name"], item[limit])
        assert not accepts(item["name"], item[limit] + sign * step)


def accepts(name, value):
    # Overlaps are judged by the tile size.
    others = {"overlap": 0} if name == "tile_size" else {"tile_size": 16384}
    try:
        Settings.from_options(**{**others, name: value})
    except SettingsError:
        return False
    return True


def test_every_number_has_a_lower_limit():
    numbers = [item["name"] for item in SETTINGS if item["type"] in ("int", "float")]
    # Values of pixels may be below 0.
    assert set(numbers) - {item["name"] for item in LIMITED} == {"gsd", "nodata"}


def test_the_zip_has_one_folder_that_python_can_import(archive):
    assert {name.split("/")[0] for name in archive.namelist()} == {"alps_geo_qgis"}


def test_the_zip_has_what_qgis_asks_for_and_nothing_else(archive):
    names = {name.partition("/")[2] for name in archive.namelist()}
    assert {"__init__.py", "metadata.txt", "LICENSE", "icon.svg", "settings.json"} <= names
    assert "build.py" not in names
    kinds = {Path(name).suffix for name in names}
    assert kinds == {".py", ".json", ".svg", ".txt", ""}
    assert not [name for name in names if "__pycache__" in name or "/." in name]


def test_the_zip_is_small(archive):
    assert sum(item.file_size for item in archive.infolist()) < 1_000_000


def test_the_same_source_makes_the_same_zip(archive, tmp_path):
    assert build.build(tmp_path).read_bytes() == Path(archive.filename).read_bytes()


def test_the_licence_is_the_gpl(archive):
    assert "GNU GENERAL PUBLIC LICENSE" in archive.read("alps_geo_qgis/LICENSE").decode()


def test_the_metadata_are_complete(archive):
    parser = configparser.ConfigParser()
    parser.read_file(io.StringIO(archive.read("alps_geo_qgis/metadata.txt").decode()))
    general = parser["general"]
    assert [name for name in REQUIRED.split() if not general.get(name)] == []
    assert general["hasProcessingProvider"] == "yes"
    assert (general["qgisMinimumVersion"], general["qgisMaximumVersion"]) == ("3.22", "4.99")
    assert "/" not in general["author"]
    assert f"alps_geo_qgis/{general['icon']}" in archive.namelist()


def test_the_plugin_imports_the_standard_library_and_qgis_only(archive):
    allowed = {*sys.stdlib_module_names, "qgis", "processing", "osgeo"}
    found = set()
    for name in archive.namelist():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(archive.read(name))):
                if isinstance(node, ast.Import):
                    found |= {item.name.partition(".")[0] for item in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add((node.module or "").partition(".")[0])
    assert found - allowed == set()


def test_no_spelling_that_qt_6_lacks(archive):
    for name in archive.namelist():
        if name.endswith(".py"):
            text = archive.read(name).decode()
            assert not re.search(r"\bexec_\(|from PyQt5|import PyQt5|resources_rc", text), name


def test_the_settings_are_json_of_plain_values(archive):
    content = json.loads(archive.read("alps_geo_qgis/settings.json"))
    assert content["version"] in archive.filename
    assert {item["name"] for item in content["models"]} >= {"auto", "builtin", "sam-vit-b"}
