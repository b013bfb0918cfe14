"""The run folder: what each tile gave, written once, and what must agree for a run to go on."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .errors import OutputError, RunError
from .features import Features
from .masks import GateCounts, Masks
from .replacement import move_into_place
from .runs import Runs
from .settings import all_settings, option_name

#: Version of the run folder's layout; another one is refused.
FORMAT = 1


@dataclass(frozen=True)
class TileRecord:
    """What labelling one tile gave.

    Attributes
    ----------
    masks : Masks
        Accepted masks, in the tile window's coordinates.
    features : Features
        One row per mask.
    gated : Runs
        One set: pixels of masks that the filtering gate dropped.
    invalid : Runs
        One set: pixels outside the valid area.
    counts : GateCounts
    seconds : dict
        Wall time by step.
    unreadable : str
        Why the tile's pixels could not be read; empty where they could.
    """

    masks: Masks
    features: Features
    gated: Runs
    invalid: Runs
    counts: GateCounts
    seconds: dict[str, float]
    unreadable: str = ""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and move what was written there to `path`.

    Nothing is left behind if the block raises: `path` is complete, or as it was.

    Raises
    ------
    OutputError
        If the system does not let the file be written.
    """
    # A name of its own, because a worker that was given up may still write the same tile. The
    # suffix stays last, because GDAL tells formats by it.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        move_into_place(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


class RunFolder:
    """The folder `run` of an output folder.

    Parameters
    ----------
    out : Path
        The output folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / "run"

    @property
    def manifest_path(self) -> Path:
        """Where the facts that identify the run are."""
        return self.path / "manifest.json"

    def scene_folder(self, stem: str) -> Path:
        """Return the folder of one scene."""
        return self.path / stem

    def start(self, manifest: dict[str, Any], *, overwrite: bool) -> bool:
        """Make the folder ready for a run, or for going on with it.

        Parameters
        ----------
        manifest : dict
            What identifies the run; JSON values only.
        overwrite : bool
            Remove what an earlier run left.

        Returns
        -------
        bool
            True if the folder holds this very run already, finished or not.

        Raises
        ------
        RunError
            If the folder holds another run, or files that no run made.
        OutputError
            If the folder cannot be written.
        """
        wanted = {"format": FORMAT, **json.loads(json.dumps(manifest))}
        if self.manifest_path.exists() and not overwrite:
            difference = _difference(self.read_manifest(), wanted)
            if difference:
                raise RunError(
                    f"{self.out} holds another run ({difference}); choose another folder,"
                    " or `overwrite`"
                )
            self._remove_leftovers()
            return True
        self._prepare(overwrite=overwrite)
        with replacing(self.manifest_path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        return False

    def _prepare(self, *, overwrite: bool) -> None:
        try:
            if self.out.exists() and not self.out.is_dir():
                raise RunError(f"{self.out} is a file; name a folder for the results")
            self._remove_leftovers()
            if overwrite and self.manifest_path.exists():
                self._empty()
            elif self._has_files():
                raise RunError(
                    f"{self.out} holds files that are not a run of alps-geo; name an empty or a"
                    " new folder"
                )
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.out}: {error.strerror}") from error

    def _has_files(self) -> bool:
        # An empty folder `run` is what a run that was killed at its very beginning leaves.
        found = [
            item for folder in (self.out, self.path) if folder.exists() for item in folder.iterdir()
        ]
        return any(item != self.path for item in found)

    def _empty(self) -> None:
        """Remove what an earlier run left; if this is stopped half-way, it can be done again."""
        self.results_outdated = True
        for item in self.path.iterdir():
            if item.is_dir():
                shutil.rmtree(item)
            elif item not in (self.manifest_path, self._outdated_path):
                item.unlink()

    @property
    def _outdated_path(self) -> Path:
        return self.path / "results-outdated"

    @property
    def results_outdated(self) -> bool:
        """True from when results begin to be replaced until all of them are."""
        return self._outdated_path.exists()

    @results_outdated.setter
    def results_outdated(self, outdated: bool) -> None:
        try:
            if outdated:
                self._outdated_path.touch()
            else:
                self._outdated_path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror}") from error

    def require_whole(self) -> None:
        """Raise `RunError` while some results are of one command and some of another."""
        if self.results_outdated:
            raise RunError(
                f"the results in {self.out} were not all written: a command is at work there, or"
                " was stopped; give that command again first"
            )

    def _remove_leftovers(self) -> None:
        """Remove the beginnings of files that a killed run left."""
        for folder in (self.out, self.path, *self.path.glob("*"), *self.path.glob("*/tiles")):
            for leftover in folder.glob(f".*.{'[0-9a-f]' * 8}.part*") if folder.is_dir() else ():
                leftover.unlink(missing_ok=True)

    def read_manifest(self) -> dict[str, Any]:
        """Return what identifies the run in the folder.

        Raises
        ------
        RunError
            If there is no run, or its manifest is damaged.
        """
        try:
            manifest: dict[str, Any] = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(
                f"{self.out} holds no run of alps-geo: no {self.manifest_path}"
            ) from error
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.manifest_path} cannot be read: {error}; `overwrite` it"
            ) from error
        return manifest


def _difference(present: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> str:
    """Name the first thing in which two manifests differ, empty if there is none."""
    for key in [*wanted, *(key for key in present if key not in wanted)]:
        old, new = present.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = (
                _other_scenes(old, new)
                if key == "scenes"
                else _difference(old, new, f"{prefix}{key} ")
            )
            if inner:
                return inner
        elif old != new:
            return f"{_in_words(f'{prefix}{key}')} is {old} there, and {new} now"
    return ""


def _in_words(place: str) -> str:
    """Name a place in a manifest: settings by their names, all else by the words of its keys."""
    names = {
        f"settings {part.name} {item.name}": f"`{option_name(item)}`"
        for part, item in all_settings()
    }
    return names.get(place, place.replace("_", " "))


def _other_scenes(present: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Say of which other scenes a run is, empty if it is of these."""
    if present.keys() != wanted.keys():
        return f"of {', '.join(present)}, not of {', '.join(wanted)}"
    changed = [stem for stem in wanted if present[stem] != wanted[stem]]
    return f"of another {changed[0]}: the image, or the area, is not the same" if changed else ""


