"""Label whole geospatial scenes without training data.

Data flow one way, from room to room; each imports only from those before it::

    scenes ─▶ models ─▶ features ─▶ segments ─▶ outputs ─▶ reporting ─▶ run
    classes ───────────────────────────────▲        evaluation, exports ─▶ pipeline

`errors`, `settings` and `progress` need the standard library only; so does this module: the other
names below are loaded when they are first used.

>>> import alps_geo
>>> run = alps_geo.label("scene.tif", "out", n_classes=12)  # doctest: +SKIP
>>> run.segments().plot("class_name")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._environment import clean_environment
from .errors import (
    AlpsGeoError,
    Cancelled,
    LibraryError,
    ModelError,
    OutputError,
    OutsideSceneError,
    ReadError,
    ReferenceDataError,
    RunError,
    SceneError,
    SettingsError,
    WorkerError,
)
from .progress import NoProgress, Progress, RecordedProgress
from .settings import Settings

if TYPE_CHECKING:
    from .classes.model import ClassModel
    from .evaluation.comparison import Evaluation, evaluate
    from .exports.export import export
    from .pipeline import classify, edit_classes, label, segment
    from .planning import Plan, info
    from .run.run import Run, open, report
    from .run.suggestions import suggest

__version__ = "0.1.0"

__all__ = [
    "AlpsGeoError",
    "Cancelled",
    "ClassModel",
    "Evaluation",
    "LibraryError",
    "ModelError",
    "NoProgress",
    "OutputError",
    "OutsideSceneError",
    "Plan",
    "Progress",
    "ReadError",
    "RecordedProgress",
    "ReferenceDataError",
    "Run",
    "RunError",
    "SceneError",
    "Settings",
    "SettingsError",
    "WorkerError",
    "classify",
    "edit_classes",
    "evaluate",
    "export",
    "info",
    "label",
    "open",
    "report",
    "segment",
    "suggest",
]

# Name -> the module that has it. Their libraries take seconds to import, so they wait.
_LAZY = {
    "ClassModel": "classes",
    "Evaluation": "evaluation.comparison",
    "Plan": "planning",
    "Run": "run.run",
    "classify": "pipeline",
    "edit_classes": "pipeline",
    "evaluate": "evaluation.comparison",
    "export": "exports.export",
    "info": "planning",
    "label": "pipeline",
    "open": "run.run",
    "report": "run.run",
    "segment": "pipeline",
    "suggest": "run.suggestions",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # GDAL looks for drivers and settings when it is loaded.
    with clean_environment():
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
