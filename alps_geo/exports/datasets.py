"""Patches with labels, as mmsegmentation, COCO and YOLO have them.

All three have the same patches, with the same names, classes and pixels. What belongs to no class
that was asked for is 255 in masks, and in no instance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

from ..outputs.styles import parse_color
from ..scenes.grid import Grid
from .instances import encode_runs, outline_rings
from .patches import TRAIN, VAL, Patch

#: What stands for no label in masks.
IGNORED = 255


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set: those of the runs, by the same ids.

    Attributes
    ----------
    ids : tuple of int
    names : tuple of str
    colors : tuple of str
        As `#rrggbb`.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    colors: tuple[str, ...]

    @property
    def palette(self) -> list[int]:
        """Red, green and blue of 256 values; black where there is no class."""
        colors = np.zeros((256, 3), np.uint8)
        for number, color in zip(self.ids, self.colors, strict=True):
            colors[number] = parse_color(color)
        return [int(part) for part in colors.ravel()]


@dataclass(frozen=True)
class Sample:
    """A patch with its pixels.

    Attributes
    ----------
    patch : Patch
    grid : Grid
        Of the patch.
    pixels : ndarray of uint8, shape (size, size, 3)
        0 beyond the scene and where it is not valid.
    classes : ndarray of uint8, shape (size, size)
        255 where there is no label.
    segments : ndarray of uint32, shape (size, size)
        0 where there is no label.
    scores : mapping of int to float
        Confidence of each segment there.
    """

    patch: Patch
    grid: Grid
    pixels: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    segments: NDArray[np.uint32]
    scores: Mapping[int, float]

    def instances(self) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
        """Give number, class and mask of each segment in the patch."""
        for number in np.unique(self.segments[self.segments > 0]).tolist():
            mask = self.segments == number
            yield number, int(self.classes[mask][0]), mask


class DatasetWriter(Protocol):
    """Writes samples of one format into a folder."""

    def add(self, sample: Sample) -> None:
        """Write a sample's files."""

    def finish(self) -> None:
        """Write what tells of all of them."""


class MmsegWriter:
    """`img_dir` and `ann_dir` with a folder per split, and a list of names for each.

    Parameters
    ----------
    folder : Path
    classes : ClassList
    geotiff : bool
        Images as GeoTIFF with their CRS instead of PNG.
    suffix : str
        At the end of the masks' names, such as `_instance_color_RGB`.
    """

    def __init__(
        self, folder: Path, classes: ClassList, *, geotiff: bool = False, suffix: str = ""
    ) -> None:
        self._folder, self._classes = folder, classes
        self._geotiff, self._suffix = geotiff, suffix
        self._names: dict[str, list[str]] = {TRAIN: [], VAL: []}

    def add(self, sample: Sample) -> None:
        """Write image and mask."""
        name, split = sample.patch.name, sample.patch.split
        self._names[split].append(name)
        images = _made(self._folder / "img_dir" / split)
        masks = _made(self._folder / "ann_dir" / split)
        if self._geotiff:
            write_geotiff(images / f"{name}.tif", sample)
        else:
            Image.fromarray(sample.pixels).save(images / f"{name}.png")
        mask = Image.fromarray(sample.classes, mode="P")
        mask.putpalette(self._classes.palette)
        mask.save(masks / f"{name}{self._suffix}.png")

    def finish(self) -> None:
        """Write the splits' lists."""
        for split, names in self._names.items():
            text = "".join(f"{name}\n" for name in names)
            (self._folder / f"{split}.txt").write_text(text, encoding="utf-8")


