"""Patches of scenes read, and written as a data set; scene by scene, patch by patch."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from ..errors import OutputError, RunError, SettingsError
from ..outputs.reading import read_given_classes
from ..progress import Progress
from ..run.record import describe_software
from ..run.run import Run
from ..run.scenes import open_scenes
from ..scenes.grid import Grid
from ..scenes.scene import Scene
from .datasets import (
    IGNORED,
    ClassList,
    CocoWriter,
    DatasetWriter,
    MmsegWriter,
    Sample,
    YoloWriter,
)
from .options import ExportSettings
from .patches import SPLITS, TRAIN, VAL, BlockSplit, Patch, plan_patches
from .selection import choose_classes, own_names

#: Columns of `patches.csv`.
_COLUMNS = (
    "name", "split", "scene", "source", "y0", "y1", "x0", "x1", "crs", "affine",
    "segments", "covered_fraction", "classes",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Source:
    """A scene of a run, ready for patches.

    Attributes
    ----------
    run : Run
    part : int
        Its place in the run.
    scene : Scene
    name : str
        What it is called in the data set.
    class_of, score_of : ndarray, shape (largest segment id + 1,)
        By segment: uint8 class, 255 for none, and confidence.
    """

    run: Run
    part: int
    scene: Scene
    name: str
    class_of: NDArray[np.uint8]
    score_of: NDArray[np.float64]

    @property
    def grid(self) -> Grid:
        """The scene's grid."""
        return self.run.parts[self.part].grid


def write_patches(
    runs: Sequence[Run],
    folder: Path,
    format: str,
    settings: ExportSettings,
    told: Progress,
    *,
    overwrite: bool,
) -> list[Path]:
    """Write runs as a data set of patches; see `export`.

    What is not whole has no `dataset.json`.
    """
    record = folder / "dataset.json"
    if folder.exists() and any(folder.iterdir()):
        ours = record.exists() or (folder / ".alps-geo").exists()
        if not (overwrite and ours):
            raise OutputError(
                f"{folder} is not empty; choose another folder"
                + (", or `overwrite`" if ours else "")
            )
        shutil.rmtree(folder)
    classes = _list_classes(runs)
    told.stage("export")
    sources = list(_open(runs, classes, settings))
    patches = _split(sources, settings, told)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".alps-geo").touch()
    writer = _make_writer(format, folder, classes, settings)
    rows = []
    by_scene: dict[str, list[Patch]] = {source.name: [] for source in sources}
    for patch in patches:
        by_scene[patch.scene].append(patch)
    for source in sources:
        for sample in _read(source, by_scene[source.name]):
            writer.add(sample)
            rows.append(_describe(source, sample))
            told.step(len(rows), len(patches))
    if not rows:
        raise RunError("no patch has a label: nothing is written")
    writer.finish()
    with (folder / "patches.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, _COLUMNS)
        table.writeheader()
        table.writerows(rows)
    counts = Counter(row["split"] for row in rows)
    facts = _facts(runs, format, classes, settings, {split: counts[split] for split in SPLITS})
    record.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (folder / ".alps-geo").unlink()
    told.message(f"{counts[TRAIN]} patches to train with, {counts[VAL]} for validation")
    return [record]


def _list_classes(runs: Sequence[Run]) -> ClassList:
    """Return the classes that all runs have; runs of different classes do not make a data set."""
    first = runs[0].classes
    for run in runs[1:]:
        if not run.classes[["name", "color"]].equals(first[["name", "color"]]):
            raise RunError(
                f"{run.folder} has other classes than {runs[0].folder}; label all scenes in one"
                " call, or with the same `classes`"
            )
    if max(first.index, default=0) >= IGNORED:
        raise RunError(f"masks hold classes up to {IGNORED - 1}; the run has {max(first.index)}")
    ids = tuple(int(number) for number in first.index)
    return ClassList(ids, tuple(first["name"]), tuple(first["color"]))


def _open(runs: Sequence[Run], classes: ClassList, settings: ExportSettings) -> Iterator[Source]:
    """Give the scenes of runs, with the class of every segment."""
    names = iter(own_names(runs))
    names_of = dict(zip(classes.ids, classes.names, strict=True))
    for run in runs:
        scenes = open_scenes(run)
        kept = np.array(sorted(choose_classes(run, names_of, settings.classes)))
        for part, stem in enumerate(run.scenes):
            segment_id, class_id, confidence = read_given_classes(run.package_paths[part])
            size = int(segment_id.max(initial=0)) + 1
            class_of, score_of = np.full(size, IGNORED, np.uint8), np.zeros(size)
            good = np.isin(class_id, kept) & (confidence >= settings.min_confidence)
            class_of[segment_id[good]] = class_id[good]
            score_of[segment_id[good]] = confidence[good]
            yield Source(run, part, scenes[stem], next(names), class_of, score_of)


def _split(sources: Sequence[Source], settings: ExportSettings, told: Progress) -> list[Patch]:
    """Return the patches of all scenes with their splits; those of no split are left out."""
    grids = {source.name: source.grid for source in sources}
    patches = [
        patch
        for name, grid in grids.items()
        for patch in plan_patches(name, grid, settings.patch_size, settings.overlap)
    ]
    if settings.split == "blocks":
        side = settings.block or 2 * settings.patch_size
        choose = BlockSplit(grids, patches, side, settings.val_share, settings.seed).split
    else:
        splits = _splits_of_scenes(list(grids), settings)

        def choose(patch: Patch) -> str:
            """Return the split of the scene."""
            return splits.get(patch.scene, "")

    found = [dataclasses.replace(patch, split=choose(patch)) for patch in patches]
    kept = [patch for patch in found if patch.split]
    if len(kept) < len(found):
        told.message(
            f"{len(found) - len(kept)} of {len(found)} patches are left out: they lie in no split,"
            " or in two"
        )
    if settings.val_share and all(patch.split != VAL for patch in kept):
        told.warning(
            "no patch is for validation: the scenes are too small, or too few, to be split; choose"
            " a smaller `block` or `patch_size`"
        )
    return kept


def _splits_of_scenes(names: Sequence[str], settings: ExportSettings) -> dict[str, str]:
    """Return the split of each scene: as a file says, or drawn by their names and the seed."""
    if settings.split == "scenes":
        order = np.random.default_rng(settings.seed).permutation(len(names))
        count = max(round(settings.val_share * len(names)), int(settings.val_share > 0))
        chosen = {names[index] for index in order[: count if len(names) > 1 else 0]}
        return {name: VAL if name in chosen else TRAIN for name in names}
    try:
        with Path(settings.split).open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"`split` must be blocks, scenes or a file, not {settings.split!r}: {error}",
            code="settings.split",
        ) from error
    wrong = [row for row in rows if len(row) != 2 or row[1] not in (TRAIN, VAL)]
    if wrong:
        raise SettingsError(
            f"{settings.split} has a line {','.join(wrong[0])!r}; lines must be scene,train or"
            " scene,val",
            code="settings.split",
        )
    unknown = [name for name, _ in rows if name not in names]
    if unknown:
        raise SettingsError(
            f"{settings.split} names {unknown[0]!r}, which is no scene; there are"
            f" {', '.join(names)}",
            code="settings.split",
        )
    return dict(rows)


