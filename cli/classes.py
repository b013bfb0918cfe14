"""`alps-geo classes`: what the classes of a run are called, how they look, how much they cover."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alps_geo.errors import SettingsError
from alps_geo.scenes.paths import quoted

from .options import SectionCommand, progress_option
from .progress import reporting

if TYPE_CHECKING:
    from pandas import DataFrame


@click.command(
    cls=SectionCommand,
    examples=(
        "alps-geo classes out",
        "alps-geo classes out --name 3=road --color 3=#888888 --merge 4,7",
    ),
)
@click.argument("out", type=click.Path(), metavar="OUT")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="ID=NAME",
    help="Give a class a name; may be given several times, like the next two.",
)
@click.option("--color", "colors", multiple=True, metavar="ID=#RRGGBB", help="Give it a colour.")
@click.option(
    "--merge", "merges", multiple=True, metavar="ID,ID,…", help="Join classes under the first id."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
@progress_option
@click.pass_context
def classes(
    ctx: click.Context,
    /,
    out: str,
    names: tuple[str, ...],
    colors: tuple[str, ...],
    merges: tuple[str, ...],
    *,
    as_json: bool,
    progress_mode: str,
) -> None:
    """List the classes of a run; name, colour or merge them.

    OUT is the folder of a run. Changes are written to all its files: label rasters, GeoPackages,
    styles and the class model. Ids stay, so what refers to them still holds.
    """
    folder = Path(out)
    with reporting(ctx, progress_mode) as reporter:
        chosen_names = _parse_pairs("names", names)
        chosen_colors = _parse_pairs("colors", colors)
        groups = [_parse_ids(text) for text in merges]
        if chosen_names or chosen_colors or groups:
            from alps_geo.pipeline import edit_classes

            edit_classes(
                out, names=chosen_names, colors=chosen_colors, merges=groups, progress=reporter
            )
        from alps_geo.run.run import open as open_run

        table = open_run(out).classes
        found = table.reset_index().to_dict("records")
        reporter.result(folder=str(folder.resolve()), classes=found)
    if as_json and reporter.for_people:
        click.echo(json.dumps({"classes": found}))
    elif reporter.for_people:
        show_classes(folder, table)


def show_classes(folder: Path, classes: DataFrame) -> None:
    """Print the classes as a table, with their colours."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "colour", "", "name", "segments", "share"):
        right = heading in ("id", "segments", "share")
        table.add_column(heading, justify="right" if right else "left")
    for row in classes.itertuples():
        # Names are the user's: `[red]` in one is no markup.
        name, swatch = Text(row.name), Text("    ", style=f"on {row.color}")
        table.add_row(
            str(row.Index), swatch, row.color, name, f"{row.segments:,}", f"{row.share:.1%}"
        )
    Console().print(table)
    if len(classes):
        click.echo(f"\nTo name one: alps-geo classes {quoted(folder)} --name {classes.index[0]}=…")


def _parse_pairs(setting: str, texts: Sequence[str]) -> dict[int, str]:
    pairs: dict[int, str] = {}
    for text in texts:
        number, sign, value = text.partition("=")
        if not sign or not number.strip().isdecimal():
            raise SettingsError(
                f"`{setting}` takes a class id and a value, as in 3=…, not {text!r}"
            )
        if int(number) in pairs:
            raise SettingsError(f"`{setting}` is given twice for class {int(number)}")
        pairs[int(number)] = value.strip()
    return pairs


def _parse_ids(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 2 or not all(part.isdecimal() for part in parts):
        raise SettingsError(f"`merges` takes two or more class ids, as in 4,7, not {text!r}")
    return tuple(int(part) for part in parts)
