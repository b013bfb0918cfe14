"""Shows results in the project: named, grouped by scene and folder, layers of single classes off.

Colours come from the files themselves (`labels.qml`, table `layer_styles`), so that files dragged
into QGIS look the same. What the plugin has loaded bears a mark; nothing else is ever changed or
removed: an analyst's own layers of the same files are not ours.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import qgis.utils
from qgis.core import (
    QgsLayerTreeGroup,
    QgsLayerTreeLayer,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QTimer

from .addresses import sqlite_uri
from .open_layers import file_of, same_path, table_of

#: Name of the group of single classes.
CLASSES_GROUP = "Classes"
_ORDER = "alps_geo/order"
# Of a layer: what it shows and its id, because duplicates get the properties of the original.
_MARK = "alps_geo/layer"
# Of a layer: the name that it got from us, to be told from one that the analyst gave.
_NAME = "alps_geo/name"
# Of a group: the GeoPackage whose layers it holds.
_RUN = "alps_geo/run"
_CLASS_LAYER = re.compile(r"class_\d+")
# Processing keeps no reference to them, and Python would free them before they are called.
_PLACERS: list[QgsProcessingLayerPostProcessorInterface] = []
_MOST_PLACERS = 1_000


@dataclass(frozen=True)
class Placement:
    """What a layer shows, and where it goes in the group of its scene.

    Attributes
    ----------
    key : str
        `raster`, `segments`, `masks`, or `class_00` and so on: what stays when names change.
    source : str
        What QGIS opens.
    name : str
    groups : tuple of str
        Names of the groups inside the scene's that hold it.
    order : int
        Place among its neighbours, from the top.
    visible : bool
    """

    key: str
    source: str
    name: str
    groups: tuple[str, ...]
    order: int
    visible: bool

    def open(self) -> QgsMapLayer:
        """Return a new layer."""
        if self.key == "raster":
            return QgsRasterLayer(self.source, self.name, "gdal")
        return QgsVectorLayer(self.source, self.name, "ogr")


def placements(labels: Path, package: Path) -> list[Placement]:
    """Return the layers of a scene's results.

    Parameters
    ----------
    labels, package : Path
        Label raster and GeoPackage.
    """
    source = f"{package}|layername="
    placed = [Placement("segments", f"{source}segments", "Segments", (), 1, visible=True)]
    for at, (table, name) in enumerate(_class_layers(package).items()):
        found = _CLASS_LAYER.match(table)
        if found is None:
            placed.append(Placement("masks", f"{source}{table}", "Masks", (), 0, visible=False))
        else:
            place = (CLASSES_GROUP,), 10 + at, False
            placed.append(Placement(found.group(), f"{source}{table}", name, *place))
    placed.append(Placement("raster", str(labels), "Class map", (), 2, visible=True))
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


def show(
    scene: str,
    labels: Path,
    package: Path,
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
    *,
    load: bool,
) -> None:
    """Bring the project's layers of a scene's results up to date, and add those that lack.

    Must be called in the main thread, once the layers can read their files.

    Parameters
    ----------
    scene : str
        Names the group.
    labels, package : Path
        Label raster and GeoPackage.
    context : QgsProcessingContext
        Without a project, nothing happens.
    feedback : QgsProcessingFeedback
    load : bool
        False where layers that lack are not wanted.
    """
    project = context.project()
    if project is None:
        return
    placed, own = placements(labels, package), own_layers(project, labels, package)
    keys = {place.key for place in placed}
    project.removeMapLayers([layer.id() for key, layer in own.items() if key not in keys])
    run = _Run(project, scene, labels, package)
    for place in placed:
        if place.key in own:
            _refresh(own[place.key], place)
        elif load:
            _load_on_completion(place, run, context, feedback)
    if load:
        run.make_current()


def own_layers(project: QgsProject, labels: Path, package: Path) -> dict[str, QgsMapLayer]:
    """Return the layers of a scene's results that the plugin has loaded, by what they show."""
    files, own = (same_path(labels), same_path(package)), {}
    for layer in project.mapLayers().values():
        key, _, layer_id = str(layer.customProperty(_MARK, "")).partition(" ")
        if layer_id == layer.id() and file_of(layer) in files:
            own[key] = layer
    return own


def _mark(layer: QgsMapLayer, place: Placement) -> None:
    layer.setCustomProperty(_MARK, f"{place.key} {layer.id()}")
    layer.setCustomProperty(_NAME, place.name)


def _refresh(layer: QgsMapLayer, place: Placement) -> None:
    """Give a layer the new name and colours; all else about it is the analyst's."""
    fresh = place.open()
    if table_of(layer) != table_of(fresh):
        layer.setDataSource(place.source, layer.name(), layer.providerType())
    if layer.name() == layer.customProperty(_NAME):
        layer.setName(place.name)
    _mark(layer, place)
    old, new = layer.renderer(), fresh.renderer()
    # Another kind, such as outlines only, was chosen by hand and knows no classes.
    if new is not None and (old is None or old.type() == new.type()):
        new = new.clone()
        if old is not None and isinstance(layer, QgsRasterLayer):
            new.setOpacity(old.opacity())
        layer.setRenderer(new)
    layer.triggerRepaint()


