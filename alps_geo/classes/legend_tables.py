"""Tables of classes as CSV: a run's own, to edit elsewhere, and published legends.

Commas, semicolons or tabs part the columns, whichever the first line has; names of columns may be
in capitals, and `colour` is `color`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from .._files import replacing
from ..errors import OutputError, SettingsError
from ..settings.options import AnyPath
from .legend import Legend

#: Legends that come with this program: CORINE Land Cover, level 3, and OpenStreetMap's landuse and
#: natural, in the colours of its map.
LEGENDS = ("corine", "osm")
COLUMNS = ("id", "name", "color", "code", "uri")


@dataclass(frozen=True)
class LegendEntry:
    """A class of a published legend; texts are empty where it has none.

    Attributes
    ----------
    code, name, color, uri : str
        The colour as `#rrggbb`.
    """

    code: str
    name: str
    color: str
    uri: str


@dataclass(frozen=True)
class ClassTable:
    """What a table says of classes, by id; what it does not say stays.

    Attributes
    ----------
    names, colors, codes, uris : mapping of int to str
    """

    names: Mapping[int, str]
    colors: Mapping[int, str]
    codes: Mapping[int, str]
    uris: Mapping[int, str]


def read_legend(legend: AnyPath) -> tuple[LegendEntry, ...]:
    """Read a published legend.

    Parameters
    ----------
    legend : str or path
        `corine`, `osm`, or a CSV file with the columns name or code, and color and uri if there.

    Raises
    ------
    SettingsError
        If there is no such file, or it is no legend.
    """
    if str(legend) in LEGENDS:
        text = (files(__package__) / "legends" / f"{legend}.csv").read_text("utf-8")
    else:
        known = f"; legends that come with this program: {', '.join(LEGENDS)}"
        text = _read_text(legend, "legend", known)
    rows = _parse(text, str(legend), "legend", ("name", "code"))
    return tuple(
        LegendEntry(*(row.get(name, "") for name in ("code", "name", "color", "uri")))
        for row in rows
    )


def match_legend(legend: Legend, entries: Iterable[LegendEntry]) -> dict[int, LegendEntry]:
    """Return the entry for each class that is called like one, or like its code.

    Parameters
    ----------
    legend : Legend
        Capitals do not matter, nor does a number after a name: `water 2` is water.
    entries : iterable of LegendEntry
        Names before codes, the first of several.
    """
    listed = list(entries)
    known: dict[str, LegendEntry] = {}
    for texts in ([(entry.name, entry) for entry in listed], [(e.code, e) for e in listed]):
        for text, entry in texts:
            if text:
                known.setdefault(text.casefold(), entry)
    found: dict[int, LegendEntry] = {}
    for class_id, name in legend.names.items():
        plain = name.strip().casefold()
        entry_of = known.get(plain) or known.get(re.sub(r" \d+$", "", plain))
        if entry_of is not None:
            found[class_id] = entry_of
    return found


def read_table(path: AnyPath) -> ClassTable:
    """Read names, colours, codes and URIs of classes.

    Parameters
    ----------
    path : path
        A CSV file with the column id, and any of name, color, code and uri.

    Raises
    ------
    SettingsError
        If there is no such file, or an id is no number, or comes twice.
    """
    rows = _parse(_read_text(path, "from_csv"), str(path), "from_csv", ("id",))
    columns: dict[str, dict[int, str]] = {name: {} for name in COLUMNS[1:]}
    seen: set[int] = set()
    for row in rows:
        if not row["id"].isdecimal() or int(row["id"]) in seen:
            wrong = "comes twice" if row["id"].isdecimal() else "is no class id"
            raise SettingsError(
                f"{path}: {row['id']!r} in the column id {wrong}; give each class one row",
                code="settings.from_csv",
                setting="from_csv",
                found=row["id"],
            )
        class_id = int(row["id"])
        seen.add(class_id)
        for name, values in columns.items():
            # An empty name or colour says nothing, an empty code that there is none.
            if name in row and (row[name] or name in ("code", "uri")):
                values[class_id] = row[name]
    return ClassTable(*(columns[name] for name in COLUMNS[1:]))


def write_table(path: AnyPath, legend: Legend) -> None:
    """Write the classes as `read_table` reads them.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(legend.to_records())
    try:
        with replacing(Path(path)) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
    except OutputError as error:
        raise OutputError(f"{error}; the folder must be there, and be writable") from error


def read_segment_classes(path: AnyPath) -> dict[str, dict[int, str]]:
    """Read classes that are given to segments: by scene, empty where none is named, and segment.

    Parameters
    ----------
    path : path
        A CSV file with the columns segment_id and class (an id, or a name), and scene if needed.

    Raises
    ------
    SettingsError
        If there is no such file, or a segment's number is none.
    """
    setting = "segments_from"
    found: dict[str, dict[int, str]] = {}
    for row in _parse(_read_text(path, setting), str(path), setting, ("segment_id", "class")):
        if not row.get("segment_id", "").isdecimal() or not row.get("class"):
            raise SettingsError(
                f"{path}: each row needs a segment_id and a class, not"
                f" {row.get('segment_id', '')!r} and {row.get('class', '')!r}",
                code="settings.segments_from",
                setting=setting,
            )
        found.setdefault(row.get("scene", ""), {})[int(row["segment_id"])] = row["class"]
    return found


def _read_text(path: AnyPath, setting: str, remedy: str = "") -> str:
    try:
        return Path(path).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise SettingsError(
            f"`{setting}`: {path} cannot be read: {reason}{remedy}",
            code=f"settings.{setting}",
            setting=setting,
            found=str(path),
        ) from error


def _parse(text: str, path: str, setting: str, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows by column; a legend needs one of the columns, other tables all of them."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise SettingsError(f"`{setting}`: {path} is no CSV: {error}") from error
    header = [name.strip().casefold().replace("colour", "color") for name in (rows or [[]])[0]]
    is_there = [name in header for name in needed]
    if not (any(is_there) if setting == "legend" else all(is_there)):
        between = " or " if setting == "legend" else " and "
        raise SettingsError(
            f"`{setting}`: {path} needs the column {between.join(needed)}, and has"
            f" {', '.join(header) or 'none'}",
            code=f"settings.{setting}",
            setting=setting,
            found=path,
        )
    return [
        dict(zip(header, (cell.strip() for cell in row), strict=False))
        for row in rows[1:]
        if any(cell.strip() for cell in row)
    ]
