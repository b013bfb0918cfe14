"""What SAM does on a GPU: tried on a CPU's tensors, and on a GPU where there is one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from torch.utils._python_dispatch import TorchDispatchMode

from alps_geo.models.sam import decoder, encoder, pixels, search, upscaling
from alps_geo.models.sam.generator import MaskGenerator
from alps_geo.models.sam.image_tokens import OwnImage
from alps_geo.models.sam.lanes import Workspace
from alps_geo.models.sam.pixels import EnlargedPixels
from alps_geo.models.sam.upscaling import BatchUpscaling, Upscaling
from alps_geo.scenes.spans import Spans

from .sam_models import LENIENT, make_image, make_sam
from .test_sam_generator import assert_same
from .test_sam_parts import enlarge

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
        ],
    ),
]
#: As of a GPU: how modules of SAM learn whether they run on a CPU.
AS_ON_A_GPU = "".join(
    f"from alps_geo.models.sam import {name}; {name}.runs_in_lanes = lambda device: False\n"
    for name in ("decoder", "encoder", "search")
)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    for module in (decoder, encoder, search):
        monkeypatch.setattr(module, "runs_in_lanes", lambda device: False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((256, 256), {}),
        ((200, 150), {}),
        ((90, 400), {"points_per_batch": 5}),
        ((31, 33), {}),
        ((256, 256), {"stability_score_thresh": 0.0}),
        ((256, 200), {"crop_n_layers": 1, "points_per_side": 3}),
        ((256, 256), {"box_nms_thresh": 0.7, "crop_nms_thresh": 0.7}),
    ],
    ids=str,
)
def test_masks_of_a_gpu_are_the_originals(as_on_a_gpu, device, size, options):
    sam, image = make_sam().to(device), make_image(*size)
    chosen = {**LENIENT, **options}
    original = SamAutomaticMaskGenerator(sam, **chosen).generate(image)
    assert_same(MaskGenerator(sam, **chosen).generate(image), original)


@pytest.mark.parametrize("device", DEVICES)
def test_a_gpu_skips_points_that_masks_cover_as_a_cpu_does(as_on_a_gpu, monkeypatch, device):
    image = make_image(256, 256)
    ours = MaskGenerator(make_sam().to(device), **LENIENT, adaptive=True).generate(image)
    monkeypatch.undo()
    assert_same(ours, MaskGenerator(make_sam(), **LENIENT, adaptive=True).generate(image))


@pytest.mark.parametrize("device", DEVICES)
def test_no_masks_on_a_gpu_are_an_empty_list(as_on_a_gpu, device):
    generator = MaskGenerator(make_sam().to(device), points_per_side=2, pred_iou_thresh=99)
    assert generator.generate(make_image(64, 64)) == []


def test_masks_are_found_on_a_gpu_without_loading_numba():
    code = f"""
import sys
{AS_ON_A_GPU}
from alps_geo.models.sam import MaskGenerator
from tests.models.sam_models import LENIENT, make_image, make_sam
assert MaskGenerator(make_sam(), **{LENIENT}).generate(make_image(64, 64))
print(*[name for name in sys.modules if name in ("numba", "llvmlite") or ".sam.cpu" in name])
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert (result.returncode, result.stdout.split()) == (0, []), result.stderr


def test_a_gpu_takes_no_steps_for_every_prompt(as_on_a_gpu):
    sam, image = make_sam(), make_image(64, 64)
    steps = []
    for side in (4, 8):
        generator = MaskGenerator(sam, **{**LENIENT, "points_per_side": side})
        generator.batch.size = 64
        with Steps() as counted:
            generator.generate(image)
        steps.append(counted.number)
    # Most are launches, which take a GPU as long as a good deal of arithmetic: a prompt's own
    # upscaling would be 20 steps.
    assert steps[1] - steps[0] < 5 * (64 - 16)


class Steps(TorchDispatchMode):
    """Counts what PyTorch would launch on a GPU."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


@settings(max_examples=20)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    seed=st.integers(0, 99),
    together=st.integers(1, 3),
)
def test_pixels_are_those_of_the_enlarged_logits(height, width, seed, together):
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(4, 64, 64)), (0, 3, 3))
    logits = torch.from_numpy((8 * noise / noise.std()).astype(np.float32))
    logits[0] += 30 * rng.choice([-1, 0, 1])
    used = tuple(max(1, int(side * 256 / max(height, width) + 0.5)) for side in (height, width))
    values = enlarge(logits, 256, used, (height, width))
    with pytest.MonkeyPatch.context() as patch:
        largest = max(256 * 256, height * width)
        patch.setattr(pixels, "_BYTES_AT_ONCE", together * 4 * largest)
        ours = EnlargedPixels(256, used, (height, width))
        stable, every = (ours.select(logits, 0.5, 1.0, least) for least in (0.6, 0.0))
        drawn, covered = ours.draw(logits, 0.5), ours.cover(logits, 0.5)
    stability = calculate_stability_score(values, 0.5, 1.0)
    masks = values > 0.5
    assert every.chosen.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(every.stability, stability.numpy())
    np.testing.assert_array_equal(every.boxes, batched_mask_to_box(masks).numpy())
    assert stable.chosen.tolist() == (stability >= 0.6).nonzero()[:, 0].tolist()
    np.testing.assert_array_equal(stable.boxes, every.boxes[stable.chosen])
    expected = Spans.from_bitmaps(masks.numpy())
    np.testing.assert_array_equal(drawn.values, expected.values)
    np.testing.assert_array_equal(drawn.offsets, expected.offsets)
    np.testing.assert_array_equal(covered, masks.any(0).numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("together", [1, 2, 16])
def test_prompts_upscaled_at_once_are_those_upscaled_alone(monkeypatch, dtype, together):
    monkeypatch.setattr(upscaling, "_TOGETHER", together)
    torch.manual_seed(0)
    layers = make_sam().mask_decoder.output_upscaling
    channels = layers[0].in_channels
    bias, image, values = (torch.randn(*shape, channels) for shape in ((), (256,), (5, 28)))
    images = Images(torch.rand(5, 256) + 0.5, torch.rand(5, 28, 256))
    weights = torch.randn(5, 3, channels // 8)
    chosen = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 0]]).bool()
    made = []
    kinds = [(Upscaling, torch.float32), (BatchUpscaling, dtype), (Upscaling, dtype)]
    with torch.inference_mode():
        for kind, number in kinds:
            one, out = kind(layers, bias, number), torch.full((6, 64, 64), torch.nan)
            parts = one.fold(image), images, one.fold(values), weights, chosen
            one.make_masks(*parts, out, Workspace(torch.device("cpu")))
            made.append(out)
    exact, ours, alone = made
    if dtype == torch.float32:
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)
    else:
        assert (ours - exact).abs().max() <= 1.2 * (alone - exact).abs().max()


class Images:
    """Image tokens of prompts, as far as upscaling knows them."""

    def __init__(self, scale, shares):
        self.scale, self.shares = scale, shares

    def take(self, prompt, folded):
        return OwnImage(self.scale[prompt], self.shares[prompt], folded[prompt])
