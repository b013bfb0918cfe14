"""The segments of a scene as a table: what `classify` reads, without masks or pixels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .._files import replacing
from .._memory import return_freed_memory
from ..errors import RunError
from ..scenes.tiles import Tile
from .painting import TILES_BETWEEN, Painting
from .stitching import Stitching
from .tile_results import TileResult

_COLOR_NAMES = ("red", "green", "blue")


@dataclass(frozen=True)
class Segments:
    """The segments of a scene that show, a row per segment, by number.

    Attributes
    ----------
    segment_id : ndarray of uint32, shape (n_segments,)
        Ascending; numbers of hidden segments are left out.
    area_px : ndarray of int64, shape (n_segments,)
        Visible pixels.
    predicted_iou, stability : ndarray of float32, shape (n_segments,)
        From 0 to 1.
    colors : ndarray of float32, shape (n_segments, 3)
        Mean red, green and blue, from 0 to 255; NaN in runs of versions that kept none.
    features : ndarray of float32, shape (n_segments, n_features)
        Means over the segments' masks, weighted by pixels; mapped from disk.
    feature_names : tuple of str, length n_features
    feature_weights : ndarray of float32, shape (n_features,)
    """

    segment_id: NDArray[np.uint32]
    area_px: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    colors: NDArray[np.float32]
    features: NDArray[np.float32]
    feature_names: tuple[str, ...]
    feature_weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.segment_id)


def build_segments(
    folder: Path,
    tiles: Sequence[Tile],
    read: Callable[[int], TileResult],
    stitching: Stitching,
    painting: Painting,
) -> Segments:
    """Average the features of each segment's masks, and write the table.

    Parameters
    ----------
    folder : Path
        The scene's part of the run folder.
    tiles : sequence of Tile
    read : callable
        Number of a tile -> TileResult.
    stitching : Stitching
    painting : Painting

    Returns
    -------
    Segments
    """
    segment_id = np.flatnonzero(painting.visible)
    names, weights = _feature_columns(tiles, read)
    colors = np.zeros((len(segment_id), 3), np.float32)
    with replacing(folder / "features.npy") as temporary:
        shape = (len(segment_id), len(names))
        features = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        _average(segment_id, stitching, len(tiles), read, features, colors)
        features.flush()
    table = {
        "segment_id": segment_id.astype(np.uint32),
        "area_px": painting.visible[segment_id],
        "predicted_iou": stitching.predicted_iou[segment_id],
        "stability": stitching.stability[segment_id],
        **dict(zip(_COLOR_NAMES, colors.T, strict=True)),
    }
    header = json.dumps({"names": names, "weights": weights})
    with replacing(folder / "segments.parquet") as temporary:
        pq.write_table(pa.table(table).replace_schema_metadata({"alps_geo": header}), temporary)
    return load_segments(folder)


def _average(
    segment_id: NDArray[np.integer],
    stitching: Stitching,
    n_tiles: int,
    read: Callable[[int], TileResult],
    features: NDArray[np.float32],
    colors: NDArray[np.float32],
) -> None:
    """Fill features and colours, a row per segment, with the means over each segment's masks.

    Rows of segments with one mask are written as they come, since there are many; only those of
    several masks are summed up in memory.
    """
    row_of = np.full(stitching.n_segments + 1, -1, np.int64)
    row_of[segment_id] = np.arange(len(segment_id))
    counted = (stitching.weight > 0) & (stitching.segment > 0)
    parts = np.bincount(stitching.segment[counted], minlength=len(row_of))
    shared_row = np.cumsum(parts > 1) - 1
    targets = (features, colors)
    sums = [np.zeros((np.count_nonzero(parts > 1), target.shape[1])) for target in targets]
    for index in range(n_tiles):
        if index % TILES_BETWEEN == 0:
            return_freed_memory()
        result = read(index)
        if not len(result.features.values):
            continue  # a tile without a valid pixel does not even know the features' names
        chosen = stitching.masks_of(index)
        number = np.where(counted[chosen], stitching.segment[chosen], 0)
        alone = (parts[number] == 1) & (row_of[number] >= 0)
        several = parts[number] > 1
        pixels = stitching.weight[chosen][several, np.newaxis].astype(float)
        for values, target, total in zip(
            (result.features.values, result.colors), targets, sums, strict=True
        ):
            target[row_of[number[alone]]] = values[alone]
            np.add.at(total, shared_row[number[several]], values[several] * pixels)
    weight = np.bincount(stitching.segment, stitching.weight, minlength=len(row_of))
    mixed = segment_id[parts[segment_id] > 1]
    for target, total in zip(targets, sums, strict=True):
        target[row_of[mixed]] = total[shared_row[mixed]] / weight[mixed, np.newaxis]


def _feature_columns(
    tiles: Sequence[Tile], read: Callable[[int], TileResult]
) -> tuple[list[str], list[float]]:
    """Return names and weights of the features; none where no tile has a valid pixel."""
    for index in range(len(tiles)):
        features = read(index).features
        if features.names:
            return list(features.names), features.weights.tolist()
    return [], []


def load_segments(folder: Path) -> Segments:
    """Read the table of a scene's segments; the features stay on disk.

    Parameters
    ----------
    folder : Path
        The scene's part of the run folder.

    Raises
    ------
    RunError
        If the table is missing or damaged.
    """
    try:
        table = pq.read_table(folder / "segments.parquet")
        header = json.loads(table.schema.metadata[b"alps_geo"])
        features = np.load(folder / "features.npy", mmap_mode="r")
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RunError(
            f"the segments in {folder} are missing or damaged ({reason}); run `label()` with"
            " `overwrite`"
        ) from error
    columns = {name: table[name].to_numpy() for name in table.column_names}
    unknown = np.full(len(table), np.nan, np.float32)
    colors = np.stack([columns.pop(name, unknown) for name in _COLOR_NAMES], axis=1)
    return Segments(
        **columns,
        colors=colors,
        features=features,
        feature_names=tuple(header["names"]),
        feature_weights=np.array(header["weights"], np.float32),
    )
