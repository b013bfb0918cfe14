"""Work on tiles: one tile from pixels to its record, here or in other processes."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .errors import OutputError, ReadError, SceneError, WorkerError
from .executors import choose_pool, run_in_pool
from .features import Features, pool_features
from .masks import MaskModel, Masks, gate
from .models import load_model
from .progress import NoProgress
from .runs import Runs
from .scene import Scene
from .settings import MaskSettings, ModelSettings, RunSettings
from .store import TileRecord, write_tile
from .tiles import Tile


@dataclass(frozen=True)
class Job:
    """A tile to label, with all that another process needs to do it.

    Attributes
    ----------
    scene : Scene
        With its stretch.
    tile : Tile
    path : Path
        Where the record goes.
    model : ModelSettings
    masks : MaskSettings
    skip_unreadable : bool
        Record a tile that cannot be read as such, instead of raising.
    """

    scene: Scene
    tile: Tile
    path: Path
    model: ModelSettings
    masks: MaskSettings
    skip_unreadable: bool = False

    def travelling(self) -> Job:
        """Return the job with paths that hold in any working directory."""
        return dataclasses.replace(self, scene=self.scene.anchored(), path=self.path.absolute())


@lru_cache(maxsize=1)
def _process_model(model: ModelSettings, masks: MaskSettings) -> MaskModel:
    """Return this process's mask model, loaded once."""
    return load_model(model, masks, NoProgress())


def run_job(job: Job, model: MaskModel | None = None) -> str:
    """Label one tile and write its record.

    Parameters
    ----------
    job : Job
    model : MaskModel, optional
        Loaded from the job's settings, once per process, where it is left out.

    Returns
    -------
    str
        The tile's name.
    """
    model = model or _process_model(job.model, job.masks)
    try:
        record = label_tile(job.scene, job.tile, model, job.masks)
    except ReadError as error:
        if not job.skip_unreadable:
            raise ReadError(f"tile {job.tile.name}: {error}") from error
        shape = job.tile.window.height, job.tile.window.width
        record = dataclasses.replace(_empty_record(shape, 0.0), unreadable=str(error))
    write_tile(job.path, record)
    return job.tile.name


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
        failure = type(error)(f"{error} (worker on host {socket.gethostname()})")
    # Raised here, without its cause: GDAL's own errors cannot travel to another process.
    raise failure


def label_tile(scene: Scene, tile: Tile, model: MaskModel, settings: MaskSettings) -> TileRecord:
    """Find the masks of a tile and their features.

    Parameters
    ----------
    scene : Scene
        With its stretch.
    tile : Tile
    model : MaskModel
    settings : MaskSettings

    Returns
    -------
    TileRecord

    Raises
    ------
    ReadError
        If the tile's pixels cannot be read.
    """
    began = time.perf_counter()
    pixels, valid = scene.read(tile.window)
    read = time.perf_counter()
    if not valid.any():
        return _empty_record(valid.shape, read - began)
    found, embedding = model.segment(pixels, valid)
    masks, too_large, counts = gate(found, valid, settings)
    segmented = time.perf_counter()
    features = pool_features(masks.runs, embedding, valid.shape)
    seconds = {
        "read": read - began,
        "masks": segmented - read,
        "features": time.perf_counter() - segmented,
    }
    bitmaps = np.stack([too_large, ~valid])
    gated, invalid = (Runs.from_bitmaps(bitmap[np.newaxis]) for bitmap in bitmaps)
    return TileRecord(masks, features, gated, invalid, counts, seconds)


def _empty_record(shape: tuple[int, int], seconds: float) -> TileRecord:
    """Return the record of a tile without a valid pixel: the model is not asked."""
    nothing = np.zeros((1, *shape), bool)
    masks, _, counts = gate(Masks.empty(), ~nothing[0], MaskSettings())
    features = Features(np.zeros((0, 0), np.float32), (), np.zeros(0, np.float32))
    gated, invalid = Runs.from_bitmaps(nothing), Runs.from_bitmaps(~nothing)
    return TileRecord(masks, features, gated, invalid, counts, {"read": seconds})


def run_jobs(
    jobs: Sequence[Job],
    model: MaskModel,
    settings: RunSettings,
    done: Callable[[str], None],
    tick: Callable[[], None],
) -> None:
    """Label tiles here, in other processes or on a cluster, and tell of each that is finished.

    Parameters
    ----------
    jobs : sequence of Job
    model : MaskModel
        Used where this process does the work.
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
        for job in jobs:
            done(run_job(job, model))
        return
    open_pool = choose_pool(settings, tick)
    run_in_pool(open_pool, run_job_elsewhere, [job.travelling() for job in jobs], done, tick)
    lost = [job.path for job in jobs if not job.path.exists()]
    if lost:
        raise WorkerError(
            f"workers finished {len(lost)} tiles that are not here, such as {lost[0]}; the output"
            " folder must be on storage that all workers share"
        )
