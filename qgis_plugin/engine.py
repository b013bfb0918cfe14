"""Which engine the plugin uses: found in a variable, in the settings, or made by the plugin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qgis.core import QgsSettings

from .environment import ENGINE_VARIABLE, clean_environment
from .errors import SET_UP_HINT, EngineMissing
from .setup.environments import is_complete
from .setup.places import interpreter_of, managed_folder
from .setup.proxy import proxy_address

#: Key of the interpreter's path in the settings of QGIS.
SETTING = "alps_geo/engine"


def interpreter() -> str:
    """Return the path of the engine's Python: from `ALPS_GEO_ENGINE`, the settings, or our own.

    Returns
    -------
    str
        Empty where there is none; the file need not exist.
    """
    chosen = os.environ.get(ENGINE_VARIABLE) or QgsSettings().value(SETTING, "", type=str)
    if chosen:
        return str(chosen)
    folder = managed_folder()
    return str(interpreter_of(folder)) if is_complete(folder) else ""


def choose(path: str) -> None:
    """Keep the path of the engine's Python in the settings; an empty one forgets it."""
    QgsSettings().setValue(SETTING, path)


def problem() -> str:
    """Return why no engine can be started, with the remedy; empty where one can."""
    path = interpreter()
    if not path:
        return (
            "ALPS needs its engine, the Python package alps-geo in an environment of its own."
            f" {SET_UP_HINT}"
        )
    if not Path(path).is_file():
        return f"The engine's Python is not there: {path}. {SET_UP_HINT}"
    if not os.access(path, os.X_OK):
        return f"The engine's Python cannot be started: {path}. {SET_UP_HINT}"
    return ""


def command(arguments: Sequence[str]) -> list[str]:
    """Return the whole command line of the engine.

    Parameters
    ----------
    arguments : sequence of str
        Of `alps-geo`, such as `label` and what follows.

    Raises
    ------
    EngineMissing
        If there is nothing to start.
    """
    found = problem()
    if found:
        raise EngineMissing(found)
    # -I: nothing from the working folder, the user's site or PYTHON* variables gets in.
    return [interpreter(), "-I", "-X", "utf8", "-u", "-m", "alps_geo.cli", *arguments]


def environment() -> dict[str, str]:
    """Return the variables of the engine: without QGIS's own, with the proxy of its settings."""
    variables, proxy = clean_environment(), proxy_address()
    if proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            # What the user set by hand is more particular.
            variables.setdefault(name, proxy)
    return variables
