"""stdout and stderr that never end a run: closed, without a reader, or of a narrow encoding."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from typing import IO, Any, TextIO

#: What writing to a pipe or a terminal that nobody reads any more gives; Windows says EINVAL.
_GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.EINVAL})


class LenientFile(io.RawIOBase):
    """Writes to a descriptor for as long as somebody reads there, and then to nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gone = False

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return False: terminals stay as they are."""
        return False

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        """Write bytes; all of them count as written once nobody reads any more."""
        if not self._gone:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._gone = True
        return len(data)


def silence_libraries() -> None:
    """Keep what libraries warn their callers of from stderr: what counts, we say ourselves."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        # For the workers as well.
        os.environ.setdefault("PYTHONWARNINGS", "ignore")


def steady_streams() -> None:
    """Make stdout and stderr such that no text, and no reader that leaves, ends the command."""
    # A file of ours would get the free number, and what libraries print would end up in it.
    for descriptor in (0, 1, 2):
        if not _is_open(descriptor):
            _open_nothing(descriptor)
    sys.stdout = _steady(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _steady(sys.stderr, sys.__stderr__, 2)


def _steady(stream: TextIO | None, own: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:
        return _lenient(descriptor, "utf-8")
    if isinstance(stream, io.TextIOWrapper):
        # A name that the code page lacks is shown with escapes.
        stream.reconfigure(errors="backslashreplace")
    if stream is not own or not _leads_to(stream, descriptor) or stream.isatty():
        return stream  # a test's, a notebook's, or a terminal's
    stream.flush()
    return _lenient(descriptor, stream.encoding)


def _lenient(descriptor: int, encoding: str) -> TextIO:
    buffer: IO[bytes] = io.BufferedWriter(LenientFile(descriptor))
    return io.TextIOWrapper(
        buffer, encoding, "backslashreplace", line_buffering=descriptor == 2, write_through=False
    )


def _leads_to(stream: TextIO, descriptor: int) -> bool:
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError):
        return False


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _open_nothing(descriptor: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(descriptor, True)
