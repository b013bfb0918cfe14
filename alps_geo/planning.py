"""What labelling a scene would do, found out by reading it and labelling one tile on trial."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._environment import notes, with_own_data
from .classes import file as classfile
from .classes.model import ClassModel
from .classes.schema import FeatureBlock
from .errors import OutsideSceneError, SettingsError
from .features.choosing import choose_sources, lay_over
from .features.sources import FeatureSource
from .models import load_model
from .models.masks import MaskModel, follows_colour
from .progress import Progress, Stopwatch, listening
from .run.folder import RunFolder
from .run.jobs import label_tile
from .run.record import peak_memory_mb
from .run.run import features_in
from .scenes.paths import is_same, unique_stem
from .scenes.scene import Scene, open_scene
from .scenes.statistics import measure_stretch, valid_share
from .scenes.stretch import Stretch
from .scenes.survey import find_blocks
from .scenes.tiles import Tile, plan_tiles
from .settings import Settings
from .settings.keywords import with_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .settings.options import AnyPath, Options

#: What stitching, painting, outlining and writing take: docs/scaling.md has 0.4e-6 for scenes with
#: 1 500 masks per megapixel; it grows with them, and detailed scenes have twice as many.
ASSEMBLY_S_PER_PX = 0.8e-6
#: And what they need beyond a tile's own work, in MB.
ASSEMBLY_MB = 300


@dataclass(frozen=True)
class Plan:
    """What labelling a scene would do.

    Attributes
    ----------
    scene : dict
        What is known of the raster: format, size, bands, CRS, pixel size, mask, ...; JSON values.
    valid_share : float
        Share of the pixels that hold data, from 0 to 1; an estimate in large scenes.
    stretch : Stretch
    model : str
        The mask model that would run.
    tiles : int
    seconds, memory_mb : float
        Estimates for this computer, from one tile; rarely wrong by more than a factor of two.
    warnings : tuple of str
        What `label` would warn of.
    """

    scene: dict[str, Any]
    valid_share: float
    stretch: Stretch
    model: str
    tiles: int
    seconds: float
    memory_mb: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """Scenes and a mask model that fit each other, ready to label.

    Attributes
    ----------
    scenes : dict of str to Scene
        By stems of their own, with their stretch, in the order they were named.
    model : MaskModel
    sources : tuple of FeatureSource
    stretch : Stretch
    classes : ClassModel or None
        The class model that the settings name.
    checksum : str or None
        What tells its file from another.
    """

    scenes: dict[str, Scene]
    model: MaskModel
    sources: tuple[FeatureSource, ...]
    stretch: Stretch
    classes: ClassModel | None
    checksum: str | None


def prepare(
    paths: Sequence[str],
    settings: Settings,
    model: MaskModel | None,
    progress: Progress,
    folder: RunFolder | None = None,
) -> Prepared:
    """Open scenes and load models; whatever cannot be labelled is refused here.

    Parameters
    ----------
    paths : sequence of str
    settings : Settings
    model : MaskModel or None
        The caller's own, instead of the one the settings name.
    progress : Progress
        Is told what `label` would tell.
    folder : RunFolder, optional
        May hold the run that goes on.

    Raises
    ------
    AlpsGeoError
        See `alps_geo.errors`.
    """
    progress.stage("scenes")
    for text in notes():
        progress.message(text)
    opened = _open_scenes(paths, settings, progress)
    classes, checksum = load_classes(settings.classes.file)
    skip_unreadable = settings.run.skip_unreadable
    stretch = (
        measure_stretch(list(opened.values()), skip_unreadable=skip_unreadable)
        if classes is None
        else Stretch.from_dict(classes.schema.stretch)
    )
    opened = {stem: scene.with_stretch(stretch) for stem, scene in opened.items()}
    if model is None:
        model = load_model(settings, progress)
    elif settings.run.workers > 1 or settings.run.scheduler is not None:
        raise SettingsError(
            "`workers` and `scheduler` need a mask model by its name: one of your own works in this"
            " process only",
            code="settings.workers",
            setting="workers",
            found=settings.run.workers,
        )
    if classes is not None:
        classes.schema.require_model(model.name, model.checksum)
    present = _features_there(folder, settings, model)
    sources = choose_sources(settings.model, model, list(opened.values()), classes, present)
    lay_over(sources, opened.values(), progress)
    if follows_colour(model):
        opened = find_blocks(opened, progress, skip_unreadable=skip_unreadable)
    return Prepared(opened, model, sources, stretch, classes, checksum)


def _features_there(
    folder: RunFolder | None, settings: Settings, model: MaskModel
) -> tuple[FeatureBlock, ...]:
    """Return the blocks of features of the run that goes on; none of one that begins."""
    if folder is None or settings.run.overwrite or not folder.manifest_path.exists():
        return ()
    manifest = folder.read_manifest()
    return features_in(manifest) if manifest["model"]["name"] == model.name else ()


def load_classes(path: AnyPath | None) -> tuple[ClassModel | None, str | None]:
    """Return the class model that was named, and what tells its file from another."""
    return (None, None) if path is None else (ClassModel.load(path), classfile.checksum(path))


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


def choose(
    settings: Settings | None, model: str | MaskModel | None, options: Mapping[str, object]
) -> tuple[Settings, MaskModel | None]:
    """Return the settings that a caller means, and the caller's own mask model, if it is one."""
    if isinstance(model, str):
        model, options = None, {**options, "model": model}
    return (settings or Settings()).change(**options), model


