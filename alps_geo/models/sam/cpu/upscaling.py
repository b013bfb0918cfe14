"""The upscaling of `sam.upscaling` on a CPU: what is not a matrix product is compiled.

PyTorch takes a step after another over 8 MB per prompt. Here norm and activation are one pass over
each piece of the image, and so are the second activation, the product with a mask's weights, and
the way of every pixel to its place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..image_tokens import OwnImage
from ..lanes import Workspace
from ..upscaling import Upscaling
from .kernels import Floats, Numbers, activate, as_numbers, compiled, inlined, store, widen

#: Image tokens that are upscaled at once: in float32 as many as stay in a core's cache; in bfloat16
#: more, as each product costs much to begin.
CACHED_TOKENS = {torch.float32: 512, torch.bfloat16: 4096}
#: Channels of a pixel in Meta's models.
_WIDTH = 32
#: Rows whose activations are made before any is used: enough work for a core's vector units.
_ROWS = 8


class _Norm(NamedTuple):
    """A layer norm over one of four quarters of a token: weight, bias, eps."""

    weight: Floats
    bias: Floats
    eps: np.float32


class CpuUpscaling(Upscaling):
    """Upscaling of which two passes are compiled, in float32 between products; see `Upscaling`."""

    @staticmethod
    def fits(layers: nn.Sequential) -> bool:
        """Tell whether the activations are those that compiled code has."""
        return all(
            isinstance(layer, nn.GELU) and layer.approximate == "none"
            for layer in (layers[2], layers[4])
        )

    def __init__(self, layers: nn.Sequential, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__(layers, bias, dtype)
        norm = self._norm
        self._quarter = _Norm(
            norm.weight.detach().numpy(), norm.bias.detach().numpy(), np.float32(norm.eps)
        )

    def __call__(
        self,
        shared: Tensor,
        own: OwnImage,
        weights: Tensor,
        out: Tensor,
        space: Workspace,
    ) -> None:
        """Write the logits of one prompt's masks."""
        dtype, channels = self._dtype, shared.shape[1]
        values = own.values.to(dtype)
        step = CACHED_TOKENS[dtype]
        for start in range(0, len(shared), step):
            piece = slice(start, min(start + step, len(shared)))
            count = piece.stop - start
            written = space.take("written", count, channels, dtype=dtype)
            torch.mm(own.shares[:, piece].to(dtype).t(), values, out=written)
            first = space.take("first", count, channels, dtype=dtype)
            _normalise(
                as_numbers(written),
                shared[piece].numpy(),
                own.scale[piece].numpy(),
                self._bias.numpy(),
                self._quarter,
                as_numbers(first),
            )
            large = space.take("large", 4 * count, self._second.shape[1], dtype=dtype)
            torch.mm(first.view(4 * count, -1), self._second, out=large)
            _draw(as_numbers(large), self._second_bias.numpy(), weights.numpy(), start, out.numpy())


@compiled
def _normalise(
    written: Numbers, shared: Floats, scale: Floats, bias: Floats, norm: _Norm, out: Numbers
) -> None:
    """Put upscaled tokens together, (n, 4 * c), normalise each quarter, and take its GELU."""
    weight, offset, width = norm.weight, norm.bias, len(norm.weight)
    values, made = np.empty(4 * width, np.float32), np.empty(4 * width, np.float32)
    for token in range(len(written)):
        new, old, factor = written[token], shared[token], scale[token]
        for i in range(4 * width):
            values[i] = factor * (old[i] + widen(new[i])) + bias[i]
        # Four sums side by side: one would wait for its own additions.
        a = b = c = d = np.float32(0)
        for i in range(width):
            a += values[i]
            b += values[width + i]
            c += values[2 * width + i]
            d += values[3 * width + i]
        size = np.float32(width)
        means = (a / size, b / size, c / size, d / size)
        a = b = c = d = np.float32(0)
        for i in range(width):
            p, q = values[i] - means[0], values[width + i] - means[1]
            r, s = values[2 * width + i] - means[2], values[3 * width + i] - means[3]
            a += p * p
            b += q * q
            c += r * r
            d += s * s
        for quarter, energy in enumerate((a, b, c, d)):
            mean, start = means[quarter], quarter * width
            deviation = np.float32(1) / np.sqrt(energy / size + norm.eps)
            for i in range(width):
                value = (values[start + i] - mean) * deviation
                made[start + i] = value * weight[i] + offset[i]
        row = out[token]
        for i in range(4 * width):
            store(activate(made[i], row), row, i)


@compiled
def _draw(large: Numbers, bias: Floats, weights: Floats, first: int, out: Floats) -> None:
    """Draw masks' logits from quarters of tokens, (4 * n, 4 * c), of which `first` is the first.

    A token is 4 x 4 pixels: two bits of a row's number tell the quarter of the token, and each
    row holds four pixels of `c` channels.
    """
    side, width = out.shape[2] // 4, weights.shape[1]
    active = np.empty((_ROWS, 4 * width), np.float32)
    for start in range(0, len(large), _ROWS):
        count = min(_ROWS, len(large) - start)
        for row in range(count):
            values, made = large[start + row], active[row]
            for i in range(len(made)):
                made[i] = activate(widen(values[i]) + bias[i], values)
        for row in range(count):
            token, quarter = divmod(4 * first + start + row, 4)
            top, left = 4 * (token // side) + 2 * (quarter // 2), 4 * (token % side)
            left += 2 * (quarter % 2)
            for mask in range(len(weights)):
                # Loops of SAM's own length, when compilers know it, are a few vector instructions.
                if width == _WIDTH:
                    a, b, c, d = _multiply(active[row], weights[mask], _WIDTH)
                else:
                    a, b, c, d = _multiply(active[row], weights[mask], width)
                out[mask, top, left], out[mask, top, left + 1] = a, b
                out[mask, top + 1, left], out[mask, top + 1, left + 1] = c, d


@inlined
def _multiply(
    values: Floats, weights: Floats, width: int
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Return the products of a mask's weights with each of four pixels."""
    a = b = c = d = np.float32(0)
    for i in range(width):
        a += values[i] * weights[i]
        b += values[width + i] * weights[i]
        c += values[2 * width + i] * weights[i]
        d += values[3 * width + i] * weights[i]
    return a, b, c, d
