"""Compare our mask generator with the original on a GPU: masks, tiles a second, memory, stages.

    python benchmarks/gpu.py --image scene.tif --models vit_b,vit_h --json gpu.json

Weights are seeded and fitted to the first tile as in `sam_weights.py`, on the device. Runs of the
variants alternate after one that warms up; given are medians. Masks are compared without TF32,
which cuDNN uses unless told otherwise, and which moves the original's masks. With `--device cpu
--models tiny --side 256 --points 8` the whole program runs in a moment, to try it.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sam_parity import compare
from sam_weights import draw_image, fit_decoder, seeded_sam, set_scales
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam

from alps_geo.models.device import supports_bf16
from alps_geo.models.sam import MaskGenerator
from alps_geo.models.sam.checkpoint import load_sam
from alps_geo.models.sam.inputs import ImageFrame

Pixels = NDArray[np.uint8]
Records = list[dict[str, Any]]
Generator = SamAutomaticMaskGenerator | MaskGenerator

#: Prompts at once: the original's default, and what fills a large GPU.
BATCHES = (64, 256)
#: SAM's own threshold, which both generators have by default.
PREDICTED_IOU = 0.88
#: Nothing is predicted to be as good as this, so that no mask is made.
NO_MASKS = float("inf")


def cut_tiles(path: str | None, side: int, count: int) -> list[Pixels]:
    """Cut tiles from a scene of 8-bit RGB, row by row; draw them where there is none."""
    if path is None:
        return [draw_image(side, seed) for seed in range(count)]
    # Pillow, because machines with GPUs often have no rasterio.
    with Image.open(path) as file:
        width, height = file.size
        places = [
            (col, row, col + side, row + side)
            for row in range(0, height - side + 1, side)
            for col in range(0, width - side + 1, side)
        ]
        scene = file.convert("RGB")
    return [np.array(scene.crop(place)) for place in places[:count]]


def make_sam(kind: str, tile: Pixels, options: argparse.Namespace) -> Sam:
    """Return a checkpoint's model, or one with seeded weights whose masks of a tile pass."""
    if Path(kind).is_file():
        return load_sam(Path(kind))[0].to(options.device)
    sam = seeded_sam(options.seed, kind, device=options.device)
    with torch.no_grad():
        # Meta's module begins with zeros, which would hide what positions do.
        for name, table in sam.image_encoder.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                table.normal_(std=0.1)
    fit_decoder(sam, tile, steps=options.steps, seed=options.seed)
    set_scales(sam, tile)
    return sam.requires_grad_(False)


def make_generator(name: str, sam: Sam, points: int) -> Generator:
    """Return the generator of a variant: `original-<batch>` or `ours-<precision>-<batch>`."""
    whose, *choice, batch = name.split("-")
    if whose == "original":
        return SamAutomaticMaskGenerator(sam, points, points_per_batch=int(batch))
    return MaskGenerator(sam, points, points_per_batch=int(batch), precision=choice[0])


def find_masks(generator: Generator, tiles: Sequence[Pixels]) -> list[Records]:
    """Find the masks of tiles; ours encodes several at once, as it does in `label()`."""
    if isinstance(generator, SamAutomaticMaskGenerator):
        return [generator.generate(tile) for tile in tiles]
    embeddings = generator.encode(tiles)
    return [
        generator.records(generator.generate_with_embedding(tile, embedding)[0], tile.shape)
        for tile, embedding in zip(tiles, embeddings, strict=True)
    ]


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


class Stages:
    """Seconds per stage of one run."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add what happens meanwhile to a stage."""
        synchronise(self._device)
        began = time.perf_counter()
        yield
        synchronise(self._device)
        self.seconds[name] += time.perf_counter() - began

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls count as a stage."""

        def timed(*args: object, **options: object) -> object:
            with self.time(name):
                return function(*args, **options)

        return timed


def stages_of_original(
    generator: SamAutomaticMaskGenerator, tiles: Sequence[Pixels], device: str
) -> dict[str, float]:
    """Return the original's seconds per stage, from the calls of its modules."""
    stages, sam = Stages(device), generator.predictor.model
    timed = {
        "encoder": (sam.image_encoder, "forward"),
        "decoder": (sam.mask_decoder, "forward"),
        "transformer": (sam.mask_decoder.transformer, "forward"),
        "enlarging": (sam, "postprocess_masks"),
    }
    for name, (owner, method) in timed.items():
        setattr(owner, method, stages.wrap(name, getattr(owner, method)))
    try:
        with stages.time("all"):
            find_masks(generator, tiles)
    finally:
        for owner, method in timed.values():
            delattr(owner, method)
    seconds = stages.seconds
    seconds["upscaling"] = seconds.pop("decoder") - seconds["transformer"]
    seconds["masks"] = 2 * seconds["all"] - sum(seconds.values())
    return dict(seconds)


