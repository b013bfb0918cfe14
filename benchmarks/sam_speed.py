"""Time our mask generator beside the original, and our chain beside the authors'.

    OMP_NUM_THREADS=2 python benchmarks/sam_speed.py --checkpoint seeded.pth --image scene.tif

Every run is a process of its own and variants alternate, so that caches, allocators and a slow
moment of the machine favour none. Printed are medians of wall time and of processor time, peak
memory, and the agreement of masks; a matrix product beside each run shows the machine's state.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sam_parity import found_again
from sam_weights import read_image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from torch.nn import functional

from alps_geo.models.device import supports_bf16
from alps_geo.models.sam.checkpoint import Architecture, assemble, load_sam
from alps_geo.models.sam.model import MaskGenerator

Pixels = NDArray[np.uint8]
Records = list[dict[str, Any]]


def original(batch: int) -> Callable[[Sam, Pixels, int], Records]:
    """Return the original generator with a batch size."""

    def run(sam: Sam, image: Pixels, points: int) -> Records:
        generator = SamAutomaticMaskGenerator(sam, points_per_side=points, points_per_batch=batch)
        return list(generator.generate(image))

    return run


def ours(
    precision: str, *, adaptive: bool = False, compiled: bool = False
) -> Callable[[Sam, Pixels, int], Records]:
    """Return our generator with a precision."""

    def run(sam: Sam, image: Pixels, points: int) -> Records:
        generator = MaskGenerator(
            sam, points, precision=precision, adaptive=adaptive, compiled=compiled
        )
        return generator.generate(image)

    return run


def original_chain(sam: Sam, image: Pixels, points: int) -> Records:
    """Do what the authors' programs do with an image, files and all, from their description.

    Masks, the gate, a PNG per mask; the image encoded again; per mask the embedding enlarged
    and its mean under the mask in a file; classes; the label image painted pixel by pixel.
    """
    records = original(64)(sam, image, points)
    area = image.shape[0] * image.shape[1]
    kept = [record for record in records if record["area"] / area <= 0.3]
    with tempfile.TemporaryDirectory() as folder:
        for index, record in enumerate(kept):
            picture = Image.fromarray(record["segmentation"].astype(np.uint8) * 255)
            picture.save(Path(folder) / f"{index}.png")
        predictor = SamPredictor(sam)
        predictor.set_image(image)
        for index in range(len(kept)):
            mask = np.asarray(Image.open(Path(folder) / f"{index}.png"))
            np.save(Path(folder) / f"{index}.npy", _mean_under(predictor.features, mask))
        labels = np.zeros(image.shape[:2], np.uint8)
        for index, record in enumerate(kept):
            _paint(labels, record["segmentation"], index % 46)
        Image.fromarray(labels).save(Path(folder) / "labels.png")
    return records


def _mean_under(features: torch.Tensor, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    large = functional.interpolate(features, (256, 256), mode="bilinear")
    soft = torch.from_numpy(mask / 255.0).float()[None, None]
    soft = functional.interpolate(soft, (256, 256), mode="bilinear")
    product = (large * soft)[0].flatten(1)
    mean: NDArray[np.float32] = (product.sum(1) / product.count_nonzero(1)).numpy()
    return mean


def _paint(labels: NDArray[np.uint8], mask: NDArray[np.bool_], value: int) -> None:
    """Paint in a loop over the mask's box, as theirs runs over all pixels."""
    rows, cols = np.nonzero(mask)
    for row, col in zip(rows.tolist(), cols.tolist(), strict=True):
        labels[row, col] = value


def our_chain(precision: str) -> Callable[[Sam, Pixels, int], Records]:
    """Return our chain: masks, gate, features, a painted label image."""

    def run(sam: Sam, image: Pixels, points: int) -> Records:
        from alps_geo.features.pooling import pool_features
        from alps_geo.models.masks import gate
        from alps_geo.models.sam.model import SamModel
        from alps_geo.settings import SamSettings

        settings = SamSettings(points_per_side=points)
        model = SamModel(sam, settings, name="sam", checksum="", precision=precision)
        valid = np.ones(image.shape[:2], bool)
        found, embedding = model.segment(image, valid)
        masks, _, _ = gate(found, valid, settings)
        pool_features(masks.spans, embedding, valid.shape)
        labels = np.zeros(valid.shape, np.uint8)
        for index in np.argsort(-masks.spans.areas):
            labels[masks.spans.take(np.array([index])).pixels()] = index % 46
        return []

    return run


