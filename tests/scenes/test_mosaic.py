"""After a failed read nothing is served as zeros: mosaics with missing and damaged sources."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from alps_geo.errors import ReadError
from alps_geo.pipeline import label
from alps_geo.scenes.grid import Window
from alps_geo.scenes.rasters.mosaic import Box
from alps_geo.scenes.scene import Scene, open_scene
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.settings import SceneSettings

PLACES = {"nw": (0, 0), "ne": (0, 100), "sw": (100, 0), "se": (100, 100)}
#: Windows that overlap, some of them twice: what one read left behind, the next would see.
WINDOWS = [
    Window(row, col, height, width)
    for row, col in itertools.product((0, 50, 100), repeat=2)
    for height, width in ((100, 100), (64, 64), (100, 100))
]


def write_source(path: Path, row: int, col: int) -> None:
    rng = np.random.default_rng(row + 7 * col)
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=100, width=100, dtype="uint8",
        crs="EPSG:32640", transform=Affine(2, 0, 320000 + 2 * col, 0, -2, 2780000 - 2 * row),
        tiled=True, blockxsize=64, blockysize=64, compress="deflate",
    ) as file:  # fmt: skip
        file.write(rng.integers(50, 200, (3, 100, 100), dtype=np.uint8))


def write_mosaic(
    path: Path, sources: Iterable[tuple[str, tuple[int, int], int]], side: int = 200
) -> Path:
    """Write a VRT of square sources: name, row and column in the mosaic, side."""
    listed = list(sources)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SourceProperties RasterXSize="{own}" RasterYSize="{own}" DataType="Byte"'
            f' BlockXSize="64" BlockYSize="64"/>'
            f'<SrcRect xOff="0" yOff="0" xSize="{own}" ySize="{own}"/>'
            f'<DstRect xOff="{col}" yOff="{row}" xSize="{own}" ySize="{own}"/></SimpleSource>'
            for name, (row, col), own in listed
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32640</SRS>'
        f"<GeoTransform>320000,2,0,2780000,0,-2</GeoTransform>{bands}</VRTDataset>"
    )
    return path


@pytest.fixture(params=["plain", "nested", "nested twice"])
def mosaic(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a mosaic of four images, as it is, or inside of others."""
    for name, place in PLACES.items():
        write_source(tmp_path / f"{name}.tif", *place)
    path = write_mosaic(
        tmp_path / "plain.vrt", [(f"{name}.tif", place, 100) for name, place in PLACES.items()]
    )
    if request.param != "plain":
        path = write_mosaic(tmp_path / "nested.vrt", [("plain.vrt", (0, 0), 200)])
    if request.param == "nested twice":
        path = write_mosaic(tmp_path / "twice.vrt", [("nested.vrt", (0, 0), 200)])
    return path


def fail(path: Path, *, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "text":
        path.write_text("no raster any more")
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = b"\x55" * (len(content) - len(content) // 2)
        path.write_bytes(content)


def read_all(scene: Scene, windows: Iterable[Window]) -> list[tuple[Window, np.ndarray | None]]:
    found: list[tuple[Window, np.ndarray | None]] = []
    for window in windows:
        try:
            found.append((window, scene.read_values(window)[0]))
        except ReadError:
            found.append((window, None))
    return found


def touches_ne(window: Window) -> bool:
    return window.row < 100 and window.col_stop > 100


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_missing_source_should_fill_is_an_error_every_time(mosaic: Path, order: int) -> None:
    whole = open_scene(str(mosaic), SceneSettings()).read_values(Window(0, 0, 200, 200))[0]
    (mosaic.parent / "ne.tif").unlink()
    for _ in range(2):  # opened anew, in the same process
        scene = open_scene(str(mosaic), SceneSettings())
        for window, pixels in read_all(scene, WINDOWS[::order] * 2):
            assert (pixels is None) == touches_ne(window), window
            if pixels is not None:
                assert (pixels == whole[(slice(None), *window.slices)]).all()


def test_threads_do_not_see_zeros_either(mosaic: Path) -> None:
    (mosaic.parent / "ne.tif").unlink()
    scene = open_scene(str(mosaic), SceneSettings())
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda window: read_all(scene, [window])[0], WINDOWS * 4))
    assert all((pixels is None) == touches_ne(window) for window, pixels in parts)


