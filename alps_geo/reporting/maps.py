"""The scenes of a page as pictures, with their labels, in a bounded number of bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import AlpsGeoError
from ..progress import Progress
from ..scenes.pictures import read_picture
from .encoding import encode_labels, encode_picture
from .formats import show_length
from .sources import SceneSource, Source

#: Longest side of the picture of a single scene, in pixels; of more scenes each has fewer.
SIDE = 1600
#: Scenes with pictures; those after them are told by numbers only.
MOST_SCENES = 16
#: What the pictures of all scenes, and the label maps of all, may need.
PICTURE_BYTES, LABEL_BYTES = 1_300_000, 1_300_000
#: Where a picture has no data.
EMPTY = np.array([214, 217, 221], np.uint8)


@dataclass(frozen=True)
class Map:
    """A scene on a page.

    Attributes
    ----------
    stem : str
    height, width : int
        Of the picture, in pixels.
    picture : str
        Its address; empty where the scene cannot be read.
    labels : str
        The address of the label map.
    bar_share : float
        Length of the scale bar as a share of the width; 0 where lengths are not known.
    bar_text : str
    """

    stem: str
    height: int
    width: int
    picture: str
    labels: str
    bar_share: float
    bar_text: str


def make_maps(source: Source, progress: Progress) -> list[Map]:
    """Make the pictures of the first scenes; one that cannot be read is told, and left out.

    Parameters
    ----------
    source : Source
    progress : Progress
        Is told of scenes that cannot be read.
    """
    chosen = source.scenes[:MOST_SCENES]
    side = round(SIDE / math.sqrt(max(1, len(chosen))))
    count = max(1, len(chosen))
    return [_make_map(scene, source.colors, side, count, progress) for scene in chosen]


def _make_map(
    scene: SceneSource, colors: Mapping[int, str], side: int, count: int, progress: Progress
) -> Map:
    scale = min(1.0, side / max(scene.grid.height, scene.grid.width))
    height, width = (max(1, round(size * scale)) for size in (scene.grid.height, scene.grid.width))
    labels = scene.read_labels(height, width)
    picture = ""
    if scene.scene is not None:
        try:
            pixels, valid = read_picture(scene.scene, scene.grid.window, (height, width))
            picture = encode_picture(fill_gaps(pixels, valid), PICTURE_BYTES // count)
        except AlpsGeoError as error:
            progress.message(f"the report has no picture of {scene.stem}: {error}")
    share, text = _scale_bar(scene)
    known = encode_labels(labels, colors, LABEL_BYTES // count)
    return Map(scene.stem, height, width, picture, known, share, text)


def fill_gaps(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a picture that is grey where there is no data."""
    return np.where(valid[..., np.newaxis], pixels, EMPTY)


def _scale_bar(scene: SceneSource) -> tuple[float, str]:
    """Return the share of the width that a round length takes, about a sixth, and that length."""
    size = scene.grid.pixel_size_m
    if size is None:
        return 0.0, ""
    across = size * scene.grid.width
    goal = across / 6
    step = 10 ** math.floor(math.log10(goal))
    length = max(factor * step for factor in (1, 2, 5) if factor * step <= goal)
    return length / across, show_length(length)
