"""How a command shows progress: a bar, plain lines, JSON lines, or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO

import click

import alps_geo
from alps_geo._redaction import redact
from alps_geo.errors import AlpsGeoError, Cancelled
from alps_geo.progress import Notice, without_secrets
from alps_geo.scenes.paths import join_command, shown_name

from .options import ARGUMENTS
from .stopping import StopRequest
from .wording import in_options

PROTOCOL = 1
#: Key of `click.Context.meta` that is true where a program has been told how a command ended.
TOLD = "alps_geo.cli.told"
# Plain lines are for log files: a line per tenth of a stage, or per half minute.
LINE_SHARE, LINE_SECONDS = 0.1, 30.0
JSON_SECONDS = 0.1


class Pace:
    """How far a stage is, and when it will be done."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start, self._first = clock(), 0
        self._seen = False

    def seconds_left(self, done: int, total: int) -> float | None:
        """Return the seconds the stage will still take; None while nothing is known."""
        if not self._seen and done > 1:
            # The run goes on from an earlier one: what that finished says nothing about time.
            self._start, self._first = self._clock(), done
        self._seen = True
        if done <= self._first:
            return None
        return (self._clock() - self._start) / (done - self._first) * max(0, total - done)


def in_words(seconds: float) -> str:
    """Return a length of time for people, such as `2 min 5 s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Reporter:
    """Shows nothing, and raises `Cancelled` once it was asked to stop; base of the others.

    Parameters
    ----------
    stop : StopRequest
    farewell : str
        What to say when the run is stopped.

    Attributes
    ----------
    for_people : bool
        False where stdout belongs to a program.
    shows_texts : bool
        False where messages and warnings are not shown when they come.
    warnings : list of str
        All warnings so far.
    """

    for_people = True
    shows_texts = False

    def __init__(self, stop: StopRequest, farewell: str) -> None:
        self._stop, self._farewell = stop, farewell
        self._pace = Pace()
        self.warnings: list[str] = []

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(error)

    def stage(self, name: str) -> None:
        """Show that a stage begins."""
        self._check()
        self._pace = Pace()
        self.show_stage(name)

    def step(self, done: int, total: int) -> None:
        """Show how far the stage is."""
        self._check()
        self.show_step(done, total, self._pace.seconds_left(done, total))

    def message(self, text: str) -> None:
        """Show what the user may want to know."""
        self.show_text("message", without_secrets(text))

    def warning(self, text: str) -> None:
        """Show what the user should know."""
        text = without_secrets(text)
        self.warnings.append(text)
        self.show_text("warning", text)

    def result(self, **fields: object) -> None:
        """Tell a program what came out, such as paths."""

    def close(self, error: BaseException | None) -> None:
        """Leave stdout and the terminal as they were."""

    def show_stage(self, name: str) -> None:
        """Show the name of a stage."""

    def show_step(self, done: int, total: int, left_s: float | None) -> None:
        """Show a step, and the seconds the stage will still take."""

    def show_text(self, kind: str, text: str) -> None:
        """Show a message or a warning."""

    def _check(self) -> None:
        if self._stop.asked.is_set():
            raise Cancelled(self._farewell)


class LineReporter(Reporter):
    """Writes plain lines to stderr, few enough for a log file."""

    shows_texts = True
    _name, _shown, _time = "", 0.0, 0.0

    def show_stage(self, name: str) -> None:
        """Write the stage's name."""
        self._name, self._shown, self._time = name, 0.0, time.monotonic()
        click.echo(name, err=True)

    def show_step(self, done: int, total: int, left_s: float | None) -> None:
        """Write a line for every tenth of the stage."""
        share, now = done / max(total, 1), time.monotonic()
        if share < self._shown + LINE_SHARE and now < self._time + LINE_SECONDS:
            return
        self._shown, self._time = share, now
        left = f", about {in_words(left_s)} left" if left_s is not None and left_s >= 1 else ""
        click.echo(f"{self._name}: {done} of {total}{left}", err=True)

    def show_text(self, kind: str, text: str) -> None:
        """Write the text; warnings say that they are."""
        text = in_options(text)
        click.echo(f"Warning: {text}" if kind == "warning" else text, err=True)


class BarReporter(Reporter):
    """Draws a bar per stage on the terminal, with the time left."""

    shows_texts = True

    def __init__(self, stop: StopRequest, farewell: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        super().__init__(stop, farewell)
        self._bar = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
        )
        self._bar.start()

    def show_stage(self, name: str) -> None:
        """Begin a bar below the finished ones."""
        self._finish_stage()
        self._task = self._bar.add_task(name, total=None, count="", left="")

    def show_step(self, done: int, total: int, left_s: float | None) -> None:
        """Move the bar."""
        if not self._bar.tasks:
            self.show_stage("")
        left = f"about {in_words(left_s)} left" if left_s is not None and left_s >= 1 else ""
        self._bar.update(
            self._task, completed=done, total=total, count=f"{done}/{total}", left=left
        )

    def show_text(self, kind: str, text: str) -> None:
        """Write the text above the bars."""
        from rich.text import Text

        text = in_options(text)
        line = Text(text) if kind == "message" else Text(f"Warning: {text}", style="yellow")
        self._bar.console.print(line)

    def close(self, error: BaseException | None) -> None:
        """Leave the bars as they are and show the cursor."""
        if error is None:
            self._finish_stage()
        self._bar.stop()

    def _finish_stage(self) -> None:
        if self._bar.tasks:
            task = self._bar.tasks[-1]
            total = task.total or 1
            self._bar.update(task.id, completed=total, total=total, left="")
            self._bar.stop_task(task.id)


