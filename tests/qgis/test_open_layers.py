"""Layers that are open in QGIS while classes change: they show the new ones, and edits are kept."""

import sqlite3
from contextlib import closing

import pytest
from qgis.core import QgsVectorLayer


def read(package):
    with closing(sqlite3.connect(package)) as database:
        rows = database.execute("SELECT segment_id, class_id, class_name FROM segments").fetchall()
    return {segment: values for segment, *values in rows}


def show(layer):
    return {
        item["segment_id"]: [item["class_id"], item["class_name"]] for item in layer.getFeatures()
    }


@pytest.mark.parametrize("is_saved", [True, False], ids=["saved", "in an open edit session"])
def test_an_open_layer_sees_new_classes_and_edits_stay(run, own_run, is_saved):
    package = own_run / "labels.gpkg"
    layer = QgsVectorLayer(f"{package}|layername=segments", "segments")
    assert show(layer) == read(package)
    feature = next(item for item in layer.getFeatures() if item["class_id"] != 0)
    place = layer.fields().indexOf("class_id")
    assert layer.startEditing()
    assert layer.changeAttributeValue(feature.id(), place, 0)
    if is_saved:
        assert layer.commitChanges()
        run("name_classes", {"INPUT": str(own_run), "CLASSES": [0, "water", ""]})
    else:
        run("name_classes", {"INPUT": str(own_run), "CLASSES": [0, "water", ""]})
        assert layer.commitChanges()
        run("name_classes", {"INPUT": str(own_run), "CLASSES": [1, "road", ""]})
    layer.dataProvider().reloadData()
    assert show(layer) == read(package)
    assert read(package)[feature["segment_id"]] == [0, "water"]
