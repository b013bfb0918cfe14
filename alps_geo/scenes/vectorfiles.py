"""Layers of vector files as they are: which there are, their fields, and features in a box.

Whatever pyogrio's GDAL opens, GeoParquet (which that GDAL does not know), and sources as QGIS
writes them: `file.gpkg|layername=fields|subset=class = 2`.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from .paths import is_local, shown_name
from .placement import Box, Purpose

PARQUET = (".parquet", ".geoparquet", ".pq")
#: WKB types that shapely does not read, and those that they are written like.
LIKE = {15: 6, 16: 6, 17: 3}


@dataclass(frozen=True)
class Features:
    """Features that were read.

    Attributes
    ----------
    shapes : ndarray of shapely geometries or None, shape (n,)
        None where there is none.
    damaged : ndarray of bool, shape (n,)
        There is a geometry, but not one that can be read.
    values : ndarray, shape (n,), or None
        Of the column that was asked for.
    """

    shapes: NDArray[np.object_]
    damaged: NDArray[np.bool_]
    values: NDArray[Any] | None


class Layer(Protocol):
    """A layer of a vector file.

    Attributes
    ----------
    name : str
    fields : tuple of str
    crs : Any
        What pyproj makes a CRS of; None where the layer has none.
    count : int or None
        Of features; None where only reading would tell.
    """

    name: str
    fields: tuple[str, ...]
    crs: Any
    count: int | None

    def read(self, boxes: Sequence[Box] | None, column: str | None) -> Features:
        """Return the features whose bounds touch one of the boxes; all of them without boxes."""


@dataclass(frozen=True)
class Source:
    """A vector file, and what of it is meant.

    Attributes
    ----------
    path : str
        What is opened.
    shown : str
        How messages call it.
    layer : str or None
        The one that the path names.
    where : str or None
        The filter that the path names.
    """

    path: str
    shown: str
    layer: str | None = None
    where: str | None = None


def parse_source(text: str, purpose: Purpose) -> Source:
    """Take a path apart that may have a layer and a filter, as QGIS writes them.

    Raises
    ------
    AlpsGeoError
        Of the purpose's kind, if the file does not exist, or the path has other parts.
    """
    path, *parts = [text] if Path(text).exists() else re.split(r"\|(?=[A-Za-z]+=)", text)
    if is_local(path) and not Path(path).exists():
        raise purpose.error(f"{text}: {purpose.noun} does not exist; check the path")
    given = dict(part.split("=", 1) for part in parts)
    known = {key.lower(): value for key, value in given.items()}
    layer, where = known.pop("layername", None), known.pop("subset", None)
    number = known.pop("layerid", None)
    odd = sorted(known.keys() - {"geometrytype", "uniquegeometrytype"})
    if odd:
        raise purpose.error(
            f"{text}: cannot be read with {odd[0]}; after the path, only |layername=… and"
            " |subset=… are known: save the layer as a GeoPackage"
        )
    source = Source(path, shown_name(path), layer, where)
    if number is not None and layer is None:
        names = [name for name, _ in _list_all(source)]
        if not number.isdigit() or int(number) >= len(names):
            raise purpose.error(f"{text}: has no layer number {number}; name one with |layername=…")
        source = Source(path, shown_name(path), names[int(number)], where)
    return source


def polygon_layers(source: Source, purpose: Purpose) -> list[str]:
    """Return the names of all layers that may have polygons.

    Raises
    ------
    AlpsGeoError
        Of the purpose's kind, if it is no vector file.
    """
    with _told(source, purpose):
        layers = _list_all(source)
    # Tables such as QGIS' styles have no geometry at all.
    return [
        name
        for name, kind in layers
        if kind is not None and not re.search("Point|String|CompoundCurve|MultiCurve", kind)
    ]


def geometry_layers(source: Source, purpose: Purpose) -> list[str]:
    """Return the names of all layers that may have geometries; raises as `polygon_layers` does."""
    with _told(source, purpose):
        return [name for name, kind in _list_all(source) if kind is not None]


def is_vector(path: str) -> bool:
    """Tell whether there is a layer in a file or folder."""
    import pyogrio

    try:
        return bool(_list_all(Source(re.split(r"\|(?=[A-Za-z]+=)", path)[0], path)))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, OSError):
        return False


def open_layer(source: Source, name: str, purpose: Purpose) -> Layer:
    """Open a layer.

    Raises
    ------
    AlpsGeoError
        Of the purpose's kind, if it cannot be read.
    """
    with _told(source, purpose):
        if _is_parquet(source.path):
            return _ParquetLayer(source, name, purpose)
        return _GdalLayer(source, name, purpose)


class _GdalLayer:
    """A layer that GDAL reads."""

    def __init__(self, source: Source, name: str, purpose: Purpose) -> None:
        import pyogrio

        info = pyogrio.read_info(source.path, layer=name)
        self.name, self._source, self._purpose = name, source, purpose
        self.fields = tuple(str(field) for field in info["fields"])
        self.crs = info["crs"]
        self.count = None if source.where or info["features"] < 0 else int(info["features"])
        self._bounds = info["total_bounds"]

    def read(self, boxes: Sequence[Box] | None, column: str | None) -> Features:
        """Return the features whose bounds touch one of the boxes; all of them without boxes."""
        near = [None] if boxes is None else [box for box in boxes if self._may_touch(box)]
        with _told(self._source, self._purpose):
            parts = [self._read_box(box, column) for box in near]
        fids = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, np.int64)
        _, first = np.unique(fids, return_index=True)
        wkb = np.concatenate([part[1] for part in parts])[first] if parts else fids.astype(object)
        shapes = shapes_of(wkb)
        values = None
        if column is not None:
            values = np.concatenate([part[2] for part in parts])[first] if parts else wkb
        there = np.array([item is not None for item in wkb], bool)
        return Features(shapes, there & shapely.is_missing(shapes), values)

    def _may_touch(self, box: Box) -> bool:
        if self._bounds is None:
            return True
        west, south, east, north = self._bounds
        return not (box[0] > east or box[2] < west or box[1] > north or box[3] < south)

    def _read_box(self, box: Box | None, column: str | None) -> tuple[NDArray[Any], ...]:
        import pyogrio

        _, fids, wkb, values = pyogrio.raw.read(
            self._source.path,
            layer=self.name,
            columns=[] if column is None else [column],
            force_2d=True,
            where=self._source.where,
            bbox=box,
            return_fids=True,
        )
        wkb = np.full(len(fids), None, object) if wkb is None else wkb
        return fids, wkb, (wkb if column is None else values[0])


class _ParquetLayer:
    """A GeoParquet file."""

    def __init__(self, source: Source, name: str, purpose: Purpose) -> None:
        import geopandas

        self.name = name
        self._table = geopandas.read_parquet(source.path)
        geometry = self._table.geometry.name
        self.fields = tuple(str(field) for field in self._table.columns if field != geometry)
        self.crs = self._table.crs
        self.count: int | None = len(self._table)
        if source.where is not None:
            raise purpose.error(
                f"{source.shown}: a GeoParquet file cannot be filtered; save what is meant as a"
                " GeoPackage"
            )

    def read(self, boxes: Sequence[Box] | None, column: str | None) -> Features:
        """Return the features whose bounds touch one of the boxes; all of them without boxes."""
        table = self._table
        shapes = shapely.force_2d(table.geometry.to_numpy())
        if boxes is not None:
            low_x, low_y, high_x, high_y = shapely.bounds(shapes).T
            near = np.zeros(len(shapes), bool)
            for west, south, east, north in boxes:
                near |= (low_x <= east) & (high_x >= west) & (low_y <= north) & (high_y >= south)
            table, shapes = table[near], shapes[near]
        values = None if column is None else table[column].to_numpy()
        return Features(shapes, np.zeros(len(shapes), bool), values)


def shapes_of(wkb: NDArray[Any]) -> NDArray[np.object_]:
    """Return geometries of WKB; None where there is none, or none that can be read.

    Triangles and surfaces of them (`TIN`, as multipatches have) become polygons.
    """
    shapes: NDArray[np.object_] = np.asarray(shapely.from_wkb(wkb, on_invalid="ignore"), object)
    for at in np.flatnonzero(shapely.is_missing(shapes)):
        if wkb[at] is not None:
            shapes[at] = shapely.from_wkb(_plain_wkb(wkb[at]), on_invalid="ignore")
    return shapes


def _plain_wkb(wkb: bytes) -> bytes:
    """Return WKB where surfaces of triangles are written as what they are alike, polygons."""
    patched = bytearray(wkb)

    def patch(at: int) -> int:
        """Rewrite the geometry that starts here, and return where it ends."""
        order = "<" if patched[at] else ">"
        kind, count = struct.unpack_from(f"{order}II", patched, at + 1)
        struct.pack_into(f"{order}I", patched, at + 1, LIKE.get(kind, kind))
        at += 9
        if kind in (3, 17):
            for _ in range(count):
                at += 4 + 16 * struct.unpack_from(f"{order}I", patched, at)[0]
            return at
        if kind not in (6, 7, 15, 16):
            raise ValueError(f"no polygons in WKB of type {kind}")
        for _ in range(count):
            at = patch(at)
        return at

    try:
        patch(0)
    except (struct.error, ValueError, IndexError):
        return wkb
    return bytes(patched)


def _list_all(source: Source) -> list[tuple[str, str | None]]:
    """Return all layers with their kinds of geometry; None stands for a table without any."""
    import pyogrio

    if _is_parquet(source.path):
        return [(Path(source.path).stem, "Unknown")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what GDAL says of fields does not matter here
        return [(str(name), kind) for name, kind in pyogrio.list_layers(source.path)]


def _is_parquet(path: str) -> bool:
    import pyogrio

    return path.lower().endswith(PARQUET) and "Parquet" not in pyogrio.list_drivers()


@contextmanager
def _told(source: Source, purpose: Purpose) -> Iterator[None]:
    """Raise what the libraries raise as an error of ours, and keep their warnings to ourselves."""
    # Imported late: a run without polygons needs no vector library.
    from pyarrow import ArrowException
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (
        DataSourceError, DataLayerError, FeatureError, FieldError, ArrowException, OSError,
        ValueError,
    ) as error:  # fmt: skip
        reason = " ".join(shown_name(str(error)).split())
        raise purpose.error(
            f"{source.shown}: {purpose.noun} cannot be read as a vector file (GeoPackage, GeoJSON,"
            f" Shapefile, ...): {reason}"
        ) from error
