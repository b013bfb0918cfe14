"""Freed memory goes back to the system when asked."""

import platform
import resource
from pathlib import Path

import pyarrow
import pytest

from alps_geo._memory import return_freed_memory, share_allocator


def resident_bytes() -> int:
    """Return how much memory of this process is in use, by the kernel's own count."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc")
def test_what_was_freed_between_what_stays_is_handed_back():
    # Too small to be mapped one by one: the heap's end is in use, so that it cannot shrink.
    pieces = [b"x" * 60_000 for _ in range(2000)]
    kept = pieces[9::10]
    del pieces
    before = resident_bytes()
    return_freed_memory()
    assert resident_bytes() < before - 50_000_000
    assert len(kept) == 200


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc")
def test_arrow_takes_memory_where_it_can_be_handed_back():
    share_allocator()
    assert pyarrow.default_memory_pool().backend_name == "system"
