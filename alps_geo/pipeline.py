"""The recipes: label scenes, find new classes for a finished run, rename and merge classes.

Only this module sees all stages. Whatever a recipe needs again later is in the run folder, so that
a stopped run goes on, and new classes need no mask model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ._environment import with_own_data
from ._memory import share_allocator
from .classes.legend_tables import read_legend, write_table
from .classes.model import ClassModel
from .errors import SettingsError
from .evaluation.naming import name_classes
from .features.sources import blocks_of
from .models.masks import MaskModel
from .planning import Prepared, choose, load_classes, prepare
from .progress import NoProgress, Progress, Stopwatch, listening
from .run.classes import FACTS, find_classes, settle_number
from .run.completeness import is_finished
from .run.editing import Changes, make_changes, take_names, undo_change
from .run.examples import check_files, check_unchanged
from .run.folder import RunFolder
from .run.manifest import describe_run
from .run.opening import finish_stopped, open_results
from .run.pools import end_if_unguarded
from .run.record import describe_scene, describe_settings, describe_software
from .run.run import Run, features_in, plan_scene
from .run.run import open as open_run
from .run.tiles import label_tiles
from .scenes.arrays import write_array
from .scenes.rasters.datasets import close_all
from .settings import ClassSettings, Settings
from .settings.keywords import with_options

if TYPE_CHECKING:
    from affine import Affine
    from geopandas import GeoDataFrame
    from typing_extensions import Unpack

    from .settings.options import AnyPath, ArrayOptions, Options


@with_options()
@with_own_data
def label(
    scenes: AnyPath | Iterable[AnyPath],
    out: AnyPath,
    *,
    settings: Settings | None = None,
    model: str | MaskModel | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[Options],
) -> Run:
    """Label scenes with one class model: the same as `alps-geo label`.

    Parameters
    ----------
    scenes : path, or iterable of paths
        Georeferenced images.
    out : path
        Folder of the results. A run that was stopped goes on there.
    settings : Settings, optional
        Instead of the defaults; options change it.
    model : str or MaskModel, optional
        Name of a mask model: builtin, mobile-sam, sam-vit-b, sam-vit-l, sam-vit-h, or auto, the
        best one installed. Or one of your own, for one worker.
    progress : Progress or bool, optional
        The progress listener, which may also cancel. True shows progress as text, False does not;
        by default it is shown in notebooks and on interactive prompts.
    **options

    Returns
    -------
    Run

    Raises
    ------
    AlpsGeoError
        In one line: what is wrong, and what to do.

    Examples
    --------
    >>> import alps_geo
    >>> run = alps_geo.label("scene.tif", "out", n_classes=12)  # doctest: +SKIP
    >>> run.segments().plot("class_name")  # doctest: +SKIP
    """
    paths = [scenes] if isinstance(scenes, str | os.PathLike) else list(scenes)
    chosen, own = choose(settings, model, options)
    end_if_unguarded()
    share_allocator()
    with listening(progress) as told:
        clock = Stopwatch(told)
        folder = RunFolder(Path(out))
        found = prepare([os.fspath(path) for path in paths], chosen, own, clock, folder)
        return _label(found, folder, chosen, clock)


@with_options("scene", "model", "gate", "sam", "classes", "outputs")
@with_own_data
def segment(
    array: Any,  # noqa: ANN401 - NumPy's, or xarray's
    *,
    transform: Affine | None = None,
    crs: Any = None,  # noqa: ANN401 - whatever rasterio takes
    model: str | MaskModel | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[ArrayOptions],
) -> GeoDataFrame:
    """Segment and classify an array in memory, as one tile; no files stay.

    Parameters
    ----------
    array : array-like or xarray.DataArray, shape (height, width) or (bands, height, width)
        At most 2048 x 2048 pixels. Masked pixels hold no data. An xarray.DataArray with the
        accessor `rio` (of rioxarray) knows its place, its CRS and its nodata value.
    transform : affine.Affine, optional
        From (column, row) to ground coordinates; pixels by default.
    crs : str, int, pyproj.CRS or rasterio.crs.CRS, optional
    model : str or MaskModel, optional
        As of `label`.
    progress : Progress or bool, optional
        As of `label`.
    **options

    Returns
    -------
    GeoDataFrame
        The columns of `Run.segments`.

    Raises
    ------
    AlpsGeoError
        In one line: what is wrong, and what to do.

    Examples
    --------
    >>> import alps_geo, rasterio
    >>> with rasterio.open("scene.tif") as file:  # doctest: +SKIP
    ...     array, transform, crs = file.read(), file.transform, file.crs
    >>> alps_geo.segment(array, transform=transform, crs=crs, n_classes=8)  # doctest: +SKIP
    """
    chosen, own = choose(None, model, options)
    with TemporaryDirectory(prefix="alps-geo-", ignore_cleanup_errors=True) as place:
        path = Path(place, "array.tif")
        size = max(64, 2 * write_array(path, array, transform, crs))
        # What a tile owns is then the whole array.
        chosen = chosen.change(tile_size=size, overlap=size // 4 * 2, report=False)
        try:
            run = label(path, Path(place, "out"), settings=chosen, model=own, progress=progress)
            return run.segments()
        finally:
            # Windows removes no file that is open.
            close_all()


def _label(prepared: Prepared, folder: RunFolder, settings: Settings, clock: Stopwatch) -> Run:
    """Label what was prepared; tiles that an earlier run finished are not labelled again."""
    opened = prepared.scenes
    manifest = describe_run(opened, settings, prepared.model, prepared.sources, prepared.stretch)
    known = folder.start(manifest, overwrite=settings.run.overwrite)
    parts = [plan_scene(folder, stem, scene.grid, settings.tiles) for stem, scene in opened.items()]
    run = Run(folder.out, tuple(parts), manifest)
    check_files(run, settings.classes)
    if known and run.record_path.exists() and not settings.run.overwrite:
        finish_stopped(run, clock)
    if known and is_finished(run, settings, prepared.checksum):
        check_unchanged(run, settings.classes, clock)
        return _take_edits(run, clock)
    label_tiles(run, opened, prepared.model, prepared.sources, settings, clock)
    for part in run.parts:
        part.assemble(settings.outputs, clock)
    wanted, curve = settle_number(run, prepared.classes, settings.classes, clock)
    classes, facts = find_classes(run, prepared.classes, wanted, clock)
    record = {
        "software": describe_software(),
        "settings": describe_settings(settings),
        "model": manifest["model"],
        "features": [asdict(block) for block in blocks_of(prepared.sources)],
        "class_model": prepared.checksum,
        **({} if curve is None else {"k_curve": curve}),
        **facts,
        "stretch": manifest["stretch"],
        "scenes": [
            describe_scene(part, scene)
            for part, scene in zip(run.parts, opened.values(), strict=True)
        ],
    }
    anew = settings.run.overwrite
    with open_results(run, record, clock, anew=anew, scenes=opened) as results:
        return results.write(classes)


@with_own_data
def classify(
    run: AnyPath,
    *,
    n_classes: int | str | None = None,
    classes: AnyPath | None = None,
    examples: AnyPath | Sequence[AnyPath] = (),
    field: str | None = None,
    reject: float | None = None,
    keep_rest: bool = False,
    seed: int = 0,
    k_method: str = "stability",
    progress: Progress | bool | None = None,
) -> Run:
    """Find new classes for a finished run from its stored features; no mask model runs.

    Parameters
    ----------
    run : Run or path
        A run, or its folder.
    n_classes : int or 'auto', optional
        Number of new classes; by default as many as there were asked for.
    classes : path or Run, optional
        A class model to apply instead: its file, or a run that has one. With examples, they join
        those that it was learned from.
    examples : path, or sequence of paths, optional
        Points, lines or polygons of a vector file in any CRS, or a CSV of `segment_id,class`:
        classes are then those of the examples.
    field : str, optional
        Field of the examples that holds the classes; by default `class`, or the only one.
    reject : float, optional
        From 0 to 1: segments whose class, from examples, is less probable become `unknown`; with
        any number above 0, so do those unlike all that the class model was made from.
    keep_rest : bool
        Segments that fit no example keep pseudo-classes.
    seed : int
    k_method : {'stability', 'dp'}
        How `auto` finds the number.
    progress : Progress or bool, optional
        As of `label`.

    Returns
    -------
    Run

    Raises
    ------
    AlpsGeoError
        See `alps_geo.errors`; the results of the run are then as they were.

    Examples
    --------
    >>> import alps_geo
    >>> run = alps_geo.open("out")  # doctest: +SKIP
    >>> alps_geo.classify(run, n_classes=8).classes  # doctest: +SKIP
    >>> alps_geo.classify(run, examples="clicks.gpkg").classes  # doctest: +SKIP
    """
    with listening(progress) as told:
        clock, opened = Stopwatch(told), open_run(run)
        finish_stopped(opened, clock)
        record, origin = opened.record, opened.manifest
        number = record["settings"]["classes"]["n_classes"] if n_classes is None else n_classes
        wanted = ClassSettings(
            number,
            None if classes is None else os.fspath(classes),
            seed,
            k_method,
            examples,  # type: ignore[arg-type]  # as users have paths; settings make them texts
            field,
            reject,
            keep_rest,
        )
        model, checksum = load_classes(wanted.file)
        if model is not None:
            model.schema.require_model(origin["model"]["name"], origin["model"]["checksum"])
            model.schema.require(features_in(origin))
            if model.schema.stretch != origin["stretch"]:
                clock.warning(
                    "the class model was made with another stretch than this run: the same colours"
                    " look different to it; `label()` with `classes` uses the model's own"
                )
        settled, curve = settle_number(opened, model, wanted, clock)
        found, facts = find_classes(opened, model, settled, clock)
        record.pop("k_curve", None)
        record |= {} if curve is None else {"k_curve": curve}
        record["settings"]["classes"] = wanted.to_json()
        record = {name: value for name, value in record.items() if name not in FACTS}
        record |= {"class_model": checksum, **facts}
        with open_results(opened, record, clock) as results:
            before = results.model and take_names(results.model, results, NoProgress())
            return results.write(found, before=before)


@with_own_data
def edit_classes(
    run: AnyPath,
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, str] | None = None,
    merges: Iterable[Sequence[int]] = (),
    splits: Mapping[int, int] | None = None,
    from_csv: AnyPath | None = None,
    to_csv: AnyPath | None = None,
    legend: AnyPath | None = None,
    name_from: AnyPath | None = None,
    attribute: str | None = None,
    segments: Mapping[int, int | str] | None = None,
    segments_from: AnyPath | None = None,
    scene: str | None = None,
    drop_edits: bool = False,
    undo: bool = False,
    progress: Progress | bool | None = None,
) -> Run:
    """Name, colour, merge and split the classes of a finished run; the other ids stay.

    All results follow, or none does. Classes are merged, split, named and coloured in this order,
    then segments are classed by hand.

    Parameters
    ----------
    run : Run or path
        A run, or its folder.
    names, colors : mapping of class id to text, optional
        Colours as `#rrggbb`.
    merges : iterable of sequences of int
        `[(4, 7)]` makes class 7 part of class 4; done first.
    splits : mapping of class id to int, optional
        `{5: 3}` makes three classes of class 5 by clustering its segments: the largest keeps the
        id, the others get new ones. The class model keeps it, for other scenes.
    from_csv, to_csv : path, optional
        A table of the classes (id, name, color, code, uri) to take, and to write at the end.
    legend : str or path, optional
        `corine`, `osm` or a CSV file (code, name, color, uri): classes that are called as one of
        its entries, or as its code, get its colour, code and URI.
    name_from : path, optional
        A reference as of `evaluate`: each class is named after the reference class that most of
        its pixels are.
    attribute : str, optional
        Which column of a vector reference holds the classes.
    segments : mapping of segment id to class id or name, optional
        Segments to class by hand; that survives `classify`.
    segments_from : path, optional
        A CSV file of such (segment_id, class; scene, where the run has several).
    scene : str, optional
        Scene that `segments` and `name_from` mean, where the run has several.
    drop_edits : bool
        Forget what was changed by hand, before `segments` are classed.
    undo : bool
        Bring back classes, names and edits as they were before the last change, by this or by
        `classify`; a second time makes the change again.
    progress : Progress or bool, optional
        As of `label`.

    Returns
    -------
    Run

    Raises
    ------
    SettingsError
        If an id, a name, a colour, a segment or a table cannot be.

    Examples
    --------
    >>> import alps_geo
    >>> run = alps_geo.open("out")  # doctest: +SKIP
    >>> alps_geo.edit_classes(run, names={3: "road"}, merges=[(4, 7)])  # doctest: +SKIP
    """
    changes = Changes(
        names or {},
        colors or {},
        tuple(tuple(group) for group in merges),
        splits or {},
        from_csv,
        () if legend is None else read_legend(legend),
        segments or {},
        segments_from,
        scene,
        drop_edits,
    )
    if undo and (changes != Changes(scene=scene) or name_from is not None):
        raise SettingsError("`undo` goes with no other change: give it alone", setting="undo")
    with listening(progress) as told:
        clock, opened = Stopwatch(told), open_run(run)
        finish_stopped(opened, clock)
        if name_from is not None:
            changes = name_classes(opened, name_from, attribute, changes, clock)
        with open_results(opened, opened.record, clock) as results:
            model = take_names(ClassModel.load(opened.class_path), results, clock)
            if undo:
                changed = undo_change(opened, results)
            else:
                changed = make_changes(opened, results, model, changes, clock)
            results.write(changed, before=model)
        if to_csv is not None:
            write_table(to_csv, ClassModel.load(opened.class_path).legend_)
        return opened


def _take_edits(run: Run, clock: Stopwatch) -> Run:
    """Take what was changed by hand into the results of a finished run."""
    with open_results(run, run.record, clock) as results:
        if not results.are_edited:
            clock.message(
                f"{run.folder} holds this very run, finished; nothing to do (`overwrite` runs"
                " again)"
            )
            return run
        model = take_names(ClassModel.load(run.class_path), results, clock)
        return results.write(model, before=model)
