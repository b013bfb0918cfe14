"""Where patches of a scene lie, and in which split each is.

Positions are those of mmsegmentation's converter for iSAID: see `axis_starts`. With splits by block
the ground is cut into squares, each of one split, and a patch that touches squares of two splits is
left out: no ground is in both.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine

from ..scenes.grid import Grid, Window

TRAIN, VAL = SPLITS = "train", "val"
Block = tuple[str, int, int]


@dataclass(frozen=True)
class Patch:
    """A square of a scene.

    Attributes
    ----------
    scene : str
        The scene's name in the run.
    name : str
        What its files are called: scene, first and last row, first and last column.
    split : str
    window : Window
        Its pixels; the lower right of a patch may lie beyond a small scene.
    """

    scene: str
    name: str
    split: str
    window: Window


def axis_starts(side: int, size: int, overlap: int) -> list[int]:
    """Return where patches begin along an axis.

    They begin every `size - overlap` pixels; one that would reach beyond the scene ends with it,
    and a scene that is smaller has one, which is filled up.

    Parameters
    ----------
    side : int
        Pixels of the scene along the axis.
    size, overlap : int
        Of patches, in pixels.
    """
    if side <= size:
        return [0]
    starts = range(0, side, size - overlap)
    return sorted({min(start, side - size) for start in starts})


def plan_patches(scene: str, grid: Grid, size: int, overlap: int) -> Iterator[Patch]:
    """Give the patches of a scene, row by row, not split yet.

    Parameters
    ----------
    scene : str
    grid : Grid
    size, overlap : int
    """
    for row in axis_starts(grid.height, size, overlap):
        for col in axis_starts(grid.width, size, overlap):
            window = Window(row, col, size, size)
            name = f"{scene}_{row}_{window.row_stop}_{col}_{window.col_stop}"
            yield Patch(scene, name, TRAIN, window)


class BlockSplit:
    """Splits the ground of several scenes into squares for training and for validation.

    Which squares are for validation follows from their places and the seed, among those that hold a
    whole patch: as many as hold the share of these, and one at least where there are two or more.
    Scenes of one CRS have their squares in common; those of different ones, or of none, have
    squares of their own.

    Parameters
    ----------
    grids : mapping of str to Grid
        By the scenes' names.
    patches : sequence of Patch
    side_px : int
        Of a square, in pixels of the first scene of a CRS; no less than a patch.
    share : float
        Of patches for validation, from 0 to 1.
    seed : int
    """

    def __init__(
        self,
        grids: Mapping[str, Grid],
        patches: Sequence[Patch],
        side_px: int,
        share: float,
        seed: int = 0,
    ) -> None:
        self._grids = grids
        self._sides: dict[str, float] = {}
        for name, grid in grids.items():
            self._sides.setdefault(self._system(name), side_px * _pixel_side(grid.transform))
        self._touched = {patch: self._blocks_under(patch.scene, patch.window) for patch in patches}
        held = (blocks for blocks in self._touched.values() if len(blocks) == 1)
        whole = Counter(block for blocks in held for block in blocks)
        self._validation: set[Block] = set()
        # One square at least is left to train with.
        for block in sorted(whole, key=lambda block: _hash(seed, block))[:-1]:
            if sum(whole[chosen] for chosen in self._validation) >= share * whole.total():
                break
            self._validation.add(block)

    def split(self, patch: Patch) -> str:
        """Return the split of one of the patches; empty where it touches squares of both."""
        found = {block in self._validation for block in self._touched[patch]}
        if len(found) > 1:
            return ""
        return VAL if found.pop() else TRAIN

    def _system(self, name: str) -> str:
        crs = self._grids[name].crs
        return f"scene {name}" if crs is None else crs.srs

    def _blocks_under(self, name: str, window: Window) -> set[Block]:
        """Return the squares that a window touches: those of a net of its pixels."""
        grid = self._grids[name]
        last = min(window.row_stop, grid.height) - 1, min(window.col_stop, grid.width) - 1
        rows = np.linspace(window.row, last[0], 5).astype(int)
        cols = np.linspace(window.col, last[1], 5).astype(int)
        return {self._block(name, int(row), int(col)) for row in rows for col in cols}

    def _block(self, name: str, row: int, col: int) -> Block:
        system = self._system(name)
        side = self._sides[system]
        x, y = self._grids[name].transform * (col + 0.5, row + 0.5)
        return system, int(np.floor(x / side)), int(np.floor(y / side))


def _pixel_side(transform: Affine) -> float:
    """Return the side of a pixel, in units of the CRS."""
    return float(abs(transform.determinant) ** 0.5)


def _hash(seed: int, block: Block) -> str:
    return hashlib.sha256(f"{seed} {block}".encode()).hexdigest()
