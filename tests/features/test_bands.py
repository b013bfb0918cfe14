"""All bands as features: statistics in the scene's units, and normalised differences."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

import alps_geo
from alps_geo.errors import ModelError, ReadError, SceneError, SettingsError
from alps_geo.features.bands import open_bands, summarise
from alps_geo.features.sources import TileView
from alps_geo.models.masks import Embedding
from alps_geo.progress import RecordedProgress
from alps_geo.scenes.grid import Window
from alps_geo.scenes.scene import Scene, open_scene
from alps_geo.scenes.spans import Spans
from alps_geo.settings import SceneSettings

SceneFactory = Callable[..., Path]
NOTHING = Embedding(np.zeros((0, 1, 1), np.float32), 1, (), np.zeros(0, np.float32))
SENTINEL = [
    "B01",
    "B02",
    "B03",
    "B04",
    "B05",
    "B06",
    "B07",
    "B08",
    "B8A",
    "B09",
    "B10",
    "B11",
    "B12",
]


def describe(scene: Scene, pictures: NDArray[np.bool_], window: Window | None = None):
    """Return what the bands say of masks of a window, all of the scene if none is given."""
    window = window or scene.grid.window
    shape = window.height, window.width
    valid = np.ones(shape, bool)
    tile = TileView(scene, window, np.zeros((*shape, 3), np.uint8), valid, NOTHING)
    return open_bands([scene]).describe(tile, Spans.from_bitmaps(pictures))


def name_bands(path: Path, names: list[str]) -> Path:
    """Give bands descriptions."""
    with rasterio.open(path, "r+") as file:
        file.descriptions = names
    return path


@settings(max_examples=60)
@given(
    groups=st.lists(
        st.lists(
            st.floats(-1e6, 1e6, width=32) | st.just(np.nan) | st.sampled_from([0.0, -0.0, 7.0]),
            min_size=1, max_size=9,
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_groups_are_summarised_as_one_by_one(groups: list[list[float]]) -> None:
    found, known = summarise(np.concatenate(groups), np.array([len(group) for group in groups]))
    for row, there, group in zip(found, known, groups, strict=True):
        values = np.array([value for value in group if not np.isnan(value)])
        assert there == (len(values) > 0)
        if there:
            expected = [values.mean(), values.std(), *np.percentile(values, [10, 90])]
            assert row == pytest.approx(expected, rel=1e-5, abs=1e-3)


def test_thirteen_bands_of_sentinel_2_have_statistics_and_differences(
    make_scene: SceneFactory, progress: RecordedProgress
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 9000, (20, 30, 13)).astype(np.uint16)
    scene = open_scene(str(name_bands(make_scene(pixels), SENTINEL)), SceneSettings())
    pictures = rng.random((4, 20, 30)) < 0.3
    found = describe(scene, pictures)
    columns = dict(zip(found.names, found.values.T, strict=True))
    assert len(found.names) == 13 * 4 + 6 == len(found.weights)
    for band, name in enumerate(SENTINEL):
        values = [pixels[..., band][picture] for picture in pictures]
        assert columns[f"{name}.mean"] == pytest.approx([v.mean() for v in values])
        assert columns[f"{name}.deviation"] == pytest.approx([v.std() for v in values])
        assert columns[f"{name}.p10"] == pytest.approx([np.percentile(v, 10) for v in values])
        assert columns[f"{name}.p90"] == pytest.approx([np.percentile(v, 90) for v in values])
    nir, red = columns["B08.mean"], columns["B04.mean"]
    assert columns["ndvi"] == pytest.approx((nir - red) / (nir + red), rel=1e-4)
    swir = columns["B11.mean"]
    assert columns["ndbi"] == pytest.approx((swir - nir) / (swir + nir), rel=1e-4)
    open_bands([scene]).tell(scene, progress)
    assert "13 bands (B01 = coastal, B02 = blue" in progress.messages[0]
    assert "normalised differences: ndvi, ndwi, ndbi, mndwi, nbr, ndre" in progress.messages[0]


def test_a_mask_has_the_same_row_in_every_tile_that_sees_it_whole(make_scene: SceneFactory) -> None:
    rng = np.random.default_rng(0)
    scene = open_scene(str(make_scene(rng.normal(size=(60, 60, 5)))), SceneSettings())
    picture = np.zeros((60, 60), bool)
    picture[20:40, 20:40] = rng.random((20, 20)) < 0.5
    windows = Window(0, 0, 60, 60), Window(10, 0, 40, 41), Window(19, 20, 41, 40)
    rows = [describe(scene, picture[w.slices][np.newaxis], w).values for w in windows]
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


def test_a_gap_of_one_band_is_none_of_the_others(make_scene: SceneFactory) -> None:
    pixels = np.full((16, 16, 4), 5, np.float32)
    pixels[..., 3] = np.arange(16)
    pixels[:8, :, 3] = -9999
    pixels[8, :, 3] = np.nan
    scene = open_scene(str(make_scene(pixels, nodata=-9999)), SceneSettings())
    pictures = np.zeros((2, 16, 16), bool)
    pictures[0, 6:10, 3:6] = pictures[1, :4] = True
    columns = dict(zip((found := describe(scene, pictures)).names, found.values.T, strict=True))
    assert columns["band_1.mean"] == pytest.approx([5, 5])
    assert columns["band_4.mean"] == pytest.approx([4, 7.5])  # the second has nothing: the usual
    assert columns["band_4.deviation"] == pytest.approx([np.std([3, 4, 5]), 0])


def test_values_are_resampled_with_the_grid_and_scaled_as_the_file_says(
    make_scene: SceneFactory,
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 1000, (40, 40, 4)).astype(np.uint16)
    path = make_scene(pixels)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.01,) * 4, (-1.0,) * 4
    scene = open_scene(str(path), SceneSettings(gsd=scene_gsd(path) * 4))
    picture = np.zeros((1, 10, 10), bool)
    picture[0, 2:5, 3:9] = True
    found = describe(scene, picture)
    expected = pixels[8:20, 12:36].mean(axis=(0, 1)) * 0.01 - 1
    assert found.values[0, ::4] == pytest.approx(expected, rel=1e-5)


def scene_gsd(path: Path) -> float:
    """Return the pixel size on the ground."""
    return open_scene(str(path), SceneSettings()).grid.pixel_size_m


def test_four_bands_that_are_named_count_and_the_first_three_make_the_picture(
    make_scene: SceneFactory,
) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (32, 32, 5)).astype(np.uint8)
    path = make_scene(pixels)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:4], ColorInterp.alpha]
    scene = open_scene(str(path), SceneSettings(bands=(5, 2, 1, 3)))
    assert scene.bands == (5, 2, 1)
    assert any("flagged as alpha, but chosen in `bands`" in text for text in scene.messages)
    found = describe(scene, np.ones((1, 32, 32), bool))
    assert [name for name in found.names if "mean" in name] == [
        "band_5.mean", "band_2.mean", "band_1.mean", "band_3.mean",
    ]  # fmt: skip
    all_of_them = open_bands([open_scene(str(path), SceneSettings(bands=(3, 2, 1)))])
    assert len(all_of_them.bands) == 5


@pytest.mark.parametrize("bands", [(1, 2), (1, 2, 3, 3)])
def test_bands_that_cannot_be_chosen_are_refused(bands: tuple[int, ...]) -> None:
    with pytest.raises(SettingsError, match="`bands` must name"):
        SceneSettings(bands=bands)


def test_scenes_with_other_bands_are_refused_together(make_scene: SceneFactory) -> None:
    three = open_scene(str(make_scene(np.ones((8, 8, 3), np.uint8), "a.tif")), SceneSettings())
    five = open_scene(str(make_scene(np.ones((8, 8, 5), np.uint8), "b.tif")), SceneSettings())
    with pytest.raises(SceneError, match=r"b\.tif: has other bands"):
        open_bands([three, five])


def test_the_checksum_tells_bands_and_units_and_travels(make_scene: SceneFactory) -> None:
    pixels = np.ones((8, 8, 4), np.uint16)
    plain = open_bands([open_scene(str(make_scene(pixels, "a.tif")), SceneSettings())])
    same = open_bands([open_scene(str(make_scene(2 * pixels, "b.tif")), SceneSettings())])
    path = make_scene(pixels, "c.tif")
    with rasterio.open(path, "r+") as file:
        file.units = ("reflectance",) * 4
    other = open_bands([open_scene(str(path), SceneSettings())])
    fewer = open_bands([open_scene(str(make_scene(pixels[..., :3], "d.tif")), SceneSettings())])
    assert plain.checksum == same.checksum
    assert len({plain.checksum, other.checksum, fewer.checksum}) == 3
    assert pickle.loads(pickle.dumps(plain)) == plain


def test_an_imaging_spectrometer_has_means_only(make_scene: SceneFactory) -> None:
    pixels = np.random.default_rng(0).normal(size=(8, 8, 40)).astype(np.float32)
    found = describe(open_scene(str(make_scene(pixels)), SceneSettings()), np.ones((1, 8, 8), bool))
    assert found.values[0] == pytest.approx(pixels.mean(axis=(0, 1)), abs=1e-5)


@pytest.mark.parametrize("count", [1, 4, 13])
def test_scenes_of_any_number_of_bands_are_labelled_without_an_option(
    make_scene: SceneFactory, tmp_path: Path, count: int
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 110, (96, 96, count)).astype(np.uint16)
    pixels[::16] = pixels[:, ::16] = 200
    pixels[:, 48:, -1] += 900
    options = {"model": "builtin", "n_classes": 3, "tile_size": 64, "overlap": 16}
    path = make_scene(pixels)
    out = alps_geo.label(path, tmp_path / "one", features="texture+bands", **options)
    two = alps_geo.label(path, tmp_path / "two", features="texture+bands", workers=2, **options)
    assert out.class_path.read_bytes() == two.class_path.read_bytes()
    if count == 4:
        # What only the last band tells.
        with rasterio.open(out.label_paths[0]) as file:
            labels = file.read(1)
        halves = labels[:, 2:46], labels[:, 50:]
        left, right = (np.bincount(half[half < 3], minlength=3) for half in halves)
        assert right[left.argmax()] == left[right.argmax()] == 0
    with pytest.raises(ModelError, match=r"with features 'texture\+bands', not 'texture'"):
        alps_geo.label(
            path, tmp_path / "three", model="builtin", classes=out.class_path, features="texture"
        )


def test_a_tile_of_which_a_band_cannot_be_read_is_named_or_left_out(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(90, 110, (128, 128, 5)).astype(np.uint8)
    pixels[::16] = pixels[:, ::16] = 200
    path = make_scene(pixels, interleave="band", tiled=True, blockxsize=64, blockysize=64)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 64 * 64)  # the last block of the last band
    options = {
        "model": "builtin", "n_classes": 2, "tile_size": 64, "overlap": 0, "bands": (1, 2, 3),
        "features": "texture+bands",
    }  # fmt: skip
    with pytest.raises(ReadError, match=r"tile \S+: .*scene\.tif: cannot read"):
        alps_geo.label(path, tmp_path / "out", **options)
    run = alps_geo.label(path, tmp_path / "out", skip_unreadable=True, **options)
    with rasterio.open(run.label_paths[0]) as file:
        labels = file.read(1)
    assert (labels[64:, 64:] == 255).all()
    assert (labels[:64] != 255).mean() > 0.9
