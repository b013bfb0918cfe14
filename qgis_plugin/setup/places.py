"""Where the environments that the plugin makes lie; standard library only.

Outside the plugin and the profile, so that an update of the plugin leaves them as they are. Each
new one gets a folder of its own beside the others: environments cannot be moved, and the one in
use stays until the new one works.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Names the folder of the environments; for tests, and for disks with more room.
FOLDER_VARIABLE = "ALPS_GEO_ENVIRONMENTS"


def base_folder() -> Path:
    """Return the folder of the environments; it need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "alps-geo"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "alps-geo"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "alps-geo"


def new_folder(version: str) -> Path:
    """Return a folder for one more environment, such as `engine-0.1.0`; it does not exist yet."""
    base, name, number = base_folder(), f"engine-{version}", 1
    folder = base / name
    while os.path.lexists(folder):
        number += 1
        folder = base / f"{name}-{number}"
    return folder


def interpreter_of(folder: Path) -> Path:
    """Return the path of an environment's Python."""
    if sys.platform == "win32":
        return folder / "Scripts" / "python.exe"
    return folder / "bin" / "python"


def environment_of(interpreter: str) -> Path:
    """Return the folder of the environment that a Python would belong to."""
    return Path(interpreter).parent.parent
