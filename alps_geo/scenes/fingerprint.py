"""What tells one scene from another: a hash of content and settings."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .aoi import Aoi
from .grid import Grid, Window
from .rasters.raster import Raster


def fingerprint(raster: Raster, grid: Grid, aoi: Aoi | None, place: Window) -> str:
    """Return a hash of content, grid, bands, masks and area of interest.

    Times and places do not count: a copy has its original's fingerprint. Of large files only
    evenly spread pieces are read, of what is no local file some pixels.

    Parameters
    ----------
    raster : Raster
    grid : Grid
        The pixels to label, of whatever size.
    aoi : Aoi or None
    place : Window
        The pixels of the file that will be read.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    facts = [
        grid.height,
        grid.width,
        [float(value) for value in grid.transform[:6]],
        None if grid.crs is None else grid.crs.to_wkt(),
        raster.bands,
        raster.dtype,
        raster.alpha,
        raster.mask,
        raster.nodata,
        None if aoi is None else aoi.digest,
    ]
    if raster.nearness is not None:  # without, fingerprints are those of earlier versions
        facts.append((raster.nearness.tolerance, raster.nearness.values))
    digest = hashlib.sha256(repr(facts).encode())
    # Viewers write statistics and overviews beside an image; they do not change it.
    files = [file for file in raster.files if not file.endswith((".aux.xml", ".ovr"))]
    for file in files:
        if Path(file).is_file():
            digest.update(_file_digest(Path(file)))
    if not raster.is_file:
        for window in [_middle(place, share) for share in (0.25, 0.5, 0.75)]:
            digest.update(raster.read(window)[0].tobytes())
    return digest.hexdigest()


def _file_digest(path: Path, *, piece: int = 2**20, pieces: int = 16) -> bytes:
    """Return a hash of a file: all of a small one, evenly spread pieces of a large one."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    step = max(piece, (size - piece) // (pieces - 1))
    with path.open("rb") as stream:
        for start in range(0, size, step):
            stream.seek(start)
            digest.update(stream.read(piece))
    return digest.digest()


def _middle(place: Window, share: float) -> Window:
    row, col = int(place.height * share), int(place.width * share)
    height, width = min(64, place.height - row), min(64, place.width - col)
    return Window(place.row + row, place.col + col, height, width)
