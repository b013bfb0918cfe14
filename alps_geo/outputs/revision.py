"""A GeoPackage brought up to date in one transaction: what users made in it stays.

Segments keep their features; only classes change. Whatever is not as this program wrote it is the
user's: layers, columns, styles, views, a stored project, and edits of our own layer.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..classes.exemplars import Exemplars
from ..classes.legend import Legend
from ..errors import OutputError, RunError
from .class_layers import (
    LEGEND_COLUMNS,
    STYLE_NAME,
    class_column_changes,
    layer_name,
    make_styles,
    move_styles,
    moved_layers,
    style_digests,
    write_classes,
    write_styles,
    write_views,
)
from .exemplar_layer import write_exemplars
from .geopackage import SegmentTable, view_digests
from .marks import Marks, Origin, Written, digest, has_table, read_marks, read_written, write_marks
from .rows import SegmentRows, add_functions, extents_of, read_rows

# Seconds to wait for another program that writes.
_PATIENCE = 5.0
_OUR_TABLES = re.compile(
    r"(gpkg_|rtree_|sqlite_|alps_geo_)\w*|segments|masks|classes|layer_styles|class_\d+\w*"
)
_OUR_COLUMNS = {
    "segments": "fid geometry segment_id class_id class_name area_m2 area_px predicted_iou"
    " stability confidence",
    "classes": "fid class_id name color segments area_px share",
}


@dataclass(frozen=True)
class Differences:
    """How the layer `segments` differs from what this program wrote.

    Attributes
    ----------
    segment_id, class_id : ndarray of int64, shape (n,)
        Segments that have another class now.
    deleted, reshaped : int
        Segments that are gone, and those with another outline.
    extra, named : ndarray of bool, shape (n_rows,)
        True for rows that are no segments of the run, or further parts of one; and for segments
        with a `class_name` that is no class's.
    """

    segment_id: NDArray[np.int64]
    class_id: NDArray[np.int64]
    deleted: int
    reshaped: int
    extra: NDArray[np.bool_]
    named: NDArray[np.bool_]

    def __bool__(self) -> bool:
        others = self.deleted + self.reshaped + int(self.extra.sum()) + int(self.named.sum())
        return bool(len(self.segment_id) or others)


class Revision:
    """A GeoPackage that is open for changes, all of which become true at once.

    Parameters
    ----------
    path : Path
        Must be there.

    Attributes
    ----------
    marks : Marks or None
        What this program wrote; None for files of earlier versions until `recognise`.

    Raises
    ------
    OutputError
        If another program is writing to the file, or it cannot be written.
    sqlite3.DatabaseError
        If it is no database.
    """

    marks: Marks | None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: Written | None = None
        self._known_rows: SegmentRows | None = None
        self._database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        try:
            add_functions(self._database)
            self._execute("BEGIN IMMEDIATE")
            self.marks = read_marks(self._database)
            if self.marks is not None:
                self._written = read_written(self._database)
        except (sqlite3.Error, OutputError):
            self._database.close()
            raise

    def close(self) -> None:
        """Give the file free; what is not committed has not happened."""
        self._database.close()

    def commit(self) -> None:
        """Make all changes true, and give the file free.

        Raises
        ------
        OutputError
            If that is not possible; the file is then as it was.
        """
        self._execute("COMMIT")
        self.close()

    def _execute(self, statement: str) -> None:
        try:
            self._database.execute(statement)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise OutputError(
                f"cannot write {self.path}: another program is writing to it; save or discard the"
                " edits that are open there, and give the command again"
            ) from error

    def has_layers(self) -> bool:
        """Return whether our layers are there, with all our columns."""
        return all(
            set(columns.split()) <= self._columns(table)
            for table, columns in _OUR_COLUMNS.items()
            if table == "segments" or has_table(self._database, table)
        )

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._database.execute(f"PRAGMA table_info({table})")}

    def class_sizes(self) -> dict[int, int]:
        """Return the segments of each class, as the table `classes` has them."""
        if not has_table(self._database, "classes"):
            return {}
        return dict(self._database.execute("SELECT class_id, segments FROM classes").fetchall())

    def areas(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return segment ids and areas in pixels of all rows that have both."""
        rows = self._database.execute(
            "SELECT segment_id, area_px FROM segments WHERE typeof(segment_id) = 'integer'"
            " AND typeof(area_px) = 'integer'"
        ).fetchall()
        segment_id, area_px = np.array(rows, np.int64).reshape(-1, 2).T
        return segment_id, area_px

    def recognise(
        self,
        origin: Origin,
        legend: Legend,
        segment_id: NDArray[np.integer],
        class_id: NDArray[np.integer],
    ) -> None:
        """Mark a file of an earlier version by the names and contents which that made.

        Parameters
        ----------
        origin : Origin
        legend : Legend
        segment_id, class_id : ndarray of int, shape (n,)
            The classes that were written.
        """
        layers = {number: layer_name(legend, number) for number in legend.ids}
        views = view_digests(layers, None)
        masks = has_table(self._database, "masks")
        styles = style_digests(make_styles(legend, layers, masks=masks))
        self.marks = Marks(origin, legend, views, styles)
        rows = self._rows()
        first = rows.is_first
        outlines = np.full(len(segment_id), -1, np.int64)
        places = np.searchsorted(segment_id, rows.segment_id[first])
        known = places < len(segment_id)
        known[known] = segment_id[places[known]] == rows.segment_id[first][known]
        outlines[places[known]] = rows.outline[first][known]
        self._written = Written(segment_id.astype(np.int64), class_id.astype(np.int64), outlines)

    def changed_classes(self) -> list[dict[str, object]]:
        """Return id, name and color of rows in `classes` that somebody has changed."""
        return [] if self.marks is None else class_column_changes(self._database, self.marks.legend)

    def differences(self) -> Differences:
        """Compare the segments with what was written.

        Raises
        ------
        RunError
            If a segment was given a class that is not there.
        """
        return self._compare(self._rows())

    def _rows(self) -> SegmentRows:
        # Nobody else can change them meanwhile.
        if self._known_rows is None:
            self._known_rows = read_rows(self._database)
        return self._known_rows

    def _compare(self, rows: SegmentRows) -> Differences:
        written, marks = self._written, self.marks
        if written is None or marks is None:
            raise RunError(f"{self.path} is not of this run")
        places = np.searchsorted(written.segment_id, rows.segment_id)
        known = rows.is_first & (places < len(written.segment_id))
        known[known] = written.segment_id[places[known]] == rows.segment_id[known]
        there = places[known]
        names = marks.legend.names
        by_name = {name: number for number, name in names.items()}
        numbers = np.array([by_name.get(name or "", -1) for name in rows.names], np.int64)
        said = numbers[rows.name[known]] if len(rows.names) else np.zeros(0, np.int64)
        present, before = rows.class_id[known], written.class_id[there]
        # The number leads; where only the name is another one, it does.
        chosen = np.where((present == before) & (said >= 0), said, present)
        changed = chosen != before
        self._check_classes(rows.segment_id[known][changed], chosen[changed], marks.legend)
        named = np.zeros(len(rows), bool)
        named[known] = said < 0
        return Differences(
            rows.segment_id[known][changed],
            chosen[changed],
            len(written.segment_id) - len(there),
            int(np.count_nonzero(rows.outline[known] != written.outline[there])),
            ~known,
            named,
        )

    def _check_classes(
        self, segment_id: NDArray[np.int64], class_id: NDArray[np.int64], legend: Legend
    ) -> None:
        wrong = np.flatnonzero(~np.isin(class_id, legend.ids))
        if len(wrong):
            number = int(class_id[wrong[0]])
            given = "no class" if number < 0 else f"the class {number}, which is not there"
            ids = ", ".join(map(str, legend.ids[:20])) + (", ..." if len(legend.ids) > 20 else "")
            raise RunError(
                f"{self.path}: segment {int(segment_id[wrong[0]])} was given {given}; the ids are"
                f" {ids}; change class_id there ({len(wrong)} such segments), and give the"
                " command again"
            )

    def update(
        self,
        table: SegmentTable,
        legend: Legend,
        origin: Origin,
        heirs: Mapping[int, int],
        exemplars: Exemplars | None = None,
    ) -> list[str]:
        """Bring classes up to date; nothing is true before `commit`.

        Parameters
        ----------
        table : SegmentTable
        legend : Legend
        origin : Origin
        heirs : mapping of int to int
            The new class for each class that there was, for rows which are no segments.
        exemplars : Exemplars, optional
            Makes the layer `exemplars`; without them there is none.

        Returns
        -------
        list of str
            Layers whose styles are the user's, and were left alone.
        """
        if self.marks is None or self._written is None:
            raise RunError(f"{self.path} is not of this run")
        database, marks = self._database, self.marks
        rows = self._rows()
        self._known_rows = None
        found = self._compare(rows)
        class_id = self._update_rows(rows, found, table, legend, heirs)
        layers = write_views(database, legend, marks.views, extents_of(class_id, rows.bounds))
        moved = moved_layers(marks.views, layers)
        move_styles(database, moved)
        known = {moved.get(layer, layer): style for layer, style in marks.styles.items()}
        shown = write_exemplars(database, exemplars, rows)
        write_classes(database, legend, table.class_id, table.area_px)
        styles = make_styles(legend, layers, masks="masks" in marks.styles, exemplars=shown)
        foreign = write_styles(database, styles, known)
        views = view_digests(layers, shown)
        digests = {**style_digests(styles), **dict.fromkeys(foreign, "")}
        written = self._rewritten(rows, found, class_id)
        write_marks(database, Marks(origin, legend, views, digests), written)
        return foreign

    def _update_rows(
        self,
        rows: SegmentRows,
        found: Differences,
        table: SegmentTable,
        legend: Legend,
        heirs: Mapping[int, int],
    ) -> NDArray[np.int64]:
        """Write class, name and confidence where they differ; return the class of each row."""
        places = np.searchsorted(table.segment_id, rows.segment_id)
        ours = ~found.extra & (places < len(table))
        ours[ours] = table.segment_id[places[ours]] == rows.segment_id[ours]
        class_id, confidence = rows.class_id.copy(), rows.confidence.copy()
        class_id[ours] = table.class_id[places[ours]]
        confidence[ours] = table.confidence[places[ours]]
        for row in np.flatnonzero(~ours).tolist():
            class_id[row] = heirs.get(int(rows.class_id[row]), int(rows.class_id[row]))
        names = legend.names
        present = np.array([rows.names[code] for code in rows.name.tolist()], object)
        wanted = np.array([names.get(number) for number in class_id.tolist()], object)
        left = found.named | (~ours & ~np.isin(class_id, legend.ids))
        wanted[left] = present[left]
        same = (rows.class_id == class_id) & (present == wanted)
        same &= (rows.confidence == confidence) | np.isnan(rows.confidence) & np.isnan(confidence)
        todo = np.flatnonzero(~same & ~(~ours & left))
        values = confidence[todo]
        self._database.executemany(
            "UPDATE segments SET class_id = ?, class_name = ?, confidence = ? WHERE fid = ?",
            zip(
                class_id[todo].tolist(),
                wanted[todo].tolist(),
                [None if np.isnan(value) else value for value in values.tolist()],
                rows.fid[todo].tolist(),
                strict=True,
            ),
        )
        if len(todo):
            self._database.execute(
                "UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
                " WHERE table_name = 'segments'"
            )
        updated: NDArray[np.int64] = class_id
        return updated

    def _rewritten(
        self, rows: SegmentRows, found: Differences, class_id: NDArray[np.int64]
    ) -> Written:
        """Return the note of what is there now; deleted segments and first outlines stay in it."""
        before = self._written
        if before is None:
            raise RunError(f"{self.path} is not of this run")
        classes = before.class_id.copy()
        ours = ~found.extra
        classes[np.searchsorted(before.segment_id, rows.segment_id[ours])] = class_id[ours]
        return Written(before.segment_id, classes, before.outline)

    def holds_own_content(self) -> bool:
        """Return whether users have changed the file, or put anything into it, as far as known."""
        database = self._database
        names = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        views = {} if self.marks is None else self.marks.views
        if any(not _OUR_TABLES.fullmatch(name) and name not in views for (name,) in names):
            return True
        for table, columns in _OUR_COLUMNS.items():
            if self._columns(table) - {*columns.split(), *LEGEND_COLUMNS}:
                return True
        if self.marks is None or not self.has_layers():
            return False
        if self.changed_classes() or self._styles() != dict(self.marks.styles):
            return True
        try:
            return bool(self.differences())
        except RunError:
            return True

    def _styles(self) -> dict[str, str]:
        if not has_table(self._database, "layer_styles"):
            return {}
        rows = self._database.execute(
            "SELECT f_table_name, styleName, styleQML, styleSLD FROM layer_styles"
        )
        return {
            layer if name == STYLE_NAME else f"{layer}: {name}": digest(qml, sld)
            for layer, name, qml, sld in rows
        }

    def copy_to(self, path: Path) -> None:
        """Write all that is in the file to another one."""
        self._database.execute("ROLLBACK")
        copy = sqlite3.connect(path)
        try:
            self._database.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
