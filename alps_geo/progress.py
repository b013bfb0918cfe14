"""How a run tells what it does, and how it is told to stop; standard library only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from ._redaction import redact, redact_values


class Notice(str):
    """A message or a warning that programs can tell from others; a text to everybody else.

    Parameters
    ----------
    text : str
        Settings and commands by their names in backquotes, as in messages of errors.
    code : str
        What it is about, such as 'scene.no_crs'; keeps its meaning when the text is worded anew.
    **values
        As of `errors.AlpsGeoError`.
    """

    code: str
    values: dict[str, object]

    def __new__(cls, text: str, *, code: str = "", **values: object) -> Notice:
        """Make a text with a code and values."""
        notice = super().__new__(cls, text)
        notice.code, notice.values = code, values
        return notice


def without_secrets(text: str) -> str:
    """Return a text without passwords and tokens; a notice stays one."""
    if isinstance(text, Notice):
        return Notice(redact(text), code=text.code, **redact_values(text.values))
    return redact(text)


class Progress(Protocol):
    """A progress listener: a terminal, a parent process, a test.

    Any method may raise `Cancelled`: the run then stops where it is, and what is finished stays.
    """

    def stage(self, name: str) -> None:
        """Take note that a stage begins."""

    def step(self, done: int, total: int) -> None:
        """Take note that `done` of `total` pieces of the stage are finished."""

    def message(self, text: str) -> None:
        """Pass on what the user may want to know."""

    def warning(self, text: str) -> None:
        """Pass on what the user should know."""


class NoProgress:
    """Listen to nothing, and never cancel."""

    def stage(self, name: str) -> None:
        """Ignore it."""

    def step(self, done: int, total: int) -> None:
        """Ignore it."""

    def message(self, text: str) -> None:
        """Ignore it."""

    def warning(self, text: str) -> None:
        """Ignore it."""


class RecordedProgress:
    """Remember everything, for tests and for callers that show it later.

    Attributes
    ----------
    stages, messages, warnings : list of str
        In the order they came.
    steps : list of (str, int, int)
        Stage, done and total of every step.
    """

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def stage(self, name: str) -> None:
        """Remember a stage."""
        self.stages.append(name)

    def step(self, done: int, total: int) -> None:
        """Remember a step."""
        self.steps.append((self.stages[-1] if self.stages else "", done, total))

    def message(self, text: str) -> None:
        """Remember a message."""
        self.messages.append(text)

    def warning(self, text: str) -> None:
        """Remember a warning."""
        self.warnings.append(text)


class TextProgress:
    """Show progress as text: a line for each stage that is rewritten while it goes on.

    Parameters
    ----------
    stream : file
        Is written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage, self._line, self._began, self._next = "", "", 0.0, 0.0

    def stage(self, name: str) -> None:
        """Begin a line for a stage."""
        self._end_line()
        self._stage, self._began, self._next = name, time.perf_counter(), 0.0
        self._show(f"{name} …")

    def step(self, done: int, total: int) -> None:
        """Rewrite the line of the stage, a few times a second."""
        now = time.perf_counter()
        if now >= self._next or done == total:
            self._next = now + 0.2
            self._show(f"{self._stage} {done}/{total}, {now - self._began:.0f} s")

    def message(self, text: str) -> None:
        """Show a message on a line of its own."""
        self._tell(text)

    def warning(self, text: str) -> None:
        """Show a warning on a line of its own."""
        self._tell(f"Warning: {text}")

    def close(self) -> None:
        """End the last line."""
        self._end_line()

    def _show(self, line: str) -> None:
        # A shorter line must hide the whole of a longer one.
        self._stream.write(f"\r{line:<{len(self._line)}}")
        self._stream.flush()
        self._line = line

    def _end_line(self) -> None:
        if self._line:
            self._stream.write("\n")
            self._line = ""

    def _tell(self, text: str) -> None:
        line = self._line
        self._stream.write(f"\r{text:<{len(line)}}\n" if line else f"{text}\n")
        self._line = ""
        if line:
            self._show(line)


@contextmanager
def listening(progress: Progress | bool | None) -> Iterator[Progress]:
    """Give who listens: a caller's own, text where it is wanted or somebody sits there, or nobody.

    Parameters
    ----------
    progress : Progress, bool or None
        None means text in notebooks and on interactive prompts, and nobody elsewhere.
    """
    # Python's prompt, IPython and Jupyter all set it.
    is_interactive = hasattr(sys, "ps1")
    wanted = is_interactive if progress is None else progress
    if not isinstance(wanted, bool):
        yield wanted
    elif not wanted:
        yield NoProgress()
    else:
        text = TextProgress(sys.stdout if is_interactive else sys.stderr)
        try:
            yield text
        finally:
            text.close()


class Stopwatch:
    """Pass everything on, and measure how long each stage takes.

    Parameters
    ----------
    listener : Progress

    Attributes
    ----------
    seconds : dict of str to float
        Wall time of every finished stage; a stage that comes again adds to its time.
    warnings : list of str
        In the order they came.
    """

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self._stage, self._began = "", time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []

    def stage(self, name: str) -> None:
        """End the present stage, and begin another."""
        self.stop()
        self._stage, self._began = name, time.perf_counter()
        self._listener.stage(name)

    def stop(self) -> None:
        """End the present stage."""
        if self._stage:
            spent = time.perf_counter() - self._began
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + spent
        self._stage = ""

    def step(self, done: int, total: int) -> None:
        """Pass a step on."""
        self._listener.step(done, total)

    def message(self, text: str) -> None:
        """Pass a message on, without secrets."""
        self._listener.message(without_secrets(text))

    def warning(self, text: str) -> None:
        """Pass a warning on, and remember it for the record, without secrets."""
        text = without_secrets(text)
        self.warnings.append(text)
        self._listener.warning(text)
