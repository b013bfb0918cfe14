"""Makes and removes the engine's environments; standard library only.

An environment lies in a folder of its own, with a note that tells who made it and whether it is
complete: only folders with that note are ever removed. A new one is made beside those that are
there, and what is left of one that fails is taken away again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..environment import clean_environment
from .causes import explain, explain_error
from .check import Report, SetupCancelled, SetupError, check_fit
from .places import FOLDER_VARIABLE, interpreter_of
from .processes import IsCancelled, Log, run_lines
from .proxy import Proxy
from .pythons import ask

NOTE = "alps-geo-environment.json"
#: What an environment takes on disk, in GB, by the kind of PyTorch.
SIZES_GB = {"cpu": 2.0, "cuda": 7.0}
_TORCH_INDEX = "https://download.pytorch.org/whl"
_CUDA_FOLDER = "cu126"
_PIP = ("-I", "-m", "pip", "--disable-pip-version-check", "--no-input")
# The note of an environment that is being made is touched this often, in seconds; one that was not
# touched for long is nobody's any more.
_BEAT_S, _ABANDONED_S = 5.0, 120.0
#: Takes how many steps are done, how many there are, and what is being done.
Step = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Plan:
    """How to make an environment.

    Attributes
    ----------
    folder : Path
        Where it goes; a new one.
    python : str
        The interpreter it is made from.
    version : str
        The oldest engine that will do.
    device : {'cpu', 'cuda'}
        Which PyTorch to install.
    wheels : Path or None
        A folder of wheels to install from, without any network.
    proxy : Proxy
        One without a host for none, or where the variables of this process name one.
    """

    folder: Path
    python: str
    version: str
    device: str = "cpu"
    wheels: Path | None = None
    proxy: Proxy = field(default_factory=Proxy)

    def steps(self) -> Iterator[tuple[str, list[str]]]:
        """Yield what to do, as (title, command)."""
        yield "Making the environment", [self.python, "-I", "-m", "venv", str(self.folder)]
        pip = [str(interpreter_of(self.folder)), *_PIP]
        if self.wheels is not None:
            # Nothing but the folder counts: no mirror that pip's own settings may name.
            pip += ["--isolated", "install", "--no-index", "--find-links", str(self.wheels)]
        else:
            pip += ["install", "--progress-bar", "off"]
            yield "Installing PyTorch", [*pip, *self._torch()]
        yield "Installing alps-geo", [*pip, f"alps-geo>={self.version}"]

    def _torch(self) -> list[str]:
        index: list[str] = []
        if self.device == "cpu" and sys.platform != "darwin":
            index = ["--index-url", f"{_TORCH_INDEX}/cpu"]
        elif self.device == "cuda" and sys.platform == "win32":
            # PyPI has CUDA for Linux only.
            index = ["--index-url", f"{_TORCH_INDEX}/{_CUDA_FOLDER}"]
        return ["torch", "torchvision", *index]

    def environment(self) -> dict[str, str]:
        """Return the variables to install with."""
        return self.proxy.added_to(clean_environment())

    def origin(self) -> str:
        """Return where the packages come from, for people."""
        if self.wheels is not None:
            return str(self.wheels)
        return "pypi.org and download.pytorch.org" if self._torch()[2:] else "pypi.org"


def create(
    plan: Plan,
    log: Log,
    is_cancelled: IsCancelled = lambda: False,
    tell_step: Step = lambda done, total, title: None,
) -> Report:
    """Make an environment with the engine in it.

    Other environments stay as they are. If it fails or is stopped, nothing is left of it.

    Parameters
    ----------
    plan : Plan
    log : callable
        Takes a line.
    is_cancelled : callable
    tell_step : callable
        Hears of every step before it is done.

    Returns
    -------
    Report
        What the new engine says of itself.

    Raises
    ------
    SetupError
    """
    _check(plan)
    made = False
    try:
        try:
            plan.folder.mkdir(parents=True)
            _write_note(plan.folder, plan.version, complete=False)
        except OSError as error:
            raise SetupError(explain_error(error, str(plan.folder))) from error
        report = _fill(plan, log, _Beat(plan.folder, is_cancelled), tell_step)
        made = True
    finally:
        if not made:
            _clear(plan.folder, log)
    return report


def _fill(plan: Plan, log: Log, is_cancelled: IsCancelled, tell_step: Step) -> Report:
    steps = list(plan.steps())
    for done, (title, command) in enumerate(steps):
        tell_step(done, len(steps) + 1, title)
        log(f"== {title}")
        _run_step(title, command, plan, log, is_cancelled)
    tell_step(len(steps), len(steps) + 1, "Checking the engine")
    report = check_fit(str(interpreter_of(plan.folder)), plan.version, is_cancelled, log)
    log(report.text())
    try:
        size = round(size_gb(plan.folder), 2)
        _write_note(plan.folder, report.version, complete=True, size_gb=size)
    except OSError as error:
        raise SetupError(explain_error(error, str(plan.folder))) from error
    return report


class _Beat:
    """Asks whether to stop, and shows other windows of QGIS that somebody is at work here."""

    def __init__(self, folder: Path, is_cancelled: IsCancelled) -> None:
        self._note, self._is_cancelled = folder / NOTE, is_cancelled
        self._last = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._last > _BEAT_S:
            self._last = time.monotonic()
            # Without a note nobody would take the folder away, so there is nothing to keep.
            if self._note.exists():
                os.utime(self._note)
        return self._is_cancelled()


def _clear(folder: Path, log: Log) -> None:
    """Take away what is left of an attempt; what cannot go is found the next time."""
    try:
        if remove(folder):
            log(f"What was left in {folder} is removed.")
    except SetupError as error:
        log(str(error))


def _check(plan: Plan) -> None:
    python = ask(plan.python)
    if python is None:
        raise SetupError(f"{plan.python} is no Python that can be started: choose another")
    if python.problem:
        raise SetupError(python.problem)
    if plan.wheels is not None and not list(plan.wheels.glob("alps_geo-*.whl")):
        raise SetupError(f"{plan.wheels} holds no wheel of alps-geo (alps_geo-….whl)")
    if os.path.lexists(plan.folder):
        raise SetupError(f"{plan.folder} is there already: choose a new folder")
    if plan.wheels is None and plan.proxy.socks:
        raise SetupError(explain(["Missing dependencies for SOCKS support"], str(plan.folder)))
    existing = next(place for place in plan.folder.parents if place.exists())
    needed, free = SIZES_GB[plan.device], shutil.disk_usage(existing).free / 1e9
    if plan.wheels is None and free < needed:
        raise SetupError(
            f"{needed:g} GB are needed in {existing}, {free:.1f} GB are free: make room, or name a"
            f" folder on another disk by the variable {FOLDER_VARIABLE} before QGIS starts"
        )


def _run_step(
    title: str, command: Sequence[str], plan: Plan, log: Log, is_cancelled: IsCancelled
) -> None:
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        log(plan.proxy.hide(line))

    try:
        code = run_lines(command, plan.environment(), take, is_cancelled)
    except OSError as error:
        raise SetupError(f"{title}: {command[0]} cannot be started: {error}") from error
    if code is None:
        raise SetupCancelled("Stopped.")
    if code != 0:
        reason = explain(lines, str(plan.folder), offline=plan.wheels is not None)
        # Killed by the system, which says nothing.
        if not reason and code in (-9, 137):
            reason = "The system ended it, most likely because memory ran out: close programs"
        end = "the log below has its words" if reason else "the log below says why"
        cause = f"{reason}. " if reason else ""
        raise SetupError(f"{cause}({title} failed with exit code {code}; {end}.)")


def _write_note(folder: Path, version: str, *, complete: bool, size_gb: float = 0.0) -> None:
    note = {"made_by": "alps-geo", "version": version, "complete": complete, "size_gb": size_gb}
    (folder / NOTE).write_text(json.dumps(note), encoding="utf-8")


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def is_ours(folder: Path) -> bool:
    """Return True if the plugin made this environment, or began to."""
    return _read_note(folder).get("made_by") == "alps-geo"


def is_complete(folder: Path) -> bool:
    """Return True if the plugin made this environment to the end."""
    return bool(_read_note(folder).get("complete"))


@dataclass(frozen=True)
class Made:
    """An environment that the plugin made, or began to.

    Attributes
    ----------
    folder : Path
    version : str
        Of its engine.
    complete : bool
        False for what is left of an attempt.
    size_gb : float
        What it took when it was made; 0 if that is not known.
    """

    folder: Path
    version: str
    complete: bool
    size_gb: float


def made_in(base: Path) -> list[Made]:
    """Return the environments in a folder, the newest first; without those being made now."""
    folders = [path for path in base.iterdir() if is_ours(path)] if base.is_dir() else []
    found = []
    for time_s, folder in sorted(((_touched(path), path) for path in folders), reverse=True):
        note = _read_note(folder)
        complete = bool(note.get("complete"))
        if complete or time.time() - time_s > _ABANDONED_S:
            size, version = note.get("size_gb"), str(note.get("version", ""))
            number = float(size) if isinstance(size, (int, float)) else 0.0
            found.append(Made(folder, version, complete, number))
    return found


def _touched(folder: Path) -> float:
    try:
        return (folder / NOTE).stat().st_mtime
    except OSError:
        # It is just being removed.
        return time.time()


def remove(folder: Path) -> bool:
    """Remove an environment that the plugin made; leave any other folder alone.

    It takes a minute or more. What is left when it is ended half-way can be removed again.

    Returns
    -------
    bool
        True if something was removed.

    Raises
    ------
    SetupError
        If files cannot be removed.
    """
    if not is_ours(folder):
        return False
    try:
        _write_note(folder, str(_read_note(folder).get("version", "")), complete=False)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != NOTE:
                path.unlink()
        # The note goes last: without it, nobody would know whose the rest is.
        shutil.rmtree(folder)
    except OSError as error:
        raise SetupError(
            f"{folder} cannot be removed: {error}; end runs that use it and try again"
        ) from error
    return True


def size_gb(folder: Path) -> float:
    """Return what an environment takes on disk, in GB."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e9
