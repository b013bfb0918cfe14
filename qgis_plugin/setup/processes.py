"""Runs a program to its end, line by line, and stops it on demand; standard library only."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from ..environment import neutral_folder, quiet_start

_TICK_S = 0.1
Log = Callable[[str], None]
IsCancelled = Callable[[], bool]


def run_lines(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Log,
    is_cancelled: IsCancelled = lambda: False,
) -> int | None:
    """Run a program and pass on what it writes.

    Parameters
    ----------
    command : sequence of str
    environment : mapping of str to str
    log : callable
        Takes a line of stdout or stderr; called from this thread.
    is_cancelled : callable
        Asked ten times a second.

    Returns
    -------
    int or None
        The exit code; None if the program was stopped.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    # The argument list is ours and no shell sees it.
    process = subprocess.Popen(  # nosec B603
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=dict(environment),
        cwd=neutral_folder(),
        **quiet_start(),
    )
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    while True:
        if is_cancelled():
            _kill(process)
            process.wait()
            return None
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=_TICK_S)
            if line is None:
                return process.wait()
            log(line)


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    if process.stdout is not None:
        with process.stdout as stream:
            for line in stream:
                lines.put(line.rstrip())
    lines.put(None)


def _kill(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
