"""The mask model that is always there: no weights, no network, CPU only, deterministic.

Masks are regions of a hierarchy (`hierarchy`): one level that covers the tile without gaps, and
of the finer and coarser levels those regions that stay the same when the level is moved, parts
and wholes. What a place looks like (`texture`) is painted on a grid, with what the region around
it looks like as one thing, and averaged under each mask by the next stage.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ...scenes.spans import Spans
from ...settings import GateSettings
from ..masks import Embedding, Masks
from . import texture
from .hierarchy import Doubles, Hierarchy, Ints, MergeRules, build_hierarchy, sum_groups
from .texture import Level, Planes

_VERSION = "builtin 1"  # to be raised whenever masks or features change

_BASE = 6000.0  # merge cost (squared Lab units times pixels) of the level that covers the tile
_STEP = 4.0  # ratio between the costs of one level and the next
_STEPS = (0, -1, 1, 2)  # levels, from the base: itself, a finer one, two coarser
_WOBBLE = 2.0  # factor by which a level is moved to see what stays
_STABLE = 0.8  # of parts and wholes; the base keeps all, to leave no gaps
_MAX_AREA = 1 << 14  # pixels; a region's features should not depend on what is far away
_MAX_SHARE = 0.25  # of the tile's valid area; below the filtering gate's 0.3
_BELOW_GATE = 5 / 6  # of a gate that is wider, as 0.25 is of 0.3
_MIN_AREA = 16  # pixels

# Colour leads, hue a little before lightness, which shade and the sun's angle change. Each kind of
# texture, surroundings and shape adds less than a colour does; planes that say nearly the same
# share their weight. Dropping any one kind of texture or surroundings changes the benchmark less
# than another seed does; of the regions' own numbers, contrast inside and shape matter most.
_PLACE_WEIGHTS = {
    **{"lightness": 1.0, "green_red": 1.1, "blue_yellow": 1.1},
    **{"lightness_around": 0.3, "green_red_around": 0.3, "blue_yellow_around": 0.3},
    **{"roughness": 0.35, "roughness_around": 0.5, "colour_roughness": 0.35},
    **{"direction": 0.15, "direction_around": 0.15},
}
_REGION_WEIGHTS = {"contrast_inside": 0.7, "stretched": 0.35, "ragged": 0.35, "narrow": 0.35}


class BuiltinModel:
    """Finds regions at several scales from colour, and describes them by colour and texture.

    Parameters
    ----------
    settings : GateSettings, optional
        A wider gate lets larger regions be made, and a lower least area smaller ones.
    """

    def __init__(self, settings: GateSettings | None = None) -> None:
        settings = settings or GateSettings()
        self._max_share = max(_MAX_SHARE, _BELOW_GATE * settings.area_threshold)
        self._min_area = min(_MIN_AREA, settings.min_area_px)

    @property
    def name(self) -> str:
        """What the user calls the model."""
        return "builtin"

    @property
    def checksum(self) -> str:
        """What tells this model from another."""
        return hashlib.sha256(_VERSION.encode()).hexdigest()

    @property
    def follows_colour(self) -> bool:
        """True: regions would end where JPEG's blocks of colour do."""
        return True

    def segment(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> tuple[Masks, Embedding]:
        """Find the regions of a tile.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
        valid : ndarray of bool, shape (height, width)

        Returns
        -------
        Masks
            None where all valid pixels are alike.
        Embedding
        """
        lab = texture.to_lab(np.where(valid[:, :, np.newaxis], pixels, np.uint8(0)))
        largest = min(_MAX_AREA, int(self._max_share * np.count_nonzero(valid)))
        rules = MergeRules(_BASE * _STEP ** max(_STEPS) * _WOBBLE, largest, self._min_area)
        tree = build_hierarchy(lab, valid, rules)
        return _find_masks(tree, self._min_area), _embed(tree, lab, valid)


def _find_masks(tree: Hierarchy, min_area: int) -> Masks:
    """Return the base level's regions and the stable ones of the other levels, each once."""
    taken = np.zeros(0, np.int64)
    found = []
    for step in _STEPS:
        height = _BASE * _STEP**step
        nodes, groups = np.unique(tree.cut(height), return_inverse=True)
        stability = _stability(tree, groups, height)
        fresh = ~np.isin(nodes, taken) & (_areas(tree, groups) >= min_area)
        if step != 0:
            fresh &= stability >= _STABLE
        taken = np.concatenate([taken, nodes[fresh]])
        numbers = np.where(fresh, np.cumsum(fresh), 0)
        labels = np.concatenate([[0], numbers[groups]])[tree.leaves]
        spans = Spans.from_labels(labels, int(np.count_nonzero(fresh)))
        clarity = _clarity(tree, groups)
        found.append(Masks.from_spans(spans, clarity[fresh], stability[fresh]))
    return Masks.concatenate(found)


def _areas(tree: Hierarchy, groups: Ints) -> Doubles:
    return sum_groups(groups, tree.sums[:, 0], _count(groups))


def _count(groups: Ints) -> int:
    return int(groups.max(initial=-1)) + 1


def _stability(tree: Hierarchy, groups: Ints, height: float) -> Doubles:
    """Return each region's stability as SAM means it.

    That is the IoU of the masks that a stricter and a looser threshold give: the largest piece
    that a region falls into below its level, and what it becomes part of above.
    """
    strict = np.unique(tree.cut(height / _WOBBLE), return_inverse=True)[1]
    loose = np.unique(tree.cut(height * _WOBBLE), return_inverse=True)[1]
    pieces = np.zeros(_count(groups))
    np.maximum.at(pieces, groups, _areas(tree, strict)[strict])
    wholes = np.zeros(len(pieces))
    wholes[groups] = _areas(tree, loose)[loose]
    return pieces / wholes


def _clarity(tree: Hierarchy, groups: Ints) -> Doubles:
    """Return how well regions stand out: contrast at the border against contrast inside."""
    means, spreads = _colours(tree, groups)
    first, second = groups[tree.edges[:, :2].T]
    steps = np.sqrt(np.square(means[first] - means[second]).sum(axis=1))
    borders = _along_borders(tree, groups, np.ones(len(steps)))
    contrasts = _along_borders(tree, groups, steps) / np.maximum(borders, 1)
    return contrasts / (contrasts + spreads + 1)


def _along_borders(tree: Hierarchy, groups: Ints, values: Doubles) -> Doubles:
    """Sum a value per edge over the pixel sides that each region shares with others."""
    first, second = groups[tree.edges[:, :2].T]
    parts = np.where(first == second, 0, tree.edges[:, 2] * values)
    count = _count(groups)
    return sum_groups(first, parts, count) + sum_groups(second, parts, count)


def _colours(tree: Hierarchy, groups: Ints) -> tuple[Doubles, Doubles]:
    """Return each region's mean colour, shape (n_regions, 3), and standard deviation."""
    areas, *sums, squares = (sum_groups(groups, c, _count(groups)) for c in tree.sums.T)
    means = np.stack(sums, axis=1) / areas[:, np.newaxis]
    variances = squares / areas - np.square(means).sum(axis=1)
    return means, np.sqrt(np.maximum(variances, 0))


def _embed(tree: Hierarchy, lab: Planes, valid: NDArray[np.bool_]) -> Embedding:
    weights = _PLACE_WEIGHTS | _REGION_WEIGHTS
    values = np.concatenate([texture.describe(lab, valid), _paint_regions(tree, valid)])
    columns = np.array(list(weights.values()), np.float32)
    return Embedding(values, float(texture.STRIDE), tuple(weights), columns)


def _paint_regions(tree: Hierarchy, valid: NDArray[np.bool_]) -> Planes:
    """Paint what the base level's regions look like as a whole, a plane per number."""
    groups = np.unique(tree.cut(_BASE), return_inverse=True)[1]
    numbers = np.zeros((len(_REGION_WEIGHTS), 1 + _count(groups)), np.float32)
    regions = np.concatenate([[0], groups + 1])[tree.leaves]
    if len(groups):
        spreads = _colours(tree, groups)[1]
        numbers[:, 1:] = [np.log(spreads + 0.5), *_shapes(tree, groups, regions)]
    painted = Level(numbers[:, regions], valid.astype(np.float32), 1).halve()
    return painted.planes


def _shapes(tree: Hierarchy, groups: Ints, regions: Ints) -> tuple[Doubles, Doubles, Doubles]:
    """Return how stretched, how ragged and how narrow each region is, sizes as logarithms."""
    rows, cols = (axis.ravel().astype(np.float64) for axis in np.indices(regions.shape))
    flat = regions.ravel()
    areas = _areas(tree, groups)
    row, col, rows2, cols2, mixed = (
        sum_groups(flat, some, len(areas) + 1)[1:] / areas
        for some in (rows, cols, rows * rows, cols * cols, rows * cols)
    )
    # A pixel is a square, not a point: its own variance is 1/12.
    tall, wide = rows2 - row * row + 1 / 12, cols2 - col * col + 1 / 12
    root = np.sqrt(np.square(tall - wide) + 4 * np.square(mixed - row * col))
    longer, shorter = (tall + wide + root) / 2, np.maximum((tall + wide - root) / 2, 1 / 12)
    stretched = np.log(longer / shorter) / 2
    ragged = -np.log(np.minimum(areas / (4 * np.pi * np.sqrt(longer * shorter)), 1))
    borders = _along_borders(tree, groups, np.ones(len(tree.edges)))
    # Sides on the tile's or the data's border are not counted; no region has fewer than a circle.
    narrow = np.log(2 * areas / np.maximum(borders, 2 * np.sqrt(np.pi * areas)))
    return stretched, ragged, narrow
