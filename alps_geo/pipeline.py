"""The recipes: label scenes, find new classes for a finished run, rename and merge classes.

Only this module sees all stages. Whatever a recipe needs again later is in the run folder, so that
a stopped run goes on, and new classes need no mask model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._environment import with_own_data
from ._memory import share_allocator
from .classes.model import ClassModel
from .classes.schema import own_block
from .errors import SettingsError
from .features.sources import FeatureSource, blocks_of
from .models.masks import MaskModel
from .outputs.writing import Outputs
from .planning import Prepared, choose, load_classes, prepare
from .progress import Progress, Stopwatch, listening
from .run.assembly import grid_to_json
from .run.classes import find_classes
from .run.folder import RunFolder
from .run.jobs import Job, run_jobs
from .run.pools import end_if_unguarded, most_processes
from .run.record import describe_scene, describe_settings, describe_software, read_record
from .run.results import Results, open_results
from .run.run import Run, features_in, open_run, plan_scene
from .scenes.scene import Scene
from .scenes.stretch import Stretch
from .settings import ClassSettings, Settings
from .settings.keywords import with_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .settings.options import AnyPath, Options


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
) -> Outputs:
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
        The progress listener, which may also cancel. True shows progress as text, False does not; by default it
        is shown in notebooks and on interactive prompts.
    **options

    Returns
    -------
    Outputs

    Raises
    ------
    AlpsGeoError
        In one line: what is wrong, and what to do.

    Examples
    --------
    >>> import alps_geo
    >>> outputs = alps_geo.label("scene.tif", "out", n_classes=12)  # doctest: +SKIP
    """
    paths = [scenes] if isinstance(scenes, str | os.PathLike) else list(scenes)
    chosen, own = choose(settings, model, options)
    end_if_unguarded()
    share_allocator()
    with listening(progress) as told:
        clock = Stopwatch(told)
        found = prepare(
            [os.fspath(path) for path in paths], chosen, own, clock, RunFolder(Path(out))
        )
        return _label(found, Path(out), chosen, clock)


def _label(prepared: Prepared, folder: RunFolder, settings: Settings, clock: Stopwatch) -> Outputs:
    """Label what was prepared; tiles that an earlier run finished are not labelled again."""
    opened = prepared.scenes
    manifest = _manifest(opened, settings, prepared.model, prepared.sources, prepared.stretch)
    known = folder.start(manifest, overwrite=settings.run.overwrite)
    runs = [plan_scene(folder, stem, scene.grid, settings.tiles) for stem, scene in opened.items()]
    run = Run(folder.out, tuple(runs), manifest, clock)
    if known and run.is_finished(settings, prepared.checksum):
        return _take_edits(run)
    _label_tiles(run, opened, settings, prepared.model, prepared.sources)
    for scene_run in run.scenes:
        scene_run.assemble(settings.outputs, clock)
    classes = find_classes(run, prepared.classes, settings.classes)
    record = {
        "software": describe_software(),
        "settings": describe_settings(settings),
        "model": manifest["model"],
        "features": [asdict(block) for block in blocks_of(prepared.sources)],
        "class_model": prepared.checksum,
        "stretch": manifest["stretch"],
        "scenes": [
            describe_scene(part, scene)
            for part, scene in zip(run.scenes, opened.values(), strict=True)
        ],
    }
    with open_results(run, record, anew=settings.run.overwrite) as results:
        return results.write(classes)