def test_a_source_that_is_put_back_is_read(mosaic: Path) -> None:
    source = mosaic.parent / "ne.tif"
    whole = Window(0, 0, 200, 200)
    before = open_scene(str(mosaic), SceneSettings())
    pixels, content = before.read_values(whole)[0], source.read_bytes()
    source.unlink()
    lacking = open_scene(str(mosaic), SceneSettings())
    assert read_all(lacking, [whole, whole]) == [(whole, None)] * 2
    assert lacking.fingerprint != before.fingerprint
    source.write_bytes(content)
    after = open_scene(str(mosaic), SceneSettings())
    assert (after.read_values(whole)[0] == pixels).all()
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize("how", ["missing", "text", "damaged"])
def test_no_failed_read_leaves_zeros_behind(mosaic: Path, how: str) -> None:
    fail(mosaic.parent / "ne.tif", how=how)
    for _ in range(2):
        scene = open_scene(str(mosaic), SceneSettings())
        for _, pixels in read_all(scene, WINDOWS * 2):
            assert pixels is None or pixels.min() >= 50


def test_a_missing_source_is_named_with_what_to_do(mosaic: Path) -> None:
    (mosaic.parent / "ne.tif").unlink()
    scene = open_scene(str(mosaic), SceneSettings())
    said = r"vrt: cannot read 9 x 9 pixels from row 0, column 150: .*ne\.tif, which the mosaic"
    with pytest.raises(ReadError, match=said + " is made of, is not there; put it back") as error:
        scene.read_values(Window(0, 150, 9, 9))
    assert "damaged" not in str(error.value)


def test_a_source_that_vanishes_later_is_named(mosaic: Path) -> None:
    scene = open_scene(str(mosaic), SceneSettings())
    (mosaic.parent / "ne.tif").unlink()
    with pytest.raises(ReadError, match=r"ne\.tif, which the mosaic is made of, is not there"):
        scene.read_values(Window(0, 150, 9, 9))


def test_missing_pixels_are_neither_stretched_nor_labelled_nor_counted(
    mosaic: Path, tmp_path: Path
) -> None:
    (mosaic.parent / "ne.tif").unlink()
    scene = open_scene(str(mosaic), SceneSettings(stretch="minmax"))
    assert min(measure_stretch([scene], skip_unreadable=True).low) >= 50
    outputs = label(
        mosaic, tmp_path / "out", model="builtin", tile_size=64, overlap=16, n_classes=2,
        skip_unreadable=True, features="texture",
    )  # fmt: skip
    with rasterio.open(outputs.label_paths[0]) as file:
        pixels = file.read(1)
    # Tiles of 64 with cores of 48: those that see the missing quarter stay unlabelled whole.
    assert (pixels[:100, 100:] == 255).all()
    assert (pixels[100:, :] != 255).any()
    coverage = json.loads(outputs.record_path.read_text())["scenes"][0]["coverage"]
    assert sum(coverage[f"{name}_px"] for name in ("labelled", "no_mask", "gated")) <= 30000


def test_a_damaged_file_is_an_error_every_time(tmp_path: Path) -> None:
    write_source(tmp_path / "one.tif", 0, 0)
    fail(tmp_path / "one.tif", how="damaged")
    scene = open_scene(str(tmp_path / "one.tif"), SceneSettings())
    first, second = (read_all(scene, WINDOWS[:6]) for _ in range(2))
    assert [pixels is None for _, pixels in first] == [pixels is None for _, pixels in second]
    assert any(pixels is None for _, pixels in first)
    assert all(pixels is None or pixels.min() >= 50 for _, pixels in first + second)


sizes = st.integers(1, 500)


@given(row=sizes, height=sizes, scale=st.sampled_from([0.5, 1, 2, 3]), shift=sizes)
def test_a_box_goes_where_its_source_goes(row: int, height: int, scale: float, shift: int) -> None:
    source = Box(0, 0, 1000, 1000)
    target = Box(shift, shift, shift + 1000 * scale, shift + 1000 * scale)
    shown = Box(row, row, row + height, row + height).shown_in(source, target)
    assert shown.row <= shift + row * scale
    assert shown.row_stop >= min(shift + (row + height) * scale, target.row_stop)
    if scale == 1:
        assert (shown.row, shown.row_stop) == (shift + row, shift + row + height)
