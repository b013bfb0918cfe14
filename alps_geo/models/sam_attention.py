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


@dataclass(frozen=True)
class Question:
    """What tokens ask of image tokens, or these of them.

    Attributes
    ----------
    projected : Tensor, shape (heads, batch * t, depth)
    table : Tensor, shape (heads, depth, n)
        What each image token's place has to say, whatever the image; or a shared image's tokens.
    folded : Tensor or None, shape (batch, heads * t, c)
        Compared with image tokens that are not projected; None where they are shared.
    batch : int
    """

    projected: Tensor
    table: Tensor
    folded: Tensor | None
    batch: int

    @property
    def rows(self) -> int:
        """Rows of scores: heads times tokens."""
        return self.projected.shape[0] * self.projected.shape[1] // self.batch

    def scores(self, image: Tensor, rows: slice, space: Workspace) -> Tensor:
        """Return scores, shape (batch, heads * t, r), for some image tokens (batch, r, c)."""
        heads, count, _ = self.projected.shape
        scores = space.take("scores", heads, count, image.shape[1])
        torch.bmm(self.projected, self.table[:, :, rows], out=scores)
        by_prompt = scores.view(heads, self.batch, -1, image.shape[1]).transpose(0, 1).flatten(1, 2)
        if self.folded is None:
            return by_prompt
        return by_prompt.baddbmm_(self.folded, image.transpose(1, 2))


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

    def ask(self, tokens: Tensor, shared: SharedImage | None = None) -> Question:
        """Prepare what tokens (batch, t, c) ask of images, or images of them.

        Parameters
        ----------
        tokens : Tensor, shape (batch, t, c)
            With their positional codes.
        shared : SharedImage, optional
            The image's projection where all prompts see the same.
        """
        projected = self._project_tokens(tokens)
        # All prompts' tokens of a head as one matrix: broadcasting would copy the image side.
        by_head = projected.to(self._dtype).transpose(0, 1).flatten(1, 2)
        if shared is not None:
            return Question(by_head, shared.scores, None, len(tokens))
        folded = (projected @ self._image_weight).flatten(1, 2).to(self._dtype)
        return Question(by_head, self._table, folded, len(tokens))

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

    def read(self, scores: Tensor, image: Tensor) -> Tensor:
        """Let tokens read images (batch, n, c) by their scores (batch, heads * t, n)."""
        batch, _, channels = image.shape
        mixed = (scores.softmax(-1) @ image).float().view(batch, self._heads, -1, channels)
        project = self._attention.v_proj
        weight = project.weight.view(self._heads, self._depth, channels).transpose(1, 2)
        values = (mixed @ weight).transpose(1, 2).flatten(2)
        out: Tensor = self._attention.out_proj(values + project.bias)
        return out

    def fold_values(self, values: Tensor) -> Tensor:
        """Turn tokens (batch, t, c) into what images add when they read them.

        Returns
        -------
        Tensor, shape (batch, heads * t, c)
        """
        out = self._attention.out_proj
        weight = out.weight.t().view(self._heads, self._depth, -1)
        read = self._split(self._attention.v_proj(values)) @ weight
        # The shares of a head add up to one, so every head may carry its part of the bias.
        folded: Tensor = (read + out.bias / self._heads).flatten(1, 2).to(self._dtype)
        return folded

    def write(self, scores: Tensor, folded_values: Tensor, image: Tensor) -> Tensor:
        """Add to image tokens (batch, n, c) what they read by scores (batch, heads * t, n).

        Returns
        -------
        Tensor, shape (batch, heads * t, n)
            The share of each value in what an image token reads; a head's add up to one.
        """
        by_head = scores.view(len(scores), self._heads, -1, scores.shape[-1])
        shares = by_head.softmax(2).flatten(1, 2)
        image.baddbmm_(shares.transpose(1, 2), folded_values)
        return shares
