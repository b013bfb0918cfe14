"""Blocks of colour: found at any phase and in nothing clean, smoothed without a trace of tiles."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from scipy import ndimage

from alps_geo.errors import ReadError, RunError
from alps_geo.models.builtin.model import BuiltinModel
from alps_geo.models.masks import Embedding, Masks
from alps_geo.pipeline import label
from alps_geo.planning import info
from alps_geo.progress import RecordedProgress
from alps_geo.scenes.blocks import PERIOD, BlockGauge, Blocks, smooth_colour
from alps_geo.scenes.grid import Window
from alps_geo.scenes.scene import Scene, open_scene
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.scenes.survey import measure_blocks
from alps_geo.settings import SceneSettings, Settings
from benchmarks.seams import block_ratio

from ..conftest import SceneFactory, draw_landscape

Pixels = NDArray[np.uint8]
#: A scene, and all that it shows.
Shown = tuple[Scene, Pixels, NDArray[np.bool_]]
SIDE = 320
AT_ZERO = Blocks(PERIOD, PERIOD, 0, 0, 2.0)
#: The goal: label changes on the lines between blocks over those elsewhere.
MOST = 1.10


class BlindModel(BuiltinModel):
    """The built-in model as it was before it asked for smooth colour."""

    @property
    def follows_colour(self) -> bool:
        """Return what lets blocks through."""
        return False


class SpyModel(BlindModel):
    """Remembers what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Pixels] = []

    def segment(self, pixels: Pixels, valid: NDArray[np.bool_]) -> tuple[Masks, Embedding]:
        """Find regions, and keep the pixels."""
        self.seen.append(pixels.copy())
        return super().segment(pixels, valid)


def draw_ground(height: int, width: int, seed: int = 0) -> Pixels:
    """Draw ground whose lightness and colour change slowly, with fine texture."""
    rng = np.random.default_rng(seed)

    def field(sigma: float) -> NDArray[np.float64]:
        """Return smooth noise of variance 1."""
        smooth = ndimage.gaussian_filter(rng.normal(size=(height, width)), sigma, mode="wrap")
        return np.asarray(smooth / smooth.std(), np.float64)

    light = 120 + 22 * field(12) + 6 * field(0.7)
    blue, red = (12 * field(14) + 3 * field(4) for _ in range(2))
    bands = [light + 1.402 * red, light - 0.344 * blue - 0.714 * red, light + 1.772 * blue]
    return np.clip(np.stack(bands, axis=2), 1, 254).round().astype(np.uint8)


@cache
def compressed(quality: int = 75, side: int = SIDE, seed: int = 0, photo: str = "YCBCR") -> Pixels:
    """Return ground as JPEG gives it back, blocks beginning at row and column 0."""
    return compress(draw_ground(side, side, seed), quality, photo)


def compress(pixels: Pixels, quality: int, photo: str = "YCBCR") -> Pixels:
    """Return what JPEG makes of pixels."""
    height, width, count = pixels.shape
    shape = {"height": height, "width": width, "count": count, "dtype": "uint8"}
    options = {"compress": "JPEG", "photometric": photo, "JPEG_QUALITY": quality, "tiled": True}
    place = {"crs": "EPSG:32640", "transform": Affine(1, 0, 3e5, 0, -1, 2e6)}
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", blockxsize=256, blockysize=256, **shape, **options, **place
        ) as file:
            file.write(np.moveaxis(pixels, 2, 0))
        with memory.open() as file:
            return np.moveaxis(file.read(), 0, 2)


