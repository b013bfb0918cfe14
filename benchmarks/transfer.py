"""Classes of one scene applied to another, by sets of features: `transfer.py FIRST SECOND`.

FIRST and SECOND are folders with an `image.tif` and reference classes in `labels.tif`, by the same
numbers. A class model is fitted on the first scene and named by its truth (many-to-one); with these
names it is applied to the second, read with the first one's stretch, and then the other way round.
Beside it: the second scene's own classes, named by its own truth.

    python benchmarks/transfer.py dubai_tile2 dubai_tile5 [--features texture texture+cnn] [-k 32]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from features import count_classes, score
from numpy.typing import NDArray

import alps_geo
from alps_geo.classes.model import ClassModel
from alps_geo.run.run import Run, find_schema


def main() -> int:
    """Print a row per direction and set of features."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs=2, type=Path)
    parser.add_argument("--features", nargs="+", default=["texture", "texture+cnn"])
    parser.add_argument("-k", type=int, default=32)
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2, 3])
    given = parser.parse_args()
    print(
        f"{given.k} classes, seeds {given.seed}; mean IoU: applied to the other scene, and its own"
    )
    for blocks in given.features:
        for first, second in (given.folders, given.folders[::-1]):
            with tempfile.TemporaryDirectory() as temporary:
                rows = compare(first, second, blocks, given.k, given.seed, Path(temporary))
            applied, own = np.mean(rows, axis=0)
            print(f"{first.name} to {second.name}  {blocks:16}{applied:8.3f}{own:8.3f}", flush=True)
    return 0


def compare(
    first: Path, second: Path, blocks: str, k: int, seeds: list[int], work: Path
) -> list[tuple[float, float]]:
    """Return for each seed the mean IoU on the second scene of the first's classes and its own."""
    options = {"model": "builtin", "bands": (1, 2, 3), "n_classes": k}
    ours = alps_geo.label(first / "image.tif", work / "a", features=blocks, **options)
    theirs = alps_geo.label(second / "image.tif", work / "b", features=blocks, **options)
    applied = alps_geo.label(
        second / "image.tif", work / "c", model="builtin", bands=(1, 2, 3), classes=ours
    )
    near, far = read(first), read(second)
    votes, wanted, truth = (
        count_classes(run, classes)
        for run, classes in ((ours, near), (applied, far), (theirs, far))
    )
    return [
        (apply(ours, votes, applied, wanted, k, seed), score(theirs, truth, k, seed)[0])
        for seed in seeds
    ]


def read(folder: Path) -> NDArray[np.integer]:
    """Return a scene's reference classes."""
    with rasterio.open(folder / "labels.tif") as file:
        return file.read(1)


def apply(
    run: Run, table: NDArray[np.int64], other: Run, wanted: NDArray[np.int64], k: int, seed: int
) -> float:
    """Return the mean IoU of one scene's classes, named by its truth, on another scene."""
    segments, targets = (part.parts[0].load_segments() for part in (run, other))
    model = ClassModel(k, seed, schema=find_schema(run, [segments]))
    features = np.asarray(segments.features)
    known = model.fit(features, sample_weight=segments.area_px).predict(features)
    votes = np.zeros((k, table.shape[1]), np.int64)
    np.add.at(votes, known, table[segments.segment_id])
    named = votes.argmax(axis=1)[model.predict(np.asarray(targets.features))]
    confusion = np.zeros((table.shape[1], table.shape[1]), np.int64)
    np.add.at(confusion, named, wanted[targets.segment_id])
    right, found, there = np.diag(confusion), confusion.sum(axis=1), wanted.sum(axis=0)
    return float(np.mean(right / (found + there - right)))


if __name__ == "__main__":
    raise SystemExit(main())
