"""`alps-geo classify`: other classes for a finished run, from its stored features."""

from __future__ import annotations

from typing import Any

import click

from .options import (
    SectionCommand,
    check_classes_or_number,
    chosen,
    make_settings,
    progress_option,
    settings_options,
)
from .progress import reporting
from .summary import result_paths, show_run


@click.command(
    cls=SectionCommand,
    examples=(
        "alps-geo classify out -k 8",
        "alps-geo classify out -k auto",
        "alps-geo classify out --examples clicks.gpkg --field class",
        "alps-geo classify out --classes other/out",
    ),
)
@click.argument("out", type=click.Path(), metavar="OUT")
@settings_options("classes")
@progress_option
@click.pass_context
def classify(
    ctx: click.Context, /, out: str, progress_mode: str, n_classes: int, **options: Any
) -> None:
    """Find new classes for a finished run, learn them from examples, or apply a class model.

    OUT is the folder of a run of `alps-geo label`. No mask model runs: segments keep their shapes
    and numbers, and classes, styles and tables are written anew.
    """
    with reporting(ctx, progress_mode) as reporter:
        check_classes_or_number(ctx)
        make_settings({"n_classes": n_classes, **options})
        from alps_geo.pipeline import classify as classify_run

        is_given = options["classes"] is not None and not chosen(ctx, "n_classes")
        number = None if is_given else n_classes
        run = classify_run(out, n_classes=number, progress=reporter, **options)
        reporter.result(**result_paths(run))
    if reporter.for_people:
        show_run(run, [] if reporter.shows_texts else reporter.warnings)
