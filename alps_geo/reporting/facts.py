"""What a page says in numbers and words, each part ready for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..settings import all_settings, json_key, option_name
from .curves import draw_curve
from .formats import Unit, choose_unit, show_number, show_share
from .sources import SceneSource, Source

#: Rows of a table; what comes after them is summed up in one line.
MOST_ROWS = 200
#: Parts of the coverage: key in the record, what people call it.
COVERAGE = (
    ("labelled", "labelled"),
    ("no_mask", "no mask"),
    ("gated", "only masks that are too large"),
    ("unreadable", "not readable"),
    ("outside", "no data, or outside of the area of interest"),
)
#: Measures of an evaluation: key, what people call it.
MEASURES = (
    ("miou", "mean IoU, many-to-one"),
    ("miou_hungarian", "mean IoU, one-to-one"),
    ("accuracy", "pixel accuracy, many-to-one"),
    ("accuracy_hungarian", "pixel accuracy, one-to-one"),
    ("purity", "purity"),
    ("nmi", "normalised mutual information"),
    ("ari", "adjusted Rand index"),
    ("coverage", "reference pixels that have a label"),
)


@dataclass(frozen=True)
class ClassRow:
    """A class in the table of a page; numbers are ready to be read.

    Attributes
    ----------
    number : int
    name, color : str
    area, share, segments, confidence : str
    length : float
        Of the bar, from 0 to 1; that of the largest class is 1.
    """

    number: int
    name: str
    color: str
    area: str
    share: str
    length: float
    segments: str
    confidence: str


@dataclass(frozen=True)
class ClassTable:
    """The classes of a page, the largest first.

    Attributes
    ----------
    rows : list of ClassRow
    unit : str
        Of the areas.
    total_area, total_segments : str
    rest : str
        What the table leaves out; empty where it has all classes.
    """

    rows: list[ClassRow]
    unit: str
    total_area: str
    total_segments: str
    rest: str

    @property
    def ids(self) -> list[int]:
        """The classes' ids."""
        return [row.number for row in self.rows]


@dataclass
class _Sum:
    segments: int = 0
    area_px: int = 0
    area_m2: float = 0.0
    sure: float = 0.0
    sure_px: int = 0


def describe_classes(source: Source) -> ClassTable:
    """Return the table of classes, summed over all scenes."""
    sums = {number: _Sum() for number in source.names}
    has_areas = all(scene.grid.areas is not None for scene in source.scenes)
    for scene in source.scenes:
        for size in scene.sizes:
            found = sums.setdefault(size.class_id, _Sum())
            found.segments += size.segments
            found.area_px += size.area_px
            found.area_m2 += size.area_m2 or 0.0
            if size.confidence is not None:
                found.sure += size.confidence * size.area_px
                found.sure_px += size.area_px
    total = sum(found.area_px for found in sums.values()) or 1
    most = max((found.area_px for found in sums.values()), default=0) or 1
    unit = choose_unit([found.area_m2 for found in sums.values()])
    if not has_areas:
        unit = Unit("pixels", 1.0, 0)

    def area_of(found: _Sum) -> float:
        """Return an area as the unit measures it."""
        return found.area_m2 if has_areas else found.area_px

    order = sorted(sums, key=lambda number: (-sums[number].area_px, number))
    rows = [
        ClassRow(
            number,
            source.names.get(number, f"{number}"),
            source.colors.get(number, "#888888"),
            unit.show(area_of(sums[number])),
            show_share(sums[number].area_px / total),
            sums[number].area_px / most,
            f"{sums[number].segments:,}",
            show_number(sums[number].sure / sums[number].sure_px if sums[number].sure_px else None),
        )
        for number in order[:MOST_ROWS]
    ]
    left = order[MOST_ROWS:]
    share = show_share(sum(sums[number].area_px for number in left) / total)
    return ClassTable(
        rows,
        unit.name,
        unit.show(sum(map(area_of, sums.values()))),
        f"{sum(found.segments for found in sums.values()):,}",
        f"and {len(left):,} smaller classes, {share} of the labelled area" if left else "",
    )


