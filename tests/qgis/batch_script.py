"""Opens the batch example in the batch dialog, runs it, and tells what came: run by a test.

Its argument is the folder of the examples; results go to `out` in the working folder.
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import Qgis, QgsApplication, QgsProject
from qgis.PyQt.QtCore import QEventLoop, QTimer
from qgis.PyQt.QtWidgets import QFileDialog, QMainWindow

application = QgsApplication([], True)
application.initQgis()
sys.path.append(str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins"))

from processing.core.Processing import Processing
from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog

from qgis_plugin.provider import AlpsGeoProvider

Processing.initialize()
provider = AlpsGeoProvider()
QgsApplication.processingRegistry().addProvider(provider)

# QGIS 3.40 has another format, and warns of the old one.
suffix = ".batch" if Qgis.QGIS_VERSION_INT >= 34000 else ".batch.json"
source = str(Path(sys.argv[1]) / f"two_settings{suffix}")
QFileDialog.getOpenFileName = lambda *_: (source, "")
window = QMainWindow()
dialog = BatchAlgorithmDialog(provider.algorithm("label_scene").create(), parent=window)
panel = dialog.mainWidget()
panel.load()
dialog.runAlgorithm()

# Newer versions run batches beside the GUI.
loop, timer, end = QEventLoop(), QTimer(), time.monotonic() + 150


def names():
    """Return the names of the layers that show all classes."""
    layers = QgsProject.instance().mapLayers().values()
    return sorted(layer.name() for layer in layers if not layer.name().startswith("class_"))


def look():
    if len(names()) >= 4 or time.monotonic() > end:
        loop.quit()


timer.timeout.connect(look)
timer.start(100)
loop.exec()
sys.stdout.write(json.dumps({"rows": panel.batchRowCount(), "layers": names()}) + "\n")
sys.stdout.flush()
os._exit(0)
