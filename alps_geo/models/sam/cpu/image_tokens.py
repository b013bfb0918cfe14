"""Image tokens on a CPU: a strip of them takes all steps of a layer at once.

The steps are matrix products with few rows, each over as many columns as there are image tokens.
PyTorch writes the result of one to memory before it begins the next. Here a strip of the tokens
with all that a prompt has written on them stays in a core's cache until the layer is done; and of
the products that make the variance, which are symmetric, one half is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..attention import CrossAttention
from ..image_tokens import Factors, ImageLayer, OwnImages, SharedLayer
from .kernels import (
    Floats,
    add_multiplied,
    compiled,
    copy,
    exp,
    fill,
    keep_largest,
    largest,
    multiply,
)
from .products import ROWS_TOGETHER, add_dots, add_product, set_product

#: Image tokens in a strip: an odd number of cache lines, so that rows do not displace each other.
_STRIP = 464
#: Rows of the variance's products that are made at once; what is above the diagonal is skipped.
_BLOCK = 16
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
        What is scaled with the image, and what is not; in the first layer all is in `shared`.
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
    tokens : ndarray of float32, shape (batch, groups, t or some more, depth + 1)
        Filled up as in `_Asking`.
    products : ndarray of float32, shape (batch, groups * t, groups * t)
        What is on the diagonal, and twice what is below; nothing above.
    crossed : ndarray of float32, shape (groups, depth + 1, n)
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
    common : ndarray of float32, shape (batch, heads, t or some more, depth)
        Of what all prompts share; filled up as in `_Asking`.
    """

    largest: Floats
    sums: Floats
    mixed: Floats
    common: Floats


class _Strip(NamedTuple):
    """A prompt's strip of image tokens, and memory to work in.

    Attributes
    ----------
    start : int
        First token.
    scale : ndarray of float32, shape (columns,)
    shares : ndarray of float32, shape (rows, columns)
    scores : ndarray of float32, shape (rows and some more, columns)
    spare : ndarray of float32, shape (columns,)
    """

    start: int
    scale: Floats
    shares: Floats
    scores: Floats
    spare: Floats


class CpuImages(OwnImages):
    """Image tokens of a few prompts whose passage through a layer is compiled; see `OwnImages`."""

    @staticmethod
    def fit(layers: Sequence[ImageLayer]) -> bool:
        """Tell whether a decoder's attention has the sizes that compiled code counts on."""
        sides = [side for layer in layers for side in (layer.writer, layer.reader)]
        heads, depth = sides[0].image_weight.shape[:2]
        alike = all(side.image_weight.shape[:2] == (heads, depth) for side in sides)
        return alike and heads % ROWS_TOGETHER == 0 and depth % ROWS_TOGETHER == 0

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
        own = torch.from_numpy(read.common)[:, :, :count]
        return self._mix(layer, mixed) + own / sums.view(batch, -1, count, 1)


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
def _score(asking: _Asking, prompt: int, strip: _Strip) -> None:
    """Set the strip's scores to those of the tokens that ask."""
    tokens, folded, scores = asking.tokens[prompt], asking.folded[prompt], strip.scores
    start, count = strip.start, strip.scores.shape[1]
    # Rows that the tokens are filled up with are the next head's, and are zeros.
    for head in range(len(tokens)):
        shared = asking.shared[head, :, start : start + count]
        set_product(tokens[head], shared, scores[head * asking.per_head :][: tokens.shape[1]])
    if not folded.shape[1]:  # the first layer
        return
    add_product(folded, strip.shares[: folded.shape[1]], scores[: len(folded)])
    for row in range(len(folded)):
        multiply(strip.scale, scores[row])
    for head in range(len(tokens)):
        places = asking.places[head, :, start : start + count]
        add_product(tokens[head], places, scores[head * asking.per_head :][: tokens.shape[1]])


