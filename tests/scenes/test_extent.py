"""An area of interest saves work: what it does not touch is neither read, sampled nor written."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

from alps_geo.pipeline import classify, label
from alps_geo.planning import info
from alps_geo.scenes.rasters.raster import Raster
from alps_geo.scenes.scene import Scene, open_scene
from alps_geo.scenes.statistics import measure_stretch, valid_share
from alps_geo.settings import SceneSettings

from ..conftest import SceneFactory, draw_landscape

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "features": "texture", "n_classes": 4}
#: Rows and columns of the area, in pixels of the scene.
ROWS, COLS = slice(210, 330), slice(305, 455)


@pytest.fixture
def scene(make_scene: SceneFactory) -> Path:
    """Return a scene of 500 x 700 pixels that is bright outside of the area."""
    pixels = draw_landscape(500, 700)
    outside = np.ones((500, 700), bool)
    outside[ROWS, COLS] = False
    pixels[outside] = 255 - pixels[outside] // 4
    return make_scene(pixels, tiled=True, blockxsize=64, blockysize=64)


@pytest.fixture
def area(scene: Path, tmp_path: Path) -> str:
    """Return a file with the area's two polygons, which leave out a strip between them."""
    with rasterio.open(scene) as file:
        place = file.transform
    shapes = []
    for first, last in ((COLS.start, 370), (400, COLS.stop)):
        left, top = place * (first, ROWS.start)
        right, bottom = place * (last, ROWS.stop)
        shapes.append(shapely.box(left, bottom, right, top))
    path = tmp_path / "area.gpkg"
    geopandas.GeoSeries(shapes, crs="EPSG:32640").to_file(path)
    return str(path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    """Return the windows that are read of files, as they come."""
    seen: list[tuple[int, int, int, int]] = []
    whole = Raster.read

    def note(self: Raster, window: tuple[int, int, int, int]) -> object:
        seen.append(tuple(window))  # type: ignore[arg-type]
        return whole(self, window)  # type: ignore[arg-type]

    monkeypatch.setattr(Raster, "read", note)
    return seen


def read(path: Path) -> NDArray[np.generic]:
    with rasterio.open(path) as file:
        labels: NDArray[np.generic] = file.read(1)
        return labels


def test_only_what_the_area_touches_is_read(
    scene: Path, area: str, tmp_path: Path, reads: list[tuple[int, int, int, int]]
) -> None:
    for out, options in (("part", {}), ("whole", {"full_extent": True})):
        reads.clear()
        label(scene, tmp_path / out, aoi=area, **SMALL, **options)
        assert reads
        beyond = [
            (row, col, height, width)
            for row, col, height, width in reads
            if row < ROWS.start or row + height > ROWS.stop
            or col < COLS.start or col + width > COLS.stop
        ]  # fmt: skip
        assert beyond == []


def test_the_labels_have_the_pixels_around_the_area_and_lie_on_the_scenes_grid(
    scene: Path, area: str, tmp_path: Path
) -> None:
    outputs = label(scene, tmp_path / "out", aoi=area, **SMALL)
    with rasterio.open(scene) as whole, rasterio.open(outputs.label_paths[0]) as part:
        assert part.shape == (120, 150)
        assert part.transform.almost_equals(
            whole.window_transform(((ROWS.start, ROWS.stop), (COLS.start, COLS.stop)))
        )
    labels = read(outputs.label_paths[0])
    assert (labels[:, 65:95] == 255).all()
    assert (labels[:, :65] != 255).mean() > 0.9
    segments = geopandas.read_file(outputs.package_paths[0], layer="segments")
    inside = geopandas.read_file(area).union_all()
    assert segments.union_all().difference(inside.buffer(1e-6)).area == 0
    assert json.loads(outputs.record_path.read_text())["scenes"][0]["coverage"] is not None
    classify(tmp_path / "out", n_classes=3)
    assert read(outputs.label_paths[0]).shape == (120, 150)


def test_the_full_extent_is_the_scenes_and_holds_the_same_land_cover(
    scene: Path, area: str, tmp_path: Path
) -> None:
    part = read(label(scene, tmp_path / "part", aoi=area, **SMALL).label_paths[0])
    outputs = label(scene, tmp_path / "whole", aoi=area, full_extent=True, **SMALL)
    whole = read(outputs.label_paths[0])
    assert whole.shape == (500, 700)
    assert ((whole[ROWS, COLS] == 255) == (part == 255)).mean() > 0.97
    whole[ROWS, COLS] = 255
    assert (whole == 255).all()


def opened(scene: Path, area: str, **options: object) -> Scene:
    return open_scene(str(scene), SceneSettings(aoi=area, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("gsd", [None, 3.3, 0.9], ids=["as it is", "coarser", "finer"])
def test_pixels_do_not_depend_on_whether_the_grid_is_cut_to_the_area(
    scene: Path, area: str, gsd: float | None
) -> None:
    part, whole = opened(scene, area, gsd=gsd), opened(scene, area, gsd=gsd, full_extent=True)
    stretch = measure_stretch([part])
    assert stretch == measure_stretch([whole])
    part, whole = part.with_stretch(stretch), whole.with_stretch(stretch)
    found = whole.read(whole.grid.window)
    rows, cols = part.part.slices
    for one, other in zip(part.read(part.grid.window), found, strict=True):
        assert np.array_equal(one, other[rows, cols])
    assert valid_share(part) * part.grid.height * part.grid.width == pytest.approx(
        valid_share(whole) * whole.grid.height * whole.grid.width
    )


def test_the_stretch_is_that_of_the_area(scene: Path, area: str) -> None:
    assert max(measure_stretch([opened(scene, area)]).high) < 220
    assert max(measure_stretch([open_scene(str(scene), SceneSettings())]).high) > 240


def test_the_estimate_is_of_the_tiles_that_are_touched(scene: Path, area: str) -> None:
    options = {"aoi": area, "tile_size": 128, "overlap": 32, "model": "builtin"}
    plan = info(scene, **options)
    assert plan.tiles == 4
    assert (plan.scene["height"], plan.scene["width"]) == (120, 150)
    everything = info(scene, **options, full_extent=True)
    assert everything.seconds < 6 * plan.seconds + 0.5
