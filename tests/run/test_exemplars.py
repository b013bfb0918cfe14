"""The layer `exemplars` of a run, through all that changes classes."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest

from alps_geo.classes.exemplars import KINDS, LEAST_PX, PER_KIND
from alps_geo.classes.model import ClassModel
from alps_geo.pipeline import classify, edit_classes

from .test_hand_work import base, forget_marks, label_it, out, query, run_sql  # noqa: F401


def read_layer(package: Path, name: str = "exemplars") -> geopandas.GeoDataFrame:
    return geopandas.read_file(package, layer=name, engine="pyogrio")


def check_layer(package: Path) -> geopandas.GeoDataFrame:
    """Look whether exemplars are the segments that they name, of the classes that these have."""
    found = read_layer(package)
    segments = read_layer(package, "segments").set_index("segment_id")
    assert found.segment_id.is_unique
    assert set(found.kind) <= set(KINDS)
    assert set(found.class_id) == set(segments.class_id)
    chosen = segments.loc[found.segment_id]
    assert found.class_id.tolist() == chosen.class_id.tolist()
    assert found.class_name.tolist() == chosen.class_name.tolist()
    assert found.geometry.geom_equals(chosen.geometry.reset_index(drop=True)).all()
    assert found["rank"].between(1, PER_KIND).all()
    return found


def test_a_run_has_exemplars_of_every_class(out: Path) -> None:  # noqa: F811
    found = check_layer(out / "labels.gpkg")
    # Nothing of it depends on chance.
    typical = found[(found.kind == "typical") & (found["rank"] == 1)].set_index("class_id")
    rows = np.load(out / "run" / "scene" / "features.npy")
    segments = read_layer(out / "labels.gpkg", "segments").sort_values("segment_id")
    segments["far"] = ClassModel.load(out).distances(rows)
    for class_id, members in segments[segments.area_px >= LEAST_PX].groupby("class_id"):
        chosen = members[members.segment_id == typical.loc[class_id].segment_id]
        assert chosen.far.tolist() == [members.far.min()]


@pytest.mark.parametrize("marked", [True, False])
def test_exemplars_follow_every_change_of_classes(out: Path, *, marked: bool) -> None:  # noqa: F811
    package = out / "labels.gpkg"
    if not marked:
        forget_marks(out)
    edit_classes(out, names={1: "roof"}, merges=[(0, 2)])
    found = check_layer(package)
    assert "roof" in set(found.class_name)
    assert 2 not in set(found.class_id)
    classify(out, n_classes=3)
    assert set(check_layer(package).class_id) == {0, 1, 2}
    assert pyogrio.list_layers(package)[:, 0].tolist().count("exemplars") == 1


def test_a_segment_that_was_given_its_class_by_hand_shows_nothing_of_it(out: Path) -> None:  # noqa: F811
    package = out / "labels.gpkg"
    shown = read_layer(package)
    number, before = shown.loc[0, ["segment_id", "class_id"]]
    run_sql(
        package, f"UPDATE segments SET class_id = {(before + 1) % 5} WHERE segment_id = {number}"
    )
    edit_classes(out, names={1: "roof"})
    assert number not in set(check_layer(package).segment_id)


def test_a_layer_of_the_users_that_is_called_exemplars_stays(out: Path) -> None:  # noqa: F811
    package = out / "labels.gpkg"
    forget_marks(out)
    run_sql(package, "CREATE TABLE exemplars (id INTEGER PRIMARY KEY, note TEXT);"
        "INSERT INTO exemplars VALUES (1, 'mine');")  # fmt: skip
    for n_classes in (3, 4):
        classify(out, n_classes=n_classes)
        assert query(package, "SELECT * FROM exemplars") == [(1, "mine")]
        assert set(read_layer(package, "exemplars_2").class_id) == set(range(n_classes))
    layers = pyogrio.list_layers(package)[:, 0].tolist()
    assert "exemplars_3" not in layers


def test_the_layer_alone_is_no_content_of_the_users(base: tuple[Path, Path], out: Path) -> None:  # noqa: F811
    label_it(base[0], out, n_classes=3, overwrite=True)
    assert not list(out.glob("*.kept-*"))
    assert len(json.loads((out / "run.json").read_text())["classes"]) == 3
    check_layer(out / "labels.gpkg")
