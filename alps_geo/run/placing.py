"""Results take their places together, and what undoing that would bring back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from .._files import Waiting
from ..classes.model import ClassModel
from ..errors import OutputError
from ..outputs.writing import commit_package
from .edits import Edits, save_edits
from .folder import RunFolder
from .library import ModelLibrary
from .reports import remove_report
from .run import Run
from .scene_results import ScenePart, add_found
from .state import Pending, State, load_undo, save_undo


def find_undo(
    run: Run,
    library: ModelLibrary,
    parts: Sequence[ScenePart],
    before: ClassModel,
    after: State,
) -> State | None:
    """Return what undoing a change brings back: where nothing changes, the same as until now.

    Parameters
    ----------
    run : Run
    library : ModelLibrary
    parts : sequence of ScenePart
        As they were found.
    before : ClassModel
        The class model before the change.
    after : State
        What results become.
    """
    edits = {part.run.stem: part.edits for part in parts}
    checksum = library.current_checksum
    if before is not library.current:
        checksum = library.add(before)
    previous = State(checksum, edits, run.record)
    if not previous.is_like(after):
        return previous
    if after.model != library.current_checksum:
        # Only names that were given by hand.
        return State(library.current_checksum, edits, run.record)
    older = load_undo(RunFolder(run.folder).undo_path)
    if older is None:
        return None
    kept = {
        part.run.stem: add_found(part, older.edits.get(part.run.stem, Edits.none()), library)
        for part in parts
    }
    return State(older.model, kept, older.record)


def put_in_place(
    run: Run,
    library: ModelLibrary,
    parts: Sequence[ScenePart],
    files: Waiting,
    pending: Pending,
    *,
    has_report: bool,
) -> None:
    """Make a change true; once it is noted, whoever opens the run next finishes it.

    Parameters
    ----------
    run : Run
    library : ModelLibrary
    parts : sequence of ScenePart
        Their packages are changed, but not committed.
    files : Waiting
    pending : Pending
    has_report : bool
        A report is among the files; without one, an older one is removed.

    Raises
    ------
    OutputError
        If that is not possible; where nothing was committed yet, all is as it was.
    """
    folder, committed = RunFolder(run.folder), False
    try:
        pending.save(folder.pending_path)
        for part in parts:
            if part.revision is not None:
                commit_package(part.revision)
                committed = True
    except OutputError:
        files.discard()
        if not committed:
            folder.pending_path.unlink(missing_ok=True)
        raise
    files.place()
    if not has_report:
        with suppress(OutputError):
            remove_report(run.report_path)
    for part in parts:
        save_edits(part.run.folder, pending.after.edits[part.run.stem])
    save_undo(folder.undo_path, pending.undo)
    library.keep(pending.after.models | (pending.undo.models if pending.undo else set()))
    folder.results_outdated = False
    folder.pending_path.unlink(missing_ok=True)
