"""Stretch: joint over scenes, safe for constant bands, exact for 8 bits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alps_geo.errors import ModelError
from alps_geo.scenes.stretch import Sample, Stretch


def sample(values: np.ndarray, valid: int | None = None) -> Sample:
    return Sample((values, values, values), len(values) if valid is None else valid, len(values))


def test_percentile_stretch_spans_the_2nd_to_the_98th_percentile() -> None:
    stretch = Stretch.measure("percentile", [sample(np.arange(1, 101, dtype=np.uint16))])
    assert (stretch.low[0], stretch.high[0]) == (2, 98)


def test_minmax_stretch_spans_all_values_of_all_scenes() -> None:
    samples = [sample(np.array([3.0, 5.0])), sample(np.array([-7.0, 4.0]))]
    assert Stretch.measure("minmax", samples) == Stretch("minmax", (-7.0,) * 3, (5.0,) * 3)


def test_a_scene_counts_by_its_valid_pixels_not_by_its_sample() -> None:
    dark, bright = np.full(100, 10.0), np.full(100, 90.0)
    stretch = Stretch.measure("percentile", [sample(dark, 9900), sample(bright, 100)])
    # The bright scene is 1 % of the pixels: both percentiles are dark, so the ends decide.
    assert (stretch.low[0], stretch.high[0]) == (10, 90)
    mixed = Stretch.measure("percentile", [sample(np.arange(100.0), 10**6), sample(bright, 1)])
    assert mixed.high[0] == 97


def test_a_few_objects_on_uniform_ground_still_show() -> None:
    values = np.r_[np.zeros(1000), np.full(5, 200.0)]
    assert Stretch.measure("percentile", [sample(values)]).high == (200.0,) * 3


@pytest.mark.parametrize("kind", ["percentile", "minmax"])
def test_a_constant_band_becomes_0(kind: str) -> None:
    stretch = Stretch.measure(kind, [sample(np.full(9, 7, np.int16))])
    pixels = stretch.apply(np.full((3, 2, 2), 7, np.int16), np.ones((2, 2), bool))
    assert (pixels == 0).all()


def test_no_stretch_leaves_8_bits_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    stretch = Stretch.measure("none", [])
    assert (stretch.apply(pixels, np.ones((16, 16), bool)) == np.moveaxis(pixels, 0, 2)).all()


@given(
    pixels=hnp.arrays(
        st.sampled_from(["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"]),
        (3, 4, 5),
        elements={"min_value": 0, "max_value": 100},
    ),
    valid=hnp.arrays(bool, (4, 5)),
)
def test_stretching_keeps_the_order_of_values_and_blanks_invalid_pixels(
    pixels: np.ndarray, valid: np.ndarray
) -> None:
    stretch = Stretch("minmax", (10.0,) * 3, (60.0,) * 3)
    scaled = stretch.apply(pixels, valid)
    assert scaled.dtype == np.uint8
    assert (scaled[~valid] == 0).all()
    for band in range(3):
        order = np.argsort(pixels[band][valid], kind="stable")
        assert (np.diff(scaled[..., band][valid][order].astype(int)) >= 0).all()


def test_nan_under_an_invalid_pixel_does_no_harm() -> None:
    pixels = np.array([[[np.nan, 1.0, np.inf]]] * 3, np.float32)
    scaled = Stretch("minmax", (0.0,) * 3, (1.0,) * 3).apply(
        pixels, np.array([[False, True, False]])
    )
    assert scaled[0, :, 0].tolist() == [0, 255, 0]


def test_a_stretch_survives_json() -> None:
    stretch = Stretch("percentile", (0.1, -2.5, 3e7), (1.0, 2.0, 4e7))
    assert Stretch.from_dict(json.loads(json.dumps(stretch.to_dict()))) == stretch


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"kind": "minmax", "low": [0], "high": [1, 2, 3]},
        {"kind": "minmax", "low": 1, "high": 2},
    ],
    ids=["empty", "one value", "no list"],
)
def test_a_damaged_stretch_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="a stretch needs a kind, three low and three high"):
        Stretch.from_dict(values)


def test_an_unknown_kind_of_stretch_is_refused() -> None:
    with pytest.raises(ModelError, match="not 'gamma'"):
        Stretch.from_dict({"kind": "gamma", "low": [0, 0, 0], "high": [1, 1, 1]})
