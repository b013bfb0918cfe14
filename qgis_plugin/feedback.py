"""Shows a run of the engine in Processing: percent, stages with the time left, texts."""

from __future__ import annotations

import time
from collections.abc import Mapping

from qgis.core import QgsProcessingFeedback

from .words import in_qgis

#: Between two lines on the same stage; each stays in the log of the dialog.
_LINE_S = 5.0


def in_words(seconds: float) -> str:
    """Return a length of time for people, such as `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class FeedbackListener:
    """Passes what the engine says on to Processing.

    Parameters
    ----------
    feedback : QgsProcessingFeedback
    ends : mapping of str to float
        Percent that are done at the end of each stage, in the order of the stages.
    files : mapping of str to str, optional
        What the user calls files that they never saw, by path.
    """

    def __init__(
        self,
        feedback: QgsProcessingFeedback,
        ends: Mapping[str, float],
        files: Mapping[str, str] | None = None,
    ) -> None:
        self._feedback, self._ends, self._files = feedback, ends, files
        self._name, self._start, self._end = "", 0.0, 0.0
        self._shown = 0.0

    def stage(self, name: str) -> None:
        """Show the stage, and what all before it have done."""
        # Stages in another order than ours must not move the bar back.
        before = self._end
        for known, end in self._ends.items():
            if known == name:
                break
            before = max(before, end)
        # A stage that is not known takes no share: the bar waits where it is.
        self._start = before if name in self._ends else self._end
        self._name, self._end = name, max(self._start, self._ends.get(name, self._end))
        self._feedback.setProgress(self._start)
        self._show(f"{name.capitalize()} …")

    def progress(self, done: int, total: int, eta_s: float | None) -> None:
        """Move the bar; every few seconds, say how far the stage is."""
        share = min(1.0, done / total) if total > 0 else 0.0
        self._feedback.setProgress(self._start + share * (self._end - self._start))
        if time.monotonic() - self._shown >= _LINE_S and done < total:
            left = "" if eta_s is None else f", about {in_words(eta_s)} left"
            self._show(f"{self._name.capitalize()}: {done} of {total}{left}")

    def message(self, text: str) -> None:
        """Show it in the log."""
        self._feedback.pushInfo(in_qgis(text, self._files))

    def warning(self, text: str) -> None:
        """Show it in the log, in the colour of warnings."""
        self._feedback.pushWarning(in_qgis(text, self._files))

    def log(self, text: str) -> None:
        """Show what the engine wrote beside the protocol, in small type."""
        self._feedback.pushConsoleInfo(text)

    def is_cancelled(self) -> bool:
        """Return True once the user pressed Cancel."""
        return self._feedback.isCanceled()

    def _show(self, text: str) -> None:
        self._shown = time.monotonic()
        self._feedback.setProgressText(text)
