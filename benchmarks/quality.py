"""Mean IoU of the built-in model beside two plain ways to cluster a scene.

    python benchmarks/quality.py [DATA] [--scenes NAME …] [-k 16] [--seed N …]
    python benchmarks/quality.py --features texture texture+cnn [-k 8 16 32] [--seed N …]

DATA has a folder per scene with an `image.tif` and reference classes in `labels.tif`; the default
is ../shared/data beside the repository. Compared are, with the same number of clusters:

pixels    k-means of the pixels' red, green and blue
segments  Felzenszwalb's segments, k-means of their mean colour, its deviation and their gradient
ours      `alps_geo.label` with the built-in model

Every cluster stands for the reference class that most of its pixels have (many-to-one); unlabelled
pixels are errors, pixels without a reference class (255) do not count. K-means ends in another
optimum with another seed, so several seeds say more than one: figures are means over the seeds.

With `--features`, sets of features are compared instead (`features.py`); the last should beat the
first.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import features
import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb
from sklearn.cluster import KMeans, MiniBatchKMeans

import alps_geo
from alps_geo.evaluation.measures import match_majority

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
SCENES = ("dubai_tile2", "dubai_tile5", "zion_landsat8", "kampala_drone")
#: How often ours should be as good as the better of the others, on average over the scenes.
GOAL = 1.10
COLUMNS = ("pixels", "segments", "ours")
IGNORED = 255
#: Pixels that k-means of pixels is fitted on; more change nothing but the time.
SAMPLE = 500_000


def main() -> int:
    """Print a row per scene, the means and their ratio; fail where the goal is missed."""
    arguments = _parse()
    if arguments.features:
        folders = [arguments.data / scene for scene in arguments.scenes]
        there = [folder for folder in folders if (folder / "labels.tif").is_file()]
        return features.compare(there, arguments.features, arguments.k, arguments.seed)
    rows = []
    (k,) = arguments.k
    print(f"many-to-one mIoU, k = {k}, seeds {arguments.seed}")
    print(f"{'':16}" + "".join(f"{name:>10}" for name in COLUMNS))
    for scene in arguments.scenes:
        folder = arguments.data / scene
        if not (folder / "labels.tif").is_file():
            print(f"{scene:16}  skipped: no {folder / 'labels.tif'}")
            continue
        rows.append(score_scene(folder, k, arguments.seed))
        _print_row(scene, rows[-1])
    if not rows:
        return 0
    means = np.mean(rows, axis=0)
    _print_row("mean", means)
    ratio = means[2] / means[:2].max()
    print(f"ours is {ratio:.3f} times the better of the others; the goal is {GOAL:.2f}")
    return int(ratio < GOAL)


def score_scene(folder: Path, k: int, seeds: list[int]) -> NDArray[np.float64]:
    """Return the mean IoU of each way, averaged over the seeds, in the order of `COLUMNS`."""
    pixels, valid = read_stretched(folder / "image.tif")
    with rasterio.open(folder / "labels.tif") as file:
        truth = file.read(1)
    segments, statistics = describe_segments(pixels)
    ours = label_ours(folder / "image.tif", k, seeds)
    scores = [
        (
            mean_iou(cluster_pixels(pixels, k, seed), valid, truth),
            mean_iou(cluster_rows(statistics, k, seed)[segments], valid, truth),
            mean_iou(*next(ours), truth),
        )
        for seed in seeds
    ]
    return np.asarray(np.mean(scores, axis=0), np.float64)


def read_stretched(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the first three bands as 8 bits, 2nd to 98th percentile, and where they are valid."""
    with rasterio.open(path) as file:
        bands = file.read([1, 2, 3]).astype(np.float32)
        valid = file.dataset_mask() > 0
    for band in bands:
        low, high = np.percentile(band[valid], (2, 98))
        band[:] = np.where(valid, np.clip((band - low) / max(high - low, 1e-9), 0, 1) * 255, 0)
    return np.ascontiguousarray(np.moveaxis(bands, 0, 2).round().astype(np.uint8)), valid


def cluster_pixels(pixels: NDArray[np.uint8], k: int, seed: int) -> NDArray[np.integer]:
    """Return the cluster of each pixel."""
    rows = pixels.reshape(-1, 3).astype(np.float32)
    sample = np.random.default_rng(seed).permutation(len(rows))[:SAMPLE]
    model = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=4096).fit(rows[sample])
    return np.asarray(model.predict(rows)).reshape(pixels.shape[:2])


def describe_segments(
    pixels: NDArray[np.uint8],
) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
    """Return Felzenszwalb's segments and, a row each, their statistics."""
    segments = felzenszwalb(pixels, scale=100, sigma=0.5, min_size=50)
    flat = segments.ravel()
    areas = np.bincount(flat)
    lab = rgb2lab(pixels.astype(np.float32) / 255)
    gradient = np.hypot(ndimage.sobel(lab[..., 0], 0), ndimage.sobel(lab[..., 0], 1))
    columns = [np.bincount(flat, gradient.ravel()) / areas]
    for channel in np.moveaxis(lab, 2, 0):
        mean = np.bincount(flat, channel.ravel()) / areas
        squares = np.bincount(flat, np.square(channel).ravel()) / areas
        columns += [mean, np.sqrt(np.maximum(squares - mean * mean, 0))]
    return segments, np.stack(columns, axis=1)


def cluster_rows(rows: NDArray[np.floating], k: int, seed: int) -> NDArray[np.integer]:
    """Return the cluster of each row, every column counting the same."""
    spread = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.asarray(KMeans(k, random_state=seed, n_init=3).fit(rows).labels_)


def label_ours(
    image: Path, k: int, seeds: list[int]
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.bool_]]]:
    """Yield what the whole pipeline makes of a scene with each seed, and where it is labelled."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = {"model": "builtin", "n_classes": k, "bands": (1, 2, 3)}
        outputs = alps_geo.label(image, out, seed=seeds[0], **options)
        for seed in seeds:
            if seed != seeds[0]:
                # The seed is that of the clustering only: the masks stay.
                alps_geo.classify(out, n_classes=k, seed=seed)
            with rasterio.open(outputs.label_paths[0]) as file:
                labels = file.read(1)
                yield labels, labels != file.nodata


def mean_iou(
    labels: NDArray[np.integer], labelled: NDArray[np.bool_], truth: NDArray[np.integer]
) -> float:
    """Return the many-to-one mean IoU over the reference classes that occur."""
    known = truth != IGNORED
    classes, numbers = np.unique(truth[known], return_inverse=True)
    rows = np.where(labelled, labels.astype(np.int64) + 1, 0)[known]
    counts = np.bincount(rows * len(classes) + numbers, minlength=(rows.max() + 1) * len(classes))
    confusion = counts.reshape(-1, len(classes))
    return match_majority(confusion[1:], confusion[0]).miou


def _print_row(name: str, scores: NDArray[np.float64]) -> None:
    print(f"{name:16}" + "".join(f"{score:10.3f}" for score in scores), flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--scenes", nargs="+", default=SCENES, metavar="NAME")
    parser.add_argument("-k", nargs="+", type=int, default=[16], help="number of clusters")
    parser.add_argument("--features", nargs="+", metavar="BLOCKS", help="sets to compare")
    parser.add_argument("--seed", nargs="+", type=int, default=[0], metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
