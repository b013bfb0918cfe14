"""The results of a run, written together: what somebody changed in them by hand is found and kept.

Before anything is written, every GeoPackage is locked and compared with what was written last. Then
all files are written beside the present ones, and packages changed in transactions that stay open.
Once that is done, what results become is noted in the run folder: from then on the change counts
as made, and only now do files take their places. What is stopped before changes nothing; what is
stopped after is finished by the next command (`opening.finish_stopped`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import together
from .._memory import return_freed_memory
from ..classes.exemplars import Exemplars
from ..classes.legend import Legend
from ..classes.model import ClassModel
from ..classes.prediction import Prediction
from ..errors import AlpsGeoError, RunError
from ..outputs.geopackage import SegmentTable
from ..outputs.marks import Origin
from ..outputs.revision import Revision
from ..outputs.writing import revise_package, write_labels, write_package, write_record
from ..progress import Stopwatch
from ..scenes.scene import Scene
from ..settings import ClassSettings
from .edits import Edits, find_heirs
from .exemplars import find_exemplars
from .library import ModelLibrary, heirs_by_model, predict
from .placing import find_undo, put_in_place
from .record import peak_memory_mb
from .reports import write_report
from .run import Run
from .scene_results import ScenePart, add_found
from .state import Pending, State


class Results:
    """The results of a run while they are replaced; made by `opening.open_results`.

    Parameters
    ----------
    run : Run
    parts : sequence of ScenePart
    library : ModelLibrary
    record : dict
    clock : Stopwatch
        The progress listener.
    scenes : mapping of str to Scene, or None
        By stem, where they are open; for the pictures of the report.
    """

    def __init__(
        self,
        run: Run,
        parts: Sequence[ScenePart],
        library: ModelLibrary,
        record: dict[str, Any],
        clock: Stopwatch,
        scenes: Mapping[str, Scene] | None,
    ) -> None:
        self._run, self._parts, self._library, self._record = run, parts, library, record
        self._clock, self._scenes = clock, scenes
        self._edits = {part.run.stem: part.edits for part in parts}
        self._given: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self._drops_edits = False
        self._predictions: dict[tuple[str, str], Prediction] = {}

    @property
    def model(self) -> ClassModel | None:
        """The class model among the results, as it was when they were opened."""
        return self._library.current

    @property
    def are_edited(self) -> bool:
        """True if somebody has changed a class by hand since the results were written."""
        return bool(self.changed_classes()) or any(
            part.differences is not None and len(part.differences.segment_id)
            for part in self._parts
        )

    def changed_classes(self) -> list[dict[str, Any]]:
        """Return id, name and color of classes that were named or coloured by hand."""
        return [
            item
            for part in self._parts
            if part.revision is not None
            for item in part.revision.changed_classes()
        ]

    def drop_edits(self) -> None:
        """Forget what was changed by hand, also since results were written."""
        self._edits = {part.run.stem: Edits.none() for part in self._parts}
        self._drops_edits = True

    def give(self, stem: str, segment_id: NDArray[np.int64], class_id: NDArray[np.int64]) -> None:
        """Class some segments of a scene by hand.

        Parameters
        ----------
        stem : str
        segment_id, class_id : ndarray of int64, shape (n,)
            Each segment once; classes of the model that `write` gets.
        """
        self._given[stem] = segment_id, class_id

    def restore(self, state: State, *, drops_edits: bool = False) -> ClassModel | None:
        """Take record and edits of another state, and return its class model.

        Parameters
        ----------
        state : State
        drops_edits : bool
            Forget what was changed by hand since results were written; else it stays.

        Raises
        ------
        RunError
            If the class model is gone.
        """
        self._record = dict(state.record)
        for part in self._parts:
            edits = state.edits.get(part.run.stem, Edits.none())
            self._edits[part.run.stem] = (
                edits if drops_edits else add_found(part, edits, self._library)
            )
        self._drops_edits = drops_edits
        model = self._library.load(state.model)
        if model is None and state.model:
            raise RunError(
                f"the class model {self._library.path(state.model)} is gone; make new classes with"
                " `classify()`"
            )
        return model

    def write(
        self,
        model: ClassModel | None,
        *,
        before: ClassModel | None = None,
        undo: State | None = None,
    ) -> Run:
        """Write everything but the run folder: all of it, or nothing.

        Parameters
        ----------
        model : ClassModel or None
            None where there are no segments.
        before : ClassModel, optional
            What undoing brings back, with the present edits. Without it, and without `undo`,
            nothing can be undone.
        undo : State, optional
            What undoing brings back.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        run, record, clock = self._run, self._record, self._clock
        chosen = ClassSettings.from_json(record["settings"]["classes"])
        legend = Legend(chosen.number, ()) if model is None else model.legend_
        checksum = "" if model is None else self._library.add(model)
        for stem, given in self._given.items():
            self._edits[stem] = self._edits[stem].put(*given, checksum)
        after = State(checksum, self._edits, record)
        undo = (
            undo
            if before is None
            else find_undo(self._run, self._library, self._parts, before, after)
        )
        heirs = self._heirs(checksum)
        tables = [self._table(part, checksum, heirs) for part in self._parts]
        exemplars = [
            find_exemplars(model, part.segments, table, self._edits[part.run.stem])
            for part, table in zip(self._parts, tables, strict=True)
        ]
        with together() as files:
            self._write_packages(tables, exemplars, legend, checksum, heirs)
            for part, table in zip(self._parts, tables, strict=True):
                self._write_raster(part, table, legend)
            if model is not None:
                model.save(run.class_path)
            record["classes"] = legend.to_records()
            has_report = self._write_report([*zip(tables, exemplars, strict=True)])
            clock.stop()
            record["warnings"] = [*record.get("warnings", []), *clock.warnings]
            record["seconds"] = {**record.get("seconds", {}), **clock.seconds}
            record["peak_memory_mb"] = round(max(record.get("peak_memory_mb", 0), peak_memory_mb()))
            write_record(run.record_path, record)
        put_in_place(
            run,
            self._library,
            self._parts,
            files,
            Pending(after, undo, self._drops_edits),
            has_report=has_report,
        )
        return run

    def _write_report(self, tables: Sequence[tuple[SegmentTable, Exemplars]]) -> bool:
        """Write the report, if it is wanted; without it the results are whole all the same."""
        record, clock, path = self._record, self._clock, self._run.report_path
        if not record["settings"]["outputs"].get("report", True):
            return False
        clock.stage("report")
        known = {**record, "warnings": [*record.get("warnings", []), *clock.warnings]}
        try:
            write_report(self._run, known, path, clock, scenes=self._scenes, tables=tables)
        except AlpsGeoError as error:
            clock.warning(f"there is no report of these results: {error}")
            return False
        clock.step(1, 1)
        return True

    def _predict(self, part: ScenePart, checksum: str) -> Prediction:
        """Return the classes that a model gives a scene's segments."""
        key = part.run.stem, checksum
        if key not in self._predictions:
            self._predictions[key] = predict(self._library.load(checksum), part.segments)
        return self._predictions[key]

    def _heirs(self, checksum: str) -> dict[str, dict[int, int]]:
        """Return the present class for each class of the models that edits, or packages, name."""
        named = {name for edits in self._edits.values() for name in edits.models()}
        named |= {
            part.revision.marks.origin.model
            for part in self._parts
            if part.revision is not None and part.revision.marks is not None
            if part.differences is not None and part.differences.extra.any()
        }
        now = self._library.load(checksum)
        heirs: dict[str, dict[int, int]] = {}
        for name in sorted(named):
            before = self._library.load(name)
            if name == checksum and now is not None:
                heirs[name] = {number: number for number in now.class_ids}
                continue
            if before is None or now is None:
                self._clock.warning(
                    "classes that were given by hand cannot follow: their class model"
                    f" {self._library.path(name)} is gone"
                )
                continue
            found = find_heirs(
                (
                    self._predict(part, name).class_id,
                    self._predict(part, checksum).class_id,
                    part.segments.area_px,
                )
                for part in self._parts
            )
            heirs[name] = {**heirs_by_model(before, now), **found}
        return heirs

    def _table(
        self, part: ScenePart, checksum: str, heirs: Mapping[str, Mapping[int, int]]
    ) -> SegmentTable:
        """Return the segments with their classes, edits applied, and tell of these."""
        segments, found = part.segments, self._predict(part, checksum)
        class_id, confidence = found.class_id.copy(), found.confidence.copy()
        edits = self._edits[part.run.stem]
        if len(edits):
            kept = edits.apply(segments.segment_id, class_id, confidence, heirs)
            self._clock.message(
                f"{_count(kept, 'segment')} of {part.package.name} changed by hand; kept"
            )
        self._describe(
            part, dict(zip(segments.segment_id.tolist(), class_id.tolist(), strict=True))
        )
        return SegmentTable(
            segments.segment_id,
            class_id,
            segments.area_px,
            segments.predicted_iou,
            segments.stability,
            confidence,
        )

    def _describe(self, part: ScenePart, class_of: Mapping[int, int]) -> None:
        """Write to the record, and say, what was changed by hand in a scene's package."""
        facts: dict[str, Any] = {}
        edits = self._edits[part.run.stem]
        if len(edits):
            facts["segments"] = {
                str(number): class_of.get(number) for number in edits.segment_id.tolist()
            }
        found, name = part.differences, part.package.name
        if found is not None:
            counts = {
                "deleted": found.deleted,
                "reshaped": found.reshaped,
                "added": int(found.extra.sum()),
                "named": int(found.named.sum()),
            }
            facts |= {what: count for what, count in counts.items() if count}
            for what, text in _TEXTS.items():
                if counts[what]:
                    noun = "feature" if what == "added" else "segment"
                    self._clock.warning(f"{name}: {_count(counts[what], noun)} {text}")
        for scene in self._record["scenes"]:
            if scene["stem"] == part.run.stem:
                scene.pop("edits", None)
                scene.update({"edits": facts} if facts else {})

    def _write_packages(
        self,
        tables: Sequence[SegmentTable],
        exemplars: Sequence[Exemplars],
        legend: Legend,
        checksum: str,
        heirs: Mapping[str, Mapping[int, int]],
    ) -> None:
        """Write packages before all else: where one is locked, nothing has been done in vain."""
        self._clock.stage("package")
        for part, table, shown in zip(self._parts, tables, exemplars, strict=True):
            origin = Origin(part.identity, checksum)
            if part.revision is None:
                self._write_anew(part, table, legend, origin, shown)
            else:
                self._revise(part, part.revision, table, legend, origin, heirs, shown)

    def _write_anew(
        self,
        part: ScenePart,
        table: SegmentTable,
        legend: Legend,
        origin: Origin,
        exemplars: Exemplars,
    ) -> None:
        keep_masks = self._record["settings"]["outputs"]["keep_masks"]
        write_package(
            part.package,
            part.run.load_polygons(),
            table,
            legend,
            part.run.grid,
            origin=origin,
            masks=[part.run.load_masks()] if keep_masks else None,
            exemplars=exemplars,
            progress=self._clock,
        )

    def _revise(
        self,
        part: ScenePart,
        revision: Revision,
        table: SegmentTable,
        legend: Legend,
        origin: Origin,
        heirs: Mapping[str, Mapping[int, int]],
        exemplars: Exemplars,
    ) -> None:
        before = "" if revision.marks is None else revision.marks.origin.model
        foreign = revise_package(revision, table, legend, origin, heirs.get(before, {}), exemplars)
        self._clock.step(len(table), len(table))
        if foreign:
            self._clock.warning(
                f"{part.package.name}: the style of {', '.join(foreign)} was changed by hand; it"
                " stays as it is, and may not show the present classes"
            )

    def _write_raster(self, part: ScenePart, table: SegmentTable, legend: Legend) -> None:
        return_freed_memory()
        lookup = np.full(int(table.segment_id.max(initial=0)) + 1, -1, np.int64)
        lookup[table.segment_id] = table.class_id
        before = self._library.current
        self._clock.stage("raster")
        with part.run.segment_raster.open() as read:
            write_labels(
                part.labels,
                read,
                lookup,
                part.run.grid,
                legend,
                self._clock,
                before=None if before is None else before.legend_,
            )


_TEXTS = {
    "deleted": "deleted by hand: not brought back there, and still with a class in the raster",
    "reshaped": "with an outline changed by hand: kept there, and in the raster as once found",
    "added": "added, or cut off, by hand: kept there, with the class that stands for the one it"
    " had, and not in the raster",
    "named": "with a class_name that is no class's: kept there; `classes()` names classes",
}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
