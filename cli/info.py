"""`alps-geo info`: what `label` would do with a scene."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from alps_geo.models import check_model

from .options import (
    SectionCommand,
    check_classes_or_number,
    make_settings,
    progress_option,
    settings_options,
)
from .progress import in_words, reporting

if TYPE_CHECKING:
    from alps_geo.planning import Plan


@click.command(
    cls=SectionCommand,
    examples=(
        "alps-geo info scene.tif",
        "alps-geo info scene.tif --tile-size 2048 --workers 4 --json",
    ),
)
@click.argument("scene", metavar="SCENE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
@settings_options("scene", "tiles", "model", "gate", "sam", "classes", "workers")
@progress_option
@click.pass_context
def info(
    ctx: click.Context, /, scene: str, *, as_json: bool, progress_mode: str, **options: Any
) -> None:
    """Tell what `label` would do with a scene, and how long it would take.

    Shows bands, stretch, tiles and mask model, and estimates time and memory from one tile that is
    labelled on trial. Nothing is written. A scene or a setting that `label` would refuse is refused
    with the same message.
    """
    with reporting(ctx, progress_mode) as reporter:
        check_classes_or_number(ctx)
        settings = make_settings(options)
        # Told at once: what comes next imports for seconds.
        check_model(settings.model)
        from alps_geo.planning import info as find_out

        plan = find_out(scene, settings=settings, progress=reporter)
        reporter.result(**asdict(plan))
    if as_json and reporter.for_people:
        click.echo(json.dumps(asdict(plan)))
    elif reporter.for_people:
        _show(plan)


def _show(plan: Plan) -> None:
    scene = plan.scene
    size_m, bands = scene["pixel_size_m"], ", ".join(map(str, scene["bands"]))
    made_of = scene["components"]
    used = f"principal components of {made_of}" if made_of else f"{bands} of {scene['band_count']}"
    rows = {
        "scene": f"{scene['path']} ({scene['format']})",
        "size": f"{scene['width']:,} x {scene['height']:,} pixels, {plan.valid_share:.1%} valid",
        "bands": f"{used} ({scene['dtype']})",
        "mask": scene["mask"],
        "CRS": scene["crs"] or "none: areas in pixels only",
        "pixel size": "unknown" if size_m is None else f"{size_m:.4g} m",
        "stretch": _stretch_text(plan),
        **_blocks_row(plan),
        "mask model": plan.model,
        "tiles": str(plan.tiles),
        "time": f"about {in_words(plan.seconds)}",
        "memory": f"about {plan.memory_mb / 1000:.1f} GB",
    }
    width = max(map(len, rows))
    for name, text in rows.items():
        click.echo(f"{name:<{width}}  {text}")


def _stretch_text(plan: Plan) -> str:
    ranges = zip(plan.stretch.low, plan.stretch.high, strict=True)
    return f"{plan.stretch.kind}: " + ", ".join(f"{low:g} to {high:g}" for low, high in ranges)


def _blocks_row(plan: Plan) -> dict[str, str]:
    blocks = plan.scene["blocks"]
    if blocks is None:
        return {}
    size = f"{blocks['width']} x {blocks['height']} pixels"
    return {"colour": f"in blocks of {size} (as JPEG leaves), which are smoothed away"}
