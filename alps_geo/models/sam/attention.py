"""Attention between a prompt's few tokens and an image's many, with SAM's weights.

The image side is not computed here for every prompt: `image_tokens` keeps what all prompts see of
it, projected once, and this module gives it the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from segment_anything.modeling.transformer import Attention
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class SharedRead:
    """What prompts read that all see the same image tokens.

    Attributes
    ----------
    keys, values : Tensor, shape (heads, n, depth)
        The image tokens, projected.
    """

    keys: Tensor
    values: Tensor


class CrossAttention:
    """One of the decoder's attentions between tokens and image.

    Parameters
    ----------
    attention : segment_anything.modeling.transformer.Attention
    positions : Tensor of float32, shape (n, channels)
        Positional codes of the image tokens.
    bias : Tensor of float32, shape (channels,)
        Part of all image tokens, which the image that is projected here does not have.
    image_reads : bool
        True where image tokens ask and prompt tokens answer.

    Attributes
    ----------
    heads : int
    image_weight : Tensor, shape (heads, depth, channels)
        Projects image tokens to what is compared with prompts' tokens.
    places : Tensor, shape (heads, depth, n)
        What positions and bias add to projected image tokens.
    read_weight : Tensor, shape (heads, depth, channels)
        Projects what is read, but for the bias.
    write_weight : Tensor, shape (heads, depth + 1, channels)
        Turns what `write_tokens` returns into what image tokens add when they read it, `bias`
        included: the shares of a head add up to one, so every head carries its part of biases.
    """

    def __init__(
        self, attention: Attention, positions: Tensor, bias: Tensor, *, image_reads: bool
    ) -> None:
        self.heads = attention.num_heads
        self._depth = attention.internal_dim // attention.num_heads
        self._attention = attention
        asks, answers = attention.q_proj, attention.k_proj
        self._token_projection = answers if image_reads else asks
        image_projection = asks if image_reads else answers
        self.image_weight: Tensor = image_projection.weight.view(self.heads, self._depth, -1)
        places = self._split(image_projection(positions + bias))
        self.places = places.transpose(1, 2).contiguous()
        self.read_weight: Tensor = attention.v_proj.weight.view(self.heads, self._depth, -1)
        self._values_bias = attention.v_proj.bias + attention.v_proj.weight @ bias
        out = attention.out_proj
        weight = out.weight.t().view(self.heads, self._depth, -1)
        part = ((out.bias + bias) / self.heads).expand(self.heads, 1, -1)
        self.write_weight = torch.cat([weight, part], dim=1)

    def _split(self, rows: Tensor) -> Tensor:
        """Turn (..., n, heads * depth) into (..., heads, n, depth)."""
        split: Tensor = rows.view(*rows.shape[:-1], self.heads, self._depth)
        return split.transpose(-3, -2)

    def share(self, image: Tensor) -> SharedRead:
        """Project image tokens, shape (n, channels), that are the same for every prompt."""
        keys = (self.project_image(image) + self.places).transpose(1, 2)
        values = self._split(image @ self._attention.v_proj.weight.t() + self._values_bias)
        return SharedRead(keys.contiguous(), values.contiguous())

    def read_shared(self, tokens: Tensor, shared: SharedRead) -> Tensor:
        """Let tokens (batch, t, c) read an image that all prompts share; return what they read."""
        batch, count, _ = tokens.shape
        query = self._split(self._token_projection(tokens)).transpose(0, 1).flatten(1, 2)
        # All prompts' tokens ask one image, so that they are one long sequence of queries.
        read = functional.scaled_dot_product_attention(
            query[None], shared.keys[None], shared.values[None]
        )[0]
        read = read.view(self.heads, batch, count, self._depth).permute(1, 2, 0, 3).flatten(2)
        out: Tensor = self._attention.out_proj(read)
        return out

    def project_image(self, image: Tensor) -> Tensor:
        """Return what tokens are compared with, shape (heads, depth, n), of an image (n, c)."""
        return self.image_weight @ image.t()

    def project_values(self, image: Tensor) -> Tensor:
        """Return what tokens read of an image (n, c), but for the bias: (heads, depth, n)."""
        return self.read_weight @ image.t()

    def project_tokens(self, tokens: Tensor) -> Tensor:
        """Return what is compared with image tokens, shape (batch, heads, t, depth)."""
        projected: Tensor = self._token_projection(tokens) / math.sqrt(self._depth)
        return self._split(projected)

    def answer(self, mixed: Tensor) -> Tensor:
        """Turn mixtures of projected values, (batch, heads, t, depth), into tokens."""
        out: Tensor = self._attention.out_proj(mixed.transpose(1, 2).flatten(2) + self._values_bias)
        return out

    def write_tokens(self, tokens: Tensor) -> Tensor:
        """Return what `write_weight` is for, shape (batch, heads, t, depth + 1)."""
        values = self._split(self._attention.v_proj(tokens))
        return torch.cat([values, values.new_ones(*values.shape[:-1], 1)], dim=-1)
