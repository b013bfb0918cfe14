"""The results of a run, written together: what somebody changed in them by hand is found and kept.

Before anything is written, every GeoPackage is locked and compared with what was written last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np

from .._memory import return_freed_memory
from ..classes.exemplars import Exemplars
from ..classes.legend import Legend
from ..classes.model import ClassModel, Prediction
from ..errors import AlpsGeoError, OutputError
from ..outputs.geopackage import SegmentTable
from ..outputs.marks import Origin
from ..outputs.revision import Revision
from ..outputs.writing import (
    open_package,
    revise_package,
    write_labels,
    write_package,
    write_record,
)
from ..progress import Stopwatch
from ..scenes.scene import Scene
from .edits import find_heirs, load_edits, save_edits
from .exemplars import find_exemplars
from .folder import RunFolder
from .library import ModelLibrary, predict
from .record import class_facts, peak_memory_mb
from .reports import remove_report, write_report
from .run import Run
from .scene_results import ScenePart, examine, identify


class Results:
    """The results of a run while they are replaced; made by `open_results`.

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
        self._predictions: dict[tuple[str, str], Prediction] = {}

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

    def write(self, model: ClassModel | None) -> Run:
        """Write everything but the run folder; the record comes last, so it tells of whole results.

        Parameters
        ----------
        model : ClassModel or None
            None where there are no segments.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        run, record, clock = self._run, self._record, self._clock
        legend = (
            model.legend_
            if model is not None
            else Legend(record["settings"]["classes"]["n_classes"], ())
        )
        for part in self._parts:
            save_edits(part.run.folder, part.edits)
        checksum = "" if model is None else self._library.add(model)
        heirs = self._heirs(checksum)
        tables = [self._table(part, checksum, heirs) for part in self._parts]
        exemplars = [
            find_exemplars(model, part.segments, table, part.edits)
            for part, table in zip(self._parts, tables, strict=True)
        ]
        self._write_packages(tables, exemplars, legend, checksum, heirs)
        for part, table in zip(self._parts, tables, strict=True):
            self._write_raster(part, table, legend)
        if model is not None:
            model.save(run.class_path)
        self._library.keep(
            {checksum, *(name for part in self._parts for name in part.edits.models())}
        )
        record["classes"] = class_facts(legend.names, legend.colors)
        self._write_report([*zip(tables, exemplars, strict=True)])
        clock.stop()
        record["warnings"] = [*record.get("warnings", []), *clock.warnings]
        record["seconds"] = {**record.get("seconds", {}), **clock.seconds}
        record["peak_memory_mb"] = round(max(record.get("peak_memory_mb", 0), peak_memory_mb()))
        write_record(run.record_path, record)
        RunFolder(run.folder).results_outdated = False
        return run

    def _write_report(self, tables: Sequence[tuple[SegmentTable, Exemplars]]) -> None:
        """Write the report, if it is wanted; without it the results are whole all the same."""
        run, record, clock = self._run, self._record, self._clock
        path = run.report_path
        try:
            if not record["settings"]["outputs"].get("report", True):
                remove_report(path)
                return
            clock.stage("report")
            known = {**record, "warnings": [*record.get("warnings", []), *clock.warnings]}
            write_report(run, known, path, clock, scenes=self._scenes, tables=tables)
        except AlpsGeoError as error:
            clock.warning(f"there is no report of these results: {error}")
            with suppress(OutputError):
                remove_report(path)

    def _predict(self, part: ScenePart, checksum: str) -> Prediction:
        """Return the classes that a model gives a scene's segments."""
        key = part.run.stem, checksum
        if key not in self._predictions:
            self._predictions[key] = predict(self._library.load(checksum), part.segments)
        return self._predictions[key]

    def _heirs(self, checksum: str) -> dict[str, dict[int, int]]:
        """Return the present class for each class of the models that edits, or packages, name."""
        named = {name for part in self._parts for name in part.edits.models()}
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
            heirs[name] = {**_heirs_by_center(before, now), **found}
        return heirs

    def _table(
        self, part: ScenePart, checksum: str, heirs: Mapping[str, Mapping[int, int]]
    ) -> SegmentTable:
        """Return the segments with their classes, edits applied, and tell of these."""
        segments, found = part.segments, self._predict(part, checksum)
        class_id, confidence = found.class_id.copy(), found.confidence.copy()
        if len(part.edits):
            kept = part.edits.apply(segments.segment_id, class_id, confidence, heirs)
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
        if len(part.edits):
            facts["segments"] = {
                str(number): class_of.get(number) for number in part.edits.segment_id.tolist()
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
        """Write packages before all else: where one is locked, nothing has been changed yet."""
        folder, clock = RunFolder(self._run.folder), self._clock
        were_outdated, written = folder.results_outdated, False
        folder.results_outdated = True
        clock.stage("package")
        try:
            for part, table, shown in zip(self._parts, tables, exemplars, strict=True):
                origin = Origin(part.identity, checksum)
                if part.revision is None:
                    self._write_anew(part, table, legend, origin, shown)
                else:
                    self._revise(part, part.revision, table, legend, origin, heirs, shown)
                written = True
        except OutputError:
            folder.results_outdated = were_outdated or written
            raise

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


@contextmanager
def open_results(
    run: Run,
    record: dict[str, Any],
    clock: Stopwatch,
    *,
    anew: bool = False,
    scenes: Mapping[str, Scene] | None = None,
) -> Iterator[Results]:
    """Lock the results of a run, and find out what was changed in them by hand.

    Parameters
    ----------
    run : Run
        Assembled.
    record : dict
        Of the run; its parts `settings` and `scenes`.
    clock : Stopwatch
        The progress listener.
    anew : bool
        Replace packages even if they hold the same segments.
    scenes : mapping of str to Scene, optional
        By stem, where they are open.

    Yields
    ------
    Results

    Raises
    ------
    OutputError
        If another program is writing to one of them.
    RunError
        If a segment was given a class that is not there.
    """
    library = ModelLibrary(run)
    with ExitStack() as stack:
        parts = []
        for scene, labels, package in zip(
            run.parts, run.label_paths, run.package_paths, strict=True
        ):
            segments = scene.load_segments()
            identity = identify(run, scene, segments, record["settings"]["outputs"])
            part = ScenePart(
                scene, segments, labels, package, identity, None, None, load_edits(scene.folder)
            )
            revision = open_package(package)
            if revision is not None:
                stack.callback(revision.close)
            parts.append(examine(run, part, revision, library, clock, anew=anew))
        yield Results(run, parts, library, record, clock, scenes)


def _heirs_by_center(before: ClassModel, now: ClassModel) -> dict[int, int]:
    """Return heirs of classes without segments: classes with the same centre."""
    if not np.array_equal(before.cluster_centers_, now.cluster_centers_):
        return {}
    pairs = zip(before.class_of_center_.tolist(), now.class_of_center_.tolist(), strict=True)
    return dict(sorted(pairs, reverse=True))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
