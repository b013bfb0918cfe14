"""SAM's mask decoder for many point prompts on one image; the weights stay in Meta's module.

Exact up to the order of float additions and, on a CPU, what a fitted exponential and normal
distribution differ by (`cpu.kernels`). Until the image first reads a prompt's tokens, every
prompt sees the same image, so that part runs for all prompts at once; after it, a few prompts at
a time, in `lanes`. `image_tokens` tells how each of them gets an image of its own without a copy.
Masks are made only where the predicted IoU asks for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn

from .attention import CrossAttention, SharedRead
from .image_tokens import ImageLayer, OwnImages, SharedLayer
from .lanes import Lanes, Workspace, runs_in_lanes
from .upscaling import BatchUpscaling, Upscaling

#: Prompts that go through the shared part at once, at least: lanes wait for the first of them.
_SHARED_PROMPTS = 64
#: Prompts that a core goes on with at once, at least.
_LEAST_PROMPTS = 4


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


def _choose_parts(
    layers: Sequence[ImageLayer], upscaling: nn.Sequential, *, on_cpu: bool, compiled: bool
) -> tuple[type[OwnImages], type[Upscaling]]:
    """Return what image tokens and upscaling are computed by."""
    if not on_cpu:
        return OwnImages, BatchUpscaling
    if not compiled:
        return OwnImages, Upscaling
    # Imported here because a GPU has no use for it.
    from .cpu import CpuImages, CpuUpscaling

    return (
        CpuImages if CpuImages.fit(layers) else OwnImages,
        CpuUpscaling if CpuUpscaling.fits(upscaling) else Upscaling,
    )


class MaskDecoder:
    """Decodes point prompts on one image after another.

    Parameters
    ----------
    sam : segment_anything.modeling.Sam
    dtype : torch.dtype
        `float32`, or `bfloat16` for the upscaling of masks; all else is in float32.
    compiled : bool
        On a CPU, run what is compiled for it; else PyTorch's steps, as on other devices.
    """

    def __init__(
        self, sam: Sam, dtype: torch.dtype = torch.float32, *, compiled: bool = True
    ) -> None:
        self._sam = sam
        decoder = sam.mask_decoder
        blocks = list(decoder.transformer.layers)
        positions = sam.prompt_encoder.get_dense_pe()[0].flatten(1).t().contiguous()
        self._first_read = CrossAttention(
            blocks[0].cross_attn_token_to_image,
            positions,
            torch.zeros_like(positions[0]),
            image_reads=False,
        )
        readers = [block.cross_attn_token_to_image for block in blocks[1:]]
        readers.append(decoder.transformer.final_attn_token_to_image)
        self._layers: list[ImageLayer] = []
        for block, reader in zip(blocks, readers, strict=True):
            before = self._layers[-1] if self._layers else None
            self._layers.append(ImageLayer(block, positions, reader, before))
        layers = decoder.output_upscaling
        self._images, upscaling = _choose_parts(
            self._layers, layers, on_cpu=runs_in_lanes(sam.device), compiled=compiled
        )
        self._upscaling = upscaling(layers, self._layers[-1].bias, dtype)
        self._folded = self._upscaling.fold(self._layers[-1].value_weight)
        self._lanes = Lanes(sam.device)
        self._tokens_per_image = len(positions)
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
            Prompts that run at once, at most.

        Yields
        ------
        DecodedMasks
            Batch after batch, in the order of the points.
        """
        fixed = self._sam.prompt_encoder.no_mask_embed.weight
        image = embedding.flatten(1).t().contiguous() + fixed
        read = self._first_read.share(image)
        shared = []
        for layer in self._layers:
            part, image = layer.share(image)
            shared.append(part)
        upscaled = self._upscaling.fold(image)

        def few_prompts() -> Iterator[tuple[int, _Prompts]]:
            """Give a few prompts at a time, with the number of the first."""
            together = max(_SHARED_PROMPTS, batch)
            # A GPU has one lane, and wants many.
            least = _LEAST_PROMPTS if runs_in_lanes(points.device) else batch
            for start in range(0, len(points), together):
                prompts = self._run_shared(points[start : start + together], read)
                offset = 0
                while offset < len(prompts.codes):
                    # Fewer at a time towards the end, so that no lane waits long for another.
                    left = len(points) - start - offset
                    size = min(batch, max(least, left // 4))
                    yield start + offset, prompts.take(slice(offset, offset + size))
                    offset += size

        def run(item: tuple[int, _Prompts], space: Workspace) -> DecodedMasks:
            """Decode a few prompts."""
            first_prompt, prompts = item
            tokens, images = self._run_own(prompts, shared, space)
            return self._make_masks(tokens, images, upscaled, min_iou, first_prompt, space)

        yield from self._lanes.map(run, few_prompts())

    def _run_shared(self, points: Tensor, read: SharedRead) -> _Prompts:
        tokens = self._tokens(points)
        block = self._layers[0].block
        queries = self._attend_to_each_other(block, tokens, tokens)
        out = self._first_read.read_shared(queries + tokens, read)
        queries = self._think(block, queries + out)
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
        self, prompts: _Prompts, shared: Sequence[SharedLayer], space: Workspace
    ) -> tuple[Tensor, OwnImages]:
        """Run what every prompt does to its own image."""
        codes, queries = prompts.codes, prompts.queries
        asked, told = prompts.asked, prompts.values
        rows = len(self._layers) * self._first_read.heads * codes.shape[1]
        images = self._images(codes, rows, self._tokens_per_image, space)
        following = [layer.block for layer in self._layers[1:]]
        for number, (layer, part) in enumerate(zip(self._layers, shared, strict=True)):
            last = number == len(following)
            if last:  # from here on every token goes alone: two of them are done
                queries, codes = queries[:, self._answers], codes[:, self._answers]
            elif number > 0:  # the second layer's has run for all prompts at once
                queries = self._attend_to_each_other(following[number], queries, codes)
            queries = queries + images.pass_layer(layer, part, asked, told, queries + codes)
            if not last:
                queries = self._think(following[number], queries)
                asked, told = queries + codes, queries
        return self._sam.mask_decoder.transformer.norm_final_attn(queries), images

    def _make_masks(
        self,
        tokens: Tensor,
        images: OwnImages,
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
        values = images.fold(self._folded)
        self._upscaling.make_masks(shared, images, values, weights, chosen, logits, space)
        candidates = chosen.flatten().nonzero()[:, 0]
        return DecodedMasks(
            logits, iou.flatten()[candidates], candidates + first_prompt * iou.shape[1]
        )
