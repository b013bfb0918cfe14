"""What a mask model finds in a tile: masks as columns of equal length, pixels as row spans."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .._columns import Columns
from ..scenes.spans import Spans
from ..settings import GateSettings


@dataclass(frozen=True)
class Masks(Columns):
    """The masks of one tile, a row per mask.

    Attributes
    ----------
    spans : Spans
        The masks' pixels, in the tile window's coordinates.
    predicted_iou, stability : ndarray of float32, shape (n_masks,)
        The model's own estimates of quality, from 0 to 1.
    points : ndarray of int32, shape (n_masks, 2)
        Row and column of the prompt, or of a pixel inside.
    """

    spans: Spans
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    points: NDArray[np.int32]

    @classmethod
    def from_spans(
        cls,
        spans: Spans,
        predicted_iou: NDArray[np.floating] | None = None,
        stability: NDArray[np.floating] | None = None,
        points: NDArray[np.integer] | None = None,
    ) -> Masks:
        """Make masks from spans; scores are 1 and points the middle of a span unless given."""
        ones = np.ones(len(spans), np.float32)
        return cls(
            spans,
            ones if predicted_iou is None else predicted_iou.astype(np.float32),
            ones if stability is None else stability.astype(np.float32),
            _points_inside(spans) if points is None else points.astype(np.int32),
        )

    @classmethod
    def empty(cls) -> Masks:
        """Return no masks."""
        return cls.from_spans(Spans.concatenate([]))

    @classmethod
    def concatenate(cls, parts: Sequence[Masks]) -> Masks:
        """Put several tables of masks one below another."""
        return super().concatenate(parts) if parts else cls.empty()


def _points_inside(spans: Spans) -> NDArray[np.int32]:
    """Return the middle pixel of each set's longest span, shape (n_sets, 2)."""
    order = np.lexsort((-spans.lengths, spans.owners))
    firsts = order[np.unique(spans.owners[order], return_index=True)[1]]
    points = np.zeros((len(spans), 2), np.int32)
    row, start, stop = spans.values[firsts].T
    points[spans.owners[firsts]] = np.stack([row, (start + stop) // 2], axis=1)
    return points


@dataclass(frozen=True)
class Embedding:
    """What a mask model knows of every place of a tile, on a grid of cells.

    Attributes
    ----------
    values : ndarray of float32, shape (n_features, rows, cols)
    stride : float
        Side of a cell in tile pixels; cells past the tile's lower and right border are cut off.
    names : tuple of str, length n_features
    weights : ndarray of float32, shape (n_features,)
        How much each standardised feature counts in clustering.
    as_authors : bool
        Pool as the authors of ALPS did instead of by the definition (eq. 4), for comparison.
    origin : (float, float)
        Row and column, in tile pixels, where cell (0, 0) starts: the tile's upper left corner.
    """

    values: NDArray[np.float32]
    stride: float
    names: tuple[str, ...]
    weights: NDArray[np.float32]
    as_authors: bool = False
    origin: tuple[float, float] = (0.0, 0.0)


class MaskModel(Protocol):
    """Finds masks in a tile.

    Attributes
    ----------
    name : str
        What the user calls it, such as `builtin` or `sam-vit-b`.
    checksum : str
        Identifies weights and parameters: two models with the same name and checksum find the
        same masks and features.
    """

    @property
    def name(self) -> str:
        """What the user calls the model."""

    @property
    def checksum(self) -> str:
        """What tells this model from another."""

    def segment(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> tuple[Masks, Embedding]:
        """Find the masks of a tile.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
            Red, green and blue, stretched over the scene.
        valid : ndarray of bool, shape (height, width)
            False where there is no data.

        Returns
        -------
        Masks
            In any order; may overlap.
        Embedding
        """


@runtime_checkable
class ColourModel(MaskModel, Protocol):
    """A mask model that goes by colour, and so would follow blocks that compression left in it."""

    @property
    def follows_colour(self) -> bool:
        """Whether blocks of colour are to be smoothed before it sees a scene."""


def follows_colour(model: MaskModel) -> bool:
    """Return whether a model is to see a scene without blocks of colour."""
    return isinstance(model, ColourModel) and model.follows_colour


@dataclass(frozen=True)
class GateCounts:
    """What the filter of a tile's masks did.

    Attributes
    ----------
    found, gated, small, kept : int
        Masks the model found; dropped because too large; dropped because too small; kept.
    """

    found: int
    gated: int
    small: int
    kept: int


def gate(
    masks: Masks, valid: NDArray[np.bool_], settings: GateSettings
) -> tuple[Masks, NDArray[np.bool_], GateCounts]:
    """Cut masks to valid pixels, and drop those that are too large or too small.

    The filtering gate of the paper (eq. 2 and 3): a mask stays if its area is at most
    `area_threshold` of the tile's valid area.

    Parameters
    ----------
    masks : Masks
    valid : ndarray of bool, shape (height, width)
    settings : GateSettings

    Returns
    -------
    kept : Masks
    too_large : ndarray of bool, shape (height, width)
        Pixels of masks that the gate dropped.
    counts : GateCounts
    """
    if not valid.all():
        masks = dataclasses.replace(masks, spans=masks.spans.restrict(valid))
    areas = masks.spans.areas
    large = areas > settings.area_threshold * np.count_nonzero(valid)
    small = areas < settings.min_area_px
    too_large = np.zeros(valid.shape, bool)
    too_large[masks.spans.take(large).pixels()] = True
    kept = masks.take(~large & ~small)
    counts = GateCounts(
        len(masks), int(np.count_nonzero(large)), int(np.count_nonzero(small & ~large)), len(kept)
    )
    return kept, too_large, counts
