"""What a user can choose at each stage: one frozen, checked object per stage."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import SettingsError
from .declaration import SettingsPart, check, setting
from .features import RASTER, split_features, split_raster

#: What stands for a number of classes that is to be found, and how.
AUTO, K_METHODS = "auto", ("stability", "dp")
DEVICES = ("auto", "cpu", "cuda", "mps")
FEATURE_MODES = ("corrected", "paper")
PRECISIONS = ("fp32", "bf16")
#: Blocks of features, in the order of their columns.
FEATURES = ("texture", "sam", "cnn", "dinov2-s", "dinov2-b", "bands")


@dataclass(frozen=True)
class TileSettings(SettingsPart):
    """How a scene is cut into tiles."""

    size: int = setting(
        1024,
        "Side of the square tiles, in pixels.",
        flags=("--tile-size",),
        metavar="PX",
        least=64,
        most=16384,
    )
    overlap: int = setting(
        256,
        "How far neighbouring tiles overlap, in pixels; smaller objects are seen whole.",
        metavar="PX",
        least=0,
        most=8192,
    )

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        check(
            0 <= self.overlap <= self.size // 2 and self.overlap % 2 == 0,
            "overlap",
            f"must be an even number from 0 to half of `tile_size` ({self.size // 2})",
            self.overlap,
        )


@dataclass(frozen=True)
class GateSettings(SettingsPart):
    """Which of a model's masks are kept."""

    area_threshold: float = setting(
        0.3,
        "Drop masks above this share of the tile's valid area (the paper's gate).",
        least=0.001,
        most=1.0,
    )
    min_area_px: int = setting(16, "Drop masks below this area, in pixels.", metavar="PX", least=1)


@dataclass(frozen=True)
class SamSettings(SettingsPart):
    """Which masks SAM makes."""

    points_per_side: int = setting(
        32, "SAM: prompt points along a tile's side.", metavar="N", least=1, most=256
    )
    pred_iou_thresh: float = setting(
        0.88, "SAM: drop masks with a predicted IoU below this.", least=0.0, most=1.0
    )
    stability_score_thresh: float = setting(
        0.95, "SAM: drop masks with a stability below this.", least=0.0, most=1.0
    )
    box_nms_thresh: float = setting(
        0.7,
        "SAM: box IoU above which the poorer of two masks is a duplicate.",
        least=0.0,
        most=1.0,
    )


@dataclass(frozen=True)
class ModelSettings(SettingsPart):
    """Which mask model runs, and where."""

    name: str = setting(
        "auto",
        "Mask model: builtin (no weights), mobile-sam, sam-vit-b, sam-vit-l, sam-vit-h, or auto:"
        " the best SAM checkpoint installed, else builtin.",
        flags=("--model",),
        key="model",
        metavar="NAME",
    )
    checkpoint: str | None = setting(
        None, "A SAM checkpoint file (.pth) to use instead of an installed one.", metavar="PATH"
    )
    device: str = setting("auto", "Where SAM runs.", choices=DEVICES)
    feature_mode: str = setting(
        "corrected",
        "SAM features: 'corrected' pools the embedding the masks were made from, 'paper' encodes"
        " again with the authors' preprocessing.",
        choices=FEATURE_MODES,
    )
    precision: str = setting(
        "fp32",
        "SAM's arithmetic: 'fp32' gives the original's masks, 'bf16' nearly those in less time,"
        " on GPUs and on CPUs made for it.",
        choices=PRECISIONS,
    )
    features: str = setting(
        "auto",
        "What segments are told apart by, joined by +: texture (colour, texture and shape), sam"
        " (SAM's embedding), cnn (a small learned network), dinov2-s and dinov2-b (larger ones,"
        " for GPUs), bands (all bands of the file), raster:FILE (another raster of the place, such"
        " as heights or embeddings); or auto: texture+cnn with builtin, sam with SAM.",
        metavar="BLOCKS",
    )

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        words = split_features(self.features, FEATURES)
        rasters = [word for word in words if word.startswith(RASTER)]
        check(
            {*words} <= {"auto", *FEATURES, *rasters}
            and len({*words}) == len(words)
            and all(split_raster(word)[1] for word in rasters),
            "features",
            f"must be some of auto, {', '.join(FEATURES)}, raster:FILE, each once, joined by +",
            self.features,
        )


