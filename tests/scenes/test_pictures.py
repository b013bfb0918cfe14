"""Pictures of scenes: what tiles show, with fewer pixels."""

import numpy as np
import pytest
import rasterio

from alps_geo.scenes.grid import Window
from alps_geo.scenes.pictures import EXACT_PX, read_picture
from alps_geo.scenes.scene import open_scene
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.settings import SceneSettings

from ..conftest import draw_landscape

PIXELS = draw_landscape(900, 1200)
WHOLE = Window(0, 0, 900, 1200)


def opened(path, **options):
    scene = open_scene(str(path), SceneSettings(**options))
    return scene.with_stretch(measure_stretch([scene]))


def blocks(pixels, factor):
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    parts = pixels[: height * factor, : width * factor].reshape(
        height, factor, width, factor, *pixels.shape[2:]
    )
    return parts.astype(float).mean(axis=(1, 3))


@pytest.mark.parametrize("overviews", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_picture_is_what_tiles_show_on_average(make_scene, dtype, overviews):
    path = make_scene(PIXELS.astype(dtype) * (1 if dtype == "uint8" else 7))
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    scene = opened(path)
    assert WHOLE.height * WHOLE.width > EXACT_PX
    picture, valid = read_picture(scene, WHOLE, (90, 120))
    assert valid.all()
    seen, _ = scene.read(WHOLE)
    # The stretch cuts off before the mean here, and after it there.
    difference = np.abs(picture - blocks(seen, 10))
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 20


def test_parts_of_a_picture_lie_where_they_lie_in_the_scene(make_scene):
    scene = opened(make_scene(PIXELS))
    whole, _ = read_picture(scene, WHOLE, (90, 120))
    part, _ = read_picture(scene, Window(100, 200, 700, 800), (70, 80))
    assert np.abs(part.astype(int) - whole[10:80, 20:100]).mean() < 1
    # Small parts are read as tiles are.
    small, _ = read_picture(scene, Window(300, 400, 100, 200), (100, 200))
    assert (small == scene.read(Window(300, 400, 100, 200))[0]).all()


@pytest.mark.parametrize("how", ["nodata", "alpha", "mask", "chosen", "nan"])
def test_a_picture_knows_where_there_is_no_data(make_scene, how):
    pixels, options, profile = PIXELS.copy(), {}, {}
    hole = np.s_[200:400, 300:600]
    if how == "mask":
        path = make_scene(pixels)
        shown = np.full(pixels.shape[:2], 255, np.uint8)
        shown[hole] = 0
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(shown)
    elif how == "alpha":
        alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        alpha[hole] = 0
        path = make_scene(
            np.concatenate([pixels, alpha], axis=2), photometric="RGB", alpha="unspecified"
        )
    else:
        value = np.nan if how == "nan" else 0
        pixels = pixels.astype("float32" if how == "nan" else "uint8")
        pixels[hole] = value
        profile = {"nodata": 0} if how == "nodata" else {}
        options = {"nodata": 0} if how == "chosen" else {}
        path = make_scene(pixels, **profile)
    scene = opened(path, **options)
    _, valid = read_picture(scene, WHOLE, (90, 120))
    expected = np.ones((90, 120), bool)
    expected[20:40, 30:60] = False
    assert (valid != expected).sum() <= 2 * (20 + 30)
    assert not valid[22:38, 32:58].any()


def test_pictures_of_principal_components_and_other_pixel_sizes(make_scene):
    more = np.concatenate([PIXELS, PIXELS[..., :1] // 2 + 40], axis=2)
    for options in ({"bands": "pca"}, {"gsd": 3.0}):
        scene = (
            opened(make_scene(more, photometric="MINISBLACK"), **options)
            if ("bands" in options)
            else opened(make_scene(PIXELS, "other.tif"), **options)
        )
        grid = scene.grid.window
        shape = grid.height // 10, grid.width // 10
        if grid.height * grid.width <= EXACT_PX:
            pytest.fail("not what is to be tested")
        picture, valid = read_picture(scene, grid, shape)
        assert valid.all()
        seen = blocks(scene.read(grid)[0], 10)
        assert np.corrcoef(picture.ravel(), seen[: shape[0], : shape[1]].ravel())[0, 1] > 0.7
