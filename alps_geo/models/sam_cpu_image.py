"""The image tokens of `sam_image` on a CPU: a strip of them takes all steps of a layer at once.

The steps are matrix products with few rows, each over as many columns as there are image tokens.
PyTorch writes the result of one to memory before it begins the next. Here a strip of 256 tokens
with all that a prompt has written on them stays in a core's cache until the layer is done; and of
the products that make the variance, which are symmetric, one half is enough.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .sam_attention import CrossAttention
from .sam_cpu_kernels import (
    ROWS_TOGETHER,
    Floats,
    add_dots,
    add_multiplied,
    add_product,
    compiled,
    copy,
    exp,
    fill,
    keep_largest,
    largest,
    multiply,
)
from .sam_image import Factors, ImageLayer, OwnImages, SharedLayer

#: Image tokens in a strip.
_STRIP = 256
_ZERO, _ONE = np.float32(0), np.float32(1)


class _Asking(NamedTuple):
    """Tokens that ask image tokens for a score.

    Attributes
    ----------
    tokens : ndarray of float32, shape (batch, heads, t or some more, depth)
        Filled up with zeros to a multiple of `ROWS_TOGETHER`.
    folded : ndarray of float32, shape (batch, heads * t, rows)
        Meet the shares.
    shared, places : ndarray of float32, shape (heads, depth, n)
        What is scaled with the image, and what is not.
    per_head : int
        Tokens, t.
    """

    tokens: Floats
    folded: Floats
    shared: Floats
    places: Floats
    per_head: int


class _Variance(NamedTuple):
    """What gives the variance of image tokens.

    Attributes
    ----------
    tokens : ndarray of float32, shape (batch, groups, t or some more, depth)
        Filled up as in `_Asking`.
    products : ndarray of float32, shape (batch, groups * t, groups * t)
        Only what is on the diagonal or below; this twice.
    crossed : ndarray of float32, shape (groups, depth, n)
    energy : ndarray of float32, shape (n,)
    eps : float32
    """

    tokens: Floats
    products: Floats
    crossed: Floats
    energy: Floats
    eps: np.float32


class _Read(NamedTuple):
    """What tokens have read of the strips so far, with weights relative to the largest score.

    Attributes
    ----------
    largest, sums : ndarray of float32, shape (batch, heads * t)
        Largest scores, and sums of weights.
    mixed : ndarray of float32, shape (batch, heads * t, rows)
        Of the shares.
    shared : ndarray of float32, shape (batch, heads, t or some more, depth)
        Of what all prompts share; filled up as in `_Asking`.
    """

    largest: Floats
    sums: Floats
    mixed: Floats
    shared: Floats


class CpuImages(OwnImages):
    """Image tokens of a few prompts whose passage through a layer is compiled; see `OwnImages`."""

    def _pass_tokens(
        self,
        layer: ImageLayer,
        shared: SharedLayer,
        asks: Factors,
        values: Factors,
        reads: Factors,
    ) -> Tensor:
        lower = values.folded.tril(-1) * 2 + values.folded.diagonal(dim1=1, dim2=2).diag_embed()
        variance = _Variance(
            _fill_up(values.tokens),
            lower.numpy(),
            shared.crossed.numpy(),
            shared.energy.numpy(),
            np.float32(layer.eps),
        )
        asking = _asking(asks, shared.asked, layer.writer)
        reading = _asking(reads, shared.keys, layer.reader)
        batch, rows, count = *reads.folded.shape[:2], reads.tokens.shape[2]
        read = _Read(
            np.full((batch, rows), -np.inf, np.float32),
            np.zeros((batch, rows), np.float32),
            np.zeros((batch, rows, lower.shape[1]), np.float32),
            np.zeros(reading.tokens.shape, np.float32),
        )
        _pass_layer(
            asking,
            variance,
            reading,
            shared.values.numpy(),
            self.scale.numpy(),
            self.shares.numpy(),
            read,
        )
        sums = torch.from_numpy(read.sums)[..., None]
        mixed = torch.from_numpy(read.mixed) / sums
        own = torch.from_numpy(read.shared)[:, :, :count]
        return self._mix(layer.reader, mixed) + own / sums.view(batch, -1, count, 1)


def _fill_up(tokens: Tensor) -> Floats:
    missing = -tokens.shape[-2] % ROWS_TOGETHER
    filled: Floats = functional.pad(tokens, (0, 0, 0, missing)).contiguous().numpy()
    return filled


def _asking(factors: Factors, shared: Tensor, attention: CrossAttention) -> _Asking:
    return _Asking(
        _fill_up(factors.tokens),
        factors.folded.contiguous().numpy(),
        shared.numpy(),
        attention.places.numpy(),
        factors.tokens.shape[2],
    )


@compiled
def _multiply(tokens: Floats, right: Floats, start: int, out: Floats, to: int) -> None:
    """Set out[to:] to the product of tokens with a matrix from a column on."""
    for row in range(0, len(tokens), ROWS_TOGETHER):
        for place in range(to + row, to + row + ROWS_TOGETHER):
            fill(_ZERO, out[place])
        add_product(tokens, row, tokens.shape[1], right, start, out, to + row)


@compiled
def _score(
    asking: _Asking,
    prompt: int,
    start: int,
    scale: Floats,
    strip: Floats,
    image: Floats,
    out: Floats,
) -> None:
    """Set out to the scores of a strip; `image` is for the strip of a head."""
    stop = start + len(scale)
    tokens, folded = asking.tokens[prompt], asking.folded[prompt]
    for head in range(len(tokens)):
        for channel in range(asking.shared.shape[1]):
            shared = asking.shared[head][channel][start:stop]
            places, made = asking.places[head][channel][start:stop], image[channel]
            for i in range(len(scale)):
                made[i] = shared[i] * scale[i] + places[i]
        # Rows that the tokens are filled up with are overwritten by the next head.
        _multiply(tokens[head], image, 0, out, head * asking.per_head)
    for row in range(0, len(folded), ROWS_TOGETHER):
        add_product(folded, row, folded.shape[1], strip, 0, out, row)


@compiled
def _share(scores: Floats, first: int, count: int, sums: Floats, out: Floats) -> None:
    """Set rows of out to the softmax over `count` rows of scores from the first on."""
    largest = sums
    copy(scores[first], largest)
    for row in range(first + 1, first + count):
        keep_largest(scores[row], largest)
    for row in range(first, first + count):
        values = scores[row]
        for i in range(len(values)):
            values[i] = exp(values[i] - largest[i])
    fill(_ZERO, sums)
    for row in range(first, first + count):
        values = scores[row]
        for i in range(len(values)):
            sums[i] += values[i]
    for i in range(len(sums)):
        sums[i] = _ONE / sums[i]
    for row in range(count):
        values, made = scores[first + row], out[row]
        for i in range(len(values)):
            made[i] = values[i] * sums[i]


@compiled
def _deviation(
    variance: _Variance,
    prompt: int,
    start: int,
    count: int,
    scale: Floats,
    strip: Floats,
    work: Floats,
    out: Floats,
) -> None:
    """Set out to one over the standard deviation of a strip of tokens."""
    fill(_ZERO, out)
    add_multiplied(scale, variance.energy[start : start + len(scale)], out)
    tokens, products = variance.tokens[prompt], variance.products[prompt]
    for group in range(len(tokens)):
        _multiply(tokens[group], variance.crossed[group], start, work, 0)
        for row in range(count):
            add_multiplied(work[row], strip[group * count + row], out)
    multiply(scale, out)
    for row in range(0, len(strip), ROWS_TOGETHER):
        stop = row + ROWS_TOGETHER
        for place in range(row, stop):
            fill(_ZERO, work[place])
        add_product(products, row, stop, strip, 0, work, row)
        for place in range(row, stop):
            add_multiplied(work[place], strip[place], out)
    for i in range(len(out)):
        above = out[i] if out[i] > _ZERO else _ZERO
        out[i] = _ONE / np.sqrt(above + variance.eps)


@compiled
def _read_strip(
    work: Floats,
    scale: Floats,
    strip: Floats,
    values: Floats,
    start: int,
    prompt: int,
    count: int,
    read: _Read,
) -> None:
    """Add what tokens read of a strip, by their scores in `work`, which is changed."""
    tops, sums, mixed = read.largest[prompt], read.sums[prompt], read.mixed[prompt]
    shared = read.shared[prompt]
    for row in range(len(tops)):
        scores = work[row]
        top = largest(scores)
        if top > tops[row]:
            less = np.exp(tops[row] - top)
            tops[row] = top
            sums[row] *= less
            mixed[row] *= less
            shared[row // count, row % count] *= less
        top, total = tops[row], _ZERO
        for i in range(len(scores)):
            weight = exp(scores[i] - top)
            scores[i] = weight
            total += weight
        sums[row] += total
    for row in range(0, len(tops), ROWS_TOGETHER):
        add_dots(work, row, strip, 0, mixed, row)
    for row in range(len(tops)):
        multiply(scale, work[row])
    for head in range(len(shared)):
        for row in range(0, shared.shape[1], ROWS_TOGETHER):
            add_dots(work, head * count + row, values[head], start, shared[head], row)


@compiled
def _pass_layer(
    asking: _Asking,
    variance: _Variance,
    reading: _Asking,
    values: Floats,
    scale: Floats,
    shares: Floats,
    read: _Read,
) -> None:
    """Let image tokens read, normalise them, and read them: changes scale, shares and read."""
    rows, new, count = variance.products.shape[1], asking.folded.shape[1], asking.per_head
    height = max(rows, reading.folded.shape[1]) + ROWS_TOGETHER
    for start in range(0, scale.shape[1], _STRIP):
        stop = min(start + _STRIP, scale.shape[1])
        strip = np.empty((rows, stop - start), np.float32)
        work = np.zeros((height, stop - start), np.float32)
        image = np.empty((asking.shared.shape[1], stop - start), np.float32)
        factor = np.empty(stop - start, np.float32)
        # Prompt by prompt on the same strip: what they share stays in the cache.
        for prompt in range(len(scale)):
            own, written = scale[prompt][start:stop], shares[prompt]
            for row in range(rows - new):
                copy(written[row][start:stop], strip[row])
            _score(asking, prompt, start, own, strip, image, work)
            for first in range(0, new, count):
                _share(work, first, count, factor, strip[rows - new + first :])
            _deviation(variance, prompt, start, count, own, strip, work, factor)
            multiply(factor, own)
            for row in range(rows):
                multiply(factor, strip[row])
                copy(strip[row], written[row][start:stop])
            _score(reading, prompt, start, own, strip, image, work)
            _read_strip(work, own, strip, values, start, prompt, reading.per_head, read)
