"""Compiles functions with numba, and keeps what was compiled where the system lets it.

numba keeps compiled code beside the package, or in the user's cache. In a container, on a cluster
or in another user's installation it may have neither: then it compiles anew in every process,
which takes seconds and is no reason not to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])
# How numba says that it has no folder to write to; it has no error of its own for that.
_NO_PLACE = "no locator available"
_UNCACHED: list[str] = []


def compiled(
    function: Function,
    error_model: Literal["python", "numpy"] = "python",
    fastmath: bool | set[str] = False,
) -> Function:
    """Compile a function with numba; once per machine and version of its file, where possible.

    Parameters
    ----------
    function : callable
    error_model : {'python', 'numpy'}
    fastmath : bool or set of str
        Both as `numba.njit` has them.

    Returns
    -------
    callable
    """
    try:
        made: Any = njit(cache=True, nogil=True, error_model=error_model, fastmath=fastmath)(
            function
        )
    except RuntimeError as error:
        if _NO_PLACE not in str(error):
            raise
        _UNCACHED.append(function.__name__)
        again = njit(nogil=True, error_model=error_model, fastmath=fastmath)
        return cast(Function, again(function))
    _bear_with_full_disks(made._cache, function.__name__)
    return cast(Function, made)


def cache_note() -> str:
    """Return what to tell people of a cache that cannot be written; empty where it can."""
    if not _UNCACHED:
        return ""
    return (
        "compiled code cannot be kept, because neither the folder of alps-geo nor the user's cache"
        " can be written: every process compiles it anew, for some seconds; name a folder that can"
        " by the variable NUMBA_CACHE_DIR to have it kept"
    )


class Cache(Protocol):
    """Where numba keeps the code of a function."""

    save_overload: Callable[[object, object], None]


def _bear_with_full_disks(cache: Cache, name: str) -> None:
    """Go on without keeping code that cannot be written: a quota or a disk may be full."""
    save = cache.save_overload

    def save_or_go_on(signature: object, data: object) -> None:
        try:
            save(signature, data)
        except OSError:
            _UNCACHED.append(name)

    cache.save_overload = save_or_go_on
