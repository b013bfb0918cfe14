"""Memory that was freed: kept for what comes next, or handed back to the system.

Only glibc, Linux's usual allocator, lets a program decide; elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import platform

import pyarrow

#: Names of glibc's `mallopt`, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Keep what is freed from now on for the next of its size.

    SAM's decoder frees and takes the same few megabytes for every prompt; handing them back to
    the system each time costs a tenth of its time in page faults.
    """
    _call_allocator("mallopt", _M_MMAP_THRESHOLD, 32 << 20)
    _call_allocator("mallopt", _M_TRIM_THRESHOLD, 1 << 30)


def return_freed_memory() -> None:
    """Hand back what is free, in the middle of the heap too.

    What is freed lies between what stays, so that the system would not get it back: over a large
    scene, holes that are filled once and never again would add up.
    """
    _call_allocator("malloc_trim", 0)


def share_allocator() -> None:
    """Let Arrow take memory where all else takes it, in this process from now on.

    An allocator of its own keeps what was freed, some 80 MB after reading a thousand tiles, where
    `return_freed_memory` cannot reach it.
    """
    if platform.libc_ver()[0] == "glibc":
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())


def _call_allocator(name: str, *values: int) -> None:
    if platform.system() == "Linux":
        function = getattr(ctypes.CDLL(None), name, None)
        if function is not None:
            function(*values)
