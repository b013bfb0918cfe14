"""What labelling one tile gave, and the Parquet file that keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .._files import replacing
from ..errors import RunError
from ..features.pooling import Features
from ..models.masks import GateCounts, Masks
from ..scenes.spans import Spans

_MASK_COLUMNS = ("runs", "predicted_iou", "stability", "point")
_BOX_NAMES = ("row", "col", "row_stop", "col_stop")


@dataclass(frozen=True)
class TileResult:
    """What labelling one tile gave.

    Attributes
    ----------
    masks : Masks
        Accepted masks, in the tile window's coordinates.
    features : Features
        One row per mask.
    gated : Spans
        One set: pixels of masks that the filtering gate dropped.
    invalid : Spans
        One set: pixels outside the valid area.
    counts : GateCounts
    seconds : dict
        Wall time by step.
    colors : ndarray of float32, shape (n_masks, 3)
        Mean red, green and blue, from 0 to 255; NaN in files of versions that kept none.
    unreadable : str
        Why the tile's pixels could not be read; empty where they could.
    """

    masks: Masks
    features: Features
    gated: Spans
    invalid: Spans
    counts: GateCounts
    seconds: dict[str, float]
    colors: NDArray[np.float32]
    unreadable: str = ""


def write_tile(path: Path, result: TileResult) -> None:
    """Write a tile's result under a temporary name, and rename it.

    Parameters
    ----------
    path : Path
    result : TileResult

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    masks, features = result.masks, result.features
    columns = {
        "runs": _list_column(masks.spans),
        "area_px": pa.array(masks.spans.areas),
        "predicted_iou": pa.array(masks.predicted_iou),
        "stability": pa.array(masks.stability),
        **{name: pa.array(masks.spans.boxes[:, i]) for i, name in enumerate(_BOX_NAMES)},
        "point": _matrix_column(masks.points),
        "features": _matrix_column(features.values),
        "color": _matrix_column(result.colors),
    }
    header = {
        "names": features.names,
        "weights": features.weights.tolist(),
        "gated": result.gated.values.tolist(),
        "invalid": result.invalid.values.tolist(),
        "counts": asdict(result.counts),
        "seconds": result.seconds,
        "unreadable": result.unreadable,
    }
    table = pa.table(columns).replace_schema_metadata({"alps_geo": json.dumps(header)})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _list_column(spans: Spans) -> pa.ListArray:
    return pa.ListArray.from_arrays(
        pa.array(spans.offsets * 3, pa.int32()), pa.array(spans.values.ravel())
    )


def _matrix_column(values: NDArray[Any]) -> pa.Array:
    if not values.shape[1]:  # a tile without a valid pixel has no features
        return pa.nulls(len(values))
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def read_tile(path: Path) -> TileResult:
    """Read a tile's result.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    """
    table = _read_table(path, None)
    header = json.loads(table.schema.metadata[b"alps_geo"])
    values = _matrix(table, "features").reshape(len(table), len(header["names"]))
    features = Features(values, tuple(header["names"]), np.array(header["weights"], np.float32))
    return TileResult(
        _masks_of(table),
        features,
        _one_set(header["gated"]),
        _one_set(header["invalid"]),
        GateCounts(**header["counts"]),
        header["seconds"],
        _colors_of(table),
        header["unreadable"],
    )


def read_masks(path: Path) -> Masks:
    """Read only the masks of a tile's result; raises as `read_tile` does."""
    return _masks_of(_read_table(path, list(_MASK_COLUMNS)))


def _read_table(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        # Threads gain nothing on a file this small, and each keeps memory of its own.
        with pq.ParquetFile(path) as file:
            table = file.read(columns, use_threads=False).combine_chunks()
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"{path} cannot be read: {error}; remove it and run again") from error
    if not set(table.column_names).issuperset(_MASK_COLUMNS) or not table.schema.metadata:
        raise RunError(f"{path} cannot be read: it is no tile's result; remove it and run again")
    return table


def _masks_of(table: pa.Table) -> Masks:
    offsets = np.zeros(1, np.int64)
    values = np.zeros((0, 3), np.int32)
    if len(table):
        column = table["runs"].chunk(0)
        offsets = column.offsets.to_numpy().astype(np.int64) // 3
        values = column.values.to_numpy().reshape(-1, 3)
    return Masks(
        Spans(offsets, values),
        table["predicted_iou"].to_numpy(),
        table["stability"].to_numpy(),
        _matrix(table, "point").reshape(-1, 2),
    )


def _matrix(table: pa.Table, name: str) -> NDArray[Any]:
    column = table[name].combine_chunks()
    if isinstance(column, pa.NullArray):
        return np.zeros(0, np.float32)
    values: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return values


def _colors_of(table: pa.Table) -> NDArray[np.float32]:
    if "color" not in table.column_names:
        return np.full((len(table), 3), np.nan, np.float32)
    return _matrix(table, "color").reshape(-1, 3)


def _one_set(values: list[list[int]]) -> Spans:
    return Spans(np.array([0, len(values)], np.int64), np.array(values, np.int32).reshape(-1, 3))
