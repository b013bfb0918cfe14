"""Masks of a whole image from a grid of points: SAM's automatic mask generator, faster.

A drop-in for `segment_anything.SamAutomaticMaskGenerator`: same arguments, same records, same
masks in the same order. What differs is the order of work: candidates are dropped by their
predicted IoU before they are made into masks, measured on low-resolution logits, and only those
that are left in the end are drawn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.amg import (
    box_xyxy_to_xywh,
    build_all_layer_point_grids,
    generate_crop_boxes,
    is_box_near_crop_edge,
)
from torch import Tensor
from torchvision.ops.boxes import batched_nms

from ..errors import SettingsError
from ..masks import Runs
from .sam_batch import BatchSize
from .sam_decoder import DecodedMasks, MaskDecoder
from .sam_encoder import ImageEncoder
from .sam_images import ImageFrame, normalise
from .sam_postprocess import Resampler, encode_rle
from .sam_regions import remove_small_regions

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
Pixels = NDArray[np.uint8]
#: Batches of logits that wait for a thread to measure them; bounds memory.
_WAITING = 4


@dataclass(frozen=True)
class FoundMasks:
    """The masks of an image, a row per mask, in the order in which SAM gives them.

    Attributes
    ----------
    runs : Runs
        The masks' pixels.
    predicted_iou, stability : ndarray of float32, shape (n_masks,)
    points : ndarray of float64, shape (n_masks, 2)
        x and y of the prompt, in pixels.
    boxes : ndarray of int64, shape (n_masks, 4)
        First and last column and row: x0, y0, x1, y1.
    crops : ndarray of int64, shape (n_masks, 4)
        The crop each mask was found in: x0, y0, x1, y1.
    """

    runs: Runs
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    points: NDArray[np.float64]
    boxes: NDArray[np.int64]
    crops: NDArray[np.int64]

    def take(self, chosen: NDArray[np.integer]) -> FoundMasks:
        """Return the chosen masks, by number."""
        columns = (self.predicted_iou, self.stability, self.points, self.boxes, self.crops)
        return FoundMasks(self.runs.take(chosen), *(column[chosen] for column in columns))

    @classmethod
    def concatenate(cls, parts: Sequence[FoundMasks]) -> FoundMasks:
        """Put several tables of masks one below another."""
        names = [item.name for item in dataclasses.fields(cls) if item.name != "runs"]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(runs=Runs.concatenate([part.runs for part in parts]), **columns)


@dataclass(frozen=True)
class _Candidates:
    """Masks of a crop that passed both thresholds, not drawn yet."""

    logits: NDArray[np.float32]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    points: NDArray[np.float64]
    boxes: NDArray[np.int64]

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> _Candidates:
        columns = (getattr(self, item.name) for item in dataclasses.fields(self))
        return _Candidates(*(column[chosen] for column in columns))

    @classmethod
    def concatenate(cls, parts: Sequence[_Candidates]) -> _Candidates:
        names = [item.name for item in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class MaskGenerator:
    """Finds the masks of images; arguments as of `SamAutomaticMaskGenerator`.

    Parameters
    ----------
    model : segment_anything.modeling.Sam
        Any checkpoint of Meta's; its weights are used where they are.
    points_per_side : int or None
        Points along a side of the grid; None where `point_grids` gives the points.
    points_per_batch : int
        Prompts that run at once, at most: a CPU takes one, and a GPU that runs out of memory
        goes on with half as many.
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

    Raises
    ------
    SettingsError
        If arguments contradict each other or have values that cannot work.
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
        self.model = model
        self.point_grids = point_grids or build_all_layer_point_grids(
            points_per_side, crop_n_layers, crop_n_points_downscale_factor
        )
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.min_mask_region_area = min_mask_region_area
        self.adaptive = adaptive
        self._write = _record_writer(output_mode)
        with torch.inference_mode():
            self._encoder = ImageEncoder(model, PRECISIONS[precision])
            self._decoder = MaskDecoder(model, PRECISIONS[precision])
        self._batch = BatchSize.start(points_per_batch, model.device)

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
        areas = found.runs.areas
        return [
            {
                "segmentation": self._write(found.runs.bitmap(index, size[0], size[1])),
                "area": int(areas[index]),
                "bbox": box_xyxy_to_xywh(found.boxes[index]).tolist(),
                "predicted_iou": float(found.predicted_iou[index]),
                "point_coords": [found.points[index].tolist()],
                "stability_score": float(found.stability[index]),
                "crop_box": box_xyxy_to_xywh(found.crops[index]).tolist(),
            }
            for index in range(len(found.runs))
        ]

    @torch.inference_mode()
    def encode(self, images: Sequence[Pixels]) -> list[Tensor]:
        """Encode images, all in one batch.

        Returns
        -------
        list of Tensor of float32, shape (channels, rows, cols)
            On the model's device; padding included.
        """
        batch = torch.cat([normalise(self.model, image) for image in images])
        return list(self._encoder(batch))

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
            parts.append(self._search(own, box, self.point_grids[layer], (height, width)))
        found = FoundMasks.concatenate(parts)
        if len(boxes) > 1:
            found = self._drop_duplicates_between_crops(found)
        if self.min_mask_region_area > 0:
            threshold = max(self.box_nms_thresh, self.crop_nms_thresh)
            found = self._clean(found, threshold, (height, width))
        return found, embedding

    def _search(
        self, embedding: Tensor, box: list[int], grid: NDArray[Any], size: tuple[int, int]
    ) -> FoundMasks:
        """Find the masks of one crop, in the whole image's pixels."""
        frame = ImageFrame.of(self.model, (box[3] - box[1], box[2] - box[0]))
        points = grid * np.array([[frame.width, frame.height]])
        logits_side = 4 * self.model.prompt_encoder.image_embedding_size[0]
        resampler = Resampler(
            logits_side, frame.side, frame.used, (frame.height, frame.width)
        )
        search = _Search(self, embedding, frame, resampler, box, size)
        candidates = search.adaptive(points) if self.adaptive else search.run(points)
        kept = batched_nms(
            torch.from_numpy(candidates.boxes).float(),
            torch.from_numpy(candidates.predicted_iou),
            torch.zeros(len(candidates.boxes)),
            self.box_nms_thresh,
        ).numpy()
        candidates = candidates.take(kept)
        runs = Runs.concatenate([
            Runs.from_bitmaps(resampler.draw(logits, self.model.mask_threshold)[None])
            for logits in candidates.logits
        ])
        return FoundMasks(
            runs.shift(box[1], box[0]),
            candidates.predicted_iou,
            candidates.stability,
            candidates.points + np.array(box[:2]),
            candidates.boxes + np.array([*box[:2], *box[:2]]),
            np.tile(np.array(box), (len(kept), 1)),
        )

    def _drop_duplicates_between_crops(self, found: FoundMasks) -> FoundMasks:
        crops = torch.from_numpy(found.crops)
        # Masks of smaller crops are preferred.
        scores = 1 / ((crops[:, 2] - crops[:, 0]) * (crops[:, 3] - crops[:, 1]))
        boxes = torch.from_numpy(found.boxes).float()
        kept = batched_nms(boxes, scores, torch.zeros(len(boxes)), self.crop_nms_thresh)
        return found.take(kept.numpy())

    def _clean(self, found: FoundMasks, threshold: float, size: tuple[int, int]) -> FoundMasks:
        """Fill small holes and drop small islands, and then duplicates that this made."""
        if not len(found.runs):
            return found
        runs, changed = remove_small_regions(found.runs, self.min_mask_region_area, size)
        boxes = runs.boxes[:, [1, 0, 3, 2]].astype(np.int64)
        boxes[runs.areas > 0, 2:] -= 1
        # Masks that needed no cleaning are preferred.
        kept = batched_nms(
            torch.from_numpy(boxes).float(),
            torch.from_numpy(~changed).float(),
            torch.zeros(len(boxes)),
            threshold,
        ).numpy()
        return dataclasses.replace(found, runs=runs, boxes=boxes).take(kept)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise SettingsError(message)


