"""The report of a run: one HTML page, written with the results or when somebody asks for it.

A scene that cannot be read any more costs the page its pictures, and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import AlpsGeoError, ReferenceDataError
from ..outputs.files import explaining, set_aside, write_text
from ..outputs.styles import is_signed, sign_text
from ..progress import Progress
from ..scenes.scene import Scene
from ..settings.options import AnyPath
from .scenes import open_scene_of

if TYPE_CHECKING:
    from ..classes.exemplars import Exemplars
    from ..outputs.geopackage import SegmentTable
    from .run import Run

#: What a page needs of an evaluation.
_NEEDED = ("agreement_of_runs", "reference", "classes", "clusters", "notes")


class Evaluated(Protocol):
    """What `evaluate` returns."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python objects."""
        ...


def write_report(
    run: Run,
    record: Mapping[str, Any],
    path: Path,
    progress: Progress,
    *,
    scenes: Mapping[str, Scene] | None = None,
    tables: Sequence[tuple[SegmentTable, Exemplars]] | None = None,
    evaluation: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of a run; a page that somebody has changed is kept under another name.

    Parameters
    ----------
    run : Run
    record : mapping
        Of its results.
    path : Path
    progress : Progress
        Is told of scenes that cannot be read.
    scenes : mapping of str to Scene, optional
        By stem, with their stretch; by default they are looked for where the record says.
    tables : sequence of (SegmentTable, Exemplars), optional
        Of each scene; by default those that its package has.
    evaluation : mapping, optional
        As `read_evaluation` returns it.

    Raises
    ------
    RunError
        If results are missing or damaged.
    OutputError
        If the file cannot be written.
    """
    # Templates and pictures take a while to load, and only reports need them.
    from ..reporting.page import make_page
    from ..reporting.sources import Source
    from .report_sources import describe_scene, read_tables

    if scenes is None:
        scenes = _find_scenes(run, record, progress)
    if tables is None:
        tables = [
            read_tables(part, package, run.class_path)
            for part, package in zip(run.parts, run.package_paths, strict=True)
        ]
    sources = [
        describe_scene(part, *known, scenes.get(part.stem))
        for part, known in zip(run.parts, tables, strict=True)
    ]
    page = make_page(Source(record, sources, evaluation), progress)
    if path.exists() and not _is_ours(path):
        copy = set_aside(path)
        progress.warning(f"{path} was changed by hand; it is kept as {copy.name}")
    with explaining(path):
        write_text(path, sign_text(page))


def remove_report(path: Path) -> None:
    """Remove a report that would tell of results that are gone, unless somebody has changed it."""
    if path.exists() and _is_ours(path):
        with explaining(path):
            path.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    with explaining(path):
        try:
            return is_signed(path.read_text("utf-8"))
        except UnicodeDecodeError:
            return False


def read_evaluation(
    given: Evaluated | Mapping[str, Any] | AnyPath, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an evaluation of a run as plain objects.

    Parameters
    ----------
    given : Evaluation, mapping or path
        What `evaluate` returned, or a file of its JSON.
    record : mapping
        Of the run.

    Raises
    ------
    ReferenceDataError
        If it is none, or one of other classes.
    """
    name, found = "the evaluation", dict[str, Any]()
    if isinstance(given, str | os.PathLike):
        name = os.fspath(given)
        try:
            found = json.loads(Path(given).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ReferenceDataError(
                f"{name} cannot be read: {error}; give the JSON that `evaluate()` makes"
            ) from error
    else:
        found = dict(given) if isinstance(given, Mapping) else given.to_dict()
    missing = [key for key in _NEEDED if not isinstance(found, dict) or key not in found]
    if missing:
        raise ReferenceDataError(
            f"{name} is no result of `evaluate()`: it has no {missing[0]}; give the JSON that"
            " `evaluate()` makes"
        )
    names = {item["id"]: item["name"] for item in record["classes"]}
    others = [item for item in found["clusters"] if names.get(item["id"]) != item["name"]]
    if others:
        raise ReferenceDataError(
            f"{name} is of other classes than the run has now (class {others[0]['id']} was"
            f" {others[0]['name']!r}); `evaluate()` again"
        )
    return found


def _find_scenes(run: Run, record: Mapping[str, Any], progress: Progress) -> dict[str, Scene]:
    """Open the scenes of a finished run where they still are what they were."""
    found: dict[str, Scene] = {}
    for item in record["scenes"]:
        try:
            found[item["stem"]] = open_scene_of(run, record, item)
        except AlpsGeoError as error:
            progress.message(f"the report has no pictures of {item['stem']}: {error}")
    return found