@compiled
def _share(
    scores: Floats, first: int, count: int, scale: Floats, spare: Floats, out: Floats
) -> None:
    """Set rows of out to the softmax over `count` rows of scores from the first on, over scale."""
    copy(scores[first], spare)
    for row in range(first + 1, first + count):
        keep_largest(scores[row], spare)
    for row in range(first, first + count):
        values = scores[row]
        for i in range(len(values)):
            values[i] = exp(values[i] - spare[i])
    fill(_ZERO, spare)
    for row in range(first, first + count):
        values = scores[row]
        for i in range(len(values)):
            spare[i] += values[i]
    for i in range(len(spare)):
        spare[i] = _ONE / (spare[i] * scale[i])
    for row in range(count):
        values, made = scores[first + row], out[row]
        for i in range(len(values)):
            made[i] = values[i] * spare[i]


@compiled
def _deviate(variance: _Variance, prompt: int, per_head: int, strip: _Strip) -> None:
    """Divide the strip's scale by the standard deviation of its tokens."""
    start, scale, shares, out = strip.start, strip.scale, strip.shares, strip.spare
    copy(variance.energy[start : start + len(scale)], out)
    tokens, products = variance.tokens[prompt], variance.products[prompt]
    for group in range(len(tokens)):
        crossed = variance.crossed[group, :, start : start + len(scale)]
        set_product(tokens[group], crossed, strip.scores[: tokens.shape[1]])
        for row in range(per_head):
            add_multiplied(strip.scores[row], shares[group * per_head + row], out)
    for row in range(0, len(shares), _BLOCK):
        stop = min(row + _BLOCK, len(shares))
        set_product(products[row:stop, :stop], shares[:stop], strip.scores[row:stop])
        for place in range(row, stop):
            add_multiplied(strip.scores[place], shares[place], out)
    for i in range(len(out)):
        squared = _ZERO if out[i] < _ZERO else out[i]
        scale[i] /= np.sqrt(squared * scale[i] * scale[i] + variance.eps)


@compiled
def _read_strip(read: _Read, prompt: int, per_head: int, values: Floats, strip: _Strip) -> None:
    """Add what tokens read of a strip by its scores, which are changed."""
    tops, sums, mixed = read.largest[prompt], read.sums[prompt], read.mixed[prompt]
    common = read.common[prompt]
    for row in range(len(tops)):
        scores = strip.scores[row]
        top = largest(scores, strip.spare)
        if top > tops[row]:
            less = np.exp(tops[row] - top)
            tops[row] = top
            sums[row] *= less
            mixed[row] *= less
            common[row // per_head, row % per_head] *= less
        top, total = tops[row], _ZERO
        for i in range(len(scores)):
            weight = exp(scores[i] - top)
            scores[i] = weight
            total += weight
        sums[row] += total
        multiply(strip.scale, scores)
    add_dots(strip.scores[: len(tops)], strip.shares, 0, mixed)
    for head in range(len(common)):
        first = head * per_head
        weights = strip.scores[first : first + common.shape[1]]
        add_dots(weights, values[head], strip.start, common[head])


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
    rows, new_rows, per_head = variance.products.shape[1], asking.folded.shape[1], asking.per_head
    height = max(rows, reading.folded.shape[1]) + ROWS_TOGETHER
    for start in range(0, scale.shape[1], _STRIP):
        stop = min(start + _STRIP, scale.shape[1])
        own_shares = np.empty((rows, stop - start), np.float32)
        scores = np.zeros((height, stop - start), np.float32)
        spare = np.empty(stop - start, np.float32)
        # Prompt by prompt on the same strip: what they share stays in the cache.
        for prompt in range(len(scale)):
            own_scale, written = scale[prompt][start:stop], shares[prompt]
            strip = _Strip(start, own_scale, own_shares, scores, spare)
            for row in range(rows - new_rows):
                copy(written[row][start:stop], own_shares[row])
            _score(asking, prompt, strip)
            for first in range(0, new_rows, per_head):
                place = rows - new_rows + first
                _share(scores, first, per_head, own_scale, spare, own_shares[place:])
            for row in range(rows - new_rows, rows):
                copy(own_shares[row], written[row][start:stop])
            _deviate(variance, prompt, per_head, strip)
            _score(reading, prompt, strip)
            _read_strip(read, prompt, reading.per_head, values, strip)
