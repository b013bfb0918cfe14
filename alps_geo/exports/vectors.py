"""Segments as files of other GIS: GeoParquet, FlatGeobuf, Shapefile, GeoJSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RunError
from ..progress import Progress

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

#: What a Shapefile, whose names have ten letters at most, calls the columns.
SHORT_NAMES = {
    "segment_id": "segment_id",
    "class_id": "class_id",
    "class_name": "class_name",
    "area_m2": "area_m2",
    "area_px": "area_px",
    "predicted_iou": "pred_iou",
    "stability": "stability",
    "confidence": "confidence",
    "color": "color",
    "segments": "segments",
}
#: Decimals of a degree in GeoJSON: about a centimetre.
_DECIMALS = 7


def write_geoparquet(segments: GeoDataFrame, path: Path, told: Progress) -> None:
    """Write GeoParquet 1.1: WKB, a covering of boxes, in the order of a Hilbert curve, zstd.

    Readers that know coverings read only the row groups that a box touches.
    """
    if len(segments):
        segments = segments.iloc[segments.hilbert_distance().argsort(kind="stable")]
    segments.to_parquet(
        path,
        index=False,
        compression="zstd",
        schema_version="1.1.0",
        write_covering_bbox=True,
        row_group_size=16384,
    )


def write_flatgeobuf(segments: GeoDataFrame, path: Path, told: Progress) -> None:
    """Write FlatGeobuf with its spatial index."""
    segments.to_file(path, driver="FlatGeobuf")


def write_shapefile(segments: GeoDataFrame, path: Path, told: Progress) -> None:
    """Write a Shapefile, and say which names are shortened."""
    names = {name: SHORT_NAMES[name] for name in segments.columns if name in SHORT_NAMES}
    shortened = [f"{name} is {short}" for name, short in names.items() if name != short]
    if shortened:
        told.message(f"{path.name}: a Shapefile has short names: {', '.join(shortened)}")
    segments.rename(columns=names).to_file(path, driver="ESRI Shapefile", encoding="utf-8")


def write_geojson(segments: GeoDataFrame, path: Path, told: Progress) -> None:
    """Write GeoJSON as RFC 7946 has it: longitude and latitude, WGS 84.

    Raises
    ------
    RunError
        If the segments have no CRS.
    """
    if segments.crs is None:
        raise RunError(
            f"{path.name}: GeoJSON needs longitude and latitude, and the scene has no CRS; choose"
            " another format"
        )
    if segments.crs.to_epsg() != 4326:
        told.message(f"{path.name}: GeoJSON is in longitude and latitude")
    segments.to_crs(4326).to_file(
        path, driver="GeoJSON", RFC7946="YES", COORDINATE_PRECISION=_DECIMALS
    )


#: Format -> what its files end with, and what writes them.
VECTOR_FORMATS: Mapping[str, tuple[str, Callable[[GeoDataFrame, Path, Progress], None]]] = {
    "geoparquet": (".parquet", write_geoparquet),
    "flatgeobuf": (".fgb", write_flatgeobuf),
    "shapefile": (".shp", write_shapefile),
    "geojson": (".geojson", write_geojson),
}