@with_options()
@with_own_data
def info(
    scene: AnyPath,
    *,
    settings: Settings | None = None,
    model: str | MaskModel | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[Options],
) -> Plan:
    """Find out what `label` would do with a scene; what it would refuse is refused here.

    Parameters
    ----------
    scene : path
    settings : Settings, optional
        Instead of the defaults; options change it.
    model : str or MaskModel, optional
        Name of a mask model, or one of your own.
    progress : Progress or bool, optional
        As of `label`.
    **options
        As of `label`.

    Returns
    -------
    Plan

    Raises
    ------
    AlpsGeoError
        As `label` would.

    Examples
    --------
    >>> import alps_geo
    >>> alps_geo.info("scene.tif", tile_size=2048).seconds  # doctest: +SKIP
    """
    chosen, own = choose(settings, model, options)
    with listening(progress) as told:
        clock = Stopwatch(told)
        prepared = prepare([os.fspath(scene)], chosen, own, clock)
        (opened,) = prepared.scenes.values()
        tiles = plan_tiles(opened.grid.height, opened.grid.width, chosen.tiles)
        clock.stage("trial tile")
        seconds, memory_mb = _estimate(opened, tiles, prepared.model, prepared.sources, chosen)
        share = valid_share(opened)
    return Plan(
        opened.summary(),
        share,
        prepared.stretch,
        prepared.model.name,
        len(tiles),
        seconds,
        memory_mb,
        tuple(clock.warnings),
    )


def _estimate(
    scene: Scene,
    tiles: list[Tile],
    model: MaskModel,
    sources: Sequence[FeatureSource],
    settings: Settings,
) -> tuple[float, float]:
    """Label one tile, and return seconds and megabytes for all."""
    # The largest one nearest the middle, which is likeliest to be full of data.
    touched = [tile for tile in tiles if scene.wanted(tile.window) is not None]
    tile = max(touched, key=lambda tile: (_area(tile), -_off_centre(scene, tile)))
    began = time.perf_counter()
    label_tile(scene, tile, model, sources, settings.gate)
    spent = time.perf_counter() - began
    workers = min(settings.run.workers, len(touched))
    total = sum(_area(each) for each in touched)
    seconds = spent * total / _area(tile) / workers
    seconds += scene.grid.height * scene.grid.width * ASSEMBLY_S_PER_PX
    # Workers are processes of their own, beside the one that assembles.
    copies = workers if workers == 1 else workers + 1
    return seconds, copies * peak_memory_mb() + ASSEMBLY_MB


def _area(tile: Tile) -> int:
    return tile.window.height * tile.window.width


def _off_centre(scene: Scene, tile: Tile) -> float:
    core = tile.core
    rows = core.row + core.height / 2 - scene.grid.height / 2
    cols = core.col + core.width / 2 - scene.grid.width / 2
    return abs(rows) + abs(cols)
