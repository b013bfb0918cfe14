"""Every block at once: results do not depend on who works, or on interruptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from geopandas.testing import assert_geodataframe_equal
from scipy import ndimage

import alps_geo
from alps_geo import Run
from alps_geo.errors import Cancelled
from alps_geo.progress import NoProgress

from ..conftest import draw_landscape

SMALL = {"model": "builtin", "tile_size": 192, "overlap": 64, "n_classes": 5}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a scene of four bands, and heights in another CRS."""
    folder = tmp_path_factory.mktemp("scenes")
    pixels = draw_landscape(260, 300).transpose(2, 0, 1)
    infrared = ndimage.uniform_filter(pixels.max(0), 5)
    profile = {"driver": "GTiff", "height": 260, "width": 300, "crs": "EPSG:32640"}
    place = rasterio.Affine(2, 0, 320000, 0, -2, 2780000)
    path = folder / "land.tif"
    with rasterio.open(path, "w", **profile, count=4, dtype="uint8", transform=place) as file:
        file.write(np.concatenate([pixels, infrared[np.newaxis]]))
        file.descriptions = ("red", "green", "blue", "nir")
    heights = np.random.default_rng(0).normal(50, 9, (200, 200)).astype(np.float32)
    place = rasterio.transform.from_bounds(55.21, 25.11, 55.23, 25.13, 200, 200)
    profile |= {"height": 200, "width": 200, "crs": "EPSG:4326", "count": 1, "dtype": "float32"}
    with rasterio.open(folder / "dsm.tif", "w", **profile, transform=place) as file:
        file.write(heights, 1)
    return path


@pytest.fixture(scope="module")
def options(scene: Path) -> dict[str, object]:
    """Ask for every block that needs no download."""
    return {**SMALL, "features": f"texture+cnn+bands+raster:{scene.parent / 'dsm.tif'}"}


@pytest.fixture(scope="module")
def alone(scene: Path, options: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Label the scene in this process."""
    return alps_geo.label(scene, tmp_path_factory.mktemp("alone") / "out", **options)


def assert_same(ours: Run, theirs: Run) -> None:
    with rasterio.open(ours.label_paths[0]) as one, rasterio.open(theirs.label_paths[0]) as two:
        assert (one.read() == two.read()).all()
    assert_geodataframe_equal(ours.segments(), theirs.segments())
    assert ours.class_path.read_bytes() == theirs.class_path.read_bytes()


def test_every_block_is_there(alone: Run) -> None:
    assert [block["name"] for block in alone.record["features"]] == [
        "texture", "cnn", "bands", "raster:dsm",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"workers": 4}, {"scheduler": "local:2"}], ids=["workers", "dask"])
def test_labels_are_the_same_whoever_works(
    scene: Path, options: dict[str, object], alone: Run, tmp_path: Path, how: dict[str, object]
) -> None:
    if "scheduler" in how:
        pytest.importorskip("distributed", reason="the extra dask is not installed")
    assert_same(alps_geo.label(scene, tmp_path / "out", **options, **how), alone)


def test_a_run_that_goes_on_ends_like_one_that_was_never_stopped(
    scene: Path, options: dict[str, object], alone: Run, tmp_path: Path
) -> None:
    class Impatient(NoProgress):
        def step(self, done: int, total: int) -> None:
            if total > 1 and done == 2:
                raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        alps_geo.label(scene, tmp_path / "out", **options, progress=Impatient())
    assert_same(alps_geo.label(scene, tmp_path / "out", **options), alone)