class _Search:
    """The search of one crop: decoding on the device, measuring in a thread meanwhile."""

    def __init__(
        self,
        owner: MaskGenerator,
        embedding: Tensor,
        frame: ImageFrame,
        resampler: Resampler,
        box: list[int],
        size: tuple[int, int],
    ) -> None:
        self._owner = owner
        self._embedding = embedding
        self._frame = frame
        self._resampler = resampler
        self._box = box
        self._image_box = [0, 0, size[1], size[0]]

    def run(self, points: NDArray[np.float64]) -> _Candidates:
        """Return the candidates of points, in their order; with a smaller batch if need be."""
        return self._owner._batch.run(lambda batch: self._run(points, batch))

    def adaptive(self, points: NDArray[np.float64]) -> _Candidates:
        """Try a quarter of the points, and then those that no mask found covers."""
        side = round(len(points) ** 0.5)
        rows, cols = np.divmod(np.arange(len(points)), side)
        early = (rows % 2 == 0) & (cols % 2 == 0)
        first = self.run(points[early])
        covered = np.zeros((self._frame.height, self._frame.width), bool)
        threshold = self._owner.model.mask_threshold
        for logits in first.logits:
            covered |= self._resampler.draw(logits, threshold)
        later = points[~early]
        place = later.astype(np.int64)
        second = self.run(later[~covered[place[:, 1], place[:, 0]]])
        return _Candidates.concatenate([first, second])

    def _run(self, points: NDArray[np.float64], batch: int) -> _Candidates:
        prompts = self._frame.to_input(points, self._embedding.device)
        owner = self._owner
        decoded = owner._decoder.decode(self._embedding, prompts, owner.pred_iou_thresh, batch)
        repeated = points.repeat(owner._decoder.masks_per_prompt, axis=0)
        parts: list[_Candidates] = [self._no_candidates()]
        with ThreadPoolExecutor(1) as thread:
            waiting: list[Future[_Candidates]] = []
            for group in _gather(decoded):
                waiting.append(thread.submit(self._measure, group, repeated))
                if len(waiting) > _WAITING:
                    parts.append(waiting.pop(0).result())
            parts.extend(item.result() for item in waiting)
        return _Candidates.concatenate(parts)

    def _measure(self, decoded: DecodedMasks, points: NDArray[np.float64]) -> _Candidates:
        owner = self._owner
        logits = decoded.logits.cpu().numpy()
        measures = self._resampler.measure(
            logits, owner.model.mask_threshold, owner.stability_score_offset
        )
        found = _Candidates(
            logits,
            decoded.predicted_iou.cpu().numpy(),
            measures.stability,
            points[decoded.candidates.cpu().numpy()],
            measures.boxes,
        )
        if owner.stability_score_thresh > 0:
            found = found.take(found.stability >= owner.stability_score_thresh)
        near_edge = is_box_near_crop_edge(
            torch.from_numpy(found.boxes), self._box, self._image_box
        )
        return found.take(~near_edge.numpy())

    def _no_candidates(self) -> _Candidates:
        side = 4 * self._owner.model.prompt_encoder.image_embedding_size[0]
        scores = np.zeros(0, np.float32)
        return _Candidates(
            np.zeros((0, side, side), np.float32),
            scores,
            scores,
            np.zeros((0, 2)),
            np.zeros((0, 4), np.int64),
        )


def _gather(decoded: Iterator[DecodedMasks], least: int = 48) -> Iterator[DecodedMasks]:
    """Put batches together until there are enough masks to be worth a task."""
    group: list[DecodedMasks] = []
    for item in decoded:
        group.append(item)
        if sum(len(part.logits) for part in group) >= least:
            yield _join(group)
            group = []
    if group:
        yield _join(group)


def _join(group: list[DecodedMasks]) -> DecodedMasks:
    return DecodedMasks(
        torch.cat([part.logits for part in group]),
        torch.cat([part.predicted_iou for part in group]),
        torch.cat([part.candidates for part in group]),
    )


def _record_writer(mode: str) -> Callable[[NDArray[np.bool_]], Any]:
    """Return what turns a bitmap into a record's segmentation."""
    if mode == "binary_mask":
        return np.asarray
    if mode == "uncompressed_rle":
        return encode_rle
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise SettingsError("output_mode coco_rle needs: pip install pycocotools") from error

    def encode(bitmap: NDArray[np.bool_]) -> dict[str, Any]:
        rle: dict[str, Any] = coco.encode(np.asfortranarray(bitmap.astype(np.uint8)))
        return {**rle, "counts": rle["counts"].decode()}

    return encode
