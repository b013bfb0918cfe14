"""Raster layers of QGIS as what the engine opens: files, and whatever else GDAL reads."""

from __future__ import annotations

import os
import re

from qgis.core import QgsMapLayer, QgsRasterLayer


def problem(layer: QgsMapLayer | None) -> str:
    """Return why the engine cannot read a raster layer, with the remedy; empty where it can."""
    if not isinstance(layer, QgsRasterLayer) or layer.providerType() == "gdal":
        return ""
    return (
        f"{layer.name()} comes from a {layer.providerType()} service; only files can be used:"
        " export it first (Layer ▸ Save As…)"
    )


def source(layer: QgsRasterLayer) -> str:
    """Return what GDAL opens for a layer: an absolute path where it is a file."""
    # QGIS appends open options that GDAL itself does not know in a name.
    name = str(layer.source()).partition("|option:")[0]
    return os.path.abspath(name) if os.path.exists(name) else name  # noqa: PTH100, PTH110


def block(layer: QgsRasterLayer) -> str:
    """Return a layer as a block of the engine's features, called as the layer is."""
    name = re.sub(r"[^\w.-]+", "_", layer.name()).strip("._-")
    return f"raster:{name}={source(layer)}" if name else f"raster:{source(layer)}"
