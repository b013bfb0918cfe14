"""SAM's mask decoder for many point prompts on one image; the weights stay in Meta's module.

Exact up to the order of float additions. Until the image first reads a prompt's tokens, every
prompt sees the same image, so that part runs for all prompts at once; after it, a few prompts at
a time, in `sam_lanes`. Masks are made only where the predicted IoU asks for one. `sam_attention`
tells how the attentions are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn

from .sam_attention import CrossAttention, SharedImage
from .sam_lanes import Lanes, Workspace
from .sam_upscaling import Upscaling, Written

#: Prompts that go through the shared part at once: bounds memory, nothing else.
_SHARED_PROMPTS = 256
#: Image tokens that a CPU takes through several steps at once, so that they stay in a core's
#: cache; in bfloat16 each step costs too much to begin.
_CACHED_TOKENS = 512


@dataclass(frozen=True)
class DecodedMasks:
    """Low-resolution masks of some prompts.

    Attributes
    ----------
    logits : Tensor of float32, shape (n_masks, rows, cols)
    predicted_iou : Tensor of float32, shape (n_masks,)
    candidates : Tensor of int64, shape (n_masks,)
        Number of the prompt times masks per prompt, plus number of the mask.
    """

    logits: Tensor
    predicted_iou: Tensor
    candidates: Tensor


@dataclass(frozen=True)
class _Layer:
    block: TwoWayAttentionBlock
    tokens_read: CrossAttention
    image_reads: CrossAttention


@dataclass(frozen=True)
class _Prompts:
    """Tokens of prompts that went through the shared part.

    `codes` are the tokens at the start, which serve as their positions; `asked` and `values` are
    what the image reads in the first layer; `queries` go on to the second one.
    """

    codes: Tensor
    asked: Tensor
    values: Tensor
    queries: Tensor

    def take(self, part: slice) -> _Prompts:
        """Return some of the prompts."""
        return _Prompts(self.codes[part], self.asked[part], self.values[part], self.queries[part])


class MaskDecoder:
    """Decodes point prompts on one image after another.

    Parameters
    ----------
    sam : segment_anything.modeling.Sam
    dtype : torch.dtype
        `float32`, or `bfloat16` for everything as large as the image; tokens stay in float32.
    """

    def __init__(self, sam: Sam, dtype: torch.dtype = torch.float32) -> None:
        self._sam = sam
        self._dtype = dtype
        decoder = sam.mask_decoder
        positions = sam.prompt_encoder.get_dense_pe()[0].flatten(1).t().contiguous()
        self._layers = [
            _Layer(
                block,
                CrossAttention(
                    block.cross_attn_token_to_image, positions, dtype, image_reads=False
                ),
                CrossAttention(block.cross_attn_image_to_token, positions, dtype, image_reads=True),
            )
            for block in decoder.transformer.layers
        ]
        self._last_read = CrossAttention(
            decoder.transformer.final_attn_token_to_image, positions, dtype, image_reads=False
        )
        norms = [layer.block.norm4 for layer in self._layers]
        heads = decoder.transformer.num_heads
        self._upscaling = Upscaling(decoder.output_upscaling, norms, heads, dtype)
        self._lanes = Lanes(sam.device, dtype)
        # A CPU normalises bfloat16 faster, and tells deviations better, with weights in float32.
        self._norm_dtype = torch.float32 if sam.device.type == "cpu" else dtype
        cached = sam.device.type == "cpu" and dtype == torch.float32
        step = _CACHED_TOKENS if cached else len(positions)
        self._pieces = [slice(at, at + step) for at in range(0, len(positions), step)]
        self.masks_per_prompt = int(decoder.num_multimask_outputs)
        # Tokens that answer: the predicted IoU's, and those of all masks but the single one.
        self._answers = [0, *range(2, 2 + self.masks_per_prompt)]

    def decode(
        self, embedding: Tensor, points: Tensor, min_iou: float, batch: int
    ) -> Iterator[DecodedMasks]:
        """Decode the masks of points whose predicted IoU is above a threshold.

        Parameters
        ----------
        embedding : Tensor of float32, shape (channels, rows, cols)
        points : Tensor, shape (n_points, 2)
            x and y in pixels of the encoder's input.
        min_iou : float
            Masks must be above it; all pass where it is 0.
        batch : int
            Prompts that run at once.

        Yields
        ------
        DecodedMasks
            Batch after batch, in the order of the points.
        """
        fixed = self._sam.prompt_encoder.no_mask_embed.weight
        image = embedding.flatten(1).t().contiguous() + fixed
        first = self._layers[0]
        read, written = first.tokens_read.share(image), first.image_reads.share(image)
        upscaled = self._upscaling.share(image)
        image = image.to(self._dtype)

        def few_prompts() -> Iterator[tuple[int, _Prompts]]:
            """Give a few prompts at a time, with the number of the first."""
            for start in range(0, len(points), _SHARED_PROMPTS):
                shared = self._run_shared(points[start : start + _SHARED_PROMPTS], read)
                for offset in range(0, len(shared.codes), batch):
                    yield start + offset, shared.take(slice(offset, offset + batch))

        def run(item: tuple[int, _Prompts], space: Workspace) -> DecodedMasks:
            """Decode a few prompts."""
            first_prompt, prompts = item
            tokens, marks = self._run_own(prompts, image, written, space)
            return self._make_masks(tokens, marks, upscaled, min_iou, first_prompt, space)

        yield from self._lanes.map(run, few_prompts())

    def _run_shared(self, points: Tensor, read: SharedImage) -> _Prompts:
        tokens = self._tokens(points)
        layer = self._layers[0]
        queries = self._attend_to_each_other(layer.block, tokens, tokens)
        out = layer.tokens_read.read_shared(queries + tokens, read)
        queries = self._think(layer.block, queries + out)
        asked, values = queries + tokens, queries
        if len(self._layers) > 1:
            queries = self._attend_to_each_other(self._layers[1].block, queries, tokens)
        return _Prompts(tokens, asked, values, queries)

    def _tokens(self, points: Tensor) -> Tensor:
        """Return the tokens of prompts, shape (n, 7, channels): outputs, point, padding."""
        labels = torch.ones(len(points), 1, dtype=torch.int, device=points.device)
        sparse, _ = self._sam.prompt_encoder(
            points=(points[:, None, :], labels), boxes=None, masks=None
        )
        decoder = self._sam.mask_decoder
        outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        return torch.cat([outputs.expand(len(points), -1, -1), sparse], dim=1)

    @staticmethod
    def _attend_to_each_other(
        block: TwoWayAttentionBlock, queries: Tensor, codes: Tensor
    ) -> Tensor:
        if block.skip_first_layer_pe:
            queries = block.self_attn(q=queries, k=queries, v=queries)
        else:
            asked = queries + codes
            queries = queries + block.self_attn(q=asked, k=asked, v=queries)
        normed: Tensor = block.norm1(queries)
        return normed

    @staticmethod
    def _think(block: TwoWayAttentionBlock, queries: Tensor) -> Tensor:
        queries = block.norm2(queries)
        normed: Tensor = block.norm3(queries + block.mlp(queries))
        return normed

    def _run_own(
        self, prompts: _Prompts, shared: Tensor, written: SharedImage, space: Workspace
    ) -> tuple[Tensor, Written]:
        """Run what every prompt does to its own copy of the image."""
        codes, queries = prompts.codes, prompts.queries
        image = space.take("image", len(codes), *shared.shape)
        writer = self._layers[0].image_reads
        asked, values = writer.ask(prompts.asked, written), [writer.fold_values(prompts.values)]
        shares = space.take("shares", len(codes), len(self._layers), asked.rows, len(shared))
        deviations = codes.new_empty(len(codes), len(self._layers), len(shared))
        pairs = zip(self._layers, [*self._layers[1:], None], strict=True)
        for number, (layer, following) in enumerate(pairs):
            if following is None:  # from here on every token goes alone: two of them are done
                queries, codes = queries[:, self._answers], codes[:, self._answers]
            elif number > 0:  # the second layer's has run for all prompts at once
                queries = self._attend_to_each_other(following.block, queries, codes)
            reader = self._last_read if following is None else following.tokens_read
            question = reader.ask(queries + codes)
            scores = space.take("all scores", len(codes), question.rows, len(shared))
            for rows in self._pieces:
                piece = image[:, rows]
                if number == 0:
                    piece.copy_(shared[rows])
                scores_here = asked.scores(piece, rows, space)
                shares[:, number, :, rows] = layer.image_reads.write(scores_here, values[-1], piece)
                deviations[:, number, rows] = self._normalise(layer.block.norm4, piece)
                scores[:, :, rows] = question.scores(piece, rows, space)
            queries = queries + reader.read(scores, image)
            if following is not None:
                queries = self._think(following.block, queries)
                asked = following.image_reads.ask(queries + codes)
                values.append(following.image_reads.fold_values(queries))
        tokens = self._sam.mask_decoder.transformer.norm_final_attn(queries)
        return tokens, Written(self._upscaling.fold(values), shares, deviations)

    def _normalise(self, norm: nn.LayerNorm, image: Tensor) -> Tensor:
        """Normalise image tokens in place; return one over the deviation each had before."""
        weight, bias = norm.weight.to(self._norm_dtype), norm.bias.to(self._norm_dtype)
        normed, _, deviations = torch.native_layer_norm(
            image, norm.normalized_shape, weight, bias, norm.eps
        )
        image.copy_(normed)
        return deviations[..., 0]

    def _make_masks(
        self,
        tokens: Tensor,
        written: Written,
        shared: Tensor,
        min_iou: float,
        first_prompt: int,
        space: Workspace,
    ) -> DecodedMasks:
        decoder = self._sam.mask_decoder
        iou = decoder.iou_prediction_head(tokens[:, 0])[:, 1:]
        chosen = iou > min_iou if min_iou > 0 else torch.ones_like(iou, dtype=torch.bool)
        side = 4 * self._sam.prompt_encoder.image_embedding_size[0]
        logits = iou.new_empty(int(chosen.sum()), side, side)
        makers = decoder.output_hypernetworks_mlps[1:]
        weights = torch.stack([make(tokens[:, 1 + mask]) for mask, make in enumerate(makers)], 1)
        done = 0
        # Prompt by prompt: what is upscaled is 8 times as large as the image tokens.
        for prompt in chosen.any(1).nonzero()[:, 0].tolist():
            kept = weights[prompt, chosen[prompt]]
            target = logits[done : done + len(kept)]
            self._upscaling(shared, written.take(prompt), self._pieces, kept, target, space)
            done += len(kept)
        candidates = chosen.flatten().nonzero()[:, 0]
        return DecodedMasks(
            logits, iou.flatten()[candidates], candidates + first_prompt * iou.shape[1]
        )
