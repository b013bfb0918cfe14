"""The learned network: its layers are the published ones, and do not depend on how one tiles."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from alps_geo.errors import ModelError
from alps_geo.features import cnn
from alps_geo.features.cnn import CnnSource, find_weights
from alps_geo.features.efficientnet import TAPS, EfficientNetLite0
from alps_geo.features.layer_planes import STRIDE, refine
from alps_geo.scenes.grid import Window

from ..conftest import draw_landscape

#: Names of the package's weights -> timm's, for blocks that expand; the first one does not.
RENAMED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
STAGES = (1, 2, 2, 3, 3, 4, 1)
PLACES = [(stage, number) for stage, size in enumerate(STAGES) for number in range(size)]


def timm_name(name: str) -> str:
    if not name.startswith("_blocks."):
        head, rest = name.split(".")
        whole = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head"}
        return f"{ {**whole, '_bn1': 'bn2', '_fc': 'classifier'}[head] }.{rest}"
    _, number, part, rest = name.split(".")
    stage, place = PLACES[int(number)]
    return f"blocks.{stage}.{place}.{(RENAMED if int(number) else FIRST)[part]}.{rest}"


def test_layers_are_those_of_timms_efficientnet_lite0() -> None:
    timm = pytest.importorskip("timm")
    weights = torch.load(find_weights(), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    model.load_state_dict({timm_name(name): value for name, value in weights.items()})
    pixels = torch.randint(0, 256, (3, 336, 128), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        cells = model.bn1(model.conv_stem(((pixels.float() - 127) / 128)[None]))
        expected = []
        for block in (block for stage in model.blocks for block in stage):
            cells = block(cells)
            expected.append(cells[0])
    network = EfficientNetLite0(weights, torch.device("cpu"))
    found = dict(network.layers(pixels))
    assert list(found) == list(TAPS)
    for number, layer in found.items():
        channels, stride = TAPS[number]
        assert layer.shape == (channels, 336 // stride, 128 // stride)
        assert layer.numpy() == pytest.approx(expected[number].numpy(), abs=1e-3)


@pytest.mark.parametrize("factor", [2, 4])
def test_refined_cells_lie_where_the_finest_layers_do(factor: int) -> None:
    stride = STRIDE * factor
    centres = stride * torch.arange(6.0) + stride - 0.5
    planes = torch.stack([centres[:, None].expand(6, 6), centres[None].expand(6, 6)])
    finer = STRIDE * torch.arange(6.0 * factor) + STRIDE - 0.5
    known = finer.clamp_min(float(centres[0]))
    refined = refine(planes, factor)
    assert refined[0, :, 0].numpy() == pytest.approx(known.numpy())
    assert refined[1, 0].numpy() == pytest.approx(known.numpy())


@pytest.fixture(scope="module")
def source() -> CnnSource:
    """Return the source, its network loaded once."""
    return CnnSource()


def planes_at(
    source: CnnSource, pixels: NDArray[np.uint8], window: Window, places: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the planes at the cells with the given centres in the scene, less half a pixel."""
    part = np.ascontiguousarray(pixels[window.slices])
    embedding = source.embed(part, np.ones(part.shape[:2], bool), window)
    # The centre of cell 0 in the scene, less half a pixel.
    first = (
        np.array([window.row, window.col]) + np.array(embedding.origin) + (embedding.stride - 1) / 2
    )
    cells = (places - first) / embedding.stride
    assert (cells == cells.round()).all()
    rows, cols = cells.astype(int).T
    return embedding.values[:, rows, cols]


@pytest.mark.parametrize("corner", [(0, 0), (64, 128), (37, 90), (5, 16)])
def test_a_place_far_from_a_tiles_border_has_the_same_numbers_in_every_tile(
    source: CnnSource, corner: tuple[int, int]
) -> None:
    pixels = draw_landscape(520, 560)
    places = np.array([[259, 279], [263, 303], [255, 291]])
    whole = planes_at(source, pixels, Window(0, 0, 520, 560), places)
    window = Window(*corner, 520 - corner[0], 560 - corner[1])
    assert planes_at(source, pixels, window, places) == pytest.approx(whole, abs=1e-3)


def test_what_lies_under_invalid_pixels_counts_nowhere(source: CnnSource) -> None:
    pixels, valid = draw_landscape(64, 96), np.ones((64, 96), bool)
    valid[10:30, 20:70] = False
    other = np.where(valid[:, :, None], pixels, np.uint8(255))
    window = Window(0, 0, 64, 96)
    first, second = (source.embed(image, valid, window).values for image in (pixels, other))
    assert (first == second).all()


def test_threads_do_not_change_a_bit_and_are_given_back(source: CnnSource) -> None:
    pixels, valid = draw_landscape(128, 96), np.ones((128, 96), bool)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(source.embed(pixels, valid, Window(0, 0, 128, 96)).values)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert (found[0] == found[1]).all()


def test_without_the_package_of_weights_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr(resources, "files", missing)
    with pytest.raises(ModelError, match=r"is not installed; install .*or use `features=texture`"):
        find_weights()


def test_other_weights_than_the_known_ones_are_not_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"other")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match=r"missing or damaged; .*`features=texture`"):
        find_weights()


def test_the_checksum_changes_with_the_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    known = CnnSource().checksum
    assert CnnSource().checksum == known
    monkeypatch.setattr(cnn, "projection_bytes", lambda: b"other")
    assert CnnSource().checksum != known


def test_a_run_with_texture_alone_loads_no_torch(example: Path, tmp_path: Path) -> None:
    code = (
        "import sys, alps_geo; alps_geo.label(sys.argv[1], sys.argv[2], model='builtin',"
        " features='texture', gsd=8, tile_size=256, overlap=64, n_classes=3);"
        " assert 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(example), str(tmp_path / "out")], check=True, timeout=120
    )
