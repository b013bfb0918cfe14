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
from .classes.model import ClassModel
from .classes.schema import own_block
from .errors import SettingsError
from .features.choosing import contents_of, travelling
from .features.sources import FeatureSource, blocks_of
from .models.masks import MaskModel
from .planning import Prepared, choose, load_classes, prepare
from .progress import Progress, Stopwatch, listening
from .run.classes import find_classes
from .run.completeness import is_finished
from .run.folder import RunFolder
from .run.jobs import Job, run_jobs
from .run.pools import end_if_unguarded, most_processes
from .run.record import describe_scene, describe_settings, describe_software
from .run.results import Results, open_results
from .run.run import Run, features_in, plan_scene
from .run.run import open as open_run
from .scenes.arrays import write_array
from .scenes.rasters.datasets import close_all
from .scenes.scene import Scene
from .scenes.stretch import Stretch
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
    manifest = _manifest(opened, settings, prepared.model, prepared.sources, prepared.stretch)
    known = folder.start(manifest, overwrite=settings.run.overwrite)
    parts = [plan_scene(folder, stem, scene.grid, settings.tiles) for stem, scene in opened.items()]
    run = Run(folder.out, tuple(parts), manifest)
    if known and is_finished(run, settings, prepared.checksum):
        return _take_edits(run, clock)
    _label_tiles(run, prepared, settings, clock)
    for part in run.parts:
        part.assemble(settings.outputs, clock)
    classes = find_classes(run, prepared.classes, settings.classes, clock)
    record = {
        "software": describe_software(),
        "settings": describe_settings(settings),
        "model": manifest["model"],
        "features": [asdict(block) for block in blocks_of(prepared.sources)],
        "class_model": prepared.checksum,
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
    n_classes: int | None = None,
    classes: AnyPath | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Run:
    """Find new classes for a finished run from its stored features; no mask model runs.

    Parameters
    ----------
    run : Run or path
        A run, or its folder.
    n_classes : int, optional
        Number of new classes; by default as many as there were asked for.
    classes : path or Run, optional
        A class model to apply instead: its file, or a run that has one.
    seed : int
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
    """
    with listening(progress) as told:
        clock, opened = Stopwatch(told), open_run(run)
        record, origin = opened.record, opened.manifest
        number = record["settings"]["classes"]["n_classes"] if n_classes is None else n_classes
        wanted = ClassSettings(number, None if classes is None else os.fspath(classes), seed)
        model, checksum = load_classes(wanted.file)
        if model is not None:
            model.schema.require_model(origin["model"]["name"], origin["model"]["checksum"])
            model.schema.require(features_in(origin))
            if model.schema.stretch != origin["stretch"]:
                clock.warning(
                    "the class model was made with another stretch than this run: the same colours"
                    " look different to it; `label()` with `classes` uses the model's own"
                )
        found = find_classes(opened, model, wanted, clock)
        record["settings"]["classes"] = wanted.to_json()
        record["class_model"] = checksum
        with open_results(opened, record, clock) as results:
            return results.write(found)


@with_own_data
def edit_classes(
    run: AnyPath,
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, str] | None = None,
    merges: Iterable[Sequence[int]] = (),
    progress: Progress | bool | None = None,
) -> Run:
    """Name, colour and merge the classes of a finished run; the other ids stay.

    Parameters
    ----------
    run : Run or path
        A run, or its folder.
    names, colors : mapping of class id to text, optional
        Colours as `#rrggbb`.
    merges : iterable of sequences of int
        `[(4, 7)]` makes class 7 part of class 4; done first.
    progress : Progress or bool, optional
        As of `label`.

    Returns
    -------
    Run

    Raises
    ------
    SettingsError
        If an id, a name or a colour cannot be.

    Examples
    --------
    >>> import alps_geo
    >>> run = alps_geo.open("out")  # doctest: +SKIP
    >>> alps_geo.edit_classes(run, names={3: "road"}, merges=[(4, 7)])  # doctest: +SKIP
    """
    with listening(progress) as told:
        clock, opened = Stopwatch(told), open_run(run)
        model = ClassModel.load(opened.class_path)
        with open_results(opened, opened.record, clock) as results:
            model = _take_names(model, results, clock)
            model = model.merge(merges).rename(names or {}).recolor(colors or {})
            return results.write(model)


