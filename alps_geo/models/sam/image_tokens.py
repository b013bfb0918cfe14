"""Image tokens of many prompts: what all prompts share of them, and the little each prompt adds.

SAM's decoder lets every prompt write on a copy of the image's n = 4096 tokens: a layer adds to each
token a few values, in shares of the token's own, and normalises it. After any number of layers, the
tokens of a prompt are

    x = s * (E T + S' V) + b

with the embedding E and a matrix T that are the same for all prompts, a number s per token, the
shares S (8 heads times 7 prompt tokens for each layer that wrote), as many values V, and the bias b
of the last norm. Here x is never made. With C, which takes the mean of the channels off, positions
p, and a head's projection W to 16 channels:

* scores of q: q W (x + p)' = s * (q (W T' E') + (q W V') S) + q (W (b + p)'); what is in brackets
  beside E and p is made once per image or model;
* reading: (P x) W' = (P * s) (E T W') + (P * s) S' V W' + b W', where (E T W') is made once per
  image;
* writing: 56 more rows of S, over s, and of V. Values are V = v U: 16 channels of a head, and a 1
  for the biases, times weights, so that what they have in common with E is made once per image too;
* normalising: |x C|^2 = s^2 (|E T C|^2 + S . (2 v (U C T' E') + (V C V') S)), per token, after
  which only s changes. In x here b is part of V. Where a prompt takes away nearly all that a token
  had, digits are lost; the variance stays above nothing.

What is left for a prompt are products with 56 rows a layer, instead of 256 channels, on 56 numbers
per image token and layer. All this is exact up to the order of float additions; on a CPU
(`cpu.image_tokens`), exponentials are within 1e-5 of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor

from .attention import CrossAttention
from .lanes import Workspace


@dataclass(frozen=True)
class SharedLayer:
    """What every prompt on an image shares of one layer's image tokens.

    Attributes
    ----------
    asked : Tensor, shape (heads, depth, n)
        Image tokens as they ask prompts' tokens. What positions add is a part in the first layer
        only: later, what prompts have written scales the rest, and not the positions.
    energy : Tensor, shape (n,)
        Variance of the image tokens, but for what prompts wrote.
    crossed : Tensor, shape (layers so far * heads, depth + 1, n)
        Twice their covariance with what prompts write, per channel that this is made of.
    keys : Tensor, shape (heads, depth, n)
        After the layer: keys of the image tokens for the attention from prompts to the image.
    values : Tensor, shape (heads, depth, n)
        After the layer: what these read.
    """

    asked: Tensor
    energy: Tensor
    crossed: Tensor
    keys: Tensor
    values: Tensor


class ImageLayer:
    """What one layer does to image tokens, and which tokens read them next.

    Parameters
    ----------
    block : segment_anything.modeling.transformer.TwoWayAttentionBlock
    positions : Tensor, shape (n, channels)
        Positional codes of the image tokens.
    reader : segment_anything.modeling.transformer.Attention
        Of the tokens that read the image after this layer.
    before : ImageLayer, optional
        The layer before this one.

    Attributes
    ----------
    block : segment_anything.modeling.transformer.TwoWayAttentionBlock
    writer, reader : CrossAttention
        Of the image that reads prompts' tokens, and of tokens that read the image afterwards.
    bias : Tensor, shape (channels,)
        What the norm adds to all tokens.
    value_weight : Tensor, shape (layers so far * heads, depth + 1, channels)
        Turns what prompts have written into values after this layer.
    asked_weight, key_weight : Tensor, shape (heads, depth, layers so far * heads * (depth + 1))
        Turn tokens that ask into what meets what prompts have written, before and after this layer.
    product_weight : Tensor, shape (groups, depth + 1, groups * (depth + 1))
        Covariances of what this layer's values are made of, with groups as of `value_weight`.
    read_weight : Tensor, shape (heads, layers so far * heads * (depth + 1), depth)
        Turns what tokens read of what prompts have written into what they get.
    """

    def __init__(
        self,
        block: TwoWayAttentionBlock,
        positions: Tensor,
        reader: torch.nn.Module,
        before: ImageLayer | None = None,
    ) -> None:
        self.block = block
        self._norm = block.norm4
        self.bias = self._norm.bias
        earlier = torch.zeros_like(self.bias) if before is None else before.bias
        self.writer = CrossAttention(
            block.cross_attn_image_to_token, positions, earlier, image_reads=True
        )
        self.reader = CrossAttention(reader, positions, self.bias, image_reads=False)
        carried = self.writer.write_weight[:0] if before is None else before.value_weight
        self._weights = torch.cat([carried, self.writer.write_weight])
        centered = center(self._weights)
        self.value_weight: Tensor = self.carry(centered)
        self._is_first = before is None
        # PyTorch on MPS refuses empty matrices (issue 187399).
        asked = self.writer.image_weight
        self.asked_weight: Tensor = asked[..., :0] if before is None else _meet(asked, carried)
        self.product_weight = _meet(centered, centered) / centered.shape[-1]
        self.key_weight = _meet(self.reader.image_weight, self.value_weight)
        self.read_weight = _meet(self.reader.read_weight, self.value_weight).transpose(1, 2)

    @property
    def eps(self) -> float:
        """What the norm adds to the variance."""
        return float(self._norm.eps)

    def carry(self, centered: Tensor) -> Tensor:
        """Do what the norm does to a part of the tokens (..., c), but for their deviations."""
        carried: Tensor = centered * self._norm.weight
        return carried

    def share(self, image: Tensor) -> tuple[SharedLayer, Tensor]:
        """Project what all prompts share of the image.

        Parameters
        ----------
        image : Tensor, shape (n, channels)
            Before this layer.

        Returns
        -------
        SharedLayer
        Tensor, shape (n, channels)
            The image after this layer.
        """
        asked = self.writer.project_image(image)
        if self._is_first:
            asked += self.writer.places
        centered = center(image)
        channels = image.shape[1]
        crossed = self._weights @ centered.t() * (2 / channels)
        image = self.carry(centered)
        shared = SharedLayer(
            asked,
            centered.square().mean(1),
            crossed,
            self.reader.project_image(image),
            self.reader.project_values(image),
        )
        return shared, image


def _meet(first: Tensor, second: Tensor) -> Tensor:
    """Multiply (a, b, channels) with all of (c, d, channels): (a, b, c * d)."""
    return first @ second.flatten(0, 1).t()


def center(values: Tensor) -> Tensor:
    """Take the mean off the last axis."""
    return values - values.mean(-1, keepdim=True)


@dataclass(frozen=True)
class Factors:
    """What prompts' image tokens are multiplied with.

    Attributes
    ----------
    tokens : Tensor, shape (batch, groups, t, depth)
        Meet what all prompts share.
    folded : Tensor, shape (batch, groups * t, rows)
        Meet the shares that each prompt's image has so far.
    """

    tokens: Tensor
    folded: Tensor


@dataclass(frozen=True)
class OwnImage:
    """The image tokens of one prompt: scale * (shared + shares' values).

    Attributes
    ----------
    scale : Tensor, shape (n,)
    shares : Tensor, shape (rows, n)
    values : Tensor, shape (rows, channels)
    """

    scale: Tensor
    shares: Tensor
    values: Tensor


class OwnImages:
    """The image tokens of a few prompts, until others are made in the same workspace.

    Parameters
    ----------
    codes : Tensor, shape (batch, t, channels)
        The prompts' tokens.
    rows : int
        Shares that all layers together will write: layers times heads times tokens.
    count : int
        Image tokens, n.
    space : Workspace

    Attributes
    ----------
    scale : Tensor, shape (batch, n)
        Of all that is in an image token.
    shares : Tensor, shape (batch, rows, n)
        Of the values, in each image token, over its scale; of layers that have passed.
    written : Tensor, shape (batch, groups so far, t, depth + 1)
        What the values are made of: see `ImageLayer.value_weight`.
    """

    def __init__(self, codes: Tensor, rows: int, count: int, space: Workspace) -> None:
        batch = len(codes)
        self.scale = space.take("scale", batch, count).fill_(1)
        self.shares = space.take("shares", batch, rows, count)
        self.written: Tensor = codes.new_empty(batch, 0, codes.shape[1], 0)

    def pass_layer(
        self, layer: ImageLayer, shared: SharedLayer, asked: Tensor, told: Tensor, reading: Tensor
    ) -> Tensor:
        """Let image tokens read prompts' tokens, normalise them, and let tokens read them.

        Parameters
        ----------
        layer : ImageLayer
        shared : SharedLayer
        asked, told : Tensor, shape (batch, t, channels)
            What image tokens compare themselves with, and what they read.
        reading : Tensor, shape (batch, t', channels)
            Tokens that read the image afterwards.

        Returns
        -------
        Tensor, shape (batch, t', channels)
            What they read.
        """
        asks = self._ask(layer.writer.project_tokens(asked), layer.asked_weight)
        values = self._add_values(layer, told)
        reads = self._ask(layer.reader.project_tokens(reading), layer.key_weight)
        return layer.reader.answer(self._pass_tokens(layer, shared, asks, values, reads))

    def fold(self, weight: Tensor) -> Tensor:
        """Return the values times a matrix.

        Parameters
        ----------
        weight : Tensor, shape (groups, depth + 1, c)
            The last layer's `value_weight` times the matrix: far fewer rows than the values'.

        Returns
        -------
        Tensor, shape (batch, rows, c)
        """
        return _by_prompt(self.written, weight)

    def take(self, prompt: int, folded: Tensor) -> OwnImage:
        """Return the image of one prompt, with values that were folded for what comes next."""
        return OwnImage(self.scale[prompt], self.shares[prompt], folded[prompt])

    def _ask(self, tokens: Tensor, weight: Tensor) -> Factors:
        """Return what gives the scores of projected tokens, shape (batch, heads, t, depth)."""
        if not self._rows:  # the first layer
            return Factors(tokens, tokens.flatten(1, 2)[:, :, :0])
        return Factors(tokens, self._meet_written(_by_prompt(tokens, weight)))

    def _add_values(self, layer: ImageLayer, told: Tensor) -> Factors:
        """Add what image tokens will read to the values, as they are after the layer.

        Returns
        -------
        Factors
            What gives the share of each value in the image tokens' variance.
        """
        new = layer.writer.write_tokens(told)
        self.written = torch.cat([self.written, new], dim=1) if self._rows else new
        products = _by_prompt(self.written, layer.product_weight)
        return Factors(self.written, self._meet_written(products))

    @property
    def _rows(self) -> int:
        """Shares that layers have written so far."""
        return self.written.shape[1] * self.written.shape[2]

    def _meet_written(self, factors: Tensor) -> Tensor:
        """Multiply (batch, k, groups * (depth + 1)) with what was written: (batch, k, rows)."""
        batch, groups, _, depth = self.written.shape
        by_group = factors.view(batch, -1, groups, depth).transpose(1, 2)
        return (by_group @ self.written.transpose(2, 3)).transpose(1, 2).flatten(2)

    def _pass_tokens(
        self,
        layer: ImageLayer,
        shared: SharedLayer,
        asks: Factors,
        values: Factors,
        reads: Factors,
    ) -> Tensor:
        """Do with the image tokens what `pass_layer` says: (batch, heads, t', depth)."""
        self._write(self._score(asks, shared.asked, layer.writer.places), layer.writer.heads)
        self._normalise(values, layer, shared)
        scores = self._score(reads, shared.keys, layer.reader.places)
        return self._read(layer, shared.values, scores)

    def _score(self, factors: Factors, shared: Tensor, places: Tensor) -> Tensor:
        """Return the scores of tokens that ask, or are asked, (batch, heads * t, n).

        Parameters
        ----------
        factors : Factors
        shared, places : Tensor, shape (heads, depth, n)
            What is scaled with the image, and what is not; in the first layer all is in `shared`.
        """
        if not factors.folded.shape[2]:  # the first layer
            return _by_prompt(factors.tokens, shared)
        scores = self._multiply(factors, shared)
        scores *= self.scale[:, None]
        return scores.add_(_by_prompt(factors.tokens, places))

    def _multiply(self, factors: Factors, shared: Tensor) -> Tensor:
        """Multiply with image tokens, but for their scale: (batch, groups * t, n)."""
        products = _by_prompt(factors.tokens, shared)
        shares = self.shares[:, : factors.folded.shape[2]]
        return torch.baddbmm(products, factors.folded, shares)

    def _write(self, scores: Tensor, heads: int) -> None:
        batch, rows, columns = scores.shape
        total = self._rows
        shares = scores.view(batch, heads, -1, columns).softmax(2).flatten(1, 2)
        torch.div(shares, self.scale[:, None], out=self.shares[:, total - rows : total])

    def _normalise(self, values: Factors, layer: ImageLayer, shared: SharedLayer) -> None:
        squares = self._multiply(values, shared.crossed)
        squares *= self.shares[:, : self._rows]
        variance = (squares.sum(1) + shared.energy).mul_(self.scale.square())
        self.scale *= variance.clamp_(min=0).add_(layer.eps).rsqrt_()

    def _read(self, layer: ImageLayer, values: Tensor, scores: Tensor) -> Tensor:
        """Let tokens read images by scores, (batch, heads * t, n): (batch, heads, t, depth)."""
        batch, _, tokens = scores.shape
        weights = scores.softmax(-1).mul_(self.scale[:, None])
        mixed = weights @ self.shares[:, : self._rows].transpose(1, 2)
        by_head = weights.view(batch, len(values), -1, tokens).transpose(0, 1).flatten(1, 2)
        read = torch.bmm(by_head, values.transpose(1, 2))
        read = read.view(len(values), batch, -1, values.shape[1])
        return self._mix(layer, mixed) + read.transpose(0, 1)

    def _mix(self, layer: ImageLayer, mixed: Tensor) -> Tensor:
        """Turn mixtures of shares, (batch, heads * t, rows), to what is read in them."""
        batch, groups, count, _ = self.written.shape
        by_group = mixed.view(batch, -1, groups, count).transpose(1, 2)
        read = (by_group @ self.written).transpose(1, 2).flatten(2)
        read = read.view(batch, len(layer.read_weight), -1, read.shape[2])
        return _by_prompt(read, layer.read_weight).view(*read.shape[:3], -1)


def _by_prompt(tokens: Tensor, shared: Tensor) -> Tensor:
    """Multiply (batch, groups, t, c) with shared (groups, c, n): (batch, groups * t, n)."""
    batch, groups, count, _ = tokens.shape
    # All prompts' tokens of a group as one matrix: broadcasting would copy what is shared.
    products = torch.bmm(tokens.transpose(0, 1).flatten(1, 2), shared)
    return products.view(groups, batch, count, -1).transpose(0, 1).flatten(1, 2)
