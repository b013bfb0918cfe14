"""Compiled rows of arithmetic, against numpy's and torch's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from alps_geo.models.sam.cpu.attention import HeadAttention, WindowAttention
from alps_geo.models.sam.cpu.image_tokens import CpuImages
from alps_geo.models.sam.cpu.kernels import (
    activate,
    as_numbers,
    compiled,
    exp,
    largest,
    store,
    widen,
)
from alps_geo.models.sam.cpu.products import add_dots, add_product, set_product
from alps_geo.models.sam.cpu.upscaling import CACHED_TOKENS, CpuUpscaling
from alps_geo.models.sam.decoder import MaskDecoder
from alps_geo.models.sam.image_tokens import OwnImage
from alps_geo.models.sam.lanes import Lanes, Workspace
from alps_geo.models.sam.upscaling import Upscaling

from .sam_models import make_sam


@compiled
def _activate(values, like, out):
    for i in range(len(values)):
        out[i] = activate(values[i], like)


@compiled
def _raise(values, out):
    for i in range(len(values)):
        out[i] = exp(values[i])


@compiled
def _convert(values, out):
    for i in range(len(values)):
        store(widen(values[i]), out, i)


@pytest.mark.parametrize(
    ("dtype", "rtol", "atol"),
    [(torch.float32, 1e-6, 1.2e-6), (torch.bfloat16, 2e-5, 1.2e-4)],
    ids=["fp32", "bf16"],
)
def test_gelu_is_torchs_as_finely_as_numbers_are(dtype, rtol, atol):
    values = torch.cat([torch.linspace(-30, 30, 60_001), torch.tensor([-1e6])])
    ours = torch.empty_like(values)
    _activate(values.numpy(), as_numbers(torch.zeros(0, dtype=dtype)), ours.numpy())
    torch.testing.assert_close(ours, functional.gelu(values), rtol=rtol, atol=atol)


def test_exponentials_are_numpys():
    values = np.concatenate([np.linspace(-87, 0, 50_001), [-1e4, -np.inf]]).astype(np.float32)
    ours = np.empty_like(values)
    _raise(values, ours)
    np.testing.assert_allclose(ours, np.exp(values), rtol=1e-5, atol=2e-38)


def test_bfloat16_is_rounded_as_torch_rounds_it():
    values = torch.randn(10_000) * torch.logspace(-30, 30, 10_000)
    rounded = torch.empty(10_000, dtype=torch.bfloat16)
    _convert(values.numpy(), as_numbers(rounded))
    assert torch.equal(rounded, values.bfloat16())
    back = torch.empty(10_000)
    _convert(as_numbers(rounded), back.numpy())
    assert torch.equal(back, rounded.float())


@settings(max_examples=40)
@given(
    rows=st.integers(1, 3),
    terms=st.integers(1, 21),
    columns=st.integers(1, 70),
    start=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_products_of_parts_of_matrices_are_numpys(rows, terms, columns, start, seed):
    rng = np.random.default_rng(seed)
    left, right, out = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((24, 24), (24, columns + 7), (14, columns))
    )
    first, second = left[1::2][: 4 * rows, :terms], right[:terms, start : start + columns]
    expected = out.copy()
    expected[2 : 2 + 4 * rows] += first @ second
    add_product(first, second, out[2 : 2 + 4 * rows])
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    set_product(first, second, out[: 4 * rows])
    np.testing.assert_allclose(out[: 4 * rows], first @ second, rtol=1e-5, atol=1e-5)


@settings(max_examples=20)
@given(columns=st.integers(1, 70), start=st.integers(0, 5), seed=st.integers(0, 99))
def test_four_rows_of_dot_products_are_numpys(columns, start, seed):
    rng = np.random.default_rng(seed)
    rows, right = (
        rng.normal(size=(count, columns + more)).astype(np.float32)
        for count, more in ((6, 0), (24, 7))
    )
    sums = np.zeros((7, 24), np.float32)
    add_dots(rows[2:], right, start, sums[3:])
    expected = rows[2:] @ right[:, start : start + columns].T
    np.testing.assert_allclose(sums[3:], expected, rtol=1e-5, atol=1e-4)
    assert not sums[:3].any()
    assert largest(rows[0], np.empty(64, np.float32)) == rows[0].max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("step", [96, 1024], ids=lambda step: f"{step} tokens at once")
def test_upscaling_is_that_of_torch(monkeypatch, dtype, step):
    monkeypatch.setitem(CACHED_TOKENS, dtype, step)
    layers = make_sam().mask_decoder.output_upscaling
    channels = layers[0].in_channels
    own = OwnImage(torch.rand(256) + 0.5, torch.rand(28, 256), torch.randn(28, channels))
    shared, weights = torch.randn(256, channels), torch.randn(3, channels // 8)
    logits = torch.empty(3, 3, 64, 64)
    kinds = [(Upscaling, torch.float32), (CpuUpscaling, dtype), (Upscaling, dtype)]
    with torch.inference_mode():
        for (kind, number), out in zip(kinds, logits, strict=True):
            upscaling = kind(layers, torch.randn(channels, generator=seeded()), number)
            upscaling(shared, own, weights, out, Workspace(torch.device("cpu")))
    exact, ours, torchs = logits
    if dtype == torch.float32:
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)
    else:
        assert (ours - exact).abs().max() <= 1.2 * (torchs - exact).abs().max()


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("channels", [32, 48, 64, 96], ids=lambda count: f"{count} channels")
def test_compiled_code_decodes_what_torch_does_in_models_of_any_size(channels):
    sam = make_sam(channels=channels)
    points = torch.rand(5, 2, dtype=torch.float64) * 256
    embedding = torch.randn(channels, 16, 16)
    with torch.inference_mode():
        ours, theirs = (
            list(MaskDecoder(sam, compiled=compiled).decode(embedding, points, 0.0, 3))
            for compiled in (True, False)
        )
    for a, b in zip(ours, theirs, strict=True):
        scale = float(b.logits.abs().mean())
        torch.testing.assert_close(a.logits / scale, b.logits / scale, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(a.predicted_iou, b.predicted_iou)


def test_compiled_code_is_left_to_the_sizes_and_activations_that_it_has():
    layers = [MaskDecoder(make_sam(channels=channels))._layers for channels in (64, 48)]
    assert [CpuImages.fit(of) for of in layers] == [True, False]
    upscaling = make_sam().mask_decoder.output_upscaling
    assert CpuUpscaling.fits(upscaling)
    upscaling[4] = torch.nn.GELU("tanh")
    assert not CpuUpscaling.fits(upscaling)


def test_what_is_no_number_stays_none():
    values = np.array([np.nan, -3], np.float32)
    raised, fine, coarse = np.zeros((3, 2), np.float32)
    _raise(values, raised)
    _activate(values, values, fine)
    _activate(values, np.zeros(0, np.int16), coarse)
    for out in (raised, fine, coarse):
        assert np.isnan(out).tolist() == [True, False]


@pytest.mark.parametrize("size", [(10, 20), (7, 3), (1, 1)], ids=lambda size: f"{size} tokens")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_attention_of_a_head_per_core_is_torchs(size, dtype):
    rows, cols = size
    qkv = torch.randn(3, 2, 3, rows * cols, 16).bfloat16().float()
    by_row, by_col = torch.randn(2, 3, rows, cols, rows), torch.randn(2, 3, rows, cols, cols)
    mask = (by_row[..., :, None] + by_col[..., None, :]).flatten(2, 3).flatten(3)
    expected = functional.scaled_dot_product_attention(*qkv, attn_mask=mask, scale=0.3)
    with torch.inference_mode():
        attention = HeadAttention(Lanes(torch.device("cpu")), dtype)
        ours = attention(qkv.to(dtype), 0.3, by_row, by_col).float()
    coarse = functional.scaled_dot_product_attention(
        *qkv.to(dtype), attn_mask=mask.to(dtype), scale=0.3
    )
    allowed = 2e-5 if dtype == torch.float32 else 2 * float((coarse - expected).abs().max()) + 0.02
    assert (ours - expected).abs().max() <= allowed


@pytest.mark.parametrize("size", [14, 7, 16, 3], ids=lambda size: f"windows of {size}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_attention_of_windows_is_torchs(size, dtype):
    heads, channels, rows, cols = 5, 16, 20, 9
    qkv = torch.randn(2, rows, cols, 3 * heads * channels).to(dtype)
    bias = torch.randn(3 * heads * channels).to(dtype)
    by_row, by_col = torch.randn(2, size, size, channels)
    rtol = 1e-4 if dtype == torch.float32 else 1e-2
    with torch.inference_mode():
        attention = WindowAttention(Lanes(torch.device("cpu")), heads, by_row, by_col)
        ours = attention(qkv, bias, 0.3)
    down, across = -(-rows // size), -(-cols // size)
    padded = bias.float().expand(2, down * size, across * size, -1).clone()
    padded[:, :rows, :cols] = qkv.float()
    windows = padded.view(2, down, size, across, size, 3, heads, channels)
    query, key, value = windows.permute(5, 0, 1, 3, 6, 2, 4, 7)
    mask = torch.einsum("...qxc,qkc->...qxk", query, by_row)[..., None]
    mask = mask + torch.einsum("...yqc,qkc->...yqk", query, by_col)[..., None, :]
    expected = functional.scaled_dot_product_attention(
        *(part.flatten(-3, -2) for part in (query, key, value)),
        attn_mask=mask.flatten(-2).flatten(-3, -2),
        scale=0.3,
    )
    expected = expected.unflatten(-2, (size, size)).permute(0, 1, 4, 2, 5, 3, 6)
    expected = expected.reshape(*padded.shape[:3], heads * channels)[:, :rows, :cols]
    torch.testing.assert_close(ours, expected.to(dtype), rtol=rtol, atol=2e-5)