def _load_on_completion(
    place: Placement, run: _Run, context: QgsProcessingContext, feedback: QgsProcessingFeedback
) -> None:
    """Let Processing add a layer to the project once the algorithm has ended."""
    layer = place.open()
    if not layer.isValid():
        feedback.pushWarning(f"{place.name} cannot be opened: {place.source}")
        return
    details = QgsProcessingContext.LayerDetails(place.name, run.project, place.name)
    details.forceName = True
    placer = _Placer(place, run)
    del _PLACERS[:-_MOST_PLACERS]
    _PLACERS.append(placer)
    details.setPostProcessor(placer)
    # By its id: of a source, Processing would take the layer that an analyst has of it.
    context.temporaryLayerStore().addMapLayer(layer)
    context.addLayerToLoadOnCompletion(layer.id(), details)


class _Placer(QgsProcessingLayerPostProcessorInterface):
    """Moves a layer to its place in the tree; QGIS calls it in the main thread."""

    def __init__(self, place: Placement, run: _Run) -> None:
        super().__init__()
        self._place, self._run = place, run

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Name the layer, and put it into its group."""
        place, root = self._place, self._run.project.layerTreeRoot()
        layer.setName(place.name)
        # Processing may have a style of its own for polygons.
        layer.loadDefaultStyle()
        # Before the mark: QGIS may have put the layer into the group of another run.
        group = self._run.group()
        _mark(layer, place)
        node = root.findLayer(layer.id())
        if node is None:
            return
        group = _inner_group(group, place.groups)
        clone = node.clone()
        clone.setCustomProperty(_ORDER, place.order)
        clone.setItemVisibilityChecked(place.visible)
        # Legends of many classes are long; the one of the segments says it all.
        clone.setExpanded(place.order == 1)
        group.insertChildNode(_position(group, place.order), clone)
        # A group opens when something is put into it.
        group.setExpanded(not place.groups)
        node.parent().removeChildNode(node)


@dataclass(frozen=True)
class _Run:
    """A scene's results in a project."""

    project: QgsProject
    scene: str
    labels: Path
    package: Path

    def group(self) -> QgsLayerTreeGroup:
        """Return the group of the layers, made if there is none; it may have been moved."""
        root, run = self.project.layerTreeRoot(), same_path(self.package)
        groups = list(_groups(root))
        own = {layer.id() for layer in own_layers(self.project, self.labels, self.package).values()}
        ours = {str(group.customProperty(_RUN, "")): group for group in reversed(groups)}
        if run in ours:
            return ours[run]
        for path, group in ours.items():
            # The run's folder may have been moved, or copied, together with the project.
            if path and not own.isdisjoint(_direct_layers(group)) and not self._shows(group, path):
                group.setCustomProperty(_RUN, run)
                return group
        names = {group.name() for group in groups}
        folder = self.package.parent
        wanted = (self.scene, f"{self.scene} ({folder.name})", f"{self.scene} ({folder})")
        name = next((name for name in wanted if name not in names), wanted[-1])
        # A new scene on top.
        group = _insert_group(root, 0, name, is_open=True)
        group.setCustomProperty(_RUN, run)
        return group

    def _shows(self, group: QgsLayerTreeGroup, package: str) -> bool:
        layers = map(self.project.mapLayer, _direct_layers(group))
        return any(layer is not None and file_of(layer) == package for layer in layers)

    def make_current(self) -> None:
        """Make the segments the current layer: QGIS puts the next layers above that one."""
        # Later: Processing has not added the layers yet, and itself changes the current one.
        QTimer.singleShot(0, self._make_current)

    def _make_current(self) -> None:
        layer = own_layers(self.project, self.labels, self.package).get("segments")
        if layer is not None and qgis.utils.iface is not None:
            qgis.utils.iface.setActiveLayer(layer)


def _groups(group: QgsLayerTreeGroup) -> Iterator[QgsLayerTreeGroup]:
    for child in group.children():
        if isinstance(child, QgsLayerTreeGroup):
            yield child
            yield from _groups(child)


def _direct_layers(group: QgsLayerTreeGroup) -> list[str]:
    children = group.children()
    return [child.layerId() for child in children if isinstance(child, QgsLayerTreeLayer)]


def _inner_group(group: QgsLayerTreeGroup, names: Sequence[str]) -> QgsLayerTreeGroup:
    for name in names:
        inner = next(
            (
                child
                for child in group.children()
                if isinstance(child, QgsLayerTreeGroup) and child.name() == name
            ),
            None,
        )
        # Classes go below the layers that show all of them.
        group = inner or _insert_group(group, -1, name, is_open=False)
    return group


def _insert_group(
    parent: QgsLayerTreeGroup, at: int, name: str, *, is_open: bool
) -> QgsLayerTreeGroup:
    group = parent.insertGroup(at, name)
    group.setItemVisibilityChecked(is_open)
    group.setExpanded(is_open)
    group.setCustomProperty(_ORDER, 100)
    return group


def _position(group: QgsLayerTreeGroup, order: int) -> int:
    for at, child in enumerate(group.children()):
        is_ours = isinstance(child, (QgsLayerTreeLayer, QgsLayerTreeGroup))
        if is_ours and int(child.customProperty(_ORDER, -1)) > order:
            return at
    return len(group.children())
