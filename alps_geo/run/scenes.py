"""The scenes of a finished run, opened again where they still are what they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..scenes.scene import Scene, open_scene
from ..scenes.stretch import Stretch
from ..settings import SceneSettings

if TYPE_CHECKING:
    from .run import Run


def open_scenes(run: Run) -> dict[str, Scene]:
    """Open all scenes of a run as they were labelled.

    Returns
    -------
    dict of str to Scene
        By their names in the run, with the stretch of the run.

    Raises
    ------
    AlpsGeoError
        As of `open_scene_of`.
    """
    record = run.record
    return {item["stem"]: open_scene_of(run, record, item) for item in record["scenes"]}


def open_scene_of(run: Run, record: Mapping[str, Any], item: Mapping[str, Any]) -> Scene:
    """Open a scene of a run as it was labelled.

    Parameters
    ----------
    run : Run
    record : mapping
        Of the run.
    item : mapping
        The scene's part of it.

    Raises
    ------
    SceneError
        If it is gone.
    RunError
        If it has changed since.
    """
    settings = SceneSettings.from_json(record["settings"]["scene"])
    scene = open_scene(_place(run, item["path"]), settings)
    if scene.fingerprint != item["fingerprint"]:
        raise RunError(f"{scene.name} is not the scene that was labelled, or has changed since")
    return scene.with_stretch(Stretch.from_dict(record["stretch"]))


def _place(run: Run, path: str) -> str:
    """Return where a scene lies; a relative path may be one from beside the run."""
    for folder in (Path(), run.folder.parent, run.folder):
        if (folder / path).exists():
            return str(folder / path)
    return path
