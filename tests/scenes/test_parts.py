"""Files that hold several rasters: what GDAL calls them is opened, and one of them is chosen."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from alps_geo.errors import SceneError
from alps_geo.pipeline import label
from alps_geo.scenes.grid import Window
from alps_geo.scenes.rasters.parts import Part, choose_part, part_stem, plain_part
from alps_geo.scenes.scene import open_scene
from alps_geo.settings import SceneSettings

from ..conftest import SceneFactory, draw_landscape

PARTS = [
    Part('NETCDF:"a b.nc":red', "[9x9] red (8-bit)"),
    Part('NETCDF:"a b.nc":infrared', "[9x9] infrared (8-bit)"),
    Part('NETCDF:"a b.nc":mask', "[9x9] quality of red"),
]


@pytest.fixture
def pages(make_scene: SceneFactory) -> Path:
    """Write a TIFF of two pages, of values 1 and 2."""
    path = make_scene(np.ones((9, 9, 3), np.uint8), "pages.tif")
    make_scene(np.full((9, 9, 3), 2, np.uint8), "pages.tif", APPEND_SUBDATASET="YES")
    return path


def first_value(path: str, **settings: object) -> int:
    scene = open_scene(path, SceneSettings(**settings))  # type: ignore[arg-type]
    return int(scene.read_values(Window(0, 0, 1, 1))[0][0, 0, 0])


def test_names_that_gdal_gives_are_opened(pages: Path) -> None:
    assert first_value(f"GTIFF_DIR:2:{pages}") == 2
    assert first_value(f"GTIFF_DIR:1:{pages}") == 1


@pytest.fixture
def formats(make_scene: SceneFactory) -> Path:
    """Write files of several rasters in the formats that GDAL writes here: values 1, 2 and 3."""
    with rasterio.Env() as gdal:
        if lacking := {"HDF5", "NITF", "Zarr", "netCDF"} - set(gdal.drivers()):
            pytest.skip(f"this GDAL lacks {lacking}")
    pixels = np.arange(1, 4, dtype=np.uint8) * np.ones((9, 9, 3), np.uint8)
    folder = (path := make_scene(pixels)).parent
    one, two = (make_scene(np.full((9, 9), value, np.uint8), f"{value}.tif") for value in (1, 2))
    rasterio.shutil.copy(path, folder / "classic.nc", driver="netCDF")
    rasterio.shutil.copy(path, folder / "new.nc", driver="netCDF", FORMAT="NC4")
    rasterio.shutil.copy(path, folder / "bands.zarr", driver="Zarr")
    rasterio.shutil.copy(one, folder / "two.ntf", driver="NITF", NUMI="2", ICORDS="N")
    rasterio.shutil.copy(
        two, folder / "two.ntf", driver="NITF", APPEND_SUBDATASET="YES", ICORDS="N"
    )
    return folder


@pytest.mark.parametrize(
    ("name", "subdataset", "value"),
    [
        ("classic.nc", "2", 2),
        ("classic.nc", "Band3", 3),
        ("new.nc", "band2", 2),
        ("netcdf:classic.nc:Band2", None, 2),
        ('NETCDF:"new.nc":Band3', None, 3),
        ('HDF5:"new.nc"://Band2', None, 2),
        ("two.ntf", None, 1),
        ("two.ntf", "2", 2),
        ("NITF_IM:1:two.ntf", None, 2),
        ("bands.zarr", None, 1),
    ],
)
def test_parts_of_files_as_gdal_writes_them_are_opened_by_name_and_chosen(
    formats: Path, monkeypatch: pytest.MonkeyPatch, name: str, subdataset: str | None, value: int
) -> None:
    monkeypatch.chdir(formats)
    assert first_value(name, subdataset=subdataset) == value


def test_a_netcdf_file_without_an_image_of_its_own_lists_its_parts(formats: Path) -> None:
    with pytest.raises(SceneError, match=r"3 parts; choose one .*Band1.*Band2.*Band3"):
        open_scene(str(formats / "classic.nc"), SceneSettings())


def test_relative_names_that_gdal_gives_are_opened(
    pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pages.parent)
    assert first_value("GTIFF_DIR:2:pages.tif") == 2


@pytest.mark.parametrize(
    "name",
    ["nowhere.tif", "C:/no/where.tif", "a_b:nowhere", 'NETCDF:"no.nc":red', "/vsizip/no.zip/a.tif"],
)
def test_what_is_nowhere_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(SceneError, match=r"no such file|cannot be opened") as error:
        open_scene(name, SceneSettings())
    assert str(error.value).startswith(f"{name}: ")
    assert "\n" not in str(error.value)


def test_a_page_is_chosen_by_number_or_name(pages: Path) -> None:
    assert first_value(str(pages), subdataset="2") == 2
    assert first_value(str(pages), subdataset="page 2") == 2
    assert first_value(str(pages)) == 1


def test_pages_have_stems_and_fingerprints_of_their_own(pages: Path) -> None:
    one, two = (open_scene(str(pages), SceneSettings(subdataset=number)) for number in "12")
    assert {one.stem, two.stem} == {"pages_1", "pages_2"}
    assert one.fingerprint != two.fingerprint
    assert open_scene(str(pages), SceneSettings()).stem == "pages"


def test_a_page_that_changes_is_not_read_on(pages: Path) -> None:
    scene = open_scene(f"GTIFF_DIR:2:{pages}", SceneSettings())
    pages.write_bytes(pages.read_bytes() + b"\0\0")
    with pytest.raises(SceneError, match="has changed since the run began"):
        scene.read_values(Window(0, 0, 1, 1))
    pages.unlink()
    with pytest.raises(SceneError, match=r"is not there \(any more\)"):
        scene.read_values(Window(0, 0, 1, 1))


def test_a_replaced_page_is_read_anew(pages: Path, make_scene: SceneFactory) -> None:
    name = f"GTIFF_DIR:1:{pages}"
    assert first_value(name) == 1
    make_scene(np.full((9, 9, 3), 7, np.uint8), "pages.tif")
    assert first_value(name) == 7


@pytest.mark.parametrize("wanted", ["0", "3", "99", "no such"])
def test_a_part_that_is_none_is_refused_and_all_are_listed(pages: Path, wanted: str) -> None:
    with pytest.raises(SceneError, match=rf"`subdataset` '{wanted}' means none of its parts; .*1 "):
        open_scene(str(pages), SceneSettings(subdataset=wanted))


def test_a_file_without_parts_has_none_to_choose(make_scene: SceneFactory) -> None:
    path = make_scene(np.ones((9, 9, 3), np.uint8))
    with pytest.raises(SceneError, match="has no parts to choose from; leave out `subdataset`"):
        open_scene(str(path), SceneSettings(subdataset="1"))


@pytest.mark.parametrize(
    ("wanted", "part"),
    [("1", 0), ("red", 0), ("infrared", 1), ("INFRARED", 1), ("quality", 2), (PARTS[2].path, 2)],
)
def test_a_piece_of_a_name_or_description_means_a_part(wanted: str, part: int) -> None:
    assert choose_part(PARTS, wanted, "x") == PARTS[part]


def test_a_piece_of_several_names_is_refused() -> None:
    with pytest.raises(SceneError, match=r"`subdataset` '9x9' means several .*3 \(\[9x9\] qual"):
        choose_part(PARTS, "9x9", "x")


def test_bands_make_plain_which_part_is_meant() -> None:
    counts = dict(zip((part.path for part in PARTS), (1, 4, 2), strict=True))
    assert plain_part(PARTS, (3, 2, 1), counts.__getitem__, "x") == PARTS[1]
    assert plain_part(PARTS[:1], (), counts.__getitem__, "x") == PARTS[0]
    for unclear in ((), (1, 1, 1), (9, 9, 9)):
        with pytest.raises(SceneError, match=r"x: holds no image of its own, but 3 parts; choose"):
            plain_part(PARTS, unclear, counts.__getitem__, "x")


@pytest.mark.parametrize(
    ("path", "files", "stem"),
    [
        ("GTIFF_DIR:2:/a/scene.tif", ["/a/scene.tif"], "scene_2"),
        ('NETCDF:"/a/b c.nc":red', ["/a/b c.nc"], "b c_red"),
        ('HDF5:"/a/b.h5"://group/red', ["/a/b.h5"], "b_group_red"),
        (
            "SENTINEL2_L2A:/d/S2A_X.SAFE/MTD_MSIL2A.xml:10m:EPSG_32632",
            ["/d/S2A_X.SAFE/MTD_MSIL2A.xml", "/d/S2A_X.SAFE/GRANULE/B02.jp2"],
            "S2A_X_10m_EPSG_32632",
        ),
        ("a_b:c/d e", [], "a_b_c_d_e"),
    ],
)
def test_a_stem_has_the_file_and_the_part(path: str, files: list[str], stem: str) -> None:
    assert part_stem(path, files) == stem


def test_pages_of_one_file_are_two_scenes_of_a_run(
    make_scene: SceneFactory, tmp_path: Path
) -> None:
    path = make_scene(draw_landscape(80, 90))
    make_scene(draw_landscape(80, 90, seed=1), APPEND_SUBDATASET="YES")
    names = [f"GTIFF_DIR:{number}:{path}" for number in (1, 2)]
    small = {"tile_size": 64, "overlap": 16, "n_classes": 2}
    run = label(names, tmp_path / "out", model="builtin", features="texture", **small)
    assert [file.name for file in run.label_paths] == ["scene_1.labels.tif", "scene_2.labels.tif"]


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """Write what GDAL needs of a Sentinel-2 product of level 2A: two bands of 10 m, two of 20 m."""
    folder = tmp_path / "S2A_MSIL2A_20240101T000000_N0500_R001_T40RCN_20240101T000000.SAFE"
    inside = "GRANULE/L2A_T40RCN_A000000_20240101T000000"
    start = "T40RCN_20240101T000000"
    images = {"R10m": ("B02", "B03", "B04", "B08"), "R20m": ("B05", "B06")}
    files = ""
    for resolution, bands in images.items():
        size = int(resolution[1:-1])
        (folder / inside / "IMG_DATA" / resolution).mkdir(parents=True)
        for number, band in enumerate(bands):
            name = f"{inside}/IMG_DATA/{resolution}/{start}_{band}_{size}m"
            with rasterio.open(
                folder / f"{name}.jp2", "w", driver="JP2OpenJPEG", count=1, height=64, width=64,
                dtype="uint16", crs="EPSG:32640",
                transform=rasterio.Affine(size, 0, 300000, 0, -size, 2800020),
            ) as file:  # fmt: skip
                file.write(np.full((1, 64, 64), 100 * number + size, np.uint16))
            files += f"<IMAGE_FILE>{name}</IMAGE_FILE>"
    (folder / "MTD_MSIL2A.xml").write_text(
        '<?xml version="1.0"?><n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa'
        '.int/PSD/User_Product_Level-2A.xsd"><n1:General_Info><Product_Info>'
        "<PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL><PRODUCT_TYPE>S2MSI2A</PRODUCT_TYPE>"
        "<Query_Options><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT></Query_Options>"
        "<Product_Organisation><Granule_List>"
        '<Granule granuleIdentifier="S2A_OPER_MSI_L2A_TL_T40RCN_N05.00" imageFormat="JPEG2000">'
        f"{files}</Granule></Granule_List></Product_Organisation></Product_Info>"
        "<Product_Image_Characteristics><QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE"
        ' unit="none">10000</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
        "</Product_Image_Characteristics>"
        "</n1:General_Info></n1:Level-2A_User_Product>"
    )
    sizes = "".join(
        f'<Size resolution="{size}"><NROWS>64</NROWS><NCOLS>64</NCOLS></Size>'
        f'<Geoposition resolution="{size}"><ULX>300000</ULX><ULY>2800020</ULY><XDIM>{size}</XDIM>'
        f"<YDIM>-{size}</YDIM></Geoposition>"
        for size in (10, 20, 60)
    )
    (folder / inside / "MTD_TL.xml").write_text(
        '<?xml version="1.0"?><n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/'
        'PSD/S2_PDI_Level-2A_Tile_Metadata.xsd"><n1:Geometric_Info><Tile_Geocoding metadataLevel='
        '"Brief"><HORIZONTAL_CS_NAME>WGS84 / UTM zone 40N</HORIZONTAL_CS_NAME>'
        f"<HORIZONTAL_CS_CODE>EPSG:32640</HORIZONTAL_CS_CODE>{sizes}</Tile_Geocoding>"
        "</n1:Geometric_Info></n1:Level-2A_Tile_ID>"
    )
    return folder


def test_a_product_in_a_folder_offers_its_parts_and_gives_the_chosen(product: Path) -> None:
    with pytest.raises(SceneError, match=r"but \d parts; choose one with `subdataset`: 1 \(.*10m"):
        open_scene(str(product), SceneSettings())
    scene = open_scene(str(product), SceneSettings(subdataset="20m"))
    assert scene.grid.pixel_size_m == pytest.approx(20)
    assert scene.stem.startswith("S2A_MSIL2A_2024")
    assert "20m" in scene.stem


def test_a_product_in_an_archive_offers_its_parts_too(product: Path) -> None:
    archive = product.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(product.rglob("*")):
            file.write(path, path.relative_to(product.parent))
    shutil.rmtree(product)
    scene = open_scene(str(archive), SceneSettings(subdataset="10m", bands=(3, 2, 1)))
    assert scene.grid.pixel_size_m == pytest.approx(10)


def test_a_folder_that_is_no_raster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(SceneError, match="is a folder; give a raster file inside it"):
        open_scene(str(tmp_path), SceneSettings())
