"""Attention between a prompt's few tokens and an image's many, without projecting the image.

A prompt has 7 tokens and 8 heads: 56 vectors, fewer than the 128 channels that SAM's decoder
projects every image token to. So the projections move to the token side. Per head, with image
tokens x, their positions p, tokens t, and the projections' weights W:

* score: (W_t t) · (W_x (x + p) + b) = (W_xᵀ W_t t) · x + (W_t t) · (W_x p + b), where the second
  factor of the last term is a table that no image and no prompt changes;
* tokens read the image: softmax(scores) x first, 56 rows, and then the value projection;
* the image reads tokens: the output projection is folded into the 7 values of each head.

All this is exact up to the order of float additions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from segment_anything.modeling.transformer import Attention
from torch import Tensor
from torch.nn import functional

from .sam_lanes import Workspace


@dataclass(frozen=True)
class SharedImage:
    """The image side of an attention where every prompt still sees the same image tokens.

    Attributes
    ----------
    scores : Tensor, shape (heads, depth, n) where the image reads, else (heads, n, depth)
        Projected image tokens that tokens are compared with.
    values : Tensor, shape (heads, n, depth)
        Projected image tokens that tokens read; empty where the image reads.
    """

    scores: Tensor
    values: Tensor


class CrossAttention:
    """One of the decoder's attentions between tokens and image.

    Parameters
    ----------
    attention : segment_anything.modeling.transformer.Attention
    positions : Tensor of float32, shape (n, channels)
        Positional codes of the image tokens.
    dtype : torch.dtype
        Number type of the products with image tokens.
    image_reads : bool
        True where image tokens ask and prompt tokens answer.
    """

    def __init__(
        self, attention: Attention, positions: Tensor, dtype: torch.dtype, *, image_reads: bool
    ) -> None:
        self._heads = attention.num_heads
        self._depth = attention.internal_dim // attention.num_heads
        self._attention = attention
        self._dtype = dtype
        self._image_reads = image_reads
        asks, answers = attention.q_proj, attention.k_proj
        self._token_projection = answers if image_reads else asks
        self._image_projection = asks if image_reads else answers
        self._image_weight = self._image_projection.weight.view(self._heads, self._depth, -1)
        table = self._image_projection(positions)
        self._table = self._split(table).transpose(1, 2).contiguous().to(dtype)
        self._positions = positions

    def _split(self, rows: Tensor) -> Tensor:
        """Turn (..., n, heads * depth) into (..., heads, n, depth)."""
        split: Tensor = rows.view(*rows.shape[:-1], self._heads, self._depth)
        return split.transpose(-3, -2)

    def _project_tokens(self, tokens: Tensor) -> Tensor:
        return self._split(self._token_projection(tokens)) / math.sqrt(self._depth)

    def share(self, image: Tensor) -> SharedImage:
        """Project image tokens, shape (n, channels), that are the same for every prompt."""
        scores = self._split(self._image_projection(image + self._positions))
        if self._image_reads:
            scores = scores.transpose(1, 2).contiguous()
            return SharedImage(scores.to(self._dtype), image.new_empty(0))
        values = self._split(self._attention.v_proj(image))
        return SharedImage(scores.contiguous(), values.contiguous())

    def _scores(self, tokens: Tensor, image: Tensor, space: Workspace) -> Tensor:
        """Return scores, shape (batch, heads * tokens, n), for image tokens (batch, n, c)."""
        projected = self._project_tokens(tokens)
        folded = (projected @ self._image_weight).flatten(1, 2).to(self._dtype)
        table = self._compare(projected, self._table, space)
        return table.baddbmm_(folded, image.transpose(1, 2))

    def _compare(self, projected: Tensor, image_side: Tensor, space: Workspace) -> Tensor:
        """Return projected tokens (batch, heads, t, depth) times (heads, depth, n), by head.

        Returns
        -------
        Tensor, shape (batch, heads * t, n)
        """
        batch, _, count, _ = projected.shape
        # All prompts' tokens of a head as one matrix: broadcasting would copy the image side.
        tokens = projected.to(self._dtype).transpose(0, 1).flatten(1, 2)
        scores = space.take("scores", self._heads, batch * count, image_side.shape[-1])
        torch.bmm(tokens, image_side, out=scores)
        return scores.view(self._heads, batch, count, -1).transpose(0, 1).flatten(1, 2)

    def read_shared(self, tokens: Tensor, shared: SharedImage) -> Tensor:
        """Let tokens (batch, t, c) read an image that all prompts share; return what they read."""
        batch, count, _ = tokens.shape
        query = self._split(self._token_projection(tokens)).transpose(0, 1).flatten(1, 2)
        # All prompts' tokens ask one image, so that they are one long sequence of queries.
        read = functional.scaled_dot_product_attention(
            query[None], shared.scores[None], shared.values[None]
        )[0]
        read = read.view(self._heads, batch, count, self._depth).permute(1, 2, 0, 3).flatten(2)
        out: Tensor = self._attention.out_proj(read)
        return out

    def read(self, tokens: Tensor, image: Tensor, space: Workspace) -> Tensor:
        """Let tokens (batch, t, c) read images (batch, n, c); return what they read."""
        batch, count, channels = tokens.shape
        shares = self._scores(tokens, image, space).softmax(-1)
        mixed = (shares @ image).float().view(batch, self._heads, count, channels)
        project = self._attention.v_proj
        weight = project.weight.view(self._heads, self._depth, channels).transpose(1, 2)
        values = (mixed @ weight).transpose(1, 2).flatten(2)
        out: Tensor = self._attention.out_proj(values + project.bias)
        return out

    def write(
        self,
        asked: Tensor,
        values: Tensor,
        image: Tensor,
        space: Workspace,
        shared: SharedImage | None = None,
    ) -> None:
        """Let the image read tokens, and add what they read to the image tokens.

        Parameters
        ----------
        asked, values : Tensor, shape (batch, t, c)
            Tokens with and without their positional codes.
        image : Tensor, shape (batch, n, c)
            Overwritten.
        space : Workspace
        shared : SharedImage, optional
            The image's projection where all prompts see the same.
        """
        batch, count, _ = asked.shape
        if shared is None:
            scores = self._scores(asked, image, space)
        else:
            scores = self._compare(self._project_tokens(asked), shared.scores, space)
        shares = scores.view(batch, self._heads, count, -1).softmax(2).flatten(1, 2)
        out = self._attention.out_proj
        weight = out.weight.t().view(self._heads, self._depth, -1)
        read = self._split(self._attention.v_proj(values)) @ weight
        # The shares of a head add up to one, so every head may carry its part of the bias.
        read = (read + out.bias / self._heads).flatten(1, 2).to(self._dtype)
        image.baddbmm_(shares.transpose(1, 2), read)
