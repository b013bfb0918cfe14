"""Vector layers of QGIS as files for the engine: areas of interest and reference polygons."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeatureSink,
    QgsFields,
    QgsGeometry,
    QgsProcessingException,
    QgsVectorFileWriter,
    QgsWkbTypes,
)


def write_polygons(
    path: Path,
    features: Iterable[QgsFeature],
    crs: QgsCoordinateReferenceSystem,
    transforms: QgsCoordinateTransformContext,
    fields: QgsFields | None = None,
) -> int:
    """Write polygons to a new GeoPackage, in place of an old one.

    Parameters
    ----------
    path : Path
    features : iterable of QgsFeature
        Those without an area are left out.
    crs : QgsCoordinateReferenceSystem
    transforms : QgsCoordinateTransformContext
    fields : QgsFields, optional
        Of the features; only their geometries are written if not given.

    Returns
    -------
    int
        How many features were written.

    Raises
    ------
    QgsProcessingException
        If the file cannot be written.
    """
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "GPKG", "polygons"
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = QgsVectorFileWriter.create(
        str(path),
        # A field of the layer's own name `fid` may hold what GeoPackage does not take as one.
        _without_fid(fields),
        QgsWkbTypes.Type.MultiPolygon,
        crs,
        transforms,
        options,
    )
    count = 0
    for feature in features:
        geometry = QgsGeometry(feature.geometry())
        if geometry.isEmpty() or geometry.area() <= 0:
            continue
        geometry.convertToMultiType()
        copy = QgsFeature(_without_fid(fields))
        copy.setGeometry(geometry)
        for field in copy.fields():
            copy.setAttribute(field.name(), feature.attribute(field.name()))
        if not writer.addFeature(copy, QgsFeatureSink.Flag.FastInsert):
            break
        count += 1
    failure = writer.errorMessage() if writer.hasError() else ""
    # The file is complete only when the writer is gone.
    del writer
    if failure:
        raise QgsProcessingException(f"{path} cannot be written: {failure}")
    return count


def _without_fid(fields: QgsFields | None) -> QgsFields:
    kept = QgsFields()
    for field in fields or ():
        if field.name().lower() != "fid":
            kept.append(field)
    return kept


def rectangle(geometry: QgsGeometry) -> QgsFeature:
    """Return a feature with a geometry and nothing else."""
    feature = QgsFeature()
    feature.setGeometry(geometry)
    return feature
