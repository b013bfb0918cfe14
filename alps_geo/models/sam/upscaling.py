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

from .image_tokens import OwnImage, OwnImages, center
from .lanes import Workspace

#: Prompts that a GPU upscales at once: what is upscaled is 8 times as large as the image tokens.
_TOGETHER = 16
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
        _arrange(weights.to(dtype) @ large.t(), out)

    def make_masks(
        self,
        shared: Tensor,
        images: OwnImages,
        values: Tensor,
        weights: Tensor,
        chosen: Tensor,
        out: Tensor,
        space: Workspace,
    ) -> None:
        """Write the logits of the chosen masks of some prompts, one prompt after the other.

        Parameters
        ----------
        shared : Tensor of float32, shape (n, channels)
            What all prompts share of the image tokens, folded.
        images : OwnImages
        values : Tensor of float32, shape (n_prompts, rows, channels)
            Those of the images, folded.
        weights : Tensor of float32, shape (n_prompts, masks per prompt, channels // 8)
        chosen : Tensor of bool, shape (n_prompts, masks per prompt)
        out : Tensor of float32, shape (n_masks, 4 rows, 4 cols)
        space : Workspace
        """
        done = 0
        for prompt in chosen.any(1).nonzero()[:, 0].tolist():
            kept = weights[prompt, chosen[prompt]]
            self(shared, images.take(prompt, values), kept, out[done : done + len(kept)], space)
            done += len(kept)


class BatchUpscaling(Upscaling):
    """Upscaling of several prompts at once, for a GPU; see `Upscaling`.

    The mean of what is normalised is taken off the weights. PyTorch's layer norm is slow where
    rows are as short as these.
    """

    def __init__(self, layers: nn.Sequential, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__(layers, bias, dtype)
        self._width = len(self._norm.weight)
        self._weight, self._bias = self._center(self._weight), self._center(self._bias)

    def _center(self, values: Tensor) -> Tensor:
        """Take the mean off each quarter of the last axis."""
        return center(values.view(*values.shape[:-1], -1, self._width)).flatten(-2)

    def make_masks(
        self,
        shared: Tensor,
        images: OwnImages,
        values: Tensor,
        weights: Tensor,
        chosen: Tensor,
        out: Tensor,
        space: Workspace,
    ) -> None:
        """Write the logits of the chosen masks of some prompts."""
        done = 0
        for part in torch.split(chosen.any(1).nonzero()[:, 0], _TOGETHER):
            own = OwnImage(images.scale[part], images.shares[part], values[part])
            large = self._upscale(shared, own)
            kept = (weights[part].to(self._dtype) @ large.transpose(1, 2))[chosen[part]]
            _arrange(kept, out[done : done + len(kept)])
            done += len(kept)

    def _upscale(self, shared: Tensor, own: OwnImage) -> Tensor:
        """Return the pixels of prompts, (n_prompts, 16 n, channels // 8); `own` has several."""
        dtype, norm = self._dtype, self._norm
        written = own.shares.to(dtype).transpose(1, 2) @ own.values.to(dtype)
        first = torch.addcmul(self._bias, shared + written, own.scale[:, :, None])
        first = first.view(-1, self._width)
        squares = torch.linalg.vector_norm(first, dim=1, keepdim=True).square_()
        first *= squares.div_(self._width).add_(norm.eps).rsqrt_()
        first = torch.addcmul(norm.bias, first, norm.weight).to(dtype)
        large = torch.addmm(self._second_bias.to(dtype), self._act(first), self._second)
        pixels: Tensor = self._last_act(large)
        return pixels.view(len(own.scale), 16 * len(shared), large.shape[1] // 4)


def _arrange(pixels: Tensor, out: Tensor) -> None:
    """Write pixels, (n_masks, 16 n), to their rows and columns, (n_masks, 4 rows, 4 cols)."""
    # Tokens, then quarters of a token, then quarters of these.
    count, side = len(out), out.shape[-1] // 4
    pixels = pixels.view(count, side, side, 2, 2, 2, 2)
    out.view(count, side, 2, 2, side, 2, 2)[:] = pixels.permute(0, 1, 3, 5, 2, 4, 6)


def _as_matrix(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Return a stride-2 transposed convolution as weights (c_in, 4 * c_out) and bias."""
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
    bias = weight.new_zeros(weight.shape[1]) if layer.bias is None else layer.bias.repeat(4)
    return weight, bias
