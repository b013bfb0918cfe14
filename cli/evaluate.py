"""`alps-geo evaluate`: how well labels agree with a reference, or with another run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .options import SectionCommand, progress_option
from .progress import reporting
from .wording import in_options

if TYPE_CHECKING:
    from rich.table import Table

    from alps_geo.evaluation.comparison import Evaluation

#: Name of a measure, and how people are told of it.
MEASURES = {
    "miou": "mean IoU, many-to-one",
    "miou_hungarian": "mean IoU, one-to-one (Hungarian)",
    "accuracy": "pixel accuracy, many-to-one",
    "accuracy_hungarian": "pixel accuracy, one-to-one (Hungarian)",
    "purity": "purity",
    "nmi": "normalised mutual information",
    "ari": "adjusted Rand index",
    "coverage": "coverage (reference pixels that have a label)",
}
#: What says how far two runs agree: neither of them is the truth.
SYMMETRIC = {
    "ari": "adjusted Rand index",
    "nmi": "normalised mutual information",
    "accuracy_hungarian": "pixels that agree, classes paired one-to-one",
    "coverage": "labelled pixels of the second run that the first labelled",
}


@click.command(
    cls=SectionCommand,
    examples=[
        "alps-geo evaluate out truth.tif",
        "alps-geo evaluate out landuse.gpkg --field class",
        "alps-geo evaluate out-k16 out-k8       agreement of two runs",
    ],
)
@click.argument("labels", metavar="OUT_OR_LABELS", type=click.Path())
@click.argument("reference", type=click.Path())
@click.option(
    "--field",
    "attribute",
    metavar="NAME",
    help="Field of a vector reference that holds the classes, as text or numbers.",
)
@click.option("--layer", metavar="NAME", help="Layer of a vector reference that has several.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="VALUE",
    help="Reference class to leave out, by number or name; may be given several times. Pixels"
    " without data are always left out.  [default: 255 in uint8 rasters without a nodata value]",
)
@click.option("--scene", metavar="STEM", help="Scene to compare, where the run has several.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@progress_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    labels: str,
    reference: str,
    *,
    attribute: str | None,
    layer: str | None,
    ignore: tuple[str, ...],
    scene: str | None,
    as_json: bool,
    progress_mode: str,
) -> None:
    """Compare labels with reference classes, or with another run.

    OUT_OR_LABELS is the folder of a run or a label raster. REFERENCE is a raster of class numbers,
    a mask with one colour per class, or a vector layer, on any grid and in any CRS, or another run.

    Many-to-one: each label stands for the class that most of its pixels have. One-to-one: labels
    and classes are paired so that most pixels agree. Reference pixels without a label count as
    errors in accuracy and IoU; purity, NMI and ARI are over pixels that have both.
    """
    # Imported late: `alps-geo --help` needs no GDAL.
    from alps_geo.evaluation.comparison import evaluate as compare

    # One object and nothing else, unless somebody asks for more.
    mode = "none" if as_json and progress_mode == "auto" else progress_mode
    with reporting(ctx, mode) as reporter:
        result = compare(
            labels,
            reference,
            attribute=attribute,
            layer=layer,
            ignore=ignore,
            scene=scene,
            progress=reporter,
        )
        reporter.result(**result.to_dict())
    if as_json and reporter.for_people:
        click.echo(json.dumps(result.to_dict()))
    elif reporter.for_people:
        _show(result)


def _show(result: Evaluation) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(_measures_table(result))
    if not result.is_agreement:
        console.print(_classes_table(result))
    console.print(_labels_table(result))
    for note in result.notes:
        console.print(Text(f"Note: {in_options(note)}"), soft_wrap=True)


def _measures_table(result: Evaluation) -> Table:
    names = SYMMETRIC if result.is_agreement else MEASURES
    title = "Agreement of two runs" if result.is_agreement else "Labels against reference"
    pixels = result.to_dict()["pixels"]
    table = _table(title, "measure", "#value")
    for name, text in names.items():
        _add(table, text, f"{result.measures[name]:.3f}")
    if not result.is_agreement and pixels["unlabelled"]:
        _add(
            table,
            "mean IoU, many-to-one, labelled pixels only",
            f"{result.measures['miou_labelled']:.3f}",
        )
    _add(table, "pixels with label and reference", f"{pixels['both']:,}")
    _add(table, "reference pixels without a label", f"{pixels['unlabelled']:,}")
    _add(table, "labelled pixels without a reference", f"{pixels['without_reference']:,}")
    return table


def _classes_table(result: Evaluation) -> Table:
    table = _table("Reference classes", "class", "#pixels", "#IoU", "#IoU one-to-one", "labels")
    standing = result.names_of(result.many_to_one)
    for item in result.to_dict()["classes"]:
        ids = [at for at, name in enumerate(standing) if name == item["name"]]
        _add(
            table,
            item["name"],
            f"{item['pixels']:,}",
            f"{item['iou']:.3f}",
            f"{item['iou_hungarian']:.3f}",
            ", ".join(str(result.label_ids[at]) for at in ids) or "none",
        )
    return table


def _labels_table(result: Evaluation) -> Table:
    table = _table("Labels", "#id", "name", "#pixels", "stands for", "#share", "one-to-one")
    for row, item in enumerate(result.to_dict()["clusters"]):
        counts = result.confusion[row]
        _add(
            table,
            str(item["id"]),
            item["name"] if item["name"] != str(item["id"]) else "",
            f"{counts.sum():,}",
            item["class"] or "",
            f"{counts.max() / counts.sum():.0%}",
            item["class_hungarian"] or "",
        )
    return table


def _table(title: str, *headings: str) -> Table:
    """Make a table; headings that start with # stand over numbers."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in headings:
        number = heading.startswith("#")
        table.add_column(heading.lstrip("#"), justify="right" if number else "left")
    return table


def _add(table: Table, *cells: str) -> None:
    from rich.text import Text

    # Names are the user's: `[red]` in one is no markup.
    table.add_row(*(Text(cell) for cell in cells))
