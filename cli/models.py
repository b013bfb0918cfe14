"""`alps-geo models`: mask-model weights, which of them are installed and where they lie."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from alps_geo.models import weights

from .options import SectionCommand, progress_option
from .progress import reporting

EPILOG = """\b
Examples:
  alps-geo models list                 what there is, and where it lies
  alps-geo models download sam-vit-b   fetch one, and check it"""


@click.group(epilog=EPILOG)
def models() -> None:
    """Weights of mask models: list, download, add, verify, remove.

    The built-in model needs none. Nothing is downloaded unless you ask for it here.
    """


@models.command("list", cls=SectionCommand, examples=("alps-geo models list --json",))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
def list_models(*, as_json: bool) -> None:
    """List the known models, and which of them are installed."""
    rows = _rows()
    if as_json:
        click.echo(
            json.dumps({"folder": str(weights.folder()), "models": [asdict(row) for row in rows]})
        )
        return
    click.echo(f"{'name':<16}{'MiB':>7}  {'licence':<12}{'installed'}")
    for row in rows:
        place = row.path or f"no: alps-geo models download {row.name}"
        click.echo(f"{row.name:<16}{row.size / 2**20:7.0f}  {row.licence or '?':<12}{place}")
    click.echo(f"\nFolder: {weights.folder()} (set {weights.FOLDER_VARIABLE} to use another)")


@dataclass(frozen=True)
class WeightsRow:
    """A model in the list; None where nothing is known, `path` where it is not installed."""

    name: str
    size: int
    licence: str | None
    sha256: str | None
    url: str | None
    path: str | None


def _rows() -> list[WeightsRow]:
    found = {item.name: item for item in weights.installed()}
    rows = []
    for known in weights.KNOWN:
        item = found.pop(known.name, None)
        path = str(item.path) if item else None
        rows.append(
            WeightsRow(known.name, known.size, known.licence, known.sha256, known.url, path)
        )
    for item in found.values():
        size = item.path.stat().st_size
        rows.append(WeightsRow(item.name, size, None, item.sha256, None, str(item.path)))
    return rows


@models.command(cls=SectionCommand, examples=("alps-geo models download sam-vit-b",))
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@progress_option
@click.pass_context
def download(ctx: click.Context, /, names: tuple[str, ...], *, progress_mode: str) -> None:
    """Fetch weights from their authors, and check them.

    A download that broke off goes on where it stopped. Set ALPS_GEO_MODELS_URL to fetch from a
    mirror, and HTTPS_PROXY to go through a proxy.
    """
    # Imported here because requests takes a while, and listing needs none of it.
    from alps_geo.models.downloads import download as fetch

    with reporting(ctx, progress_mode) as reporter:
        chosen = [weights.known_model(name) for name in names]
        paths = [fetch(model, reporter) for model in chosen]
        reporter.result(models=[str(path) for path in paths])
    if reporter.for_people:
        for path in paths:
            click.echo(f"Installed {path}")


@models.command(cls=SectionCommand, examples=("alps-geo models add sam_vit_b_01ec64.pth",))
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
def add(file: Path) -> None:
    """Install a checkpoint file that is here already, such as your own fine-tuned weights.

    What it is follows from what is in it.
    """
    item = weights.add(file)
    click.echo(f"Installed {item.name}: {item.path}")


@models.command(cls=SectionCommand, examples=("alps-geo models verify sam-vit-b",))
@click.argument("names", nargs=-1, metavar="[NAME…]")
def verify(names: tuple[str, ...]) -> None:
    """Check that installed weights are what they should be; all of them without a name."""
    chosen = names or tuple(item.name for item in weights.installed())
    if not chosen:
        click.echo(f"No weights are installed in {weights.folder()}")
    for name in chosen:
        item = weights.verify(name)
        known = "right" if item.sha256 else "not known, nothing to compare with"
        click.echo(f"{name}: checksum {known}: {item.path}")


@models.command(cls=SectionCommand, examples=("alps-geo models remove sam-vit-b",))
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def remove(names: tuple[str, ...]) -> None:
    """Delete installed weights."""
    for name in names:
        click.echo(f"Deleted {weights.remove(name)}")
