"""Names from files and users never become SQL, paths or markup."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import pyogrio
import pytest

from alps_geo.pipeline import edit_classes, label

from .conftest import ROOT, SceneFactory, draw_landscape

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "features": "texture", "n_classes": 4}
HOSTILE = {
    0: "'; DROP TABLE segments; --",
    1: '../../etc/passwd "quoted"',
    2: "<script>&amp;</script> 😀",
    3: "%s {0} \\x00 ${HOME}",
}


def test_hostile_class_names_stay_names(make_scene: SceneFactory, tmp_path: Path) -> None:
    outputs = label(make_scene(draw_landscape(100, 130)), tmp_path / "out", **SMALL)
    before = plain_names(tmp_path)
    outputs = edit_classes(tmp_path / "out", names=HOSTILE)
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    assert set(segments.class_name) <= set(HOSTILE.values())
    with closing(sqlite3.connect(outputs.package_paths[0])) as database:
        named = dict(database.execute("SELECT class_id, name FROM classes"))
        styles = [row[0] for row in database.execute("SELECT styleQML FROM layer_styles")]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert named == HOSTILE
    for text in (*styles, outputs.label_paths[0].with_suffix(".qml").read_text("utf-8")):
        ElementTree.fromstring(text)
    for layer, _ in pyogrio.list_layers(outputs.package_paths[0]):
        pyogrio.read_info(outputs.package_paths[0], layer=layer)
    assert plain_names(tmp_path) == before | {"undo.json"}


def plain_names(folder: Path) -> set[str]:
    """Return the names of all files, class models without their checksums."""
    return {re.sub(r"^classes-[0-9a-f]{16}", "classes-", path.name) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ["we\"ird';--.tif", "a b$(touch x)😀.tif", "..hidden.tif"])
def test_hostile_file_names_stay_in_the_output_folder(
    make_scene: SceneFactory, tmp_path: Path, name: str
) -> None:
    first = make_scene(draw_landscape(60, 70), name)
    second = make_scene(draw_landscape(60, 70, seed=1), "other.tif")
    outputs = label([first, second], tmp_path / "out", **SMALL)
    for path in (*outputs.label_paths, *outputs.package_paths):
        assert path.parent == tmp_path / "out"
        assert path.exists()
    assert {path.name for path in tmp_path.iterdir()} == {name, "other.tif", "out"}


def test_nothing_unpickles_evaluates_or_starts_a_shell() -> None:
    for path in [*(ROOT / "alps_geo").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for word in ("pickle.load", " eval(", " exec(", "os.system", "shell=True"):
            assert word not in text, f"{path}: {word}"
