"""What DINOv2 says of the places under a mask.

The network sees pieces of 518 pixels at fixed places of the scene, read beyond the tile where they
reach there, and only the inner part of each piece counts: so a place has the same numbers in every
tile, and attention across a whole piece does not show where pieces meet.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._files import sha256_of
from ..errors import ModelError
from ..models import weights
from ..models.masks import Embedding
from ..scenes.grid import Window
from ..scenes.scene import Scene
from ..scenes.spans import Spans
from .pooling import Features, pool_features
from .sources import TileView

if TYPE_CHECKING:
    # Torch takes seconds to import, and is needed only where masks are described.
    from ..models.dinov2 import DinoV2

#: To be raised whenever columns change though weights do not.
_VERSION = "dinov2 1"
#: Tokens have 14 pixels; of the 37 of a piece on each axis the 19 in the middle count.
_STRIDE, _PIECE, _INNER, _MARGIN = 14, 37, 19, 9
_STEP = _INNER * _STRIDE


class DinoSource:
    """Describes masks by what a DINOv2 network sees there.

    Parameters
    ----------
    name : str
        `dinov2-s` or `dinov2-b`.
    device : str
        `auto`, `cpu`, `cuda` or `mps`.
    precision : str
        `fp32` or `bf16`.
    """

    def __init__(self, name: str, device: str = "auto", precision: str = "fp32") -> None:
        self.name = name
        self._device, self._precision = device, precision

    @cached_property
    def checksum(self) -> str:
        """Of weights and version.

        Raises
        ------
        ModelError
            If weights, or what runs them, are not installed.
        """
        item, package = weights.require(self.name), weights.missing_package(self.name)
        if package:
            raise ModelError(f"{self.name} needs the package {package}: pip install {package}")
        content = item.sha256 or sha256_of(item.path)
        return hashlib.sha256(f"{_VERSION} {content}".encode()).hexdigest()

    def describe(self, tile: TileView, spans: Spans) -> Features:
        """Pool the network's tokens; see `FeatureSource.describe`."""
        return pool_features(spans, self.embed(tile.scene, tile.window), tile.valid.shape)

    def embed(self, scene: Scene, window: Window) -> Embedding:
        """Return the tokens over a window of a scene.

        Parameters
        ----------
        scene : Scene
            With its stretch.
        window : Window

        Returns
        -------
        Embedding
            Cells lie on a grid of the scene's.
        """
        first = window.row // _STEP, window.col // _STEP
        last = (window.row_stop - 1) // _STEP, (window.col_stop - 1) // _STEP
        counts = last[0] - first[0] + 1, last[1] - first[1] + 1
        pixels, valid = _read_around(scene, first, counts)
        rows = [self._tokens(pixels, valid, row, counts[1]) for row in range(counts[0])]
        values = np.concatenate(rows, axis=1)
        names = tuple(f"{number:03d}" for number in range(len(values)))
        origin = first[0] * _STEP - window.row, first[1] * _STEP - window.col
        return Embedding(values, _STRIDE, names, np.ones(len(values), np.float32), origin=origin)

    def _tokens(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], row: int, count: int
    ) -> NDArray[np.float32]:
        """Return the inner tokens of a row of pieces, shape (width, `_INNER`, `_INNER` * count)."""
        side, inner = _PIECE * _STRIDE, slice(_MARGIN, _MARGIN + _INNER)
        down = slice(row * _STEP, row * _STEP + side)
        across = [slice(col * _STEP, col * _STEP + side) for col in range(count)]
        images = np.stack([pixels[:, down, part] for part in across])
        masks = np.stack([valid[down, part] for part in across])
        found = self._network.tokens(images, masks)[:, :, inner, inner]
        return np.concatenate(list(found), axis=2)

    @cached_property
    def _network(self) -> DinoV2:
        from ..models.device import pick_device
        from ..models.dinov2 import DinoV2

        path = weights.require(self.name).path
        return DinoV2(path, self.name, pick_device(self._device)[0], self._precision)


def _read_around(
    scene: Scene, first: tuple[int, int], counts: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the pixels that pieces see, shape (3, rows, cols), and which are valid.

    Nothing is valid beyond the scene.
    """
    margin = _MARGIN * _STRIDE
    row, col = (place * _STEP - margin for place in first)
    height, width = (count * _STEP + 2 * margin for count in counts)
    pixels = np.zeros((3, height, width), np.uint8)
    valid = np.zeros((height, width), bool)
    whole = Window(0, 0, scene.grid.height, scene.grid.width)
    inside = Window(row, col, height, width).intersect(whole)
    if inside is not None:
        down, across = inside._replace(row=inside.row - row, col=inside.col - col).slices
        found, valid[down, across] = scene.read(inside)
        pixels[:, down, across] = np.moveaxis(found, 2, 0)
    return pixels, valid
