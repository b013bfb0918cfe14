"""What a user can choose: one frozen, checked object per stage; standard library only.

The command line, the QGIS plugin and the README take names, defaults, choices and help texts
from here: a setting is declared once. Wrong values raise `SettingsError` when an object is made.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
import os
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import SettingsError

STRETCHES = ("percentile", "minmax", "none")
DEVICES = ("auto", "cpu", "cuda", "mps")
FEATURE_MODES = ("corrected", "paper")
PRECISIONS = ("fp32", "bf16")
T = TypeVar("T")


def setting(default: T, text: str, **extra: Any) -> T:
    """Declare a field with its help text and what the command line needs to know of it.

    Parameters
    ----------
    default
        The value when the user chooses none.
    text : str
        One sentence for `--help`, the QGIS dialog and the README; with the unit.
    **extra
        `flags` (option names where not made from the field's name), `choices` (allowed words),
        `metavar` (what the value is called in the help), `least` and `most` (what a number can be;
        forms offer no others).
    """
    value: T = field(default=default, metadata={"help": text, **extra})
    return value


def option_name(item: dataclasses.Field[Any]) -> str:
    """Return the name a setting has as a keyword and, with dashes, as an option."""
    flags: tuple[str, ...] = item.metadata.get("flags", ())
    longest = max((flag.split("/")[0] for flag in flags), key=len, default=item.name)
    return longest.lstrip("-").replace("-", "_")


class SettingsPart:
    """Base of the stages' settings: values come in as other libraries have them.

    A `Path` becomes text, and NumPy's numbers become Python's, so that settings can be written as
    JSON; what is of another type is refused.
    """

    def __post_init__(self) -> None:
        """Turn every value into the type that is declared."""
        kinds = typing.get_type_hints(type(self))
        for item in dataclasses.fields(self):  # type: ignore[arg-type]  # every part is a dataclass
            value = _as_declared(option_name(item), getattr(self, item.name), kinds[item.name])
            object.__setattr__(self, item.name, value)


def _as_declared(name: str, value: object, kind: Any) -> object:  # noqa: ANN401 - a type, or a union
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(member for member in typing.get_args(kind) if member is not type(None))
    if typing.get_origin(kind) is tuple:
        (inner, _) = typing.get_args(kind)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise _refusal(name, "must be a sequence such as (3, 2, 1)", value)
        return tuple(_as_declared(name, member, inner) for member in value)
    what, convert = _CONVERTERS[kind]
    try:
        return convert(value)
    except TypeError:
        raise _refusal(name, f"must be {what}", value) from None


def _to_bool(value: Any) -> bool:  # noqa: ANN401 - anything
    # NumPy's truth values are no `bool`, but hold one.
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, bool):
        raise TypeError
    return value


def _to_int(value: Any) -> int:  # noqa: ANN401 - anything
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _to_float(value: Any) -> float:  # noqa: ANN401 - anything
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError
    return float(value)


def _to_text(value: Any) -> str:  # noqa: ANN401 - anything
    return os.fsdecode(os.fspath(value))


_CONVERTERS: dict[type, tuple[str, Any]] = {
    bool: ("True or False", _to_bool),
    int: ("a whole number", _to_int),
    float: ("a number", _to_float),
    str: ("text", _to_text),
}


def _check(holds: bool, name: str, rule: str, found: object) -> None:
    if not holds:
        raise _refusal(name, rule, found)


def _refusal(name: str, rule: str, found: object) -> SettingsError:
    text = f"`{name}` {rule}, not {found!r}"
    return SettingsError(text, code=f"settings.{name}", setting=name, found=found)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _check(value in choices, name, f"must be one of {', '.join(choices)}", value)


def _check_share(name: str, value: float) -> None:
    _check(0 <= value <= 1, name, "must be from 0 to 1", value)


@dataclass(frozen=True)
class SceneSettings(SettingsPart):
    """How scenes are read."""

    bands: tuple[int, ...] = setting(
        (),
        "Bands to use as red, green, blue, counted from 1: three, or one for a grey scene."
        "  [default: the RGB bands the file declares, else the first three]",
        metavar="R,G,B",
    )
    subdataset: str | None = setting(
        None,
        "Which raster to use of a file that holds several (pages of a TIFF, a Sentinel-2 product,"
        " netCDF, HDF): its number, counted from 1, or a piece of its name or description.",
        metavar="PART",
    )
    stretch: str = setting(
        "percentile",
        "Scaling to 8 bits over the valid pixels of all scenes: the 2nd to 98th percentile of each"
        " band, its minimum to maximum, or none (8-bit values as they are).",
        choices=STRETCHES,
    )
    stretch_percentiles: tuple[float, ...] | None = setting(
        None,
        "Percentiles of each band that become black and white with the percentile stretch; further"
        " apart against hazy, nearer against cloudy scenes.  [default: 2,98]",
        metavar="LOW,HIGH",
    )
    stretch_range: tuple[float, ...] | None = setting(
        None,
        "Pixel values that become black and white, instead of measuring them: one pair for all"
        " bands, or three pairs for red, green and blue.",
        metavar="LOW,HIGH,...",
    )
    nodata: float | None = setting(
        None,
        "Pixels with this value in all bands hold no data, whatever value the file declares.",
        metavar="VALUE",
    )
    nodata_tolerance: float | None = setting(
        None,
        "Pixels this close to the nodata value in all bands hold no data either where they hang"
        " together with the scene's border or a masked area, as collars in JPEG do (from 10 at"
        " quality 95 to 40 at 75). Costs a read of the whole file, remote ones too.",
        metavar="VALUE",
        least=0.0,
    )
    aoi: str | None = setting(
        None, "Label only inside the polygons of this vector file (any CRS).", metavar="FILE"
    )
    full_extent: bool = setting(
        False,
        "With an area of interest: results on the whole scene's grid, instead of on the pixels"
        " around the area.",
    )
    gsd: float | None = setting(
        None, "Resample to this ground sampling distance on read, in metres.", metavar="METRES"
    )

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        number, lowest = len(self.bands), min(self.bands, default=1)
        _check(number in (0, 1, 3), "bands", "must name one or three bands", number)
        _check(lowest >= 1, "bands", "are counted from 1", lowest)
        _check_choice("stretch", self.stretch, STRETCHES)
        self._check_limits()
        # NaN and infinity never hold data; NaN would also differ from itself when a run goes on.
        finite = self.nodata is None or math.isfinite(self.nodata)
        _check(finite, "nodata", "must be a finite number, or be left out", self.nodata)
        tolerance = self.nodata_tolerance
        finite = tolerance is None or 0 <= tolerance < math.inf
        _check(finite, "nodata_tolerance", "must be a number from 0, or be left out", tolerance)
        _check(self.gsd is None or self.gsd > 0, "gsd", "must be above 0 metres", self.gsd)

    def _check_limits(self) -> None:
        limits, percentiles = self.stretch_range, self.stretch_percentiles
        if limits is not None:
            pairs = list(zip(limits[::2], limits[1::2], strict=False))
            _check(
                len(limits) in (2, 6) and all(-math.inf < a < b < math.inf for a, b in pairs),
                "stretch_range",
                "must be one or three pairs of a lower and a higher value",
                limits,
            )
            _check(
                percentiles is None,
                "stretch_percentiles",
                "must be left out where `stretch_range` is given",
                percentiles,
            )
            _check(
                self.stretch == "percentile",
                "stretch",
                "must be left out where `stretch_range` is given",
                self.stretch,
            )
        elif percentiles is not None:
            _check(
                len(percentiles) == 2 and 0 <= percentiles[0] < percentiles[1] <= 100,
                "stretch_percentiles",
                "must be a lower and a higher number from 0 to 100",
                percentiles,
            )
            _check(
                self.stretch == "percentile",
                "stretch",
                "must be percentile with `stretch_percentiles`",
                self.stretch,
            )


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
        _check(64 <= self.size <= 16384, "tile_size", "must be from 64 to 16384", self.size)
        _check(
            0 <= self.overlap <= self.size // 2 and self.overlap % 2 == 0,
            "overlap",
            f"must be an even number from 0 to half of `tile_size` ({self.size // 2})",
            self.overlap,
        )


@dataclass(frozen=True)
class MaskSettings(SettingsPart):
    """Which masks a model makes, and which of them are kept."""

    area_threshold: float = setting(
        0.3,
        "Drop masks above this share of the tile's valid area (the paper's gate).",
        least=0.001,
        most=1.0,
    )
    min_area_px: int = setting(16, "Drop masks below this area, in pixels.", metavar="PX", least=1)
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

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        _check(
            0 < self.area_threshold <= 1,
            "area_threshold",
            "must be above 0 and at most 1",
            self.area_threshold,
        )
        _check(self.min_area_px >= 1, "min_area_px", "must be at least 1", self.min_area_px)
        _check(
            1 <= self.points_per_side <= 256,
            "points_per_side",
            "must be from 1 to 256",
            self.points_per_side,
        )
        _check_share("pred_iou_thresh", self.pred_iou_thresh)
        _check_share("stability_score_thresh", self.stability_score_thresh)
        _check_share("box_nms_thresh", self.box_nms_thresh)


@dataclass(frozen=True)
class ModelSettings(SettingsPart):
    """Which mask model runs, and where."""

    model: str = setting(
        "auto",
        "Mask model: builtin (no weights), mobile-sam, sam-vit-b, sam-vit-l, sam-vit-h, or auto:"
        " the best SAM checkpoint installed, else builtin.",
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

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        _check_choice("device", self.device, DEVICES)
        _check_choice("feature_mode", self.feature_mode, FEATURE_MODES)
        _check_choice("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class ClassSettings(SettingsPart):
    """How pseudo-classes are found."""

    n_classes: int = setting(
        16,
        "Number of pseudo-classes.",
        flags=("-k", "--n-classes"),
        metavar="K",
        least=2,
        most=65535,
    )
    classes: str | None = setting(
        None,
        "A class model to apply (classes.safetensors, or the folder of a run): same ids, names and"
        " colours as there.",
        metavar="MODEL",
    )
    seed: int = setting(0, "Seed of the clustering.", metavar="N", least=0, most=2**31 - 1)

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        _check(
            2 <= self.n_classes <= 65535,
            "n_classes",
            "must be from 2 to 65535",
            self.n_classes,
        )
        _check(0 <= self.seed < 2**32, "seed", "must be from 0 to 4294967295", self.seed)


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

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        _check(self.simplify >= 0, "simplify", "must be 0 or more pixels", self.simplify)
        _check(0 <= self.fill <= 256, "fill", "must be from 0 to 256 pixels", self.fill)


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
        _check(1 <= self.workers <= 1024, "workers", "must be from 1 to 1024", self.workers)
        address = self.scheduler
        _check(
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


@dataclass(frozen=True)
class Settings:
    """All settings of a run, one object per stage."""

    scene: SceneSettings = SceneSettings()
    tiles: TileSettings = TileSettings()
    model: ModelSettings = ModelSettings()
    masks: MaskSettings = MaskSettings()
    classes: ClassSettings = ClassSettings()
    outputs: OutputSettings = OutputSettings()
    run: RunSettings = RunSettings()

    @classmethod
    def from_options(cls, **options: object) -> Settings:
        """Sort options by name into the objects that own them.

        Parameters
        ----------
        **options
            Field names of the stages' settings; `tile_size` for `TileSettings.size`.

        Raises
        ------
        SettingsError
            If a name is unknown or a value cannot work.
        """
        names = {option_name(item): (part.name, item.name) for part, item in all_settings()}
        chosen: dict[str, dict[str, object]] = {}
        for option, value in options.items():
            if option not in names:
                raise SettingsError(f"unknown setting {option!r}; known: {', '.join(names)}")
            part_name, field_name = names[option]
            chosen.setdefault(part_name, {})[field_name] = value
        default: Any = cls()
        parts = {
            name: dataclasses.replace(getattr(default, name), **values)
            for name, values in chosen.items()
        }
        changed: Settings = dataclasses.replace(default, **parts)
        return changed


def all_settings() -> list[tuple[dataclasses.Field[Any], dataclasses.Field[Any]]]:
    """Return every setting as (part of `Settings`, field of that part), in order."""
    default: Any = Settings()
    return [
        (part, item)
        for part in dataclasses.fields(Settings)
        for item in dataclasses.fields(getattr(default, part.name))
    ]
