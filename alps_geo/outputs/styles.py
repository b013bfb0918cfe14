"""How GIS programs draw the results: styles for QGIS (QML) and others (SLD), and GDAL's own tables.

All are written as text, without QGIS; element names and properties are those of QGIS 3.22, which
later versions read too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from ..classes.exemplars import KINDS
from ..classes.legend import Legend

#: What the legend calls pixels without a class.
UNLABELLED = "unlabelled"
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_QGIS = {"version": "3.22.0", "styleCategories": "Symbology"}
_SLD = {
    "version": "1.0.0",
    "xmlns": "http://www.opengis.net/sld",
    "xmlns:ogc": "http://www.opengis.net/ogc",
}
_OUTLINE_COLOR = "#ffdd00"
#: Outlines of exemplars by kind, told apart by people who do not see red and green as others do.
EXEMPLAR_COLORS = dict(zip(KINDS, ("#00e5b0", "#ffb000", "#ff4fa3"), strict=True))
_SIGNATURE = "alps-geo, sha256 of the above: "
_NOTE_DOMAIN = "alps_geo"

# Columns of a raster attribute table: name, type and usage in GDAL's numbers.
_INTEGER, _TEXT = 0, 2
_TABLE_COLUMNS = (
    ("Value", _INTEGER, 5),
    ("Class", _TEXT, 2),
    ("Count", _INTEGER, 1),
    ("Red", _INTEGER, 6),
    ("Green", _INTEGER, 7),
    ("Blue", _INTEGER, 8),
    ("Alpha", _INTEGER, 9),
)
# And those of a published legend, where a class is of one.
_LEGEND_COLUMNS = (("Code", _TEXT, 0), ("URI", _TEXT, 0))


@dataclass(frozen=True)
class LayerStyle:
    """The style of a vector layer in both languages.

    Attributes
    ----------
    qml, sld : str
        XML for QGIS, and for other programs and servers.
    """

    qml: str
    sld: str


def parse_color(color: str) -> tuple[int, int, int]:
    """Turn `#rrggbb` into red, green and blue from 0 to 255."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def raster_qml(legend: Legend) -> str:
    """Return the QGIS style of a label raster: exactly our classes, by name."""
    root = Element("qgis", _QGIS)
    pipe = SubElement(root, "pipe")
    renderer = SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    SubElement(renderer, "rasterTransparency")
    palette = SubElement(renderer, "colorPalette")
    names, colors = legend.names, legend.colors
    for class_id in legend.ids:
        SubElement(
            palette,
            "paletteEntry",
            value=str(class_id),
            color=colors[class_id],
            alpha="255",
            label=names[class_id],
        )
    SubElement(pipe, "rasterresampler", maxOversampling="2")
    return _DOCTYPE + _to_text(root)


def sign_text(text: str) -> str:
    """Return an XML text that ends in a note of its own content; see `is_signed`."""
    return f"{text}\n<!-- {_SIGNATURE}{_digest(text)} -->\n"


def is_signed(text: str) -> bool:
    """Return whether a text is as `sign_text` made it: not changed, nor saved by other programs."""
    content, _, rest = text.rpartition(f"\n<!-- {_SIGNATURE}")
    return bool(content) and rest == f"{_digest(content)} -->\n"


