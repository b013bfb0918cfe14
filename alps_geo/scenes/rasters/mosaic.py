"""Sources that a mosaic (VRT) names and that are not there, and which of its pixels they were for.

GDAL reports a missing source once; from then on, and in a mosaic of mosaics even in a dataset
opened anew, it gives zeros without an error. So files are looked for before GDAL is asked.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..grid import Window

#: Mosaics of mosaics of mosaics: beyond this they go round in circles.
MAX_DEPTH = 8
#: Pixels that resampling takes from beside, at most.
KERNEL = 4
_SOURCES = frozenset(["SimpleSource", "ComplexSource", "AveragedSource", "KernelFilteredSource"])
_KNOWN_BY_PREFIX = ("/vsi", "<")


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, with parts of pixels; stops are exclusive."""

    row: float
    col: float
    row_stop: float
    col_stop: float

    def shown_in(self, source: Box, target: Box) -> Box:
        """Return where a part of `source` comes to lie when `source` is stretched to `target`."""
        down = (target.row_stop - target.row) / max(source.row_stop - source.row, 1e-9)
        across = (target.col_stop - target.col) / max(source.col_stop - source.col, 1e-9)
        # What is resampled has neighbours' pixels in it.
        reach = 0 if down == across == 1 else KERNEL * max(1, down, across)
        return Box(
            max(target.row, target.row + (self.row - source.row) * down - reach),
            max(target.col, target.col + (self.col - source.col) * across - reach),
            min(target.row_stop, target.row + (self.row_stop - source.row) * down + reach),
            min(target.col_stop, target.col + (self.col_stop - source.col) * across + reach),
        )

    def touches(self, window: Window) -> bool:
        """Return whether a window has pixels, or parts of pixels, of the rectangle."""
        rows = self.row < window.row_stop and self.row_stop > window.row
        return rows and self.col < window.col_stop and self.col_stop > window.col


@dataclass(frozen=True)
class MissingSource:
    """A file that a mosaic needs and that is not there; `area` in pixels of the mosaic."""

    path: str
    area: Box


@dataclass(frozen=True)
class Mosaic:
    """What a mosaic consists of, beside what GDAL says.

    Attributes
    ----------
    missing : tuple of MissingSource
    nested : tuple of str
        Files that other mosaics in it consist of; GDAL does not list them.
    """

    missing: tuple[MissingSource, ...] = ()
    nested: tuple[str, ...] = ()


def _exists(path: str) -> bool:
    return Path(path).exists()


def inspect_mosaic(
    path: str, is_there: Callable[[str], bool] = _exists, within: Window | None = None
) -> Mosaic:
    """Look for the sources of a mosaic and of the mosaics in it.

    Parameters
    ----------
    path : str
        A local VRT file; of anything else nothing is known.
    is_there : callable
        Tells whether a file can serve as a source.
    within : Window, optional
        Look only for sources of these pixels.
    """
    missing: dict[MissingSource, None] = {}
    nested: dict[str, None] = {}
    there: dict[str, bool] = {}
    for source, area, depth in _walk(Path(path), 0):
        if depth:
            nested[source] = None
        if within is not None and not area.touches(within):
            continue
        if source not in there:
            there[source] = is_there(source)
        if not there[source]:
            missing[MissingSource(source, area)] = None
    return Mosaic(tuple(missing), tuple(nested))


def _walk(path: Path, depth: int) -> Iterator[tuple[str, Box, int]]:
    """Yield the local sources of a mosaic: path, pixels of the mosaic, how deep."""
    root = _read(path)
    if root is None or depth >= MAX_DEPTH:
        return
    whole = _whole(root)
    inside: dict[Path, list[tuple[str, Box, int]]] = {}
    for item in root.iter():
        source = _source_path(item, path) if item.tag in _SOURCES else None
        if source is None:
            continue
        target = _box(item.find("DstRect")) or whole
        yield str(source), target, depth
        if source.suffix.lower() == ".vrt" and source.is_file():
            if source not in inside:
                inside[source] = list(_walk(source, depth + 1))
            if not inside[source]:
                continue
            shown = _box(item.find("SrcRect")) or _whole_of(source)
            for name, area, level in inside[source]:
                yield name, area.shown_in(shown, target), level


def _source_path(item: ElementTree.Element, mosaic: Path) -> Path | None:
    """Return the local file that a source names, None for addresses and parts of other files."""
    named = item.find("SourceFilename")
    text = "" if named is None else (named.text or "").strip()
    if not text or text.startswith(_KNOWN_BY_PREFIX):
        return None
    relative = named is not None and named.get("relativeToVRT") == "1"
    path = mosaic.parent / text if relative else Path(text)
    # NETCDF:"file":variable, http://...: not for us to say what is there.
    prefixed = ":" in text and not Path(text).drive and not path.exists()
    return None if prefixed else path


def _read(path: Path) -> ElementTree.Element | None:
    # What is damaged, GDAL says better.
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    return root if root.tag == "VRTDataset" else None


def _whole(root: ElementTree.Element) -> Box:
    return Box(0, 0, _number(root.get("rasterYSize")), _number(root.get("rasterXSize")))


def _whole_of(path: Path) -> Box:
    root = _read(path)
    return Box(0, 0, math.inf, math.inf) if root is None else _whole(root)


def _box(rectangle: ElementTree.Element | None) -> Box | None:
    if rectangle is None:
        return None
    col, row, width, height = (
        _number(rectangle.get(key)) for key in ("xOff", "yOff", "xSize", "ySize")
    )
    box = Box(row, col, row + height, col + width)
    return None if math.isnan(row + col + height + width) else box


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