@torch.inference_mode()
def stages_of_ours(
    generator: MaskGenerator, tiles: Sequence[Pixels], device: str
) -> dict[str, float]:
    """Return our seconds per stage; measuring overlaps with decoding, and `masks` is the rest."""
    stages = Stages(device)
    with stages.time("encoder"):
        embeddings = generator.encode(tiles)
    for tile, embedding in zip(tiles, embeddings, strict=True):
        frame = ImageFrame.of(generator.model, tile.shape[:2])
        grid = generator.point_grids[0] * np.array([[frame.width, frame.height]])
        prompts = frame.to_input(grid, embedding.device)
        size = generator.batch.size
        for name, least in (("transformer", NO_MASKS), ("decoder", PREDICTED_IOU)):
            with stages.time(name):
                for _ in generator.decoder.decode(embedding, prompts, least, size):
                    pass
        with stages.time("found"):
            found = generator.generate_with_embedding(tile, embedding)[0]
        with stages.time("records"):
            generator.records(found, tile.shape)
    seconds = stages.seconds
    seconds["all"] = sum(seconds[name] for name in ("encoder", "found", "records"))
    seconds["masks"] = max(0.0, seconds.pop("found") - seconds["decoder"])
    seconds["upscaling"] = seconds.pop("decoder") - seconds["transformer"]
    return dict(seconds)


def measure_once(
    name: str, sam: Sam, tiles: Sequence[Pixels], options: argparse.Namespace
) -> tuple[dict[str, float], list[Records]]:
    """Run a variant: seconds, peak memory of the GPU in GiB, and the masks."""
    on_gpu = options.device.startswith("cuda")
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(options.device)
    generator = make_generator(name, sam, options.points)
    synchronise(options.device)
    began = time.perf_counter()
    records = find_masks(generator, tiles)
    synchronise(options.device)
    seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated(options.device) / 2**30 if on_gpu else 0.0
    return {"seconds": seconds, "peak_gib": peak}, records


def measure_stages(
    name: str, sam: Sam, tiles: Sequence[Pixels], options: argparse.Namespace
) -> dict[str, float]:
    """Return milliseconds per tile and stage of a variant."""
    generator = make_generator(name, sam, options.points)
    if isinstance(generator, SamAutomaticMaskGenerator):
        seconds = stages_of_original(generator, tiles, options.device)
    else:
        seconds = stages_of_ours(generator, tiles, options.device)
    return {stage: 1000 * value / len(tiles) for stage, value in seconds.items()}


def agree(ours: Sequence[Records], others: Sequence[Records]) -> dict[str, Any]:
    """Compare the masks of tiles with others': see `sam_parity`."""
    pairs = list(zip(ours, others, strict=True))
    parts = [compare(mine, theirs) for mine, theirs in pairs]
    return {
        "masks": sum(len(mine) for mine in ours),
        "others": sum(len(theirs) for theirs in others),
        "bit_for_bit": sum(part.alike for part in parts),
        "most_pixels": max(part.most_pixels for part in parts),
        "score": max(part.score for part in parts),
        "found_again": sum(
            part.found_again * len(theirs) for part, (_, theirs) in zip(parts, pairs, strict=True)
        )
        / max(1, sum(len(theirs) for theirs in others)),
    }


