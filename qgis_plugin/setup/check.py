"""Asks an engine for its versions, and compares them with the plugin's; standard library only."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ..environment import clean_environment
from ..protocol import PROTOCOL, version_key
from .processes import IsCancelled, Log, run_lines

# Also says what is wrong with an environment that has only half of what it needs.
_PROBE = """
import json, platform
facts = {"python": platform.python_version()}
import alps_geo
facts["version"] = alps_geo.__version__
from alps_geo.cli.progress import PROTOCOL
facts["protocol"] = PROTOCOL
from alps_geo.models import weights
facts["models"] = [item.name for item in weights.installed(weights.MASKS)]
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
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")


class SetupError(Exception):
    """What went wrong, and what to do; the log has the rest."""


class SetupCancelled(SetupError):
    """The user stopped it."""


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
    protocol : int
        How it speaks to the plugin.
    """

    python: str
    version: str
    torch: str
    gdal: str
    device: str
    models: tuple[str, ...]
    models_folder: str
    protocol: int = PROTOCOL

    def text(self) -> str:
        """Return it for people."""
        models = ", ".join(self.models) or "none: the built-in model is used"
        return (
            f"alps-geo {self.version}, Python {self.python}, PyTorch {self.torch},"
            f" GDAL {self.gdal}\nDevice: {self.device}\n"
            f"Installed mask models: {models} ({self.models_folder})"
        )

    def problem(self, plugin: str) -> str:
        """Return why a plugin cannot work with this engine, and what to do; empty where it can.

        Parameters
        ----------
        plugin : str
            The plugin's version.
        """
        if version_key(self.version) < version_key(plugin):
            return (
                f"This engine, alps-geo {self.version}, is older than the plugin, {plugin}: press"
                " Create for a new environment, or update alps-geo in this one"
            )
        if self.protocol != PROTOCOL:
            return (
                f"This engine, alps-geo {self.version}, speaks another language than the plugin,"
                f" {plugin}: update the older of the two"
            )
        return ""

    def compare(self, plugin: str) -> str:
        """Return how an engine that will do compares with the plugin, for people."""
        if version_key(self.version) > version_key(plugin):
            return (
                f"The engine is newer than the plugin ({plugin}). They work together; for the"
                " engine's new settings update the plugin in the plugin manager."
            )
        return f"Engine and plugin are of the same version ({plugin})."


def check(
    interpreter: str,
    is_cancelled: IsCancelled = lambda: False,
    log: Log = lambda line: None,
) -> Report:
    """Ask an engine for its versions, device and models.

    Parameters
    ----------
    interpreter : str
    is_cancelled : callable
    log : callable
        Takes what it writes where something is wrong with it.

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
        raise SetupError(f"{interpreter} cannot be started: {error.strerror or error}") from error
    if code is None:
        raise SetupCancelled("Stopped.")
    try:
        facts = json.loads(lines[-1]) if code == 0 else {}
        return Report(**{**facts, "models": tuple(facts["models"])})
    except (ValueError, KeyError, IndexError, TypeError) as error:
        for line in lines:
            log(line)
        raise SetupError(_why_not(interpreter, lines, code)) from error


def check_fit(
    interpreter: str,
    plugin: str,
    is_cancelled: IsCancelled = lambda: False,
    log: Log = lambda line: None,
) -> Report:
    """Ask an engine the same, and refuse one that the plugin cannot work with.

    Parameters
    ----------
    interpreter : str
    plugin : str
        The plugin's version.
    is_cancelled, log : callable

    Raises
    ------
    SetupError
        If it is none, lacks something, or does not fit the plugin.
    """
    report = check(interpreter, is_cancelled, log)
    problem = report.problem(plugin)
    if problem:
        raise SetupError(problem)
    return report


def _why_not(interpreter: str, lines: list[str], code: int) -> str:
    missing = _NO_MODULE.search(lines[-1]) if lines else None
    if missing and missing[1].split(".")[0] == "alps_geo":
        part = "" if missing[1] == "alps_geo" else " that fits this plugin"
        return (
            f"{interpreter} has no alps-geo{part}: choose the Python of an environment that has,"
            " or press Create"
        )
    if missing:
        return (
            f"alps-geo in {interpreter} lacks the package {missing[1]}: install alps-geo there"
            " once more, or press Create for a new environment"
        )
    reason = lines[-1] if lines else f"it ended with exit code {code}"
    return (
        f"{interpreter} has no working alps-geo: choose another, or press Create for a new"
        f" environment ({reason})"
    )