@with_own_data
def classify(
    out: str | Path,
    *,
    n_classes: int | None = None,
    classes: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Outputs:
    """Find new classes for a finished run from its stored features; no mask model runs.

    Parameters
    ----------
    out : path
        Folder of the run.
    n_classes : int, optional
        Number of new classes.
    classes : path, optional
        A class model to apply instead.
    seed : int
    progress : Progress, optional

    Returns
    -------
    Outputs

    Raises
    ------
    AlpsGeoError
        See `alps_geo.errors`; the results of the run are then as they were.
    """
    run, record = open_run(Path(out), progress)
    present = record["settings"]["classes"]
    number = present["n_classes"] if n_classes is None else n_classes
    wanted = ClassSettings(number, None if classes is None else str(classes), seed)
    model, checksum = load_classes(classes)
    if model is not None:
        model.schema.require_model(run.manifest["model"]["name"], run.manifest["model"]["checksum"])
        model.schema.require(features_in(run.manifest))
        if model.schema.stretch != run.manifest["stretch"]:
            run.clock.warning(
                "the class model was made with another stretch than this run: the same colours look"
                " different to it; `label()` with `classes` uses the model's own"
            )
    found = find_classes(run, model, wanted)
    record["settings"]["classes"] = wanted.to_json()
    record["class_model"] = checksum
    with open_results(run, record) as results:
        return results.write(found)


@with_own_data
def edit_classes(
    out: str | Path,
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, str] | None = None,
    merges: Iterable[Sequence[int]] = (),
    progress: Progress | None = None,
) -> Outputs:
    """Name, colour and merge the classes of a finished run; the other ids stay.

    Parameters
    ----------
    out : path
        Folder of the run.
    names, colors : mapping of class id to text, optional
        Colours as `#rrggbb`.
    merges : iterable of sequences of int
        `[(4, 7)]` makes class 7 part of class 4; done first.
    progress : Progress, optional

    Returns
    -------
    Outputs

    Raises
    ------
    SettingsError
        If an id, a name or a colour cannot be.
    """
    run, record = open_run(Path(out), progress)
    model = ClassModel.load(run.outputs().classes)
    with open_results(run, record) as results:
        model = _take_names(model, results, run.clock)
        model = model.merge(merges).rename(names or {}).recolor(colors or {})
        return results.write(model)


def _take_edits(run: Run) -> Outputs:
    """Take what was changed by hand into the results of a finished run."""
    record = read_record(run.outputs().record)
    with open_results(run, record) as results:
        if not results.are_edited:
            run.clock.message(
                f"{run.out} holds this very run, finished; nothing to do (`overwrite` runs again)"
            )
            return run.outputs()
        model = ClassModel.load(run.outputs().classes)
        return results.write(_take_names(model, results, run.clock))


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
    return {
        "model": {
            "name": model.name,
            "checksum": model.checksum,
            "precision": settings.model.precision,
        },
        "settings": {name: chosen[name] for name in ("scene", "tiles", "masks")},
        "scenes": {
            stem: {"fingerprint": scene.fingerprint, "grid": grid_to_json(scene.grid)}
            for stem, scene in scenes.items()
        },
        "stretch": stretch.to_dict(),
        **({"blocks": blocks} if blocks else {}),
        **({} if own else {"features": features}),
    }


def _label_tiles(
    run: Run,
    scenes: Mapping[str, Scene],
    settings: Settings,
    model: MaskModel,
    sources: Sequence[FeatureSource],
) -> None:
    run.clock.stage("tiles")
    for part in run.scenes:
        part.make_folder()
    jobs = [
        Job(scene, tile, part.tile_path(tile), settings, tuple(source.name for source in sources))
        for part, scene in zip(run.scenes, scenes.values(), strict=True)
        for tile in part.missing_tiles()
    ]
    total = sum(len(part.tiles) for part in run.scenes)
    finished = total - len(jobs)
    if finished:
        run.clock.message(f"{finished} of {total} tiles were finished before")
    run.clock.step(finished, total)

    def count(_: str) -> None:
        """Tell of one more finished tile."""
        nonlocal finished
        finished += 1
        tick()

    def tick() -> None:
        """Tell how far it is."""
        run.clock.step(finished, total)

    most = most_processes(settings.run.workers)
    if most < settings.run.workers:
        run.clock.message(
            f"`workers` is {settings.run.workers}, and Windows allows {most}: {most} are used"
        )
    run_jobs(jobs, model, sources, settings.run, count, tick)
