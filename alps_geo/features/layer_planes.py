"""A network's layers as one picture: cells scaled to length 1, projected, on a grid of the scene's.

Cell `i` of a layer with stride `s` has its centre at `s * i + s - 0.5` pixels, so every centre of a
coarse layer is one of the finest layer, and interpolating the projections is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .efficientnet import ALIGNMENT, TAPS, EfficientNetLite0

#: Side of the planes' cells, in pixels.
STRIDE = TAPS[2][1]
#: What an invalid pixel, and one past the tile, is taken for: the network's zero.
_GREY = 127


class LayerPlanes:
    """Turns a tile into planes of projected layers.

    Parameters
    ----------
    network : EfficientNetLite0
    tensors : mapping of str to ndarray of float32
        `layer_N`, shape (n_planes, channels), the projection of the layer after block N;
        `offset`, shape (n_planes,), what is taken off; `weights`, shape (n_planes,).

    Attributes
    ----------
    weights : ndarray of float32, shape (n_planes,)
    """

    def __init__(
        self, network: EfficientNetLite0, tensors: Mapping[str, NDArray[np.float32]]
    ) -> None:
        self._network = network
        self._projections = {
            number: torch.from_numpy(tensors[f"layer_{number}"]).to(network.device)
            for number in TAPS
        }
        self._offset = torch.from_numpy(tensors["offset"]).to(network.device)
        self.weights = tensors["weights"]

    def draw(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], corner: tuple[int, int]
    ) -> tuple[NDArray[np.float32], tuple[float, float]]:
        """Return the planes of a tile.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
        valid : ndarray of bool, shape (height, width)
        corner : (int, int)
            Row and column of the tile's first pixel in the scene.

        Returns
        -------
        planes : ndarray of float32, shape (n_planes, rows, cols)
        origin : (float, float)
            Where cell (0, 0) starts, in tile pixels.
        """
        aligned, before = align(pixels, valid, corner)
        with _one_thread(self._network.device), torch.inference_mode():
            planes = self._project(torch.from_numpy(aligned))
        past = STRIDE / 2 - 0.5
        return planes.cpu().numpy(), (past - before[0], past - before[1])

    def _project(self, pixels: Tensor) -> Tensor:
        planes = -self._offset[:, None, None]
        for number, cells in normalised_layers(self._network, pixels):
            part = torch.tensordot(self._projections[number], cells, 1)
            planes = planes + refine(part, TAPS[number][1] // STRIDE)
        return planes.contiguous()


def align(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_], corner: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return a tile with sides such that the network's cells lie where the scene's do.

    Returns
    -------
    ndarray of uint8, shape (3, rows, cols)
        Multiples of `ALIGNMENT`.
    before : (int, int)
        Rows and columns that were added before the tile's.
    """
    before = corner[0] % ALIGNMENT, corner[1] % ALIGNMENT
    rows, cols = (
        -(-(first + side) // ALIGNMENT) * ALIGNMENT
        for first, side in zip(before, valid.shape, strict=True)
    )
    aligned = np.full((3, rows, cols), _GREY, np.uint8)
    inside = aligned[:, before[0] :, before[1] :][:, : valid.shape[0], : valid.shape[1]]
    inside[:] = np.where(valid, np.moveaxis(pixels, 2, 0), np.uint8(_GREY))
    return aligned, before


def normalised_layers(network: EfficientNetLite0, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Give each layer's block and cells, shape (channels, rows, cols), scaled to length 1."""
    for number, cells in network.layers(pixels):
        yield number, cells / cells.norm(dim=0, keepdim=True).clamp_min(1e-6)


def refine(planes: Tensor, factor: int) -> Tensor:
    """Interpolate planes to cells of a fraction of the side, the last cells of both in one place.

    Parameters
    ----------
    planes : Tensor, shape (n, rows, cols)
    factor : int

    Returns
    -------
    Tensor, shape (n, rows * factor, cols * factor)
    """
    if factor == 1:
        return planes
    down, across = (_interpolate(side, factor).to(planes) for side in planes.shape[1:])
    return torch.matmul(torch.matmul(down, planes), across.T)


def _interpolate(cells: int, factor: int) -> Tensor:
    place = ((torch.arange(cells * factor) + 1) / factor - 1).clamp(0)
    return (1 - (place[:, None] - torch.arange(cells)).abs()).clamp_min(0)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Let torch use one thread of the CPU: sums are then the same in any company.

    Another thread segments the next tile meanwhile, so that cores are not idle.
    """
    if device.type != "cpu":
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
