"""Work on tiles: one tile from pixels to its record, here or in other processes."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .features import Features, pool_features
from .masks import MaskModel, Masks, gate
from .models import load_model
from .progress import NoProgress
from .runs import Runs
from .scene import Scene
from .settings import MaskSettings, ModelSettings
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
    """

    scene: Scene
    tile: Tile
    path: Path
    model: ModelSettings
    masks: MaskSettings


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
    write_tile(job.path, label_tile(job.scene, job.tile, model, job.masks))
    return job.tile.name


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
    jobs: Iterable[Job], model: MaskModel, workers: int, done: Callable[[str], None]
) -> None:
    """Label tiles, and tell of each when it is finished.

    Parameters
    ----------
    jobs : iterable of Job
    model : MaskModel
        Used where this process does the work.
    workers : int
        Number of processes; 1 for this one.
    done : callable
        Is called with each finished tile's name; may raise `Cancelled`.
    """
    if workers == 1:
        for job in jobs:
            done(run_job(job, model))
        return
    with _open_executor(workers) as executor:
        _run_in(executor, jobs, 2 * workers, done)


@contextmanager
def _open_executor(workers: int) -> Iterator[Executor]:
    # Spawned, because forked processes inherit the threads' locks of BLAS, GDAL and torch.
    executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C from the processes that are started inside: this one tells them when to stop."""
    # A terminal sends the signal to all; what is blocked here stays blocked in a new process.
    if not hasattr(signal, "pthread_sigmask"):
        yield  # Windows
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_in(
    executor: Executor, jobs: Iterable[Job], in_flight: int, done: Callable[[str], None]
) -> None:
    """Hand out jobs, few at once, so that a cancelled run stops soon."""
    running: set[Future[str]] = set()
    for job in jobs:
        with _interrupts_held():
            running.add(executor.submit(run_job, job))
        if len(running) >= in_flight:
            running = _collect(running, done)
    while running:
        running = _collect(running, done)


def _collect(running: set[Future[str]], done: Callable[[str], None]) -> set[Future[str]]:
    """Wait for the next finished job, and return those still running."""
    finished, still_running = wait(running, return_when=FIRST_COMPLETED)
    for future in finished:
        done(future.result())
    return still_running
