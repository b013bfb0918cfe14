"""How a user or a parent process stops a command: signals, and a line or the end of stdin."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import stat
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE = b"\nStopping at the next step. Press Ctrl-C again to stop at once.\n"
SHOW_CURSOR = b"\x1b[?25h"


class StopRequest:
    """Whether somebody asked to stop; as a context, it listens to SIGINT and SIGTERM.

    The first signal sets `asked`, and the command stops at its next step. The second ends the
    process at once, which is safe at any instant: results get their names when they are whole.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._process = os.getpid()
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.asked.is_set():
            return  # the process is about to end: a second signal must still find us
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() returned

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            self._in_worker(number)
        elif self.asked.is_set():
            stop_at_once()
        else:
            self.asked.set()
            # Not through sys.stderr: the signal may have come while that was being written.
            with contextlib.suppress(OSError):  # nobody may read there
                os.write(2, NOTICE)

    def _in_worker(self, number: int) -> None:
        """Behave in a forked worker: the parent decides on Ctrl-C, and may end the worker."""
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def watch_stdin(self) -> None:
        """Let a line `cancel`, or the end of a pipe, ask to stop; returns at once."""
        threading.Thread(target=self._read_stdin, name="stdin", daemon=True).start()

    def _read_stdin(self) -> None:
        # os.read, not sys.stdin: a thread inside sys.stdin holds its lock when Python ends.
        line = b""
        try:
            # The end of /dev/null or of a terminal says nothing about a parent process.
            has_parent = _is_pipe(0)
            while chunk := os.read(0, 4096):
                *lines, line = (line + chunk).split(b"\n")
                if any(item.strip() == b"cancel" for item in lines):
                    self.asked.set()
        except OSError:
            return  # no stdin at all
        if has_parent:
            self.asked.set()


def _is_pipe(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def stop_at_once() -> None:
    """End this process and its workers without cleaning up, exit code 130."""
    for worker in multiprocessing.active_children():
        worker.kill()
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    os._exit(130)
