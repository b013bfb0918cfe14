"""Layers of a project that show a run's files: found, let go of while those change, put back.

An open file cannot be replaced on Windows, and elsewhere QGIS goes on reading the one that was
deleted. So no layer has a file of a run open while the engine may write: each is parked on no
source at all, and gets its own back whatever became of the run. It stays the same layer, with its
id, style and place; who saves the project meanwhile saves it with its own source.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import qgis.utils
from qgis.core import (
    QgsMapLayer,
    QgsProject,
    QgsProviderRegistry,
    QgsReadWriteContext,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QObject, QThread, pyqtSignal
from qgis.PyQt.QtXml import QDomDocument

_NAMES = ("labels.tif", "labels.gpkg")


def same_path(path: str | Path) -> str:
    """Return a path in the one spelling that paths are compared in."""
    return os.path.normcase(os.path.realpath(path))


def file_of(layer: QgsMapLayer) -> str:
    """Return the file that a layer shows, as `same_path` spells it; empty where there is none."""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    path = str(parts.get("path") or "")
    return same_path(path) if path else ""


def table_of(layer: QgsMapLayer) -> str:
    """Return the table of a GeoPackage that a layer shows; empty for rasters."""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    return str(parts.get("layerName") or "")


def shows_run(layer: QgsMapLayer, folder: str | Path) -> bool:
    """Return True if a layer shows a label raster or a GeoPackage of the run in a folder."""
    home, file = same_path(folder), file_of(layer)
    return any(
        os.path.dirname(path) == home and path.endswith(_NAMES)  # noqa: PTH120 - not a Path
        for path in (file, *_pieces(file))
    )


def _pieces(file: str) -> list[str]:
    """Return the files that a virtual raster is made of."""
    if not file.endswith(".vrt") or not os.path.isfile(file):  # noqa: PTH113 - not a Path
        return []
    document = QDomDocument()
    document.setContent(Path(file).read_text(encoding="utf-8", errors="replace"))
    names = document.elementsByTagName("SourceFilename")
    folder = Path(file).parent
    return [same_path(folder / names.at(at).toElement().text()) for at in range(names.length())]


def problem(project: QgsProject | None, folder: str | Path) -> str:
    """Return why the files of a run must not be written now, with the remedy; empty if they may.

    Parameters
    ----------
    project : QgsProject or None
    folder : str or Path
        Of the run.
    """
    if any(release.folder == same_path(folder) for release in _AT_WORK):
        return f"Another algorithm is at work in {folder}: wait until it has ended"
    layers = project.mapLayers().values() if project is not None else ()
    names = sorted(
        layer.name()
        for layer in layers
        if isinstance(layer, QgsVectorLayer) and layer.isModified() and shows_run(layer, folder)
    )
    if not names:
        return ""
    return (
        f"{', '.join(names)}: there are edits that are not saved, and this run's files are about"
        " to be written anew. Save or discard them first (Layer ▸ Save Layer Edits)"
    )


@dataclass(frozen=True)
class _Parked:
    """A layer's id, where it belongs, and all else about it as a project file has it."""

    layer: str
    source: str
    provider: str
    content: str


class Release(QObject):
    """Layers that have let go of a run's files, from now on and until `put_back`.

    Parameters
    ----------
    project : QgsProject or None
    folder : str or Path
        Of the run; it need not exist.

    Attributes
    ----------
    folder : str
    """

    _wanted = pyqtSignal()

    def __init__(self, project: QgsProject | None, folder: str | Path) -> None:
        super().__init__()
        self.folder = same_path(folder)
        self._project, self._begun = project, False
        self._wanted.connect(self._restore)
        layers = project.mapLayers().values() if project is not None else ()
        shown = [layer for layer in layers if shows_run(layer, folder)]
        if shown:
            _stop_drawing()
        _AT_WORK.add(self)
        self._parked = [_park(layer) for layer in shown]

    def begin(self) -> None:
        """Take note that the work begins, whose end will call `put_back`."""
        self._begun = True

    def put_back_unless_begun(self) -> None:
        """Put all back if the work was cancelled while it waited for its turn."""
        if not self._begun:
            self.put_back()

    def put_back(self) -> None:
        """Let the layers read their files again; may be called from any thread, and twice.

        In another thread than that of the layers it returns at once: the layers are put back
        before anything that is sent there later.
        """
        if QThread.currentThread() == self.thread():
            self._restore()
        else:
            self._wanted.emit()

    def _restore(self) -> None:
        parked, self._parked = self._parked, []
        _AT_WORK.discard(self)
        for item in parked:
            # Removed by the user, or of a project that is closed.
            layer = self._project.mapLayer(item.layer) if self._project is not None else None
            if layer is not None and not layer.source():
                _unpark(layer, item)


# Weak: an algorithm that is never run must not lock its folder.
_AT_WORK: weakref.WeakSet[Release] = weakref.WeakSet()


def _stop_drawing() -> None:
    """Wait until no canvas reads layers in a thread of its own."""
    if qgis.utils.iface is not None:
        for canvas in qgis.utils.iface.mapCanvases():
            canvas.stopRendering()


def _park(layer: QgsMapLayer) -> _Parked:
    if isinstance(layer, QgsVectorLayer):
        # Nothing is lost: `problem` found no changes. It could save into a deleted file later.
        if layer.isEditable():
            layer.rollBack()
        # Other features may have these ids afterwards.
        layer.removeSelection()
    content = _write(layer) if layer.isValid() else layer.originalXmlProperties()
    parked = _Parked(layer.id(), layer.source(), layer.providerType(), content)
    layer.setDataSource("", layer.name(), parked.provider)
    # What QGIS writes into project files in place of a layer that is not valid.
    layer.setOriginalXmlProperties(content)
    return parked


def _unpark(layer: QgsMapLayer, parked: _Parked) -> None:
    layer.setDataSource(parked.source, layer.name(), parked.provider)
    if not layer.isValid():
        return
    document = QDomDocument()
    if document.setContent(parked.content)[0]:
        layer.readSymbology(document.documentElement(), "", QgsReadWriteContext())
    layer.setOriginalXmlProperties("")
    layer.triggerRepaint()


def _write(layer: QgsMapLayer) -> str:
    document = QDomDocument()
    element = document.createElement("maplayer")
    document.appendChild(element)
    layer.writeLayerXml(element, document, QgsReadWriteContext())
    return document.toString()


def shown_ids(layers: Mapping[str, QgsMapLayer], folder: str | Path) -> list[str]:
    """Return the ids of those layers that show the run in a folder."""
    return [layer_id for layer_id, layer in layers.items() if shows_run(layer, folder)]
