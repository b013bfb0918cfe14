"""The environment does not steer what is read and written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from pyproj import CRS
from rasterio._env import del_gdal_config, get_gdal_config, set_gdal_config

from alps_geo import _environment as surroundings
from alps_geo.errors import LibraryError, SceneError
from alps_geo.pipeline import label
from alps_geo.scenes.crs import require_crs, require_understood, same_crs
from alps_geo.scenes.grid import Grid, Window
from alps_geo.scenes.rasters.geokeys import read_code
from alps_geo.scenes.rasters.raster import Raster

from .conftest import SceneFactory, draw_landscape

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "features": "texture", "n_classes": 2}
OPTIONS = [
    "--tile-size", "128", "--overlap", "32", "--model", "builtin",
    "--features", "texture", "-k", "2",
]  # fmt: skip
#: EPSG code -> (a place where it is at home, square metres of a pixel of 2 units).
SYSTEMS = {
    25832: ((500_000, 5_500_000), 4.0),
    27700: ((400_000, 300_000), 4.0),
    2056: ((2_600_000, 1_200_000), 4.0),
    3035: ((4_321_000, 3_210_000), 4.0),
    3857: ((1_100_000, 1_000), 4.0),
    2263: ((980_000, 200_000), 4.0 * (1200 / 3937) ** 2),
}
SCRIPT = """
import sys
{first}
import alps_geo
if __name__ == "__main__":
    alps_geo.label(sys.argv[1], sys.argv[2], workers={workers}, model="builtin", features="texture",
                   tile_size=128, overlap=32, n_classes=2)
