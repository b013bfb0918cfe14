"""How files of results are written: whole or not at all, and what goes wrong is one line."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyogrio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from .._files import replacing
from ..errors import OutputError

# What rasterio and pyogrio raise when GDAL cannot write.
_GDAL_ERRORS = (
    RasterioError,
    CPLE_BaseError,
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.GeometryError,
)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what libraries raise when a file cannot be written into one line with the remedy.

    Raises
    ------
    OutputError
    """
    remedy = (
        "the folder must be there, be writable and have room, and no program have the file open"
    )
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}; {remedy}") from error
    except (OSError, sqlite3.Error, *_GDAL_ERRORS) as error:
        reason = " ".join(str(error).split())
        raise OutputError(f"cannot write {path}: {reason}; {remedy}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, with the same line ends everywhere."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def set_aside(path: Path, copy_to: Callable[[Path], object] | None = None) -> Path:
    """Keep a copy of a file that is about to be replaced.

    Parameters
    ----------
    path : Path
    copy_to : callable, optional
        Makes a copy at the path it is given; the file's bytes are copied unless it is.

    Returns
    -------
    Path
        The copy: `labels.kept-1.gpkg` for `labels.gpkg`, or the next number that is free.
    """
    number = 1
    while (copy := path.with_name(f"{path.stem}.kept-{number}{path.suffix}")).exists():
        number += 1
    with explaining(copy), replacing(copy) as temporary:
        if copy_to is None:
            shutil.copyfile(path, temporary)
        else:
            copy_to(temporary)
    return copy
