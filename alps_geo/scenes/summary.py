"""What a person wants to know of a scene, as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .paths import shown_name

if TYPE_CHECKING:
    from .scene import Scene


def summarise(scene: Scene) -> dict[str, object]:
    """Return what a person wants to know of a scene, without reading pixels."""
    crs, raster = scene.grid.crs, scene.raster
    made_of = None if scene.stretch is None else scene.stretch.components
    masks = [f"alpha band {raster.alpha}"] if raster.alpha is not None else []
    if raster.mask == "nodata":
        values = sorted({f"{value:g}" for value in raster.nodata if value is not None})
        masks.append(f"nodata {', '.join(values)}")
    elif raster.mask == "dataset":
        masks.append("mask in the file")
    if raster.nearness is not None:
        masks.append(f"what is within {raster.nearness.tolerance:g} of nodata at the border")
    return {
        "path": scene.name,
        "format": raster.driver,
        "height": scene.grid.height,
        "width": scene.grid.width,
        "band_count": raster.count,
        "bands": list(scene.bands),
        "components": made_of and len(made_of.mean),
        "dtype": scene.dtype,
        "crs": None if crs is None else crs.name,
        "crs_code": None if crs is None else ":".join(crs.to_authority() or ()) or None,
        "pixel_size_m": scene.grid.pixel_size_m,
        "crs_scale": scene.grid.scale,
        "areas": scene.grid.areas,
        "transform": list(scene.grid.transform)[:6],
        "mask": " and ".join(masks) or "none",
        "stretch": scene.settings.stretch,
        "blocks": None if scene.blocks is None else scene.blocks.to_dict(),
        "aoi": None if scene.aoi is None else shown_name(scene.aoi.path),
        "gsd": scene.settings.gsd,
        "fingerprint": scene.fingerprint,
    }
