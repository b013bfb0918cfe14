"""What a GeoPackage says of classes: a layer for each, the table `classes`, and styles.

The same steps fill a new file and bring an older one up to date: what they find is changed only
where this program wrote it, and nobody has changed it since.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classes.legend import Legend
from .marks import digest, has_table
from .styles import LayerStyle, class_style, exemplars_style, masks_style, segments_style

GEOMETRY = "geometry"
STYLE_NAME, STYLE_DESCRIPTION = "classes", "Class colours of alps-geo"
_VIEW_COLUMNS = (
    "segment_id",
    "class_id",
    "class_name",
    "area_m2",
    "area_px",
    "predicted_iou",
    "stability",
    "confidence",
)
_LAYER_STYLES = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
_CLASSES = """
CREATE TABLE classes (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, class_id INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL, color TEXT NOT NULL, segments INTEGER NOT NULL, area_px INTEGER NOT NULL,
    share REAL
)
"""
#: Columns that are only there where a class is one of a published legend.
LEGEND_COLUMNS = ("class_code", "class_uri")
_CLASS_COLUMNS = frozenset(
    ("fid", "class_id", "name", "color", "segments", "area_px", "share", *LEGEND_COLUMNS)
)
_NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"

Extents = Mapping[int, NDArray[np.float64]]


def layer_name(legend: Legend, class_id: int) -> str:
    """Return the name of a class's layer: its id and what is left of its name in plain letters.

    Parameters
    ----------
    legend : Legend
    class_id : int

    Returns
    -------
    str
        Such as `class_03` or `class_03_bare_soil`: lower-case ASCII letters, digits and `_`.
    """
    plain = legend.default_name(class_id)
    if class_id not in legend.own_names:
        return plain
    letters = unicodedata.normalize("NFKD", legend.names[class_id].casefold())
    ascii_only = letters.encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", ascii_only).strip("_")[:40].rstrip("_")
    return f"{plain}_{slug}" if slug and slug != plain else plain


def view_sql(name: str, class_id: int) -> str:
    """Return the statement that makes the layer of a class."""
    # GDAL takes this name for a view's feature ids.
    columns = ", ".join(("fid AS OGC_FID", GEOMETRY, *_VIEW_COLUMNS))
    # All parts are ours: the name has no other letters than a-z, 0-9 and _.
    return (
        f"CREATE VIEW {name} AS SELECT {columns} FROM segments"  # nosec B608
        f" WHERE class_id = {class_id:d}"
    )


def write_views(
    database: sqlite3.Connection, legend: Legend, before: Mapping[str, str], extents: Extents
) -> dict[int, str]:
    """Make a layer of each class, and remove those of classes that are gone.

    Parameters
    ----------
    database : sqlite3.Connection
    legend : Legend
    before : mapping of str to str
        Views that this program made, and their digests.
    extents : mapping of int to ndarray of float64, shape (4,)
        Min x, min y, max x, max y of each class that has features.

    Returns
    -------
    dict of int to str
        The layer of each class, by id.
    """
    present = dict(
        database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'").fetchall()
    )
    ours = {name for name, known in before.items() if digest(present.get(name)) == known}
    layers: dict[int, str] = {}
    wanted: dict[str, str] = {}
    for class_id in legend.ids:
        name = free_name(database, layer_name(legend, class_id), ours)
        layers[class_id], wanted[name] = name, view_sql(name, class_id)
    for name in sorted(ours):
        if wanted.get(name) != present[name]:
            _drop_view(database, name)
            del present[name]
    for class_id, name in layers.items():
        if name not in present:
            database.execute(wanted[name])
            register_view(database, name)
        extent = extents.get(class_id, np.full(4, np.nan))
        set_contents(database, name, legend.names[class_id], extent)
    return layers


def set_contents(
    database: sqlite3.Connection, name: str, description: str, extent: NDArray[np.float64]
) -> None:
    """Tell what a layer shows, and min x, min y, max x, max y of it, all NaN where it is empty."""
    database.execute(
        "UPDATE gpkg_contents SET description = ?, min_x = ?, min_y = ?, max_x = ?, max_y = ?,"
        f" last_change = {_NOW} WHERE table_name = ?",  # nosec B608
        (description, *extent.tolist(), name),
    )


def free_name(database: sqlite3.Connection, name: str, ours: Iterable[str]) -> str:
    """Return the name, with a number if somebody else has given it to a layer of their own."""
    free, number = name, 2
    while free not in ours and has_table(database, free):
        free, number = f"{name}_{number}", number + 1
    return free


def _drop_view(database: sqlite3.Connection, name: str) -> None:
    database.execute(f"DROP VIEW {name}")
    for table in ("gpkg_geometry_columns", "gpkg_ogr_contents", "gpkg_contents"):
        if has_table(database, table):
            database.execute(f"DELETE FROM {table} WHERE table_name = ?", (name,))  # nosec B608


def register_view(database: sqlite3.Connection, name: str) -> None:
    """Make a view a layer, as GeoPackage allows."""
    (srs_id,) = database.execute(
        "SELECT srs_id FROM gpkg_contents WHERE table_name = 'segments'"
    ).fetchone()
    taken = "SELECT 1 FROM gpkg_contents WHERE identifier = ?"
    identifier = None if database.execute(taken, (name,)).fetchone() else name
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)"
        " VALUES (?, 'features', ?, ?)",
        (name, identifier, srs_id),
    )
    database.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, ?, 'MULTIPOLYGON', ?, 0, 0)",
        (name, GEOMETRY, srs_id),
    )


def write_classes(
    database: sqlite3.Connection,
    legend: Legend,
    class_id: NDArray[np.integer],
    area_px: NDArray[np.int64],
) -> None:
    """Write names, colours and sizes of the classes; other columns and rows stay.

    Parameters
    ----------
    database : sqlite3.Connection
    legend : Legend
    class_id, area_px : ndarray of int, shape (n,)
        Of every segment.
    """
    segments = np.bincount(class_id, minlength=legend.size)
    pixels = np.zeros(legend.size, np.int64)
    np.add.at(pixels, class_id, area_px)
    total = int(pixels.sum())
    if not has_table(database, "classes"):
        database.execute("DELETE FROM gpkg_contents WHERE table_name = 'classes'")
        database.execute(_CLASSES)
        register_attributes(database, "classes", "Names, colours and sizes of the classes")
    _remove_classes(database, legend.ids)
    for number in legend.ids:
        size = int(segments[number]), int(pixels[number])
        values = (
            legend.names[number],
            legend.colors[number],
            *size,
            size[1] / total if total else None,
            number,
        )
        changed = database.execute(
            "UPDATE classes SET name = ?, color = ?, segments = ?, area_px = ?, share = ?"
            " WHERE class_id = ?",
            values,
        )
        if not changed.rowcount:
            database.execute(
                "INSERT INTO classes (name, color, segments, area_px, share, class_id)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
    for column, texts in zip(LEGEND_COLUMNS, (legend.codes, legend.uris), strict=True):
        _write_legend_column(database, column, texts)


def _write_legend_column(
    database: sqlite3.Connection, column: str, texts: Mapping[int, str]
) -> None:
    """Write codes or URIs; the column is made when the first class has one."""
    present = {row[1] for row in database.execute("PRAGMA table_info(classes)")}
    if column not in present:
        if not texts:
            return
        database.execute(f"ALTER TABLE classes ADD COLUMN {column} TEXT")
    database.execute(f"UPDATE classes SET {column} = NULL")  # nosec B608
    database.executemany(
        f"UPDATE classes SET {column} = ? WHERE class_id = ?",  # nosec B608
        [(text, number) for number, text in texts.items()],
    )


def _remove_classes(database: sqlite3.Connection, kept: tuple[int, ...]) -> None:
    """Remove the rows of classes that are gone; what a user wrote beside one keeps it, as empty."""
    columns = [row[1] for row in database.execute("PRAGMA table_info(classes)")]
    own = [_quoted(name) for name in columns if name not in _CLASS_COLUMNS]
    noted = " OR ".join(f"{name} IS NOT NULL" for name in own) or "0"
    gone = [
        (number,)
        for (number,) in database.execute("SELECT class_id FROM classes").fetchall()
        if number not in kept
    ]
    database.executemany(
        "UPDATE classes SET segments = 0, area_px = 0, share = 0 WHERE class_id = ?", gone
    )
    database.executemany(
        f"DELETE FROM classes WHERE class_id = ? AND NOT ({noted})",  # nosec B608
        gone,
    )


def make_styles(
    legend: Legend, layers: Mapping[int, str], *, masks: bool, exemplars: str | None = None
) -> dict[str, LayerStyle]:
    """Return the style of each layer, by the layer's name; `exemplars` is the name of theirs."""
    styles = {"segments": segments_style(legend)}
    styles |= {layer: class_style(legend, number) for number, layer in layers.items()}
    styles |= {"masks": masks_style()} if masks else {}
    return styles | ({exemplars: exemplars_style()} if exemplars else {})


