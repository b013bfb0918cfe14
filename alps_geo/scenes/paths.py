"""Where a scene lies: a file of this machine, a part of a file, or an address."""

from __future__ import annotations

import os
import re
import shlex
import subprocess  # nosec B404 - quotes, starts nothing
import sys
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from urllib.parse import quote

from .._redaction import redact
from ..errors import SceneError

# Files of the run folder, where scenes have folders; and names that Windows keeps for devices.
_TAKEN = re.compile(
    r".*\.(json|parquet)|results-outdated|(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE
)


def shown_name(path: str) -> str:
    """Return a path as messages show it: an address without its user, password and query."""
    address = path.find("://")
    if address >= 0 and "{" not in path:
        # All that follows is the query, with what spaces and quotes it has.
        path = path[:address] + path[address:].split("?")[0]
    return redact(path)


def is_text(path: str) -> bool:
    """Tell whether a name is text, not bytes that the system's encoding has no letters for."""
    return not any("\ud800" <= letter <= "\udfff" for letter in path)


def quoted(path: str | Path) -> str:
    """Return a path as a command line has it, for remedies and hints that are to be copied."""
    return join_command([str(path)])


def join_command(parts: Sequence[str]) -> str:
    """Return a command line that the shell of this system takes apart into these parts again."""
    return subprocess.list2cmdline(parts) if sys.platform == "win32" else shlex.join(parts)


def is_local(path: str) -> bool:
    """Tell whether a path is a file of this machine, not an address or a part of another file."""
    # Two letters or more before the colon: C: is a drive.
    return Path(path).exists() or not re.match(r"/vsi|[A-Za-z][A-Za-z0-9+._-]+:", path)


def is_same(one: str, other: str) -> bool:
    """Tell whether two paths lead to the same raster, however they are spelled."""
    if one == other:
        return True
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - a path may be an address
    except (OSError, ValueError):
        return False


def unique_stem(stem: str, taken: Collection[str]) -> str:
    """Return a stem for a scene's files that none of those taken can be mistaken for.

    Some file systems take `Scene` for `scene`, and letters with accents for letters and accents.

    Parameters
    ----------
    stem : str
        Is returned as it is where it can be, and else with a number from 2.
    taken : collection of str
    """
    known = {_folded(other) for other in taken}
    if _TAKEN.fullmatch(stem):
        stem = stem.replace(".", "_")  # what Windows looks at ends at the first dot
    candidate, number = stem, 2
    while _folded(candidate) in known or _TAKEN.fullmatch(candidate):
        candidate, number = f"{stem}_{number}", number + 1
    return candidate


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def check_file(path: str, name: str) -> None:
    """Say of files what GDAL cannot.

    Raises
    ------
    SceneError
        If the file is closed to us, empty, or stands for a file elsewhere. Whether what is no
        file is an address, a part of a file, a folder that is a raster, or nothing: GDAL knows.
    """
    if not is_text(path):
        raise SceneError(f"{name!a}: is no name that GDAL understands; rename the file")
    file = Path(path)
    if not file.is_file():
        return
    if not os.access(file, os.R_OK):
        raise SceneError(f"{name}: must not be read; ask for the permission to read it")
    if file.stat().st_size == 0:
        raise SceneError(f"{name}: is empty (0 bytes); copy or download it again")
    with file.open("rb") as stream:
        if stream.read(24) == b"version https://git-lfs.":
            raise SceneError(
                f"{name}: is a Git LFS pointer, not the raster itself; fetch it with git lfs pull"
            )


def file_stamp(path: str) -> tuple[int, int] | None:
    """Return time and size of a file, which change when it is replaced; None for an address."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a path may be an address, which Path would mangle
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


def sqlite_uri(path: PurePath) -> str:
    """Return the URI under which SQLite opens an absolute path for reading only.

    Parameters
    ----------
    path : PurePath
        On a drive or on a network's share, for which SQLite wants an empty host.
    """
    text = path.as_posix()
    return f"file://{'' if text.startswith('/') else '/'}{quote(text, safe='/:')}?mode=ro"
