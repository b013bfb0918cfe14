"""Which segments of a run are examples of classes: those under points, lines and polygons."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..classes.examples import Examples
from ..errors import ReferenceDataError, RunError
from ..progress import Progress
from ..scenes.examples import LINE, POINT, choose_field, name_of, read_shapes
from ..scenes.paths import is_local, shown_name
from ..segments.table import Segments
from ..settings import ClassSettings
from .run import Run

#: A line takes the segments that hold this share of it at least.
LINE_SHARE = 0.1
#: A polygon takes the segments that lie in it by this share, and the one that holds as much of it.
POLYGON_SHARE = 0.5
#: Contradictory examples that are named one by one.
NAMED = 5
_ID, _SCENE = "segment_id", "scene"


@dataclass(frozen=True)
class FoundExamples:
    """The examples in a run.

    Attributes
    ----------
    examples : Examples
        A row per segment.
    facts : dict
        For the record: files, segments of each class, contradictions, and a digest.
    """

    examples: Examples
    facts: dict[str, Any]


def find_examples(
    run: Run, segments: Sequence[Segments], settings: ClassSettings, progress: Progress
) -> FoundExamples | None:
    """Find the segments that the examples of all files take, and their classes.

    A point takes the segment that it lies in. Where examples of several classes take a segment, the
    class with most of them counts, of equal ones the first by name.

    Parameters
    ----------
    run : Run
    segments : sequence of Segments
        Of its scenes.
    settings : ClassSettings
    progress : Progress
        Is told of what was not used, and of contradictions.

    Returns
    -------
    FoundExamples or None
        None where the settings name no file.

    Raises
    ------
    ReferenceDataError
        If a file cannot be used, or no example takes a segment.
    """
    if not settings.examples:
        return None
    votes = pd.concat(
        [_read_votes(run, segments, path, settings.field, progress) for path in settings.examples],
        ignore_index=True,
    )
    if votes.empty:
        files = ", ".join(map(shown_name, settings.examples))
        raise ReferenceDataError(
            f"no example of {files} takes a segment: they lie outside of the scene, or where it has"
            " no label; check their place and CRS",
            code="settings.examples",
            setting="examples",
        )
    counts = votes.value_counts(["scene", _ID, "name"]).rename("count").reset_index()
    counts = counts.sort_values(
        ["scene", _ID, "count", "name"], ascending=[True, True, False, True]
    )
    winners = counts.drop_duplicates(["scene", _ID])
    contradictions = _tell_contradictions(run, counts, progress)
    digest = hashlib.sha256(winners.to_csv(index=False).encode()).hexdigest()
    facts = {
        "files": [shown_name(path) for path in settings.examples],
        "segments": {
            str(name): int(count) for name, count in winners.name.value_counts(sort=False).items()
        },
        "contradictory": contradictions,
        "digest": digest,
    }
    return FoundExamples(_take(segments, winners), facts)


def check_files(run: Run, settings: ClassSettings) -> None:
    """Refuse files of examples that cannot be used, before anything is computed.

    Raises
    ------
    ReferenceDataError
        If one is missing, cannot be read or laid over a scene, or lacks the field.
    """
    for path in settings.examples:
        if not _is_table(path):
            for part in run.parts:
                read_shapes(path, settings.field, part.grid, part.stem)


def check_unchanged(run: Run, settings: ClassSettings, progress: Progress) -> None:
    """Raise `RunError` if a finished run was made with other examples in the same files."""
    segments = [part.load_segments() for part in run.parts]
    found = find_examples(run, segments, settings, progress) if any(map(len, segments)) else None
    digest = None if found is None else found.facts["digest"]
    before = run.record.get("examples", {}).get("digest")
    if before != digest:
        raise RunError(
            f"{run.folder} holds this run with what the files of examples had then, and they have"
            " changed; use `classify()`, or another folder"
        )


def _take(segments: Sequence[Segments], winners: pd.DataFrame) -> Examples:
    parts = []
    for number, part in enumerate(segments):
        mine = winners[winners.scene == number]
        rows = np.searchsorted(part.segment_id, mine[_ID].to_numpy())
        names = mine.name.to_numpy(np.str_) if len(mine) else np.zeros(0, np.str_)
        parts.append(Examples(np.asarray(part.features[rows]), part.area_px[rows], names))
    return Examples.concatenate(parts)


def _tell_contradictions(run: Run, counts: pd.DataFrame, progress: Progress) -> list[str]:
    """Say which segments have examples of several classes; return it for the record, too."""
    several = counts[counts.duplicated(["scene", _ID], keep=False)]
    texts = []
    for (scene, number), group in several.groupby(["scene", _ID]):
        found = " and ".join(
            f"{name!r} ({count})" for name, count in zip(group.name, group["count"], strict=True)
        )
        where = f" of {run.scenes[scene]}" if len(run.parts) > 1 else ""
        texts.append(f"segment {number}{where} has examples of {found}")
    if texts:
        more = f", and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
        progress.warning(
            f"contradictory examples: {'; '.join(texts[:NAMED])}{more}; the class with most"
            " examples counts, of equal ones the first by name"
        )
    return texts


def _read_votes(
    run: Run, segments: Sequence[Segments], path: str, field: str | None, progress: Progress
) -> pd.DataFrame:
    """Return a row (scene, segment_id, name) for each segment that an example takes."""
    if _is_table(path):
        return _read_table(run, segments, path, field, progress)
    parts, unnamed, shown = [], 0, shown_name(path)
    for number, (part, table) in enumerate(zip(run.parts, segments, strict=True)):
        shapes = read_shapes(path, field, part.grid, part.stem)
        with part.segment_raster.open() as read:
            counts = shapes.count_pixels(read, part.grid)
        taken = _take_shares(counts, shapes.kinds, table)
        names = shapes.names[taken.owner.to_numpy(np.int64)]
        taken = taken.assign(scene=number, name=names)
        unnamed += int(taken[taken.name.isna()].owner.nunique())
        parts.append(taken.dropna()[["scene", _ID, "name"]])
    if unnamed and all(part.empty for part in parts):
        raise ReferenceDataError(
            f"{shown}: none of the {unnamed:,} features on segments has a class; fill in the field"
            " with the classes, or choose another by `field`"
        )
    if unnamed:
        progress.message(f"{shown}: {unnamed:,} features without a class were left out")
    return pd.concat(parts, ignore_index=True)


def _take_shares(
    counts: pd.DataFrame, kinds: np.ndarray[Any, np.dtype[np.int64]], table: Segments
) -> pd.DataFrame:
    """Return which features take which segments, by the shares they have of each other."""
    kind = kinds[counts.owner.to_numpy(np.int64)]
    of_feature = counts.pixels / counts.groupby("owner").pixels.transform("sum")
    rows = np.searchsorted(table.segment_id, counts[_ID].to_numpy(np.int64))
    of_segment = counts.pixels / table.area_px[np.minimum(rows, max(len(table) - 1, 0))]
    taken = np.where(
        kind == POINT,
        True,
        np.where(
            kind == LINE,
            of_feature >= LINE_SHARE,
            (of_feature >= POLYGON_SHARE) | (of_segment >= POLYGON_SHARE),
        ),
    )
    return counts[taken]


def _is_table(path: str) -> bool:
    """Return whether a file is a CSV with segment numbers."""
    if not path.lower().endswith(".csv") or not is_local(path) or not Path(path).is_file():
        return False
    return _ID in _read_csv(path, rows=0).columns


def _read_csv(path: str, rows: int | None = None) -> pd.DataFrame:
    try:
        return pd.read_csv(
            path, dtype=str, nrows=rows, encoding="utf-8-sig", sep=None, engine="python"
        )
    except (OSError, ValueError) as error:
        raise ReferenceDataError(
            f"{shown_name(path)}: the file of examples cannot be read as a table:"
            f" {str(error).splitlines()[0]}"
        ) from error


def _read_table(
    run: Run, segments: Sequence[Segments], path: str, field: str | None, progress: Progress
) -> pd.DataFrame:
    table, shown = _read_csv(path), shown_name(path)
    fields = tuple(str(name) for name in table.columns if name not in (_ID, _SCENE))
    column = choose_field(shown, fields, field)
    numbers = pd.to_numeric(table[_ID], errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        bad = table[_ID][numbers.isna() | (numbers % 1 != 0)].iloc[0]
        raise ReferenceDataError(f"{shown}: {_ID} must be a whole number, not {bad!r}")
    scenes = _scenes_of(run, table, shown)
    names = [name_of(value, shown, column) for value in table[column]]
    votes = pd.DataFrame({"scene": scenes, _ID: numbers.astype(np.int64), "name": names}).dropna()
    known = np.zeros(len(votes), bool)
    for number, part in enumerate(segments):
        known |= (votes.scene == number).to_numpy() & np.isin(votes[_ID], part.segment_id)
    if not known.all():
        missing = votes[_ID][~known]
        progress.warning(
            f"{shown}: {len(missing):,} rows name segments that are not there, such as"
            f" {missing.iloc[0]}; they were left out"
        )
    return votes[known]


def _scenes_of(run: Run, table: pd.DataFrame, shown: str) -> Any:  # noqa: ANN401 - one or many
    """Return the number of the scene of each row."""
    if _SCENE not in table.columns:
        if len(run.parts) == 1:
            return 0
        raise ReferenceDataError(
            f"{shown}: segments have the same numbers in several scenes; add a column 'scene' with"
            f" one of {', '.join(run.scenes)}"
        )
    unknown = sorted({*table[_SCENE].astype(str)} - {*run.scenes})
    if unknown:
        raise ReferenceDataError(
            f"{shown}: there is no scene {unknown[0]!r}; the scenes are {', '.join(run.scenes)}"
        )
    return table[_SCENE].map(run.scenes.index)
