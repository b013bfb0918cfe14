"""Where features come from: one protocol, and how several sources make one row of numbers.

A source gives a block of columns. The mask model's own embedding is one (`EmbeddingSource`); every
other has a file of its own here, and `choosing` knows them by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..classes.schema import FeatureBlock, own_block
from ..models.masks import Embedding, MaskModel
from ..scenes.grid import Window
from ..scenes.scene import Scene
from ..scenes.spans import Spans
from .pooling import Features, pool_features


@dataclass(frozen=True)
class TileView:
    """What a source of features may look at.

    Attributes
    ----------
    scene : Scene
        With its stretch; the grid is the scene's.
    window : Window
        The pixels of the scene that the tile sees.
    pixels : ndarray of uint8, shape (height, width, 3)
        Red, green and blue, as the mask model saw them.
    valid : ndarray of bool, shape (height, width)
    embedding : Embedding
        What the mask model said beside its masks.
    """

    scene: Scene
    window: Window
    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    embedding: Embedding


class FeatureSource(Protocol):
    """Describes masks by a block of columns.

    Attributes
    ----------
    name : str
        What the user calls it, such as `texture`.
    checksum : str
        Identifies weights and parameters, see `FeatureBlock`. Known without loading them.
    """

    @property
    def name(self) -> str:
        """What the user calls the source."""

    @property
    def checksum(self) -> str:
        """What tells this source from another."""

    def describe(self, tile: TileView, spans: Spans) -> Features:
        """Describe the masks of a tile.

        Parameters
        ----------
        tile : TileView
        spans : Spans
            The masks' pixels, in the window's coordinates; there may be none of them.

        Returns
        -------
        Features
            Finite; the same columns and weights for every tile, however few masks there are. A mask
            that is whole in two tiles should have the same row in both.
        """


class EmbeddingSource:
    """The mask model's own embedding, pooled under each mask.

    Parameters
    ----------
    model : MaskModel
    """

    def __init__(self, model: MaskModel) -> None:
        self.name = own_block(model.name)
        self.checksum = model.checksum

    def describe(self, tile: TileView, spans: Spans) -> Features:
        """Pool the embedding; see `FeatureSource.describe`."""
        return pool_features(spans, tile.embedding, tile.valid.shape)


def blocks_of(sources: Sequence[FeatureSource]) -> tuple[FeatureBlock, ...]:
    """Return what identifies sources."""
    return tuple(FeatureBlock(source.name, source.checksum) for source in sources)


def describe_masks(sources: Sequence[FeatureSource], tile: TileView, spans: Spans) -> Features:
    """Describe masks by several sources.

    Every block counts as much as the first one: its squared weights have the same sum. Columns are
    called by their block's name, a dot, and their own; those of the mask model only by their own.

    Parameters
    ----------
    sources : sequence of FeatureSource
        One or more.
    tile : TileView
    spans : Spans

    Returns
    -------
    Features
    """
    parts = [source.describe(tile, spans) for source in sources]
    total = float(np.square(parts[0].weights).sum())
    names: list[str] = []
    weights = [parts[0].weights]
    for source, part in zip(sources, parts, strict=True):
        own = isinstance(source, EmbeddingSource)
        names += part.names if own else [f"{source.name}.{name}" for name in part.names]
    for part in parts[1:]:
        share = np.sqrt(total / np.square(part.weights).sum())
        weights.append((part.weights * share).astype(np.float32))
    values = np.concatenate([part.values for part in parts], axis=1)
    return Features(values, tuple(names), np.concatenate(weights))
