"""Which label rasters are compared with which references: those of a run, by scene."""

from __future__ import annotations

from pathlib import Path

from ..errors import RunError
from ..run.folder import RunFolder
from .references import check_exists


def pair_rasters(labels: str, reference: str, scene: str | None) -> list[tuple[str, str]]:
    """Return label rasters and their references, one pair per scene that is compared."""
    ours, theirs = _rasters_of(labels), _reference_of(reference)
    if scene is not None:
        ours = _only(ours, scene, labels)
        theirs = theirs if len(theirs) == 1 else _only(theirs, scene, reference)
    elif len(ours) > 1 and len(theirs) == 1:
        # One reference for many scenes belongs to the one it is named after.
        name = Path(next(iter(theirs.values()))).name
        named = [stem for stem in ours if name == stem or name.startswith((f"{stem}.", f"{stem}_"))]
        ours = {stem: ours[stem] for stem in named} if len(named) == 1 else ours
    if len(ours) == len(theirs) == 1:
        return list(zip(ours.values(), theirs.values(), strict=True))
    if ours.keys() == theirs.keys():
        return [(ours[stem], theirs[stem]) for stem in sorted(ours)]
    stems = sorted(ours if len(ours) > 1 else theirs)
    raise RunError(
        f"choose one with `scene`: {', '.join(stems)}",
        code="run.several_scenes",
        setting="scene",
        allowed=stems,
    )


def _only(rasters: dict[str, str], scene: str, path: str) -> dict[str, str]:
    if len(rasters) == 1 and "" in rasters:
        return rasters
    if scene not in rasters:
        known = ", ".join(sorted(rasters))
        raise RunError(f"{path} has no labels of the scene {scene!r}; it has {known}")
    return {scene: rasters[scene]}


def _rasters_of(path: str) -> dict[str, str]:
    """Return the label rasters of a run by stem; anything else stands for itself, as ''."""
    folder = Path(path)
    if not folder.is_dir():
        check_exists(path)
        if is_of_run(folder):
            RunFolder(folder.parent).require_whole()
        return {"": path}
    RunFolder(folder).require_whole()
    if (folder / "labels.tif").is_file():
        return {"": str(folder / "labels.tif")}
    found = sorted(folder.glob("*.labels.tif"))
    if not found:
        raise RunError(
            f"{path} holds no labels.tif; label a scene into it with `label()` first",
            code="run.missing",
            path=path,
        )
    return {item.name.removesuffix(".labels.tif"): str(item) for item in found}


def _reference_of(path: str) -> dict[str, str]:
    """Return the label rasters of a run by stem; other folders hold layers, or are a format's."""
    folder = Path(path)
    runs = ("run.json", "labels.tif", "*.labels.tif")
    is_run = folder.is_dir() and any(next(folder.glob(name), None) for name in runs)
    if is_run or not folder.is_dir() or not any(folder.iterdir()):
        return {"": path} if "|" in path and not folder.exists() else _rasters_of(path)
    return {"": path}


def is_of_run(path: Path) -> bool:
    """Return whether a path is the label raster of a run."""
    return path.name.endswith("labels.tif") and (path.parent / "run.json").is_file()
