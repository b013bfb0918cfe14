"""The results of a run, locked and compared with what was written; changes that were stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from ..outputs.writing import open_package
from ..progress import Stopwatch
from ..scenes.scene import Scene
from .edits import load_edits
from .folder import RunFolder
from .library import ModelLibrary
from .results import Results
from .run import Run
from .scene_results import ScenePart, examine, identify
from .state import load_pending


@contextmanager
def open_results(
    run: Run,
    record: dict[str, Any],
    clock: Stopwatch,
    *,
    anew: bool = False,
    scenes: Mapping[str, Scene] | None = None,
) -> Iterator[Results]:
    """Lock the results of a run, and find out what was changed in them by hand.

    Parameters
    ----------
    run : Run
        Assembled.
    record : dict
        Of the run; its parts `settings` and `scenes`.
    clock : Stopwatch
        The progress listener.
    anew : bool
        Replace packages even if they hold the same segments.
    scenes : mapping of str to Scene, optional
        By stem, where they are open.

    Yields
    ------
    Results

    Raises
    ------
    OutputError
        If another program is writing to one of them.
    RunError
        If a segment was given a class that is not there.
    """
    library = ModelLibrary(run)
    with ExitStack() as stack:
        parts = []
        for scene, labels, package in zip(
            run.parts, run.label_paths, run.package_paths, strict=True
        ):
            segments = scene.load_segments()
            identity = identify(run, scene, segments, record["settings"]["outputs"])
            part = ScenePart(
                scene, segments, labels, package, identity, None, None, load_edits(scene.folder)
            )
            revision = open_package(package)
            if revision is not None:
                stack.callback(revision.close)
            parts.append(examine(run, part, revision, library, clock, anew=anew))
        # While all packages are locked, nobody else writes results.
        RunFolder(run.folder).remove_leftovers(tiles=False)
        yield Results(run, parts, library, record, clock, scenes)


def finish_stopped(run: Run, clock: Stopwatch) -> None:
    """Finish a change of results that was decided when a command was stopped.

    Parameters
    ----------
    run : Run
    clock : Stopwatch
        The progress listener.
    """
    pending = load_pending(RunFolder(run.folder).pending_path)
    if pending is None:
        return
    with open_results(run, dict(pending.after.record), clock) as results:
        model = results.restore(pending.after, drops_edits=pending.drops_edits)
        results.write(model, undo=pending.undo)
    clock.message("a change of classes that was stopped half-way is finished now")
