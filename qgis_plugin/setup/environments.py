"""Makes, checks and removes the engine's environment; standard library only.

An environment lies in a folder of its own, with a note that tells who made it and whether it is
complete: only folders with that note are ever removed.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..environment import clean_environment
from .places import interpreter_of
from .processes import IsCancelled, Log, run_lines
from .pythons import ask

NOTE = "alps-geo-environment.json"
#: What an environment takes on disk, in GB, by the kind of PyTorch.
SIZES_GB = {"cpu": 2.0, "cuda": 7.0}
_TORCH_INDEX = "https://download.pytorch.org/whl"
_CUDA_FOLDER = "cu126"
_PIP = ("-I", "-m", "pip", "--disable-pip-version-check", "--no-input")
# Also says what is wrong with an environment that has only half of what it needs.
_PROBE = """
import json, platform
facts = {"python": platform.python_version()}
import alps_geo
facts["version"] = alps_geo.__version__
from alps_geo.models import weights
facts["models"] = [item.name for item in weights.installed()]
facts["models_folder"] = str(weights.folder())
import rasterio, torch
facts["torch"], facts["gdal"] = torch.__version__, rasterio.__gdal_version__
facts["device"] = "CPU"
if torch.cuda.is_available():
    facts["device"] = torch.cuda.get_device_name(0)
elif torch.backends.mps.is_available():
    facts["device"] = "Apple GPU"
print(json.dumps(facts))
"""
#: Takes how many steps are done, how many there are, and what is being done.
Step = Callable[[int, int, str], None]


class SetupError(Exception):
    """What went wrong, and what to do; the log has the rest."""


class SetupCancelled(SetupError):
    """The user stopped it."""


@dataclass(frozen=True)
class Plan:
    """How to make an environment.

    Attributes
    ----------
    folder : Path
        Where it goes.
    python : str
        The interpreter it is made from.
    version : str
        The oldest engine that will do.
    device : {'cpu', 'cuda'}
        Which PyTorch to install.
    wheels : Path or None
        A folder of wheels to install from, without any network.
    proxy : str
        Address of a proxy; empty for none, or where the variables of this process name one.
    """

    folder: Path
    python: str
    version: str
    device: str = "cpu"
    wheels: Path | None = None
    proxy: str = ""

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
        variables = clean_environment()
        if self.proxy:
            for name in ("HTTP_PROXY", "HTTPS_PROXY"):
                variables[name] = variables[name.lower()] = self.proxy
        return variables


def create(
    plan: Plan,
    log: Log,
    is_cancelled: IsCancelled = lambda: False,
    tell_step: Step = lambda done, total, title: None,
) -> Path:
    """Make an environment with the engine in it.

    What is left of an earlier attempt is removed first; what is left of this one stays for the
    log's sake, until the next attempt or `remove`.

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
    Path
        The engine's interpreter.

    Raises
    ------
    SetupError
    """
    _check(plan)
    if is_ours(plan.folder):
        log("== Removing the environment that is there")
        remove(plan.folder)
    plan.folder.mkdir(parents=True)
    _write_note(plan.folder, plan.version, complete=False)
    steps = list(plan.steps())
    for done, (title, command) in enumerate(steps):
        tell_step(done, len(steps) + 1, title)
        log(f"== {title}")
        _run_step(title, command, plan, log, is_cancelled)
    tell_step(len(steps), len(steps) + 1, "Checking the engine")
    report = check(str(interpreter_of(plan.folder)), is_cancelled)
    log(report.text())
    _write_note(plan.folder, plan.version, complete=True)
    return interpreter_of(plan.folder)


def _check(plan: Plan) -> None:
    python = ask(plan.python)
    if python is None:
        raise SetupError(f"{plan.python} is no Python that can be started: choose another")
    if python.problem:
        raise SetupError(python.problem)
    if plan.wheels is not None and not list(plan.wheels.glob("alps_geo-*.whl")):
        raise SetupError(f"{plan.wheels} holds no wheel of alps-geo (alps_geo-….whl)")
    if plan.folder.exists() and any(plan.folder.iterdir()) and not is_ours(plan.folder):
        raise SetupError(f"{plan.folder} holds something else: choose an empty or a new folder")
    existing = next(place for place in (plan.folder, *plan.folder.parents) if place.exists())
    needed, free = SIZES_GB[plan.device], shutil.disk_usage(existing).free / 1e9
    if plan.wheels is None and free < needed:
        raise SetupError(f"{needed} GB are needed in {existing}, {free:.1f} GB are free")


def _run_step(
    title: str, command: Sequence[str], plan: Plan, log: Log, is_cancelled: IsCancelled
) -> None:
    try:
        code = run_lines(command, plan.environment(), log, is_cancelled)
    except OSError as error:
        raise SetupError(f"{title}: {command[0]} cannot be started: {error}") from error
    if code is None:
        raise SetupCancelled("Stopped.")
    if code != 0:
        raise SetupError(f"{title} failed (exit code {code}); the log says why. Then try again.")


def _write_note(folder: Path, version: str, *, complete: bool) -> None:
    note = {"made_by": "alps-geo", "version": version, "complete": complete}
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
            f"{folder} cannot be removed: {error}; close runs and try again"
        ) from error
    return True


def size_gb(folder: Path) -> float:
    """Return what an environment takes on disk, in GB."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e9


@dataclass(frozen=True)
class Report:
    """What an engine says of itself.

    Attributes
    ----------
    python, version, torch, gdal : str
        Versions; `version` is the engine's own.
    device : str
        Where SAM would run.
    models : tuple of str
        Installed weights.
    models_folder : str
    """

    python: str
    version: str
    torch: str
    gdal: str
    device: str
    models: tuple[str, ...]
    models_folder: str

    def text(self) -> str:
        """Return it for people."""
        models = ", ".join(self.models) or "none: the built-in model is used"
        return (
            f"alps-geo {self.version}, Python {self.python}, PyTorch {self.torch},"
            f" GDAL {self.gdal}\nDevice: {self.device}\n"
            f"Installed mask models: {models} ({self.models_folder})"
        )


def check(interpreter: str, is_cancelled: IsCancelled = lambda: False) -> Report:
    """Ask an engine for its versions, device and models.

    Raises
    ------
    SetupError
        If it is none, or lacks something.
    """
    lines: list[str] = []
    command = [interpreter, "-I", "-X", "utf8", "-c", _PROBE]
    try:
        code = run_lines(command, clean_environment(), lines.append, is_cancelled)
    except OSError as error:
        raise SetupError(f"{interpreter} cannot be started: {error}") from error
    if code is None:
        raise SetupCancelled("Stopped.")
    try:
        facts = json.loads(lines[-1]) if code == 0 else {}
        return Report(**{**facts, "models": tuple(facts["models"])})
    except (ValueError, KeyError, IndexError, TypeError) as error:
        reason = lines[-1] if lines else f"exit code {code}"
        raise SetupError(f"{interpreter} has no working alps-geo: {reason}") from error
