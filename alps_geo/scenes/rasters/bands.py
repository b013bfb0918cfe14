"""Which bands of a raster are red, green and blue, and which is a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags

from ...errors import SceneError
from ...progress import Notice

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
#: A mask has few values between nothing and all, where its edges are soft; a picture has many.
_FEW_VALUES = 16
_SOFT_SHARE = 0.5

#: Reads values of a band, from all over the scene, shape (n,).
SampleBand = Callable[[int], NDArray[Any]]


@dataclass(frozen=True)
class Bands:
    """The roles of a raster's bands, counted from 1.

    Attributes
    ----------
    colours : tuple of three int
        Used as red, green and blue.
    alpha : int or None
        The band that masks.
    mask : str
        What else masks: `none`, `dataset` (a mask of the file's own) or `nodata`.
    messages : tuple of str
        What the user may want to know.
    """

    colours: tuple[int, int, int]
    alpha: int | None
    mask: str
    messages: tuple[str, ...]


def find_bands(
    dataset: DatasetReader, name: str, chosen: tuple[int, ...], sample: SampleBand
) -> Bands:
    """Decide on the role of each band.

    A band that the file declares as alpha is a mask if its values are those of one, and if the
    user does not choose it as a colour: near-infrared bands are often flagged as alpha.

    Parameters
    ----------
    dataset : DatasetReader
    name : str
        What messages call it.
    chosen : tuple of int
        Bands to use as red, green and blue, or one for grey, and more that count; the file decides
        where empty.
    sample : callable

    Raises
    ------
    SceneError
        If a chosen band does not exist, or no band holds values.
    """
    declared = _declared_alpha(dataset)
    alpha, messages = _judge_alpha(dataset, name, declared, chosen, sample)
    if declared is None:
        alpha, messages = _undeclared_mask(dataset, name, chosen, sample)
    colours, more = _choose_colours(dataset, name, alpha, chosen)
    _check_colours(dataset, name, (*colours, *chosen[3:]))
    return Bands(colours, alpha, _mask_kind(dataset, declared), tuple(messages + more))


def _declared_alpha(dataset: DatasetReader) -> int | None:
    kinds = dataset.colorinterp
    return kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else None


def _judge_alpha(
    dataset: DatasetReader,
    name: str,
    declared: int | None,
    chosen: tuple[int, ...],
    sample: SampleBand,
) -> tuple[int | None, list[str]]:
    """Return the declared alpha band if it is one, and what to tell where it is not."""
    if declared is None or dataset.count == 1:
        return declared, []
    flagged = f"{name}: band {declared} is flagged as alpha, but"
    if declared in chosen:
        return None, [f"{flagged} chosen in `bands`: it is used as an image and masks nothing"]
    values = sample(declared)
    if not len(values) or len(np.unique(values)) <= _FEW_VALUES:
        return declared, []
    extreme = (values == 0) | (values == values.max())
    if np.mean(extreme) >= _SOFT_SHARE:
        return declared, []
    return None, [f"{flagged} has the values of an image: it masks nothing; `bands` can name it"]


def _undeclared_mask(
    dataset: DatasetReader, name: str, chosen: tuple[int, ...], sample: SampleBand
) -> tuple[int | None, list[str]]:
    """Return the last band where it is a mask that nobody declared, and what to tell of it."""
    last = dataset.count
    whole = {"uint8": 255, "uint16": 65535}.get(dataset.dtypes[-1])
    if last not in (2, 4) or whole is None or last in chosen:
        return None, []
    values = sample(last)
    if not (values == whole).any() or not ((values == 0) | (values == whole)).all():
        return None, []
    return last, [
        f"{name}: band {last} holds 0 and {whole} only, wherever it was looked at, and is used as"
        " a mask, though the file does not say that it is one; to use it as an image, name it in"
        " `bands`"
    ]


def _choose_colours(
    dataset: DatasetReader, name: str, alpha: int | None, chosen: tuple[int, ...]
) -> tuple[tuple[int, int, int], list[str]]:
    """Return the bands to use as red, green and blue, and what to tell about the choice."""
    available = [band for band in range(1, dataset.count + 1) if band != alpha]
    listed = ", ".join(str(band) for band in available[:12]) + (", ..." * (len(available) > 12))
    for band in chosen:
        if band > dataset.count:
            raise SceneError(
                f"{name}: band {band} does not exist; `bands` can name {listed}",
                code="scene.no_band",
                path=name,
                setting="bands",
                found=band,
                allowed=available,
            )
    if not available:
        raise SceneError(f"{name}: has an alpha band only; give a raster with a band of values")
    if chosen:
        red, green, blue = chosen[:3] if len(chosen) >= 3 else chosen * 3
        return (red, green, blue), []
    kinds = dataset.colorinterp
    if all(colour in kinds for colour in COLOURS):
        red, green, blue = (kinds.index(colour) + 1 for colour in COLOURS)
        text = f"{name}: bands {red}, {green}, {blue} are red, green, blue, as the file declares"
        return (red, green, blue), [text] if (red, green, blue) != (1, 2, 3) else []
    if len(available) < 3:
        text = f"{name}: has bands {listed}; band {available[0]} is used as grey, see `bands`"
        return (available[0],) * 3, [text] if len(available) == 2 else []
    red, green, blue = available[:3]
    text = Notice(
        f"{name}: the first three of {len(available)} bands ({red}, {green}, {blue}) are used as"
        " red, green, blue; choose others with `bands`",
        code="scene.bands_chosen",
    )
    return (red, green, blue), [text] if len(available) > 3 else []


def _mask_kind(dataset: DatasetReader, alpha: int | None) -> str:
    """Return what masks beside alpha; a band without any mask makes every pixel valid."""
    flags = [
        set(dataset.mask_flag_enums[band]) for band in range(dataset.count) if band + 1 != alpha
    ]
    if any(MaskFlags.all_valid in kinds for kinds in flags):
        return "none"
    if any(MaskFlags.nodata in kinds for kinds in flags):
        return "nodata"
    return "none" if any(MaskFlags.alpha in kinds for kinds in flags) else "dataset"


def _check_colours(dataset: DatasetReader, name: str, bands: tuple[int, ...]) -> None:
    """Refuse pixels that are no measurements of light."""
    for band in bands:
        if dataset.dtypes[band - 1].startswith("complex"):
            raise SceneError(
                f"{name}: band {band} is complex ({dataset.dtypes[band - 1]}), which cannot be"
                " labelled; give its amplitude as a raster of real numbers"
            )
        if dataset.colorinterp[band - 1] == ColorInterp.palette:
            raise SceneError(
                f"{name}: band {band} is paletted, as maps of classes are; if it is an image,"
                " turn it into red, green and blue (PCT to RGB in QGIS)",
                code="scene.paletted",
                path=name,
                band=band,
            )
