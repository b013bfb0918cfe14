"""The tiles of a run, labelled where they are not yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..features.choosing import travelling
from ..features.sources import FeatureSource
from ..models.masks import MaskModel
from ..progress import Progress
from ..scenes.scene import Scene
from ..settings import Settings
from .jobs import Job, run_jobs
from .pools import most_processes
from .run import Run


def label_tiles(
    run: Run,
    scenes: Mapping[str, Scene],
    model: MaskModel,
    sources: Sequence[FeatureSource],
    settings: Settings,
    progress: Progress,
) -> None:
    """Label the tiles of a run that are still to be labelled.

    Parameters
    ----------
    run : Run
    scenes : mapping of str to Scene
        By stem, with their stretch.
    model : MaskModel
    sources : sequence of FeatureSource
    settings : Settings
    progress : Progress
        Is told of every finished tile; may raise `Cancelled`.
    """
    progress.stage("tiles")
    for part in run.parts:
        part.make_folder()
    blocks = travelling(sources)
    jobs = [
        Job(scene, tile, part.tile_path(tile), settings, blocks)
        for part, scene in zip(run.parts, scenes.values(), strict=True)
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
    run_jobs(jobs, model, sources, settings.run, count, tick)
