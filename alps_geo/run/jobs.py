"""Work on tiles: one tile from pixels to its result, here or in other processes."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._environment import with_own_data
from .._memory import return_freed_memory
from ..errors import OutputError, ReadError, SceneError, WorkerError
from ..features.choosing import load_features
from ..features.pooling import Features, mean_colors
from ..features.sources import FeatureSource, TileView, describe_masks
from ..models import load_model
from ..models.masks import Embedding, MaskModel, Masks, gate
from ..models.stream import batch_size, read_ahead, segment_all
from ..progress import NoProgress
from ..scenes.grid import Window
from ..scenes.scene import Scene
from ..scenes.spans import Spans
from ..scenes.tiles import Tile
from ..segments.tile_results import TileResult, write_tile
from ..settings import GateSettings, RunSettings, Settings
from .pools import choose_pool, run_in_pool


@dataclass(frozen=True)
class Job:
    """A tile to label, with all that another process needs to do it.

    Attributes
    ----------
    scene : Scene
        With its stretch.
    tile : Tile
    path : Path
        Where the result goes.
    settings : Settings
    features : tuple of str or FeatureSource
        Names of the blocks of features, or the sources themselves.
    """

    scene: Scene
    tile: Tile
    path: Path
    settings: Settings
    features: tuple[str | FeatureSource, ...]

    def travelling(self) -> Job:
        """Return the job with paths that hold in any working directory."""
        return dataclasses.replace(self, scene=self.scene.anchored(), path=self.path.absolute())


@lru_cache(maxsize=1)
def _process_model(settings: Settings) -> MaskModel:
    """Return this process's mask model, loaded once."""
    return load_model(settings, NoProgress())


@lru_cache(maxsize=1)
def _process_sources(
    blocks: tuple[str | FeatureSource, ...], settings: Settings
) -> tuple[FeatureSource, ...]:
    """Return this process's sources of features, loaded once."""
    return load_features(blocks, settings.model, _process_model(settings))


def run_job(job: Job) -> str:
    """Label one tile with this process's mask model, and write its result.

    Parameters
    ----------
    job : Job

    Returns
    -------
    str
        The tile's name.
    """
    pixels = _read_job(job)
    (found,) = _find(_process_model(job.settings), [pixels])
    return _finish(job, pixels, found, _process_sources(job.features, job.settings))


def run_jobs_here(
    jobs: Sequence[Job],
    model: MaskModel,
    sources: Sequence[FeatureSource],
    done: Callable[[str], None],
) -> None:
    """Label tiles in this process: while one is segmented, others are read and written.

    Parameters
    ----------
    jobs : sequence of Job
    model : MaskModel
    sources : sequence of FeatureSource
    done : callable
        Is called with each finished tile's name; may raise `Cancelled`.
    """
    groups = read_ahead(map(_read_job, jobs), batch_size(model))
    waiting = iter(jobs)
    with closing(groups), ThreadPoolExecutor(1) as thread:
        finishing: deque[Future[str]] = deque()
        for group in groups:
            for pixels, found in zip(group, _find(model, group), strict=True):
                job = next(waiting)
                finishing.append(thread.submit(_finish, job, pixels, found, sources))
                if len(finishing) > 1:
                    done(finishing.popleft().result())
        for future in finishing:
            done(future.result())


@with_own_data
def run_job_elsewhere(job: Job) -> str:
    """Label one tile in another process; errors name the machine, as it may lack a disk.

    Parameters
    ----------
    job : Job

    Returns
    -------
    str
        The tile's name.
    """
    try:
        return run_job(job)
    except (SceneError, OutputError) as error:
        text = f"{error} (worker on host {socket.gethostname()})"
        failure = type(error)(text, code=error.code, **error.values)
    # Raised here, without its cause: GDAL's own errors cannot travel to another process.
    raise failure


def label_tile(
    scene: Scene,
    tile: Tile,
    model: MaskModel,
    sources: Sequence[FeatureSource],
    settings: GateSettings,
) -> TileResult:
    """Find the masks of a tile and their features.

    Parameters
    ----------
    scene : Scene
        With its stretch.
    tile : Tile
    model : MaskModel
    sources : sequence of FeatureSource
    settings : GateSettings

    Returns
    -------
    TileResult

    Raises
    ------
    ReadError
        If the tile's pixels cannot be read.
    """
    pixels = _read(scene, tile)
    (found,) = _find(model, [pixels])
    return _describe(pixels, found, sources, settings)


@dataclass(frozen=True)
class _Pixels:
    """What was read of a tile."""

    scene: Scene
    window: Window
    rgb: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    seconds: float
    unreadable: str = ""


@dataclass(frozen=True)
class _Found:
    """What a mask model says of a tile."""

    masks: Masks
    embedding: Embedding
    seconds: float


