"""Masks of an image from logits that stay on their device: enlarged as the original enlarges them.

A GPU makes images of floats faster than they could be avoided, as `logits` does on a CPU, and far
faster than all the logits could be brought there. What comes back is a few numbers for each mask
that is stable, and the spans of those that are left in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..._columns import Columns
from ...scenes.spans import Spans

#: Bytes of enlarged logits at once.
_BYTES_AT_ONCE = 1 << 28


@dataclass(frozen=True)
class StableMasks(Columns):
    """The masks that are stable enough, a row per mask.

    Attributes
    ----------
    chosen : ndarray of int64, shape (n_masks,)
        Which of the logits they are.
    stability : ndarray of float32, shape (n_masks,)
        Intersection over union of the masks cut at the threshold plus and minus the offset; NaN
        where both are empty.
    boxes : ndarray of int64, shape (n_masks, 4)
        First and last column and row: x0, y0, x1, y1; zeros for an empty mask.
    """

    chosen: NDArray[np.int64]
    stability: NDArray[np.float32]
    boxes: NDArray[np.int64]

    @classmethod
    def none(cls) -> StableMasks:
        """Return no masks."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, 4), np.int64))


class MaskPixels(Protocol):
    """Turns logits, shape (n_masks, side, side), into what masks of one image are."""

    def select(self, logits: Tensor, threshold: float, offset: float, least: float) -> StableMasks:
        """Return the masks whose stability is at least `least`; all where that is 0."""

    def draw(self, logits: Tensor, threshold: float) -> Spans:
        """Draw masks."""

    def cover(self, logits: Tensor, threshold: float) -> NDArray[np.bool_]:
        """Return the pixels, shape (height, width), that any of the masks covers."""


class EnlargedPixels:
    """Does what `MaskPixels` says on the device of the logits.

    Parameters
    ----------
    padded : int
        Side of the encoder's input.
    used : tuple of int
        Height and width of the image in the encoder's input; the rest is padding.
    size : tuple of int
        Height and width of the image.
    """

    def __init__(self, padded: int, used: tuple[int, int], size: tuple[int, int]) -> None:
        self._padded, self._used, self.size = padded, used, size

    def select(self, logits: Tensor, threshold: float, offset: float, least: float) -> StableMasks:
        """Return the masks whose stability is at least `least`; all where that is 0."""
        parts = [StableMasks.none()]
        for start, values in self._enlarge(logits):
            inner = _count(values > threshold + offset)
            score = inner / _count(values > threshold - offset)
            kept = torch.ones_like(score, dtype=torch.bool) if least <= 0 else score >= least
            index = kept.nonzero()[:, 0]
            boxes = _boxes(values[index] > threshold)
            columns = (index + start, score[index], boxes)
            parts.append(StableMasks(*(column.cpu().numpy() for column in columns)))
        return StableMasks.concatenate(parts)

    def draw(self, logits: Tensor, threshold: float) -> Spans:
        """Draw masks."""
        drawn = []
        for _, values in self._enlarge(logits):
            # As in `Spans.from_bitmaps`: only where spans begin and end leaves the device.
            count, height, width = values.shape
            size = count * height * (width + 1)
            line = torch.zeros(size + 1, dtype=torch.bool, device=values.device)
            line[:size].view(count, height, width + 1)[:, :, 1:] = values > threshold
            changes = (line[1:] != line[:-1]).nonzero()[:, 0]
            drawn.append(Spans.from_changes(changes.cpu().numpy(), (count, height, width)))
        return Spans.concatenate(drawn)

    def cover(self, logits: Tensor, threshold: float) -> NDArray[np.bool_]:
        """Return the pixels, shape (height, width), that any of the masks covers."""
        covered = torch.zeros(self.size, dtype=torch.bool, device=logits.device)
        for _, values in self._enlarge(logits):
            covered |= (values > threshold).any(0)
        pixels: NDArray[np.bool_] = covered.cpu().numpy()
        return pixels

    def _enlarge(self, logits: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Give the logits of the image's pixels, a few masks at a time, and the first's number."""
        largest = max(self._padded**2, self.size[0] * self.size[1])
        step = max(1, _BYTES_AT_ONCE // (logits.element_size() * largest))
        for start in range(0, len(logits), step):
            values = logits[start : start + step, None]
            values = _interpolate(values, (self._padded, self._padded))
            values = values[..., : self._used[0], : self._used[1]]
            yield start, _interpolate(values, self.size)[:, 0]


def _interpolate(values: Tensor, size: tuple[int, int]) -> Tensor:
    if values.shape[2:] == size:  # the same numbers would come out
        return values
    return functional.interpolate(values, size, mode="bilinear", align_corners=False)


def _count(masks: Tensor) -> Tensor:
    return masks.sum((1, 2), dtype=torch.int32)


def _boxes(masks: Tensor) -> Tensor:
    """Return the first and last column and row of masks, shape (n, 4); zeros for empty ones."""
    sides = []
    for filled in (masks.any(1), masks.any(2)):
        first = filled.int().argmax(1)
        last = filled.shape[1] - 1 - filled.flip(1).int().argmax(1)
        sides.append(torch.stack([first, last * filled.any(1)]))
    return torch.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], dim=1)
