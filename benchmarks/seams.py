"""How far tiles show in the labels: `seams.py SCENE... [--model builtin] [--tile-size 1024]`.

Prints for each scene: label changes across the lines between tile cores over those across the lines
16, 32 and 48 pixels beside them (1.0: no seam shows; multiples of 16, so that in an image from JPEG
all of them lie alike to its blocks) and how far that varies where no core ends (a scene has few
lines), label changes on the lines between blocks of colour over those
elsewhere, in all of the labels (1.0: labels do not follow them; of images without blocks, the lines
where those of JPEG would be), and how well the labels agree (adjusted Rand
index) with those of a run with the tile grid shifted by half a core, and of a run with another tile
size. The shift comes from cutting rows and columns off the scene's upper left; classes are the
first run's, and changes are the mean of both grids. K-means ends in another optimum with another
seed, so `--seed 0 1 2` says more than one: figures are means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from sklearn.metrics import adjusted_rand_score

from alps_geo import Run
from alps_geo.pipeline import classify, label
from alps_geo.scenes.blocks import PERIOD, Blocks
from alps_geo.scenes.scene import open_scene
from alps_geo.scenes.survey import measure_blocks
from alps_geo.settings import SceneSettings, TileSettings

# JPEG's blocks have 8 or 16 pixels and show in labels too: lines are compared with others of the
# same phase. Changes vary from line to line by a third, and a scene has few lines: more beside
# them say more.
BESIDE = (16, 32, 48)


def run(scene: Path, out: Path, **options: object) -> NDArray[np.integer]:
    """Label a scene, and return its labels."""
    return read_labels(label(scene, out, **options))


def read_labels(outputs: Run) -> NDArray[np.integer]:
    """Return the labels of a run's only scene."""
    with rasterio.open(outputs.label_paths[0]) as file:
        labels: NDArray[np.integer] = file.read(1)
    return labels


def seam_ratio(labels: NDArray[np.integer], step: int, shift: int = 0) -> float:
    """Return label changes across core lines over those beside them; NaN where there is no line.

    With a shift, lines that no core ends on are taken instead: what chance gives.
    """
    across, beside = [], []
    for image in (labels, labels.T):
        changes = (image[1:] != image[:-1]).mean(axis=1)
        for line in range(shift or step, len(image) - min(BESIDE), step):
            across.append(changes[line - 1])
            places = [line - 1 + side * distance for distance in BESIDE for side in (-1, 1)]
            beside += [changes[place] for place in places if 0 <= place < len(changes)]
    return float(np.mean(across) / np.mean(beside)) if across else math.nan


def chance(labels: NDArray[np.integer], step: int) -> float:
    """Return the standard deviation of the ratio over sets of lines that no core ends on."""
    apart = 2 * max(BESIDE)
    ratios = [seam_ratio(labels, step, shift) for shift in range(apart, step - max(BESIDE), 16)]
    return float(np.nanstd(ratios))


def block_ratio(labels: NDArray[np.integer], blocks: Blocks | None) -> float:
    """Return label changes on the lines between blocks over those on all other lines."""
    at = blocks or Blocks(PERIOD, PERIOD, 0, 0, 1.0)
    on, beside = [], []
    for image, size, phase in ((labels, at.height, at.row), (labels.T, at.width, at.col)):
        changes = (image[1:] != image[:-1]).mean(axis=1)
        is_line = (np.arange(1, len(image)) - phase) % size == 0
        on.append(changes[is_line])
        beside.append(changes[~is_line])
    return float(np.concatenate(on).mean() / np.concatenate(beside).mean())


def agreement(first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """Return the adjusted Rand index of two label images."""
    return float(adjusted_rand_score(first.ravel(), second.ravel()))


def crop(scene: Path, target: Path, margin: int, side: int | None = None) -> None:
    """Write the scene, or a square of some side, without its first rows and columns."""
    with rasterio.open(scene) as image:
        height, width = (min(side or extent, extent - margin) for extent in image.shape)
        window = Window(margin, margin, width, height)
        size = {"height": window.height, "width": window.width, "count": image.count}
        place = {"crs": image.crs, "transform": image.window_transform(window)}
        with rasterio.open(
            target, "w", driver="GTiff", dtype=image.dtypes[0], **size, **place
        ) as file:
            file.write(image.read(window=window))


def measure(
    scene: Path, folder: Path, size: int, seeds: list[int], options: dict[str, object]
) -> tuple[float, float, float, float, float]:
    """Return ratios of changes and their chance, and agreement with a shifted grid, another size.

    Means over the seeds, which are those of the classes only.
    """
    overlap = size // 4
    first, second, third = (folder / name for name in ("first", "second", "third"))
    common = {**options, "overlap": overlap}
    labels = run(scene, first, tile_size=size, seed=seeds[0], **common)
    stitched = json.loads((first / "run.json").read_text())["scenes"][0]["segments"]
    print(f"{scene.parent.name}: {stitched}")
    given = {**common, "classes": str(first)}
    margin = (size - overlap) // 2
    crop(scene, folder / "shifted.tif", margin)
    shifted = run(folder / "shifted.tif", second, tile_size=size, **given)
    other = run(scene, third, tile_size=size * 3 // 2, **given)
    blocks = measure_blocks(open_scene(str(scene), SceneSettings()))
    rows = []
    for seed in seeds:
        if seed != seeds[0]:
            labels = read_labels(classify(first, seed=seed))
            shifted, other = (
                read_labels(classify(out, classes=str(first))) for out in (second, third)
            )
        ratios = [seam_ratio(image, size - overlap) for image in (labels, shifted)]
        agreements = agreement(labels[margin:, margin:], shifted), agreement(labels, other)
        # Of two grids; seeds have the same regions, and tell nothing of chance.
        spread = chance(labels, size - overlap) / math.sqrt(2)
        rows.append((float(np.nanmean(ratios)), spread, block_ratio(labels, blocks), *agreements))
    ratio, spread, lines, one, two = (statistics.mean(each) for each in zip(*rows, strict=True))
    return ratio, spread, lines, one, two


def main() -> None:
    """Measure each scene, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--features", default="auto", metavar="BLOCKS")
    parser.add_argument("--tile-size", type=int, default=TileSettings().size)
    parser.add_argument("--side", type=int, help="only a square of so many pixels of each scene")
    parser.add_argument("--checkpoint", help="SAM weights of your own")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--seed", nargs="+", type=int, default=[0], metavar="N")
    options = parser.parse_args()
    chosen = {
        "model": options.model,
        "features": options.features,
        "points_per_side": options.points_per_side,
    }
    if options.checkpoint:
        chosen["checkpoint"] = options.checkpoint
    rows = []
    for scene in options.scenes:
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / scene.parent.name / scene.name
            if options.side:
                part.parent.mkdir()
                crop(scene, part, 0, options.side)
            source = part if options.side else scene
            rows.append(measure(source, Path(folder), options.tile_size, options.seed, chosen))
        ratio, spread, lines, shifted, other = rows[-1]
        print(
            f"  changes {ratio:.2f} (chance alone: 1 +- {spread:.2f}), on lines between blocks"
            f" {lines:.2f}, ARI shifted {shifted:.3f}, ARI other size {other:.3f}"
        )
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(
        f"median: changes {medians[0]:.2f} (goal 1.10), on lines between blocks {medians[2]:.2f}"
        f" (goal 1.10), ARI shifted {medians[3]:.3f}, other size {medians[4]:.3f} (goal 0.90)"
    )


if __name__ == "__main__":
    main()
