"""Draw a scene beside its label map, with a legend: `make_picture.py SCENE OUT PICTURE`.

Reads only what a run has written: `labels.tif` (colours and names of the classes are in it) and
the scene. The README's picture is made so, see there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rasterio.enums import Resampling

GAP, SWATCH, LINE = 12, 14, 22
TEXT_PX = 13
BACKGROUND, INK = (255, 255, 255), (40, 40, 40)
UNLABELLED = (225, 225, 225)


def make_picture(scene: Path, labels: Path, target: Path, height: int) -> None:
    """Write the picture; its two maps are `height` pixels high."""
    with rasterio.open(labels) as raster:
        shape = (height, round(height * raster.width / raster.height))
        ids = raster.read(1, out_shape=shape, resampling=Resampling.nearest)
        table, nodata = raster.colormap(1), raster.nodata
        names = _category_names(labels)
    colors = np.full((max(*table, int(ids.max())) + 1, 3), UNLABELLED, np.uint8)
    for class_id, (*color, _) in table.items():
        if class_id != nodata:
            colors[class_id] = color
    counts = np.bincount(ids[ids != nodata].ravel(), minlength=1)
    maps = [Image.fromarray(pixels) for pixels in (_read_scene(scene, shape), colors[ids])]
    shown = [int(class_id) for class_id in np.argsort(-counts, kind="stable") if counts[class_id]]
    legend = [
        (names.get(class_id, str(class_id)), colors[class_id], counts[class_id] / counts.sum())
        for class_id in sorted(shown[:24])
    ]
    _compose(maps, legend).save(target, optimize=True)


def _read_scene(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    with rasterio.open(path) as image:
        bands = [1, 2, 3] if image.count >= 3 else [1, 1, 1]
        pixels = image.read(bands, out_shape=(3, *shape), resampling=Resampling.average)
    if pixels.dtype != np.uint8:
        low, high = np.percentile(pixels, [2, 98])
        pixels = np.clip((pixels - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(pixels, 0, 2))


def _category_names(labels: Path) -> dict[int, str]:
    """Return the names of the classes that stand in `labels.tif.aux.xml`."""
    from xml.etree import ElementTree

    sidecar = labels.with_name(labels.name + ".aux.xml")
    if not sidecar.exists():
        return {}
    names = ElementTree.parse(sidecar).iterfind(".//CategoryNames/Category")
    return {number: item.text for number, item in enumerate(names) if item.text}


def _compose(
    maps: list[Image.Image], legend: list[tuple[str, NDArray[np.uint8], float]]
) -> Image.Image:
    width, height = maps[0].size
    font = ImageFont.load_default(TEXT_PX)
    per_row = max(1, (2 * width + GAP) // 200)
    rows = -(-len(legend) // per_row)
    picture = Image.new("RGB", (2 * width + GAP, height + GAP + rows * LINE), BACKGROUND)
    for number, part in enumerate(maps):
        picture.paste(part, (number * (width + GAP), 0))
    draw = ImageDraw.Draw(picture)
    for number, (name, color, share) in enumerate(legend):
        row, col = divmod(number, per_row)
        x, y = col * (2 * width + GAP) // per_row, height + GAP + row * LINE
        draw.rectangle((x, y, x + SWATCH, y + SWATCH), fill=tuple(int(part) for part in color))
        draw.text((x + SWATCH + 6, y - 1), f"{name}  {share:.1%}", fill=INK, font=font)
    return picture


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("out", type=Path, help="folder of a run, or a label raster")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--height", type=int, default=620)
    given = parser.parse_args()
    raster = given.out / "labels.tif" if given.out.is_dir() else given.out
    make_picture(given.scene, raster, given.picture, given.height)
