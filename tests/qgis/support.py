"""What the tests in QGIS share."""

import time

from qgis.core import QgsProcessingFeedback


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
        self.cancelled_at = 0.0
        self._cancel_at = cancel_at
        self.progressChanged.connect(self._keep_percent)

    def _keep_percent(self, percent):
        self.percents.append(percent)

    def setProgressText(self, text):
        self.stages.append(text)
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
