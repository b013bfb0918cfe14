"""`alps_geo:apply_classes`: the classes of an earlier run on another scene."""

from __future__ import annotations

from typing import ClassVar

from .label_scene import LabelScene


class ApplyClasses(LabelScene):
    """Label a scene with the class ids, names and colours of an earlier run."""

    NAME = "apply_classes"
    TITLE = "Apply classes to another scene"
    TAGS = ("transfer", "predict", "class model")
    HELP = """<p>Labels a scene with the classes of an earlier run: the same ids, names and
colours.</p>
<p><b>Class model</b>: classes.safetensors in the output folder of that run, or the folder. The
scene should be of the same kind: sensor, resolution, bands and season.</p>"""
    REQUIRED: ClassVar[tuple[str, ...]] = ("classes",)
    BASIC: ClassVar[tuple[str, ...]] = ("model", "area_threshold")
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("n_classes", "seed", "k_method")
