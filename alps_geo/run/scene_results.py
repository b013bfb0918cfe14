"""What lies in the results of a scene before they are replaced, and what somebody changed in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..outputs.files import set_aside
from ..outputs.marks import Origin
from ..outputs.revision import Differences, Revision
from ..progress import Progress
from ..segments.table import Segments
from .assembly import SceneRun
from .edits import Edits
from .folder import RunFolder
from .library import ModelLibrary, predict
from .run import Run

# Settings of outputs on which features of a package depend.
_SHAPING = ("fill", "simplify", "keep_masks")


@dataclass(frozen=True)
class ScenePart:
    """A scene's part of the results.

    Attributes
    ----------
    run : SceneRun
    segments : Segments
    labels, package : Path
    identity : str
        Tells the segments from others.
    revision : Revision or None
        The package that is there; None if it is written anew.
    differences : Differences or None
    edits : Edits
        With those that were found.
    """

    run: SceneRun
    segments: Segments
    labels: Path
    package: Path
    identity: str
    revision: Revision | None
    differences: Differences | None
    edits: Edits


def examine(
    run: Run,
    part: ScenePart,
    revision: Revision | None,
    library: ModelLibrary,
    progress: Progress,
    *,
    anew: bool,
) -> ScenePart:
    """Find out what somebody changed in a package; one that cannot be kept is set aside.

    Parameters
    ----------
    run : Run
    part : ScenePart
    revision : Revision or None
        The package; None if there is none, or no database.
    library : ModelLibrary
    progress : Progress
    anew : bool
        Replace it even if it holds the same segments.

    Raises
    ------
    RunError
        If a segment was given a class that is not there.
    """
    if revision is None:
        if part.package.exists():
            _set_aside(progress, part, None)
        return part
    is_known = not anew and revision.has_layers() and _belongs(run, part, revision, library)
    if not is_known:
        if revision.holds_own_content():
            _set_aside(progress, part, revision)
        revision.close()
        return part
    part = replace(part, revision=revision, differences=revision.differences())
    return replace(part, edits=add_found(part, part.edits, library))


def add_found(part: ScenePart, edits: Edits, library: ModelLibrary) -> Edits:
    """Return edits with those that were found in the package.

    Parameters
    ----------
    part : ScenePart
    edits : Edits
    library : ModelLibrary
    """
    found, revision = part.differences, part.revision
    if found is None or revision is None or revision.marks is None or not len(found.segment_id):
        return edits
    return _add_edits(edits, found, revision.marks.origin.model, part.segments, library)


def _belongs(run: Run, part: ScenePart, revision: Revision, library: ModelLibrary) -> bool:
    """Return whether a package holds these segments; one of an earlier version is marked."""
    if revision.marks is not None:
        return revision.marks.origin.run == part.identity
    # What was stopped in an earlier version may be of this command or of the one before.
    if RunFolder(run.folder).results_outdated or library.current is None:
        return False
    segments = part.segments
    segment_id, area_px = revision.areas()
    rows = np.searchsorted(segments.segment_id, segment_id)
    known = rows < len(segments)
    known[known] = segments.segment_id[rows[known]] == segment_id[known]
    if not known.any() or (segments.area_px[rows[known]] != area_px[known]).any():
        return False
    found = predict(library.current, segments).class_id
    sizes = np.bincount(found, minlength=library.current.legend_.size)
    if revision.class_sizes() != {
        number: int(sizes[number]) for number in library.current.class_ids
    }:
        return False
    origin = Origin(part.identity, library.current_checksum)
    revision.recognise(origin, library.current.legend_, segments.segment_id, found)
    return True


def _set_aside(progress: Progress, part: ScenePart, revision: Revision | None) -> None:
    copy = set_aside(part.package, None if revision is None else revision.copy_to)
    progress.warning(
        f"{part.package.name} held what others put into it, and is written anew; a copy is kept as"
        f" {copy.name}"
    )


def _add_edits(
    edits: Edits, found: Differences, model: str, segments: Segments, library: ModelLibrary
) -> Edits:
    """Return the edits with new ones; who gives a segment back its own class takes an edit back."""
    known = library.load(model)
    if known is None:
        return edits.put(found.segment_id, found.class_id, model)
    rows = np.searchsorted(segments.segment_id, found.segment_id)
    back = known.predict(segments.features[rows]) == found.class_id
    edits = edits.drop(found.segment_id[back])
    return edits.put(found.segment_id[~back], found.class_id[~back], model)


def identify(run: Run, scene: SceneRun, segments: Segments, settings: Mapping[str, Any]) -> str:
    """Return what tells the features of a package from those of another run.

    Parameters
    ----------
    run : Run
    scene : SceneRun
    segments : Segments
    settings : mapping
        Those of outputs.
    """
    manifest = {name: value for name, value in run.manifest.items() if name != "format"}
    facts = [manifest, scene.stem, {name: settings.get(name) for name in _SHAPING}]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=list).encode())
    digest.update(segments.segment_id.tobytes())
    digest.update(segments.area_px.tobytes())
    return digest.hexdigest()[:32]
