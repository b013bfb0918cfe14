"""The command `alps-geo`, also known to rasterio as `rio alps`: the group, and how errors end."""

from __future__ import annotations

from typing import Any

import click

import alps_geo
from alps_geo._environment import clean_environment
from alps_geo.errors import AlpsGeoError, Cancelled

from .classes import classes
from .classify import classify
from .evaluate import evaluate
from .export import export
from .info import info
from .label import label
from .models import models
from .progress import TOLD
from .report import report
from .streams import silence_libraries, steady_streams
from .suggest import suggest
from .wording import in_options


class ErrorGroup(click.Group):
    """A group that turns errors a user can mend into one line and an exit code.

    Here and not in `main`, so that it also holds under `rio`. All other exceptions keep their
    traceback: they are ours to mend.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Make streams steady before anything is written, the help included."""
        steady_streams()
        if kwargs.get("parent") is not None:
            silence_libraries()  # under rio; `main` does it for us
        return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            with clean_environment():
                return super().invoke(ctx)
        except Cancelled as error:
            if not ctx.meta.get(TOLD):
                click.echo(f"{str(error)[:1].upper()}{str(error)[1:]}", err=True)
            ctx.exit(error.exit_code)
        except AlpsGeoError as error:
            # A program has been told already, in the engine's words.
            if not ctx.meta.get(TOLD):
                click.echo(f"Error: {in_options(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except MemoryError:
            click.echo(
                "Error: not enough memory; finished tiles are kept: give the same command again"
                " with fewer --workers, or start anew with a smaller --tile-size",
                err=True,
            )
            ctx.exit(AlpsGeoError.exit_code)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            ctx.exit(Cancelled.exit_code)


EPILOG = """\b
Examples:
  alps-geo label scene.tif -o out      the main job: open out/labels.gpkg in QGIS
  alps-geo info scene.tif              what that would do
  alps-geo classify out -k 8           fewer classes, from what is stored
  alps-geo classes out --name 3=road   a name for a class

Exit codes: 0 done, 1 wrong data, 2 wrong usage, 130 stopped."""


# rio takes the name of its subcommand from here; `alps-geo` calls itself so in `main`.
@click.group("alps", cls=ErrorGroup, epilog=EPILOG)
@click.version_option(alps_geo.__version__, prog_name="alps-geo")
def cli() -> None:
    """Label whole geospatial scenes without training data.

    Cuts a georeferenced image into segments, groups like segments into classes, and writes a label
    raster and a GeoPackage that open coloured by class in a GIS.
    """


for command in (label, classify, suggest, classes, evaluate, report, export, info, models):
    cli.add_command(command)


def help_texts() -> list[tuple[str, str]]:
    """Return (command, help text) of every command, 80 columns wide, for the docs."""
    texts = []
    waiting: list[tuple[click.Command, click.Context]] = [
        (cli, click.Context(cli, info_name="alps-geo", terminal_width=80))
    ]
    while waiting:
        item, ctx = waiting.pop(0)
        texts.append((ctx.command_path, item.get_help(ctx)))
        if isinstance(item, click.Group):
            members = [item.commands[name] for name in item.list_commands(ctx)]
            waiting = [
                *(
                    (each, click.Context(each, ctx, each.name, terminal_width=80))
                    for each in members
                ),
                *waiting,
            ]
    return texts


def main() -> None:
    """Run `alps-geo`."""
    silence_libraries()
    cli(prog_name="alps-geo")
