"""`alps_geo:download_model`: weights of a mask model, from their authors."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingParameterEnum,
)

from ..parameters import models
from .base import EngineAlgorithm, Parameters


class DownloadModel(EngineAlgorithm):
    """Download the weights of a Segment Anything model."""

    NAME = "download_model"
    TITLE = "Download model"
    TAGS = ("weights", "checkpoint", "segment anything", "sam")

    def shortHelpString(self) -> str:
        """Return the text beside the form, with sizes and licences."""
        rows = "".join(
            f"<li><b>{model.name}</b>: {model.size / 1e6:,.0f} MB, {model.licence}</li>"
            for model in models()
            if model.size
        )
        return (
            "<p>Downloads the weights of a mask model from its authors' address, checks them, and"
            " keeps them for all scenes. Without any, <i>Label scene</i> uses the built-in"
            f" model.</p><ul>{rows}</ul><p>Where there is no network: put the file into a folder"
            " and give it to <i>Label scene</i> as SAM checkpoint file.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        names = [model.name for model in models() if model.size]
        self.addParameter(
            QgsProcessingParameterEnum(
                "MODEL",
                "Mask model",
                options=names,
                defaultValue="sam-vit-b",
                usesStaticStrings=True,
            )
        )
        self.addOutput(QgsProcessingOutputFile("WEIGHTS", "File of the weights"))

    def processAlgorithm(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Run the engine and return where the file lies."""
        name = self.parameterAsEnumString(parameters, "MODEL", context)
        result = self.run_engine(["models", "download", name], feedback, {f"download {name}": 100})
        if result is None:
            feedback.pushWarning("Stopped. Run it again to download the model.")
            return {}
        (path,) = result["models"]
        feedback.pushInfo(f"{name} is installed: {path}")
        return {"WEIGHTS": path}
