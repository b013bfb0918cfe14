"""Regions within regions: a tree of ever larger, ever less uniform parts of a tile.

Watershed basins are merged pair by pair, each time two neighbours that are each other's best
match. That gives the tree of best-first merging (for costs that do not fall as regions grow),
but whole arrays at a time, and no merge depends on what lies far away: a tile that is shifted
has the same regions, away from its border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

from .texture import blur

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_EDGE_SIGMA = 1.0  # pixels; below it, noise and JPEG blocks make the edges
_BLOCK = 128  # pixels; side of the pieces that a flat area too large for one region is cut into
_SMALL_DISCOUNT = 0.01  # so small regions go first, to the neighbour most like them


@dataclass(frozen=True)
class Hierarchy:
    """A forest of regions; nodes below `n_leaves` are basins, the others joined from two nodes.

    Attributes
    ----------
    leaves : ndarray of int32, shape (height, width)
        Basin of each pixel plus 1, 0 where there is no data.
    parents : ndarray of int64, shape (n_nodes,)
        What a node was joined into, always a higher number; -1 for the last.
    heights : ndarray of float64, shape (n_nodes,)
        Cost at which a node came into being; 0 for basins; never above its parent's.
    edges : ndarray of int64, shape (n_edges, 3)
        Two touching basins and the number of pixel sides they share.
    sums : ndarray of float64, shape (n_leaves, 5)
        Of each basin: pixels, sum of each colour channel, sum of squares of all channels.
    """

    leaves: NDArray[np.int32]
    parents: Ints
    heights: Doubles
    edges: Ints
    sums: Doubles

    @property
    def n_leaves(self) -> int:
        """Number of basins."""
        return len(self.sums)

    def cut(self, height: float) -> Ints:
        """Return for each basin the largest region around it that came in below `height`."""
        above = self.parents.copy()
        stays = (above < 0) | (self.heights[above] >= height)
        above[stays] = np.flatnonzero(stays)
        while True:
            further = above[above]
            if np.array_equal(further, above):
                break
            above = further
        regions: Ints = above[: self.n_leaves]
        return regions


@dataclass(frozen=True)
class MergeRules:
    """When two touching regions become one.

    Attributes
    ----------
    limit : float
        Cost from which regions stay apart.
    max_area, min_area : int
        In pixels. Regions below the second are always merged, others only up to the first.
    """

    limit: float
    max_area: int
    min_area: int


def build_hierarchy(
    lab: NDArray[np.float32], valid: NDArray[np.bool_], rules: MergeRules
) -> Hierarchy:
    """Find the regions of a tile.

    Parameters
    ----------
    lab : ndarray of float32, shape (3, height, width)
        Colour in a space where distances are perceived differences.
    valid : ndarray of bool, shape (height, width)
    rules : MergeRules

    Returns
    -------
    Hierarchy
        Without any basin where valid pixels are all alike: nothing stands out there.
    """
    gradient = _gradient(lab, valid)
    if not gradient.any():
        return _link(np.zeros(valid.shape, np.int32), lab, rules)
    basins = watershed(gradient, mask=valid)  # type: ignore[no-untyped-call]
    return _link(_split_large(basins.astype(np.int32), rules.max_area), lab, rules)


def sum_groups(groups: NDArray[np.integer], values: NDArray[np.floating], count: int) -> Doubles:
    """Sum values by the number of their group, from 0 to `count` - 1."""
    return np.asarray(np.bincount(groups, values, count), np.float64)


def _gradient(lab: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    share = valid.astype(np.float32)
    squares = np.zeros(valid.shape, np.float32)
    for smooth in blur(lab, share, _EDGE_SIGMA):
        for axis in (0, 1):
            squares += np.square(ndimage.sobel(smooth, axis, mode="nearest"))
    squares[~valid] = 0
    # Rounded, so that rounding errors of the filters make no basins where all is alike.
    steps: NDArray[np.float32] = np.round(np.sqrt(squares) * 32)
    return steps


def _split_large(leaves: NDArray[np.int32], max_area: int) -> NDArray[np.int32]:
    """Cut basins larger than any region may be along a grid."""
    large = np.bincount(leaves.ravel()) > max_area
    large[0] = False
    if not large.any():
        return leaves
    height, width = leaves.shape
    side = max(1, min(_BLOCK, int(max_area**0.5)))
    across = -(-width // side)
    blocks = np.arange(height)[:, np.newaxis] // side * across + np.arange(width) // side + 1
    keys = leaves.astype(np.int64) * (int(blocks.max()) + 1) + np.where(large[leaves], blocks, 0)
    pieces = label(keys, connectivity=1)  # type: ignore[no-untyped-call]
    return np.asarray(pieces, np.int32)


def _link(leaves: NDArray[np.int32], lab: NDArray[np.float32], rules: MergeRules) -> Hierarchy:
    flat = leaves.ravel()
    count = int(leaves.max())
    planes = [np.ones_like(lab[0]), *lab, np.square(lab).sum(axis=0)]
    sums = [sum_groups(flat, plane.ravel(), count + 1) for plane in planes]
    table = np.stack(sums, axis=1)[1:]
    edges = _touching(leaves, count)
    parents, heights = _merge(table[:, 0], table[:, 1:4], edges, rules)
    return Hierarchy(leaves, parents, heights, edges, table)


def _touching(leaves: NDArray[np.int32], count: int) -> Ints:
    first = np.concatenate([leaves[:, :-1].ravel(), leaves[:-1].ravel()]).astype(np.int64)
    second = np.concatenate([leaves[:, 1:].ravel(), leaves[1:].ravel()]).astype(np.int64)
    apart = (first != second) & (first > 0) & (second > 0)
    first, second = first[apart] - 1, second[apart] - 1
    keys = np.minimum(first, second) * count + np.maximum(first, second)
    keys, sides = np.unique(keys, return_counts=True)
    return np.stack([keys // max(count, 1), keys % max(count, 1), sides], axis=1)


def _merge(areas: Doubles, sums: Doubles, edges: Ints, rules: MergeRules) -> tuple[Ints, Doubles]:
    """Join best matches, round by round; return each node's parent and height."""
    count = len(areas)
    areas, sums, nodes = areas.copy(), sums.copy(), np.arange(count)
    parents, heights = np.full(2 * count, -1), np.zeros(2 * count)
    size = count
    pairs, sides = edges[:, :2], edges[:, 2].astype(np.float64)
    while len(pairs):
        costs = _costs(areas, sums, pairs, sides, rules)
        chosen = _best_matches(pairs, costs, count)
        if not len(chosen):
            break
        keep, gone = pairs[chosen].T
        joined = size + np.arange(len(chosen))
        size += len(chosen)
        below = np.maximum(heights[nodes[keep]], heights[nodes[gone]])
        heights[joined] = np.maximum(costs[chosen], below)
        parents[nodes[keep]] = parents[nodes[gone]] = joined
        nodes[keep] = joined
        areas[keep] += areas[gone]
        sums[keep] += sums[gone]
        target = np.arange(count)
        target[gone] = keep
        pairs, sides = _contract(pairs, sides, target)
    return parents[:size], heights[:size]


