"""The end of SAM's mask decoder: from what a prompt wrote on the image to its masks.

A layer adds a few values to the image tokens, each token in shares of its own, and normalises each
token: x' = (x + shares · values) C / s * g + b, where C takes the mean off, and s is the token's
deviation. All that follows up to the first upscaling's product with weights W is linear but for the
deviations, one number per token. So the product splits into one of the image, the same for every
prompt, and one of the shares, of which there are half as many as channels:

    x' W = (x (C g W) + shares · (values (C g W))) / s + b W, and the same again for x.

All this is exact up to the order of float additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from .sam_lanes import Workspace

_Modules = tuple[nn.ConvTranspose2d, LayerNorm2d, nn.Module, nn.ConvTranspose2d, nn.Module]


@dataclass(frozen=True)
class Written:
    """What prompts wrote on the image in all layers, each attribute with a row per prompt.

    Attributes
    ----------
    values : Tensor, shape (batch, n_layers * heads * t, channels)
        As `Upscaling.fold` returns them.
    shares : Tensor, shape (batch, n_layers, heads * t, n)
        Of each value in each image token.
    deviations : Tensor of float32, shape (batch, n_layers, n)
        One over the deviation of each image token before the layer normalised it.
    """

    values: Tensor
    shares: Tensor
    deviations: Tensor

    def take(self, prompt: int) -> Written:
        """Return what one prompt wrote, without the axis of prompts."""
        return Written(self.values[prompt], self.shares[prompt], self.deviations[prompt])


class Upscaling:
    """The two transposed convolutions, which are matrix products on tokens, and the masks.

    Parameters
    ----------
    layers : torch.nn.Sequential
        SAM's `output_upscaling`.
    norms : sequence of torch.nn.LayerNorm
        That of the image in each layer of the transformer.
    heads : int
        Whose shares add up to one each.
    dtype : torch.dtype
        Number type of everything as large as the image.
    """

    def __init__(
        self, layers: nn.Sequential, norms: Sequence[nn.LayerNorm], heads: int, dtype: torch.dtype
    ) -> None:
        first, self._norm, self._act, second, self._last_act = cast(_Modules, tuple(layers))
        weight, bias = _as_matrix(first)
        self._second, self._second_bias = (part.to(dtype) for part in _as_matrix(second))
        self._heads = heads
        self._dtype = dtype
        # What each layer's input and values are multiplied by, and what comes on top after it.
        self._weights: list[Tensor] = []
        self._biases: list[Tensor] = []
        for norm in reversed(norms):
            self._biases.insert(0, bias + norm.bias @ weight)
            weight = norm.weight[:, None] * weight
            weight = weight - weight.mean(0)
            self._weights.insert(0, weight)
            bias = torch.zeros_like(bias)

    def share(self, image: Tensor) -> Tensor:
        """Return the part of the first product that every prompt on an image has.

        Parameters
        ----------
        image : Tensor of float32, shape (n, channels)
            Before any prompt wrote on it.

        Returns
        -------
        Tensor of float32, shape (n, channels)
        """
        return image @ self._weights[0]

    def fold(self, values: Sequence[Tensor]) -> Tensor:
        """Multiply the values of all layers, shape (batch, layers * heads * t, channels)."""
        folded = [one.float() @ weight for one, weight in zip(values, self._weights, strict=True)]
        for one, bias in zip(folded[1:], self._biases[:-1], strict=True):
            # The shares of a head add up to one, so every head may carry its part of the bias.
            one += bias / self._heads
        return torch.cat(folded, dim=1).to(self._dtype)

    def __call__(
        self,
        shared: Tensor,
        written: Written,
        pieces: Sequence[slice],
        weights: Tensor,
        out: Tensor,
        space: Workspace,
    ) -> None:
        """Write the logits of one prompt's masks.

        Parameters
        ----------
        shared : Tensor of float32, shape (n, channels)
            What `share` returned.
        written : Written
            By the prompt. Its shares are used up.
        pieces : sequence of slice
            Image tokens that are taken at once, whole rows of them.
        weights : Tensor of float32, shape (n_masks, channels // 8)
        out : Tensor of float32, shape (n_masks, 4 rows, 4 cols)
        space : Workspace
        """
        side = out.shape[-1] // 4
        norm = self._norm
        norm_weight, norm_bias = norm.weight.to(self._dtype), norm.bias.to(self._dtype)
        weights = weights.to(self._dtype)
        scales = written.deviations.flip(0).cumprod(0).flip(0)
        shares = written.shares.mul_(scales[:, None].to(self._dtype)).flatten(0, 1).t()
        scale = scales[0, :, None]
        # Tokens, then quarters of a token, then quarters of these: rows and columns of the mask.
        target = out.view(len(weights), side, 2, 2, side, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)
        row = 0
        for piece in pieces:
            count = len(shared[piece])
            values = space.take("first", count, shared.shape[1])
            torch.addcmul(self._biases[-1], shared[piece], scale[piece], out=values)
            values = values.addmm_(shares[piece], written.values).view(4 * count, -1)
            values = functional.layer_norm(
                values, norm_weight.shape, norm_weight, norm_bias, norm.eps
            )
            values = self._act(values)
            large = space.take("second", len(values), self._second.shape[1])
            torch.addmm(self._second_bias, values, self._second, out=large)
            pixels = (weights @ self._last_act(large).view(16 * count, -1).t()).float()
            part = target[:, row : row + count // side]
            part.copy_(pixels.view(part.shape))
            row += count // side


def _as_matrix(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Return a stride-2 transposed convolution as weights (c_in, 4 * c_out) and bias."""
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
    bias = weight.new_zeros(weight.shape[1]) if layer.bias is None else layer.bias.repeat(4)
    return weight, bias
