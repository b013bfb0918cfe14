"""What labelling a scene would do, found out by reading it and labelling one tile on trial."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._environment import notes, with_own_data
from .classes.model import ClassModel
from .features.choosing import choose_sources
from .features.sources import FeatureSource
from .models import load_model
from .models.masks import MaskModel, follows_colour
from .progress import NoProgress, Progress
from .run.jobs import label_tile
from .run.record import peak_memory_mb
from .scenes.scene import Scene, open_scene
from .scenes.statistics import measure_stretch, valid_share
from .scenes.stretch import Stretch
from .scenes.survey import measure_blocks
from .scenes.tiles import Tile, plan_tiles
from .settings import Settings

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


@with_own_data
def inspect(scene: str, settings: Settings, progress: Progress | None = None) -> Plan:
    """Find out what `label` would do with a scene; what it would refuse is refused here.

    Parameters
    ----------
    scene : str
    settings : Settings
    progress : Progress, optional

    Returns
    -------
    Plan

    Raises
    ------
    AlpsGeoError
        As `pipeline.label_scenes` would.
    """
    progress = progress or NoProgress()
    progress.stage("scene")
    for text in notes():
        progress.message(text)
    opened = open_scene(scene, settings.scene)
    for text in opened.messages:
        progress.message(text)
    given = settings.classes.file
    classes = None if given is None else ClassModel.load(given)
    stretch = (
        measure_stretch([opened]) if classes is None else Stretch.from_dict(classes.schema.stretch)
    )
    opened = opened.with_stretch(stretch)
    model = load_model(settings, progress)
    if classes is not None:
        classes.schema.require_model(model.name, model.checksum)
    sources = choose_sources(settings.model, model, classes)
    if follows_colour(model):
        opened = opened.without_blocks(measure_blocks(opened))
    tiles = plan_tiles(opened.grid.height, opened.grid.width, settings.tiles)
    progress.stage("trial tile")
    seconds, memory_mb = _estimate(opened, tiles, model, sources, settings)
    return Plan(
        opened.summary(),
        valid_share(opened),
        stretch,
        model.name,
        len(tiles),
        seconds,
        memory_mb,
        opened.warnings,
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
