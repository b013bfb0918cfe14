"""The record of a run, `run.json`: what was done with what, and what came out."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..scenes.paths import shown_name
from ..scenes.scene import Scene
from ..settings import Settings
from .assembly import SceneRun

if sys.platform != "win32":
    import resource

#: Libraries whose versions may change a result.
LIBRARIES = ("numpy", "scipy", "scikit-learn", "scikit-image", "rasterio", "shapely", "torch")


def describe_software() -> dict[str, str]:
    """Return the versions of what a run depends on."""
    found = {name: version(name) for name in ("alps-geo", *LIBRARIES)}
    return {"python": platform.python_version(), **found, "platform": platform.platform()}


def describe_settings(settings: Settings) -> dict[str, Any]:
    """Return all settings as JSON values, by stage."""
    values: dict[str, Any] = _shown(json.loads(json.dumps(settings.to_json())))
    return values


def _shown(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON values with paths as messages show them."""
    if isinstance(value, dict):
        return {name: _shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return shown_name(value) if isinstance(value, str) else value


def describe_scene(run: SceneRun, scene: Scene) -> dict[str, Any]:
    """Return what labelling one scene gave: tiles, masks, segments and coverage.

    Parameters
    ----------
    run : SceneRun
        Assembled.
    scene : Scene
    """
    facts = run.load_facts()
    pixels = facts.pop("coverage_px")
    total = run.grid.height * run.grid.width
    shares = {f"{name}_share": count / total for name, count in pixels.items()}
    pixel_facts = {f"{name}_px": count for name, count in pixels.items()}
    crs = run.grid.crs
    return {
        "path": scene.name,
        "stem": run.stem,
        "fingerprint": scene.fingerprint,
        "height": run.grid.height,
        "width": run.grid.width,
        "crs": None if crs is None else crs.srs,
        "crs_scale": run.grid.scale,
        "areas": run.grid.areas,
        "transform": list(run.grid.transform)[:6],
        "blocks": None if scene.blocks is None else scene.blocks.to_dict(),
        **facts,
        "coverage": {"total_px": total, **pixel_facts, **shares},
    }


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process and its children so far, in MB.

    Not known on Windows: 0 there.
    """
    if sys.platform == "win32":
        return 0.0
    largest = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a finished run.

    Raises
    ------
    RunError
        If it is missing or damaged.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path.parent} holds no finished run: run `label()` to its end") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}; run `label()` with `overwrite`") from error
    return record
