"""Reference polygons with a class each, rasterised window by window onto the grid of the labels.

A pixel belongs to a polygon that holds its centre; where polygons overlap, the smaller one wins,
as in painting labels. All polygons that touch the labels are held in memory, their pixels not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray

from ..errors import ReferenceDataError
from ..scenes.grid import Grid, Window
from ..scenes.placement import Purpose
from ..scenes.vectorfiles import Source, open_layer, parse_source, polygon_layers
from ..scenes.vectors import NoPolygonsError, OutsideError, place_layer

PURPOSE = Purpose("the reference", ReferenceDataError)


@dataclass
class PolygonClasses:
    """Polygons with a class each, rasterised where they are asked for.

    Attributes
    ----------
    path : str
    geometry : ndarray of shapely geometries, shape (n,)
        In pixel coordinates (col, row) of the labels, large before small.
    classes : ndarray of int64, shape (n,)
        Number of each polygon's name.
    names : tuple of str
    notes : list of str
    """

    path: str
    geometry: NDArray[np.object_]
    classes: NDArray[np.int64]
    names: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Index the polygons by place."""
        self._tree = shapely.STRtree(self.geometry)
        self._seen = np.zeros(len(self.names), bool)
        self._contested = 0
        first, second = self._tree.query(self.geometry, predicate="intersects")
        differ = self.classes[first] != self.classes[second]
        self._meeting = np.zeros(len(self.geometry), bool)
        self._meeting[first[differ]] = True

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return class numbers and where there are any, each of shape (height, width)."""
        # In order, because later polygons are burnt over earlier ones.
        area = shapely.box(window.col, window.row, window.col_stop, window.row_stop)
        near = np.sort(self._tree.query(area, predicate="intersects"))
        burnt = self._burn(near, window)
        self._contested += self._count_contested(near[self._meeting[near]], window)
        self._seen[np.unique(burnt[burnt > 0]) - 1] = True
        return burnt.astype(np.int64) - 1, burnt > 0

    def _count_contested(self, which: NDArray[np.int64], window: Window) -> int:
        """Count the pixels of polygons of several classes, among those that meet another class."""
        if not len(which):
            return 0
        # The other way round, the largest polygon wins: where it is of another class, they overlap.
        smallest, largest = self._burn(which, window), self._burn(which[::-1], window)
        return int(np.count_nonzero(smallest != largest))

    def _burn(self, which: NDArray[np.int64], window: Window) -> NDArray[np.int32]:
        burnt = np.zeros((window.height, window.width), np.int32)
        if len(which):
            rasterio.features.rasterize(
                zip(self.geometry[which], (self.classes[which] + 1).tolist(), strict=True),
                out=burnt,
                transform=Affine.translation(window.col, window.row),
            )
        return burnt

    @property
    def has_numbers(self) -> bool:
        """Classes have names only: their numbers are ours."""
        return False

    def class_name(self, number: int) -> str:
        """Return the attribute's value as text."""
        return self.names[number]

    def remarks(self) -> list[str]:
        """Return what the user should know of the pixels, once all have been read."""
        remarks = []
        if self._contested:
            remarks.append(
                f"{self._contested:,} pixels lie in polygons of several classes of {self.path};"
                " the smallest polygon counts, of equal ones the last"
            )
        gone = [repr(name) for name, seen in zip(self.names, self._seen, strict=True) if not seen]
        if gone:
            remarks.append(
                f"no pixel is left for the class {_listed(gone)} of {self.path}: its polygons hold"
                " no pixel's centre, or smaller ones of other classes cover them"
            )
        return remarks


