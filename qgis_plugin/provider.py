"""The Processing provider `alps_geo` and its algorithms."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms.apply_classes import ApplyClasses
from .algorithms.download_model import DownloadModel
from .algorithms.evaluate_labels import EvaluateLabels
from .algorithms.label_scene import LabelScene
from .algorithms.name_classes import NameClasses
from .algorithms.reclassify import Reclassify

ALGORITHMS = (LabelScene, Reclassify, ApplyClasses, NameClasses, EvaluateLabels, DownloadModel)


class AlpsGeoProvider(QgsProcessingProvider):
    """All algorithms of the plugin."""

    def id(self) -> str:
        """Return the id, which algorithms have before their own."""
        return "alps_geo"

    def name(self) -> str:
        """Return what the toolbox says."""
        return "ALPS"

    def longName(self) -> str:
        """Return what the settings say."""
        return "ALPS - label scenes without training data"

    def icon(self) -> QIcon:
        """Return the plugin's icon."""
        return QIcon(str(Path(__file__).with_name("icon.svg")))

    def loadAlgorithms(self) -> None:
        """Add every algorithm; QGIS calls this."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())
