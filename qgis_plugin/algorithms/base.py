"""What the algorithms share: running the engine, cancelling, results."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    Qgis,
    QgsMessageLog,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputFolder,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFile,
)
from qgis.PyQt.QtGui import QIcon

from .. import engine, open_layers, results, runner
from ..errors import EngineCancelled, EngineError
from ..feedback import FeedbackListener
from ..parameters import absolute, engine_version
from ..runs import current_run
from ..words import in_qgis

_ICON = Path(__file__).resolve().parents[1] / "icon.svg"
_DOCS = "https://github.com/alps-geo/alps-geo/blob/main/docs/qgis.md"
#: Tab of the panel Log Messages that has the commands.
LOG_TAB = "ALPS"
Parameters = dict[str, Any]


class EngineAlgorithm(QgsProcessingAlgorithm):
    """An algorithm whose work a command of the engine does.

    Attributes
    ----------
    NAME, TITLE, HELP : str
        Id, what menus say, and the text beside the form.
    TAGS : tuple of str
        More words to find it by.
    STAGE_ENDS : mapping of str to float
        Percent that are done at the end of each stage of the command.
    """

    NAME: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    HELP: ClassVar[str] = ""
    TAGS: ClassVar[tuple[str, ...]] = ()
    STAGE_ENDS: ClassVar[Mapping[str, float]] = {}

    def name(self) -> str:
        """Return the id."""
        return self.NAME

    def displayName(self) -> str:
        """Return what menus say."""
        return self.TITLE

    def shortHelpString(self) -> str:
        """Return the text beside the form."""
        # Old versions of QGIS make a paragraph of every line.
        return " ".join(self.HELP.split())

    def tags(self) -> list[str]:
        """Return more words to find it by."""
        return ["alps", "segmentation", "labels", "classification", *self.TAGS]

    def helpUrl(self) -> str:
        """Return where the manual is."""
        return _DOCS

    def icon(self) -> QIcon:
        """Return the plugin's icon."""
        return QIcon(str(_ICON))

    def createInstance(self) -> EngineAlgorithm:
        """Return a new algorithm of this kind."""
        return type(self)()

    def canExecute(self) -> tuple[bool, str]:
        """Return whether there is an engine, and else how to set one up."""
        problem = engine.problem()
        return not problem, problem

    def addParameter(
        self, definition: QgsProcessingParameterDefinition, createOutput: bool = True
    ) -> bool:
        """Add a parameter; one that has a default need not be given.

        Models keep only what their authors set: a release that adds a parameter that must be
        given would make all of them invalid.
        """
        if definition.defaultValue() is not None and not definition.isDestination():
            flags = QgsProcessingParameterDefinition.Flag
            definition.setFlags(definition.flags() | flags.FlagOptional)
        return super().addParameter(definition, createOutput)

    def path(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> str:
        """Return the absolute path that a parameter names: the engine works in another folder."""
        return absolute(self.parameterAsString(parameters, name, context))

    def run_engine(
        self,
        arguments: list[str],
        feedback: QgsProcessingFeedback,
        ends: Mapping[str, float] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """Run a command of the engine.

        Parameters
        ----------
        arguments : list of str
            The command and its arguments, without `--progress`.
        feedback : QgsProcessingFeedback
        ends : mapping of str to float, optional
            In place of `STAGE_ENDS`.
        files : mapping of str to str, optional
            What the user calls files that the algorithm wrote for the engine, by path.

        Returns
        -------
        dict or None
            The engine's result; None if the user stopped it.

        Raises
        ------
        QgsProcessingException
            With the engine's message.
        """
        listener = FeedbackListener(feedback, ends or self.STAGE_ENDS, files)
        try:
            command = engine.command([*arguments, "--progress", "json"])
            # For those who look for a fault; an analyst has no use for it.
            QgsMessageLog.logMessage(shlex.join(command), LOG_TAB, Qgis.MessageLevel.Info, False)
            return runner.run(
                command, listener, minimum=engine_version(), environment=engine.environment()
            )
        except EngineCancelled:
            return None
        except EngineError as error:
            # Without the chain: QGIS would print the whole of it several times.
            raise QgsProcessingException(in_qgis(str(error), files)) from None


class RunAlgorithm(EngineAlgorithm):
    """An algorithm that leaves a run: a folder with label rasters and GeoPackages.

    Attributes
    ----------
    FOLDER : str
        The parameter for that folder.
    """

    FOLDER: ClassVar[str] = "INPUT"

    def checkParameterValues(
        self, parameters: Parameters, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Return whether the values are of their kinds, and the run's files may be written."""
        holds, message = super().checkParameterValues(parameters, context)
        if not holds:
            return holds, message
        folder = self.path(parameters, self.FOLDER, context)
        problem = open_layers.problem(context.project(), folder) if folder else ""
        return not problem, problem

    def prepareAlgorithm(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> bool:
        """Let the project's layers go of the run's files; QGIS calls this in the main thread."""
        # Known once and for all: a temporary folder has another name whenever it is asked for.
        self._folder = self.path(parameters, self.FOLDER, context)
        problem = open_layers.problem(context.project(), self._folder)
        if problem:
            raise QgsProcessingException(problem)
        self._finished: list[tuple[str, Path, Path]] = []
        self._load = self.parameterAsBool(parameters, "LOAD", context)
        self._release = open_layers.Release(context.project(), self._folder)
        feedback.canceled.connect(self._release.put_back_unless_begun)
        return True

    def processAlgorithm(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Do the work while no layer has a file of the run open."""
        self._release.begin()
        # Those that earlier steps of a model have opened; later ones open them anew.
        store = context.temporaryLayerStore()
        store.removeMapLayersById(open_layers.shown_ids(store.mapLayers(), self._folder))
        try:
            return self.work(parameters, context, feedback)
        finally:
            self._release.put_back()

    def work(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Run the engine and return the algorithm's outputs; each algorithm has its own."""
        raise NotImplementedError

    def postProcessAlgorithm(
        self, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Show the results in the project; QGIS calls this in the main thread."""
        self._release.put_back()
        for scene, raster, package in self._finished:
            results.show(scene, raster, package, context, feedback, load=self._load)
        return {}

    def add_run_outputs(self, *, with_folder: bool) -> None:
        """Declare what a run leaves, and the choice whether to load it.

        Parameters
        ----------
        with_folder : bool
            True where no parameter of the algorithm stands for the folder.
        """
        load = QgsProcessingParameterBoolean("LOAD", "Add the results to the project", True)
        load.setHelp("Segments, class map and one layer per class, in a group of their own.")
        self.addParameter(load)
        if with_folder:
            self.addOutput(QgsProcessingOutputFolder("OUTPUT", "Folder of the run"))
        self.addOutput(QgsProcessingOutputRasterLayer("LABELS", "Label raster"))
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.addOutput(QgsProcessingOutputVectorLayer("SEGMENTS", "Segments", polygons))
        self.addOutput(QgsProcessingOutputFile("PACKAGE", "GeoPackage"))
        self.addOutput(QgsProcessingOutputFile("CLASS_MODEL", "Class model"))
        self.addOutput(QgsProcessingOutputFile("RECORD", "Record of the run"))
        # Not REPORT: that is the choice whether there is one.
        self.addOutput(QgsProcessingOutputFile("REPORT_PAGE", "Report"))
        self.addOutput(QgsProcessingOutputNumber("LABELLED_SHARE", "Share of labelled pixels"))

    def finish(
        self,
        result: Mapping[str, Any],
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Keep what is to be shown, tell what came out, and return the algorithm's outputs.

        Parameters
        ----------
        result : mapping
            Of the engine, with absolute paths.
        """
        labels, packages = list(result["labels"]), list(result["packages"])
        record = json.loads(Path(result["record"]).read_text(encoding="utf-8"))
        self._finished = [
            (scene["stem"], Path(raster), Path(package))
            for scene, raster, package in zip(record["scenes"], labels, packages)
        ]
        share = _labelled_share(record)
        segments = sum(scene["segments"]["visible"] for scene in record["scenes"])
        feedback.pushInfo(
            f"{segments:,} segments in {len(record['classes'])} classes label {share:.1%} of the"
            f" scene: {result['folder']}"
        )
        report = Path(result["folder"], "report.html")
        if report.exists():
            feedback.pushInfo(f"Report, to be opened in a browser: {report.as_uri()}")
        return {
            "OUTPUT": result["folder"],
            "LABELS": labels[0],
            "SEGMENTS": f"{packages[0]}|layername=segments",
            "PACKAGE": packages[0],
            "CLASS_MODEL": result["classes"],
            "RECORD": result["record"],
            "REPORT_PAGE": str(report) if report.exists() else "",
            "LABELLED_SHARE": share,
        }


def run_folder_parameter() -> QgsProcessingParameterDefinition:
    """Return the parameter for the folder of a finished run."""
    parameter = QgsProcessingParameterFile(
        "INPUT", "Folder of a run", behavior=QgsProcessingParameterFile.Behavior.Folder
    )
    parameter.setHelp("The output folder of 'Label scene'; it holds run.json.")
    # Of forms only: scripts and models must say which run they change.
    parameter.setGuiDefaultValueOverride(current_run() or None)
    return parameter


def no_run(folder: str) -> str:
    """Return what to say of a folder that holds no run."""
    return f"{folder} holds no finished run of 'Label scene' (no run.json): choose another folder"


def _labelled_share(record: Mapping[str, Any]) -> float:
    total = sum(scene["coverage"]["total_px"] for scene in record["scenes"])
    labelled = sum(scene["coverage"]["labelled_px"] for scene in record["scenes"])
    return float(labelled / total) if total else 0.0