def write_styles(
    database: sqlite3.Connection, styles: Mapping[str, LayerStyle], before: Mapping[str, str]
) -> list[str]:
    """Write the styles of layers, except where somebody has changed or removed ours.

    Parameters
    ----------
    database : sqlite3.Connection
    styles : mapping of str to LayerStyle
    before : mapping of str to str
        Layers whose styles this program wrote, and their digests.

    Returns
    -------
    list of str
        Layers whose styles are the user's.
    """
    if not has_table(database, "layer_styles"):
        database.execute("DELETE FROM gpkg_contents WHERE table_name = 'layer_styles'")
        database.execute(_LAYER_STYLES)
        register_attributes(database, "layer_styles", "Styles for QGIS")
        before = {}
    changed: list[str] = []
    for layer in {**before, **styles}:
        found = _find_style(database, layer)
        known, wanted = before.get(layer), styles.get(layer)
        if found is not None and (known is None or digest(*found[1:]) != known):
            changed.append(layer)
        elif found is not None and wanted is None:
            database.execute("DELETE FROM layer_styles WHERE id = ?", (found[0],))
        elif found is not None and wanted is not None:
            database.execute(
                "UPDATE layer_styles SET styleQML = ?, styleSLD = ?,"
                f" update_time = {_NOW} WHERE id = ?",  # nosec B608
                (wanted.qml, wanted.sld, found[0]),
            )
        elif wanted is not None and known is None:
            _insert_style(database, layer, wanted)
    return [layer for layer in changed if layer in styles]


