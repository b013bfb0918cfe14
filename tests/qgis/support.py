"""What the tests in QGIS share."""

import time

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
)
from qgis.PyQt.QtCore import QEventLoop, QTimer


class Feedback(QgsProcessingFeedback):
    """Remembers what an algorithm says, and cancels when a text comes.

    Parameters
    ----------
    cancel_at : str, optional
        Part of a progress text.
    """

    def __init__(self, cancel_at=None):
        super().__init__(False)
        self.infos, self.warnings, self.console, self.commands = [], [], [], []
        self.stages, self.errors, self.percents = [], [], []
        self.percent_at = {}
        self.cancelled_at = 0.0
        self._cancel_at = cancel_at
        self.progressChanged.connect(self._keep_percent)

    def _keep_percent(self, percent):
        self.percents.append(percent)

    def setProgressText(self, text):
        self.stages.append(text)
        self.percent_at.setdefault(text, self.progress())
        if self._cancel_at and self._cancel_at in text:
            self.cancelled_at = time.monotonic()
            self.cancel()

    def pushInfo(self, text):
        self.infos.append(text)

    def pushWarning(self, text):
        self.warnings.append(text)

    def pushConsoleInfo(self, text):
        self.console.append(text)

    def pushCommandInfo(self, text):
        self.commands.append(text)

    def reportError(self, text, fatalError=False):
        self.errors.append(text)


def show_run(provider, project, folder):
    """Load the layers of a finished run on the small scene, as the plugin does at its end."""
    from processing.gui.Postprocessing import handleAlgorithmResults

    from qgis_plugin import results

    context, feedback = QgsProcessingContext(), Feedback()
    context.setProject(project)
    files = folder / "labels.tif", folder / "labels.gpkg"
    results.show("dubai_piece", *files, context, feedback, load=True)
    handleAlgorithmResults(provider.algorithm("reclassify"), context, feedback)


def run_as_the_gui_does(provider, project, name, parameters, cancel_at=None):
    """Run an algorithm in a thread of its own and let Processing load its results."""
    from processing.gui.Postprocessing import handleAlgorithmResults

    context, feedback = QgsProcessingContext(), Feedback(cancel_at)
    context.setProject(project)
    algorithm = provider.algorithm(name).create()
    holds, message = algorithm.checkParameterValues(parameters, context)
    assert holds, message
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
    loop, seen = QEventLoop(), []

    def finish(successful, results):
        seen.append((successful, results))
        loop.quit()

    task.executed.connect(finish)
    QTimer.singleShot(120_000, loop.quit)
    QgsApplication.taskManager().addTask(task)
    loop.exec()
    assert seen, "the task has not ended"
    if feedback.isCanceled():
        return seen[0][1]
    assert seen[0][0], feedback.errors
    handleAlgorithmResults(algorithm, context, feedback, parameters=parameters)
    assert feedback.errors == []
    return seen[0][1]