def _read(scene: Scene, tile: Tile) -> _Pixels:
    began = time.perf_counter()
    rgb, valid = scene.read(tile.window)
    return _Pixels(scene, tile.window, rgb, valid, time.perf_counter() - began)


def _read_job(job: Job) -> _Pixels:
    try:
        return _read(job.scene, job.tile)
    except ReadError as error:
        return _skip(job, error)


def _skip(job: Job, error: ReadError) -> _Pixels:
    """Return a tile that cannot be read as one without a valid pixel, unless it shall not be."""
    if not job.settings.run.skip_unreadable:
        text = f"tile {job.tile.name}: {error}"
        raise ReadError(text, code=error.code, **error.values) from error
    window = job.tile.window
    shape = window.height, window.width
    rgb, valid = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
    return _Pixels(job.scene, window, rgb, valid, 0.0, str(error))


def _find(model: MaskModel, group: Sequence[_Pixels]) -> Iterator[_Found | None]:
    """Ask the model for the masks of tiles; None for those without a valid pixel."""
    answers = segment_all(model, [(one.rgb, one.valid) for one in group if one.valid.any()])
    for pixels in group:
        began = time.perf_counter()
        answer = next(answers) if pixels.valid.any() else None
        yield answer and _Found(*answer, time.perf_counter() - began)


def _finish(
    job: Job, pixels: _Pixels, found: _Found | None, sources: Sequence[FeatureSource]
) -> str:
    """Write the result of a tile, and return the tile's name."""
    try:
        result = _describe(pixels, found, sources, job.settings.gate)
    except ReadError as error:
        # Of bands or rasters that only features are made of.
        result = _empty_result(_skip(job, error))
    write_tile(job.path, result)
    return job.tile.name


def _describe(
    pixels: _Pixels,
    found: _Found | None,
    sources: Sequence[FeatureSource],
    settings: GateSettings,
) -> TileResult:
    """Gate the masks of a tile and describe them."""
    valid = pixels.valid
    if found is None:
        return _empty_result(pixels)
    began = time.perf_counter()
    masks, too_large, counts = gate(found.masks, valid, settings)
    gated = time.perf_counter()
    view = TileView(pixels.scene, pixels.window, pixels.rgb, valid, found.embedding)
    features = describe_masks(sources, view, masks.spans)
    seconds = {
        "read": pixels.seconds,
        "masks": found.seconds + gated - began,
        "features": time.perf_counter() - gated,
    }
    dropped, invalid = (Spans.from_bitmaps(bitmap[np.newaxis]) for bitmap in (too_large, ~valid))
    return TileResult(
        masks, features, dropped, invalid, counts, seconds, mean_colors(masks.spans, pixels.rgb)
    )


def _empty_result(pixels: _Pixels) -> TileResult:
    """Return the result of a tile without a valid pixel: the model is not asked."""
    nothing = np.zeros((1, *pixels.valid.shape), bool)
    masks, _, counts = gate(Masks.empty(), ~nothing[0], GateSettings())
    features = Features(np.zeros((0, 0), np.float32), (), np.zeros(0, np.float32))
    gated, invalid = Spans.from_bitmaps(nothing), Spans.from_bitmaps(~nothing)
    seconds = {"read": pixels.seconds}
    return TileResult(
        masks,
        features,
        gated,
        invalid,
        counts,
        seconds,
        np.zeros((0, 3), np.float32),
        pixels.unreadable,
    )


def run_jobs(
    jobs: Sequence[Job],
    model: MaskModel,
    sources: Sequence[FeatureSource],
    settings: RunSettings,
    done: Callable[[str], None],
    tick: Callable[[], None],
) -> None:
    """Label tiles here, in other processes or on a cluster, and tell of each that is finished.

    Parameters
    ----------
    jobs : sequence of Job
    model : MaskModel
    sources : sequence of FeatureSource
        Used, as the model is, where this process does the work.
    settings : RunSettings
    done : callable
        Is called with each finished tile's name; may raise `Cancelled`.
    tick : callable
        Is called while others work; may raise `Cancelled`.

    Raises
    ------
    WorkerError
        If workers cannot be had, are lost time and again, or write to another disk than this.
    """
    if not jobs:
        return
    if settings.workers == 1 and settings.scheduler is None:
        run_jobs_here(jobs, model, sources, done)
        return_freed_memory()
        return
    open_pool = choose_pool(settings, tick)
    run_in_pool(open_pool, run_job_elsewhere, [job.travelling() for job in jobs], done, tick)
    lost = [job.path for job in jobs if not job.path.exists()]
    if lost:
        raise WorkerError(
            f"workers finished {len(lost)} tiles that are not here, such as {lost[0]}; the output"
            " folder must be on storage that all workers share"
        )
