"""`alps-geo report`: one HTML page that tells a run to people."""

from __future__ import annotations

import click

from .options import SectionCommand, progress_option
from .progress import reporting


@click.command(
    cls=SectionCommand,
    examples=(
        "alps-geo report out",
        "alps-geo report out -o for_client.html",
        "alps-geo evaluate out truth.tif --json > fit.json && alps-geo report out --evaluation"
        " fit.json",
    ),
)
@click.argument("out", type=click.Path(), metavar="OUT")
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(),
    metavar="FILE",
    help="The page.  [default: report.html in OUT]",
)
@click.option(
    "--evaluation",
    type=click.Path(),
    metavar="FILE",
    help="The JSON of `alps-geo evaluate --json`, which becomes a part of the page.",
)
@progress_option
@click.pass_context
def report(
    ctx: click.Context, out: str, file: str | None, evaluation: str | None, progress_mode: str
) -> None:
    """Write a report of a run: one HTML page, which needs nothing else.

    OUT is the folder of a run. The page shows the scenes with their classes, what each class looks
    like and covers, how much is labelled, and how it was made. It loads nothing, works by keyboard
    and on a phone, and can be printed.
    """
    with reporting(ctx, progress_mode) as reporter:
        from alps_geo.run.run import report as write_report

        path = write_report(out, file, evaluation=evaluation, progress=reporter)
        reporter.result(report=str(path.resolve()))
    if reporter.for_people:
        click.echo(f"Written to {path}")
