"""Which band is which light: wavelengths, names and colours as files have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from alps_geo.scenes.rasters.measured import describe_bands
from alps_geo.scenes.rasters.raster import open_raster
from alps_geo.scenes.rasters.spectral import Signs, find_lights
from alps_geo.settings import SceneSettings

SceneFactory = Callable[..., Path]
SENTINEL = [
    "B01",
    "B02",
    "B03",
    "B04",
    "B05",
    "B06",
    "B07",
    "B08",
    "B8A",
    "B09",
    "B10",
    "B11",
    "B12",
]
OLI = ["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"]
PLANET = ["coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"]


def lights_of(names: list[str], *hints: str) -> dict[str, str]:
    """Return the names of bands by their light."""
    found = find_lights([Signs(name, {}, "undefined") for name in names], hints)
    return {light: name for light, name in zip(found, names, strict=True) if light}


@pytest.mark.parametrize(
    ("names", "hints", "expected"),
    [
        (SENTINEL, [], "blue B02 green B03 red B04 nir B08 rededge B05 swir1 B11 swir2 B12"),
        ([name.replace("B0", "B") for name in SENTINEL], [], "nir B8 rededge B5 swir1 B11 red B4"),
        (["B2", "B3", "B4", "B8"], ["S2B_T32TQM_20240101"], "blue B2 red B4 nir B8"),
        (OLI, [], "coastal SR_B1 blue SR_B2 red SR_B4 nir SR_B5 swir1 SR_B6 swir2 SR_B7"),
        ([*OLI[:5], "SR_B7"], [], "blue SR_B1 red SR_B3 nir SR_B4 swir1 SR_B5 swir2 SR_B7"),
        (["B2", "B3", "B4", "B5"], ["LC08_L2SP_034033"], "blue B2 green B3 red B4 nir B5"),
        (["B1", "B2", "B3", "B4"], ["x", "LANDSAT_5"], "blue B1 green B2 red B3 nir B4"),
        (PLANET, [], "coastal coastal_blue blue blue green green red red rededge rededge nir nir"),
        (["Red", "Green", "Blue", "Near Infrared"], [], "red Red nir Near_Infrared"),
        (["Red (665 nm)", "b2 (0.842 um)"], [], "red Red_(665_nm) nir b2_(0.842_um)"),
        (["B8, central wavelength 842 nm", "B04 - Red"], [], "red B04_-_Red"),
    ],
)  # fmt: skip
def test_conventions_of_names_are_understood(
    names: list[str], hints: list[str], expected: str
) -> None:
    words = iter(expected.split())
    found = {light: name.replace(" ", "_") for light, name in lights_of(names, *hints).items()}
    assert dict(zip(words, words, strict=True)).items() <= found.items()


@pytest.mark.parametrize(
    "names", [["B2", "B3", "B4", "B5"], ["2019 umbrella", "2020 summer"], ["1", "2", "3"], [""]]
)
def test_names_that_mean_one_thing_here_and_another_there_mean_nothing(names: list[str]) -> None:
    assert lights_of(names) == {}


@pytest.mark.parametrize(
    ("tags", "light"),
    [
        ({"wavelength": "842", "wavelength_units": "Nanometers"}, "nir"),
        ({"wavelength": "0.842", "wavelength_units": "Micrometers"}, "nir"),
        ({"wavelength": "2.2"}, "swir2"),
        ({"central_wavelength_um": "0.490"}, "blue"),
        ({"eo:common_name": "swir16"}, "swir1"),
        ({"common_name": "rededge"}, "rededge"),
        ({"wavelength": "1375"}, ""),
        ({"wavelength": "unknown"}, ""),
    ],
)
def test_tags_of_a_band_tell_its_light(tags: dict[str, str], light: str) -> None:
    assert find_lights([Signs("some band", tags, "gray")]) == (light,)


def test_of_bands_with_one_light_the_most_usual_one_has_it() -> None:
    lengths = range(400, 1000, 10)
    found = find_lights([Signs("", {"wavelength": str(length)}, "gray") for length in lengths])
    assert {light: lengths[found.index(light)] for light in ("green", "red", "nir")} == {
        "green": 560, "red": 660, "nir": 840,
    }  # fmt: skip


def describe(path: Path, **options: object) -> dict[str, int]:
    """Return the numbers of a file's bands by their light."""
    bands = describe_bands(open_raster(str(path), SceneSettings(**options)))
    return {band.light: band.number for band in bands if band.light}


@pytest.mark.parametrize("flag", [ColorInterp.undefined, ColorInterp.alpha])
def test_the_fourth_band_of_an_aerial_image_is_near_infrared_however_it_is_flagged(
    make_scene: SceneFactory, flag: ColorInterp
) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (32, 32, 4)).astype(np.uint8)
    path = make_scene(pixels, photometric="RGB")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, flag]
    assert describe(path) == {"red": 1, "green": 2, "blue": 3, "nir": 4}
    pixels[..., 3] = 255
    masked = make_scene(pixels, "masked.tif", photometric="RGB")
    with rasterio.open(masked, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, flag]
    assert describe(masked) == {"red": 1, "green": 2, "blue": 3}


def test_wavelengths_of_envi_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cube.img"
    values = np.ones((3, 4, 5), np.float32)
    with rasterio.open(
        path, "w", driver="ENVI", count=3, height=4, width=5, dtype="float32", crs="EPSG:32640",
        transform=rasterio.Affine(2, 0, 320000, 0, -2, 2780000),
    ) as file:  # fmt: skip
        file.write(values)
    header = path.with_suffix(".hdr")
    header.write_text(
        header.read_text() + "wavelength = {0.56, 0.66, 0.85}\nwavelength units = Micrometers\n"
    )
    assert describe(path) == {"green": 1, "red": 2, "nir": 3}


def test_tags_of_bands_in_a_geotiff_are_read(make_scene: SceneFactory) -> None:
    path = make_scene(np.ones((4, 4, 3), np.uint16))
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, WAVELENGTH="865", WAVELENGTH_UNITS="nm")
        file.update_tags(2, **{"eo:common_name": "red"})
    assert describe(path) == {"nir": 1, "red": 2}
