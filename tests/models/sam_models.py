"""Small SAM models with seeded random weights, and images to run them on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam

from alps_geo.models.sam.checkpoint import Architecture, assemble

SMALL = Architecture(
    name="sam-vit-48x2",
    image_size=256,
    patch_size=16,
    window_size=7,
    width=48,
    depth=2,
    heads=3,
    global_blocks=(1,),
    channels=64,
    mlp_width=128,
    decoder_depth=2,
)
#: Settings under which random weights find many masks of all shapes.
LENIENT = {
    "points_per_side": 6,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.9,
    "box_nms_thresh": 1.0,
    "crop_nms_thresh": 1.0,
}


def make_sam(seed: int = 0, **sizes: object) -> Sam:
    """Return a small model; its masks are noise, but sharp and different from prompt to prompt."""
    torch.manual_seed(seed)
    sam = assemble(replace(SMALL, **sizes))
    with torch.no_grad():
        for values in sam.parameters():
            values.add_(torch.randn_like(values) * 0.06)
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.mul_(300)
        # A threshold of 0 or below switches the filter off, in the original too.
        sam.mask_decoder.iou_prediction_head.layers[-1].bias.add_(5)
    return sam.requires_grad_(False).eval()


def save_sam(path: Path, seed: int = 0, **sizes: object) -> Path:
    """Write a small model's checkpoint."""
    torch.save(make_sam(seed, **sizes).state_dict(), path)
    return path


def make_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an image of coloured blocks with some noise."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3))
    image = blocks.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    return np.clip(image + rng.integers(-9, 9, image.shape), 0, 255).astype(np.uint8)