def describe_coverage(pixels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the parts of a coverage that are there: key, name, share as text and as a number.

    Parameters
    ----------
    pixels : sequence of mapping
        The entries `coverage` of scenes, which are added up.
    """
    total = sum(part["total_px"] for part in pixels) or 1
    rows = []
    for key, name in COVERAGE:
        count = sum(part.get(f"{key}_px", 0) for part in pixels)
        if count or key == "labelled":
            share = {"share": show_share(count / total), "fraction": count / total}
            rows.append({"key": key, "name": name, "pixels": f"{count:,}", **share})
    return rows


def describe_scenes(source: Source) -> list[dict[str, Any]]:
    """Return a row per scene: where it is, how large, its tiles, its seams and its coverage."""
    by_stem = {scene.stem: scene for scene in source.scenes}
    rows = []
    for item in source.record["scenes"][:MOST_ROWS]:
        scene = by_stem[item["stem"]]
        edits = len(item.get("edits", {}).get("segments", {}))
        rows.append(
            {
                "stem": item["stem"],
                "size": f"{item['width']:,} × {item['height']:,} pixels",
                "crs": _crs_name(scene),
                "pixel": _pixel_size(scene),
                "tiles": f"{item['tiles']:,}",
                "segments": f"{item['segments']['visible']:,}",
                "stitched": f"{item['segments'].get('stitched', 0):,}",
                "cut": f"{item['segments'].get('cut', 0):,}",
                "masks": f"{item['masks']['found']:,}",
                "gated": f"{item['masks']['gated']:,}",
                "unreadable": len(item.get("unreadable_tiles") or {}),
                "filled": show_share(item["coverage"].get("filled_share") or 0.0),
                "is_filled": bool(item["coverage"].get("filled_px")),
                "edits": f"{edits:,}" if edits else "",
                "coverage": describe_coverage([item["coverage"]]),
            }
        )
    return rows


def _crs_name(scene: SceneSource) -> str:
    crs = scene.grid.crs
    if crs is None:
        return "none"
    authority = crs.to_authority()
    return f"{crs.name} ({':'.join(authority)})" if authority else crs.name


def _pixel_size(scene: SceneSource) -> str:
    size = scene.grid.pixel_size_m
    return "not known" if size is None else f"{size:.3g} m"


def describe_settings(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all settings by stage, each with its value and whether that is the default."""
    stages: dict[str, list[dict[str, Any]]] = {}
    for part, item in all_settings():
        values = record["settings"].get(json_key(part), {})
        if json_key(item) not in values:
            continue
        value = values[json_key(item)]
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        entry = {
            "name": option_name(item),
            "value": _value(value),
            "help": item.metadata["help"],
            "is_default": value == default,
        }
        stages.setdefault(json_key(part), []).append(entry)
    return [{"stage": stage, "entries": entries} for stage, entries in stages.items()]


def _value(value: object) -> str:
    if value is None or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def describe_features(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the blocks of features."""
    return [block["name"] for block in record.get("features") or ()]


def describe_number(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how the number of classes was found: in words, and as a chart; None where given."""
    found = record.get("k_curve")
    if not found:
        return None
    if "k" in found:
        shuffled = found.get("shuffled", ())
        names = "number of classes", "agreement of two halves"
        curve = draw_curve(found["k"], found["score"], found["chosen"], *names, shuffled)
    else:
        names = "scatter of the prior", "clusters"
        curve = draw_curve(found.get("scatters", ()), found.get("found", ()), None, *names)
    sure = show_share(found["sure"])
    text = f"{found['chosen']} classes were found by the method {found['method']}, {sure} sure."
    return {"text": text, "curve": curve}


def describe_novelty(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how unlike its training scene a scene is: what is measured, and the figure."""
    found = record.get("novelty") or {}
    rows = [
        (f"drift of {name}", show_number(figure)) for name, figure in found.get("drift", {}).items()
    ]
    shares = (
        ("unknown_share", "labelled area of no known class"),
        ("beyond_share", "labelled area unlike anything there"),
    )
    known = [(name, found.get(key)) for key, name in shares]
    return rows + [(name, show_share(share)) for name, share in known if share is not None]


def describe_evaluation(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an evaluation as tables: measures, reference classes, what each label stands for."""
    if found is None:
        return None
    classes = sorted(found["classes"], key=lambda item: -item["pixels"])
    return {
        "is_agreement": found["agreement_of_runs"],
        # Where it lies is no business of those who read the page.
        "reference": ", ".join(PurePath(name).name for name in found["reference"][:5]),
        "measures": [
            {"name": name, "value": show_number(found.get(key), 3)} for key, name in MEASURES
        ],
        "classes": [
            {
                "name": item["name"],
                "pixels": f"{item['pixels']:,}",
                "iou": show_number(item["iou"], 3),
                "fraction": max(0.0, min(1.0, item["iou"] or 0.0)),
            }
            for item in classes[:MOST_ROWS]
        ],
        "notes": list(found["notes"])[:20],
    }


def describe_versions(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the run was made with: (name, version), this program first."""
    software = dict(record["software"])
    own = software.pop("alps-geo", "")
    return [("alps-geo", own), *software.items()]
