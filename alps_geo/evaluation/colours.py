"""What values and colours of a reference raster are called, and colours as classes.

GDAL keeps names of values beside a raster, as category names or in an attribute table
(`.aux.xml`), and so does Esri (`.vat.dbf`); rasterio has no call for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ..errors import ReferenceDataError

#: More colours than this are no classes.
MAX_COLOURS = 256
#: What GDAL's attribute tables say that a column is for: value or lower end of it, name, colours.
VALUE_USES, NAME_USE, COLOUR_USES = ("5", "3"), "2", ("6", "7", "8")
#: What Esri's attribute tables call the column of names.
NAME_COLUMNS = ("class_name", "classname", "class", "name", "label", "category")


@dataclass(frozen=True)
class Names:
    """What values and colours of a raster are called.

    Attributes
    ----------
    values : mapping of int to str
    colours : mapping of (int, int, int) to str
        By red, green and blue, from 0 to 255.
    """

    values: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[tuple[int, int, int], str] = field(default_factory=dict)


@dataclass
class ColourClasses:
    """Classes that are colours, numbered as they come.

    Attributes
    ----------
    path : str
    names : mapping of (int, int, int) to str
    """

    path: str
    names: Mapping[tuple[int, int, int], str]
    _codes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the table from colours to numbers, one entry for each colour there is."""
        self._numbers = np.full(2**24, -1, np.int16)

    def number(self, pixels: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number of each pixel's colour, shape (height, width).

        Parameters
        ----------
        pixels : ndarray of uint8, shape (3, height, width)
        known : ndarray of bool, shape (height, width)
            Other pixels have no colour that counts.

        Raises
        ------
        ReferenceDataError
            If there are too many colours for classes.
        """
        red, green, blue = pixels.astype(np.int32)
        codes = np.where(known, red << 16 | green << 8 | blue, -1)
        new = np.unique(codes[known & (self._numbers[codes] < 0)])
        if len(self._codes) + len(new) > MAX_COLOURS:
            raise ReferenceDataError(
                f"{self.path} has more than {MAX_COLOURS} colours, which are no classes: it is a"
                " photograph, or a mask that was compressed with loss (JPEG) or smoothed; give a"
                " mask with one colour per class, or class numbers in one band"
            )
        self._numbers[new] = np.arange(len(self._codes), len(self._codes) + len(new))
        self._codes += new.tolist()
        return np.where(known, self._numbers[codes], 0).astype(np.int64)

    def class_name(self, number: int) -> str:
        """Return what a colour is called, else `#rrggbb`."""
        code = self._codes[number]
        return self.names.get((code >> 16, code >> 8 & 255, code & 255), f"#{code:06x}")


def read_names(path: str) -> Names:
    """Read what lies beside a raster and names its values; nothing where there is nothing."""
    try:
        root = ElementTree.parse(f"{path}.aux.xml").getroot()
    except (OSError, ElementTree.ParseError):
        return Names(_esri_names(path))
    names, colours = _attribute_table(root)
    categories = root.findall("PAMRasterBand[1]/CategoryNames/*")
    named = {at: item.text for at, item in enumerate(categories) if item.text}
    return Names(named or names or _esri_names(path), colours)


def _attribute_table(
    root: ElementTree.Element,
) -> tuple[dict[int, str], dict[tuple[int, int, int], str]]:
    """Return names by value and by colour from GDAL's attribute table of the first band."""
    table = root.find("PAMRasterBand[1]/GDALRasterAttributeTable")
    if table is None:
        return {}, {}
    uses = {
        definition.findtext("Usage", ""): int(definition.get("index", at))
        for at, definition in enumerate(table.findall("FieldDefn"))
    }
    at_value = next((uses[use] for use in VALUE_USES if use in uses), None)
    at_name, at_colour = uses.get(NAME_USE), [uses.get(use) for use in COLOUR_USES]
    values: dict[int, str] = {}
    colours: dict[tuple[int, int, int], str] = {}
    for row in table.findall("Row"):
        cells = [cell.text or "" for cell in row.findall("F")]
        name = "" if at_name is None or at_name >= len(cells) else cells[at_name].strip()
        if not name:
            continue
        if at_value is not None and _is_whole(cells[at_value]):
            values[int(float(cells[at_value]))] = name
        shown = [cells[at] for at in at_colour if at is not None]
        if len(shown) == 3 and all(map(_is_whole, shown)):
            red, green, blue = (int(float(cell)) for cell in shown)
            colours[red, green, blue] = name
    return values, colours


def _is_whole(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False


def _esri_names(path: str) -> dict[int, str]:
    """Return names by value from the table that Esri writes beside a raster."""
    import pyogrio

    if not Path(f"{path}.vat.dbf").is_file():
        return {}
    try:
        table = pyogrio.read_dataframe(f"{path}.vat.dbf")
    except pyogrio.errors.DataSourceError:
        return {}
    columns = {str(column).lower(): column for column in table.columns}
    name = next((columns[known] for known in NAME_COLUMNS if known in columns), None)
    if name is None or "value" not in columns:
        return {}
    pairs = zip(table[columns["value"]], table[name], strict=True)
    return {
        int(value): text.strip() for value, text in pairs if isinstance(text, str) and text.strip()
    }
