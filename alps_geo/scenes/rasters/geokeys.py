"""The CRS that a GeoTIFF names by its code, read without GDAL, which may not know the code."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

#: The tag that holds the keys, and TIFF's number for unsigned shorts.
_KEYS_TAG, _SHORT = 34735, 3
#: Keys whose value is a code: of projected systems, then of geographic ones.
_CODE_KEYS = (3072, 2048)
#: Beyond this a directory is damaged.
_MOST_TAGS, _MOST_KEYS = 4096, 4096


def read_code(path: str) -> int | None:
    """Return the EPSG code that a file names as its CRS; None where it names none, or is no TIFF.

    Parameters
    ----------
    path : str
        Of a local file.
    """
    file = Path(path)
    if not file.is_file():
        return None
    try:
        with file.open("rb") as stream:
            keys = _read_keys(stream)
    except (OSError, struct.error, ValueError, OverflowError):
        return None  # GDAL says of damaged files what is wrong
    codes = [keys[name] for name in _CODE_KEYS if name in keys]
    # From 32767 on, a system is described instead of named.
    return codes[0] if codes and 1024 <= codes[0] < 32767 else None


def _read_keys(stream: BinaryIO) -> dict[int, int]:
    """Return the keys with short values."""
    order = {b"II": "<", b"MM": ">"}.get(stream.read(2))
    if order is None:
        return {}
    (version,) = struct.unpack(f"{order}H", stream.read(2))
    if version not in (42, 43):
        return {}
    big = version == 43
    stream.seek(8 if big else 4)
    (start,) = struct.unpack(f"{order}{'Q' if big else 'I'}", stream.read(8 if big else 4))
    stream.seek(start)
    (count,) = struct.unpack(f"{order}{'Q' if big else 'H'}", stream.read(8 if big else 2))
    layout = f"{order}HH{'QQ' if big else 'II'}"
    entry = stream.read(min(count, _MOST_TAGS) * struct.calcsize(layout))
    for tag, kind, number, place in struct.iter_unpack(layout, entry):
        if tag == _KEYS_TAG and kind == _SHORT:
            stream.seek(place)
            number = min(number, 4 * _MOST_KEYS) // 4 * 4
            values = struct.unpack(f"{order}{number}H", stream.read(2 * number))
            rows = [values[at : at + 4] for at in range(4, number, 4)]
            return {key: value for key, location, _, value in rows if location == 0}
    return {}
