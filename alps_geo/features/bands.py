"""Every band of a scene as features, in the scene's own units.

With them go normalised differences of bands, which say how green, wet or built a place is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import SceneError
from ..progress import Progress
from ..scenes.rasters.measured import Measured, name_bands, typical_values
from ..scenes.scene import Scene
from ..scenes.spans import Spans
from .pooling import Features
from .sources import TileView

#: What is said of each band, and how much it counts.
_STATISTICS = {"mean": 1.0, "deviation": 0.5, "p10": 0.5, "p90": 0.5}
_PERCENTILES = (0.1, 0.9)
#: Of so many bands as imaging spectrometers have, means say enough.
_MANY = 32
#: Normalised differences (a - b) / (a + b) of means.
_DIFFERENCES = {
    "ndvi": ("nir", "red"),
    "ndwi": ("green", "nir"),
    "ndbi": ("swir1", "nir"),
    "mndwi": ("green", "swir1"),
    "nbr": ("nir", "swir2"),
    "ndre": ("nir", "rededge"),
}


@dataclass(frozen=True)
class BandsSource:
    """Mean, deviation and percentiles of bands under each mask, and normalised differences.

    Attributes
    ----------
    bands : tuple of Measured
        What scenes must have; where their nodata and scale differ, each scene's own count.
    """

    bands: tuple[Measured, ...]
    name = "bands"

    @property
    def checksum(self) -> str:
        """Tells which bands there are, what they measure, and in which units."""
        facts = [self.columns, [_kind(band) for band in self.bands]]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @cached_property
    def statistics(self) -> tuple[str, ...]:
        """What is said of each band."""
        names = tuple(_STATISTICS)
        return names if len(self.bands) <= _MANY else names[:1]

    @cached_property
    def differences(self) -> dict[str, tuple[int, int]]:
        """Normalised differences by name, and the two bands of each, by their places."""
        places = {band.light: index for index, band in enumerate(self.bands) if band.light}
        return {
            name: (places[plus], places[minus])
            for name, (plus, minus) in _DIFFERENCES.items()
            if plus in places and minus in places
        }

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: those of a band side by side, then the differences."""
        return (
            *(f"{band}.{name}" for band in name_bands(self.bands) for name in self.statistics),
            *self.differences,
        )

    def tell(self, scene: Scene, progress: Progress) -> None:
        """Tell which bands and differences count."""
        named = name_bands(self.bands)
        lights = [
            f"{name} = {band.light}" if band.light not in ("", name.lower()) else name
            for name, band in zip(named, self.bands, strict=True)
        ]
        shown = ", ".join(lights[:16]) + (", ..." if len(lights) > 16 else "")
        found = ", ".join(self.differences) or "none, as wavelengths and names do not tell of pairs"
        progress.message(
            f"{scene.name}: features of {len(self.bands)} bands ({shown}); normalised differences:"
            f" {found}"
        )

    def describe(self, tile: TileView, spans: Spans) -> Features:
        """Describe masks by the bands of the scene; see `FeatureSource.describe`."""
        scene, bands = tile.scene, tile.scene.measured
        places, count = spans.places(tile.window.width), len(self.statistics)
        values = np.zeros((len(spans), len(self.columns)))
        for index, band in enumerate(bands):
            (pixels,) = scene.read_bands(tile.window, (band,))
            found, known = summarise(pixels.ravel()[places], spans.areas)
            if not known.all():
                (usual,) = typical_values(scene.raster, (band,))
                found[~known] = [usual, 0, usual, usual]
            values[:, index * count : (index + 1) * count] = found[:, :count]
        for index, (plus, minus) in enumerate(self.differences.values(), len(bands) * count):
            values[:, index] = _contrast(values[:, plus * count], values[:, minus * count])
        each = [_STATISTICS[name] for name in self.statistics]
        weights = np.array([*each * len(bands), *[1.0] * len(self.differences)], np.float32)
        return Features(values.astype(np.float32), self.columns, weights)


def _kind(band: Measured) -> tuple[str, str, str]:
    """Return what must agree in two bands that are to be compared."""
    plain = band.is_whole and (band.scale, band.offset) == (1.0, 0.0)
    return band.light, band.unit, "numbers" if plain else "measurements"


def _contrast(plus: NDArray[np.float64], minus: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return normalised differences, from -1 to 1; 0 where there is nothing to compare."""
    total = plus + minus
    ratio = np.divide(plus - minus, total, out=np.zeros_like(total), where=total > 0)
    return np.clip(ratio, -1, 1)


def summarise(
    values: NDArray[np.float64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Summarise groups of values, whatever order they have in them.

    Parameters
    ----------
    values : ndarray of float64, shape (n_values,)
        Group after group; NaN where not known.
    sizes : ndarray of int64, shape (n_groups,)
        Values of each group, 1 or more.

    Returns
    -------
    summary : ndarray of float64, shape (n_groups, 4)
        Mean, deviation, and the percentiles 10 and 90, interpolated linearly between values in
        32 bits; 0 where nothing is known.
    known : ndarray of bool, shape (n_groups,)
        Whether a group has a known value.
    """
    if not len(sizes):
        return np.zeros((0, 4)), np.zeros(0, bool)
    starts = np.cumsum(sizes) - sizes
    ordered = _sort_groups(values.astype(np.float32), sizes).astype(np.float64)
    there = np.isfinite(ordered)
    counts = np.add.reduceat(there.astype(np.int64), starts)
    divisors = np.maximum(counts, 1)
    ordered[~there] = 0
    mean = np.add.reduceat(ordered, starts) / divisors
    rest = np.where(there, ordered - np.repeat(mean, sizes), 0)
    deviation = np.sqrt(np.add.reduceat(np.square(rest), starts) / divisors)
    columns = [mean, deviation]
    for share in _PERCENTILES:
        place = share * (divisors - 1)
        lower = np.floor(place).astype(np.int64)
        upper = np.minimum(lower + 1, divisors - 1)
        low, high = ordered[starts + lower], ordered[starts + upper]
        columns.append(low + (high - low) * (place - lower))
    return np.stack(columns, axis=1), counts > 0


def _sort_groups(values: NDArray[np.float32], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Sort the values of each group, NaN last."""
    # As whole numbers in the same order: negative ones run the other way; NaN is above infinity.
    bits = np.where(np.isnan(values), np.float32(np.nan), values).view(np.uint32)
    negative = bits >> 31 == 1
    bits = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    keys = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes) << np.uint64(32)
    keys |= bits
    keys.sort()
    bits = keys.astype(np.uint32)
    negative = bits >> 31 == 0
    ordered: NDArray[np.float32] = np.where(negative, ~bits, bits & np.uint32(2**31 - 1)).view(
        np.float32
    )
    return ordered


def open_bands(scenes: Sequence[Scene]) -> BandsSource:
    """Return the source of the bands that all scenes have.

    Parameters
    ----------
    scenes : sequence of Scene
        One or more.

    Raises
    ------
    SceneError
        If scenes have other bands than the first one.
    """
    source = BandsSource(scenes[0].measured)
    for scene in scenes[1:]:
        other = BandsSource(scene.measured)
        if other.checksum != source.checksum:
            raise SceneError(
                f"{scene.name}: has other bands ({_listed(other)}) than {scenes[0].name}"
                f" ({_listed(source)}), so that `features` cannot have bands; label them apart, or"
                " name four or more that both have with `bands`",
                code="features.other_bands",
                path=scene.name,
            )
    return source


def _listed(source: BandsSource) -> str:
    names = name_bands(source.bands)
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
