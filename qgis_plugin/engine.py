"""Which engine the plugin uses: found in a variable, in the settings, or made by the plugin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qgis.core import QgsSettings

from .environment import ENGINE_VARIABLE, clean_environment
from .errors import SET_UP_HINT, EngineMissing
from .setup.environments import made_in
from .setup.places import base_folder, interpreter_of
from .setup.stored_proxy import stored_proxy

#: Key of the interpreter's path in the settings of QGIS.
SETTING = "alps_geo/engine"


def override() -> str:
    """Return the interpreter that `ALPS_GEO_ENGINE` names; empty where it names none."""
    return os.environ.get(ENGINE_VARIABLE, "")


def chosen() -> str:
    """Return the interpreter from the settings, or the newest that the plugin made.

    Returns
    -------
    str
        Empty where there is none; the file need not exist.
    """
    kept = str(QgsSettings().value(SETTING, "", type=str) or "")
    # Another profile may have replaced the environment that both used.
    lost = kept and not Path(kept).is_file() and base_folder() in Path(kept).parents
    if kept and not lost:
        return kept
    complete = [item.folder for item in made_in(base_folder()) if item.complete]
    return str(interpreter_of(complete[0])) if complete else kept


def interpreter() -> str:
    """Return the path of the engine's Python: from `ALPS_GEO_ENGINE`, the settings, or our own.

    Returns
    -------
    str
        Empty where there is none; the file need not exist.
    """
    return override() or chosen()


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
    remedy = SET_UP_HINT
    if override():
        remedy = (
            f"The variable {ENGINE_VARIABLE} names it: correct or remove the variable, and start"
            " QGIS again."
        )
    if not Path(path).is_file():
        return f"The engine's Python is not there: {path}. {remedy}"
    if not os.access(path, os.X_OK):
        return f"The engine's Python cannot be started: {path}. {remedy}"
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
    return stored_proxy().added_to(clean_environment())
