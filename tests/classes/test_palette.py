"""The palette keeps what it promises; its differences come from the recipe in scripts/."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from alps_geo.classes.palette import PALETTE, color_of, match_colors

RECIPE = Path(__file__).parents[2] / "scripts" / "make_palette.py"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_palette", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_64_colours_written_as_hex() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 64
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in PALETTE)


def test_all_colours_stay_apart(recipe: ModuleType) -> None:
    assert recipe.smallest_difference(PALETTE) >= 11.5


@pytest.mark.parametrize("vision", ["normal", "protanopia", "deuteranopia", "tritanopia"])
def test_the_first_twelve_stay_apart_for_colour_blind_readers(
    recipe: ModuleType, vision: str
) -> None:
    assert recipe.smallest_difference(PALETTE[:12], vision) >= 12


def test_simulated_colour_blindness_leaves_greys_grey_and_confuses_red_with_green(
    recipe: ModuleType,
) -> None:
    for vision in recipe.VISIONS:
        grey = recipe.see(np.full((1, 3), 0.5), vision)
        assert np.abs(grey[0, 1:]).max() < 0.5
    pair = ["#b06030", "#708030"]
    assert recipe.smallest_difference(pair, "deuteranopia") < recipe.smallest_difference(pair) / 2


def test_no_colour_looks_like_paper_ink_or_unlabelled_ground(recipe: ModuleType) -> None:
    lab = recipe.see(recipe.parse_colors(PALETTE), "normal")
    assert lab[:, 0].min() >= 28
    assert lab[:, 0].max() <= 88
    grey = recipe.see(np.array([recipe.GREY]) / 255, "normal")
    assert recipe.differences(lab, grey).min() >= 13


def test_the_recipe_orders_a_wider_spread_first(recipe: ModuleType) -> None:
    assert recipe.smallest_difference(PALETTE[:24]) >= recipe.smallest_difference(PALETTE)
    assert PALETTE[: len(recipe.FIRST)] == recipe.FIRST


def test_the_first_256_classes_have_different_colours() -> None:
    colors = [color_of(class_id) for class_id in range(256)]
    assert tuple(colors[:64]) == PALETTE
    assert len(set(colors)) == 256


@given(class_id=st.integers(0, 65535))
def test_every_class_has_a_colour_that_never_changes(class_id: int) -> None:
    assert re.fullmatch("#[0-9a-f]{6}", color_of(class_id))
    assert color_of(class_id) == color_of(class_id % 256)


def test_water_becomes_bluish_plants_greenish_and_sand_sandy(recipe: ModuleType) -> None:
    ground = np.array([[60, 80, 105], [70, 90, 55], [200, 180, 140]])  # dull, as in real scenes
    water, plants, sand = recipe.see(recipe.parse_colors(match_colors(ground)), "normal")
    assert water[2] < -5
    assert plants[1] < -5
    assert sand[2] > 5
    assert sand[0] > max(water[0], plants[0])


@given(
    ground=arrays(np.float64, st.tuples(st.integers(1, 70), st.just(3)), elements=st.floats(0, 255))
)
def test_matched_colours_differ_and_are_the_palette_s(ground: NDArray[np.float64]) -> None:
    colors = match_colors(ground)
    assert len(set(colors)) == len(colors) == len(ground)
    assert set(colors[:64]) <= set(PALETTE[:12] if len(ground) <= 8 else PALETTE)
    assert colors == match_colors(ground)