class CocoWriter:
    """`images` with a folder per split, and `annotations/instances_<split>.json`.

    Instances are segments, with masks as run lengths, as pycocotools reads them. Annotations go to
    disk patch by patch.

    Parameters
    ----------
    folder : Path
    classes : ClassList
    """

    def __init__(self, folder: Path, classes: ClassList) -> None:
        self._folder, self._classes = folder, classes
        self._images: dict[str, list[dict[str, Any]]] = {TRAIN: [], VAL: []}
        self._count = 0

    def add(self, sample: Sample) -> None:
        """Write the image, and put its instances aside."""
        patch = sample.patch
        images = self._images[patch.split]
        image_id = sum(map(len, self._images.values())) + 1
        height, width = sample.classes.shape
        file = f"{patch.name}.png"
        Image.fromarray(sample.pixels).save(_made(self._folder / "images" / patch.split) / file)
        images.append({"id": image_id, "file_name": file, "height": height, "width": width})
        with self._lines(patch.split).open("a", encoding="utf-8") as lines:
            for number, class_id, mask in sample.instances():
                self._count += 1
                rows, cols = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
                box = [cols[0], rows[0], cols[-1] - cols[0] + 1, rows[-1] - rows[0] + 1]
                item = {
                    "id": self._count,
                    "image_id": image_id,
                    "category_id": class_id,
                    "segment_id": number,
                    "score": round(sample.scores[number], 6),
                    "area": int(mask.sum()),
                    "bbox": [int(part) for part in box],
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": encode_runs(mask)},
                }
                lines.write(json.dumps(item) + "\n")

    def finish(self) -> None:
        """Put images, classes and instances of each split together."""
        items = zip(self._classes.ids, self._classes.names, self._classes.colors, strict=True)
        kinds = [{"id": number, "name": name, "color": color} for number, name, color in items]
        for split, images in self._images.items():
            path = _made(self._folder / "annotations") / f"instances_{split}.json"
            parts = self._lines(split)
            with path.open("w", encoding="utf-8") as file:
                head = json.dumps({"categories": kinds, "images": images})
                file.write(head[:-1] + ', "annotations": [')
                if parts.exists():
                    with parts.open(encoding="utf-8") as lines:
                        file.writelines(
                            f"{', ' if number else ''}{line.rstrip()}"
                            for number, line in enumerate(lines)
                        )
                file.write("]}\n")
            parts.unlink(missing_ok=True)

    def _lines(self, split: str) -> Path:
        return _made(self._folder / "annotations") / f".{split}.jsonl"


class YoloWriter:
    """`images` and `labels` with a folder per split, and `data.yaml`.

    Each line of a label is a segment: its class, then its outline in shares of the patch. An
    outline with holes, or of several parts, is one ring, whose parts are joined by lines there and
    back.
    Classes are numbered from 0 without gaps, as YOLO asks; `data.yaml` has their ids.

    Parameters
    ----------
    folder : Path
    classes : ClassList
    """

    def __init__(self, folder: Path, classes: ClassList) -> None:
        self._folder, self._classes = folder, classes
        self._places = {number: place for place, number in enumerate(classes.ids)}

    def add(self, sample: Sample) -> None:
        """Write image and label."""
        name, split = sample.patch.name, sample.patch.split
        images = _made(self._folder / "images" / split)
        Image.fromarray(sample.pixels).save(images / f"{name}.png")
        height, width = sample.classes.shape
        lines = []
        for _, class_id, mask in sample.instances():
            ring = outline_rings(mask) / (width, height)
            numbers = " ".join(f"{part:.6f}" for part in ring.ravel())
            lines.append(f"{self._places[class_id]} {numbers}\n")
        path = _made(self._folder / "labels" / split) / f"{name}.txt"
        path.write_text("".join(lines), encoding="utf-8")

    def finish(self) -> None:
        """Write `data.yaml`."""
        names = [f"  {place}: {json.dumps(name)}" for place, name in enumerate(self._classes.names)]
        ids = [f"  {place}: {number}" for place, number in enumerate(self._classes.ids)]
        head = ["path: .", "train: images/train", "val: images/val", "names:"]
        text = "\n".join([*head, *names, "class_ids:", *ids, ""])
        (self._folder / "data.yaml").write_text(text, encoding="utf-8")


def write_geotiff(path: Path, sample: Sample) -> None:
    """Write a patch's pixels with their place."""
    grid = sample.grid
    crs = None if grid.crs is None else grid.crs.to_wkt()
    height, width = sample.classes.shape
    layout = {"compress": "deflate", "photometric": "rgb"}
    with rasterio.open(
        path, "w", driver="GTiff", count=3, dtype="uint8", height=height, width=width,
        crs=crs, transform=grid.transform, **layout,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(sample.pixels, 2, 0))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
