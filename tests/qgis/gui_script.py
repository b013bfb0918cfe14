"""Runs inside a QGIS with a screen (`qgis --code`): install, set up, label, take pictures.

Told by variables: GUI_ZIP (the plugin), GUI_SCENE, GUI_OUT (folder for pictures and facts).
"""

import json
import os
import time
import traceback
from pathlib import Path

import qgis.utils
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QGuiApplication
from qgis.PyQt.QtWidgets import QApplication, QDialog, QMessageBox
from qgis.utils import iface

OUT = Path(os.environ["GUI_OUT"])
FACTS = {"beats": 0, "longest_gap_s": 0.0}
KEPT = []


def shot(name, widget=None):
    """Take a picture of a window, or of the whole screen."""
    taken = widget.grab() if widget else QGuiApplication.primaryScreen().grabWindow(0)
    taken.save(str(OUT / f"{name}.png"))


def later(milliseconds, function):
    def guarded():
        try:
            function()
        except BaseException:  # noqa: BLE001 - QGIS would abort without a word
            (OUT / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
            os._exit(3)

    QTimer.singleShot(milliseconds, guarded)


def start():
    window = iface.mainWindow()
    window.setGeometry(0, 0, 1400, 900)
    import pyplugin_installer

    def close_messages():
        for widget in QApplication.topLevelWidgets():
            if isinstance(widget, QMessageBox) and widget.isVisible():
                FACTS["message"] = widget.text()
                widget.accept()

    timer = QTimer()
    timer.timeout.connect(close_messages)
    timer.start(200)
    KEPT.append(timer)
    pyplugin_installer.instance().installFromZipFile(os.environ["GUI_ZIP"])
    FACTS["installed"] = "alps_geo_qgis" in qgis.utils.plugins
    registry = QgsApplication.processingRegistry()
    FACTS["algorithm"] = registry.algorithmById("alps_geo:label_scene") is not None
    layer = QgsRasterLayer(os.environ["GUI_SCENE"], "Dubai")
    QgsProject.instance().addMapLayer(layer)
    iface.mapCanvas().setExtent(layer.extent())
    iface.messageBar().clearWidgets()
    KEPT.append(layer)
    later(500, show_set_up)


def show_set_up():
    qgis.utils.plugins["alps_geo_qgis"].set_up()
    later(800, check_engine)


def check_engine():
    KEPT.append(
        next(w for w in QApplication.topLevelWidgets() if type(w).__name__ == "SetupDialog")
    )
    KEPT[-1].check_button.click()
    wait_for_check()


def wait_for_check():
    dialog = KEPT[-1]
    if dialog.worker is not None:
        later(200, wait_for_check)
        return
    FACTS["check"] = dialog.status.text()
    shot("set_up_engine", dialog)
    dialog.reject()
    later(300, show_algorithm)


def show_algorithm():
    import processing

    parameters = {
        "INPUT": KEPT[1].id(),
        "MODEL": "builtin",
        "N_CLASSES": 6,
        "OUTPUT": str(OUT / "run"),
    }
    dialog = processing.createAlgorithmDialog("alps_geo:label_scene", parameters)
    KEPT.append(dialog)
    dialog.show()
    dialog.setGeometry(150, 60, 1050, 760)
    dialog.algorithmFinished.connect(lambda ok, results: finished(ok))
    later(1200, run_algorithm)


def run_algorithm():
    shot("label_scene", KEPT[-1])
    FACTS["started"] = FACTS["last_beat"] = time.monotonic()
    beat()
    later(4000, lambda: shot("label_scene_running", KEPT[-1]))
    KEPT[-1].runAlgorithm()


def beat():
    """Note how long the GUI stands still while the engine works."""
    now = time.monotonic()
    FACTS["beats"] += 1
    FACTS["longest_gap_s"] = max(FACTS["longest_gap_s"], now - FACTS["last_beat"])
    FACTS["last_beat"] = now
    if "seconds" not in FACTS:
        later(20, beat)


def finished(ok):
    # Told before Processing loads the layers, which the GUI has to wait for.
    FACTS["seconds"], FACTS["ok"] = time.monotonic() - FACTS["started"], ok
    later(2500, look)


def look():
    KEPT[-1].close()
    project = QgsProject.instance()
    FACTS["layers"] = sorted(layer.name() for layer in project.mapLayers().values())
    root = project.layerTreeRoot()
    FACTS["groups"] = [
        path
        for outer in root.findGroups()
        for path in (outer.name(), *(f"{outer.name()}/{g.name()}" for g in outer.findGroups()))
    ]
    FACTS["visible"] = [node.name() for node in root.findLayers() if node.isVisible()]
    later(2000, leave)


def leave():
    shot("results")
    (OUT / "facts.json").write_text(json.dumps(FACTS, indent=1), encoding="utf-8")
    for widget in QApplication.topLevelWidgets():
        if isinstance(widget, QDialog):
            widget.close()
    # A layer in a temporary folder makes QGIS ask before it ends.
    QgsProject.instance().clear()
    iface.actionExit().trigger()


later(1500, start)
