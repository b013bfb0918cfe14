"""What a finished run tells people on stdout, and programs in `result`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .wording import in_options

if TYPE_CHECKING:
    from alps_geo.run.run import Run

# Why a pixel has no label: the record's word, and people's.
REASONS = {"no_mask": "no mask", "gated": "only masks that are too large", "outside": "no data"}


def result_paths(run: Run) -> dict[str, object]:
    """Return the results' absolute paths, for the event `result`."""
    return {
        "folder": _absolute(run.folder),
        "labels": [_absolute(path) for path in run.label_paths],
        "packages": [_absolute(path) for path in run.package_paths],
        "classes": _absolute(run.class_path),
        "record": _absolute(run.record_path),
        "report": _absolute(run.report_path) if run.report_path.exists() else None,
    }


def show_run(run: Run, warnings: Sequence[str]) -> None:
    """Print what a run found, what it wrote, what to do next, and warnings not yet shown."""
    from alps_geo.scenes.paths import quoted

    record = run.record
    for line in _coverage_lines(record):
        click.echo(line)
    click.echo(f"\nWritten to {run.folder}:")
    for labels, package in zip(run.label_paths, run.package_paths, strict=True):
        click.echo(f"  {package.name}  open this in QGIS: segments, coloured by class")
        click.echo(f"  {labels.name}  the same as a raster")
    if run.report_path.exists():
        click.echo(f"  {run.report_path.name}  a page about it all: open it in a browser")
    folder = quoted(run.folder)
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


def _absolute(path: Path) -> str:
    return str(path.resolve())
