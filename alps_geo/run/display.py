"""A run as notebooks show it: its label maps, its classes with their colours, and its coverage."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import RunError
from ..outputs.reading import read_preview

if TYPE_CHECKING:
    from .run import Run

#: Longest side of a picture, in pixels, and the most of them.
SIDE, PICTURES = 320, 3
#: The classes that a table shows.
ROWS = 20


def describe_html(run: Run) -> str:
    """Return a run as HTML: pictures, classes, coverage; one line where results are missing.

    Parameters
    ----------
    run : Run
    """
    title = f"<code>{escape(repr(run))}</code>"
    try:
        classes, record = run.classes.reset_index().to_dict("records"), run.record
        colors = {row["id"]: row["color"] for row in classes}
        pictures = [_picture(path, colors) for path in run.label_paths[:PICTURES]]
    except RunError as error:
        return f"<p>{title}<br>{escape(str(error))}</p>"
    rows = "".join(map(_row, classes[:ROWS]))
    more = f"<p>and {len(classes) - ROWS} more classes</p>" if len(classes) > ROWS else ""
    return (
        f"<p>{title}<br>{_coverage(record)}</p>"
        f"<div style='display:flex;flex-wrap:wrap;gap:1em'><div>{''.join(pictures)}</div>"
        "<div><table><tr><th>id</th><th></th><th style='text-align:left'>name</th>"
        f"<th>segments</th><th>share</th></tr>{rows}</table>{more}</div></div>"
    )


def _row(item: Mapping[str, Any]) -> str:
    swatch = f"<td style='background:{escape(item['color'])};width:2em'></td>"
    # Names are the user's, and may hold anything.
    name = f"<td style='text-align:left'>{escape(item['name'])}</td>"
    numbers = f"<td>{item['segments']:,}</td><td>{item['share']:.1%}</td>"
    return f"<tr><td>{item['id']}</td>{swatch}{name}{numbers}</tr>"


def _coverage(record: Mapping[str, Any]) -> str:
    parts = [scene["coverage"] for scene in record["scenes"]]
    total = sum(part["total_px"] for part in parts)
    labelled = sum(part["labelled_px"] for part in parts)
    return f"{labelled / total:.1%} of {total:,} pixels labelled"


def _picture(path: Path, colors: Mapping[int, str]) -> str:
    """Return a label raster as an image element; pixels without a label are transparent."""
    labels = read_preview(path, SIDE)
    pixels: NDArray[np.uint8] = np.zeros((*labels.shape, 4), np.uint8)
    for number, color in colors.items():
        pixels[labels == number] = (*bytes.fromhex(color.removeprefix("#")), 255)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    data = base64.b64encode(content.getvalue()).decode()
    return f"<img alt='{escape(path.name)}' src='data:image/png;base64,{data}'>"
