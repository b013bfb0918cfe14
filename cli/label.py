"""`alps-geo label`: scenes in, label maps, polygons and a class model out."""

from __future__ import annotations

from typing import Any

import click

from alps_geo.models import check_model

from .options import (
    SectionCommand,
    check_classes_or_number,
    make_settings,
    progress_option,
    settings_options,
)
from .progress import reporting
from .summary import result_paths, show_run


@click.command(
    cls=SectionCommand,
    examples=(
        "alps-geo label scene.tif -o out",
        "alps-geo label north.tif south.tif -o out -k 12 --aoi city.gpkg",
        "alps-geo label next.tif -o next --classes out",
    ),
)
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option(
    "-o", "--output", "out", required=True, type=click.Path(), metavar="OUT", help="Output folder."
)
@settings_options()
@progress_option
@click.pass_context
def label(
    ctx: click.Context, /, scenes: tuple[str, ...], out: str, progress_mode: str, **options: Any
) -> None:
    """Label scenes: cut them into segments, and give each a class.

    SCENE is a georeferenced image that GDAL can open; several share one class model. OUT then holds
    labels.tif (a class per pixel), labels.gpkg (segments as polygons, styled by class),
    classes.safetensors (the class model) and run.json (the record). A run that was stopped goes on
    when the same command is given again.
    """
    with reporting(ctx, progress_mode, keeps="finished tiles are kept") as reporter:
        check_classes_or_number(ctx)
        settings = make_settings(options)
        # Told at once: what comes next imports for seconds.
        check_model(settings.model)
        from alps_geo.pipeline import label as label_scenes

        run = label_scenes(scenes, out, settings=settings, progress=reporter)
        reporter.result(**result_paths(run))
    if reporter.for_people:
        show_run(run, [] if reporter.shows_texts else reporter.warnings)
