"""Segment Anything as a mask model: masks and embedding of a tile from Meta's checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from segment_anything.utils.amg import rle_to_mask
from torch.nn import functional

from ..masks import Embedding, Masks, Runs
from ..settings import MaskSettings
from .sam_checkpoint import load_sam
from .weights import sha256_of


class SamModel:
    """Finds masks with SAM's automatic mask generator.

    Attributes
    ----------
    name : str
        `sam-vit-b` and the like.
    checksum : str
        SHA-256 of the checkpoint file; with `+paper` where features are made the authors' way.
    """

    def __init__(
        self,
        sam: Sam,
        masks: MaskSettings,
        *,
        name: str,
        checksum: str,
        device: torch.device,
        feature_mode: str = "corrected",
    ) -> None:
        self.name = name
        self.checksum = checksum if feature_mode == "corrected" else f"{checksum}+{feature_mode}"
        self._paper = feature_mode == "paper"
        self._generator = SamAutomaticMaskGenerator(
            sam.to(device),
            points_per_side=masks.points_per_side,
            points_per_batch=4,
            pred_iou_thresh=masks.pred_iou_thresh,
            stability_score_thresh=masks.stability_score_thresh,
            box_nms_thresh=masks.box_nms_thresh,
            output_mode="uncompressed_rle",
        )

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        masks: MaskSettings,
        *,
        name: str | None,
        device: torch.device,
        feature_mode: str = "corrected",
    ) -> SamModel:
        """Read a checkpoint file.

        Parameters
        ----------
        checkpoint : Path
        masks : MaskSettings
        name : str or None
            The model that the file should hold; None for whatever it holds.
        device : torch.device
        feature_mode : str
            `corrected` or `paper`, see `segment`.

        Raises
        ------
        ModelError
            If the file is missing, damaged, or holds another model.
        """
        sam, found = load_sam(checkpoint, name=name)
        return cls(
            sam,
            masks,
            name=found,
            checksum=sha256_of(checkpoint),
            device=device,
            feature_mode=feature_mode,
        )

    def segment(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> tuple[Masks, Embedding]:
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
        height, width = pixels.shape[:2]
        records = self._generator.generate(pixels)
        return _masks_of(records), self._embed(pixels)

    @torch.inference_mode()
    def _embed(self, pixels: NDArray[np.uint8]) -> Embedding:
        predictor = self._generator.predictor
        sam = predictor.model
        height, width = pixels.shape[:2]
        side = sam.image_encoder.img_size
        image = torch.as_tensor(predictor.transform.apply_image(pixels), device=sam.device)
        image = image.permute(2, 0, 1)[None]
        rows, cols = image.shape[-2:]
        if self._paper:
            image = image.flip(1).float() / 255
            image = functional.pad(image, (0, side - cols, 0, side - rows))
        else:
            image = sam.preprocess(image)
        values = sam.image_encoder(image)[0].float().cpu().numpy()
        cell = side // values.shape[-1]
        values = values[:, : math.ceil(rows / cell), : math.ceil(cols / cell)]
        names = tuple(f"sam_{index:03d}" for index in range(len(values)))
        stride = cell * max(height, width) / side
        return Embedding(
            np.ascontiguousarray(values), stride, names, np.ones(len(names), np.float32)
        )


def _masks_of(records: list[dict[str, Any]]) -> Masks:
    if not records:
        return Masks.empty()
    bitmaps = np.stack([rle_to_mask(record["segmentation"]) for record in records])
    points = np.array([record["point_coords"][0] for record in records])
    return Masks.from_runs(
        Runs.from_bitmaps(bitmaps),
        np.array([record["predicted_iou"] for record in records]),
        np.array([record["stability_score"] for record in records]),
        np.floor(points[:, ::-1]),
    )
