"""A run as a whole: its folder, its scenes, where its results go, and whether they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..classes.schema import FeatureBlock, FeatureSchema, own_block
from ..errors import RunError
from ..outputs.writing import Outputs
from ..progress import NoProgress, Progress, Stopwatch
from ..scenes.grid import Grid
from ..scenes.tiles import plan_tiles
from ..segments.table import Segments
from ..settings import Settings, TileSettings
from .assembly import SceneRun, grid_from_json
from .folder import RunFolder
from .record import describe_settings, read_record


@dataclass(frozen=True)
class Run:
    """A run that goes on.

    Attributes
    ----------
    out : Path
        Folder of the results.
    scenes : tuple of SceneRun
    manifest : mapping
        What the stored tiles depend on.
    clock : Stopwatch
        The progress listener.
    """

    out: Path
    scenes: tuple[SceneRun, ...]
    manifest: Mapping[str, Any]
    clock: Stopwatch

    def outputs(self) -> Outputs:
        """Return where the results go: by plain names, or by the scenes' stems."""
        prefixes = [""] if len(self.scenes) == 1 else [f"{run.stem}." for run in self.scenes]
        return Outputs(
            self.out,
            tuple(self.out / f"{prefix}labels.tif" for prefix in prefixes),
            tuple(self.out / f"{prefix}labels.gpkg" for prefix in prefixes),
            self.out / "classes.safetensors",
            self.out / "run.json",
        )

    def schema(self, segments: Sequence[Segments]) -> FeatureSchema:
        """Return what class models of this run are made from."""
        known = next((part for part in segments if part.feature_names), segments[0])
        return FeatureSchema(
            self.manifest["model"]["name"],
            self.manifest["model"]["checksum"],
            known.feature_names,
            known.feature_weights,
            self.manifest["stretch"],
            features_in(self.manifest),
        )

    def is_finished(self, settings: Settings, checksum: str | None) -> bool:
        """Return whether all results are there.

        Parameters
        ----------
        settings : Settings
        checksum : str or None
            Of the class model's file that they name, as it is now.

        Raises
        ------
        RunError
            If they were made with other classes or outputs than the settings ask for, or the class
            model that these name has changed.
        """
        if not self.outputs().record.exists() or RunFolder(self.out).results_outdated:
            return False
        record = read_record(self.outputs().record)
        there, now = record["settings"], describe_settings(settings)
        for part in ("classes", "outputs"):
            for name, value in now[part].items():
                if there[part][name] != value:
                    remedy = "`classify()`" if part == "classes" else "`overwrite`"
                    raise RunError(
                        f"{self.out} holds this run with `{name}` {there[part][name]}, not"
                        f" {value}; use {remedy}, or another folder",
                        code="run.other_settings",
                        path=str(self.out),
                        setting=name,
                        found=there[part][name],
                        wanted=value,
                    )
        # Runs of earlier versions do not know what was in the class model.
        if record.get("class_model", checksum) != checksum:
            given = settings.classes.file
            raise RunError(
                f"{self.out} holds this run with the classes that {given} had then, and it has"
                f" changed; use `classify()` with `classes={given}`, or another folder"
            )
        return all(path.exists() for path in (*self.outputs().labels, *self.outputs().packages))


def features_in(manifest: Mapping[str, Any]) -> tuple[FeatureBlock, ...]:
    """Return a run's blocks of features; runs of versions that knew none have the model's own."""
    model = manifest["model"]
    own = {"name": own_block(model["name"]), "checksum": model["checksum"]}
    return tuple(FeatureBlock(**block) for block in manifest.get("features", [own]))


def open_run(out: Path, progress: Progress | None) -> tuple[Run, dict[str, Any]]:
    """Open a finished run.

    Parameters
    ----------
    out : Path
    progress : Progress or None

    Returns
    -------
    run : Run
    record : dict
        Its record, to be written again.

    Raises
    ------
    RunError
        If there is no finished run.
    """
    folder = RunFolder(out)
    manifest = folder.read_manifest()
    record = read_record(out / "run.json")
    cut = TileSettings.from_json(manifest["settings"]["tiles"])
    scenes = [
        plan_scene(folder, stem, grid_from_json(facts["grid"]), cut)
        for stem, facts in manifest["scenes"].items()
    ]
    return Run(out, tuple(scenes), manifest, Stopwatch(progress or NoProgress())), record


def plan_scene(folder: RunFolder, stem: str, grid: Grid, settings: TileSettings) -> SceneRun:
    """Return a scene's part of a run, which knows its tiles."""
    tiles = plan_tiles(grid.height, grid.width, settings)
    return SceneRun(folder.scene_folder(stem), stem, grid, tuple(tiles))
