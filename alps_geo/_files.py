"""Files written whole or not at all: under another name first, then moved into place; digests."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError

# Windows refuses while a virus scanner or an indexer reads what was just written: seconds in all.
_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
# Bytes that are hashed at once.
_BLOCK = 1 << 20


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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and move what was written there to `path`.

    Nothing is left behind if the block raises: `path` is complete, or as it was.

    Raises
    ------
    OutputError
        If the system does not let the file be written.
    """
    # A name of its own, because a worker that was given up may still write the same tile. The
    # suffix stays last, because GDAL tells formats by it.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        move_into_place(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
