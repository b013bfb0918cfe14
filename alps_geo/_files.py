"""Files written whole or not at all: under another name first, then moved into place; digests."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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

    Nothing is left behind if the block raises: `path` is complete, or as it was. Inside a block
    of `together`, files take their places when that says so.

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
        waiting = _waiting.get()
        if waiting is None:
            move_into_place(temporary, path)
        else:
            waiting.add(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _refusal(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class Waiting:
    """Files that are written, and wait to take their places; made by `together`."""

    def __init__(self) -> None:
        self._moves: list[tuple[Path, Path]] = []

    def add(self, temporary: Path, path: Path) -> None:
        """Let a file wait."""
        self._moves.append((temporary, path))

    def place(self) -> None:
        """Move all files to their places, in the order in which they were written.

        Raises
        ------
        OutputError
            If the system does not let one be moved; those after it still wait.
        """
        while self._moves:
            temporary, path = self._moves[0]
            try:
                move_into_place(temporary, path)
            except OSError as error:
                raise _refusal(path, error) from error
            del self._moves[0]

    def discard(self) -> None:
        """Remove those that still wait."""
        for temporary, _ in self._moves:
            temporary.unlink(missing_ok=True)
        self._moves.clear()


_waiting: ContextVar[Waiting | None] = ContextVar("waiting", default=None)


@contextmanager
def together() -> Iterator[Waiting]:
    """Let all files that are written in the block wait, so that they take their places together.

    Where the block raises, they are removed.

    Yields
    ------
    Waiting
        To be told, after the block, to place or discard them.
    """
    waiting = Waiting()
    token = _waiting.set(waiting)
    try:
        yield waiting
    except BaseException:
        waiting.discard()
        raise
    finally:
        _waiting.reset(token)


def _refusal(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
