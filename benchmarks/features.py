"""Features side by side, for `quality.py --features`: the same segments, clustered by each.

A scene is labelled once per set of blocks, for its features and the time; classes are then found in
the stored features for every number of classes and seed, and scored on the segment raster.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

import alps_geo
from alps_geo.classes.model import ClassModel
from alps_geo.evaluation.measures import match_majority, match_one_to_one
from alps_geo.run.run import Run, find_schema, open

IGNORED = 255
#: How much better the second set of blocks should be than the first, at 16 classes.
GOAL = 1.08
COLUMNS = ("mIoU", "spread", "1:1", "accuracy", "s/Mpx")


def compare(folders: list[Path], features: list[str], ks: list[int], seeds: list[int]) -> int:
    """Print a row per scene, number of classes and set of blocks; fail where the goal is missed."""
    print(f"seeds {seeds}; mIoU many-to-one and 1:1, share of pixels right, seconds of one process")
    print(f"{'':16}{'k':>4}  {'features':16}" + "".join(f"{name:>10}" for name in COLUMNS))
    scores = {
        (folder.name, k, blocks): row
        for folder in folders
        for blocks in features
        for k, row in score_features(folder, blocks, ks, seeds).items()
    }
    for k in ks:
        means = [
            np.mean([scores[folder.name, k, blocks] for folder in folders], axis=0)
            for blocks in features
        ]
        for blocks, mean in zip(features, means, strict=True):
            print_row("mean", k, blocks, mean)
        ratios = means[-1][:4] / means[0][:4]
        print(f"{features[-1]} over {features[0]}: mIoU {ratios[0]:.3f}, 1:1 {ratios[2]:.3f}")
        if k == 16:
            missed = ratios[0] < GOAL
    return int(missed) if 16 in ks else 0


def score_features(
    folder: Path, blocks: str, ks: list[int], seeds: list[int]
) -> dict[int, NDArray[np.float64]]:
    """Return a row of `COLUMNS` for each number of classes, means over the seeds."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "out"
        began = time.process_time()
        alps_geo.label(folder / "image.tif", out, model="builtin", bands=(1, 2, 3), features=blocks)
        spent = time.process_time() - began
        with rasterio.open(folder / "labels.tif") as file:
            truth = file.read(1)
        run = open(out)
        table = count_classes(run, truth)
        found = {}
        for k in ks:
            rows = np.array([score(run, table, k, seed) for seed in seeds])
            miou, one, accuracy = rows.mean(axis=0)
            spread = rows[:, 0].std()
            found[k] = np.array([miou, spread, one, accuracy, spent * 1e6 / truth.size])
            print_row(folder.name, k, blocks, found[k])
    return found


def count_classes(run: Run, truth: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many pixels of each class every segment has, by number; 0 is no segment."""
    with rasterio.open(run.parts[0].segment_raster.path) as file:
        segments = file.read(1)
    known = truth != IGNORED
    classes, numbers = np.unique(truth[known], return_inverse=True)
    flat = segments[known].astype(np.int64) * len(classes) + numbers
    size = int(segments.max()) + 1
    return np.bincount(flat, minlength=size * len(classes)).reshape(size, -1)


def score(run: Run, table: NDArray[np.int64], k: int, seed: int) -> tuple[float, float, float]:
    """Return many-to-one and one-to-one mean IoU, and accuracy, of classes found anew."""
    segments = run.parts[0].load_segments()
    model = ClassModel(k, seed, schema=find_schema(run, [segments]))
    features = np.asarray(segments.features)
    class_id = model.fit(features, sample_weight=segments.area_px).predict(features)
    confusion = np.zeros((k, table.shape[1]), np.int64)
    np.add.at(confusion, class_id, table[segments.segment_id])
    missed = table.sum(axis=0) - confusion.sum(axis=0)
    many = match_majority(confusion, missed)
    return many.miou, match_one_to_one(confusion, missed).miou, many.accuracy


def print_row(name: str, k: int, blocks: str, row: NDArray[np.float64]) -> None:
    """Print one row of the table."""
    print(f"{name:16}{k:4}  {blocks:16}" + "".join(f"{part:10.3f}" for part in row), flush=True)