def read_polygons(
    path: str,
    grid: Grid,
    *,
    attribute: str | None = None,
    layer: str | None = None,
    ground: str = "the label raster",
) -> PolygonClasses:
    """Read the polygons of a vector layer that touch a grid.

    Parameters
    ----------
    path : str
        Any vector source, `file|layername=…` too.
    grid : Grid
    attribute : str, optional
        Column that holds the classes; not needed where there is only one.
    layer : str, optional
        Not needed where there is only one that can have polygons.
    ground : str
        How messages call what the grid belongs to.

    Raises
    ------
    ReferenceDataError
        If the layer or the attribute is not there, or no polygon touches the grid.
    """
    source = parse_source(path, PURPOSE)
    opened = open_layer(source, _choose_layer(source, layer), PURPOSE)
    attribute = _choose_attribute(path, opened.fields, attribute)
    try:
        found = place_layer(source, opened, grid, PURPOSE, ground, attribute)
    except OutsideError as error:
        raise ReferenceDataError(
            f"no polygon of {path} overlaps the labels; check its CRS: {error}"
        ) from error
    except NoPolygonsError as error:
        raise ReferenceDataError(
            f"{path}: layer {opened.name} has no polygons; lines and points cover no pixels: give"
            " a layer of polygons"
        ) from error
    used = np.unique(found.owners)
    values, notes = _class_values(pd.Series(found.values)[used], path, attribute)
    numbers, names = _number_classes(values.dropna())
    of_feature = np.full(len(found.areas), -1, np.int64)
    of_feature[values.dropna().index.to_numpy(np.int64)] = numbers
    known = of_feature[found.owners] >= 0
    owners, shapes = found.owners[known], found.shapes[known]
    order = np.argsort(-found.areas[owners], kind="stable")
    notes = [*found.notes, *notes]
    if found.outside:
        notes.append(f"{path}: {found.outside:,} features outside the labels were left out")
    return PolygonClasses(path, shapes[order], of_feature[owners[order]], names, notes)


def _choose_layer(source: Source, layer: str | None) -> str:
    known = polygon_layers(source, PURPOSE)
    layer = layer or source.layer
    if not known:
        raise ReferenceDataError(
            f"{source.shown}: has no polygons in any layer; lines and points cover no pixels"
        )
    if layer is None and len(known) == 1:
        return known[0]
    if layer in known:
        return str(layer)
    wrong = (
        f"has no layer {layer!r} of polygons"
        if layer
        else f"has {len(known)} layers that may have polygons"
    )
    raise ReferenceDataError(f"{source.shown} {wrong}; choose one with `layer`: {', '.join(known)}")


def _choose_attribute(path: str, known: tuple[str, ...], attribute: str | None) -> str:
    if attribute is None and len(known) == 1:
        return known[0]
    if attribute in known:
        return str(attribute)
    if not known:
        raise ReferenceDataError(f"{path} has no field that could hold classes")
    wrong = f"has no field {attribute!r}" if attribute else "is a vector layer"
    raise ReferenceDataError(
        f"{path} {wrong}; choose its classes with `attribute`: {', '.join(known)}"
    )


def _class_values(values: pd.Series, path: str, attribute: str) -> tuple[pd.Series, list[str]]:
    """Return values where those that name no class are null, and what was done."""
    given = values.tolist()
    odd = [value for value in given if isinstance(value, list | dict | bytes | np.ndarray)]
    if odd:
        raise ReferenceDataError(
            f"{path}: field {attribute} holds {type(odd[0]).__name__} values, which name no"
            " classes; choose a field of text or numbers with `attribute`"
        )
    plain = [_plain(value) for value in given]
    unknown = sum(value is None for value in plain)
    if unknown == len(plain):
        raise ReferenceDataError(
            f"{path}: no polygon on the labels has a value of {attribute}; choose another field"
            " with `attribute`"
        )
    notes = []
    pairs = zip(given, plain, strict=True)
    trimmed = sum(isinstance(new, str) and old != new for old, new in pairs)
    if trimmed:
        notes.append(f"{path}: blanks around {trimmed:,} values of {attribute} do not count")
    if unknown:
        notes.append(f"{unknown} polygons without a {attribute} were left out")
    return pd.Series(plain, values.index, dtype=object), notes + _alike(plain, path)


def _alike(values: list[Any], path: str) -> list[str]:
    """Return what is to be said of classes whose names differ in capitals only."""
    texts = sorted({value for value in values if isinstance(value, str)})
    groups = [[b for b in texts if b.casefold() == a.casefold()] for a in texts[:1000]]
    alike = sorted({" and ".join(map(repr, group)) for group in groups if len(group) > 1})
    return [f"{path}: {names} count as different classes" for names in alike[:10]]


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a field holds
    """Return a value as a class is called by it; None for what names none."""
    if isinstance(value, str):
        return value.strip() or None
    if pd.isna(value) or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value


def _number_classes(values: pd.Series) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return a number per value and the names by number; whole floats are named as integers."""
    numbers, distinct = pd.factorize(values.infer_objects(), sort=True)
    whole = [
        int(value) if isinstance(value, float) and value.is_integer() else value
        for value in distinct.tolist()
    ]
    return numbers.astype(np.int64), tuple(str(value) for value in whole)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