def _find_style(
    database: sqlite3.Connection, layer: str
) -> tuple[int, str | None, str | None] | None:
    """Return number, QML and SLD of the style that goes by our name."""
    row: tuple[int, str | None, str | None] | None = database.execute(
        "SELECT id, styleQML, styleSLD FROM layer_styles WHERE f_table_name = ? AND styleName = ?"
        " ORDER BY id",
        (layer, STYLE_NAME),
    ).fetchone()
    return row


def _insert_style(database: sqlite3.Connection, layer: str, style: LayerStyle) -> None:
    query = "SELECT 1 FROM layer_styles WHERE f_table_name = ? AND useAsDefault"
    is_default = database.execute(query, (layer,)).fetchone() is None
    database.execute(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
        " f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner)"
        " VALUES ('', '', ?, ?, ?, ?, ?, ?, ?, '')",
        (layer, GEOMETRY, STYLE_NAME, style.qml, style.sld, is_default, STYLE_DESCRIPTION),
    )


def moved_layers(before: Mapping[str, str], layers: Mapping[int, str]) -> dict[str, str]:
    """Return the new names of layers whose classes are called otherwise now."""
    moved: dict[str, str] = {}
    for name in before:
        number = re.match(r"class_(\d+)", name)
        new = layers.get(int(number[1])) if number else None
        if new is not None and new != name and name not in layers.values():
            moved[name] = new
    return moved


def move_styles(database: sqlite3.Connection, moved: Mapping[str, str]) -> None:
    """Let all styles of layers, users' too, follow their layers to new names."""
    if has_table(database, "layer_styles"):
        database.executemany(
            "UPDATE layer_styles SET f_table_name = ? WHERE f_table_name = ?",
            [(new, old) for old, new in moved.items()],
        )


def register_attributes(database: sqlite3.Connection, table: str, description: str) -> None:
    """Make a table without geometry known to GDAL."""
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id)"
        " VALUES (?, 'attributes', ?, ?, 0)",
        (table, table, description),
    )


def style_digests(styles: Mapping[str, LayerStyle]) -> dict[str, str]:
    """Return what tells the styles from those that somebody has changed."""
    return {layer: digest(style.qml, style.sld) for layer, style in styles.items()}


def class_column_changes(database: sqlite3.Connection, legend: Legend) -> list[dict[str, Any]]:
    """Return the rows of `classes` whose name or colour is not the legend's any more."""
    if not has_table(database, "classes"):
        return []
    rows = database.execute("SELECT class_id, name, color FROM classes").fetchall()
    return [
        {"id": number, "name": name, "color": color}
        for number, name, color in rows
        if number in legend.ids and (name, color) != (legend.names[number], legend.colors[number])
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
