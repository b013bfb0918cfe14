"""Puts results into the project: named, grouped by scene, layers of single classes off.

Colours come from the files themselves (`labels.qml`, table `layer_styles`), so that files dragged
into QGIS look the same.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from qgis.core import (
    QgsLayerTreeGroup,
    QgsLayerTreeLayer,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsProject,
)

from .addresses import sqlite_uri

#: Name of the group of single classes.
CLASSES_GROUP = "Classes"
_ORDER = "alps_geo/order"
_CLASS_LAYER = re.compile(r"class_\d+")
# Processing keeps no reference to them, and Python would free them before they are called.
_PLACERS: list[QgsProcessingLayerPostProcessorInterface] = []
_MOST_PLACERS = 1_000


@dataclass(frozen=True)
class Placement:
    """Where a layer goes in the layer tree.

    Attributes
    ----------
    source : str
        What QGIS opens.
    name : str
    groups : tuple of str
        Names of the groups around it, the outermost first.
    order : int
        Place among its neighbours, from the top.
    visible : bool
    """

    source: str
    name: str
    groups: tuple[str, ...]
    order: int
    visible: bool


def placements(scene: str, labels: Path, package: Path) -> list[Placement]:
    """Return the layers of a scene's results.

    Parameters
    ----------
    scene : str
        Names the group.
    labels, package : Path
        Label raster and GeoPackage.
    """
    placed = [Placement(f"{package}|layername=segments", "Segments", (scene,), 1, visible=True)]
    layers = _class_layers(package)
    if "masks" in layers:
        source = f"{package}|layername=masks"
        placed.append(Placement(source, "Masks", (scene,), 0, visible=False))
    placed += [
        Placement(f"{package}|layername={layer}", name, (scene, CLASSES_GROUP), 10 + at, False)
        for at, (layer, name) in enumerate(layers.items())
        if layer != "masks"
    ]
    placed.append(Placement(str(labels), "Labels", (scene,), 2, visible=True))
    return placed


def _class_layers(package: Path) -> dict[str, str]:
    """Return the layers of single classes, and of masks, with what they are called."""
    query = (
        "SELECT table_name, coalesce(nullif(description, ''), identifier, table_name)"
        " FROM gpkg_contents WHERE data_type = 'features' ORDER BY table_name"
    )
    with closing(sqlite3.connect(sqlite_uri(package), uri=True)) as database:
        rows: list[tuple[str, str]] = database.execute(query).fetchall()
    return {name: text for name, text in rows if name == "masks" or _CLASS_LAYER.match(name)}


def load_on_completion(placed: Sequence[Placement], context: QgsProcessingContext) -> None:
    """Let Processing add layers to the project once the algorithm has ended.

    Parameters
    ----------
    placed : sequence of Placement
    context : QgsProcessingContext
        Without a project, nothing happens.
    """
    project = context.project()
    if project is None:
        return
    del _PLACERS[:-_MOST_PLACERS]
    for place in placed:
        details = QgsProcessingContext.LayerDetails(place.name, project, place.name)
        details.forceName = True
        hints = QgsProcessingUtils.LayerHint
        is_vector = "|layername=" in place.source
        details.layerTypeHint = hints.Vector if is_vector else hints.Raster
        placer = _Placer(place, project, frozenset(item.source for item in placed))
        _PLACERS.append(placer)
        details.setPostProcessor(placer)
        context.addLayerToLoadOnCompletion(place.source, details)


class _Placer(QgsProcessingLayerPostProcessorInterface):
    """Moves a layer to its place in the tree; QGIS calls it in the main thread."""

    def __init__(self, place: Placement, project: QgsProject, sources: frozenset[str]) -> None:
        super().__init__()
        self._place, self._project, self._sources = place, project, sources

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Name the layer, put it into its group, and take away what it replaces."""
        place, root = self._place, self._project.layerTreeRoot()
        layer.setName(place.name)
        # Processing opens layers without the style that lies in their files.
        layer.loadDefaultStyle()
        self._remove_older(layer)
        node = root.findLayer(layer.id())
        if node is None:
            return
        group = _find_group(root, place.groups)
        clone = node.clone()
        clone.setCustomProperty(_ORDER, place.order)
        clone.setItemVisibilityChecked(place.visible)
        # Legends of many classes are long; the one of the segments says it all.
        clone.setExpanded(place.order == 1)
        group.insertChildNode(_position(group, place.order), clone)
        # A group opens when something is put into it.
        group.setExpanded(len(place.groups) == 1)
        node.parent().removeChildNode(node)

    def _remove_older(self, layer: QgsMapLayer) -> None:
        """Remove layers of an earlier run with the same files: they have been replaced."""
        group = self._project.layerTreeRoot().findGroup(self._place.groups[0])
        if group is None:
            return
        files = {_file_of(source) for source in self._sources}
        older = []
        for node in group.findLayers():
            source = node.layer().source() if node.layer() is not None else ""
            replaced = source == layer.source() and node.layerId() != layer.id()
            gone = _file_of(source) in files and source not in self._sources
            if replaced or gone:
                older.append(node.layerId())
        self._project.removeMapLayers(older)


def _file_of(source: str) -> str:
    return source.partition("|")[0]


def _find_group(root: QgsLayerTreeGroup, names: Sequence[str]) -> QgsLayerTreeGroup:
    group = root
    for depth, name in enumerate(names):
        inner = next(
            (
                child
                for child in group.children()
                if isinstance(child, QgsLayerTreeGroup) and child.name() == name
            ),
            None,
        )
        if inner is None:
            # A new scene on top, its classes below the layers that show all of them.
            inner = group.insertGroup(0 if depth == 0 else -1, name)
            inner.setItemVisibilityChecked(depth == 0)
            inner.setExpanded(depth == 0)
            inner.setCustomProperty(_ORDER, 100)
        group = inner
    return group


def _position(group: QgsLayerTreeGroup, order: int) -> int:
    for at, child in enumerate(group.children()):
        is_ours = isinstance(child, (QgsLayerTreeLayer, QgsLayerTreeGroup))
        if is_ours and int(child.customProperty(_ORDER, -1)) > order:
            return at
    return len(group.children())
