"""`alps_geo:reclassify`: other classes for a finished run, in seconds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterField,
    QgsProcessingParameterVectorLayer,
    QgsVectorFileWriter,
)

from ..parameters import make_parameter, setting, to_arguments
from ..runs import has_run, problem_of_count
from .base import Parameters, RunAlgorithm, no_run, run_folder_parameter


class Reclassify(RunAlgorithm):
    """Find new classes for a finished run, learn them from examples, or apply a class model."""

    NAME = "reclassify"
    TITLE = "Re-classify"
    TAGS = ("clustering", "number of classes")
    HELP = """<p>Finds another number of classes for a run of <i>Label scene</i>, learns classes
from examples, or applies a class model to it. Segments keep their shapes and numbers; no mask
model runs, so it takes seconds.</p>
<p><b>Examples of classes</b>: a layer of points, lines or polygons on segments that you know, and
the field that says of which class they are.</p>
<p>The files in the folder are written anew: names given to classes are lost.
Segments whose class was corrected by hand get the new class that stands for the chosen one.</p>"""
    STAGE_ENDS: ClassVar[dict[str, float]] = {
        "classes": 30,
        "package": 70,
        "raster": 90,
        "report": 100,
    }
    SETTINGS: ClassVar[tuple[str, ...]] = ("n_classes", "classes", "reject", "keep_rest", "seed")

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.addParameter(run_folder_parameter())
        self.addParameter(make_parameter("n_classes"))
        examples, field = setting("examples"), setting("field")
        layer = QgsProcessingParameterVectorLayer(
            examples.parameter,
            examples.title,
            [QgsProcessing.SourceType.TypeVectorAnyGeometry],
            optional=True,
        )
        layer.setHelp(
            "Points, lines or polygons on segments whose class you know; classes are then theirs."
        )
        self.addParameter(layer)
        chosen = QgsProcessingParameterField(
            field.parameter,
            field.title,
            parentLayerParameterName=examples.parameter,
            optional=True,
        )
        chosen.setHelp(field.help)
        self.addParameter(chosen)
        self.addParameter(make_parameter("reject", advanced=True))
        self.addParameter(make_parameter("keep_rest", advanced=True))
        self.addParameter(make_parameter("classes", advanced=True))
        self.addParameter(make_parameter("seed", advanced=True))
        self.add_run_outputs(with_folder=True)

    def checkParameterValues(
        self, parameters: Parameters, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Return whether the folder holds a run, and enough segments for the classes."""
        holds, message = super().checkParameterValues(parameters, context)
        if not holds:
            return holds, message
        folder = self.path(parameters, "INPUT", context)
        if not has_run(folder):
            return False, no_run(folder)
        if parameters.get("EXAMPLES") is None and parameters.get("KEEP_REST"):
            return False, "Pseudo-classes are kept beside examples: choose a layer of examples"
        if self.path(parameters, "CLASSES", context) or parameters.get("EXAMPLES"):
            return True, ""
        problem = problem_of_count(folder, self.parameterAsInt(parameters, "N_CLASSES", context))
        return not problem, problem

    def prepareAlgorithm(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> bool:
        """Write the examples as the user sees them, in the main thread."""
        self._examples: list[str] = []
        self._files: dict[str, str] = {}
        layer = self.parameterAsVectorLayer(parameters, "EXAMPLES", context)
        if layer is not None:
            # Filters, joins, memory layers and databases: the engine shall see what the user sees.
            self._place = tempfile.TemporaryDirectory(prefix="alps-geo-")
            path = str(Path(self._place.name) / "examples.gpkg")
            options = QgsVectorFileWriter.SaveVectorOptions()
            options.driverName, options.layerName = "GPKG", "examples"
            failure, text, *_ = QgsVectorFileWriter.writeAsVectorFormatV3(
                layer, path, context.transformContext(), options
            )
            if failure != QgsVectorFileWriter.WriterError.NoError:
                raise QgsProcessingException(f"The examples cannot be written: {text}")
            self._files = {path: f"“{layer.name()}”"}
            self._examples = ["--examples", path]
            field = self.parameterAsString(parameters, "FIELD", context)
            self._examples += ["--field", field] if field else []
        return bool(super().prepareAlgorithm(parameters, context, feedback))

    def work(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Run the engine and return its results."""
        folder = self._folder
        arguments = ["classify", folder]
        arguments += to_arguments(self, self.SETTINGS, parameters, context)
        arguments += self._examples
        result = self.run_engine(arguments, feedback, files=self._files)
        if result is None:
            feedback.pushWarning("Stopped. Run it again to be sure of the classes.")
            return {"OUTPUT": folder}
        return self.finish(result, parameters, context, feedback)
