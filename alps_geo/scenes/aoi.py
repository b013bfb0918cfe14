"""Where to label: the polygons of a vector file on a scene's grid."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from ..errors import OutsideSceneError, SceneError
from .grid import Grid, Window
from .placement import Purpose
from .vectorfiles import open_layer, parse_source, polygon_layers
from .vectors import NoPolygonsError, OutsideError, place_layer

PURPOSE = Purpose("the area of interest", SceneError)


@dataclass(frozen=True)
class Aoi:
    """An area of interest.

    Attributes
    ----------
    path : str
        The vector file it was read from.
    polygons : tuple of bytes
        Each polygon as WKB in pixel coordinates (col, row) of the scene's grid.
    messages, warnings : tuple of str
        What the user may want to, and should, know of how it was read.
    """

    path: str
    polygons: tuple[bytes, ...]
    messages: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window have their centre inside, shape (height, width)."""
        shapes = shapely.from_wkb(np.array(self.polygons, object))
        left, top, right, bottom = shapely.bounds(shapes).T
        near = (left < window.col_stop) & (right > window.col)
        near &= (top < window.row_stop) & (bottom > window.row)
        if not near.any():
            return np.zeros((window.height, window.width), bool)
        burnt: NDArray[np.uint8] = rasterize(
            list(shapes[near]),
            (window.height, window.width),
            transform=Affine.translation(window.col, window.row),
            dtype="uint8",
        )
        return burnt.astype(bool)

    def touched(self, window: Window) -> Window | None:
        """Return the part of a window that polygons can reach into, None where none does."""
        left, top, right, bottom = self._bounds.T
        near = (left < window.col_stop) & (right > window.col)
        near &= (top < window.row_stop) & (bottom > window.row)
        if not near.any():
            return None
        row, col = math.floor(top[near].min()), math.floor(left[near].min())
        height = math.ceil(bottom[near].max()) - row
        width = math.ceil(right[near].max()) - col
        return Window(row, col, height, width).intersect(window)

    def shift(self, rows: int, cols: int) -> Aoi:
        """Return the area on a grid whose first pixel lies elsewhere."""
        shapes = shapely.from_wkb(np.array(self.polygons, object))
        moved = shapely.transform(shapes, lambda points: points + np.array([cols, rows]))
        return dataclasses.replace(self, polygons=tuple(shapely.to_wkb(moved)))

    @property
    def _bounds(self) -> NDArray[np.float64]:
        """Left, top, right and bottom of each polygon, shape (n, 4)."""
        bounds: NDArray[np.float64] = shapely.bounds(
            shapely.from_wkb(np.array(self.polygons, object))
        )
        return bounds

    @property
    def digest(self) -> str:
        """A hash of the polygons."""
        return hashlib.sha256(b"".join(self.polygons)).hexdigest()


def read_aoi(path: str, grid: Grid, scene: str) -> Aoi:
    """Read the polygons of a vector file, in any CRS, onto a scene's grid.

    Parameters
    ----------
    path : str
        Any vector source, `file|layername=…` too; without that, the first layer with polygons
        counts.
    grid : Grid
    scene : str
        How messages call the scene.

    Raises
    ------
    OutsideSceneError
        If no polygon touches the scene.
    SceneError
        If the file cannot be read, has no polygons, or cannot be laid over the scene.
    """
    source = parse_source(path, PURPOSE)
    layers = polygon_layers(source, PURPOSE)
    if source.layer is not None:
        if source.layer not in layers:
            raise SceneError(
                f"{path}: has no layer {source.layer!r} of polygons; it has"
                f" {', '.join(layers) or 'none at all'}"
            )
        layers = [source.layer]
    for at, name in enumerate(layers):
        layer = open_layer(source, name, PURPOSE)
        try:
            found = place_layer(source, layer, grid, PURPOSE, scene)
        except NoPolygonsError:
            continue
        except OutsideError as error:
            raise OutsideSceneError(
                f"the area of interest, {path}, does not touch {scene}; give polygons inside the"
                f" scene: {error}",
                code="aoi.outside",
                path=path,
            ) from error
        messages = _choice(source.shown, name, layers[at + 1 :])
        if found.outside:
            messages.append(f"{source.shown}: {found.outside:,} features do not touch {scene}")
        return Aoi(path, tuple(shapely.to_wkb(found.shapes)), tuple(messages), found.notes)
    raise SceneError(
        f"the area of interest, {path}, has no polygons; lines and points enclose nothing",
        code="aoi.no_polygons",
        path=path,
    )


def _choice(shown: str, used: str, others: list[str]) -> list[str]:
    """Return what is to be said where a file has other layers that may have polygons."""
    if not others:
        return []
    return [
        f"{shown}: the layer {used} is the area of interest, not {', '.join(others)}; for another"
        f" one, name it: {shown}|layername={others[0]}"
    ]
