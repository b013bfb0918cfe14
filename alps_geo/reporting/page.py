"""The page: the template filled with pictures, numbers and words; one file, no request of any kind.

Whatever comes from users is escaped by Jinja2; the page's own policy lets a browser run its one
script, known by its hash, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

from ..classes.exemplars import KINDS, LEAST_PX
from ..progress import NoProgress, Progress
from .chips import SIDE as CHIP_SIDE
from .chips import make_chips
from .facts import (
    describe_classes,
    describe_coverage,
    describe_evaluation,
    describe_features,
    describe_novelty,
    describe_number,
    describe_scenes,
    describe_settings,
    describe_versions,
)
from .formats import show_share
from .maps import MOST_SCENES, make_maps
from .sources import Source

#: No page is larger.
MOST_BYTES = 8_000_000
#: Of names and messages that are shown.
_MOST_WARNINGS = 40
_SHOWN_NAMES = 3


def make_page(source: Source, progress: Progress | None = None) -> str:
    """Make the page of a run; the same run gives the same text.

    Parameters
    ----------
    source : Source
    progress : Progress, optional
        Is told of pictures that cannot be made.

    Returns
    -------
    str
        HTML of at most 8 MB.

    Raises
    ------
    RunError
        If results are missing or damaged.
    """
    told = progress or NoProgress()
    classes = describe_classes(source)
    maps = make_maps(source, told)
    chips = make_chips(source, classes.ids, told)
    content = {**_texts(source), "classes": classes, "maps": maps, "kinds": KINDS}
    page = _render({**content, "chips": chips})
    # Bounds of the parts keep it below; names of users have none of their own.
    return page if len(page.encode()) <= MOST_BYTES else _render({**content, "chips": {}})


def _texts(source: Source) -> dict[str, Any]:
    """Return all that is no picture."""
    record = source.record
    pixels = [item["coverage"] for item in record["scenes"]]
    total = sum(part["total_px"] for part in pixels) or 1
    labelled = sum(part["labelled_px"] for part in pixels)
    software = dict(describe_versions(record))
    return {
        "title": _title(source),
        "scenes": describe_scenes(source),
        "more_scenes": max(0, len(source.scenes) - MOST_SCENES),
        "labelled": show_share(labelled / total),
        "coverage": describe_coverage(pixels),
        "least_px": LEAST_PX,
        "chip_side": CHIP_SIDE,
        "number": describe_number(record),
        "features": describe_features(record),
        "novelty": describe_novelty(record),
        "evaluation": describe_evaluation(source.evaluation),
        "settings": describe_settings(record),
        "model": record["model"]["name"],
        "is_sam": "sam" in record["model"]["name"],
        "warnings": list(record.get("warnings") or [])[:_MOST_WARNINGS],
        "versions": describe_versions(record),
        "version": software["alps-geo"],
    }


def _title(source: Source) -> str:
    stems = [scene.stem for scene in source.scenes]
    shown = ", ".join(stems[:_SHOWN_NAMES])
    more = len(stems) - _SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _render(content: dict[str, Any]) -> str:
    own = files(__package__)
    script = own.joinpath("report.js").read_text("utf-8")
    environment = Environment(
        loader=DictLoader({"report": own.joinpath("report.html").read_text("utf-8")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report").render(
        content,
        script=script,
        script_hash=f"sha256-{digest}",
        style=own.joinpath("report.css").read_text("utf-8"),
    )
