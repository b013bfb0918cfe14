"""Pictures as part of a page: encoded into so many bytes at most, the same bytes every time."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..outputs.styles import parse_color

_QUALITIES = (82, 70, 55)
_SHRINK = 0.75


def encode_picture(pixels: NDArray[np.uint8], most_bytes: int) -> str:
    """Return a picture as the address of a JPEG.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    most_bytes : int
        Of the JPEG; a picture that needs more is made coarser, then smaller.
    """
    image = Image.fromarray(pixels)
    while True:
        for quality in _QUALITIES:
            content = io.BytesIO()
            image.save(content, "JPEG", quality=quality, optimize=True)
            if content.tell() <= most_bytes or min(image.size) < 8:
                return _address("jpeg", content)
        image = image.resize(_smaller(image), Image.Resampling.BOX)


def encode_labels(labels: NDArray[np.integer], colors: Mapping[int, str], most_bytes: int) -> str:
    """Return a label map as the address of a PNG; what has no colour is transparent.

    Parameters
    ----------
    labels : ndarray of int, shape (height, width)
        Class ids; negative ones have no colour.
    colors : mapping of int to str
        `#rrggbb` by class id.
    most_bytes : int
        Of the PNG; a map that needs more is made smaller.
    """
    image = _paint(labels, colors)
    while True:
        content = io.BytesIO()
        image.save(content, "PNG")
        if content.tell() <= most_bytes or min(image.size) < 8:
            return _address("png", content)
        image = image.resize(_smaller(image), Image.Resampling.NEAREST)


def _paint(labels: NDArray[np.integer], colors: Mapping[int, str]) -> Image.Image:
    """Return the map with a palette where 255 colours are enough, which is the smaller file."""
    known = {number: bytes(parse_color(color)) for number, color in colors.items()}
    present = [number for number in np.unique(labels).tolist() if number in known]
    # The last entry is that of negative numbers.
    table = np.zeros((int(labels.max(initial=0)) + 2, 4), np.uint8)
    labels = np.where(labels < 0, len(table) - 1, labels)
    if len(present) > 255:
        for number in present:
            table[number] = (*known[number], 255)
        return Image.fromarray(table[labels])
    places = np.zeros(len(table), np.uint8)
    places[present] = np.arange(1, len(present) + 1)
    image = Image.fromarray(places[labels])
    image.putpalette(b"\0\0\0" + b"".join(known[number] for number in present))
    image.info["transparency"] = 0
    return image


def _smaller(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return max(1, int(width * _SHRINK)), max(1, int(height * _SHRINK))


def _address(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
