"""Does slow work beside the GUI: a thread that tells lines, steps and its end by signals."""

from __future__ import annotations

import threading

from qgis.PyQt.QtCore import QObject, QThread, pyqtSignal

from .check import SetupError
from .work import Work


class Worker(QThread):
    """Runs one piece of work.

    Parameters
    ----------
    work : callable
    parent : QObject, optional

    Attributes
    ----------
    line : signal of str
        For the log.
    step : signal of (int, int, str)
        Steps done, steps in all, and what is being done.
    ended : signal of (bool, str)
        Whether it was a success, and what to say.
    """

    line = pyqtSignal(str)
    step = pyqtSignal(int, int, str)
    ended = pyqtSignal(bool, str)

    def __init__(self, work: Work, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work, self._stop = work, threading.Event()

    def log(self, line: str) -> None:
        """Tell a line; the work calls this in its thread."""
        self.line.emit(line)

    def tell_step(self, done: int, total: int, title: str) -> None:
        """Tell what is being done; the work calls this in its thread."""
        self.step.emit(done, total, title)

    def cancel(self) -> None:
        """Ask the work to stop; returns at once."""
        self._stop.set()

    def is_cancelled(self) -> bool:
        """Return True once the work shall stop."""
        return self._stop.is_set()

    def run(self) -> None:
        """Work; QThread calls this in the new thread."""
        try:
            text = self._work(self)
        except SetupError as error:
            self.ended.emit(False, str(error))
        except Exception as error:  # noqa: BLE001 - the plugin's outermost frame: QGIS would abort
            self.ended.emit(False, f"Unexpected {type(error).__name__}: {error}")
        else:
            self.ended.emit(True, text)
