"""How the setting `features` is taken apart; standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: How a block that is a raster begins.
RASTER = "raster:"


def split_features(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Take the blocks of features apart that + joins.

    Parameters
    ----------
    text : str
        Such as `texture+raster:dem.tif`; a + inside of a path is part of it, unless all that
        follows up to the next + is the name of a block.
    known : sequence of str
        Names of blocks.

    Returns
    -------
    tuple of str
    """
    names = "|".join(map(re.escape, ("auto", *known)))
    return tuple(re.split(rf"\+(?=(?:{names})(?:\+|$)|{RASTER})", text))


def split_raster(block: str) -> tuple[str, str]:
    """Return the name that a user gives a raster, empty where none, and its path.

    Parameters
    ----------
    block : str
        `raster:FILE` or `raster:NAME=FILE`.
    """
    given = re.fullmatch(r"(\w[\w.-]*)=(.+)", block[len(RASTER) :], re.DOTALL)
    return (given[1], given[2]) if given else ("", block[len(RASTER) :])
