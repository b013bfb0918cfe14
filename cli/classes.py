"""`alps-geo classes`: what the classes of a run are called, how they look, how much they cover."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        "alps-geo classes out --name 3=road --color 3=#888888 --merge 4,7=roof",
        "alps-geo classes out --split 5=3 --set 1234=road",
        "alps-geo classes out --name-from landuse.gpkg --field class --legend corine",
        "alps-geo classes out --undo",
    ),
)
@click.argument("out", type=click.Path(), metavar="OUT")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="ID=NAME",
    help="Give a class a name; may be given several times, like the next three.",
)
@click.option("--color", "colors", multiple=True, metavar="ID=#RRGGBB", help="Give it a colour.")
@click.option(
    "--merge",
    "merges",
    multiple=True,
    metavar="ID,ID,…[=NAME]",
    help="Join classes under the first id, with a name if one is given.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="ID[=PARTS]",
    help="Make several classes of one, two if no number is given, by clustering its segments: the"
    " largest part keeps the id, the others get new ones. The class model keeps it.",
)
@click.option(
    "--from-csv",
    type=click.Path(),
    metavar="FILE",
    help="Take names, colours, codes and URIs from a CSV file: id,name,color,code,uri.",
)
@click.option("--to-csv", type=click.Path(), metavar="FILE", help="Write such a file at the end.")
@click.option(
    "--legend",
    type=click.Path(),
    metavar="corine|osm|FILE",
    help="Give classes that are called as in a published legend (or as its codes) its colours,"
    " codes and URIs: CORINE Land Cover, OpenStreetMap, or a CSV file: code,name,color,uri.",
)
@click.option(
    "--name-from",
    type=click.Path(),
    metavar="REFERENCE",
    help="Name each class after what most of its pixels are in a reference, raster or vector.",
)
@click.option(
    "--field",
    "attribute",
    metavar="NAME",
    help="Field of a vector reference that holds the classes.",
)
@click.option(
    "--set",
    "segments",
    multiple=True,
    metavar="SEGMENT=CLASS",
    help="Class a segment by hand, by id or name; later classes keep it. May be given several"
    " times.",
)
@click.option(
    "--set-from",
    "segments_from",
    type=click.Path(),
    metavar="FILE",
    help="Class segments by hand from a CSV file: segment_id,class (and scene).",
)
@click.option(
    "--scene", metavar="STEM", help="Scene whose segments are meant, where the run has several."
)
@click.option("--drop-edits", is_flag=True, help="Forget what was classed by hand before.")
@click.option(
    "--undo",
    is_flag=True,
    help="Bring back classes, names and edits from before the last change, by this command or by"
    " classify; given again, the change is made again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
@progress_option
@click.pass_context
def classes(
    ctx: click.Context, /, out: str, *, as_json: bool, progress_mode: str, **options: Any
) -> None:
    """List the classes of a run; name, colour, merge or split them, and class single segments.

    OUT is the folder of a run. Changes are written to all its files: label rasters, GeoPackages,
    styles and the class model. All follow, or none does. Ids stay, so what refers to them still
    holds.
    """
    folder = Path(out)
    with reporting(ctx, progress_mode) as reporter:
        changes = _parse(**options)
        from alps_geo.pipeline import edit_classes
        from alps_geo.run.run import open as open_run

        if any(changes.values()) or needs_finishing(folder):
            edit_classes(out, **changes, progress=reporter)
        table = open_run(out).classes
        found = table.reset_index().to_dict("records")
        reporter.result(folder=str(folder.resolve()), classes=found)
    if as_json and reporter.for_people:
        click.echo(json.dumps({"classes": found}))
    elif reporter.for_people:
        show_classes(folder, table)


def needs_finishing(folder: Path) -> bool:
    """Return whether a change in the folder of a run was stopped half-way."""
    from alps_geo.run.folder import RunFolder

    return RunFolder(folder).pending_path.exists()


def _parse(
    names: tuple[str, ...],
    colors: tuple[str, ...],
    merges: tuple[str, ...],
    splits: tuple[str, ...],
    segments: tuple[str, ...],
    **others: Any,
) -> dict[str, Any]:
    """Return what was asked for as `edit_classes` takes it."""
    groups, group_names = [], []
    for text in merges:
        ids, sign, name = text.partition("=")
        groups.append(_parse_ids(ids))
        if sign:
            group_names.append(f"{groups[-1][0]}={name}")
    return {
        "names": _parse_pairs("names", [*names, *group_names]),
        "colors": _parse_pairs("colors", colors),
        "merges": groups,
        "splits": _parse_splits(splits),
        "segments": _parse_pairs("segments", segments, "segment", "a segment id and a class"),
        **others,
    }


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


def _parse_pairs(
    setting: str,
    texts: Sequence[str],
    noun: str = "class",
    what: str = "a class id and a value",
) -> dict[int, str]:
    pairs: dict[int, str] = {}
    for text in texts:
        number, sign, value = text.partition("=")
        if not sign or not number.strip().isdecimal():
            raise SettingsError(f"`{setting}` takes {what}, as in 3=…, not {text!r}")
        if int(number) in pairs:
            raise SettingsError(f"`{setting}` is given twice for {noun} {int(number)}")
        pairs[int(number)] = value.strip()
    return pairs


def _parse_splits(texts: Sequence[str]) -> dict[int, int]:
    parts = _parse_pairs("splits", [text if "=" in text else f"{text}=2" for text in texts])
    for number, value in parts.items():
        if not value.isdecimal():
            raise SettingsError(
                f"`splits` takes a class id and a number of parts, as in 5=3, not {number}={value}"
            )
    return {number: int(value) for number, value in parts.items()}


def _parse_ids(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 2 or not all(part.isdecimal() for part in parts):
        raise SettingsError(f"`merges` takes two or more class ids, as in 4,7, not {text!r}")
    return tuple(int(part) for part in parts)
