"""`alps_geo:evaluate_labels`: how well labels agree with a reference."""

from __future__ import annotations

import tempfile
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorLayer,
    QgsRasterLayer,
    QgsVectorLayer,
)

from .. import rasters
from ..areas import write_polygons
from ..parameters import absolute
from ..runs import current_run, layer_of_labels
from ..words import in_qgis
from .base import EngineAlgorithm, Parameters

#: Measure of the engine: output and what people call it.
MEASURES = {
    "accuracy": ("ACCURACY", "Pixel accuracy, many-to-one"),
    "miou": ("MIOU", "Mean IoU, many-to-one"),
    "accuracy_hungarian": ("ACCURACY_ONE_TO_ONE", "Pixel accuracy, one-to-one"),
    "miou_hungarian": ("MIOU_ONE_TO_ONE", "Mean IoU, one-to-one"),
    "purity": ("PURITY", "Purity"),
    "nmi": ("NMI", "Normalised mutual information"),
    "ari": ("ARI", "Adjusted Rand index"),
    "coverage": ("COVERAGE", "Coverage: reference pixels that have a label"),
}


class EvaluateLabels(EngineAlgorithm):
    """Compare a label raster with a reference raster or with polygons."""

    NAME = "evaluate_labels"
    TITLE = "Evaluate labels"
    TAGS = ("accuracy", "iou", "confusion", "validation")
    HELP = """<p>Compares a label raster with reference classes: a raster of class numbers or
polygons with a class field, on any grid and in any CRS; or with the label raster of another
run.</p>
<p><b>Many-to-one</b>: each label stands for the class that most of its pixels have.
<b>One-to-one</b>: labels and classes are paired so that most pixels agree. Reference pixels without
a label count as errors.</p>"""
    STAGE_ENDS: ClassVar[dict[str, float]] = {"evaluate": 100}

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        labels = QgsProcessingParameterRasterLayer("INPUT", "Labels (labels.tif of a run)")
        run = current_run()
        # Of forms only, where QGIS would put the scene that lies below.
        labels.setGuiDefaultValueOverride(layer_of_labels(run) if run else None)
        self.addParameter(labels)
        # Never one parameter for both: QGIS ends at once where the parent of a field parameter
        # holds a raster. Optional ones start empty, so that labels are not their own reference.
        self.addParameter(
            QgsProcessingParameterRasterLayer(
                "REFERENCE", "Reference: raster of classes", optional=True
            )
        )
        self.addParameter(
            QgsProcessingParameterVectorLayer(
                "REFERENCE_POLYGONS",
                "Or reference: polygons",
                [QgsProcessing.SourceType.TypeVectorPolygon],
                optional=True,
            )
        )
        field = QgsProcessingParameterField(
            "FIELD", "Class field of the polygons", None, "REFERENCE_POLYGONS", optional=True
        )
        field.setHelp("Holds the classes, as text or numbers.")
        self.addParameter(field)
        ignore = QgsProcessingParameterString("IGNORE", "Classes to leave out", optional=True)
        ignore.setHelp("Numbers or names with commas between them: 0, clouds")
        self.addParameter(ignore)
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "OUTPUT", "Report", "HTML files (*.html)", optional=True
            )
        )
        for name, title in MEASURES.values():
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def checkParameterValues(
        self, parameters: Parameters, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Return whether labels and reference are files, and polygons have a class field."""
        holds, message = super().checkParameterValues(parameters, context)
        if not holds:
            return holds, message
        labels = self.parameterAsRasterLayer(parameters, "INPUT", context)
        raster = self.parameterAsRasterLayer(parameters, "REFERENCE", context)
        polygons = self.parameterAsVectorLayer(parameters, "REFERENCE_POLYGONS", context)
        if (raster is None) == (polygons is None):
            return False, "Choose a reference: either a raster of classes or polygons"
        if polygons is not None and not parameters.get("FIELD"):
            return False, "Choose the field of the polygons that holds their class"
        problem = rasters.problem(labels) or rasters.problem(raster)
        return not problem, problem

    def prepareAlgorithm(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> bool:
        """Take from the layers what must be taken in the main thread."""
        labels = self.parameterAsRasterLayer(parameters, "INPUT", context)
        raster = self.parameterAsRasterLayer(parameters, "REFERENCE", context)
        polygons = self.parameterAsVectorLayer(parameters, "REFERENCE_POLYGONS", context)
        if labels is None or (raster is None) == (polygons is None):
            raise QgsProcessingException(
                "Labels or reference cannot be opened, or there are two references"
            )
        self._labels = rasters.source(labels)
        self._options: list[str] = []
        self._files: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="alps-geo-")
        self._reference = self._source_of(raster, polygons, parameters, context)
        return True

    def _source_of(
        self,
        raster: QgsRasterLayer | None,
        polygons: QgsVectorLayer | None,
        parameters: Parameters,
        context: QgsProcessingContext,
    ) -> str:
        if polygons is None:
            return rasters.source(raster)
        # Filters, joins, memory layers and databases: the engine shall see what the user sees.
        path = Path(self._folder.name) / "reference.gpkg"
        write_polygons(
            path,
            polygons.getFeatures(),
            polygons.crs(),
            context.transformContext(),
            polygons.fields(),
        )
        self._options = ["--field", self.parameterAsString(parameters, "FIELD", context)]
        self._files = {str(path): f"“{polygons.name()}”"}
        return str(path)

    def processAlgorithm(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Run the engine and return the measures."""
        arguments = ["evaluate", self._labels, self._reference, *self._options]
        names = self.parameterAsString(parameters, "IGNORE", context).split(",")
        for name in filter(None, (text.strip() for text in names)):
            arguments += ["--ignore", name]
        with self._folder:
            result = self.run_engine(arguments, feedback, files=self._files)
        if result is None:
            return {}
        for note in result["notes"]:
            feedback.pushWarning(in_qgis(note, self._files))
        outputs: dict[str, Any] = {}
        for measure, (output, title) in MEASURES.items():
            outputs[output] = result[measure]
            feedback.pushInfo(f"{title}: {_number(result[measure])}")
        target = absolute(self.parameterAsFileOutput(parameters, "OUTPUT", context))
        if target:
            Path(target).write_text(report(result, self._files), encoding="utf-8")
            outputs["OUTPUT"] = target
        return outputs


def report(result: dict[str, Any], called: dict[str, str]) -> str:
    """Return a page of tables: measures, classes, labels and the confusion matrix.

    Parameters
    ----------
    result : dict
        Of the engine.
    called : dict of str to str
        What the user calls files that the algorithm wrote, by path.
    """
    notes = "".join(f"<li>{escape(in_qgis(note, called))}</li>" for note in result["notes"])
    measures = [[title, _number(result[name])] for name, (_, title) in MEASURES.items()]
    classes = [
        [item["name"], f"{item['pixels']:,}", _number(item["iou"]), _number(item["iou_hungarian"])]
        for item in result["classes"]
    ]
    names = [item["name"] for item in result["classes"]]
    confusion = [
        [item["id"], item["name"], item["class"] or "none", *(f"{count:,}" for count in counts)]
        for item, counts in zip(result["clusters"], result["confusion"])
    ]
    files = [
        escape(", ".join(called.get(path, path) for path in result[name]))
        for name in ("labels", "reference")
    ]
    return "\n".join(
        [
            "<!doctype html><meta charset='utf-8'><title>Evaluation of labels</title>",
            "<style>body{font-family:sans-serif}td,th{padding:2px 8px;text-align:right}"
            "td:first-child,th:first-child{text-align:left}</style>",
            "<h1>Labels against reference</h1>",
            f"<p>{'<br>'.join(files)}</p>",
            f"<ul>{notes}</ul>",
            _table(["Measure", "Value"], measures),
            "<h2>Reference classes</h2>",
            _table(["Class", "Pixels", "IoU", "IoU, one-to-one"], classes),
            "<h2>Pixels of each label by reference class</h2>",
            _table(["Label", "Name", "Stands for", *names], confusion),
        ]
    )


def _table(headings: list[str], rows: list[list[Any]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"
