"""What a finished run tells people on stdout, and programs in `result`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .wording import in_options

if TYPE_CHECKING:
    from alps_geo.outputs.writing import Outputs

# Why a pixel has no label: the record's word, and people's.
REASONS = {"no_mask": "no mask", "gated": "only masks that are too large", "outside": "no data"}


@dataclass(frozen=True)
class ClassRow:
    """One class of a run.

    Attributes
    ----------
    id : int
    name : str
    color : str
        `#rrggbb`.
    segments, area_px : int
        In all scenes of the run.
    share : float
        Of all labelled pixels, from 0 to 1.
    """

    id: int
    name: str
    color: str
    segments: int
    area_px: int
    share: float


def result_paths(outputs: Outputs) -> dict[str, object]:
    """Return the results' absolute paths, for the event `result`."""
    return {
        "folder": _absolute(outputs.folder),
        "labels": [_absolute(path) for path in outputs.labels],
        "packages": [_absolute(path) for path in outputs.packages],
        "classes": _absolute(outputs.classes),
        "record": _absolute(outputs.record),
    }


def class_rows(folder: Path) -> list[ClassRow]:
    """Return the classes of a finished run, in the order of their ids.

    Raises
    ------
    RunError
        If the folder holds no finished run, or results that were not all written.
    """
    from alps_geo.run.folder import RunFolder
    from alps_geo.run.record import read_record
    from alps_geo.run.run import open_run

    record = read_record(folder / "run.json")
    run, _ = open_run(folder, None)
    RunFolder(folder).require_whole()
    sizes: dict[int, tuple[int, int]] = {}
    # Not whatever else lies there: copies, or what a run of other scenes left.
    for package in run.outputs().packages:
        for class_id, segments, area_px in _read_sizes(package):
            before = sizes.get(class_id, (0, 0))
            sizes[class_id] = (before[0] + segments, before[1] + area_px)
    total = sum(area_px for _, area_px in sizes.values())
    rows = []
    for item in record["classes"]:
        segments, area_px = sizes.get(item["id"], (0, 0))
        share = area_px / total if total else 0.0
        row = ClassRow(item["id"], item["name"], item["color"], segments, area_px, share)
        rows.append(row)
    return rows


def show_outputs(outputs: Outputs, warnings: Sequence[str]) -> None:
    """Print what a run found, what it wrote, what to do next, and warnings not yet shown."""
    from alps_geo.run.record import read_record
    from alps_geo.scenes.paths import quoted

    record = read_record(outputs.record)
    for line in _coverage_lines(record):
        click.echo(line)
    click.echo(f"\nWritten to {outputs.folder}:")
    for labels, package in zip(outputs.labels, outputs.packages, strict=True):
        click.echo(f"  {package.name}  open this in QGIS: segments, coloured by class")
        click.echo(f"  {labels.name}  the same as a raster")
    folder = quoted(outputs.folder)
    click.echo(f"\nNext: alps-geo classes {folder}           what the classes cover, and names")
    click.echo(f"      alps-geo classify {folder} -k 8     another number of classes")
    if warnings:
        click.echo("\nWarnings:")
        for text in warnings:
            click.echo(f"  {in_options(text)}")


def _coverage_lines(record: dict[str, Any]) -> list[str]:
    pixels: dict[str, int] = {}
    for scene in record["scenes"]:
        for name, value in scene["coverage"].items():
            pixels[name] = pixels.get(name, 0) + value
    total = pixels["total_px"]
    segments = sum(scene["segments"]["visible"] for scene in record["scenes"])
    lines = [
        f"Labelled {pixels['labelled_px'] / total:.1%} of {total:,} pixels:"
        f" {segments:,} segments in {len(record['classes'])} classes."
    ]
    reasons = [
        f"{pixels[f'{name}_px'] / total:.1%} {text}"
        for name, text in REASONS.items()
        if pixels[f"{name}_px"]
    ]
    if reasons:
        lines.append(f"Without a label: {', '.join(reasons)}.")
    if pixels["filled_px"]:
        lines.append(f"Filled from the nearest segment: {pixels['filled_px'] / total:.1%}.")
    return lines


def _read_sizes(package: Path) -> list[tuple[int, int, int]]:
    """Return (class id, segments, pixels) of each class in a GeoPackage."""
    from alps_geo.errors import RunError
    from alps_geo.scenes.paths import sqlite_uri

    try:
        # Opened read-only, and so that no file is made where there is none.
        with closing(sqlite3.connect(sqlite_uri(package.resolve()), uri=True)) as database:
            return database.execute("SELECT class_id, segments, area_px FROM classes").fetchall()
    except sqlite3.Error as error:
        raise RunError(f"{package} cannot be read: {error}; run `classify()` again") from error


def _absolute(path: Path) -> str:
    return str(path.resolve())
