"""Moves a finished file to its place; the one way in which files here take another's name."""

from __future__ import annotations

import sys
import time
from pathlib import Path

# Windows refuses while a virus scanner or an indexer reads what was just written: seconds in all.
_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def move_into_place(source: Path, target: str | Path) -> None:
    """Give a file another name in the same folder, in place of what has that name.

    Parameters
    ----------
    source : Path
    target : str or Path

    Raises
    ------
    OSError
        If the system does not let it; on Windows only after some tries.
    """
    for wait_s in _WAITS_S if sys.platform == "win32" else ():
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(wait_s)
        else:
            return
    source.replace(target)
