"""The search for masks in one crop of an image: points in, masks out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.amg import is_box_near_crop_edge
from torch import Tensor
from torchvision.ops.boxes import batched_nms

from ..._columns import Columns
from ...scenes.spans import Spans
from .batching import BatchSize
from .decoder import DecodedMasks, MaskDecoder
from .inputs import ImageFrame
from .lanes import map_ahead, runs_in_lanes
from .pixels import EnlargedPixels, MaskPixels

#: Batches of logits that wait for a thread to measure them; bounds memory.
_WAITING = 4
#: Masks that are worth a task of their own.
_GROUP = 48


@dataclass(frozen=True)
class Thresholds:
    """Which masks are kept.

    Attributes
    ----------
    predicted_iou, stability : float
        Masks below are dropped; 0 drops none.
    offset : float
        How far the logits' threshold moves for the stability.
    box_iou : float
        Box IoU above which the poorer of two masks is a duplicate.
    """

    predicted_iou: float
    stability: float
    offset: float
    box_iou: float


@dataclass(frozen=True)
class FoundMasks(Columns):
    """The masks of an image, a row per mask, in the order in which SAM gives them.

    Attributes
    ----------
    spans : Spans
        The masks' pixels.
    predicted_iou, stability : ndarray of float32, shape (n_masks,)
    points : ndarray of float64, shape (n_masks, 2)
        x and y of the prompt, in pixels.
    boxes : ndarray of int64, shape (n_masks, 4)
        First and last column and row: x0, y0, x1, y1.
    crops : ndarray of int64, shape (n_masks, 4)
        The crop each mask was found in: x0, y0, x1, y1.
    """

    spans: Spans
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    points: NDArray[np.float64]
    boxes: NDArray[np.int64]
    crops: NDArray[np.int64]


@dataclass(frozen=True)
class _Logits:
    """Low-resolution masks, a row per mask, on the device that made them."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> _Logits:
        """Return the chosen rows, by number or by a flag each."""
        return _Logits(self.values[torch.from_numpy(chosen).to(self.values.device)])

    @classmethod
    def concatenate(cls, parts: Sequence[_Logits]) -> _Logits:
        """Put rows one below another."""
        return cls(torch.cat([part.values for part in parts]))


@dataclass(frozen=True)
class _Candidates(Columns):
    """Masks of a crop that passed both thresholds, not drawn yet."""

    logits: _Logits
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    points: NDArray[np.float64]
    boxes: NDArray[np.int64]

    @classmethod
    def none(cls, side: int, device: torch.device) -> _Candidates:
        """Return no candidates, with logits of a side."""
        scores = np.zeros(0, np.float32)
        logits = _Logits(torch.zeros(0, side, side, device=device))
        return cls(logits, scores, scores, np.zeros((0, 2)), np.zeros((0, 4), np.int64))


