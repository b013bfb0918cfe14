"""The engine's surroundings: an environment free of QGIS's own variables; standard library only.

QGIS sets variables for its own Python, GDAL and PROJ. In the engine they do harm: a foreign
PYTHONHOME ends it at once, a foreign PROJ_DATA makes it read scenes without a CRS, silently.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Names the interpreter of the engine, and wins over the plugin's setting.
ENGINE_VARIABLE = "ALPS_GEO_ENGINE"
_NAMES = frozenset(
    {
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONEXECUTABLE",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "__PYVENV_LAUNCHER__",
        "VIRTUAL_ENV",
        "PROJ_LIB",
        "PROJ_DATA",
        "GDAL_DATA",
        "GDAL_DRIVER_PATH",
        "GDAL_PAM_PROXY_DIR",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "QT_PLUGIN_PATH",
        "QT_QPA_PLATFORM_PLUGIN_PATH",
        "QGIS_PREFIX_PATH",
        "QGIS_PLUGINPATH",
    }
)
_PREFIXES = ("DYLD_",)
# Certificates are the user's business unless they lie inside QGIS.
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def clean_environment(
    base: Mapping[str, str] | None = None, prefixes: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return environment variables for the engine.

    Parameters
    ----------
    base : mapping of str to str, optional
        The variables to start from; those of this process if not given.
    prefixes : tuple of str
        Folders that belong to QGIS; certificates that lie in them are not passed on.

    Returns
    -------
    dict of str to str
    """
    owned = prefixes or (sys.prefix,)
    clean = {}
    for name, value in (os.environ if base is None else base).items():
        if name.upper() in _NAMES or name.startswith(_PREFIXES):
            continue
        # `/usr` is the prefix on Linux, where the system's certificates lie as well.
        if name in _CERTIFICATES and _inside(value, owned) and not sys.platform.startswith("linux"):
            continue
        clean[name] = value
    return {**clean, "PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1"}


def _inside(path: str, folders: tuple[str, ...]) -> bool:
    resolved = Path(path).resolve()
    return any(Path(folder).resolve() in resolved.parents for folder in folders)


def quiet_start() -> dict[str, Any]:
    """Return keywords of `subprocess.Popen` that hide a console and make a group of its own."""
    if sys.platform == "win32":
        # CREATE_NO_WINDOW, which is in `subprocess` on Windows only.
        return {"creationflags": 0x08000000}
    return {"start_new_session": True}


def working_folder() -> str:
    """Return the folder that the engine works in: this process's own, so that both mean the same.

    Names that GDAL reads may have a relative path inside, such as `/vsizip/a.zip/scene.tif`. The
    engine is started with -I and imports nothing from there.
    """
    try:
        return os.getcwd()  # noqa: PTH109 - as QGIS has it
    except OSError:
        return neutral_folder()  # it has been deleted


def neutral_folder() -> str:
    """Return a working folder from which Python imports nothing by accident."""
    return str(Path.home()) if Path.home().is_dir() else os.sep