def _make_writer(
    format: str,
    folder: Path,
    classes: ClassList,
    settings: ExportSettings,
) -> DatasetWriter:
    if format == "coco":
        return CocoWriter(folder, classes)
    if format == "yolo":
        return YoloWriter(folder, classes)
    return MmsegWriter(folder, classes, geotiff=settings.geotiff, suffix=settings.suffix)


def _read(source: Source, patches: Sequence[Patch]) -> Iterator[Sample]:
    """Give the patches that have a label, with their pixels."""
    grid = source.grid
    with source.run.parts[source.part].segment_raster.open() as read:
        for patch in patches:
            inside = patch.window.intersect(grid.window)
            if inside is None:
                continue
            segments = read(inside)
            classes = source.class_of[segments]
            if (classes == IGNORED).all():
                continue
            pixels, _ = source.scene.read(inside)
            segments[classes == IGNORED] = 0
            yield _fill(source, patch, pixels, classes, segments)


def _fill(
    source: Source,
    patch: Patch,
    pixels: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    segments: NDArray[np.uint32],
) -> Sample:
    """Return a sample of the patch's whole size, filled up to the right and below."""
    below, right = (patch.window.height - len(classes), patch.window.width - len(classes[0]))
    wide = ((0, below), (0, right))
    numbers = np.unique(segments[segments > 0])
    grid = source.grid
    place = grid.transform * Affine.translation(patch.window.col, patch.window.row)
    return Sample(
        patch,
        dataclasses.replace(
            grid, transform=place, height=patch.window.height, width=patch.window.width
        ),
        np.pad(pixels, (*wide, (0, 0))),
        np.pad(classes, wide, constant_values=IGNORED),
        np.pad(segments, wide),
        {int(number): float(source.score_of[number]) for number in numbers},
    )


def _describe(source: Source, sample: Sample) -> dict[str, Any]:
    """Return a row of `patches.csv`."""
    window, grid = sample.patch.window, sample.grid
    there = np.unique(sample.classes[sample.classes != IGNORED]).tolist()
    return {
        "name": sample.patch.name,
        "split": sample.patch.split,
        "scene": source.name,
        "source": source.scene.name,
        "y0": window.row,
        "y1": window.row_stop,
        "x0": window.col,
        "x1": window.col_stop,
        "crs": _short_name(grid),
        "affine": " ".join(f"{number:.17g}" for number in tuple(grid.transform)[:6]),
        "segments": len(sample.scores),
        "covered_fraction": f"{np.mean(sample.classes != IGNORED):.6f}",
        "classes": " ".join(map(str, there)),
    }


def _short_name(grid: Grid) -> str:
    """Return the code of a CRS, or its WKT where it has none; empty where there is no CRS."""
    if grid.crs is None:
        return ""
    known = grid.crs.to_authority()
    return ":".join(known) if known else grid.crs.to_wkt()


def _facts(
    runs: Sequence[Run],
    format: str,
    classes: ClassList,
    settings: ExportSettings,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Return the content of `dataset.json`."""
    items = zip(classes.ids, classes.names, classes.colors, strict=True)
    records = [run.record for run in runs]
    return {
        "format": format,
        "classes": [{"id": number, "name": name, "color": color} for number, name, color in items],
        "ignore": IGNORED,
        "patches": dict(counts),
        "settings": dataclasses.asdict(settings),
        "runs": [
            {
                "folder": run.folder.name,
                "model": record["model"],
                "features": record.get("features"),
                "settings": record["settings"],
                "scenes": {item["stem"]: item["fingerprint"] for item in record["scenes"]},
            }
            for run, record in zip(runs, records, strict=True)
        ],
        "software": describe_software(),
    }