def _take_edits(run: Run, clock: Stopwatch) -> Run:
    """Take what was changed by hand into the results of a finished run."""
    with open_results(run, run.record, clock) as results:
        if not results.are_edited:
            clock.message(
                f"{run.folder} holds this very run, finished; nothing to do (`overwrite` runs"
                " again)"
            )
            return run
        model = ClassModel.load(run.class_path)
        return results.write(_take_names(model, results, clock))


def _take_names(model: ClassModel, results: Results, progress: Progress) -> ClassModel:
    """Return the model with names and colours that were given in the table `classes`."""
    for item in results.changed_classes():
        number, name, color = item["id"], item["name"], item["color"]
        if number not in model.class_ids:
            continue
        try:
            model = model.rename({number: str(name)}).recolor({number: str(color)})
        except SettingsError as error:
            progress.warning(
                f"what the table `classes` says of class {number} is not taken: {error}"
            )
        else:
            progress.message(f"class {number} was named {name!r}, {color}, by hand; kept")
    return model


def _manifest(
    scenes: Mapping[str, Scene],
    settings: Settings,
    model: MaskModel,
    sources: Sequence[FeatureSource],
    stretch: Stretch,
) -> dict[str, Any]:
    """Return all that the stored tiles depend on; of several differences the first is named."""
    chosen = describe_settings(settings)
    # The fingerprint has the area's polygons and the part's pixels; what they are called does not
    # matter. The grid tells whether it is the whole scene's.
    for name in ("aoi", "subdataset", "full_extent"):
        chosen["scene"].pop(name)
    # Scenes without blocks have no entry: their tiles are those of versions that knew of none.
    blocks = {stem: scene.blocks.to_dict() for stem, scene in scenes.items() if scene.blocks}
    # Nor have runs with the mask model's own features only.
    own = [source.name for source in sources] == [own_block(model.name)]
    features = [asdict(block) for block in blocks_of(sources)]
    rasters = contents_of(sources)
    return {
        "model": {
            "name": model.name,
            "checksum": model.checksum,
            "precision": settings.model.precision,
        },
        "settings": {name: chosen[name] for name in ("scene", "tiles", "masks")},
        "scenes": {
            stem: {"fingerprint": scene.fingerprint, "grid": scene.grid.to_json()}
            for stem, scene in scenes.items()
        },
        "stretch": stretch.to_dict(),
        **({"blocks": blocks} if blocks else {}),
        **({} if own else {"features": features}),
        **({"rasters": rasters} if rasters else {}),
    }


def _label_tiles(run: Run, prepared: Prepared, settings: Settings, progress: Progress) -> None:
    progress.stage("tiles")
    for part in run.parts:
        part.make_folder()
    blocks = travelling(prepared.sources)
    jobs = [
        Job(scene, tile, part.tile_path(tile), settings, blocks)
        for part, scene in zip(run.parts, prepared.scenes.values(), strict=True)
        for tile in part.missing_tiles()
    ]
    total = sum(len(part.tiles) for part in run.parts)
    finished = total - len(jobs)
    if finished:
        progress.message(f"{finished} of {total} tiles were finished before")
    progress.step(finished, total)

    def count(_: str) -> None:
        """Tell of one more finished tile."""
        nonlocal finished
        finished += 1
        tick()

    def tick() -> None:
        """Tell how far it is."""
        progress.step(finished, total)

    most = most_processes(settings.run.workers)
    if most < settings.run.workers:
        progress.message(
            f"`workers` is {settings.run.workers}, and Windows allows {most}: {most} are used"
        )
    run_jobs(jobs, prepared.model, prepared.sources, settings.run, count, tick)
