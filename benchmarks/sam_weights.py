"""Make SAM weights to measure with: a seeded random encoder, a decoder fitted for a few steps.

With random weights hardly a mask passes the default thresholds. So the decoder learns for some
minutes to outline regions of one image, and two of its scales are then set such that about half of
the candidates pass the predicted IoU and a few per cent the stability, as with Meta's weights.

    python benchmarks/sam_weights.py seeded.pth --image scene.tif
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.utils.amg import build_point_grid, calculate_stability_score
from skimage.segmentation import slic
from skimage.transform import resize
from torch.nn import functional

from alps_geo.models.sam.checkpoint import Architecture, assemble
from alps_geo.models.sam.mobile import MOBILE_SAM, TinyEncoder

Pixels = NDArray[np.uint8]
#: Regions in the image that the three masks of a prompt learn: parts, objects, wholes.
REGIONS = (300, 80, 20)
#: A model that a CPU runs in a moment, to try programs with.
TINY = Architecture("tiny", 256, 16, 7, 48, 2, 3, (1,), 64, 128, 2)


def read_image(path: str | None, side: int = 1024, row: int = 0, col: int = 0) -> Pixels:
    """Return a square crop of a raster, or a drawn image where there is none."""
    if path is None:
        return draw_image(side)
    import rasterio

    with warnings.catch_warnings(), rasterio.open(path) as file:
        warnings.simplefilter("ignore")
        window = rasterio.windows.Window(col, row, side, side)
        return np.ascontiguousarray(file.read((1, 2, 3), window=window).transpose(1, 2, 0))


def draw_image(side: int, seed: int = 0) -> Pixels:
    """Draw overlapping textured rectangles and discs."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 90.0)
    rows, cols = np.mgrid[:side, :side]
    for _ in range(150):
        row, col = rng.integers(0, side, 2)
        height, width = rng.integers(side // 40, side // 5, 2)
        inside = (abs(rows - row) < height) & (abs(cols - col) < width)
        if rng.random() < 0.5:
            inside &= ((rows - row) / height) ** 2 + ((cols - col) / width) ** 2 < 1
        image[inside] = rng.integers(20, 235, 3)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def seeded_sam(
    seed: int = 0, kind: str = "vit_b", *, mobile: bool = False, device: str = "cpu"
) -> Sam:
    """Return vit_b, another of Meta's models, `tiny` or MobileSAM, with seeded random weights."""
    torch.manual_seed(seed)
    # Made on the device: a CPU takes a while to draw the weights of vit_h.
    with torch.device(device):
        sam: Sam = assemble(TINY) if kind == TINY.name else sam_model_registry[kind]()
        if mobile:
            sam.image_encoder = TinyEncoder(MOBILE_SAM, sam.image_encoder.img_size)
    return sam.to(device).eval()


def region_maps(image: Pixels, side: int) -> torch.Tensor:
    """Return label images at three scales, shape (3, side, side): what the decoder outlines."""
    small = resize(image, (256, 256), anti_aliasing=True)
    step = 256 // side
    maps = [slic(small, count, compactness=20, sigma=1) for count in REGIONS]
    return torch.from_numpy(np.stack(maps)[:, step // 2 :: step, step // 2 :: step].copy())


def fit_decoder(
    sam: Sam, image: Pixels, *, steps: int = 400, batch: int = 32, grid: int = 16, seed: int = 0
) -> None:
    """Teach the decoder to outline the regions of an image around points.

    It learns on a grid of `grid` x `grid` cells instead of 64 x 64, which is 16 times cheaper.
    """
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    features = functional.adaptive_avg_pool2d(predictor.features, grid).clone()
    maps = region_maps(image, 4 * grid).to(sam.device)
    rng = np.random.default_rng(seed)
    learned = [value.requires_grad_() for value in sam.mask_decoder.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    pe = sam.prompt_encoder.pe_layer((grid, grid))[None].detach()
    scale = sam.image_encoder.img_size // (4 * grid)
    for step in range(steps):
        points = torch.from_numpy(rng.integers(0, 4 * grid, (batch, 2))).to(sam.device)
        mine = maps[:, points[:, 1], points[:, 0]].t()[:, :, None, None]
        targets = (maps == mine).float()
        with torch.no_grad():
            coords = (points[:, None, :] * scale + scale // 2).float()
            labels = torch.ones(batch, 1, dtype=torch.int, device=sam.device)
            sparse, _ = sam.prompt_encoder(points=(coords, labels), boxes=None, masks=None)
        logits, iou = sam.mask_decoder(
            image_embeddings=features,
            image_pe=pe,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=sam.prompt_encoder.no_mask_embed.weight[:, :, None, None],
            multimask_output=True,
        )
        loss = _loss(logits, targets, iou)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {float(loss.detach()):.3f}", flush=True)
    for value in learned:
        value.requires_grad_(False)


def _loss(logits: torch.Tensor, targets: torch.Tensor, iou: torch.Tensor) -> torch.Tensor:
    share = logits.sigmoid()
    both, all_in = (share * targets).sum((2, 3)), (share + targets).sum((2, 3))
    dice = 1 - (2 * both + 1) / (all_in + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets)
    found = logits > 0
    hit = (found & (targets > 0)).sum((2, 3))
    quality = hit / (found | (targets > 0)).sum((2, 3)).clamp(min=1)
    return dice.mean() + 5 * entropy + functional.mse_loss(iou, quality)


@torch.no_grad()
def set_scales(sam: Sam, image: Pixels, *, confident: float = 0.54, stable: float = 0.15) -> None:
    """Scale the decoder's outputs so that set shares of the candidates pass SAM's thresholds."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    grid = build_point_grid(8) * sam.image_encoder.img_size
    points = torch.from_numpy(grid)[:, None, :].to(sam.device)
    ones = torch.ones(len(points), 1, dtype=torch.int, device=sam.device)
    logits, scores = [], []
    for start in range(0, len(points), 4):
        part = slice(start, start + 4)
        _, iou, low = predictor.predict_torch(points[part], ones[part], return_logits=True)
        logits.append(low.flatten(0, 1))
        scores.append(iou.flatten())
    values, iou = torch.cat(logits), torch.cat(scores)
    head = sam.mask_decoder.iou_prediction_head.layers[-1]
    spread = 0.04 / iou.std()
    head.weight.mul_(spread)
    head.bias.mul_(spread).add_(0.88 - spread * iou.quantile(1 - confident))
    factor = _sharpness(values, stable)
    for mlp in sam.mask_decoder.output_hypernetworks_mlps:
        mlp.layers[-1].weight.mul_(factor)
        mlp.layers[-1].bias.mul_(factor)


def _sharpness(logits: torch.Tensor, stable: float) -> float:
    """Return the factor on the logits at which a share of the masks reaches stability 0.95."""
    factor = 1.0
    for _ in range(60):
        score = calculate_stability_score(logits * factor, 0.0, 1.0)
        if (score >= 0.95).float().mean() >= stable:
            break
        factor *= 1.2
    return factor


def make_weights(image: Pixels, *, steps: int = 400, seed: int = 0, mobile: bool = False) -> Sam:
    """Return seeded weights whose masks of an image vary and pass SAM's thresholds."""
    sam = seeded_sam(seed, mobile=mobile)
    fit_decoder(sam, image, steps=steps, seed=seed)
    set_scales(sam, image)
    return sam.eval()


def main() -> None:
    """Write a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--image", help="a raster of 1024 x 1024 pixels or more, bands 1 to 3")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sam = make_weights(read_image(options.image), steps=options.steps, seed=options.seed)
    torch.save(sam.state_dict(), options.checkpoint)


if __name__ == "__main__":
    main()
