"""Cut the example scene from the stitched image of tile 2 (see examples/README.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

import rasterio
from rasterio.windows import Window

TARGET = Path(__file__).resolve().parents[1] / "examples" / "dubai.tif"
WINDOW = Window(col_off=352, row_off=0, width=1024, height=1152)


def make_example(source: Path, target: Path, window: Window) -> None:
    """Write a window of the source as a small tiled GeoTIFF at the same place on the ground."""
    with rasterio.open(source) as image:
        profile = {
            "driver": "GTiff",
            "dtype": "uint8",
            "count": 3,
            "width": window.width,
            "height": window.height,
            "crs": image.crs,
            "transform": image.window_transform(window),
            "tiled": True,
            "blockxsize": 512,
            "blockysize": 512,
            "compress": "jpeg",
            "jpeg_quality": 90,
            "photometric": "ycbcr",
            "interleave": "pixel",
        }
        with rasterio.open(target, "w", **profile) as cut:
            cut.write(image.read(window=window))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    make_example(parser.parse_args().source, TARGET, WINDOW)
