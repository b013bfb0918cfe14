"""`alps_geo:apply_classes`: the classes of an earlier run on another scene."""

from __future__ import annotations

from typing import Any, ClassVar

from qgis.core import QgsProcessingParameterDefinition

from .label_scene import LabelScene


class ApplyClasses(LabelScene):
    """Label a scene with the class ids, names and colours of an earlier run."""

    NAME = "apply_classes"
    TITLE = "Apply classes to another scene"
    TAGS = ("transfer", "predict", "class model")
    HELP = """<p>Labels a scene with the classes of an earlier run: the same ids, names and
colours.</p>
<p><b>Class model</b>: classes.safetensors in the output folder of that run. The scene should be
of the same kind: sensor, resolution, bands and season.</p>"""
    BASIC: ClassVar[tuple[str, ...]] = ("classes", "model", "area_threshold")
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("n_classes", "seed")

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Declare the parameters of `Label scene`, with a class model that must be given."""
        super().initAlgorithm(config)
        model = self.parameterDefinition("CLASSES").clone()
        model.setFlags(model.flags() & ~QgsProcessingParameterDefinition.Flag.FlagOptional)
        self.removeParameter("CLASSES")
        self.addParameter(model)
