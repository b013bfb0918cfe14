"""The recipes: label scenes, find new classes for a finished run, rename and merge classes.

Only this module sees all stages. Whatever a recipe needs again later is in the run folder, so that
a stopped run goes on, and new classes need no mask model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ._environment import notes, with_own_data
from ._memory import share_allocator
from .classes import file as classfile
from .classes.model import ClassModel
from .classes.schema import FeatureBlock, own_block
from .errors import OutsideSceneError, SettingsError
from .features.choosing import choose_sources
from .features.sources import FeatureSource, blocks_of
from .models import load_model
from .models.masks import MaskModel, follows_colour
from .outputs.writing import Outputs
from .progress import NoProgress, Progress, Stopwatch
from .run.assembly import grid_to_json
from .run.classes import find_classes
from .run.folder import RunFolder
from .run.jobs import Job, run_jobs
from .run.pools import end_if_unguarded, most_processes
from .run.record import describe_scene, describe_settings, describe_software, read_record
from .run.results import Results, open_results
from .run.run import Run, features_in, open_run, plan_scene
from .scenes.paths import is_same, unique_stem
from .scenes.scene import Scene, open_scene
from .scenes.statistics import measure_stretch
from .scenes.stretch import Stretch
from .scenes.survey import find_blocks
from .settings import ClassSettings, Settings


def label(
    scenes: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Outputs:
    """Label scenes: the same call as `alps-geo label`.

    Parameters
    ----------
    scenes : path, or sequence of paths
        Georeferenced images; several share one class model.
    out : path
        Folder of the results.
    progress : Progress, optional
        The progress listener, which may also cancel.
    **options
        The command's options by their long names: `n_classes=8`, `tile_size=512`, ...

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
    paths = [scenes] if isinstance(scenes, str | Path) else list(scenes)
    settings = Settings.from_options(**options)
    return label_scenes([str(path) for path in paths], out, settings, progress)


@with_own_data
def label_scenes(
    scenes: Sequence[str],
    out: str | Path,
    settings: Settings,
    progress: Progress | None = None,
    model: MaskModel | None = None,
) -> Outputs:
    """Label scenes with one class model.

    Parameters
    ----------
    scenes : sequence of str
    out : path
    settings : Settings
    progress : Progress, optional
    model : MaskModel, optional
        A model of the caller's own, instead of the one the settings name; for one worker.

    Returns
    -------
    Outputs

    Raises
    ------
    AlpsGeoError
        See `alps_geo.errors`.
    """
    end_if_unguarded()
    share_allocator()
    clock = Stopwatch(progress or NoProgress())
    clock.stage("scenes")
    for text in notes():
        clock.message(text)
    opened = _open_scenes(scenes, settings, clock)
    classes, checksum = _load_classes(settings.classes.file)
    stretch = (
        measure_stretch(list(opened.values()), skip_unreadable=settings.run.skip_unreadable)
        if classes is None
        else Stretch.from_dict(classes.schema.stretch)
    )
    opened = {stem: scene.with_stretch(stretch) for stem, scene in opened.items()}
    model = model or load_model(settings, clock)
    if classes is not None:
        classes.schema.require_model(model.name, model.checksum)
    folder = RunFolder(Path(out))
    present = _features_there(folder, settings, model)
    sources = choose_sources(settings.model, model, classes, present)
    if follows_colour(model):
        opened = find_blocks(opened, clock, skip_unreadable=settings.run.skip_unreadable)
    manifest = _manifest(opened, settings, model, sources, stretch)
    known = folder.start(manifest, overwrite=settings.run.overwrite)
    runs = [plan_scene(folder, stem, scene.grid, settings.tiles) for stem, scene in opened.items()]
    run = Run(folder.out, tuple(runs), manifest, clock)
    if known and run.is_finished(settings, checksum):
        return _take_edits(run)
    _label_tiles(run, opened, settings, model, sources)
    for scene_run in run.scenes:
        scene_run.assemble(settings.outputs, clock)
    classes = find_classes(run, classes, settings.classes)
    record = {
        "software": describe_software(),
        "settings": describe_settings(settings),
        "model": manifest["model"],
        "features": [asdict(block) for block in blocks_of(sources)],
        "class_model": checksum,
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
    model, checksum = _load_classes(classes)
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


def _open_scenes(paths: Sequence[str], settings: Settings, progress: Progress) -> dict[str, Scene]:
    """Open scenes by stems of their own, and pass on what they have to say."""
    if not paths:
        raise SettingsError("no scene is named; name one or more")
    opened: dict[str, Scene] = {}
    outside: list[OutsideSceneError] = []
    for path in paths:
        try:
            scene = open_scene(path, settings.scene)
        except OutsideSceneError as error:
            outside.append(error)
            continue
        if any(is_same(scene.path, other.path) for other in opened.values()):
            raise SettingsError(f"{scene.name} is named twice; name every scene once")
        opened[unique_stem(scene.stem, opened)] = scene
        for text in scene.messages:
            progress.message(text)
        for text in scene.warnings:
            progress.warning(text)
    if not opened:
        raise outside[0]
    for reason in outside:
        progress.warning(f"a scene is left out: {reason}")
    return opened


def _features_there(
    folder: RunFolder, settings: Settings, model: MaskModel
) -> tuple[FeatureBlock, ...]:
    """Return the blocks of features of the run that goes on; none of one that begins."""
    if settings.run.overwrite or not folder.manifest_path.exists():
        return ()
    manifest = folder.read_manifest()
    return features_in(manifest) if manifest["model"]["name"] == model.name else ()


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


def _load_classes(path: str | Path | None) -> tuple[ClassModel | None, str | None]:
    """Return the class model that was named, and what tells its file from another."""
    return (None, None) if path is None else (ClassModel.load(path), classfile.checksum(path))


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
