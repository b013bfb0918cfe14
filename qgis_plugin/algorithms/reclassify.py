"""`alps_geo:reclassify`: other classes for a finished run, in seconds."""

from __future__ import annotations

from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from ..parameters import make_parameter, to_arguments
from ..runs import has_run, problem_of_count
from .base import Parameters, RunAlgorithm, no_run, run_folder_parameter


class Reclassify(RunAlgorithm):
    """Find new classes for a finished run, or apply a class model to it."""

    NAME = "reclassify"
    TITLE = "Re-classify"
    TAGS = ("clustering", "number of classes")
    HELP = """<p>Finds another number of classes for a run of <i>Label scene</i>, or applies a class
model to it. Segments keep their shapes and numbers; no mask model runs, so it takes seconds.</p>
<p>The files in the folder are written anew: names given to classes are lost.
Segments whose class was corrected by hand get the new class that stands for the chosen one.</p>"""
    STAGE_ENDS: ClassVar[dict[str, float]] = {
        "classes": 30,
        "package": 70,
        "raster": 90,
        "report": 100,
    }
    SETTINGS: ClassVar[tuple[str, ...]] = ("n_classes", "classes", "seed")

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.addParameter(run_folder_parameter())
        self.addParameter(make_parameter("n_classes"))
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
        if self.path(parameters, "CLASSES", context):
            return True, ""
        problem = problem_of_count(folder, self.parameterAsInt(parameters, "N_CLASSES", context))
        return not problem, problem

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
        result = self.run_engine(arguments, feedback)
        if result is None:
            feedback.pushWarning("Stopped. Run it again to be sure of the classes.")
            return {"OUTPUT": folder}
        return self.finish(result, parameters, context, feedback)
