"""Image tokens that are kept in parts, against tokens that SAM's own modules write and read."""

import pytest
import torch

from alps_geo.models.sam.cpu.image_tokens import CpuImages
from alps_geo.models.sam.image_tokens import ImageLayer, OwnImages
from alps_geo.models.sam.lanes import Workspace

from .sam_models import make_sam

BOTH = pytest.mark.parametrize("kind", [OwnImages, CpuImages], ids=["with torch", "compiled"])


@BOTH
@pytest.mark.parametrize("prompts", [1, 5], ids=lambda count: f"{count} prompts")
@pytest.mark.parametrize("count", [60, 464, 465, 1000], ids=lambda count: f"{count} image tokens")
def test_every_prompt_reads_its_own_image(kind, prompts, count):
    sam = make_sam(decoder_depth=3)
    blocks = list(sam.mask_decoder.transformer.layers)
    readers = [block.cross_attn_token_to_image for block in blocks]
    channels = sam.prompt_encoder.embed_dim
    positions, image = torch.randn(2, count, channels)
    asked, told, reading = torch.randn(3, len(blocks), prompts, 7, channels)
    with torch.inference_mode():
        space = Workspace(image.device)
        rows = len(blocks) * blocks[0].cross_attn_image_to_token.num_heads * 7
        own = kind(told[0], rows, count, space)
        theirs, ours = image.expand(prompts, -1, -1), image
        layer = None
        for number, block in enumerate(blocks):
            layer = ImageLayer(block, positions, readers[number], layer)
            shared, ours = layer.share(ours)
            read = own.pass_layer(layer, shared, asked[number], told[number], reading[number])
            written = block.cross_attn_image_to_token(
                q=theirs + positions, k=asked[number], v=told[number]
            )
            theirs = block.norm4(theirs + written)
            expected = readers[number](q=reading[number], k=theirs + positions, v=theirs)
            torch.testing.assert_close(read, expected, rtol=1e-4, atol=1e-5)
        assert layer is not None
        values = own.shares.transpose(1, 2) @ own.fold(layer.value_weight)
        tokens = own.scale[..., None] * (ours + values) + layer.bias
    torch.testing.assert_close(tokens, theirs, rtol=1e-4, atol=1e-5)


@BOTH
def test_a_prompt_that_takes_all_away_leaves_the_bias(kind):
    sam = make_sam(decoder_depth=1)
    (block,) = sam.mask_decoder.transformer.layers
    positions = sam.prompt_encoder.get_dense_pe()[0].flatten(1).t().contiguous()
    reader = sam.mask_decoder.transformer.final_attn_token_to_image
    image = torch.randn(positions.shape[1]).expand(positions.shape)
    block.cross_attn_image_to_token.out_proj.weight.zero_()
    block.cross_attn_image_to_token.out_proj.bias.copy_(-image[0])
    tokens = torch.randn(1, 7, positions.shape[1])
    with torch.inference_mode():
        layer = ImageLayer(block, positions, reader)
        shared, _ = layer.share(image)
        own = kind(tokens, 8 * 7, len(image), Workspace(image.device))
        read = own.pass_layer(layer, shared, tokens, tokens, tokens)
        left = block.norm4.bias.expand(1, *positions.shape)
        expected = reader(q=tokens, k=left + positions, v=left)
    torch.testing.assert_close(read, expected, rtol=1e-2, atol=1e-3)
