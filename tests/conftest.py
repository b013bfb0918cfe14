"""What tests share: small scenes made on demand, drawn objects, and the shared data folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import Phase, settings
from numpy.typing import NDArray

from alps_geo.progress import RecordedProgress

# `--hypothesis-profile quick` says that something fails, without the minutes a small case takes.
# `--hypothesis-profile many` tries five times as many cases: five minutes for tests/test_stitch.py.
# No deadline: a busy machine is no fault of what is tested.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
settings.register_profile("many", max_examples=500)
settings.register_profile("quick", phases=[Phase.explicit, Phase.reuse, Phase.generate])

ROOT = Path(__file__).resolve().parents[1]
SceneFactory = Callable[..., Path]
# numba looks for changes in the file of a function, not in those of functions compiled into it.
_SOURCES = b"".join(path.read_bytes() for path in sorted(ROOT.glob("alps_geo/models/**/*.py")))
_COMPILED = ROOT / ".pytest_cache" / f"numba-{hashlib.sha256(_SOURCES).hexdigest()[:16]}"
os.environ.setdefault("NUMBA_CACHE_DIR", str(_COMPILED))


@pytest.fixture
def make_scene(tmp_path: Path) -> SceneFactory:
    """Return a function that writes a GeoTIFF from an array and what the test names."""

    def make(
        pixels: NDArray[np.generic],
        name: str = "scene.tif",
        *,
        crs: str | None = "EPSG:32640",
        transform: Affine | None = Affine(2, 0, 320000, 0, -2, 2780000),
        **profile: object,
    ) -> Path:
        bands = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
        path = tmp_path / name
        count, height, width = bands.shape
        shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
        place = {} if transform is None else {"transform": transform}
        with rasterio.open(path, "w", driver="GTiff", crs=crs, **place, **shape, **profile) as file:
            file.write(bands)
        return path

    return make


@pytest.fixture
def progress() -> RecordedProgress:
    """Return a progress that remembers everything."""
    return RecordedProgress()


@pytest.fixture(scope="session")
def example() -> Path:
    """Return the example scene that ships with the repository."""
    return ROOT / "examples" / "dubai.tif"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real scenes, or skip where it is not at hand."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the folder of real scenes is not at hand: {folder}")
    return folder


@pytest.fixture
def landscape() -> NDArray[np.uint8]:
    """Return a 300 x 400 picture of four textured land covers, shape (300, 400, 3)."""
    return draw_landscape(300, 400)


def draw_landscape(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw fields, water, roofs and a road with noise of their own.

    Parameters
    ----------
    height, width : int
    seed : int

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
    """
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    colours = np.array([[90, 140, 60], [30, 60, 120], [190, 180, 170], [150, 70, 60]])
    noise = np.array([18, 3, 6, 10])
    cover = np.zeros((height, width), int)
    cover[cols > 0.6 * width + 20 * np.sin(rows / 25)] = 1
    cover[np.abs(rows - 0.5 * height - cols * 0.2) < 6] = 2
    cover[(rows % 60 < 22) & (cols % 70 < 30) & (cols < 0.5 * width)] = 3
    pixels = colours[cover] + rng.normal(size=(height, width, 1)) * noise[cover][:, :, np.newaxis]
    return np.clip(pixels, 1, 254).astype(np.uint8)
