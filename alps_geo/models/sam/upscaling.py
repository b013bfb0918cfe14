"""The end of SAM's mask decoder: from the image tokens of a prompt to its masks.

The first upscaling is a product of image tokens with weights W. As the tokens are kept in parts
(`image_tokens`), so is the product: s * (E T W + S' (V W)), where (E T W) is the same for every
prompt, and S has half as many rows as there are channels.
"""

from __future__ import annotations

from typing import cast

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from .image_tokens import OwnImage
from .lanes import Workspace

_Modules = tuple[nn.ConvTranspose2d, LayerNorm2d, nn.Module, nn.ConvTranspose2d, nn.Module]


class Upscaling:
    """The two transposed convolutions, which are matrix products on tokens, and the masks.

    Parameters
    ----------
    layers : torch.nn.Sequential
        SAM's `output_upscaling`.
    bias : Tensor, shape (channels,)
        Part of all image tokens, which those that are given here do not have.
    dtype : torch.dtype
        Number type of what is upscaled.
    """

    def __init__(self, layers: nn.Sequential, bias: Tensor, dtype: torch.dtype) -> None:
        first, self._norm, self._act, second, self._last_act = cast(_Modules, tuple(layers))
        self._weight, first_bias = _as_matrix(first)
        self._bias = first_bias + bias @ self._weight
        self._second, self._second_bias = _as_matrix(second)
        self._second = self._second.to(dtype)
        self._dtype = dtype

    def fold(self, tokens: Tensor) -> Tensor:
        """Multiply image tokens, or values that were written on them, (..., channels), by W."""
        return tokens @ self._weight

    def __call__(
        self,
        shared: Tensor,
        own: OwnImage,
        weights: Tensor,
        out: Tensor,
        space: Workspace,
    ) -> None:
        """Write the logits of one prompt's masks.

        Parameters
        ----------
        shared : Tensor of float32, shape (n, channels)
            What all prompts share of the image tokens, folded.
        own : OwnImage
            The prompt's, whose values are folded.
        weights : Tensor of float32, shape (n_masks, channels // 8)
        out : Tensor of float32, shape (n_masks, 4 rows, 4 cols)
        space : Workspace
            Not used here.
        """
        dtype, norm = self._dtype, self._norm
        first = shared + torch.mm(own.shares.t().to(dtype), own.values.to(dtype))
        first = torch.addcmul(self._bias, first, own.scale[:, None]).to(dtype)
        first = first.view(-1, len(norm.weight))
        norm_weight, norm_bias = norm.weight.to(dtype), norm.bias.to(dtype)
        first = functional.layer_norm(first, norm_weight.shape, norm_weight, norm_bias, norm.eps)
        large = torch.addmm(self._second_bias.to(dtype), self._act(first), self._second)
        large = self._last_act(large).view(-1, weights.shape[1])
        pixels = weights.to(dtype) @ large.t()
        # Tokens, then quarters of a token, then quarters of these: rows and columns of the mask.
        side = out.shape[-1] // 4
        pixels = pixels.view(len(weights), side, side, 2, 2, 2, 2)
        out.view(len(weights), side, 2, 2, side, 2, 2)[:] = pixels.permute(0, 1, 3, 5, 2, 4, 6)


def _as_matrix(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Return a stride-2 transposed convolution as weights (c_in, 4 * c_out) and bias."""
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
    bias = weight.new_zeros(weight.shape[1]) if layer.bias is None else layer.bias.repeat(4)
    return weight, bias
