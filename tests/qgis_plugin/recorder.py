"""A listener that remembers what a run says, and stops it when it is told to."""

from __future__ import annotations

import time
from collections.abc import Callable


class Recorder:
    """Remember every call, and when it came.

    Parameters
    ----------
    cancel_when : callable, optional
        Takes the recorder; True stops the run.

    Attributes
    ----------
    calls : list of tuple
        Method and arguments, in order.
    asked : float
        When cancelling was first asked for.
    """

    def __init__(self, cancel_when: Callable[[Recorder], bool] = lambda recorder: False) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.asked = 0.0
        self._cancel_when = cancel_when

    def stage(self, name: str) -> None:
        self.calls.append(("stage", name))

    def progress(self, done: int, total: int, eta_s: float | None) -> None:
        self.calls.append(("progress", done, total, eta_s))

    def message(self, text: str) -> None:
        self.calls.append(("message", text))

    def warning(self, text: str) -> None:
        self.calls.append(("warning", text))

    def log(self, text: str) -> None:
        self.calls.append(("log", text))

    def is_cancelled(self) -> bool:
        stop = self._cancel_when(self)
        if stop and not self.asked:
            self.asked = time.monotonic()
        return stop

    def texts(self, kind: str) -> list[str]:
        """Return the lines of one kind."""
        found = [str(call[1]).splitlines() for call in self.calls if call[0] == kind]
        return [line for lines in found for line in lines]
