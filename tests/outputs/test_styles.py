from xml.etree import ElementTree

import pytest

from alps_geo.classes.legend import Legend
from alps_geo.outputs.styles import (
    class_style,
    masks_style,
    parse_color,
    raster_qml,
    raster_sidecar,
    segments_style,
)

# Class 1 was merged into another one.
LEGEND = Legend(4, (0, 2, 3), {2: 'a "b" <c> & 🌳'}, {2: "#0a0b0c"})
OGC = {"sld": "http://www.opengis.net/sld", "ogc": "http://www.opengis.net/ogc"}


def test_colours_are_read_as_three_numbers():
    assert parse_color("#0a0b0c") == (10, 11, 12)


def test_the_raster_style_has_the_classes_there_are():
    entries = list(ElementTree.fromstring(raster_qml(LEGEND)).iter("paletteEntry"))
    assert [entry.get("value") for entry in entries] == ["0", "2", "3"]
    assert entries[1].get("label") == 'a "b" <c> & 🌳'


def test_categories_of_merged_classes_keep_their_place():
    root = ElementTree.fromstring(raster_sidecar(LEGEND, {0: 5, 2: 7}))
    names = [item.text for item in root.iter("Category")]
    assert names == ["class_00", None, 'a "b" <c> & 🌳', "class_03"]
    values = [[cell.text for cell in row] for row in root.iter("Row")]
    assert [row[0] for row in values] == ["0", "2", "3"]
    assert [row[2] for row in values] == ["5", "7", "0"]


def test_what_gdal_wrote_into_the_sidecar_stays():
    band = "<PAMRasterBand band='1'><UnitType>m</UnitType></PAMRasterBand>"
    present = f"<PAMDataset><SRS>WKT</SRS>{band}</PAMDataset>"
    root = ElementTree.fromstring(raster_sidecar(LEGEND, {}, present))
    assert root.findtext("SRS") == "WKT"
    assert root.findtext("PAMRasterBand/UnitType") == "m"
    assert len(root.findall("PAMRasterBand")) == 1


def test_segments_are_coloured_by_class():
    style = segments_style(LEGEND)
    root = ElementTree.fromstring(style.qml)
    renderer = root.find("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "class_id")
    categories = [(c.get("value"), c.get("label")) for c in renderer.iter("category")]
    assert categories == [("0", "class_00"), ("2", 'a "b" <c> & 🌳'), ("3", "class_03")]
    symbol = root.find(".//symbol[@name='1']/layer")
    assert symbol.find("Option/Option[@name='color']").get("value") == "10,11,12,255"
    assert symbol.find("prop[@k='color']").get("v") == "10,11,12,255"


def test_sld_rules_select_a_class_each():
    rules = ElementTree.fromstring(segments_style(LEGEND).sld).iterfind(".//sld:Rule", OGC)
    found = [
        (
            rule.findtext(".//ogc:Literal", namespaces=OGC),
            rule.findtext(".//sld:Fill/sld:CssParameter", namespaces=OGC),
        )
        for rule in rules
    ]
    assert found[1] == ("2", "#0a0b0c")
    assert len(found) == 3


@pytest.mark.parametrize("style", [class_style(LEGEND, 2), masks_style()], ids=["class", "masks"])
def test_other_layers_have_one_symbol(style):
    root = ElementTree.fromstring(style.qml)
    assert root.find("renderer-v2").get("type") == "singleSymbol"
    assert len(root.findall(".//symbol")) == 1
    assert len(ElementTree.fromstring(style.sld).findall(".//sld:Rule", OGC)) == 1
