"""Parts of a page: numbers for people, encoded pictures, the line chart."""

import base64
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alps_geo.reporting.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_curve
from alps_geo.reporting.encoding import encode_labels, encode_picture
from alps_geo.reporting.facts import describe_number
from alps_geo.reporting.formats import choose_unit, show_share


def decode(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


@pytest.mark.parametrize(
    ("areas", "shown"),
    [
        ([4.5], "4.5 m²"),
        ([5_000, 9_999], "9,999 m²"),
        ([10_000], "1.00 ha"),
        ([2_058_640], "205.9 ha"),
        ([10_000_000], "10.00 km²"),
        ([5e9], "5,000.0 km²"),
        ([], "0.0 m²"),
    ],
)
def test_areas_have_the_unit_that_suits_the_largest(areas, shown):
    unit = choose_unit(areas)
    assert f"{unit.show(max(areas, default=0.0))} {unit.name}" == shown


@given(st.lists(st.floats(0, 1e12), min_size=1))
def test_what_is_there_never_looks_like_nothing(areas):
    unit = choose_unit(areas)
    for area in areas:
        assert (float(unit.show(area).lstrip("< ").replace(",", "")) == 0) == (area == 0)


@given(st.floats(0, 1))
def test_only_nothing_looks_like_nothing_and_all_like_all(share):
    text = show_share(share)
    assert (text == "0.0 %") == (share == 0)
    assert (text == "100.0 %") == (share == 1)


@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1_000, 20_000), st.integers(0, 2**32 - 1)
)
def test_pictures_keep_to_their_bytes(height, width, most, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    address = encode_picture(pixels, most)
    image = decode(address)
    assert len(base64.b64decode(address.partition(",")[2])) <= most or min(image.size) < 8
    assert encode_picture(pixels, most) == address


@given(st.integers(1, 600), st.integers(0, 2**32 - 1))
def test_label_maps_have_the_colours_of_the_classes(classes, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes + 1, (40, 50))
    colors = {number: f"#{number * 7919 % 2**24:06x}" for number in range(classes)}
    pixels = np.asarray(decode(encode_labels(labels, colors, 10**6)).convert("RGBA"))
    assert ((pixels[..., 3] == 255) == (labels < classes)).all()
    row, col = rng.integers(0, 40), rng.integers(0, 50)
    if labels[row, col] < classes:
        assert bytes(pixels[row, col, :3]).hex() == colors[int(labels[row, col])][1:]


@given(
    st.lists(st.tuples(st.integers(1, 500), st.floats(-1e6, 1e6)), max_size=30),
    st.none() | st.integers(1, 600),
)
def test_a_curve_stays_inside_of_its_axes(pairs, chosen):
    x, y = [a for a, _ in pairs], [b for _, b in pairs]
    curve = draw_curve(x, y, chosen, "k", "score")
    assert (curve is None) == (len(set(x)) < 2)
    if curve is not None:
        for across, up in curve.points:
            assert LEFT <= across <= WIDTH - RIGHT
            assert TOP <= up <= HEIGHT - BOTTOM
        assert (curve.chosen is not None) == (chosen is not None and min(x) <= chosen <= max(x))


def test_a_curve_leaves_out_what_is_not_known():
    curve = draw_curve([2, 4, 8, 16], [1.0, math.nan, None, 3.0], 4, "k", "score")
    assert len(curve.points) == 2


@pytest.mark.parametrize(
    ("found", "points", "x_name"),
    [
        ({"k": [3, 8, 40], "score": [0.5, 0.6, 0.4]}, 3, "number of classes"),
        ({"scatters": [0.05, 0.5, 5.0], "found": [18, 20, 31]}, 3, "scatter of the prior"),
        ({"segments": 40}, None, None),
    ],
)
def test_however_the_number_of_classes_was_found_it_is_told(found, points, x_name):
    record = {"k_curve": {"method": "dp", "chosen": 8, "sure": 0.0, **found}}
    told = describe_number(record)
    assert told["text"] == "8 classes were found by the method dp, 0.0 % sure."
    assert (told["curve"] and len(told["curve"].points)) == points
    assert (told["curve"] and told["curve"].x_name) == x_name
    assert describe_number({}) is None
