"""What to label next: segments whose classes would help a run most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._environment import with_own_data
from .._files import replacing
from ..classes.example_model import ExampleModel
from ..classes.model import ClassModel
from ..classes.suggestion import choose_doubtful, choose_typical
from ..errors import RunError, SettingsError
from ..progress import Progress, Stopwatch, listening
from ..segments.table import Segments
from ..settings.options import AnyPath
from .run import Run
from .run import open as open_run

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

#: Segments that are looked at; of more, a sample in which large ones are likelier.
MOST = 50000
#: Name of the layer that is written, and of the column that waits for the user's classes.
LAYER, FIELD = "suggestions", "class"
#: Formats of one file each, by their endings.
_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf"}


@with_own_data
def suggest(
    run: AnyPath,
    n: int = 20,
    output: AnyPath | None = None,
    *,
    overwrite: bool = False,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> GeoDataFrame:
    """Suggest segments to give a class to, in the order in which they would help.

    Without examples these are typical segments of groups of like ones, large groups first. With
    examples, which the class model of the run keeps, they are uncertain, large and unlike each
    other and the examples.

    Parameters
    ----------
    run : Run or path
        A run, or its folder.
    n : int
        Suggestions, 1 or more; fewer come where there are no more segments.
    output : path, optional
        A vector file to write them to: `.gpkg`, `.geojson` or `.fgb`. Its column `class`, filled
        in, makes it a file of examples for `classify`.
    overwrite : bool
        Replace that file.
    seed : int
    progress : Progress or bool, optional
        As of `label`.

    Returns
    -------
    GeoDataFrame
        Points inside of the segments, with segment_id, guess, confidence, reason, and an empty
        class; of several scenes with the column scene, in the CRS of the first.

    Raises
    ------
    AlpsGeoError
        See `alps_geo.errors`.

    Examples
    --------
    >>> import alps_geo
    >>> run = alps_geo.open("out")  # doctest: +SKIP
    >>> alps_geo.suggest(run, 20, "suggestions.gpkg")  # doctest: +SKIP
    """
    if n < 1:
        raise SettingsError(f"`n` must be 1 or more, not {n}", code="settings.n", setting="n")
    if output is not None:
        _check_output(Path(output), overwrite=overwrite)
    with listening(progress) as told:
        Stopwatch(told).stage("suggestions")
        opened = open_run(run)
        model = ClassModel.load(opened.class_path)
        segments = [part.load_segments() for part in opened.parts]
        candidates = _draw(segments, seed)
        if not len(candidates):
            raise RunError(f"{opened.folder} has no segments to suggest")
        chosen, reason = _choose(model, segments, candidates, n, seed)
        table = _tabulate(opened, model, segments, chosen, reason)
    if output is not None:
        write_suggestions(table, Path(output))
    return table


def write_suggestions(table: GeoDataFrame, path: Path) -> None:
    """Write suggestions as a layer, whole or not at all.

    Parameters
    ----------
    table : GeoDataFrame
    path : Path
        Its ending says of which format.

    Raises
    ------
    OutputError
        If it cannot be written.
    SettingsError
        If no format has this ending.
    """
    _check_output(path, overwrite=True)
    with replacing(path) as temporary:
        table.to_file(temporary, layer=LAYER, driver=_DRIVERS[path.suffix.lower()])


def _check_output(path: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() not in _DRIVERS:
        raise SettingsError(
            f"`output` must end in {', '.join(_DRIVERS)}, not {path.suffix!r}",
            code="settings.output",
            setting="output",
            found=str(path),
            allowed=list(_DRIVERS),
        )
    if path.exists() and not overwrite:
        raise SettingsError(
            f"{path} is there already, and may hold classes that somebody filled in; give another"
            " `output`, or `overwrite`",
            code="settings.output",
            setting="output",
            found=str(path),
        )


def _draw(segments: Sequence[Segments], seed: int) -> NDArray[np.int64]:
    """Return (scene, row) of the segments that are looked at, shape (n, 2)."""
    places = np.concatenate(
        [
            np.column_stack([np.full(len(part), number), np.arange(len(part))])
            for number, part in enumerate(segments)
        ]
    )
    if len(places) <= MOST:
        return places
    areas = np.concatenate([part.area_px for part in segments])
    rng = np.random.default_rng(seed)
    # The smallest of exponential times with rates as large as the areas' square roots.
    times = rng.exponential(size=len(places)) / np.sqrt(areas)
    return places[np.sort(np.argsort(times, kind="stable")[:MOST])]


def _choose(
    model: ClassModel,
    segments: Sequence[Segments],
    candidates: NDArray[np.int64],
    n: int,
    seed: int,
) -> tuple[NDArray[np.int64], str]:
    """Return (scene, row) of the segments to label, and why these."""
    features = np.concatenate(
        [
            part.features[candidates[candidates[:, 0] == number, 1]]
            for number, part in enumerate(segments)
        ]
    )
    area_px = _gather(segments, candidates, "area_px")
    rows = model.whiten(features)
    if not isinstance(model, ExampleModel):
        return candidates[choose_typical(rows, area_px, n, seed)], "typical of many segments"
    ordered = np.sort(model.probabilities(features), axis=1)
    doubt = 1 - (ordered[:, -1] - ordered[:, -2]) if ordered.shape[1] > 1 else np.ones(len(rows))
    known = model.whiten(model.examples_.features)
    return candidates[choose_doubtful(rows, area_px, doubt, known, n)], "uncertain, large, unlike"


def _gather(
    segments: Sequence[Segments], places: NDArray[np.int64], column: str
) -> NDArray[np.int64]:
    values = np.zeros(len(places), np.int64)
    for number, part in enumerate(segments):
        mine = places[:, 0] == number
        values[mine] = getattr(part, column)[places[mine, 1]]
    return values


def _tabulate(
    run: Run,
    model: ClassModel,
    segments: Sequence[Segments],
    chosen: NDArray[np.int64],
    reason: str,
) -> GeoDataFrame:
    """Return the chosen segments as a layer of points."""
    import geopandas

    found = [model.assign(segments[scene].features[[row]]) for scene, row in chosen.tolist()]
    columns = {
        "segment_id": _gather(segments, chosen, "segment_id"),
        "guess": [model.names[int(each.class_id[0])] for each in found],
        "confidence": np.array([each.confidence[0] for each in found], np.float64).round(3),
        "reason": [reason] * len(chosen),
        FIELD: np.full(len(chosen), None, object),
    }
    if len(run.parts) > 1:
        columns = {"scene": [run.scenes[scene] for scene in chosen[:, 0].tolist()], **columns}
    points = _points(run, chosen[:, 0], columns["segment_id"])
    return geopandas.GeoDataFrame(columns, geometry=points)


def _points(run: Run, scenes: NDArray[np.int64], segment_id: NDArray[np.int64]) -> GeoDataFrame:
    """Return a point inside of each segment, in the CRS of the first scene."""
    import geopandas
    import pandas as pd

    parts = []
    for number, part in enumerate(run.parts):
        mine = np.flatnonzero(scenes == number)
        at: dict[int, object] = {}
        for polygons in part.load_polygons():
            here = np.isin(polygons.segment_id, segment_id[mine])
            shapes = polygons.geometry[here]
            for name, shape in zip(polygons.segment_id[here].tolist(), shapes, strict=True):
                at[name] = shape.representative_point()
        points = geopandas.GeoSeries(
            [at[name] for name in segment_id[mine].tolist()], index=mine, crs=part.grid.crs
        )
        first = run.parts[0].grid.crs
        parts.append(points if part.grid.crs == first or not len(points) else points.to_crs(first))
    return pd.concat([part for part in parts if len(part)]).sort_index()
