"""Numbers as people read them: one unit per table, no more digits than mean something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_M2_PER_HA, _M2_PER_KM2 = 1e4, 1e6


@dataclass(frozen=True)
class Unit:
    """A unit of areas.

    Attributes
    ----------
    name : str
        Such as `ha`.
    size : float
        In m², or in pixels where areas are pixels.
    digits : int
        Decimals that are shown.
    """

    name: str
    size: float
    digits: int

    def show(self, value: float) -> str:
        """Return an area in this unit; one that would look like none is told as less than least."""
        number, least = value / self.size, 10.0**-self.digits
        if value > 0 and number < least / 2:
            return f"< {least:.{self.digits}f}"
        return f"{number:,.{self.digits}f}"


def choose_unit(areas_m2: Sequence[float]) -> Unit:
    """Return the unit that suits areas in m²: m² below 1 ha, km² from 1,000 ha on."""
    largest = max(areas_m2, default=0.0)
    if largest < _M2_PER_HA:
        return Unit("m²", 1.0, 0 if largest >= 100 else 1)
    if largest < 1000 * _M2_PER_HA:
        return Unit("ha", _M2_PER_HA, 1 if largest >= 100 * _M2_PER_HA else 2)
    return Unit("km²", _M2_PER_KM2, 1 if largest >= 1000 * _M2_PER_KM2 else 2)


def show_share(share: float) -> str:
    """Return a share of 1 as per cent; what is not all or nothing never looks so."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{share:.1%}".replace("%", " %")


def show_number(value: float | None, digits: int = 2) -> str:
    """Return a number with a fixed number of decimals; a dash where it is not known."""
    return "–" if value is None else f"{value:,.{digits}f}"


def show_length(metres: float) -> str:
    """Return a length of about this size, in m or km."""
    if metres >= 1000:
        return f"{metres / 1000:,.3g} km"
    return f"{metres:,.3g} m"
