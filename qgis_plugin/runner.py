"""Runs the engine as a child process; standard library only.

The engine speaks as `protocol` has it on stdout, writes its logs to stderr, and stops on a line
`cancel` on stdin. Everything for the user reaches a `Listener` from the thread that called `run`,
ten times a second at most, however much the engine writes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from .environment import clean_environment, quiet_start, working_folder
from .errors import SET_UP_HINT, EngineMissing
from .protocol import LONGEST_TEXT, Batch, Line, Listener, State, conclude

#: Cancelled runs get this long to end by themselves, and as long again after they are told to.
GRACE_S, TERMINATE_S = 1.5, 0.7
_TICK_S = 0.1
_LONGEST_EVENT = 1 << 20
# Lines that wait for the calling thread; beyond it, the engine has to wait.
_QUEUE_LINES = 5_000
# Ticks without a line after which an ended process has nothing more to say.
_SILENT_TICKS = 10


def run(
    command: Sequence[str],
    listener: Listener,
    *,
    minimum: str = "0",
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run the engine to its end and return its result.

    Parameters
    ----------
    command : sequence of str
        Interpreter, module and arguments; paths must be absolute.
    listener : Listener
        Called from this thread only.
    minimum : str
        The oldest version of the engine that will do, such as `0.1.0`.
    environment : mapping of str to str, optional
        Variables for the engine; by default this process's, without QGIS's own.

    Returns
    -------
    dict
        The fields of the event `result`.

    Raises
    ------
    EngineError
        One of its kinds, with a message for the user.
    """
    process = _start(command, environment)
    lines = _Lines(process)
    state = State()
    try:
        _follow(process, lines, listener, state, minimum)
    finally:
        lines.closed.set()
        _end(process)
    return conclude(process.returncode, state)


def _start(command: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[str]:
    try:
        # The argument list is ours and no shell sees it.
        return subprocess.Popen(  # nosec B603
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            env=clean_environment() if environment is None else dict(environment),
            cwd=working_folder(),
            **quiet_start(),
        )
    except OSError as error:
        raise EngineMissing(
            f"The engine cannot be started: {command[0]}: {error.strerror or error}. {SET_UP_HINT}"
        ) from error


class _Lines:
    """The lines of both streams of a process, read by a thread each.

    Attributes
    ----------
    closed : threading.Event
        Set it when nobody will take lines any more.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.closed = threading.Event()
        self._queue: queue.Queue[Line] = queue.Queue(_QUEUE_LINES)
        for name, stream in (("out", process.stdout), ("err", process.stderr)):
            if stream is not None:
                reader = threading.Thread(target=self._read, args=(name, stream), daemon=True)
                reader.start()

    def _read(self, name: str, stream: IO[str]) -> None:
        # The reader closes the stream: closing it elsewhere waits for a line that may never come.
        with stream:
            while line := stream.readline(_LONGEST_EVENT):
                text = line.rstrip("\r\n")
                if not text.startswith("{"):
                    text = text[:LONGEST_TEXT]
                if not self._put((name, text)):
                    return
        self._put((name, None))

    def _put(self, item: Line) -> bool:
        while not self.closed.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=_TICK_S)
                return True
        return False

    def of_one_tick(self) -> list[Line]:
        """Return what came within a tick, as (stream, line); None is the end of a stream."""
        end, batch = time.monotonic() + _TICK_S, []
        while (left := end - time.monotonic()) > 0:
            try:
                batch.append(self._queue.get(timeout=left))
            except queue.Empty:
                break
        return batch


def _follow(
    process: subprocess.Popen[str],
    lines: _Lines,
    listener: Listener,
    state: State,
    minimum: str,
) -> None:
    """Pass on what the engine says until both streams end or it has to be ended."""
    open_streams = {"out", "err"}
    stopping: _Stopping | None = None
    silent = 0
    while open_streams:
        batch = lines.of_one_tick()
        open_streams.difference_update(name for name, line in batch if line is None)
        Batch(state, minimum).deliver(batch, listener)
        if stopping is None and listener.is_cancelled():
            stopping, state.stopped = _Stopping(process), True
        if stopping is not None and stopping.is_over():
            return
        # A grandchild may hold the streams open; nobody waits for it.
        silent = 0 if batch or process.poll() is None else silent + 1
        if silent > _SILENT_TICKS:
            return


class _Stopping:
    """Ends the engine in steps: a line on stdin, then a signal, then by force."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._since, self._step = process, time.monotonic(), 0
        # A process that has just ended has no stdin any more.
        with contextlib.suppress(OSError, ValueError):
            if process.stdin is not None:
                process.stdin.write("cancel\n")
                process.stdin.flush()

    def is_over(self) -> bool:
        """Take the next step when it is time; return True once force was used."""
        waited = time.monotonic() - self._since
        if self._step == 0 and waited > GRACE_S:
            self._step = 1
            self._process.terminate()
        if waited > GRACE_S + TERMINATE_S:
            _kill(self._process)
            return True
        return False


def _kill(process: subprocess.Popen[str]) -> None:
    """End the engine and its workers at once; its files are whole at any instant."""
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[str]) -> None:
    """Leave no process and no open pipe behind, whatever happened."""
    with contextlib.suppress(OSError, ValueError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(timeout=TERMINATE_S)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
