"""What an area of interest in a large remote scene costs.

Run as: python benchmarks/area.py IMAGE

Repeats IMAGE over a scene of 30,000 x 30,000 pixels, stores that as a Cloud-Optimized GeoTIFF,
serves it in ranges on this computer, and labels an area of 512 x 512 pixels of it. Beside that: the
same pixels cut out and labelled as a file of their own, and what GDAL fetches to read just them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from rasterio.windows import Window

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import run_measured
from tests.range_server import SENT, Counts, serving

PLACE = Affine(0.5, 0, 320000, 0, -0.5, 2780000)
CRS = "EPSG:32640"
READ = """
import rasterio, sys
with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(sys.argv[1]) as file:
    row, col, side = map(int, sys.argv[2:])
    file.read([1, 2, 3], window=rasterio.windows.Window(col, row, side, side))
"""


def main() -> None:
    """Measure, and print a line per way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, help="three bands of 8 bits")
    parser.add_argument("--side", type=int, default=30_000, help="of the scene, in pixels")
    parser.add_argument("--area", type=int, default=512, help="side of the area, in pixels")
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large, crop, area = (folder / each for each in ("large.tif", "crop.tif", "area.gpkg"))
        corner = chosen.side // 2 - 100
        write_large(large, chosen.image, chosen.side)
        cut_out(large, crop, area, corner, chosen.area)
        with serving(large) as (address, counts):
            compare(folder, address, counts, crop, area, corner, chosen)


def write_large(path: Path, image: Path, side: int) -> None:
    """Write the image over and over, as a COG compressed as orthophotos are."""
    with rasterio.open(image) as file:
        pixels = file.read([1, 2, 3])
    height, width = pixels.shape[1:]
    plain = path.with_name("plain.tif")
    options = {
        "driver": "GTiff", "count": 3, "dtype": "uint8", "height": side, "width": side,
        "crs": CRS, "transform": PLACE, "tiled": True, "bigtiff": "yes",
    }  # fmt: skip
    with rasterio.open(plain, "w", **options) as file:
        for row in range(0, side, height):
            for col in range(0, side, width):
                part = pixels[:, : side - row, : side - col]
                file.write(part, window=Window(col, row, part.shape[2], part.shape[1]))
    rasterio.shutil.copy(plain, path, driver="COG", compress="JPEG", quality=85, bigtiff="YES")
    plain.unlink()


def cut_out(large: Path, crop: Path, area: Path, corner: int, side: int) -> None:
    """Write the pixels of the area as a file of their own, and the area as a polygon."""
    window = Window(corner, corner, side, side)
    with rasterio.open(large) as file:
        profile = {**file.profile, "driver": "GTiff", "height": side, "width": side}
        profile |= {"transform": file.window_transform(window), "compress": "deflate"}
        profile.pop("photometric", None)
        with rasterio.open(crop, "w", **profile) as part:
            part.write(file.read(window=window))
        left, top = file.transform * (corner, corner)
        right, bottom = file.transform * (corner + side, corner + side)
    geopandas.GeoSeries([shapely.box(left, bottom, right, top)], crs=CRS).to_file(area)


def compare(
    folder: Path,
    address: str,
    counts: Counts,
    crop: Path,
    area: Path,
    corner: int,
    chosen: argparse.Namespace,
) -> None:
    """Run each way in turn, and print medians."""
    label = [sys.executable, "-m", "alps_geo.cli", "label", "-k", "8", "--overwrite"]
    label += ["--model", "builtin", "--progress", "none", "-o", folder / "out"]
    ways = {
        "crop, labelled": [*label, crop],
        "area, labelled": [*label, address, "--aoi", area],
        "area, info": [
            sys.executable, "-m", "alps_geo.cli", "info", address, "--aoi", area,
            "--model", "builtin", "--progress", "none",
        ],
        "area, only read": [sys.executable, "-c", READ, address, corner, corner, chosen.area],
    }  # fmt: skip
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    sent: dict[str, int] = {}
    for _ in range(chosen.runs):
        for way, command in ways.items():
            subprocess.run(["rm", "-rf", folder / "out"], check=True)
            before = counts[SENT]
            usage = run_measured([str(part) for part in command], folder / "log")
            if usage.returncode:
                sys.exit(usage.output)
            seconds[way].append(usage.wall_s)
            sent[way] = counts[SENT] - before
    for way in ways:
        print(
            f"{way:20} {statistics.median(seconds[way]):7.2f} s {sent[way] / 1e6:8.2f} MB fetched"
        )
    took = np.median(seconds["area, labelled"]) / np.median(seconds["crop, labelled"])
    print(f"area : crop {took:.2f} x the time,", end=" ")
    print(f"{sent['area, labelled'] / sent['area, only read']:.2f} x the bytes of reading it")


if __name__ == "__main__":
    main()
