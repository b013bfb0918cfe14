"""`alps-geo suggest`: which segments to give a class to next."""

from __future__ import annotations

import click

from .options import SectionCommand, progress_option
from .progress import reporting


@click.command(
    cls=SectionCommand,
    examples=(
        "alps-geo suggest out -n 20 -o clicks.gpkg",
        "alps-geo classify out --examples clicks.gpkg --field class",
    ),
)
@click.argument("out", type=click.Path(), metavar="OUT")
@click.option("-n", "n", default=20, show_default=True, metavar="N", help="Number of segments.")
@click.option(
    "-o",
    "--output",
    "output",
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="Vector file to write: .gpkg, .geojson or .fgb.",
)
@click.option("--overwrite", is_flag=True, help="Replace that file.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Seed of the clustering.")
@progress_option
@click.pass_context
def suggest(
    ctx: click.Context,
    /,
    out: str,
    n: int,
    output: str,
    *,
    overwrite: bool,
    seed: int,
    progress_mode: str,
) -> None:
    """Suggest segments to give a class to, those first that would help most.

    OUT is the folder of a run. Writes points with segment_id, the present guess, its confidence,
    and an empty column 'class': fill it in, and give the file to `alps-geo classify --examples`.
    Without examples so far, segments are typical of many; with examples, they are uncertain, large
    and unlike each other.
    """
    with reporting(ctx, progress_mode) as reporter:
        from alps_geo.run.suggestions import suggest as suggest_segments

        table = suggest_segments(out, n, output, overwrite=overwrite, seed=seed, progress=reporter)
        reporter.result(output=output, suggestions=len(table))
    if reporter.for_people:
        click.echo(f"Wrote {len(table)} points to {output}: fill in the column 'class'.")
