"""Runs inside a QGIS with a screen (`qgis --code`): opens every dialog, with every kind of project.

Told by variables: GUI_ROOT (the checkout), GUI_SCENE, GUI_RUN (folder of a run), GUI_OUT (facts and
pictures). What is opened is noted beforehand, so that it is known where QGIS ended.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QGuiApplication
from qgis.PyQt.QtWidgets import QApplication, QComboBox, QDialog
from qgis.utils import iface

OUT, RUN = Path(os.environ["GUI_OUT"]), Path(os.environ["GUI_RUN"])
sys.path.insert(0, os.environ["GUI_ROOT"])
REFERENCES = ("REFERENCE", "REFERENCE_POLYGONS")
OF_A_RUN = ("alps_geo:name_classes", "alps_geo:reclassify")
FACTS = {"opened": [], "references": set(), "labels": set(), "started": time.monotonic()}
FACTS["suggested"] = {"nothing": set(), "layers": set()}
KEPT, STEPS = [], []


def guarded(function):
    def call(*arguments):
        try:
            return function(*arguments)
        except BaseException:  # noqa: BLE001 - QGIS would abort without a word
            (OUT / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
            os._exit(3)

    return call


def later(milliseconds, function):
    QTimer.singleShot(milliseconds, guarded(function))


def add_layers(kinds):
    """Fill the project; return its layers."""
    QgsProject.instance().clear()
    layers = []
    if "raster" in kinds:
        layers += [
            QgsRasterLayer(os.environ["GUI_SCENE"], "scene"),
            QgsRasterLayer(str(RUN / "labels.tif"), "labels"),
        ]
    if "vector" in kinds:
        layers += [
            QgsVectorLayer(f"{RUN / 'labels.gpkg'}|layername=segments", "segments"),
            QgsVectorLayer(f"{RUN / 'labels.gpkg'}|layername=classes", "classes"),
        ]
    QgsProject.instance().addMapLayers(layers)
    return layers


def start():
    from processing.core.Processing import Processing

    from qgis_plugin.provider import AlpsGeoProvider

    Processing.initialize()
    iface.mainWindow().setGeometry(0, 0, 1400, 900)
    provider = AlpsGeoProvider()
    KEPT.append(provider)
    QgsApplication.processingRegistry().addProvider(provider)
    FACTS["algorithms"] = sorted(item.id() for item in provider.algorithms())
    for kinds in ((), ("raster",), ("vector",), ("raster", "vector")):
        STEPS.append(lambda kinds=kinds: add_layers(kinds))
        for current in (None, *range(2 * len(kinds))):
            STEPS.append(lambda current=current: choose(current))
            for name in FACTS["algorithms"]:
                case = f"{name} | {'+'.join(kinds)} | {current}"
                STEPS.append(lambda name=name, case=case: open_dialog(name, case))
    STEPS.append(label_again)
    later(0, step)


def step():
    if STEPS:
        STEPS.pop(0)()
        later(0, step)


def choose(current):
    layers = [node.layer() for node in QgsProject.instance().layerTreeRoot().findLayers()]
    iface.setActiveLayer(None if current is None else layers[current])


def open_dialog(name, case):
    import processing

    (OUT / "last.txt").write_text(case, encoding="utf-8")
    dialog = processing.createAlgorithmDialog(name, {})
    dialog.show()
    QApplication.processEvents()
    if name in OF_A_RUN:
        kind = "layers" if QgsProject.instance().mapLayers() else "nothing"
        FACTS["suggested"][kind].add(str(value_of(dialog, "INPUT") or ""))
    if name == "alps_geo:evaluate_labels" and "raster" in case:
        references = [value_of(dialog, name) for name in REFERENCES]
        FACTS["references"].update(str(value) for value in references if value)
        layer = QgsProject.instance().mapLayer(value_of(dialog, "INPUT"))
        FACTS["labels"].add(layer.name())
    for box in dialog.findChildren(QComboBox):
        # Every choice of every list, as an analyst tries them with the wheel or the keys.
        if not box.isVisible():
            continue
        for at in range(min(box.count(), 12)):
            box.setCurrentIndex(at)
            QApplication.processEvents()
    dialog.close()
    dialog.deleteLater()
    FACTS["opened"].append(case)


def value_of(dialog, name):
    """Return what a field of a form is set to."""
    return dialog.mainWidget().wrappers[name].parameterValue()


def label_again():
    """Load a run, look at a table, find other classes: what is current, and what is painted?"""
    import processing

    QgsProject.instance().clear()
    STEPS.clear()
    scene = QgsRasterLayer(os.environ["GUI_SCENE"], "scene")
    QgsProject.instance().addMapLayer(scene)
    iface.mapCanvas().setExtent(scene.extent())
    FACTS["runs"] = []

    def run(count, then):
        dialog = processing.createAlgorithmDialog(
            "alps_geo:reclassify", {"INPUT": str(RUN), "N_CLASSES": count}
        )
        KEPT.append(dialog)
        dialog.algorithmFinished.connect(lambda ok, results: later(2500, lambda: then(ok)))
        dialog.show()
        later(200, dialog.runAlgorithm)

    def first(ok):
        KEPT[-1].close()
        look("eight_classes", ok)
        (segments,) = QgsProject.instance().mapLayersByName("Segments")
        KEPT.append(iface.showAttributeTable(segments))
        later(1000, lambda: run(4, second))

    def second(ok):
        KEPT[-1].close()
        for widget in QApplication.topLevelWidgets():
            if isinstance(widget, QDialog):
                widget.close()
        look("four_classes", ok)
        added = QgsRasterLayer(os.environ["GUI_SCENE"], "added afterwards")
        QgsProject.instance().addMapLayer(added)
        root = QgsProject.instance().layerTreeRoot()
        FACTS["added_is_visible"] = root.findLayer(added.id()).isVisible()
        leave()

    run(8, first)


def look(name, ok):
    layer, project = iface.activeLayer(), QgsProject.instance()
    (raster,) = project.mapLayersByName("Class map")
    (segments,) = project.mapLayersByName("Segments")
    block = raster.dataProvider().block(1, raster.extent(), raster.width(), raster.height())
    at = segments.fields().indexOf("class_id")
    entries = Path("/proc/self/fd").iterdir()
    open_files = [str(entry.readlink()) for entry in entries if entry.is_symlink()]
    QApplication.processEvents()
    FACTS["runs"].append(
        {
            "ok": ok,
            "current": layer.name() if layer else None,
            "raster": len(set(bytes(block.data())) - {255}),
            "segments": len(segments.uniqueValues(at)),
            "deleted": [f for f in open_files if str(RUN) in f and "deleted" in f],
        }
    )
    QGuiApplication.primaryScreen().grabWindow(0).save(str(OUT / f"{name}.png"))


def leave():
    FACTS["seconds"] = time.monotonic() - FACTS.pop("started")
    (OUT / "facts.json").write_text(json.dumps(FACTS, indent=1, default=sorted), encoding="utf-8")
    QgsProject.instance().clear()
    iface.actionExit().trigger()


later(1000, start)
