"""A command that does nothing but report progress; the tests run it as a process of its own."""

import os
import time
from pathlib import Path

import click

from alps_geo.cli.main import ErrorGroup
from alps_geo.cli.options import SectionCommand, progress_option
from alps_geo.cli.progress import reporting
from alps_geo.errors import SceneError
from alps_geo.progress import Notice


@click.group("walk", cls=ErrorGroup)
def cli():
    """Walk."""


@cli.command(cls=SectionCommand)
@click.option("--steps", default=3)
@click.option("--pause", default=0.0)
@click.option("--fail", type=click.Choice(["known", "usage", "unknown"]))
@click.option("--overwrite", is_flag=True)
@progress_option
@click.pass_context
def go(ctx, steps, pause, fail, overwrite, progress_mode):
    """Go."""
    with reporting(ctx, progress_mode, keeps="finished steps are kept") as reporter:
        reporter.stage("walking")
        print("a library prints")  # noqa: T201 - it stands for a library that does
        os.write(1, b"a library in C prints\n")
        for done in range(steps + 1):
            reporter.step(done, steps)
            time.sleep(pause)
        reporter.message("it was [red] fine")
        reporter.warning(Notice("mind the gap", code="walk.gap", at=3))
        if fail == "known":
            raise SceneError(
                "scene.tif is empty: set `bands`", code="walk.empty", path=Path("scene.tif")
            )
        if fail == "usage":
            raise click.UsageError("that makes no sense")
        if fail == "unknown":
            raise ZeroDivisionError("ours to mend")
        reporter.result(folder="out", labels=["out/labels.tif"])
    if reporter.for_people:
        click.echo("there")


cli(prog_name="walk")
