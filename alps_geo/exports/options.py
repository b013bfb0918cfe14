"""What is exported, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..settings.declaration import check

#: Formats of patches.
PATCH_FORMATS = ("mmseg", "coco", "yolo")
#: Unit of a minimum mapping unit -> square metres; pixels have none.
_UNITS = {"m2": 1.0, "ha": 1e4, "km2": 1e6, "px": None}


@dataclass(frozen=True)
class ExportSettings:
    """What is exported, and how.

    Attributes
    ----------
    classes : tuple of str
        Ids or names of classes, for these only.
    min_confidence : float
        Segments below count as not labelled; from 0 to 1.
    mmu : str
        Minimum mapping unit, such as `0.5ha`, `200m2`, `50px`; vector formats only.
    dissolve : bool
        Neighbours of one class become one polygon; vector formats only.
    crs : str
        Another CRS, such as `EPSG:3857`; vector formats only.
    patch_size, overlap : int
        Of patches, in pixels.
    val_share : float
        Share of the ground, or of the scenes, for validation.
    split : str
        `blocks` (squares of ground), `scenes`, or a CSV file with lines `scene,train` or
        `scene,val`.
    block : int
        Side of the squares, in pixels; 0 for twice a patch.
    seed : int
        Of the split.
    geotiff : bool
        Images of mmseg as GeoTIFF.
    suffix : str
        At the end of mmseg's masks.
    """

    classes: tuple[str, ...] = ()
    min_confidence: float = 0.0
    mmu: str = ""
    dissolve: bool = False
    crs: str = ""
    patch_size: int = 896
    overlap: int = 384
    val_share: float = 0.2
    split: str = "blocks"
    block: int = 0
    seed: int = 0
    geotiff: bool = False
    suffix: str = ""

    def __post_init__(self) -> None:
        """Check every value."""
        check(
            0 <= self.min_confidence <= 1,
            "min_confidence",
            "must be from 0 to 1",
            self.min_confidence,
        )
        check(0 <= self.val_share < 1, "val_share", "must be from 0 to less than 1", self.val_share)
        check(self.patch_size >= 32, "patch_size", "must be 32 or more", self.patch_size)
        fits = 0 <= self.overlap < self.patch_size
        check(fits, "overlap", "must be from 0 to less than `patch_size`", self.overlap)
        fits = self.block == 0 or self.block >= self.patch_size
        check(fits, "block", "must be no less than `patch_size`, or 0", self.block)
        if self.mmu:
            self.least_area()

    def least_area(self) -> tuple[float, float | None]:
        """Return the minimum mapping unit: a number, and its unit in square metres, or None."""
        found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(m2|ha|km2|px)\s*", self.mmu)
        check(found is not None, "mmu", "must be an area such as 0.5ha, 200m2, 50px", self.mmu)
        number, unit = found.groups() if found else ("0", "px")
        return float(number), _UNITS[unit]