@dataclass(frozen=True)
class ClassSettings(SettingsPart):
    """How pseudo-classes are found."""

    n_classes: int | str = setting(
        16,
        "Number of pseudo-classes; or auto: as many as the segments tell apart.",
        flags=("-k", "--n-classes"),
        metavar="K",
        least=2,
        most=65535,
        word=AUTO,
    )
    file: str | None = setting(
        None,
        "A class model to apply (classes.safetensors, or the folder of a run): same ids, names and"
        " colours as there.",
        flags=("--classes",),
        key="classes",
        metavar="MODEL",
    )
    seed: int = setting(0, "Seed of the clustering.", metavar="N", least=0, most=2**32 - 1)
    k_method: str = setting(
        "stability",
        "How auto finds the number of classes: 'stability', as many as come out again from other"
        " segments; 'dp', as many as a mixture of Gaussians needs (a Dirichlet process).",
        choices=K_METHODS,
    )
    examples: tuple[str, ...] = setting(
        (),
        "Examples of classes, which take the place of pseudo-classes: points, lines or polygons of"
        " a vector file in any CRS, or a CSV with the columns segment_id and class. May be given"
        " more than once.",
        metavar="FILE",
    )
    field: str | None = setting(
        None,
        "Field of the examples that holds the classes.  [default: class, or the only field]",
        metavar="NAME",
    )
    reject: float | None = setting(
        None,
        "Segments become 'unknown' whose class, from examples, is less probable than this; and,"
        " with any number above 0, those beyond the spread of the segments that the class model was"
        " made from.  [default: as in the class model, else 0]",
        metavar="P",
        least=0.0,
        most=1.0,
    )
    keep_rest: bool = setting(
        False, "With examples: segments that fit none keep pseudo-classes of their own."
    )

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        given = bool(self.examples)
        check(given or not self.keep_rest, "keep_rest", "needs `examples`", self.keep_rest)
        check(given or self.field is None, "field", "needs `examples`", self.field)
        is_word = isinstance(self.n_classes, str)
        rule = f"must be a whole number, or {AUTO}"
        check(not is_word or self.n_classes == AUTO, "n_classes", rule, self.n_classes)

    @property
    def is_auto(self) -> bool:
        """Whether the number of classes is to be found."""
        return self.n_classes == AUTO

    @property
    def number(self) -> int:
        """The number of classes that was chosen; the default where it is to be found."""
        return int(ClassSettings.n_classes if self.is_auto else self.n_classes)


@dataclass(frozen=True)
class OutputSettings(SettingsPart):
    """What is written beside the label map."""

    simplify: float = setting(
        0.0,
        "Simplify the polygons' shared edges by this many pixels; 0 keeps every pixel corner.",
        metavar="PX",
        least=0.0,
    )
    fill: int = setting(
        0,
        "Give unlabelled valid pixels to the nearest segment within this many pixels; the record"
        " says how many.",
        metavar="PX",
        least=0,
        most=256,
    )
    keep_masks: bool = setting(
        False, "Add a layer 'masks' with every accepted mask's whole outline, overlaps kept."
    )
    report: bool = setting(
        True,
        "Write report.html: one page with pictures, classes, examples of each, coverage and"
        " settings, written anew whenever the classes change.",
        flags=("--report/--no-report",),
    )


@dataclass(frozen=True)
class RunSettings(SettingsPart):
    """How a run is carried out; nothing here changes what readable tiles give."""

    workers: int = setting(1, "Processes that work on tiles.", metavar="N", least=1, most=1024)
    scheduler: str | None = setting(
        None,
        "Let a Dask cluster work on tiles instead: the scheduler's address, such as"
        " tcp://host:8786, or local:N for one of N processes here.",
        metavar="ADDRESS",
    )
    skip_unreadable: bool = setting(
        False,
        "Leave tiles that cannot be read unlabelled, and name them in the record, instead of"
        " stopping there.",
    )
    overwrite: bool = setting(
        False,
        "Start again, or go on with the same run where it stopped (the default).",
        flags=("--overwrite/--resume",),
    )

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        address = self.scheduler
        check(
            address is None or re.fullmatch(r"local:0*[1-9]\d{0,3}|\w+://\S+", address) is not None,
            "scheduler",
            "must be an address such as tcp://host:8786, or local:N",
            address,
        )
        if address is not None and self.workers != 1:
            raise SettingsError(
                "`workers` and `scheduler` exclude each other: a Dask cluster has its own workers",
                code="settings.scheduler",
                setting="scheduler",
                found=address,
            )