def check_masks(
    sam: Sam, tiles: Sequence[Pixels], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Compare masks: ours in fp32 with the original's, without TF32 and as it comes; bf16's."""
    usual = torch.backends.cudnn.allow_tf32
    found: dict[str, list[Records]] = {}
    try:
        for tf32 in (False, usual):
            torch.backends.cudnn.allow_tf32 = tf32
            for name in ("original-64", "ours-fp32-64"):
                key = f"{name.split('-')[0]}{', TF32' if tf32 else ''}"
                found[key] = measure_once(name, sam, tiles, options)[1]
    finally:
        torch.backends.cudnn.allow_tf32 = usual
    pairs = [("ours", "original")]
    if usual:
        pairs += [("ours, TF32", "original, TF32"), ("original, TF32", "original")]
    if supports_bf16(torch.device(options.device)):
        found["bf16"] = measure_once("ours-bf16-64", sam, tiles, options)[1]
        pairs += [("bf16", "ours"), ("bf16", "original")]
    return {f"{mine} : {theirs}": agree(found[mine], found[theirs]) for mine, theirs in pairs}


def measure_model(
    kind: str, tiles: Sequence[Pixels], options: argparse.Namespace
) -> Iterator[tuple[str, Any]]:
    """Give the figures of a model, one kind after the other as they are known."""
    began = time.perf_counter()
    sam = make_sam(kind, tiles[0], options)
    yield "made_s", time.perf_counter() - began
    if options.checks:
        yield "agreement", check_masks(sam, tiles, options)
    names = [name for name in options.variants.split(",") if name]
    if not supports_bf16(torch.device(options.device)):
        names = [name for name in names if "bf16" not in name]
    for name in names:  # to warm up
        measure_once(name, sam, tiles, options)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.runs):
        for name in names:
            runs[name].append(measure_once(name, sam, tiles, options)[0])
        yield "runs", runs
    yield "stages", {name: measure_stages(name, sam, tiles, options) for name in names}


def describe(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the figures were made with."""
    on_gpu = options.device.startswith("cuda")
    card = torch.cuda.get_device_name(options.device) if on_gpu else platform.processor()
    return {
        "device": card,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "command": " ".join(sys.argv),
        "models": {},
    }


def tabulate(results: dict[str, Any], tiles: int) -> str:
    """Return the figures as Markdown tables."""
    lines = [f"{results['device']}, torch {results['torch']}, {tiles} tiles"]
    for kind, model in results["models"].items():
        lines += ["", f"| {kind} | tiles/s | spread | GPU GiB | times |", "| --- |" + " ---: |" * 4]
        runs = model.get("runs", {})
        middle = {name: median(run["seconds"] for run in each) for name, each in runs.items()}
        base = min((middle[name] for name in middle if "original" in name), default=np.nan)
        for name, each in runs.items():
            times = [run["seconds"] for run in each]
            peak = max(run["peak_gib"] for run in each)
            lines.append(
                f"| {name} | {tiles / middle[name]:.2f} | {max(times) / min(times):.2f} |"
                f" {peak:.2f} | {base / middle[name]:.1f} |"
            )
        columns = ("encoder", "transformer", "upscaling", "enlarging", "masks", "records", "all")
        lines += ["", f"| ms a tile | {' | '.join(columns)} |", "| --- |" + " ---: |" * 7]
        for name, stages in model.get("stages", {}).items():
            cells = [f"{stages[column]:.0f}" if column in stages else "" for column in columns]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += ["", "| masks | ours | others | bit for bit | most pixels | score | found again |"]
        lines.append("| --- |" + " ---: |" * 6)
        for name, row in model.get("agreement", {}).items():
            cells = [str(row[key]) for key in ("masks", "others", "bit_for_bit", "most_pixels")]
            cells += [f"{row['score']:.0e}", f"{row['found_again']:.3f}"]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Return the options."""
    whose = ("original", "ours-fp32", "ours-bf16")
    variants = [f"{name}-{batch}" for batch in BATCHES for name in whose]
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--image", help="8-bit RGB; drawn tiles without it")
    parser.add_argument(
        "--models", default="vit_b,vit_h", help="vit_b, vit_l, vit_h, tiny or files"
    )
    parser.add_argument("--tiles", type=int, default=3)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--points", type=int, default=32, help="points per side")
    parser.add_argument("--steps", type=int, default=400, help="steps that fit the decoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--variants", default=",".join(variants))
    parser.add_argument("--no-checks", dest="checks", action="store_false", help="time only")
    parser.add_argument("--json", type=Path, help="where figures go, as soon as they are known")
    return parser.parse_args()


def main() -> None:
    """Measure, write and print."""
    options = parse()
    tiles = cut_tiles(options.image, options.side, options.tiles)
    results = describe(options)
    for kind in options.models.split(","):
        figures = results["models"][kind] = {}
        for name, value in measure_model(kind, tiles, options):
            figures[name] = value
            print(f"{kind}: {name} {json.dumps(value)}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    results["loaded"] = [name for name in ("numba", "llvmlite") if name in sys.modules]
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print(tabulate(results, len(tiles)))


if __name__ == "__main__":
    main()
