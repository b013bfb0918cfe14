"""Which part of the light bands measure: read from wavelengths, names and what files declare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Parts of the light: from and to, and the usual middle, in nanometres.
_RANGES = {
    "coastal": (400, 455, 443),
    "blue": (455, 520, 490),
    "green": (520, 600, 560),
    "yellow": (600, 625, 610),
    "red": (625, 690, 660),
    "rededge": (690, 760, 705),
    "nir": (760, 930, 840),
    "swir1": (1540, 1750, 1610),
    "swir2": (2050, 2350, 2200),
}
#: Middles of Sentinel-2's bands, and of Landsat's up to 7 and from 8 on, in nanometres.
_SENTINEL_2 = {
    "1": 443, "2": 492, "3": 560, "4": 665, "5": 704, "6": 740, "7": 783, "8": 833, "8A": 865,
    "9": 945, "10": 1374, "11": 1610, "12": 2190,
}  # fmt: skip
_LANDSAT_TM = {"1": 485, "2": 560, "3": 660, "4": 830, "5": 1650, "7": 2215}
_LANDSAT_OLI = {
    "1": 443, "2": 482, "3": 561, "4": 655, "5": 865, "6": 1609, "7": 2201, "9": 1373,
}  # fmt: skip
#: Words for parts of the light, as STAC (`eo:common_name`), Planet and others write them.
_WORDS = {
    "coastal": r"coastal([ _-]?(blue|aerosol))?",
    "blue": r"blue",
    "green": r"green",
    "yellow": r"yellow",
    "red": r"red",
    "rededge": r"red[ _-]?edge(071)?",
    "nir": r"nir|near[ _-]?infra[ _-]?red|infrared",
    "nir08": r"nir[ _-]?(08|narrow)",
    "swir1": r"swir[ _-]?(1|16)|short[ _-]?wave[ _-]?infra[ _-]?red[ _-]?1",
    "swir2": r"swir[ _-]?(2|22)|short[ _-]?wave[ _-]?infra[ _-]?red[ _-]?2",
}
_NUMBERED = re.compile(r"(?:SR_|TOA_)?B(?:and[ _-]?)?0?(\d{1,2}|8A)", re.IGNORECASE)
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(nm\b|nanomet|[uµμ]m\b|micromet|micron)", re.IGNORECASE)


@dataclass(frozen=True)
class Signs:
    """What a file says of a band.

    Attributes
    ----------
    name : str
        Its description.
    tags : mapping
        Its metadata and, for ENVI, its part of the file's; keys in lower case.
    colour : str
        What it is declared to be used as, such as `red` or `undefined`.
    """

    name: str
    tags: Mapping[str, str]
    colour: str


def find_lights(bands: Sequence[Signs], hints: Iterable[str] = ()) -> tuple[str, ...]:
    """Find out which part of the light each band measures.

    Parameters
    ----------
    bands : sequence of Signs
        All of a file.
    hints : iterable of str
        Names of the file and of its sensor, which may tell a Landsat from a Sentinel.

    Returns
    -------
    tuple of str
        `blue`, `green`, `red`, `rededge`, `nir`, `swir1`, `swir2`, ...; each at most once, for
        the band nearest to its usual middle; empty for bands of which nothing certain is known.
    """
    numbered = _numbered_lengths([band.name for band in bands], " ".join(hints))
    found: dict[str, tuple[float, int]] = {}
    for index, band in enumerate(bands):
        light, off = _light_of(band, numbered.get(index))
        if light and (light not in found or off < found[light][0]):
            found[light] = off, index
    if {"red", "green", "blue"} <= found.keys() and "nir" not in found and len(bands) == 4:
        # NAIP and its like: three colours, and what nobody says a word about.
        (rest,) = {0, 1, 2, 3} - {found[name][1] for name in ("red", "green", "blue")}
        if not bands[rest].name and bands[rest].colour in ("undefined", "alpha"):
            found["nir"] = 0.0, rest
    places = {index: light for light, (_, index) in found.items()}
    return tuple(places.get(index, "") for index in range(len(bands)))


def _light_of(band: Signs, numbered: float | None) -> tuple[str, float]:
    """Return the light of a band, empty if not known, and how far it is off the usual middle."""
    for key in ("eo:common_name", "common_name", "stac:common_name"):
        named = _light_in_words(band.tags.get(key, ""))
        if named[0]:
            return named
    length = _wavelength(band) or numbered
    if length is not None:
        for light, (low, high, middle) in _RANGES.items():
            if low <= length < high:
                return light, abs(length - middle)
        return "", 0.0
    return _light_in_words(band.name) if band.name else _light_in_words(band.colour)


def _light_in_words(text: str) -> tuple[str, float]:
    words = re.sub(r"^(sr_|toa_|b\d+[ _:-]+)|([ _-](band|sr|reflectance))+$", "", text.lower())
    for light, pattern in _WORDS.items():
        if re.fullmatch(pattern, words.strip()):
            return ("nir", 1.0) if light == "nir08" else (light, 0.0)
    return "", 0.0


def _wavelength(band: Signs) -> float | None:
    """Return the wavelength that a file gives a band, in nanometres."""
    units = next((value for key, value in band.tags.items() if "wavelength_unit" in key), "")
    for key in ("central_wavelength_um", "center_wavelength", "central_wavelength", "wavelength"):
        text = band.tags.get(key, "")
        number = re.match(r"\s*\d+(\.\d+)?", text)
        if number is None:
            continue
        length = float(number[0])
        is_micro = "micro" in units.lower() or "um" in (units + text + key).lower()
        # Without a unit: no light of images has a wavelength of 100 micrometres.
        return length * 1000 if is_micro or (not units and length < 100) else length
    named = _LENGTH.search(band.name)
    if named is None:
        return None
    return float(named[1]) * (1 if named[2].lower().startswith("n") else 1000)


def _numbered_lengths(names: Sequence[str], hints: str) -> dict[int, float]:
    """Return wavelengths of bands that are called by a satellite's numbers, by their places."""
    found = {index: _NUMBERED.fullmatch(name) for index, name in enumerate(names)}
    numbers = {index: match[1].upper() for index, match in found.items() if match}
    lengths = _satellite([names[index] for index in numbers], {*numbers.values()}, hints)
    return {index: lengths[number] for index, number in numbers.items() if number in lengths}


def _satellite(names: Sequence[str], numbers: set[str], hints: str) -> Mapping[str, float]:
    """Return the wavelengths by band number of the satellite that has such names."""
    landsat = re.search(r"(?<![a-z])L[COTEM]0?([4-9])|landsat[ _-]?([4-9])", hints, re.IGNORECASE)
    if landsat:
        return _LANDSAT_OLI if (landsat[1] or landsat[2]) >= "8" else _LANDSAT_TM
    is_sentinel = re.search(r"(?<![a-z])S2[ABC](?![a-z0-9])|sentinel[ _-]?2", hints, re.IGNORECASE)
    if is_sentinel or "8A" in numbers or any(re.match(r"B0\d", name, re.I) for name in names):
        return _SENTINEL_2
    if any(name.upper().startswith("SR_") for name in names):
        # Surface reflectance: the older satellites' sixth band is thermal, and not among it.
        if "6" in numbers:
            return _LANDSAT_OLI
        return _LANDSAT_TM if "7" in numbers else {}
    return {}