class CropSearch:
    """Finds the masks of crops: a GPU does all of it, a CPU measures in a thread meanwhile.

    Parameters
    ----------
    sam : segment_anything.modeling.Sam
    decoder : MaskDecoder
        Of the same model.
    batch : BatchSize
    thresholds : Thresholds
    """

    def __init__(
        self, sam: Sam, decoder: MaskDecoder, batch: BatchSize, thresholds: Thresholds
    ) -> None:
        self._sam = sam
        self._decoder = decoder
        self._batch = batch
        self._thresholds = thresholds

    def find(
        self,
        embedding: Tensor,
        box: list[int],
        grid: NDArray[np.floating],
        size: tuple[int, int],
        *,
        adaptive: bool,
    ) -> FoundMasks:
        """Find the masks of one crop.

        Parameters
        ----------
        embedding : Tensor of float32, shape (channels, rows, cols)
            Of the crop.
        box : list of int
            The crop in the image: x0, y0, x1, y1.
        grid : ndarray of float, shape (n_points, 2)
            x and y of the prompts, from 0 to 1.
        size : tuple of int
            Height and width of the image.
        adaptive : bool
            Skip points that masks of other points cover.

        Returns
        -------
        FoundMasks
            In the image's pixels, best predicted IoU first.
        """
        task = self._task(embedding, box, size)
        points = grid * np.array([[task.frame.width, task.frame.height]])
        candidates = self._try_adaptively(task, points) if adaptive else self._try(task, points)
        kept = batched_nms(
            torch.from_numpy(candidates.boxes).float(),
            torch.from_numpy(candidates.predicted_iou),
            torch.zeros(len(candidates.boxes)),
            self._thresholds.box_iou,
        ).numpy()
        candidates = candidates.take(kept)
        drawn = task.pixels.draw(candidates.logits.values, self._sam.mask_threshold)
        return FoundMasks(
            drawn.shift(box[1], box[0]),
            candidates.predicted_iou,
            candidates.stability,
            candidates.points + np.array(box[:2]),
            candidates.boxes + np.array([*box[:2], *box[:2]]),
            np.tile(np.array(box), (len(kept), 1)),
        )

    def _task(self, embedding: Tensor, box: list[int], size: tuple[int, int]) -> _Task:
        frame = ImageFrame.of(self._sam, (box[3] - box[1], box[2] - box[0]))
        return _Task(embedding, frame, self._pixels(frame), box, [0, 0, size[1], size[0]])

    def _pixels(self, frame: ImageFrame) -> MaskPixels:
        size = (frame.height, frame.width)
        if not runs_in_lanes(self._sam.device):
            return EnlargedPixels(frame.side, frame.used, size)
        # Here, because a run on a GPU needs nothing that is compiled for a CPU.
        from .logits import ResampledPixels, Resampler

        return ResampledPixels(Resampler(self._logits_side, frame.side, frame.used, size))

    @property
    def _logits_side(self) -> int:
        return 4 * int(self._sam.prompt_encoder.image_embedding_size[0])

    def _try(self, task: _Task, points: NDArray[np.float64]) -> _Candidates:
        """Return the candidates of points, in their order."""
        return self._batch.run(lambda batch: self._decode(task, points, batch))

    def _try_adaptively(self, task: _Task, points: NDArray[np.float64]) -> _Candidates:
        """Try a quarter of the points, and then those that no mask found covers."""
        rows, cols = np.divmod(np.arange(len(points)), round(len(points) ** 0.5))
        early = (rows % 2 == 0) & (cols % 2 == 0)
        first = self._try(task, points[early])
        covered = task.pixels.cover(first.logits.values, self._sam.mask_threshold)
        later = points[~early]
        place = later.astype(np.int64)
        second = self._try(task, later[~covered[place[:, 1], place[:, 0]]])
        return _Candidates.concatenate([first, second])

    def _decode(self, task: _Task, points: NDArray[np.float64], batch: int) -> _Candidates:
        prompts = task.frame.to_input(points, task.embedding.device)
        decoded = self._decoder.decode(
            task.embedding, prompts, self._thresholds.predicted_iou, batch
        )
        repeated = points.repeat(self._decoder.masks_per_prompt, axis=0)
        parts = [_Candidates.none(self._logits_side, task.embedding.device)]
        measure = partial(self._measure, task, points=repeated)
        if not runs_in_lanes(task.embedding.device):
            parts += map(measure, _gather(decoded))
            return _Candidates.concatenate(parts)
        with ThreadPoolExecutor(1) as thread:
            parts += map_ahead(thread, measure, _gather(decoded), _WAITING)
        return _Candidates.concatenate(parts)

    def _measure(
        self, task: _Task, decoded: DecodedMasks, points: NDArray[np.float64]
    ) -> _Candidates:
        limits = self._thresholds
        stable = task.pixels.select(
            decoded.logits, self._sam.mask_threshold, limits.offset, limits.stability
        )
        found = _Candidates(
            _Logits(decoded.logits).take(stable.chosen),
            decoded.predicted_iou.cpu().numpy()[stable.chosen],
            stable.stability,
            points[decoded.candidates.cpu().numpy()[stable.chosen]],
            stable.boxes,
        )
        near_edge = is_box_near_crop_edge(torch.from_numpy(found.boxes), task.box, task.image_box)
        return found.take(~near_edge.numpy())


@dataclass(frozen=True)
class _Task:
    """A crop to search; boxes are x0, y0, x1, y1 of the crop and of the whole image."""

    embedding: Tensor
    frame: ImageFrame
    pixels: MaskPixels
    box: list[int]
    image_box: list[int]


def _gather(decoded: Iterator[DecodedMasks], least: int = _GROUP) -> Iterator[DecodedMasks]:
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
