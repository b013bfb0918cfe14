"""The parts of the fast SAM, each against Meta's own or the plain definition."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from torch._dynamo.utils import counters
from torch.nn import functional

from alps_geo.errors import SettingsError
from alps_geo.models.sam import encoder as sam_encoder
from alps_geo.models.sam.cpu import upscaling as sam_cpu_upscaling
from alps_geo.models.sam.decoder import MaskDecoder
from alps_geo.models.sam.encoder import ImageEncoder
from alps_geo.models.sam.generator import encode_rle
from alps_geo.models.sam.inputs import ImageFrame, normalise, normalise_as_authors
from alps_geo.models.sam.logits import Resampler

from .sam_models import make_image, make_sam


@pytest.mark.parametrize("window", [5, 7, 8], ids=lambda window: f"windows of {window}")
@pytest.mark.parametrize("own", [True, False], ids=["own attention", "torch's attention"])
def test_encoder_gives_the_originals_embedding(monkeypatch, window, own):
    if not own:  # as on a GPU
        monkeypatch.setattr(sam_encoder, "_own_lanes", lambda *_: None)
    sam = make_sam(window_size=window, depth=3, global_blocks=(0,))
    images = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        expected = sam.image_encoder(images)
        torch.testing.assert_close(ImageEncoder(sam)(images), expected, rtol=1e-4, atol=1e-5)
        coarse = ImageEncoder(sam, torch.bfloat16)(images)
    assert functional.cosine_similarity(coarse, expected, dim=1).min() > 0.99


@pytest.fixture
def fresh_compiler(tmp_path, monkeypatch):
    """Let torch.compile forget what it has compiled, in memory and on disk."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
# PyTorch's own: a deprecated call in the compiler, and no CUDA on this machine.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_compiled_encoder_gives_the_same_embedding(dtype):
    sam = make_sam(depth=12, global_blocks=(2, 5, 8, 11))
    images = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        plain = ImageEncoder(sam, dtype)(images)
        compiled = ImageEncoder(sam, dtype, compiled=True)(images)
    assert counters["stats"]["unique_graphs"] > 2
    assert not counters["recompile_limit"]
    if dtype == torch.float32:
        torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    assert functional.cosine_similarity(compiled, plain, dim=1).min() > 0.99


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.filterwarnings("ignore")
def test_no_compiler_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    with pytest.raises(
        SettingsError, match=r"does not work on cpu here .*: install g\+\+"
    ) as error:
        ImageEncoder(make_sam(), compiled=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("depth", [1, 2, 3], ids=lambda depth: f"{depth} layers")
@pytest.mark.parametrize("batch", [1, 4], ids=lambda batch: f"{batch} at once")
@pytest.mark.parametrize("tokens", [96, 256], ids=lambda tokens: f"{tokens} image tokens upscaled")
def test_decoder_gives_the_originals_masks(monkeypatch, depth, batch, tokens):
    monkeypatch.setitem(sam_cpu_upscaling.CACHED_TOKENS, torch.float32, tokens)
    sam = make_sam(decoder_depth=depth)
    embedding = torch.randn(64, 16, 16)
    points = torch.rand(6, 2, dtype=torch.float64) * 256
    with torch.inference_mode():
        sparse, dense = sam.prompt_encoder(
            points=(points[:, None], torch.ones(6, 1, dtype=torch.int)), boxes=None, masks=None
        )
        logits, iou = sam.mask_decoder(
            image_embeddings=embedding[None],
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        parts = list(MaskDecoder(sam).decode(embedding, points, 0.0, batch))
        # Half-way between two of them: rounding must not decide which are kept.
        threshold = float(iou.flatten().sort().values[8:10].mean())
        kept = list(MaskDecoder(sam).decode(embedding, points, threshold, batch))
    scale = float(logits.abs().mean())
    ours = torch.cat([part.logits for part in parts])
    torch.testing.assert_close(ours / scale, logits.flatten(0, 1) / scale, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(torch.cat([part.predicted_iou for part in parts]), iou.flatten())
    chosen = torch.cat([part.candidates for part in kept])
    assert chosen.tolist() == (iou.flatten() > threshold).nonzero()[:, 0].tolist()


def enlarge(logits, padded, used, size):
    """Do what `Sam.postprocess_masks` does."""
    values = functional.interpolate(logits[None], (padded, padded), mode="bilinear")
    values = values[..., : used[0], : used[1]]
    return functional.interpolate(values, size, mode="bilinear")[0]


@settings(max_examples=25)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    smoothness=st.floats(0.5, 8),
    seed=st.integers(0, 99),
)
def test_masks_measured_and_drawn_from_logits_are_those_of_the_enlarged_logits(
    height, width, smoothness, seed
):
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(3, 64, 64)), (0, smoothness, smoothness))
    logits = (8 * noise / noise.std()).astype(np.float32)
    logits[0] += 30 * rng.choice([-1, 0, 1])
    frame = ImageFrame.of(make_frame_model(), (height, width))
    resampler = Resampler(64, frame.side, frame.used, (height, width))
    values = enlarge(torch.from_numpy(logits), frame.side, frame.used, (height, width))
    masks = values > 0
    # Values as near to a threshold as floats can tell apart may fall on either side.
    doubtful = sum(int(((values - at).abs() < 1e-4).sum()) for at in (-1, 0, 1))
    measures = resampler.measure(logits, 0.0, 1.0)
    drawn = np.stack([resampler.draw(mask, 0.0) for mask in logits])
    assert np.count_nonzero(drawn != masks.numpy()) <= doubtful
    assert np.abs(measures.areas - masks.sum((1, 2)).numpy()).max() <= doubtful
    if not doubtful:
        np.testing.assert_array_equal(measures.boxes, batched_mask_to_box(masks).numpy())
        stability = calculate_stability_score(values, 0.0, 1.0).numpy()
        np.testing.assert_allclose(measures.stability, stability, atol=1e-6)


def make_frame_model():
    class Encoder:
        img_size = 256

    class Model:
        image_encoder = Encoder

    return Model


def test_masks_without_a_pixel_have_no_box_and_no_stability():
    resampler = Resampler(64, 256, (256, 256), (100, 100))
    measures = resampler.measure(np.full((1, 64, 64), -9, np.float32), 0.0, 1.0)
    assert measures.boxes.tolist() == [[0, 0, 0, 0]]
    assert np.isnan(measures.stability).all()


def test_run_lengths_begin_with_the_background():
    mask = np.array([[True, False], [True, True]])
    assert encode_rle(mask) == {"size": [2, 2], "counts": [0, 2, 1, 1]}
    assert encode_rle(~mask) == {"size": [2, 2], "counts": [2, 1, 1]}


def test_images_are_scaled_and_normalised_as_the_original_does():
    from segment_anything import SamPredictor

    sam = make_sam()
    image = make_image(100, 180)
    predictor = SamPredictor(sam)
    scaled = torch.as_tensor(predictor.transform.apply_image(image)).permute(2, 0, 1)[None]
    assert torch.equal(normalise(sam, image), sam.preprocess(scaled))


def test_the_authors_preprocessing_is_bgr_from_zero_to_one():
    """Rows 1 and 2 of the table of deviations in the specification of ALPS."""
    sam = make_sam()
    image = make_image(256, 256)
    ours = normalise_as_authors(sam, image)
    expected = torch.from_numpy(image[:, :, ::-1].transpose(2, 0, 1).copy())[None] / 255
    torch.testing.assert_close(ours, expected)
