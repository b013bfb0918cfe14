"""How pixel values of any type become 8 bits: one stretch for all tiles of all scenes of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..settings import STRETCHES
from .components import Components

#: Shares of the pixels of a band below the darkest and the brightest value that stay distinct.
PERCENTILES = (0.02, 0.98)
KINDS = (*STRETCHES, "range")


@dataclass(frozen=True)
class Sample:
    """Values of valid pixels of one scene.

    Attributes
    ----------
    bands : tuple of three ndarray, shape (n_values,) each
        Red, green and blue, in the scene's own numbers; lengths may differ.
    valid : int
        The number of valid pixels that the values stand for.
    seen : int
        The number of pixels looked at, valid or not.
    """

    bands: tuple[NDArray[Any], ...]
    valid: int
    seen: int


@dataclass(frozen=True)
class Stretch:
    """A linear scaling of three bands to 8 bits.

    Attributes
    ----------
    kind : str
        `percentile`, `minmax`, `none`, or `range` where the user gave the limits.
    low, high : tuple of three float
        The values of red, green and blue that become 0 and 255.
    components : Components or None
        What red, green and blue are made of, where they are no bands.
    """

    kind: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    components: Components | None = None

    @classmethod
    def between(cls, limits: Sequence[float]) -> Stretch:
        """Make a stretch of given limits: low and high for all bands, or for each of three."""
        pairs = list(zip(limits[::2], limits[1::2], strict=True))
        red, green, blue = pairs if len(pairs) == 3 else pairs * 3
        return cls("range", (red[0], green[0], blue[0]), (red[1], green[1], blue[1]))

    @classmethod
    def measure(
        cls, kind: str, samples: Sequence[Sample], percentiles: Sequence[float] | None = None
    ) -> Stretch:
        """Find the stretch that suits the pixels of all samples together.

        Parameters
        ----------
        kind : str
            `percentile` (2nd to 98th), `minmax` or `none`.
        samples : sequence of Sample
            One per scene; a scene counts by its valid pixels, not by the size of its sample.
        percentiles : two float, optional
            From 0 to 100; the 2nd and the 98th if none.

        Returns
        -------
        Stretch
            The same for the same samples, always.
        """
        if kind == "none":
            return cls(kind, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
        shares = PERCENTILES if percentiles is None else [value / 100 for value in percentiles]
        limits = [_band_limits(kind, samples, band, shares) for band in range(3)]
        low, high = zip(*limits, strict=True)
        return cls(kind, low, high)

    def apply(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Scale pixels to 8 bits; invalid pixels become 0.

        Parameters
        ----------
        pixels : ndarray, shape (3, height, width)
        valid : ndarray of bool, shape (height, width)

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
        """
        # 24 bits of mantissa hold 16-bit integers exactly, at half the memory.
        exact = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2
        number = np.dtype(np.float32 if exact else np.float64)
        scaled = np.zeros((*valid.shape, 3), np.uint8)
        for band, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            values = np.where(valid, pixels[band], low).astype(number, copy=False)
            np.clip(values, low, high, out=values)
            values -= number.type(low)
            # A constant band has nothing to stretch: it is 0 throughout.
            values *= number.type(255 / (high - low) if high > low else 0)
            scaled[..., band] = np.where(valid, np.rint(values), 0)
        return scaled

    def to_dict(self) -> dict[str, object]:
        """Return the stretch as plain values for JSON."""
        values: dict[str, object] = {
            "kind": self.kind,
            "low": list(self.low),
            "high": list(self.high),
        }
        # Of bands there is no entry: files are those of versions that knew nothing else.
        return (
            values
            if self.components is None
            else values | {"components": self.components.to_dict()}
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Stretch:
        """Make a stretch from what `to_dict` returned.

        Raises
        ------
        ModelError
            If a value is missing or of the wrong kind.
        """
        try:
            kind = values["kind"]
            red_low, green_low, blue_low = (float(value) for value in values["low"])
            red_high, green_high, blue_high = (float(value) for value in values["high"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"a stretch needs a kind, three low and three high values, not {values!r}"
            ) from error
        if kind not in KINDS:
            raise ModelError(f"a stretch is one of {', '.join(KINDS)}, not {kind!r}")
        made_of = values.get("components")
        components = None if made_of is None else Components.from_dict(made_of)
        low, high = (red_low, green_low, blue_low), (red_high, green_high, blue_high)
        return cls(kind, low, high, components)


def _band_limits(
    kind: str, samples: Sequence[Sample], band: int, shares: Sequence[float]
) -> tuple[float, float]:
    parts = [sample for sample in samples if len(sample.bands[band])]
    if not parts:  # every valid pixel holds this band's nodata value
        return 0.0, 0.0
    values = np.concatenate([part.bands[band] for part in parts])
    stands_for = [part.valid / len(part.bands[band]) for part in parts]
    weights = np.repeat(stands_for, [len(part.bands[band]) for part in parts])
    order = np.argsort(values, kind="stable")
    values, below = values[order], np.cumsum(weights[order])
    low, high = float(values[0]), float(values[-1])
    if kind == "minmax":
        return low, high
    ranks = np.searchsorted(below, np.array(shares) * below[-1])
    cut_low, cut_high = (float(value) for value in values[np.minimum(ranks, len(values) - 1)])
    # Few objects on a uniform ground: the percentiles coincide, the objects must still show.
    return (cut_low, cut_high) if cut_high > cut_low else (low, high)
