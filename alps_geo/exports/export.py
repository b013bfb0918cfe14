"""The recipe: finished runs to files of other programs."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._environment import with_own_data
from .._files import move_into_place
from ..errors import OutputError, RunError, SettingsError
from ..progress import Progress, listening
from ..run.run import Run, open
from ..settings.options import AnyPath
from .generalisation import absorb_small, dissolve
from .options import PATCH_FORMATS, ExportSettings
from .sampling import write_patches
from .selection import choose_classes, list_scenes, own_names
from .vectors import VECTOR_FORMATS

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from pandas import DataFrame

#: Every format.
FORMATS = (*VECTOR_FORMATS, *PATCH_FORMATS)
#: Where files are until all of them are whole.
_UNFINISHED = ".unfinished"


@with_own_data
def export(
    runs: Run | AnyPath | Sequence[Run | AnyPath],
    out: AnyPath,
    format: str,
    *,
    settings: ExportSettings | None = None,
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    **options: object,
) -> list[Path]:
    """Write finished runs as files of other programs.

    Parameters
    ----------
    runs : Run, path, or sequence of them
    out : path
        Folder. Vector formats write a file per scene; formats of patches a data set, in which
        `dataset.json` is written last.
    format : str
        `geoparquet`, `flatgeobuf`, `shapefile`, `geojson`; `mmseg`, `coco`, `yolo`.
    settings : ExportSettings, optional
        Instead of the defaults; options change it.
    overwrite : bool
        Replace files that are there.
    progress : Progress or bool, optional
        As of `label`.
    options : keyword arguments
        Fields of `ExportSettings`, see there.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    SettingsError
        If an option cannot work, or there is no such format.
    RunError
        If a run is not finished, or what is asked for is not in it.
    OutputError
        If files are there already, or cannot be written.

    Examples
    --------
    >>> import alps_geo
    >>> alps_geo.export("out", "gis", "geoparquet", mmu="0.5ha")  # doctest: +SKIP
    """
    chosen = _change(settings or ExportSettings(), options)
    if format not in FORMATS:
        raise SettingsError(
            f"there is no format {format!r}; known: {', '.join(FORMATS)}",
            code="settings.format",
            setting="format",
            found=format,
            allowed=list(FORMATS),
        )
    several = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    opened = [run if isinstance(run, Run) else open(run) for run in several]
    folder = Path(out)
    with listening(progress) as told:
        try:
            if format in VECTOR_FORMATS:
                return _write_vectors(opened, folder, format, chosen, told, overwrite=overwrite)
            return write_patches(opened, folder, format, chosen, told, overwrite=overwrite)
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"cannot write to {folder}: {reason}") from error


def _change(settings: ExportSettings, options: Mapping[str, object]) -> ExportSettings:
    known = {field.name for field in dataclasses.fields(settings)}
    for name in options:
        if name not in known:
            raise SettingsError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
    values: Any = dict(options)
    return dataclasses.replace(settings, **values)


def _write_vectors(
    runs: Sequence[Run],
    folder: Path,
    format: str,
    settings: ExportSettings,
    told: Progress,
    *,
    overwrite: bool,
) -> list[Path]:
    suffix, write = VECTOR_FORMATS[format]
    stems = own_names(runs)
    targets = [folder / f"{stem}{suffix}" for stem in stems]
    for target in targets:
        if target.exists() and not overwrite:
            raise OutputError(f"{target} is there already; choose another folder, or `overwrite`")
    work = folder / _UNFINISHED
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    told.stage("export")
    try:
        classes = {run: run.classes for run in runs}
        for done, ((run, scene), target) in enumerate(zip(list_scenes(runs), targets, strict=True)):
            told.step(done, len(targets))
            table = _prepare(run, classes[run], scene, settings, told)
            write(table, work / target.name, told)
            # A Shapefile is several files, of which the one that is opened comes last.
            for part in sorted(work.iterdir(), key=lambda path: path.suffix == suffix):
                move_into_place(part, folder / part.name)
        told.step(len(targets), len(targets))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return targets


def _prepare(
    run: Run, classes: DataFrame, scene: str, settings: ExportSettings, told: Progress
) -> GeoDataFrame:
    """Return the segments as they are to be written."""
    table = run.segments(scene)
    kept = choose_classes(run, classes["name"].to_dict(), settings.classes)
    if settings.mmu:
        before = len(table)
        table = absorb_small(table, *_areas(table, settings, scene))
        told.message(f"{scene}: {before - len(table)} of {before} segments joined a neighbour")
    keep = table["class_id"].isin(kept) & (table["confidence"] >= settings.min_confidence)
    if not keep.all():
        table = table[keep].reset_index(drop=True)
    if settings.dissolve:
        table = dissolve(table)
    table.insert(3, "color", table["class_id"].map(classes["color"]))
    return _project(table, settings.crs, scene, told) if settings.crs else table


def _areas(
    table: GeoDataFrame, settings: ExportSettings, scene: str
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
    number, unit = settings.least_area()
    if unit is None:
        return table["area_px"].to_numpy().astype(np.float64), number
    areas = table["area_m2"].to_numpy().astype(np.float64)
    if np.isnan(areas).any():
        raise RunError(
            f"{scene} has no CRS, so areas are in pixels only; say `mmu` in pixels, as in 50px"
        )
    return areas, number * unit


def _project(table: GeoDataFrame, crs: str, scene: str, told: Progress) -> GeoDataFrame:
    """Return segments in another CRS, and tell what that does to areas."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    if table.crs is None:
        raise RunError(f"{scene} has no CRS, so it cannot be in another; leave out `crs`")
    try:
        target = CRS.from_user_input(crs)
    except CRSError as error:
        raise SettingsError(
            f"`crs` {crs!r} is no CRS; give a code such as EPSG:3035", code="settings.crs"
        ) from error
    moved = table.to_crs(target)
    true, units = table["area_m2"].sum(), moved.geometry.area.sum()
    told.message(
        f"{scene}: {true / 1e4:,.2f} ha on the ground (column area_m2, unchanged);"
        + (
            f" {units * target.axis_info[0].unit_conversion_factor ** 2 / 1e4:,.2f} ha as areas of"
            f" {target.name}"
            if target.is_projected
            else f" {target.name} is in degrees"
        )
    )
    return moved
