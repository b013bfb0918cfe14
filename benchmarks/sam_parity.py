"""Compare our mask generator with the original, mask by mask.

    python benchmarks/sam_parity.py --checkpoint seeded.pth --image scene.tif --points 16

Without a checkpoint, seeded weights of vit_b, or with `--mobile` of MobileSAM's shape, are made
first (minutes), see `sam_weights.py`. Each line is one image with one choice of options: masks of
both, how many are alike bit for bit, the most pixels that differ in one mask, and the largest
difference of scores.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sam_weights import make_weights, read_image
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam

from alps_geo.models.sam.checkpoint import load_sam
from alps_geo.models.sam.model import MaskGenerator

#: Least share of masks that must be alike bit for bit, and largest difference of scores.
LEAST_ALIKE, MOST_SCORE = 0.99, 1e-4
MOST_PIXELS = 10
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Agreement:
    """How two lists of records agree, pair by pair; and how well each mask is found again."""

    counts: tuple[int, int]
    alike: int
    most_pixels: int
    boxes: int
    score: float
    found_again: float

    @property
    def holds(self) -> bool:
        """True where our masks count as the original's."""
        first, second = self.counts
        enough = self.alike >= LEAST_ALIKE * first
        same = first == second == self.boxes and self.score <= MOST_SCORE
        return same and enough and self.most_pixels <= MOST_PIXELS

    def __str__(self) -> str:
        return (
            f"{self.counts[0]} : {self.counts[1]} masks, {self.alike} bit for bit, most pixels"
            f" {self.most_pixels}, boxes {self.boxes}, scores {self.score:.1e}, found again at"
            f" IoU >= 0.98: {self.found_again:.3f}"
        )


def compare(ours: Records, original: Records) -> Agreement:
    """Compare two lists of records."""
    pairs = list(zip(ours, original, strict=False))
    pixels = [
        int(np.count_nonzero(mine["segmentation"] != theirs["segmentation"]))
        for mine, theirs in pairs
    ]
    keys = ("predicted_iou", "stability_score")
    scores = [abs(mine[key] - theirs[key]) for mine, theirs in pairs for key in keys]
    return Agreement(
        (len(ours), len(original)),
        pixels.count(0),
        max(pixels, default=0),
        sum(mine["bbox"] == theirs["bbox"] for mine, theirs in pairs),
        max(scores, default=0.0),
        found_again(ours, original),
    )


def found_again(ours: Records, original: Records, least: float = 0.98) -> float:
    """Return the share of the original's masks that we have too, at an IoU of `least`."""
    if not ours or not original:
        return float(len(ours) == len(original))
    mine, theirs = (
        np.stack([record["segmentation"].ravel() for record in records]).astype(np.float32)
        for records in (ours, original)
    )
    both = mine @ theirs.T
    either = mine.sum(1)[:, None] + theirs.sum(1) - both
    return float(((both / either).max(axis=0) >= least).mean())


def run_case(sam: Sam, image: NDArray[np.uint8], options: dict[str, Any]) -> tuple[Agreement, ...]:
    """Compare fp32 and bf16 with the original for one image and one choice of options."""
    # Four points at once is where the original is fastest; its masks do not depend on it.
    original = SamAutomaticMaskGenerator(sam, points_per_batch=4, **options).generate(image)
    return tuple(
        compare(MaskGenerator(sam, precision=precision, **options).generate(image), original)
        for precision in ("fp32", "bf16")
    )


def main() -> int:
    """Compare, print, and return 1 where a case does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--image", help="a raster with bands 1 to 3; a drawn image without it")
    parser.add_argument("--points", type=int, default=32, help="points per side")
    parser.add_argument("--mobile", action="store_true", help="make MobileSAM's shape of weights")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    whole = read_image(chosen.image)
    if chosen.checkpoint:
        sam = load_sam(chosen.checkpoint)[0]
    else:
        sam = make_weights(whole, mobile=chosen.mobile)
    sam = sam.to(torch.device(chosen.device))
    grid = {"points_per_side": chosen.points}
    crops = {**grid, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2}
    cases = [
        ("1024 x 1024", whole, grid),
        ("896 x 1024", whole[128:], grid),
        ("700 x 500", whole[:700, :500], grid),
        ("1024 x 1024, crops", whole, crops),
    ]
    holds = True
    for name, image, options in cases:
        exact, fast = run_case(sam, np.ascontiguousarray(image), options)
        print(f"{name}\n  fp32 {exact}{'' if exact.holds else '  DIFFERS'}\n  bf16 {fast}")
        sys.stdout.flush()
        holds &= exact.holds
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
