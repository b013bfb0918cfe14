"""How a scene is cut: tiles whose cores partition it and whose windows overlap; integers only."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import TileSettings
from .grid import Window


@dataclass(frozen=True)
class Tile:
    """A piece of a scene that is read and segmented at once.

    Attributes
    ----------
    row, col : int
        Place in the grid of tiles.
    core : Window
        The pixels the tile owns.
    window : Window
        The pixels it sees: the core and half the overlap on each side, clipped to the scene.
    """

    row: int
    col: int
    core: Window
    window: Window

    @property
    def name(self) -> str:
        """Name of the tile's file in the run folder."""
        return f"{self.row:05d}_{self.col:05d}"


def plan_tiles(height: int, width: int, settings: TileSettings) -> list[Tile]:
    """Cut a scene into tiles whose cores cover it, each pixel exactly once.

    Windows reach half the overlap past their core, as far as the scene goes, so that an object
    smaller than the overlap is seen whole by the tile whose core holds the object's middle.

    Parameters
    ----------
    height, width : int
        Of the scene, in pixels.
    settings : TileSettings

    Returns
    -------
    list of Tile
        Row by row.
    """
    step, margin = settings.size - settings.overlap, settings.overlap // 2
    tiles = []
    for tile_row, row in enumerate(range(0, height, step)):
        for tile_col, col in enumerate(range(0, width, step)):
            core = Window(row, col, min(step, height - row), min(step, width - col))
            tiles.append(Tile(tile_row, tile_col, core, core.grow(margin, height, width)))
    return tiles