VARIANTS: dict[str, Callable[[Sam, Pixels, int], Records]] = {
    "original-64": original(64),
    "original-4": original(4),
    "ours-fp32": ours("fp32"),
    "ours-bf16": ours("bf16"),
    "ours-bf16-compiled": ours("bf16", compiled=True),
    "ours-adaptive": ours("fp32", adaptive=True),
    "chain-original": original_chain,
    "chain-fp32": our_chain("fp32"),
    "chain-bf16": our_chain("bf16"),
}


def load_compiled() -> None:
    """Run a small model, so that compiled code is there before the clock runs."""
    sizes = Architecture("small", 256, 16, 7, 48, 2, 3, (1,), 64, 128, 2)
    small, image = assemble(sizes).eval(), np.zeros((256, 256, 3), np.uint8)
    for precision in ("fp32", "bf16"):
        MaskGenerator(
            small, 2, pred_iou_thresh=0, stability_score_thresh=0, precision=precision
        ).generate(image)


def measure(variant: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one variant here and return its figures; masks go to a file."""
    sam = load_sam(options.checkpoint)[0].to(options.device)
    image = read_image(options.image, options.side)
    load_compiled()
    if variant.endswith("-compiled"):
        VARIANTS[variant](sam, image, 2)
    matrix = torch.randn(2048, 2048)
    began = time.perf_counter()
    for _ in range(4):
        matrix @ matrix
    gflops = 4 * 2 * 2048**3 / (time.perf_counter() - began) / 1e9
    wall, busy = time.perf_counter(), time.process_time()
    records = VARIANTS[variant](sam, image, options.points)
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    if options.masks:
        masks = [record["segmentation"] for record in records]
        packed = np.packbits(np.array(masks, bool).reshape(len(masks), image[..., 0].size), axis=1)
        np.save(options.masks, packed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"wall": wall, "cpu": busy, "peak_gib": peak, "gflops": gflops, "masks": len(records)}


def run_apart(variant: str, masks: Path, arguments: list[str]) -> dict[str, Any]:
    """Run one variant in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--only", variant, "--masks", str(masks)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return figures


def agreement(folder: Path, first: str, second: str) -> float:
    """Return the share of the second variant's masks that the first has too."""
    records = [
        [{"segmentation": mask} for mask in np.unpackbits(np.load(folder / f"{name}.npy"), axis=1)]
        for name in (first, second)
    ]
    return found_again(*records)


def report(runs: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    """Print medians, ratios and agreement."""
    middle = {
        name: {key: median(run[key] for run in results) for key in results[0]}
        for name, results in runs.items()
    }
    print(
        f"{'variant':<20}{'wall s':>9}{'cpu s':>9}{'spread':>8}{'GiB':>7}{'GFLOP/s':>9}{'masks':>7}"
    )
    for name, row in middle.items():
        times = [run["cpu"] for run in runs[name]]
        print(
            f"{name:<20}{row['wall']:9.1f}{row['cpu']:9.1f}{max(times) / min(times):8.2f}"
            f"{row['peak_gib']:7.2f}{row['gflops']:9.0f}{row['masks']:7.0f}"
        )
    for name in middle:
        base = "chain-original" if name.startswith("chain-") else "original-64"
        for other in dict.fromkeys([base, base.replace("64", "4")]):
            if other in middle and not name.startswith(("original", "chain-original")):
                line = f"{other} : {name} = {middle[other]['cpu'] / middle[name]['cpu']:.1f} (cpu)"
                line += f", {middle[other]['wall'] / middle[name]['wall']:.1f} (wall)"
                line += f", memory {middle[name]['peak_gib'] / middle[other]['peak_gib']:.2f}"
                if not name.startswith("chain-"):
                    line += f", masks found again {agreement(folder, name, other):.3f}"
                print(line)


def main() -> None:
    """Time the variants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="see sam_weights.py")
    parser.add_argument("--image", help="a raster with bands 1 to 3; a drawn image without it")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--points", type=int, default=32, help="points per side")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--masks", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    names = [name for name in options.variants.split(",") if name in VARIANTS]
    if not supports_bf16(torch.device(options.device)):
        names = [name for name in names if "bf16" not in name]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.runs):
            for name in names:
                masks = Path(folder) / f"{name}.npy"
                runs[name].append(run_apart(name, masks, sys.argv[1:]))
        report(runs, Path(folder))


if __name__ == "__main__":
    main()