def _costs(
    areas: Doubles, sums: Doubles, pairs: Ints, sides: Doubles, rules: MergeRules
) -> Doubles:
    """Return what it costs to join each pair; infinite where it may not be.

    Ward's criterion, the squared error that a merge adds, over the root of the shared border: a
    compromise between Ward's (which is for points, not for places) and Mumford and Shah's
    (which divides by the border, and so lets long thin regions leak into what they pass).
    """
    first, second = pairs.T
    one, two = areas[first], areas[second]
    means = sums / areas[:, np.newaxis]
    distances = np.square(means[first] - means[second]).sum(axis=1)
    costs: Doubles = one * two / (one + two) * distances / np.sqrt(sides)
    small = np.minimum(one, two) < rules.min_area
    costs = np.where(small, np.minimum(costs, rules.limit) * _SMALL_DISCOUNT, costs)
    allowed = (small | (one + two <= rules.max_area)) & (costs < rules.limit)
    return np.where(allowed, costs, np.inf)


def _best_matches(pairs: Ints, costs: Doubles, count: int) -> Ints:
    """Return the pairs that are the cheapest of both their regions."""
    possible = np.flatnonzero(np.isfinite(costs))
    possible = _cheapest_of_both(pairs, costs, possible, count)
    # Among equals a scrambled number decides: in order, long chains would go one pair a round.
    scrambled = (possible * 2654435761) % 4294967296
    ranks = np.empty(len(pairs))
    ranks[possible[np.argsort(scrambled, kind="stable")]] = np.arange(len(possible))
    return _cheapest_of_both(pairs, ranks, possible, count)


def _cheapest_of_both(pairs: Ints, costs: Doubles, possible: Ints, count: int) -> Ints:
    first, second = pairs[possible].T
    some = costs[possible]
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, first, some)
    np.minimum.at(lowest, second, some)
    cheapest: Ints = possible[(some <= lowest[first]) & (some <= lowest[second])]
    return cheapest


def _contract(pairs: Ints, sides: Doubles, target: Ints) -> tuple[Ints, Doubles]:
    """Rename merged regions, and add up the borders that have become one."""
    count = len(target)
    first, second = target[pairs].T
    apart = first != second
    first, second = first[apart], second[apart]
    keys = np.minimum(first, second) * count + np.maximum(first, second)
    keys, groups = np.unique(keys, return_inverse=True)
    return np.stack([keys // count, keys % count], axis=1), sum_groups(
        groups, sides[apart], len(keys)
    )
