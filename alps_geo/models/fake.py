"""A mask model that knows the truth: it returns the objects of a drawn scene, for tests.

A drawn scene gives every object a colour of its own: number = red + 256 green + 65536 blue, and 0
is the ground between objects. Read with `stretch none`, pixels tell which object they belong to.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..scenes.grid import Window
from ..scenes.spans import Spans
from .masks import Embedding, Masks

#: How far the jittered fake moves boundaries, in pixels.
JITTER_PX = 2.0
#: Share of the masks that the jittered fake misses.
MISSED_SHARE = 0.1


def draw_objects(objects: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the picture of a scene of numbered objects, shape (height, width, 3).

    Parameters
    ----------
    objects : ndarray of int, shape (height, width)
        Number of the object at each pixel, from 0 (none) to 2**24 - 1.
    """
    shifts = np.array([0, 8, 16])
    picture: NDArray[np.uint8] = (objects[:, :, np.newaxis] >> shifts & 255).astype(np.uint8)
    return picture


class FakeModel:
    """Returns the true objects of a drawn scene, clipped to the tile.

    Parameters
    ----------
    split : bool
        Return each connected part in the tile as a mask of its own, as SAM would, instead of each
        object as one mask.
    jitter : bool
        Move boundaries by up to two pixels, miss a tenth of the masks and add nested parts;
        different in every tile, but the same for the same pixels.
    """

    def __init__(self, *, split: bool = False, jitter: bool = False) -> None:
        self.split = split
        self.jitter = jitter

    @property
    def name(self) -> str:
        """What the user calls the model."""
        return "fake"

    @property
    def checksum(self) -> str:
        """What tells this model from another."""
        return f"split={self.split} jitter={self.jitter}"

    def segment(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> tuple[Masks, Embedding]:
        """Find the drawn objects; see `MaskModel.segment`."""
        numbers = (pixels.astype(np.int64) << np.array([0, 8, 16])).sum(axis=2) * valid
        known, labels = np.unique(numbers, return_inverse=True)
        labels = labels.reshape(numbers.shape) + (known[0] != 0)
        spans = Spans.from_labels(labels, int(labels.max()))
        if self.split:
            spans = spans.connected_parts()[0]
        masks = Masks.from_spans(spans)
        if self.jitter:
            masks = _jitter(masks, valid, np.random.default_rng(zlib.crc32(pixels.tobytes())))
        values = np.moveaxis(pixels, 2, 0).astype(np.float32)
        embedding = Embedding(values, 1.0, ("red", "green", "blue"), np.ones(3, np.float32))
        return masks, embedding


def _jitter(masks: Masks, valid: NDArray[np.bool_], rng: np.random.Generator) -> Masks:
    """Return most of the masks with moved boundaries, some of them with a part of their own.

    Points stay inside the true object; parts have half the stability.
    """
    scene = Window(0, 0, *valid.shape)
    pieces, sources, stability = [], [], []
    for index, box in enumerate(masks.spans.boxes.tolist()):
        if rng.random() < MISSED_SHARE:
            continue
        # All that moves is near: distances need not be measured through the whole tile.
        near = Window(box[0], box[1], box[2] - box[0], box[3] - box[1])
        near = near.grow(int(JITTER_PX) + 2, *valid.shape)
        here = masks.spans.take(np.array([index])).clip(near).shift(-near.row, -near.col)
        bitmap = here.bitmap(0, near.height, near.width)
        found = [_move_boundary(bitmap, rng)]
        if rng.random() < MISSED_SHARE:
            inside = ndimage.distance_transform_edt(bitmap)
            found.append(inside > inside.max() / 2)
        for order, piece in enumerate(found):
            shape = piece & valid[near.slices]
            if shape.any():
                pieces.append(Spans.from_bitmaps(shape[np.newaxis]).shift(near.row, near.col))
                sources.append(index)
                stability.append(1 / (1 + order))
    spans = Spans.concatenate(pieces).clip(scene)
    return Masks.from_spans(spans, None, np.array(stability), masks.points[np.array(sources, int)])


def _move_boundary(bitmap: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the mask with its boundary moved in and out by up to `JITTER_PX`, smoothly."""
    signed = ndimage.distance_transform_edt(~bitmap) - ndimage.distance_transform_edt(bitmap)
    coarse = rng.uniform(
        -JITTER_PX, JITTER_PX, (bitmap.shape[0] // 8 + 2, bitmap.shape[1] // 8 + 2)
    )
    shift = ndimage.zoom(coarse, 8, order=1)[: bitmap.shape[0], : bitmap.shape[1]]
    moved: NDArray[np.bool_] = signed <= np.where(bitmap, shift - 1, shift)
    return moved
