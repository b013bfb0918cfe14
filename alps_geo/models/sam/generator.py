"""Masks of a whole image from a grid of points: SAM's automatic mask generator, faster.

A drop-in for `segment_anything.SamAutomaticMaskGenerator`: same arguments, same records, same
masks in the same order. What differs is the order of work: candidates are dropped by their
predicted IoU before they are made into masks, measured on low-resolution logits, and only those
that are left in the end are drawn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.amg import (
    box_xyxy_to_xywh,
    build_all_layer_point_grids,
    generate_crop_boxes,
)
from torch import Tensor
from torchvision.ops.boxes import batched_nms

from ..._memory import keep_freed_memory
from ...errors import SettingsError
from .batching import BatchSize
from .cleanup import remove_small_regions
from .decoder import MaskDecoder
from .encoder import ImageEncoder
from .inputs import normalise
from .search import CropSearch, FoundMasks, Thresholds

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
#: Images that a GPU encodes at once, to begin with.
IMAGES_AT_ONCE = 4
#: Prompts that a core of a CPU runs at once: their tokens share weights, and strips of the image.
_CPU_PROMPTS = 32
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
Pixels = NDArray[np.uint8]


class MaskGenerator:
    """Finds the masks of images; arguments as of `SamAutomaticMaskGenerator`.

    Parameters
    ----------
    model : segment_anything.modeling.Sam
        Any checkpoint of Meta's; its weights are used where they are.
    points_per_side : int or None
        Points along a side of the grid; None where `point_grids` gives the points.
    points_per_batch : int
        Prompts that run at once, at most: a CPU's core takes 32, and a GPU that runs out of
        memory goes on with half as many.
    pred_iou_thresh, stability_score_thresh, stability_score_offset : float
        Masks below are dropped; how far the logits' threshold moves for the stability.
    box_nms_thresh, crop_nms_thresh : float
        Box IoU above which the poorer mask is a duplicate, in a crop and between crops.
    crop_n_layers, crop_overlap_ratio, crop_n_points_downscale_factor
        Search crops of the image too: 4 in the first layer, 16 in the second.
    point_grids : list of ndarray of float, shape (n_points, 2)
        Points from 0 to 1 for each layer of crops, instead of `points_per_side`.
    min_mask_region_area : int
        Fill holes and drop islands below this area, in pixels.
    output_mode : str
        `binary_mask`, `uncompressed_rle` or `coco_rle` (needs pycocotools).
    precision : str
        `fp32` for the original's masks; `bf16` is faster where the processor has it, and moves
        a few pixels.
    adaptive : bool
        Try every second point along each side first, and of the others only those that no
        accepted mask covers: faster, other masks.
    compiled : bool
        Compile the encoder's blocks with `torch.compile`, which takes some seconds with the first
        image: for many images. Attention on a CPU is compiled anyway, and encoders that are not
        Meta's vision transformer run as they are.

    Raises
    ------
    SettingsError
        If arguments contradict each other or have values that cannot work, or if something is to
        be compiled where PyTorch finds no compiler.
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[NDArray[np.floating]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        *,
        precision: str = "fp32",
        adaptive: bool = False,
        compiled: bool = False,
    ) -> None:
        _check(
            (points_per_side is None) != (point_grids is None),
            "give exactly one of points_per_side and point_grids",
        )
        _check(
            output_mode in OUTPUT_MODES,
            f"output_mode must be one of {', '.join(OUTPUT_MODES)}, not {output_mode!r}",
        )
        _check(
            precision in PRECISIONS,
            f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}",
        )
        if model.device.type == "cpu":
            keep_freed_memory()
        self.model = model
        self.point_grids = point_grids or build_all_layer_point_grids(
            points_per_side, crop_n_layers, crop_n_points_downscale_factor
        )
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.min_mask_region_area = min_mask_region_area
        self.adaptive = adaptive
        self._write = _record_writer(output_mode)
        with torch.inference_mode():
            self.encoder = ImageEncoder(model, PRECISIONS[precision], compiled=compiled)
            self.decoder = MaskDecoder(model, PRECISIONS[precision])
        thresholds = Thresholds(
            pred_iou_thresh, stability_score_thresh, stability_score_offset, box_nms_thresh
        )
        self.batch = BatchSize.start(points_per_batch, model.device, on_cpu=_CPU_PROMPTS)
        self.images = BatchSize.start(IMAGES_AT_ONCE, model.device, on_cpu=1)
        self._search = CropSearch(model, self.decoder, self.batch, thresholds)

    def generate(self, image: Pixels) -> list[dict[str, Any]]:
        """Find the masks of an image.

        Parameters
        ----------
        image : ndarray of uint8, shape (height, width, 3)
            Red, green, blue.

        Returns
        -------
        list of dict
            A record per mask, with the keys that `SamAutomaticMaskGenerator` gives it:
            segmentation, area, bbox (x, y, width, height), predicted_iou, point_coords,
            stability_score, crop_box.
        """
        return self.records(self.generate_with_embedding(image)[0], image.shape[:2])

    def records(self, found: FoundMasks, size: tuple[int, ...]) -> list[dict[str, Any]]:
        """Write masks of an image of (height, width) as the original's records."""
        areas = found.spans.areas
        return [
            {
                "segmentation": self._write(found.spans.bitmap(index, size[0], size[1])),
                "area": int(areas[index]),
                "bbox": box_xyxy_to_xywh(found.boxes[index]).tolist(),
                "predicted_iou": float(found.predicted_iou[index]),
                "point_coords": [found.points[index].tolist()],
                "stability_score": float(found.stability[index]),
                "crop_box": box_xyxy_to_xywh(found.crops[index]).tolist(),
            }
            for index in range(len(found.spans))
        ]

    @torch.inference_mode()
    def encode(self, images: Sequence[Pixels]) -> list[Tensor]:
        """Encode images, in one batch, or in smaller ones where memory runs out.

        Returns
        -------
        list of Tensor of float32, shape (channels, rows, cols)
            On the model's device; padding included.
        """
        inputs = [normalise(self.model, image) for image in images]
        return self.images.run(
            lambda size: [
                embedding
                for start in range(0, len(inputs), size)
                for embedding in self.encoder(torch.cat(inputs[start : start + size]))
            ]
        )

    @torch.inference_mode()
    def generate_with_embedding(
        self, image: Pixels, embedding: Tensor | None = None
    ) -> tuple[FoundMasks, Tensor]:
        """Find the masks of an image, and return the embedding they were made from.

        Parameters
        ----------
        image : ndarray of uint8, shape (height, width, 3)
        embedding : Tensor, optional
            Of the image, from `encode`.

        Returns
        -------
        masks : FoundMasks
        embedding : Tensor of float32, shape (channels, rows, cols)
            Of the whole image; padding included.
        """
        if embedding is None:
            embedding = self.encode([image])[0]
        height, width = image.shape[:2]
        boxes, layers = generate_crop_boxes(
            (height, width), self.crop_n_layers, self.crop_overlap_ratio
        )
        parts = []
        for box, layer in zip(boxes, layers, strict=True):
            crop = image[box[1] : box[3], box[0] : box[2]]
            own = embedding if layer == 0 else self.encode([crop])[0]
            grid = self.point_grids[layer]
            parts.append(self._search.find(own, box, grid, (height, width), adaptive=self.adaptive))
        found = FoundMasks.concatenate(parts)
        if len(boxes) > 1:
            found = self._drop_duplicates_between_crops(found)
        if self.min_mask_region_area > 0:
            threshold = max(self.box_nms_thresh, self.crop_nms_thresh)
            found = self._clean(found, threshold, (height, width))
        return found, embedding

    def _drop_duplicates_between_crops(self, found: FoundMasks) -> FoundMasks:
        crops = torch.from_numpy(found.crops)
        # Masks of smaller crops are preferred.
        scores = 1 / ((crops[:, 2] - crops[:, 0]) * (crops[:, 3] - crops[:, 1]))
        boxes = torch.from_numpy(found.boxes).float()
        kept = batched_nms(boxes, scores, torch.zeros(len(boxes)), self.crop_nms_thresh)
        return found.take(kept.numpy())

    def _clean(self, found: FoundMasks, threshold: float, size: tuple[int, int]) -> FoundMasks:
        """Fill small holes and drop small islands, and then duplicates that this made."""
        if not len(found.spans):
            return found
        spans, changed = remove_small_regions(found.spans, self.min_mask_region_area, size)
        boxes = spans.boxes[:, [1, 0, 3, 2]].astype(np.int64)
        boxes[spans.areas > 0, 2:] -= 1
        # Masks that needed no cleaning are preferred.
        kept = batched_nms(
            torch.from_numpy(boxes).float(),
            torch.from_numpy(~changed).float(),
            torch.zeros(len(boxes)),
            threshold,
        ).numpy()
        return dataclasses.replace(found, spans=spans, boxes=boxes).take(kept)


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Encode a mask as COCO's uncompressed run lengths, column by column, background first."""
    pixels = mask.T.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()
    if pixels[0]:
        counts = [0, *counts]
    return {"size": [int(side) for side in mask.shape], "counts": counts}


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise SettingsError(message)


def _record_writer(mode: str) -> Callable[[NDArray[np.bool_]], Any]:
    """Return what turns a bitmap into a record's segmentation."""
    if mode == "binary_mask":
        return np.asarray
    if mode == "uncompressed_rle":
        return encode_rle
    try:
        from pycocotools import mask as coco  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise SettingsError("output_mode coco_rle needs: pip install pycocotools") from error

    def encode(bitmap: NDArray[np.bool_]) -> dict[str, Any]:
        """Encode one mask as COCO does."""
        rle: dict[str, Any] = coco.encode(np.asfortranarray(bitmap.astype(np.uint8)))
        return {**rle, "counts": rle["counts"].decode()}

    return encode
