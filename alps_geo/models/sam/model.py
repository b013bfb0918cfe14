"""Segment Anything as a mask model: masks and embedding of a tile from Meta's checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor

from ..._files import sha256_of
from ...settings import SamSettings
from ..masks import Embedding, Masks
from .checkpoint import load_sam
from .generator import MaskGenerator
from .inputs import ImageFrame, normalise_as_authors

__all__ = ["MaskGenerator", "SamModel"]

Pixels = NDArray[np.uint8]


class SamModel:
    """Finds masks with SAM, and pools nothing itself: it hands out the embedding.

    Parameters
    ----------
    sam : segment_anything.modeling.Sam
        On the device where it is to run.
    settings : SamSettings
    name : str
        `sam-vit-b` and the like.
    checksum : str
        SHA-256 of the checkpoint file.
    feature_mode : str
        `corrected` or `paper`, see `segment`; it becomes a part of the checksum, because features
        of one mode say nothing to classes of the other.
    precision : str
        `fp32` or `bf16`.

    Attributes
    ----------
    name, checksum : str
    """

    def __init__(
        self,
        sam: Sam,
        settings: SamSettings,
        *,
        name: str,
        checksum: str,
        feature_mode: str = "corrected",
        precision: str = "fp32",
    ) -> None:
        self.name = name
        self.checksum = checksum if feature_mode == "corrected" else f"{checksum}+{feature_mode}"
        self._paper = feature_mode == "paper"
        self._sam = sam
        self._generator = MaskGenerator(
            sam,
            points_per_side=settings.points_per_side,
            pred_iou_thresh=settings.pred_iou_thresh,
            stability_score_thresh=settings.stability_score_thresh,
            box_nms_thresh=settings.box_nms_thresh,
            precision=precision,
        )

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        settings: SamSettings,
        *,
        name: str | None,
        device: torch.device,
        feature_mode: str = "corrected",
        precision: str = "fp32",
    ) -> SamModel:
        """Read a checkpoint file.

        Parameters
        ----------
        checkpoint : Path
        settings : SamSettings
        name : str or None
            The model that the file should hold; None for whatever it holds.
        device : torch.device
        feature_mode, precision : str
            As in the constructor.

        Raises
        ------
        ModelError
            If the file is missing, damaged, or holds another model.
        """
        sam, found = load_sam(checkpoint, name=name)
        return cls(
            sam.to(device),
            settings,
            name=found,
            checksum=sha256_of(checkpoint),
            feature_mode=feature_mode,
            precision=precision,
        )

    @property
    def batch_size(self) -> int:
        """How many tiles are encoded at once: several on a GPU, fewer where memory ran out."""
        return self._generator.images.size

    def segment(self, pixels: Pixels, valid: NDArray[np.bool_]) -> tuple[Masks, Embedding]:
        """Find the masks of a tile, and SAM's embedding of it.

        In feature mode `corrected` the embedding is the one that the masks were made from; in
        mode `paper` the image is encoded again as the authors of ALPS did: blue, green, red,
        scaled to [0, 1], without the colour statistics that SAM was trained with.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
        valid : ndarray of bool, shape (height, width)
            Not used: masks may reach over invalid pixels, which `masks.gate` cuts off.

        Returns
        -------
        Masks
        Embedding
            Cells of 16 pixels of SAM's input, which is the tile with its long side scaled to 1024.
        """
        return self._finish(pixels, None)

    def segment_all(
        self, tiles: Sequence[tuple[Pixels, NDArray[np.bool_]]]
    ) -> Iterator[tuple[Masks, Embedding]]:
        """Find the masks of several tiles, which are encoded at once if memory allows it.

        Parameters
        ----------
        tiles : sequence of (pixels, valid)

        Yields
        ------
        Masks, Embedding
            In the order of the tiles.
        """
        images = [pixels for pixels, _ in tiles]
        for pixels, embedding in zip(images, self._generator.encode(images), strict=True):
            yield self._finish(pixels, embedding)

    def _finish(self, pixels: Pixels, embedding: Tensor | None) -> tuple[Masks, Embedding]:
        found, embedding = self._generator.generate_with_embedding(pixels, embedding)
        if self._paper:
            embedding = self._encode_as_authors(pixels)
        # Points are whole pixels here; SAM's grid lies between them.
        points = np.floor(found.points[:, ::-1])
        masks = Masks.from_spans(found.spans, found.predicted_iou, found.stability, points)
        return masks, self._cut(embedding, pixels.shape[:2])

    @torch.inference_mode()
    def _encode_as_authors(self, pixels: Pixels) -> Tensor:
        embedding: Tensor = self._generator.encoder(normalise_as_authors(self._sam, pixels))[0]
        return embedding

    def _cut(self, embedding: Tensor, size: tuple[int, ...]) -> Embedding:
        """Cut off the cells that hold only padding."""
        frame = ImageFrame.of(self._sam, (size[0], size[1]))
        cell = frame.side // embedding.shape[-1]
        rows, cols = (math.ceil(length / cell) for length in frame.used)
        values = embedding[:, :rows, :cols].cpu().contiguous().numpy()
        names = tuple(f"sam_{index:03d}" for index in range(len(values)))
        stride = cell * max(size) / frame.side
        weights = np.ones(len(names), np.float32)
        return Embedding(values, stride, names, weights, as_authors=self._paper)
