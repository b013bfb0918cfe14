"""Run a command as a child process and measure what it takes (Linux and macOS)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What a finished child process took.

    Attributes
    ----------
    wall_s, cpu_s : float
        Seconds on the clock, and of all processors together.
    peak_mb : float
        Peak resident memory in MB (10^6 bytes) of the largest process among it and its children.
    returncode : int
    output : str
        Stdout and stderr together.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    returncode: int
    output: str

    def __add__(self, other: Usage) -> Usage:
        """Return what both took, one after the other."""
        return Usage(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_mb, other.peak_mb),
            self.returncode or other.returncode,
            self.output + other.output,
        )


def run_measured(
    command: Sequence[str | Path], log: Path, env: dict[str, str] | None = None
) -> Usage:
    """Run a command to its end; its output goes to a file, so that no pipe can fill up.

    Parameters
    ----------
    command : sequence of str or path
    log : Path
    env : dict, optional
        Variables to add to the environment.
    """
    start = time.perf_counter()
    with log.open("wb") as file:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        # Not RUSAGE_CHILDREN, whose peak is that of all children so far.
        _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(
        wall_s,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * unit / 1e6,
        child.returncode,
        log.read_text(errors="replace"),
    )