def raster_sidecar(legend: Legend, counts: Mapping[int, int], present: str | None = None) -> str:
    """Return the content of `labels.tif.aux.xml`: category names and a raster attribute table.

    Parameters
    ----------
    legend : Legend
    counts : mapping of int to int
        Pixels of each class, by id.
    present : str, optional
        What GDAL itself put there, such as a CRS that GeoTIFF cannot express; it is kept.
    """
    root = ElementTree.fromstring(present) if present else Element("PAMDataset")
    band = root.find("PAMRasterBand")
    if band is None:
        band = SubElement(root, "PAMRasterBand", band="1")
    names, colors = legend.names, legend.colors
    categories = SubElement(band, "CategoryNames")
    for class_id in range(max(legend.ids, default=-1) + 1):
        # Categories are told by their place: those of merged classes stay, without a name.
        SubElement(categories, "Category").text = names.get(class_id, "")
    table = SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    more = _LEGEND_COLUMNS if legend.codes or legend.uris else ()
    for index, (name, kind, usage) in enumerate((*_TABLE_COLUMNS, *more)):
        column = SubElement(table, "FieldDefn", index=str(index))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            SubElement(column, tag).text = str(value)
    for index, class_id in enumerate(legend.ids):
        row = SubElement(table, "Row", index=str(index))
        color = parse_color(colors[class_id])
        published = (legend.codes.get(class_id, ""), legend.uris.get(class_id, ""))[: len(more)]
        cells = (class_id, names[class_id], counts.get(class_id, 0), *color, 255, *published)
        for value in cells:
            SubElement(row, "F").text = str(value)
    note = SubElement(band, "Metadata", domain=_NOTE_DOMAIN)
    SubElement(note, "MDI", key="digest").text = _table_digest(band)
    return _to_text(root) + "\n"


def merge_sidecars(ours: str, present: str) -> tuple[str, bool]:
    """Carry over what others put into a sidecar; what depends on pixels is out of date.

    Parameters
    ----------
    ours : str
        What `raster_sidecar` returned.
    present : str
        What lies there.

    Returns
    -------
    text : str
    changed : bool
        True if somebody has changed the names or the table of classes, which are ours.
    """
    try:
        older = ElementTree.fromstring(present)
    except ElementTree.ParseError:
        return ours, True
    root = ElementTree.fromstring(ours)
    mine = {(item.tag, item.get("domain")) for item in root}
    root.extend(item for item in older if (item.tag, item.get("domain")) not in mine)
    band, older_band = root.find("PAMRasterBand"), older.find("PAMRasterBand")
    if band is None or older_band is None:
        return _to_text(root) + "\n", False
    mine = {(item.tag, item.get("domain")) for item in band}
    for item in older_band:
        if item.tag == "Metadata" and item.get("domain") is None:
            for entry in [
                entry for entry in item if str(entry.get("key")).startswith("STATISTICS_")
            ]:
                item.remove(entry)
        if (item.tag, item.get("domain")) not in mine and item.tag != "Histograms":
            band.append(item)
    note = older_band.find(f"Metadata[@domain='{_NOTE_DOMAIN}']/MDI")
    changed = note is not None and note.text != _table_digest(older_band)
    return _to_text(root) + "\n", changed


