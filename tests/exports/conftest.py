"""Finished runs to export."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

import alps_geo
from alps_geo import Run

from ..conftest import draw_landscape

SMALL = {
    "model": "builtin", "features": "texture", "tile_size": 192, "overlap": 64, "n_classes": 5,
}  # fmt: skip


def write_scene(path: Path, *, seed: int = 0, x: float = 320000.0, crs: str | None = "EPSG:32640"):
    """Write a drawn scene of 220 x 260 pixels."""
    place = rasterio.Affine(2, 0, x, 0, -2, 2780000)
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=220, width=260, dtype="uint8", crs=crs,
        transform=place,
    ) as file:  # fmt: skip
        file.write(draw_landscape(220, 260, seed).transpose(2, 0, 1))
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Label two scenes side by side in one run."""
    folder = tmp_path_factory.mktemp("exported")
    scenes = [
        write_scene(folder / "east.tif", x=320520.0),
        write_scene(folder / "west.tif", seed=3),
    ]
    return alps_geo.label(scenes, folder / "out", **SMALL)
