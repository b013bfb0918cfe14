"""What of runs is exported: scenes by names of their own, and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..errors import RunError
from ..run.run import Run


def list_scenes(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Return every scene with its run, in the order of the runs."""
    return [(run, scene) for run in runs for scene in run.scenes]


def own_names(runs: Sequence[Run]) -> list[str]:
    """Return a name for each scene; the run's folder tells scenes of one name apart."""
    scenes = list_scenes(runs)
    there = Counter(name.casefold() for _, name in scenes)
    return [
        name if there[name.casefold()] == 1 else f"{run.folder.resolve().name}_{name}"
        for run, name in scenes
    ]


def choose_classes(run: Run, names: Mapping[int, str], wanted: Sequence[str]) -> set[int]:
    """Return the ids of classes, given by id or name; all of them where none is given.

    Parameters
    ----------
    run : Run
    names : mapping of int to str
        Of its classes.
    wanted : sequence of str

    Raises
    ------
    RunError
        If the run has no such class.
    """
    if not wanted:
        return set(names)
    found = set()
    for text in wanted:
        ids = [number for number, name in names.items() if text in (str(number), name)]
        if not ids:
            known = ", ".join(f"{number} ({name})" for number, name in names.items())
            raise RunError(f"{run.folder} has no class {text!r}; it has {known}")
        found.update(ids)
    return found
