"""Finished runs: what their record says, and which one an analyst has in front of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import qgis.utils
from qgis.core import QgsMapLayer, QgsProject, QgsProviderRegistry
from qgis.PyQt.QtCore import QCoreApplication, QThread

from .open_layers import shows_run

_RECORD = "run.json"


def has_run(folder: str) -> bool:
    """Return True if a folder holds a finished run."""
    return bool(folder) and (Path(folder) / _RECORD).is_file()


def current_run() -> str:
    """Return the folder of the run that a form is most likely about; empty where none is.

    That of the current layer, or the only one whose layers are in the project.
    """
    iface = qgis.utils.iface
    # Tasks and `qgis_process` make algorithms too, and have no current layer.
    if iface is None or QThread.currentThread() != QCoreApplication.instance().thread():
        return ""
    layer = iface.activeLayer()
    found = _folder_of(layer) if layer is not None else ""
    if found:
        return found
    folders = {_folder_of(item) for item in QgsProject.instance().mapLayers().values()} - {""}
    return folders.pop() if len(folders) == 1 else ""


def layer_of_labels(folder: str) -> str:
    """Return the layer of the project that shows the label raster of a run, or else its file."""
    rasters = sorted(Path(folder).glob("*labels.tif"))
    for layer in QgsProject.instance().mapLayers().values():
        if shows_run(layer, folder) and _path_of(layer).endswith(".tif"):
            return str(layer.id())
    return str(rasters[0]) if rasters else ""


def _path_of(layer: QgsMapLayer) -> str:
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    return str(parts.get("path") or "")


def _folder_of(layer: QgsMapLayer) -> str:
    path = _path_of(layer)
    folder = str(Path(path).parent) if path else ""
    return folder if has_run(folder) and shows_run(layer, folder) else ""


def problem_of_ids(folder: str, ids: Sequence[int], groups: Sequence[Sequence[int]]) -> str:
    """Return why classes of a run cannot be named and joined so; empty if they can.

    Parameters
    ----------
    folder : str
    ids : sequence of int
        Of the classes that get a name or a colour, which happens after they are joined.
    groups : sequence of sequences of int
        Classes to join; the first id of each stays.
    """
    facts = _facts(folder)
    if facts is None:
        return ""
    left = dict.fromkeys(facts.classes, True)
    for group in groups:
        twice = _first_twice(group)
        if twice is not None:
            return f"Class {twice} stands twice in the group {_listed(group)}"
        for class_id in group:
            if not left.get(class_id):
                return _no_class(class_id, left)
        left.update(dict.fromkeys(group[1:], False))
    twice = _first_twice(ids)
    if twice is not None:
        return f"Class {twice} has two rows: put name and colour into one"
    return next((_no_class(item, left) for item in ids if not left.get(item)), "")


def problem_of_count(folder: str, wanted: int) -> str:
    """Return why a run cannot have so many classes; empty if it can."""
    facts = _facts(folder)
    if facts is None or wanted <= facts.segments:
        return ""
    return f"This run has {facts.segments:,} segments: choose that many classes or fewer"


@dataclass(frozen=True)
class _Facts:
    classes: tuple[int, ...]
    segments: int


def _facts(folder: str) -> _Facts | None:
    """Return what a record says; None where it is damaged, which the engine tells better."""
    try:
        record = json.loads((Path(folder) / _RECORD).read_text(encoding="utf-8"))
        return _Facts(
            tuple(int(item["id"]) for item in record["classes"]),
            sum(int(scene["segments"]["visible"]) for scene in record["scenes"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _first_twice(ids: Sequence[int]) -> int | None:
    return next((item for at, item in enumerate(ids) if item in ids[:at]), None)


def _listed(ids: Sequence[int]) -> str:
    return ",".join(map(str, ids))


def _no_class(class_id: int, left: dict[int, bool]) -> str:
    if class_id in left:
        return f"Class {class_id} is joined to another: use the first number of its group"
    return f"This run has no class {class_id}; its classes are {_listed(sorted(left))}"