def write_tile(path: Path, record: TileRecord) -> None:
    """Write a tile's record under a temporary name, and rename it.

    Parameters
    ----------
    path : Path
    record : TileRecord

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    masks, features = record.masks, record.features
    columns = {
        "runs": _list_column(masks.runs),
        "area_px": pa.array(masks.runs.areas),
        "predicted_iou": pa.array(masks.predicted_iou),
        "stability": pa.array(masks.stability),
        **{name: pa.array(masks.runs.boxes[:, i]) for i, name in enumerate(_BOX_NAMES)},
        "point": _matrix_column(masks.points),
        "features": _matrix_column(features.values),
    }
    header = {
        "names": features.names,
        "weights": features.weights.tolist(),
        "gated": record.gated.values.tolist(),
        "invalid": record.invalid.values.tolist(),
        "counts": asdict(record.counts),
        "seconds": record.seconds,
        "unreadable": record.unreadable,
    }
    table = pa.table(columns).replace_schema_metadata({"alps_geo": json.dumps(header)})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


_MASK_COLUMNS = ("runs", "predicted_iou", "stability", "point")
_BOX_NAMES = ("row", "col", "row_stop", "col_stop")


def _list_column(runs: Runs) -> pa.ListArray:
    return pa.ListArray.from_arrays(
        pa.array(runs.offsets * 3, pa.int32()), pa.array(runs.values.ravel())
    )


def _matrix_column(values: NDArray[Any]) -> pa.Array:
    if not values.shape[1]:  # a tile without a valid pixel has no features
        return pa.nulls(len(values))
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def read_tile(path: Path) -> TileRecord:
    """Read a tile's record.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    """
    table = _read_table(path, None)
    header = json.loads(table.schema.metadata[b"alps_geo"])
    values = _matrix(table, "features").reshape(len(table), len(header["names"]))
    features = Features(values, tuple(header["names"]), np.array(header["weights"], np.float32))
    return TileRecord(
        _masks_of(table),
        features,
        _one_set(header["gated"]),
        _one_set(header["invalid"]),
        GateCounts(**header["counts"]),
        header["seconds"],
        header["unreadable"],
    )


def read_masks(path: Path) -> Masks:
    """Read only the masks of a tile's record; raises as `read_tile` does."""
    return _masks_of(_read_table(path, list(_MASK_COLUMNS)))


def _read_table(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        # Threads gain nothing on a file this small, and each keeps memory of its own.
        with pq.ParquetFile(path) as file:
            table = file.read(columns, use_threads=False).combine_chunks()
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"{path} cannot be read: {error}; remove it and run again") from error
    if not set(table.column_names).issuperset(_MASK_COLUMNS) or not table.schema.metadata:
        raise RunError(f"{path} cannot be read: it is no tile's record; remove it and run again")
    return table


def _masks_of(table: pa.Table) -> Masks:
    offsets = np.zeros(1, np.int64)
    values = np.zeros((0, 3), np.int32)
    if len(table):
        column = table["runs"].chunk(0)
        offsets = column.offsets.to_numpy().astype(np.int64) // 3
        values = column.values.to_numpy().reshape(-1, 3)
    return Masks(
        Runs(offsets, values),
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


def _one_set(values: list[list[int]]) -> Runs:
    return Runs(np.array([0, len(values)], np.int64), np.array(values, np.int32).reshape(-1, 3))
