"""The same scene through Orfeo ToolBox and through us: time, memory and mean IoU side by side.

    python benchmarks/peers.py [FOLDER] [-k 16] [--model builtin] [--repeat 1]

FOLDER has an `image.tif` and reference classes in `labels.tif`; the default is dubai_tile2.

Orfeo ToolBox (Debian package otb-bin) segments with LargeScaleMeanShift (spatialr 5, ranger 15,
minsize 64, vector mode). It has no one way to cluster what it finds, and the ways differ by more
than 0.1 mIoU, so its segments go through k-means of scikit-learn, with the same k, in each of the
`WAYS`; compare with the best of them. Each competitor runs as child processes; times include
start-up, the peak is that of the largest process.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from measure import Usage, run_measured
from rasterio.features import rasterize

from alps_geo.evaluation.comparison import evaluate

OTB = "otbcli_LargeScaleMeanShift"
DEFAULT_SCENE = Path(__file__).parents[2] / "shared" / "data" / "dubai_tile2"
#: How segments are clustered: kinds of columns, and whether segments count by area. The first is
#: the plainest, the second gives the 0.385 known for dubai_tile2, the third was the best of ten.
WAYS = {
    "mean, variance": (("mean", "var"), False),
    "mean, deviation, by area": (("mean", "deviation"), True),
    "mean, by area": (("mean",), True),
}
#: Label of pixels that no segment covers.
NONE = 255


def main() -> int:
    """Measure and print a table."""
    arguments = _parse()
    if arguments.cluster:
        cluster_segments(*arguments.cluster, k=arguments.k, way=arguments.way)
        return 0
    image, truth = arguments.folder / "image.tif", arguments.folder / "labels.tif"
    if not (image.is_file() and truth.is_file()):
        print(f"skipped: {arguments.folder} has no image.tif with a labels.tif")
        return 0
    print(f"{image}, k = {arguments.k}; peak is that of the largest process")
    print(f"{'':36}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'mIoU':>7}{'Hung.':>7}{'cover':>7}")
    failed = False
    for compete in [run_otb, run_ours] * arguments.repeat:
        with tempfile.TemporaryDirectory() as folder:
            for row in compete(arguments, image, Path(folder)):
                failed |= row.trouble.startswith("failed")
                _print_row(row, truth)
    return int(failed)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_SCENE)
    parser.add_argument("-k", type=int, default=16, help="number of classes")
    parser.add_argument("--model", default="builtin", help="our mask model")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each")
    # How the script calls itself, so that k-means on the segments is measured like the rest.
    parser.add_argument("--cluster", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


@dataclass(frozen=True)
class Row:
    """A line of the table: what was run, and what it took or why it did not work."""

    name: str
    usage: Usage | None = None
    labels: Path | None = None
    trouble: str = ""


def _print_row(row: Row, truth: Path) -> None:
    if row.usage is None or row.labels is None:
        print(f"{row.name:36}{row.trouble}")
        return
    measures, usage = evaluate(row.labels, truth).measures, row.usage
    print(
        f"{row.name:36}{usage.wall_s:8.1f}{usage.cpu_s:8.1f}{usage.peak_mb:9.0f}"
        f"{measures['miou']:7.3f}{measures['miou_hungarian']:7.3f}{measures['coverage']:7.3f}",
        flush=True,
    )


def run_otb(arguments: argparse.Namespace, image: Path, folder: Path) -> Iterator[Row]:
    """Segment with Orfeo ToolBox, then cluster in each way."""
    program = shutil.which(OTB)
    if program is None:
        yield Row("OTB", trouble=f"skipped: {OTB} is not on PATH (apt-get install otb-bin)")
        return
    segments = folder / "segments.shp"
    command: list[str | Path] = [program, "-in", image, "-mode", "vector"]
    command += ["-spatialr", "5", "-ranger", "15", "-minsize", "64", "-mode.vector.out", segments]
    segmenting = run_measured(command, folder / "otb.log")
    # OTB ends with 0 after some errors.
    if segmenting.returncode or not segments.is_file():
        yield Row("OTB", trouble=f"failed: {_last_line(segmenting.output)}")
        return
    for number, way in enumerate(WAYS):
        labels = folder / f"labels{number}.tif"
        command = [sys.executable, __file__, "--cluster", image, segments, labels]
        command += ["-k", str(arguments.k), "--way", way]
        usage = segmenting + run_measured(command, folder / "k-means.log")
        if usage.returncode:
            yield Row(f"OTB, {way}", trouble=f"failed: {_last_line(usage.output)}")
        else:
            yield Row(f"OTB, {way}", usage, labels)


def run_ours(arguments: argparse.Namespace, image: Path, folder: Path) -> Iterator[Row]:
    """Label with alps-geo."""
    name, program = f"alps-geo, {arguments.model}", Path(sys.executable).parent / "alps-geo"
    if not program.is_file():
        yield Row(name, trouble=f"skipped: {program} is not installed (pip install -e .)")
        return
    out = folder / "out"
    command: list[str | Path] = [program, "label", image, "-o", out, "-k", str(arguments.k)]
    command += ["--model", arguments.model, "--progress", "none"]
    usage = run_measured(command, folder / "ours.log")
    if usage.returncode:
        yield Row(name, trouble=f"failed: {_last_line(usage.output)}")
    else:
        yield Row(name, usage, out)


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def cluster_segments(image: Path, segments: Path, labels: Path, *, k: int, way: str) -> None:
    """Give each of OTB's segments a class by k-means on its statistics, and write a raster.

    Parameters
    ----------
    image : Path
        For its grid.
    segments : Path
        Vector file with `nbPixels`, and `meanB0`, `varB0`, … for each band.
    labels : Path
        Where to write.
    k : int
    way : str
        One of `WAYS`.
    """
    # Here, so that only the child process that clusters pays for them.
    import pyogrio
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    table = pyogrio.read_dataframe(segments)
    bands = [name[4:] for name in table.columns if re.fullmatch(r"meanB\d+", name)]
    statistics = {
        "mean": table[[f"mean{band}" for band in bands]].to_numpy(),
        "var": table[[f"var{band}" for band in bands]].to_numpy(),
    }
    statistics["deviation"] = np.sqrt(np.maximum(statistics["var"], 0))
    kinds, by_area = WAYS[way]
    features = StandardScaler().fit_transform(np.hstack([statistics[kind] for kind in kinds]))
    weights = table["nbPixels"].to_numpy() if by_area else None
    classes = KMeans(k, n_init=4, random_state=0).fit(features, sample_weight=weights).labels_
    with rasterio.open(image) as source:
        profile = {"crs": source.crs, "transform": source.transform}
        shape, transform = source.shape, source.transform
    pairs = zip(table.geometry, classes.tolist(), strict=True)
    burnt = rasterize(pairs, shape, fill=NONE, transform=transform, dtype=np.uint8)
    height, width = shape
    with rasterio.open(
        labels, "w", "GTiff", width, height, 1, dtype="uint8", nodata=NONE, **profile
    ) as file:
        file.write(burnt, 1)


if __name__ == "__main__":
    sys.exit(main())
