"""Models of the sensor, wherever GDAL finds them, are no maps; leftovers of them do no harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from alps_geo.errors import SceneError
from alps_geo.scenes.scene import open_scene
from alps_geo.settings import SceneSettings

from ..conftest import SceneFactory

UTM = Affine(2, 0, 320000, 0, -2, 2780000)
DEGREES = Affine(1e-4, 0, 55, 0, -1e-4, 25)
#: Transforms that count pixels: as files beside an image, and programs that know nothing, give.
PIXELS = {
    "none": None,
    "y up": Affine(1, 0, 0, 0, -1, 0),
    "y up from the bottom": Affine(1, 0, 0, 0, -1, 9),
    "middle of the pixel": Affine(1, 0, -0.5, 0, -1, 0.5),
    "turned": Affine(0, 1, 0, 1, 0, 0),
}
OFFSETS = {
    "LINE_OFF": 5, "SAMP_OFF": 5, "LAT_OFF": 25, "LONG_OFF": 55, "HEIGHT_OFF": 31,
    "LINE_SCALE": 5, "SAMP_SCALE": 5, "LAT_SCALE": 0.07, "LONG_SCALE": 0.1, "HEIGHT_SCALE": 500,
}  # fmt: skip
FIRST = {"LINE_NUM_COEFF": 2, "LINE_DEN_COEFF": 0, "SAMP_NUM_COEFF": 1, "SAMP_DEN_COEFF": 0}
POINTS = "".join(
    f'<GCP Id="{number}" Pixel="{col}" Line="{row}" X="{55 + col / 100}" Y="{25 - row / 100}"/>'
    for number, (col, row) in enumerate([(0, 0), (9, 0), (0, 9), (9, 9)])
)
ARRAYS = "".join(
    f'<MDI key="{key}">{value}</MDI>'
    for key, value in {
        "X_DATASET": "lon.tif", "X_BAND": 1, "Y_DATASET": "lat.tif", "Y_BAND": 1,
        "PIXEL_OFFSET": 0, "LINE_OFFSET": 0, "PIXEL_STEP": 1, "LINE_STEP": 1,
    }.items()
)  # fmt: skip


def rpc_text(path: Path) -> None:
    lines = [f"{name}: {value}" for name, value in OFFSETS.items()]
    lines += [
        f"{name}_{i + 1}: {float(i == one)}" for name, one in FIRST.items() for i in range(20)
    ]
    path.with_name(f"{path.stem}_rpc.txt").write_text("\n".join(lines) + "\n")


def rpb(path: Path) -> None:
    names = ["lineOffset", "sampOffset", "latOffset", "longOffset", "heightOffset"]
    names += [name.replace("Offset", "Scale") for name in names]
    text = 'satId = "QB02";\nbandId = "P";\nSpecId = "RPC00B";\nBEGIN_GROUP = IMAGE\n'
    text += "\terrBias = 0.0;\n\terrRand = 0.0;\n"
    values = zip(names, OFFSETS.values(), strict=True)
    text += "".join(f"\t{name} = {value};\n" for name, value in values)
    for name, one in FIRST.items():
        first, kind, _ = name.split("_")
        numbers = ",\n".join(f"\t\t\t{float(i == one)}" for i in range(20))
        text += f"\t{first.lower()}{kind.capitalize()}Coef = (\n{numbers});\n"
    path.with_suffix(".rpb").write_text(text + "END_GROUP = IMAGE\nEND;\n")


def rpc_domain() -> str:
    values = {name: str(value) for name, value in OFFSETS.items()}
    for name, one in FIRST.items():
        values[name] = " ".join(str(float(i == one)) for i in range(20))
    items = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in values.items())
    return f'<Metadata domain="RPC">{items}</Metadata>'


def pam(content: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        aux = path.with_name(f"{path.name}.aux.xml")
        aux.write_text(f"<PAMDataset>{content}</PAMDataset>")

    return write


SIDECARS: dict[str, tuple[Callable[[Path], None], str]] = {
    "_rpc.txt": (rpc_text, "RPC"),
    ".rpb": (rpb, "RPC"),
    "RPC in .aux.xml": (pam(rpc_domain()), "RPC"),
    "half an RPC": (pam('<Metadata domain="RPC"><MDI key="LINE_OFF">5</MDI></Metadata>'), "RPC"),
    "GCPs in .aux.xml": (pam(f'<GCPList Projection="EPSG:4326">{POINTS}</GCPList>'), "control"),
    "arrays": (pam(f'<Metadata domain="GEOLOCATION">{ARRAYS}</Metadata>'), "geolocation"),
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("place", PIXELS.values(), ids=PIXELS)
@pytest.mark.parametrize(("write", "said"), SIDECARS.values(), ids=SIDECARS)
def test_a_sensor_model_beside_an_image_is_no_map(
    make_scene: SceneFactory, write: Callable[[Path], None], said: str, place: Affine | None
) -> None:
    path = make_scene(np.ones((9, 9, 3), np.uint8), crs=None, transform=place)
    write(path)
    with pytest.raises(SceneError, match=rf"scene\.tif: .*{said}.* warp it to a map first"):
        open_scene(str(path), SceneSettings())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("place", [Affine(1, 0, 0, 0, -1, 0), Affine(30, 0, 5e5, 0, -30, 4e6)])
@pytest.mark.parametrize(("write", "said"), SIDECARS.values(), ids=SIDECARS)
def test_degrees_outside_of_the_world_are_no_map(
    make_scene: SceneFactory, write: Callable[[Path], None], said: str, place: Affine
) -> None:
    path = make_scene(np.ones((9, 9, 3), np.uint8), crs="EPSG:4326", transform=place)
    write(path)
    if said == "control" and place.a == 30:
        pytest.skip("the points' file hides the CRS, and with it that these are degrees")
    with pytest.raises(SceneError, match=rf"scene\.tif: .*{said}.* warp it to a map first"):
        open_scene(str(path), SceneSettings())


@pytest.mark.parametrize(("crs", "place"), [("EPSG:32640", UTM), ("EPSG:4326", DEGREES)])
@pytest.mark.parametrize(("write", "said"), SIDECARS.values(), ids=SIDECARS)
def test_leftovers_of_a_sensor_model_do_no_harm_to_a_map(
    make_scene: SceneFactory, write: Callable[[Path], None], said: str, crs: str, place: Affine
) -> None:
    path = make_scene(np.ones((9, 9, 3), np.uint8), crs=crs, transform=place)
    write(path)
    scene = open_scene(str(path), SceneSettings())
    assert scene.grid.transform == place
    # Points in a file beside the image hide its CRS; that is said.
    assert bool(scene.warnings) == (said == "control")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f'<GCPList Projection="EPSG:4326">{POINTS}</GCPList>', "control points"),
        (rpc_domain(), "RPC"),
        (f'<Metadata domain="GEOLOCATION">{ARRAYS}</Metadata>', "geolocation"),
    ],
)
def test_a_sensor_model_in_a_virtual_raster_is_no_map(
    make_scene: SceneFactory, content: str, said: str
) -> None:
    path = make_scene(np.ones((9, 9, 3), np.uint8), crs=None, transform=None)
    virtual = path.with_suffix(".vrt")
    virtual.write_text(
        f'<VRTDataset rasterXSize="9" rasterYSize="9">{content}'
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="1">'
        "scene.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    with pytest.raises(SceneError, match=rf"scene\.vrt: .*{said}.* warp it to a map first"):
        open_scene(str(virtual), SceneSettings())


def test_pixels_of_one_metre_near_the_origin_are_a_map_without_a_sensor_model(
    make_scene: SceneFactory,
) -> None:
    path = make_scene(np.ones((9, 9, 3), np.uint8), transform=Affine(1, 0, 0, 0, -1, 9))
    assert open_scene(str(path), SceneSettings()).warnings == ()
