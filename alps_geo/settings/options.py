"""What type checkers and editors know of `**options`; made from the settings by `cog -r`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypeAlias, TypedDict

#: A path as users have it.
AnyPath: TypeAlias = str | PathLike[str]

# [[[cog
# import cog
# from alps_geo.settings.keywords import typed_dicts
# cog.outl(typed_dicts())
# ]]]


class SceneOptions(TypedDict, total=False):
    """How scenes are read."""

    bands: Sequence[int] | Literal["pca"]
    subdataset: str | None
    stretch: Literal["percentile", "minmax", "none"]
    stretch_percentiles: Sequence[float] | None
    stretch_range: Sequence[float] | None
    nodata: float | None
    nodata_tolerance: float | None
    aoi: AnyPath | None
    full_extent: bool
    gsd: float | None


class TileOptions(TypedDict, total=False):
    """How a scene is cut into tiles."""

    tile_size: int
    overlap: int


class ModelOptions(TypedDict, total=False):
    """Which mask model runs, and where."""

    checkpoint: AnyPath | None
    device: Literal["auto", "cpu", "cuda", "mps"]
    feature_mode: Literal["corrected", "paper"]
    precision: Literal["fp32", "bf16"]
    features: str


class GateOptions(TypedDict, total=False):
    """Which of a model's masks are kept."""

    area_threshold: float
    min_area_px: int


class SamOptions(TypedDict, total=False):
    """Which masks SAM makes."""

    points_per_side: int
    pred_iou_thresh: float
    stability_score_thresh: float
    box_nms_thresh: float


class ClassOptions(TypedDict, total=False):
    """How pseudo-classes are found."""

    n_classes: int | Literal["auto"]
    classes: AnyPath | None
    seed: int
    k_method: Literal["stability", "dp"]
    examples: AnyPath | Sequence[AnyPath]
    field: str | None
    reject: float | None
    keep_rest: bool


class OutputOptions(TypedDict, total=False):
    """What is written beside the label map."""

    simplify: float
    fill: int
    keep_masks: bool
    report: bool


class RunOptions(TypedDict, total=False):
    """How a run is carried out; nothing here changes what readable tiles give."""

    workers: int
    scheduler: str | None
    skip_unreadable: bool
    overwrite: bool


class ArrayOptions(
    SceneOptions,
    ModelOptions,
    GateOptions,
    SamOptions,
    ClassOptions,
    OutputOptions,
    total=False,
):
    """Options of an array in memory."""


class Options(
    SceneOptions,
    TileOptions,
    ModelOptions,
    GateOptions,
    SamOptions,
    ClassOptions,
    OutputOptions,
    RunOptions,
    total=False,
):
    """Options of scenes."""


# [[[end]]]
