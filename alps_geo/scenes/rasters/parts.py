"""Files that hold several rasters: pages, subdatasets, products such as Sentinel-2's.

What they are called is GDAL's business; the user chooses by number, or by a piece of the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ...errors import SceneError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

#: More parts than this are not listed in one message.
_LISTED = 12


@dataclass(frozen=True)
class Part:
    """A raster inside a file.

    Attributes
    ----------
    path : str
        What GDAL opens.
    text : str
        What GDAL says of it.
    """

    path: str
    text: str


def list_parts(dataset: DatasetReader) -> list[Part]:
    """Return the parts that GDAL offers of an open file, in its order."""
    texts = dataset.tags(ns="SUBDATASETS")
    described = {
        texts[key]: texts.get(key.replace("_NAME", "_DESC"), "")
        for key in texts
        if key.endswith("_NAME")
    }
    return [Part(path, described.get(path, "")) for path in dataset.subdatasets]


def choose_part(parts: Sequence[Part], wanted: str, name: str) -> Part:
    """Return the part that a number (from 1), or a piece of name or description, means.

    Raises
    ------
    SceneError
        If it means none or several; the parts are listed.
    """
    if wanted.isdigit():
        found = list(parts[int(wanted) - 1 : int(wanted)]) if int(wanted) else []
    else:
        asked = wanted.casefold()
        exact = [part for part in parts if part.path.casefold() == asked]
        ends = [part for part in parts if re.split(r"[:/]", part.path)[-1].casefold() == asked]
        within = [part for part in parts if asked in f"{part.path} {part.text}".casefold()]
        found = exact or ends or within
    if len(found) == 1:
        return found[0]
    many = "several of its parts" if found else "none of its parts"
    raise SceneError(
        f"{name}: `subdataset` {wanted!r} means {many}; choose one of {listing(parts)}"
    )


def plain_part(
    parts: Sequence[Part], bands: Sequence[int], count: Callable[[str], int], name: str
) -> Part:
    """Return the one part that has the bands asked for; the first of several where none has.

    Parameters
    ----------
    parts : sequence of Part
    bands : sequence of int
        As the user chose them.
    count : callable
        Tells how many bands the raster of a path has.
    name : str
        What messages call the file.

    Raises
    ------
    SceneError
        If it is not plain which part is meant.
    """
    if len(parts) == 1:
        return parts[0]
    fit = [part for part in parts if bands and count(part.path) >= max(bands)]
    if len(fit) == 1:
        return fit[0]
    raise SceneError(
        f"{name}: holds no image of its own, but {len(parts)} parts; choose one with `subdataset`:"
        f" {listing(parts)}"
    )


def listing(parts: Sequence[Part]) -> str:
    """Return the parts with their numbers, in one line."""
    shown = [
        f"{number} ({part.text or part.path})" for number, part in enumerate(parts[:_LISTED], 1)
    ]
    return ", ".join(shown) + (f", ... {len(parts)}" if len(parts) > _LISTED else "")


def is_part(path: str) -> bool:
    """Return whether GDAL opened a part of a file by a name of its own."""
    return not Path(path).exists() and "://" not in path and ":" in path


def part_stem(path: str, files: Sequence[str]) -> str:
    """Return what a part of a file is called: the file's stem, and what tells it from others."""
    inside = max((file for file in files if file in path), key=len, default="")
    if not inside:
        return re.sub(r"[^\w.-]+", "_", path)
    rest = re.sub(r"^[A-Za-z0-9_]+:", "", path).replace(inside, "")
    whole = PurePath(inside)
    # All Sentinel-2 products have a file of one name; the folder above has the product's.
    folder = next((up.name for up in whole.parents if up.suffix.upper() == ".SAFE"), "")
    words = [word for word in re.split(r"[^\w.-]+", rest) if word.strip("_")]
    return "_".join([PurePath(folder).stem or whole.stem, *words])


def product_file(path: str) -> str:
    """Return the file that stands for a product given as a folder; other paths as they are."""
    folder = Path(path)
    if not folder.is_dir():
        return path
    # Of Sentinel-2 and of DIMAP: their metadata are what GDAL opens.
    for pattern in ("MTD_MSI*.xml", "*_MTD_*.xml", "VOL_*.XML", "DIM_*.XML", "DIM_*.xml"):
        for file in sorted(folder.glob(pattern)):
            return str(file)
    return path