class JsonReporter(Reporter):
    """Writes one JSON object per line to stdout; a line `cancel` on stdin stops the run."""

    for_people = False
    shows_texts = True

    def __init__(self, stop: StopRequest, farewell: str, command: str) -> None:
        super().__init__(stop, farewell)
        self._last = 0.0
        self._lines, self._before = _take_stdout()
        stop.watch_stdin()
        self._write("hello", protocol=PROTOCOL, version=alps_geo.__version__, command=command)

    def show_stage(self, name: str) -> None:
        """Write `stage`."""
        self._last = 0.0
        self._write("stage", name=name)

    def show_step(self, done: int, total: int, left_s: float | None) -> None:
        """Write `progress`, ten times a second at most."""
        now = time.monotonic()
        if done < total and now < self._last + JSON_SECONDS:
            return
        self._last = now
        eta_s = None if left_s is None else round(left_s, 1)
        self._write("progress", done=done, total=total, eta_s=eta_s)

    def show_text(self, kind: str, text: str) -> None:
        """Write `message` or `warning`, with code and values where there are any."""
        notice = text if isinstance(text, Notice) else Notice(text)
        self._write(kind, text=text, code=notice.code or kind, values=notice.values)

    def result(self, **fields: object) -> None:
        """Write `result`."""
        self._write("result", **fields)

    def close(self, error: BaseException | None) -> None:
        """Write how it ended, and give stdout back."""
        if isinstance(error, Cancelled):
            self._write("cancelled", message=str(error))
        elif isinstance(error, AlpsGeoError):
            self._write(
                "error",
                message=str(error),
                exit_code=error.exit_code,
                code=error.code,
                values=error.values,
            )
        elif isinstance(error, click.ClickException):
            message = error.format_message()
            self._write(
                "error", message=message, exit_code=error.exit_code, code="usage", values={}
            )
        elif error is not None:
            # The traceback follows on stderr.
            message = redact(f"unexpected {type(error).__name__}: {error}")
            self._write("error", message=message, exit_code=1, code="unexpected", values={})
        _give_stdout_back(self._lines, self._before)

    def _write(self, event: str, **fields: object) -> None:
        try:
            self._lines.write(json.dumps({"event": event, **fields}, default=str) + "\n")
            self._lines.flush()
        except BrokenPipeError:
            # Nobody reads any more: the parent process has gone.
            self._stop.asked.set()


def _take_stdout() -> tuple[TextIO, TextIO]:
    """Return a file of our own on stdout, and what was there; all other output goes to stderr.

    Whatever a library prints, in Python or in C, then cannot break the lines.
    """
    before = sys.stdout
    before.flush()
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return lines, before


def _give_stdout_back(lines: TextIO, before: TextIO) -> None:
    sys.stdout = before
    os.dup2(lines.fileno(), 1)
    # What is left in the buffer has no reader if the parent process has gone.
    with contextlib.suppress(BrokenPipeError):
        lines.close()


@contextlib.contextmanager
def reporting(ctx: click.Context, mode: str, *, keeps: str = "") -> Iterator[Reporter]:
    """Show progress while the body runs, and let signals stop it.

    Parameters
    ----------
    ctx : click.Context
        Of the command; tells what to run to go on.
    mode : {'auto', 'bar', 'json', 'none'}
    keeps : str
        What a stopped run leaves behind, such as 'finished tiles are kept'.

    Yields
    ------
    Reporter
    """
    with StopRequest() as stop, _make_reporter(ctx, mode, stop, _farewell(ctx, keeps)) as reporter:
        ctx.meta[TOLD] = not reporter.for_people
        yield reporter


def _make_reporter(ctx: click.Context, mode: str, stop: StopRequest, farewell: str) -> Reporter:
    if mode == "json":
        return JsonReporter(stop, farewell, ctx.info_name or "")
    if mode == "none":
        return Reporter(stop, farewell)
    if mode == "bar" or sys.stderr.isatty():
        return BarReporter(stop, farewell)
    return LineReporter(stop, farewell)


def _farewell(ctx: click.Context, keeps: str) -> str:
    # With --overwrite again, the command would not go on but start from nothing.
    arguments = [item for item in ctx.meta.get(ARGUMENTS, ()) if item != "--overwrite"]
    # Where the line ends up is not known: tokens have to be put in again by hand.
    again = join_command([*ctx.command_path.split(), *map(shown_name, arguments)])
    return f"stopped; {keeps}, to go on: {again}" if keeps else f"stopped; to start again: {again}"
