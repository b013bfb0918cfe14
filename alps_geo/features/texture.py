"""The built-in model's colour, texture and shape, under the masks of another model."""

from __future__ import annotations

from ..models.builtin.model import BuiltinModel
from ..scenes.spans import Spans
from .pooling import Features, pool_features
from .sources import TileView


class TextureSource:
    """What the built-in model would say of a place, whoever made the masks."""

    name = "texture"

    def __init__(self) -> None:
        self._model = BuiltinModel()

    @property
    def checksum(self) -> str:
        """The built-in model's."""
        return self._model.checksum

    def describe(self, tile: TileView, spans: Spans) -> Features:
        """Pool the built-in model's embedding; see `FeatureSource.describe`."""
        _, embedding = self._model.segment(tile.pixels, tile.valid)
        return pool_features(spans, embedding, tile.valid.shape)