def _table_digest(band: Element) -> str:
    """Return what tells category names and attribute table from others, in whatever layout."""
    names = [item.text or "" for item in band.iterfind("CategoryNames/Category")]
    fields = [item.text or "" for item in band.iterfind("GDALRasterAttributeTable/FieldDefn/Name")]
    cells = [item.text or "" for item in band.iterfind("GDALRasterAttributeTable/Row/F")]
    return _digest("\0".join([*names, "", *fields, "", *cells]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def segments_style(legend: Legend) -> LayerStyle:
    """Return the style of a layer with the column `class_id`: a colour and a name per class."""
    names, colors = legend.names, legend.colors
    root = Element("qgis", _QGIS)
    renderer = _add_renderer(root, "categorizedSymbol", attr="class_id")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for place, class_id in enumerate(legend.ids):
        SubElement(
            categories,
            "category",
            value=str(class_id),
            type="integer",
            symbol=str(place),
            label=names[class_id],
            render="true",
        )
        _add_symbol(symbols, str(place), _fill(colors[class_id]))
    rules = [(names[class_id], colors[class_id], class_id) for class_id in legend.ids]
    return LayerStyle(_finish_qml(root), _sld("segments", rules))


def class_style(legend: Legend, class_id: int) -> LayerStyle:
    """Return the style of one class's layer: its colour."""
    name, color = legend.names[class_id], legend.colors[class_id]
    root = Element("qgis", _QGIS)
    symbols = SubElement(_add_renderer(root, "singleSymbol"), "symbols")
    _add_symbol(symbols, "0", _fill(color))
    return LayerStyle(_finish_qml(root), _sld(name, [(name, color, None)]))


def masks_style() -> LayerStyle:
    """Return the style of overlapping masks: outlines only, so that all of them show."""
    root = Element("qgis", _QGIS)
    symbols = SubElement(_add_renderer(root, "singleSymbol"), "symbols")
    _add_symbol(symbols, "0", {**_fill(_OUTLINE_COLOR), "style": "no", "outline_width": "0.26"})
    return LayerStyle(_finish_qml(root), _sld("masks", [("masks", None, None)]))


def exemplars_style() -> LayerStyle:
    """Return the style of exemplars: outlines by kind, which the segments show through."""
    root = Element("qgis", _QGIS)
    renderer = _add_renderer(root, "categorizedSymbol", attr="kind")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for place, (kind, color) in enumerate(EXEMPLAR_COLORS.items()):
        about = {"type": "string", "value": kind, "label": kind, "symbol": str(place)}
        SubElement(categories, "category", {**about, "render": "true"})
        look = {**_fill(color), "style": "no", "outline_width": "0.6"}
        _add_symbol(symbols, str(place), look)
    return LayerStyle(_finish_qml(root), _sld("exemplars", [("exemplars", None, None)]))


def _fill(color: str) -> dict[str, str]:
    # QGIS takes `#rrggbbaa` for `#aarrggbb`; decimal numbers are safe.
    rgba = ",".join(str(value) for value in (*parse_color(color), 255))
    return {
        "color": rgba,
        "style": "solid",
        # An outline of the same colour: without one, light shines through between neighbours.
        "outline_color": rgba,
        "outline_style": "solid",
        "outline_width": "0.1",
        "outline_width_unit": "MM",
        "joinstyle": "bevel",
    }


def _add_renderer(root: Element, kind: str, **attributes: str) -> Element:
    plain = {"symbollevels": "0", "forceraster": "0", "enableorderby": "0"}
    return SubElement(root, "renderer-v2", {"type": kind, **plain, **attributes})


def _add_symbol(symbols: Element, name: str, properties: Mapping[str, str]) -> None:
    symbol = SubElement(
        symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0"
    )
    # Two of these names are Python's own words.
    plain = {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}  # nosec B105
    fill = SubElement(symbol, "layer", plain)
    options = SubElement(fill, "Option", type="Map")
    for key, value in properties.items():
        SubElement(options, "Option", name=key, type="QString", value=value)
    for key, value in properties.items():
        # Versions before 3.26 read these.
        SubElement(fill, "prop", k=key, v=value)


def _finish_qml(root: Element) -> str:
    SubElement(root, "blendMode").text = "0"
    SubElement(root, "layerGeometryType").text = "2"
    return _DOCTYPE + _to_text(root)


def _sld(layer: str, rules: Sequence[tuple[str, str | None, int | None]]) -> str:
    """Write rules of name, fill colour (None: outline only) and class id (None: everything)."""
    root = Element("StyledLayerDescriptor", _SLD)
    named = SubElement(root, "NamedLayer")
    SubElement(named, "Name").text = layer
    style = SubElement(SubElement(named, "UserStyle"), "FeatureTypeStyle")
    for name, color, class_id in rules:
        rule = SubElement(style, "Rule")
        SubElement(rule, "Name").text = name
        SubElement(rule, "Title").text = name
        if class_id is not None:
            equal = SubElement(SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo")
            SubElement(equal, "ogc:PropertyName").text = "class_id"
            SubElement(equal, "ogc:Literal").text = str(class_id)
        polygon = SubElement(rule, "PolygonSymbolizer")
        if color is not None:
            _add_parameter(SubElement(polygon, "Fill"), "fill", color)
        stroke = SubElement(polygon, "Stroke")
        _add_parameter(stroke, "stroke", color or _OUTLINE_COLOR)
        _add_parameter(stroke, "stroke-width", "0.4" if color else "1")
    return _to_text(root)


def _add_parameter(parent: Element, name: str, value: str) -> None:
    SubElement(parent, "CssParameter", name=name).text = value


def _to_text(root: Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")