"""


@pytest.fixture(scope="module", params=["empty", "other layout"])
def foreign_data(request, tmp_path_factory) -> Path:
    """Return a folder as another installation of PROJ has it."""
    folder = tmp_path_factory.mktemp("foreign")
    if request.param == "other layout":
        own = Path(rasterio.__file__).parent / "proj_data" / "proj.db"
        if not own.exists():
            pytest.skip("rasterio brings no data of its own here")
        with closing(sqlite3.connect(shutil.copy(own, folder / "proj.db"))) as database, database:
            database.execute(
                "UPDATE metadata SET value = 0 WHERE key = 'DATABASE.LAYOUT.VERSION.MINOR'"
            )
    return folder


def scene_in(make_scene: SceneFactory, code: int) -> Path:
    x, y = SYSTEMS[code][0]
    return make_scene(
        draw_landscape(100, 130),
        f"s{code}.tif",
        crs=f"EPSG:{code}",
        transform=Affine(2, 0, x, 0, -2, y),
    )


def run(command: list[object], folder: Path, **variables: str) -> str:
    own = {"PROJ_DATA": str(folder), "PROJ_LIB": str(folder), **variables}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, **own},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def check(out: Path, code: int, prefix: str = "") -> None:
    with rasterio.open(out / f"{prefix}labels.tif") as labels:
        assert labels.crs.to_epsg() == code
    meta, _, _, fields = pyogrio.raw.read(
        out / f"{prefix}labels.gpkg", layer="segments", columns=["area_m2", "area_px"]
    )
    assert meta["crs"] == f"EPSG:{code}"
    areas, pixels = fields
    np.testing.assert_allclose(areas, pixels * SYSTEMS[code][1], rtol=0.002)


def test_the_command_ignores_proj_data_of_another_installation(
    make_scene: SceneFactory, tmp_path: Path, foreign_data: Path
) -> None:
    scenes = [scene_in(make_scene, code) for code in SYSTEMS]
    out = tmp_path / "out"
    command = [sys.executable, "-m", "alps_geo.cli", "label", *scenes, "-o", out, *OPTIONS]
    stderr = run(command, foreign_data)
    for code in SYSTEMS:
        check(out, code, f"s{code}.")
    assert "not used, as they change what GDAL and PROJ read or write: PROJ_DATA, PROJ_" in stderr
    assert "ERROR" not in stderr
    assert "proj.db" not in stderr


@pytest.mark.parametrize(
    "first",
    [
        "",
        "import rasterio",
        "import rasterio, pyogrio\nwith rasterio.open(sys.argv[1]) as f: f.read(1)",
        "import geopandas, pyproj",
    ],
    ids=["alone", "rasterio imported", "rasterio used", "geopandas imported"],
)
def test_python_ignores_them_whatever_was_imported_before(
    make_scene: SceneFactory, tmp_path: Path, foreign_data: Path, first: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(first=first, workers=1))
    run([sys.executable, script, scene_in(make_scene, 2263), tmp_path / "out"], foreign_data)
    check(tmp_path / "out", 2263)


def test_workers_ignore_them(make_scene: SceneFactory, tmp_path: Path, foreign_data: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(first="", workers=2))
    run([sys.executable, script, scene_in(make_scene, 25832), tmp_path / "out"], foreign_data)
    check(tmp_path / "out", 25832)


def test_rio_alps_ignores_them(
    make_scene: SceneFactory, tmp_path: Path, foreign_data: Path
) -> None:
    rio = "from rasterio.rio.main import main_group; main_group()"
    scene, out = scene_in(make_scene, 2056), tmp_path / "out"
    run([sys.executable, "-c", rio, "alps", "label", scene, "-o", out, *OPTIONS], foreign_data)
    check(out, 2056)


@pytest.mark.parametrize(
    "variables",
    [
        {"GTIFF_POINT_GEO_IGNORE": "YES", "GTIFF_SRS_SOURCE": "EPSG"},
        {"GTIFF_FORCE_RGBA": "YES"},
        {"CONVERT_YCBCR_TO_RGB": "NO"},
        {"GDAL_PAM_ENABLED": "NO", "COMPRESS_OVERVIEW": "JPEG"},
        {"GDAL_GEOREF_SOURCES": "NONE", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"},
        {"OSR_DEFAULT_AXIS_MAPPING_STRATEGY": "AUTHORITY_COMPLIANT", "OSR_WKT_FORMAT": "WKT1_ESRI"},
        {"GDAL_SKIP": "GPKG", "OGR_SKIP": "GPKG", "GDAL_DRIVER_PATH": "/nowhere"},
        {"PROJ_AUX_DB": "/nowhere/aux.db", "PROJ_NETWORK": "ON"},
    ],
    ids=lambda variables: "+".join(variables),
)
def test_variables_that_steer_the_libraries_change_no_result(
    make_scene: SceneFactory, tmp_path: Path, variables: dict[str, str]
) -> None:
    pixels = draw_landscape(100, 130)
    scene = make_scene(
        pixels, compress="jpeg", photometric="ycbcr", tiled=True, blockxsize=64, blockysize=64
    )
    with rasterio.open(scene, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
        file.write_mask(np.pad(np.full((80, 110), 255, np.uint8), ((0, 20), (0, 20))))
    for name, own in (("plain", {}), ("steered", variables)):
        command = [sys.executable, "-m", "alps_geo.cli", "label", scene, *OPTIONS]
        run([*command, "-o", tmp_path / name], Path(), **{"PROJ_DATA": "", "PROJ_LIB": "", **own})
    for name in ("labels.tif", "labels.tif.aux.xml", "classes.safetensors"):
        plain, steered = (tmp_path / folder / name for folder in ("plain", "steered"))
        assert plain.read_bytes() == steered.read_bytes()
    with rasterio.open(tmp_path / "steered" / "labels.tif") as labels:
        assert labels.crs.to_epsg() == 32640
    plain, steered = (
        pyogrio.raw.read(tmp_path / folder / "labels.gpkg", layer="segments")
        for folder in ("plain", "steered")
    )
    assert plain[0]["crs"] == steered[0]["crs"]
    assert plain[2].tolist() == steered[2].tolist()


def test_all_is_put_back_afterwards(
    make_scene: SceneFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GTIFF_SRS_SOURCE", "EPSG")
    set_gdal_config("GTIFF_POINT_GEO_IGNORE", "YES", normalize=False)
    pyogrio.set_gdal_config_options({"GTIFF_POINT_GEO_IGNORE": "YES"})
    try:
        label(scene_in(make_scene, 2056), tmp_path / "out", **SMALL)
        assert os.environ["GTIFF_SRS_SOURCE"] == "EPSG"
        assert get_gdal_config("GTIFF_POINT_GEO_IGNORE", normalize=False) == "YES"
        assert pyogrio.get_gdal_config_option("GTIFF_POINT_GEO_IGNORE") in ("YES", True)
        seen = surroundings.with_own_data(
            lambda: (os.environ.get("GTIFF_SRS_SOURCE"), surroundings.notes())
        )()
    finally:
        del_gdal_config("GTIFF_POINT_GEO_IGNORE")
        pyogrio.set_gdal_config_options({"GTIFF_POINT_GEO_IGNORE": None})
    assert seen[0] is None
    assert "GTIFF_SRS_SOURCE" in seen[1][0]
    assert surroundings.notes() == ()


@pytest.mark.parametrize(
    "option",
    ["GTIFF_POINT_GEO_IGNORE", "gtiff_force_rgba", "OSR_WKT_FORMAT", "GDAL_GEOREF_SOURCES"],
)
def test_an_env_of_the_callers_steers_nothing_and_goes_on_afterwards(
    make_scene: SceneFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    seen = []

    def read(raster: Raster, window: Window) -> object:
        """Read, and note what the option is in the middle of a run."""
        seen.append(get_gdal_config(option))
        return read_unseen(raster, window)

    read_unseen = Raster.read
    monkeypatch.setattr(Raster, "read", read)
    scene = scene_in(make_scene, 2056)
    with rasterio.Env(**{option: "YES"}, GDAL_HTTP_MAX_RETRY=7):
        label(scene, tmp_path / "out", **SMALL)
        assert get_gdal_config(option, normalize=False) == "YES"
        assert rasterio.env.getenv()[option] == "YES"
        assert rasterio.env.getenv()["GDAL_HTTP_MAX_RETRY"] == 7
    assert get_gdal_config(option) is None
    assert not rasterio.env.hasenv()
    assert set(seen) == {None}


def test_an_env_of_the_callers_goes_on_after_an_error(tmp_path: Path) -> None:
    with rasterio.Env(GTIFF_FORCE_RGBA="YES"):
        with pytest.raises(SceneError, match="no such file"):
            label(tmp_path / "none.tif", tmp_path / "out", **SMALL)
        assert get_gdal_config("GTIFF_FORCE_RGBA", normalize=False) == "YES"


@pytest.mark.parametrize(
    "name",
    [
        "GDAL_HTTP_HEADERS",
        "GDAL_HTTP_PROXY",
        "GDAL_CACHEMAX",
        "GDAL_VERSION",
        "CPL_VSIL_CURL_USE_HEAD",
        "AWS_SECRET_ACCESS_KEY",
        "PROJ_CURL_CA_BUNDLE",
        "GDAL_CURL_CA_BUNDLE",
        "PROJECT",
        "OGR_GEOJSON_MAX_OBJ_SIZE",
    ],
)
def test_what_the_user_needs_stays(name: str) -> None:
    assert not surroundings.steers(name)


def test_a_system_that_gdal_does_not_understand_is_refused(make_scene: SceneFactory) -> None:
    scene = str(scene_in(make_scene, 25832))
    assert read_code(scene) == 25832
    local = CRS.from_wkt('LOCAL_CS["ETRS89 / UTM zone 32N",UNIT["metre",1]]')
    with pytest.raises(LibraryError, match=r"its CRS is EPSG:25832 \(ETRS89 / UTM zone 32N\), but"):
        require_understood(scene, local, read_code(scene))
    require_understood(scene, CRS.from_epsg(25832), 25832)
    require_understood(scene, local, None)


@pytest.mark.parametrize("profile", [{"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {}])
def test_codes_are_read_from_every_kind_of_tiff(make_scene: SceneFactory, profile) -> None:
    pixels = draw_landscape(20, 30)
    assert read_code(str(make_scene(pixels, crs="EPSG:27700", **profile))) == 27700
    assert read_code(str(make_scene(pixels, crs="EPSG:4326", **profile))) == 4326
    assert read_code(str(make_scene(pixels, crs=None, **profile))) is None
    assert read_code(str(make_scene(pixels, crs="+proj=laea +lat_0=9 +R=6e6", **profile))) is None


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"MM\0+" + b"\xff" * 20, b"II*\0" + b"\xff" * 9]
)
def test_damaged_headers_name_no_code(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    assert read_code(str(tmp_path / "a.tif")) is None


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("EPSG:25832", True),
        ("+proj=utm +zone=32 +ellps=GRS80", True),
        ("EPSG:25833", False),
        ("EPSG:4258", False),
        ("+proj=utm +zone=32 +ellps=GRS80 +units=us-ft", False),
        ('LOCAL_CS["ETRS89 / UTM zone 32N",UNIT["metre",1]]', False),
    ],
)
def test_written_systems_are_compared_by_what_they_mean(other: str, same: bool) -> None:
    grid = Grid(CRS.from_epsg(25832), Affine(2, 0, 500_000, 0, -2, 5_500_000), 10, 10)
    assert same_crs(CRS.from_user_input(other), grid) is same
    if not same:
        with pytest.raises(LibraryError, match="GDAL does not write the scene's CRS ETRS89"):
            require_crs(Path("out/labels.tif"), CRS.from_user_input(other).to_wkt(), grid)