def find(pixels: NDArray[np.generic], known: NDArray[np.bool_] | None = None) -> Blocks | None:
    """Return the blocks of an image that is looked at in four windows."""
    known = np.ones(pixels.shape[:2], bool) if known is None else known
    gauge, bands = BlockGauge(), np.moveaxis(pixels, 2, 0)
    height, width = known.shape
    for row in (0, height // 2):
        for col in (0, width // 2):
            window = Window(row, col, height // 2, width // 2)
            rows, cols = window.slices
            gauge.add(bands[:, rows, cols], known[rows, cols], window)
    return gauge.measure()


def ready(path: Path, options: SceneSettings | None = None) -> Scene:
    """Return a scene that is read without its blocks."""
    scene = open_scene(str(path), options or SceneSettings())
    scene = scene.with_stretch(measure_stretch([scene]))
    return scene.without_blocks(measure_blocks(scene))


def read_labels(path: Path) -> NDArray[np.integer]:
    with rasterio.open(path) as file:
        labels: NDArray[np.integer] = file.read(1)
    return labels


def run(scene: Path, out: Path, model: BuiltinModel | None = None, **options: object) -> Path:
    """Label a scene with 8 classes, and return the folder."""
    chosen = {"tile_size": 192, "overlap": 64, **options}
    number = {} if "classes" in options else {"n_classes": 8}
    label(scene, out, model=model or "builtin", **chosen, **number)
    return out


def record(out: Path) -> dict[str, object]:
    facts: dict[str, object] = json.loads((out / "run.json").read_text())["scenes"][0]
    return facts


# Found


phases = st.integers(0, PERIOD - 1)


@given(phases, phases, st.sampled_from([30, 50, 75, 90, 95]), st.integers(0, 3))
def test_blocks_of_colour_are_found_at_any_phase(
    row: int, col: int, quality: int, seed: int
) -> None:
    blocks = find(compressed(quality, seed=seed)[row:, col:])
    assert blocks is not None
    assert (blocks.height, blocks.width) == (16, 16)
    assert (blocks.row, blocks.col) == (-row % PERIOD, -col % PERIOD)


@settings(max_examples=30)
@given(phases, phases)
def test_of_an_image_compressed_twice_the_later_blocks_are_found_or_the_stronger(
    row: int, col: int
) -> None:
    blocks = find(compress(np.ascontiguousarray(compressed(75)[row:, col:]), 85))
    assert blocks is not None
    assert blocks.row in (0, -row % PERIOD)
    assert blocks.col in (0, -col % PERIOD)


def test_blocks_of_an_image_at_half_its_size_have_8_pixels() -> None:
    large = compressed(60, 2 * SIDE).astype(float)
    half = large.reshape(SIDE, 2, SIDE, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    blocks = find(half)
    assert blocks is not None
    assert (blocks.height, blocks.width, blocks.row, blocks.col) == (8, 8, 0, 0)


def test_blocks_are_found_in_other_numbers_and_beside_what_holds_no_data() -> None:
    pixels = compressed(75).astype(np.uint16) * 40 + 3000
    known = np.ones(pixels.shape[:2], bool)
    known[:90], known[:, 200:] = False, False
    pixels[~known] = 0
    blocks = find(pixels, known)
    assert blocks is not None
    assert (blocks.row, blocks.col) == (0, 0)


def checkers(side: int) -> Pixels:
    """Return fields of 16 x 16 pixels in colours of their own, with noise."""
    rng = np.random.default_rng(0)
    fields = rng.integers(30, 220, (side // PERIOD, side // PERIOD, 3))
    noise = rng.normal(size=(side, side, 3)) * 4
    return (fields.repeat(PERIOD, 0).repeat(PERIOD, 1) + noise).round().astype(np.uint8)


CLEAN = {
    "ground": draw_ground(SIDE, SIDE),
    "landscape": draw_landscape(SIDE, SIDE),
    "noise": np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8),
    "noise in 16 bits": np.random.default_rng(1).integers(0, 9999, (SIDE, SIDE, 3), np.uint16),
    "doubled pixels": draw_ground(SIDE // 2, SIDE // 2).repeat(2, 0).repeat(2, 1),
    "flat": np.full((SIDE, SIDE, 3), 90, np.uint8),
    "fields without noise": checkers(SIDE) // 64 * 64,
    "grey": draw_ground(SIDE, SIDE)[..., :1].repeat(3, 2),
    "grey JPEG": compress(draw_ground(SIDE, SIDE)[..., :1], 50, "MINISBLACK").repeat(3, 2),
    "a few pixels": compressed(75)[:20, :20],
}


@pytest.mark.parametrize("name", CLEAN)
def test_clean_images_have_no_blocks(name: str) -> None:
    assert find(CLEAN[name]) is None


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(40, 330), st.integers(40, 330))
def test_no_clean_ground_or_noise_has_blocks(seed: int, height: int, width: int) -> None:
    assert find(draw_ground(height, width, seed)) is None
    assert find(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)) is None


@pytest.mark.parametrize("scene", ["neon_osbs_029", "zion_landsat8"])
def test_real_scenes_without_lossy_compression_have_no_blocks(
    shared_data: Path, scene: str
) -> None:
    assert (
        measure_blocks(open_scene(str(shared_data / scene / "image.tif"), SceneSettings())) is None
    )


@pytest.mark.parametrize("scene", ["dubai_tile2", "dubai_tile5", "kampala_drone"])
def test_real_scenes_from_jpeg_have_blocks(shared_data: Path, scene: str) -> None:
    blocks = measure_blocks(open_scene(str(shared_data / scene / "image.tif"), SceneSettings()))
    assert blocks is not None
    assert (blocks.height, blocks.width, blocks.row, blocks.col) == (16, 16, 0, 0)


# Smoothed


@given(st.data())
def test_smooth_pixels_do_not_depend_on_the_window(
    smooth_scenes: dict[float | None, Shown], data: st.DataObject
) -> None:
    scene, whole, valid = smooth_scenes[data.draw(st.sampled_from([None, 0.7, 3.0]))]
    height, width = valid.shape
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(
        row, col, data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col))
    )
    pixels, known = scene.read(window)
    assert (pixels == whole[window.slices]).all()
    assert (known == valid[window.slices]).all()


@pytest.fixture(scope="module")
def smooth_scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[float | None, Shown]:
    """Return a blocky scene with parts that hold no data, at several pixel sizes."""
    pixels = compressed(75).copy()
    pixels[:70], pixels[100:150, 40:90] = 0, 0
    path = tmp_path_factory.mktemp("smooth") / "scene.tif"
    shape = {"height": SIDE, "width": SIDE, "count": 3, "dtype": "uint8", "nodata": 0}
    place = {"crs": "EPSG:32640", "transform": Affine(1, 0, 3e5, 0, -1, 2e6)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    shown: dict[float | None, Shown] = {}
    for gsd in (None, 0.7, 3.0):
        scene = ready(path, SceneSettings(gsd=gsd))
        assert scene.blocks is not None
        shown[gsd] = scene, *scene.read(scene.grid.window)
    return shown


def test_lightness_stays_and_the_steps_of_colour_go() -> None:
    pixels = np.moveaxis(compressed(60), 2, 0)
    known = np.ones(pixels.shape[1:], bool)
    smooth = smooth_colour(pixels, known, AT_ZERO, Window(0, 0, *known.shape))
    weights = np.array([0.299, 0.587, 0.114])
    before, after = (np.tensordot(weights, each, 1) for each in (pixels, smooth))
    assert np.abs(after - before).max() < 0.01
    assert find(np.moveaxis(smooth, 0, 2)) is None


@settings(max_examples=30)
@given(phases, phases, st.sampled_from([8, 16]), st.integers(0, 40), st.integers(0, 40))
def test_pixels_away_from_the_lines_stay_as_they_are(
    row: int, col: int, size: int, top: int, left: int
) -> None:
    pixels = np.moveaxis(compressed(60), 2, 0)[:, :70, :90]
    blocks, window = Blocks(size, size, row % size, col % size, 2.0), Window(top, left, 70, 90)
    smooth = smooth_colour(pixels, np.ones((70, 90), bool), blocks, window)
    lines = [
        np.flatnonzero((np.arange(start, start + length + 1) - phase) % size == 0)
        for start, length, phase in ((top, 70, row), (left, 90, col))
    ]
    changed = (smooth != pixels).any(axis=0)
    for axis, at in enumerate(lines):
        near = np.zeros(changed.shape[axis], bool)
        for line in [*at, *(at - size), *(at + size)]:
            near[max(0, line - 3) : max(0, line + 3)] = True
        changed &= ~np.expand_dims(near, 1 - axis)
    assert not changed.any()


@settings(max_examples=30)
@given(st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_what_holds_no_data_changes_nothing_around_it(value: int, seed: int) -> None:
    pixels = np.moveaxis(compressed(75), 2, 0).copy()
    known = np.random.default_rng(seed).random(pixels.shape[1:]) < 0.8
    pixels[:, ~known] = value
    other = pixels.copy()
    other[:, ~known] = 255 - value
    one, two = (
        smooth_colour(each, known, AT_ZERO, Window(0, 0, *known.shape)) for each in (pixels, other)
    )
    assert (one[:, known] == two[:, known]).all()
    assert (one[:, ~known] == value).all()


def test_a_band_without_data_is_not_smeared_over_its_neighbours(make_scene: SceneFactory) -> None:
    pixels = compressed(75).astype(np.float32)
    pixels[150:160, 150:160, 0] = -9999
    scene = ready(make_scene(pixels, nodata=-9999))
    plain = scene.without_blocks(None)
    around = Window(140, 140, 30, 30)
    change = np.abs(scene.read(around)[0].astype(int) - plain.read(around)[0])
    assert scene.blocks is not None
    assert change.max() < 60


def test_edges_that_lightness_shows_keep_their_colour() -> None:
    pixels = np.full((3, 64, 64), 60.0)
    pixels[:, :, 32:] = np.array([200, 120, 80])[:, None, None]
    smooth = smooth_colour(pixels, np.ones((64, 64), bool), AT_ZERO, Window(0, 0, 64, 64))
    assert np.abs(smooth - pixels).max() < 8


# Whole runs


@pytest.fixture
def jpeg_scene(make_scene: SceneFactory) -> Path:
    """Return a scene that was compressed, cut at odd places and stored without loss."""
    return make_scene(compressed(60)[5:, 3:])


@pytest.fixture
def clean_scene(make_scene: SceneFactory) -> Path:
    return make_scene(draw_ground(200, 200), "clean.tif")


def test_labels_do_not_change_on_the_lines_between_blocks(jpeg_scene: Path, tmp_path: Path) -> None:
    smooth = read_labels(run(jpeg_scene, tmp_path / "smooth") / "labels.tif")
    blocky = read_labels(run(jpeg_scene, tmp_path / "blocky", BlindModel()) / "labels.tif")
    blocks = measure_blocks(open_scene(str(jpeg_scene), SceneSettings()))
    assert blocks is not None
    assert (blocks.row, blocks.col) == (11, 13)
    assert block_ratio(blocky, blocks) > 2  # the test would see them
    assert block_ratio(smooth, blocks) <= MOST


def test_a_clean_scene_is_labelled_as_if_nothing_had_been_looked_for(
    clean_scene: Path, tmp_path: Path
) -> None:
    now = run(clean_scene, tmp_path / "now")
    before = run(clean_scene, tmp_path / "before", BlindModel())
    assert (read_labels(now / "labels.tif") == read_labels(before / "labels.tif")).all()
    manifests = [json.loads((out / "run" / "manifest.json").read_text()) for out in (now, before)]
    assert manifests[0] == manifests[1]
    assert record(now)["blocks"] is None


def test_models_that_do_not_ask_see_the_pixels_as_they_are(
    jpeg_scene: Path, tmp_path: Path
) -> None:
    spy = SpyModel()
    run(jpeg_scene, tmp_path / "out", spy, stretch="none", tile_size=1024)
    assert (spy.seen[0] == compressed(60)[5:, 3:]).all()
    assert record(tmp_path / "out")["blocks"] is None


def test_blocks_are_in_the_record_and_the_run_goes_on_with_them(
    jpeg_scene: Path, tmp_path: Path
) -> None:
    out = run(jpeg_scene, tmp_path / "out")
    found = record(out)["blocks"]
    assert isinstance(found, dict)
    assert {name: found[name] for name in ("height", "width", "row", "col")} == {
        "height": 16,
        "width": 16,
        "row": 11,
        "col": 13,
    }
    before = read_labels(out / "labels.tif")
    (out / "run.json").unlink()
    sorted((out / "run" / "scene" / "tiles").glob("*.parquet"))[0].unlink()
    run(jpeg_scene, out)
    assert (read_labels(out / "labels.tif") == before).all()


def test_tiles_of_a_version_that_left_blocks_in_are_not_mixed_with_others(
    jpeg_scene: Path, tmp_path: Path
) -> None:
    out = run(jpeg_scene, tmp_path / "out", BlindModel())
    with pytest.raises(RunError, match=r"holds another run .*blocks is None there"):
        run(jpeg_scene, out)


def test_a_class_model_goes_with_the_blocks_of_the_scene_it_is_applied_to(
    jpeg_scene: Path, clean_scene: Path, tmp_path: Path
) -> None:
    clean, blocky = run(clean_scene, tmp_path / "clean"), run(jpeg_scene, tmp_path / "blocky")
    other = run(jpeg_scene, tmp_path / "one", classes=str(clean))
    assert record(other)["blocks"] == record(blocky)["blocks"]
    assert record(run(clean_scene, tmp_path / "two", classes=str(blocky)))["blocks"] is None


def test_workers_smooth_as_this_process_does(jpeg_scene: Path, tmp_path: Path) -> None:
    here, there = (run(jpeg_scene, tmp_path / str(n), workers=n) for n in (1, 2))
    assert (read_labels(here / "labels.tif") == read_labels(there / "labels.tif")).all()


def test_info_and_label_tell_of_blocks(jpeg_scene: Path, clean_scene: Path, tmp_path: Path) -> None:
    options = Settings.from_options(model="builtin", tile_size=256, overlap=64)
    assert info(jpeg_scene, settings=options).scene["blocks"] is not None
    assert info(clean_scene, settings=options).scene["blocks"] is None
    progress = RecordedProgress()
    label(jpeg_scene, tmp_path / "out", model="builtin", progress=progress)
    assert any("blocks of 16 x 16 pixels in its colour" in text for text in progress.messages)


def test_parts_that_cannot_be_read_are_left_out_where_that_is_wanted(shared_data: Path) -> None:
    scene = open_scene(str(shared_data / "odd" / "corrupt_tile.tif"), SceneSettings())
    with pytest.raises(ReadError, match="cannot read"):
        measure_blocks(scene)
    assert measure_blocks(scene, skip_unreadable=True) is not None
