"""`alps-geo export`: finished runs as files of other GIS, or as data sets for training."""

from __future__ import annotations

from typing import Any

import click

from alps_geo.exports.options import PATCH_FORMATS, ExportSettings
from alps_geo.exports.vectors import VECTOR_FORMATS

from .options import SectionCommand, progress_option
from .progress import reporting


@click.command(
    cls=SectionCommand,
    examples=[
        "alps-geo export out -o gis --format geoparquet --mmu 0.5ha --dissolve",
        "alps-geo export out -o gis --format shapefile --classes 3,road --crs EPSG:3035",
        "alps-geo export county/* -o data --format mmseg --patch-size 512 --overlap 0",
    ],
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path())
@click.option(
    "-o", "--out", required=True, metavar="DIR", type=click.Path(), help="Folder to fill."
)
@click.option(
    "--format",
    "kind",
    required=True,
    type=click.Choice([*VECTOR_FORMATS, *PATCH_FORMATS]),
    help="A vector file per scene, or patches with labels.",
)
@click.option("--classes", metavar="LIST", help="Only these classes, by id or name: 3,road.")
@click.option(
    "--min-confidence",
    type=float,
    default=ExportSettings.min_confidence,
    show_default=True,
    metavar="SHARE",
    help="Segments below count as not labelled.",
)
@click.option(
    "--mmu",
    default="",
    metavar="AREA",
    help="Minimum mapping unit, such as 0.5ha, 200m2 or 50px: smaller segments join the neighbour"
    " with the longest shared border. Vector formats.",
)
@click.option("--dissolve", is_flag=True, help="Neighbours of one class are one. Vector formats.")
@click.option("--crs", default="", metavar="CRS", help="Another CRS: EPSG:3035. Vector formats.")
@click.option(
    "--patch-size",
    type=int,
    default=ExportSettings.patch_size,
    show_default=True,
    metavar="PX",
    help="Side of a patch.",
)
@click.option(
    "--overlap",
    type=int,
    default=ExportSettings.overlap,
    show_default=True,
    metavar="PX",
    help="What patches side by side share.",
)
@click.option(
    "--split",
    default=ExportSettings.split,
    show_default=True,
    metavar="HOW",
    help="How patches are split: blocks (squares of ground, no ground in both), scenes, or a CSV"
    " file of lines scene,train or scene,val.",
)
@click.option(
    "--val-share",
    type=float,
    default=ExportSettings.val_share,
    show_default=True,
    metavar="SHARE",
    help="Share of patches or scenes for validation.",
)
@click.option(
    "--block", type=int, default=0, metavar="PX", help="Side of a block.  [default: twice a patch]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split.")
@click.option("--geotiff", is_flag=True, help="Images as GeoTIFF with their CRS (mmseg).")
@click.option("--suffix", default="", help="End of the masks' names (mmseg).")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier export wrote.")
@progress_option
@click.pass_context
def export(
    ctx: click.Context,
    /,
    runs: tuple[str, ...],
    out: str,
    kind: str,
    *,
    classes: str | None,
    overwrite: bool,
    progress_mode: str,
    **options: Any,
) -> None:
    """Write finished runs as files of other programs.

    Vector formats have a polygon per segment, with class, name, colour, area and confidence.
    Formats of patches have images with labels, for training networks: mmseg (masks), coco
    (instances) and yolo (outlines), all with the same patches; dataset.json is written last.
    """
    with reporting(ctx, progress_mode) as reporter:
        # Imported here because it takes a while.
        from alps_geo.exports.export import export as export_runs

        chosen = tuple(part.strip() for part in (classes or "").split(",") if part.strip())
        paths = export_runs(
            list(runs), out, kind, overwrite=overwrite, progress=reporter, classes=chosen, **options
        )
        reporter.result(files=[str(path) for path in paths])
    if reporter.for_people:
        for path in paths:
            click.echo(f"Written: {path}")
