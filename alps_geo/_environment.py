"""What GDAL, PROJ and their bindings take from the environment, and what they must not.

Each of rasterio, pyogrio and pyproj brings GDAL or PROJ with data of its own. Variables that point
them to the data of another installation, or change what is read or written, would make the same
command give other results, silently. They are put aside while we work, and put back afterwards.
Credentials, certificates, proxies, timeouts and caches are the user's business and stay.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from .errors import LibraryError

P = ParamSpec("P")
R = TypeVar("R")

#: Where PROJ has its data; kept where a binding brings none of its own.
_DATA_FOLDERS = frozenset({"PROJ_DATA", "PROJ_LIB", "GDAL_DATA"})
_PROJ = frozenset(
    f"PROJ_{name}"
    for name in [
        "AUX_DB",
        "CHECK_CACHE_CONSISTENCY",
        "DATA",
        "DEBUG",
        "FORCE_SEARCH_PIVOT",
        "IGNORE_CELESTIAL_BODY",
        "IGNORE_INSTANTIATION_ERRORS",
        "LIB",
        "NETWORK",
        "NETWORK_ENDPOINT",
        "ONLY_BEST_DEFAULT",
        "SKIP_READ_USER_WRITABLE_DIRECTORY",
        "TRACE",
        "USER_WRITABLE_DIRECTORY",
        "USE_PROJ4_INIT_RULES",
    ]
)
# Not all of GDAL_*: GDAL_VERSION and the like are other programs' own.
_GDAL = frozenset(
    f"GDAL_{name}"
    for name in [
        "BAND_BLOCK_CACHE",
        "CONFIG_FILE",
        "DATA",
        "DEFAULT_CREATE_COPY",
        "DISABLE_READDIR_ON_OPEN",
        "DRIVER_PATH",
        "ENABLE_TIFF_SPLIT",
        "ERROR_ON_LIBJPEG_WARNING",
        "FILENAME_IS_UTF8",
        "FORCE_CACHING",
        "GCPS_TO_GEOTRANSFORM_APPROX_OK",
        "GCPS_TO_GEOTRANSFORM_APPROX_THRESHOLD",
        "GEOREF_SOURCES",
        "IGNORE_AXIS_ORIENTATION",
        "JP2K_ALT_OFFSETVECTOR_ORDER",
        "JPEG_TO_RGB",
        "MAX_BAND_COUNT",
        "MEM_ENABLE_OPEN",
        "NO_COSTLY_OVERVIEW",
        "NUM_THREADS",
        "ONE_BIG_READ",
        "OVERVIEW_OVERSAMPLING_THRESHOLD",
        "OVR_PROPAGATE_NODATA",
        "PAM_ENABLED",
        "PAM_ENABLE_MARK_DIRTY",
        "PAM_MODE",
        "PAM_PROXY_DIR",
        "PYTHON_DRIVER_PATH",
        "RASTERIO_RESAMPLING",
        "READDIR_LIMIT_ON_OPEN",
        "SKIP",
        "STACTA_SKIP_MISSING_METATILE",
        "SWATH_SIZE",
        "TIFF_DEFLATE_SUBCODEC",
        "TIFF_ENDIANNESS",
        "TIFF_INTERNAL_MASK",
        "TIFF_INTERNAL_MASK_TO_8BIT",
        "TIFF_OVR_BLOCKSIZE",
        "TRY_PDS3_WITH_VICAR",
        "USE_GEOJP2",
        "USE_GMLJP2",
        "VALIDATE_CREATION_OPTIONS",
        "VRT_ENABLE_PYTHON",
        "VRT_ENABLE_RAWRASTERBAND",
        "VRT_RAWRASTERBAND_ALLOWED_SOURCE",
        "VRT_WARP_USE_DATASET_RASTERIO",
        "WARP_USE_AFFINE_OPTIMIZATION",
    ]
)
_OTHERS = frozenset(
    [
        "CENTER_LONG",
        "CHECK_WITH_INVERT_PROJ",
        "CONVERT_YCBCR_TO_RGB",
        "ESRI_XML_PAM",
        "HFA_USE_RRD",
        "JPEG_FORCE_INTERNAL_OVERVIEWS",
        "SQLITE_LIST_ALL_TABLES",
        "SQLITE_USE_OGR_VFS",
        "TIFF_READ_STREAMING",
        "TIFF_USE_OVR",
        "USE_INTERNAL_OVERVIEWS",
        "USE_RRD",
        "VRT_MIN_MAX_FROM_SOURCES",
        "VRT_SHARED_SOURCE",
        "VRT_VIRTUAL_OVERVIEWS",
    ]
)
_PREFIXES = ("GTIFF_", "GEOTIFF_", "OGR_", "OSR_", "GDAL_BAG_", "GDAL_GEOLOC_", "GDAL_NETCDF_")
_SUFFIX = "_OVERVIEW"
# Limits of what may be read, which do not change what is.
_KEPT = frozenset({"OGR_GEOJSON_MAX_OBJ_SIZE", "OGR_JSONFG_MAX_OBJ_SIZE"})
#: Those that GDAL may also have from its own file of settings, `~/.gdal/gdalrc`.
_OPTIONS = tuple(
    sorted(
        (_GDAL | _OTHERS)
        - _DATA_FOLDERS
        - {"GDAL_CONFIG_FILE", "GDAL_DRIVER_PATH", "GDAL_PYTHON_DRIVER_PATH"}
        | {
            "COMPRESS_OVERVIEW",
            "GTIFF_ALPHA",
            "GTIFF_ESRI_CITATION",
            "GTIFF_FORCE_RGBA",
            "GTIFF_HONOUR_NEGATIVE_SCALEY",
            "GTIFF_IGNORE_READ_ERRORS",
            "GTIFF_IMPORT_FROM_EPSG",
            "GTIFF_LINEAR_UNITS",
            "GTIFF_POINT_GEO_IGNORE",
            "GTIFF_READ_ANGULAR_PARAMS_IN_DEGREE",
            "GTIFF_REPORT_COMPD_CS",
            "GTIFF_SRS_SOURCE",
            "GTIFF_WRITE_ANGULAR_PARAMS_IN_DEGREE",
            "GTIFF_WRITE_RAT_TO_PAM",
            "GTIFF_WRITE_TOWGS84",
            "GEOTIFF_KEYS_FLAVOR",
            "GEOTIFF_VERSION",
            "OGR_APPLY_GEOM_SET_PRECISION",
            "OGR_CT_FORCE_TRADITIONAL_GIS_ORDER",
            "OGR_CT_OP_SELECTION",
            "OGR_CT_PREFER_OFFICIAL_SRS_DEF",
            "OGR_CURRENT_DATE",
            "OGR_ENABLE_PARTIAL_REPROJECTION",
            "OGR_GEOMETRY_ACCEPT_UNCLOSED_RING",
            "OGR_GPKG_CHECK_SRS",
            "OGR_ORGANIZE_POLYGONS",
            "OGR_SQLITE_JOURNAL",
            "OGR_SQLITE_PRAGMA",
            "OGR_SQLITE_LOAD_EXTENSIONS",
            "OSR_ADD_TOWGS84_ON_EXPORT_TO_WKT1",
            "OSR_ADD_TOWGS84_ON_IMPORT_FROM_EPSG",
            "OSR_DEFAULT_AXIS_MAPPING_STRATEGY",
            "OSR_STRIP_TOWGS84",
            "OSR_USE_APPROX_TMERC",
            "OSR_USE_NON_DEPRECATED",
            "OSR_WKT_FORMAT",
        }
    )
)
#: Beginnings of names of remote files of which GDAL keeps nothing once they are closed.
CURL_NON_CACHED = "CPL_VSIL_CURL_NON_CACHED"
#: A system that every PROJ knows if it finds data that are its own.
_PROBE = 25832


def steers(name: str) -> bool:
    """Tell whether a variable changes what GDAL, PROJ or their bindings read or write."""
    name = name.upper()
    if name in _KEPT:
        return False
    listed = name in _PROJ or name in _GDAL or name in _OTHERS
    return listed or name.startswith(_PREFIXES) or name.endswith(_SUFFIX)


class _Shelf:
    """What was put aside, by however many callers and threads at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._variables: dict[str, str] = {}
        self._undo: list[Callable[[], object]] = []
        self._callers = self._library_callers = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that are put aside now."""
        with self._lock:
            return tuple(sorted(self._variables))

    def take(self, *, libraries: bool) -> None:
        """Put the variables aside, and set up the libraries, if nobody did."""
        with self._lock:
            if not self._callers:
                self._variables = {name: os.environ[name] for name in _found()}
                for name in self._variables:
                    del os.environ[name]
            self._callers += 1
            if libraries:
                self._library_callers += 1
                if self._library_callers == 1:
                    for undo in _set_up_libraries():
                        self._undo.append(undo)

    def put_back(self, *, libraries: bool) -> None:
        """Put all back once nobody works any more."""
        with self._lock:
            if libraries:
                self._library_callers -= 1
                while self._undo and not self._library_callers:
                    self._undo.pop()()
            self._callers -= 1
            if not self._callers:
                for name, value in self._variables.items():
                    os.environ.setdefault(name, value)
                self._variables = {}


_shelf = _Shelf()


def _found() -> list[str]:
    """Return the variables to put aside."""
    return _steering(os.environ)


def _steering(names: Iterable[str]) -> list[str]:
    """Return those of some names that are to be put aside."""
    found = [name for name in names if steers(name)]
    if _brings_data("rasterio") and _brings_data("pyogrio"):
        return found
    # Without data of their own, the libraries may need to be told where those are.
    return [name for name in found if name.upper() not in _DATA_FOLDERS]


def _brings_data(package: str) -> bool:
    """Tell whether a binding has PROJ's data in its own folder, without importing it."""
    return any(
        os.path.isfile(os.path.join(folder, package, "proj_data", "proj.db"))  # noqa: PTH113, PTH118
        for folder in sys.path
    )


@contextmanager
def clean_environment() -> Iterator[None]:
    """Put aside the variables; for as long as libraries are loaded."""
    try:
        _shelf.take(libraries=False)
        yield
    finally:
        _shelf.put_back(libraries=False)


def with_own_data(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function work with the libraries' own data, whatever the environment says.

    Raises
    ------
    LibraryError
        When it is called, if PROJ does not find data of its own version all the same.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function with the environment put aside."""
        with _plain_env():
            try:
                _shelf.take(libraries=True)
                return function(*args, **kwargs)
            finally:
                _shelf.put_back(libraries=True)

    return guarded


@contextmanager
def _plain_env() -> Iterator[None]:
    """Take out of a `rasterio.Env` that the caller is in what steers; it is of this thread only.

    Else every `rasterio.Env` of ours would bring it back when it ends.
    """
    from rasterio.env import defenv, delenv, getenv, hasenv, setenv

    if not hasenv():
        yield
        return
    options = getenv()
    unwanted = _steering(options)
    delenv()
    defenv(**{name: options[name] for name in options if name not in unwanted})
    try:
        yield
    finally:
        setenv(**options)


def notes() -> tuple[str, ...]:
    """Return what the user may want to know: the variables that do not count."""
    names = _shelf.names
    if not names:
        return ()
    return (f"not used, as they change what GDAL and PROJ read or write: {', '.join(names)}",)


def _set_up_libraries() -> Iterator[Callable[[], object]]:
    """Make the libraries as they are without any settings; yield what undoes it."""
    import pyogrio
    from pyproj._network import is_network_enabled, set_network_enabled
    from rasterio._env import del_gdal_config, get_gdal_config, set_gdal_config

    for name in _OPTIONS:
        # The environment is clean by now: this is what a file or a program has set.
        value = get_gdal_config(name, normalize=False)
        if value is not None:
            yield functools.partial(set_gdal_config, name, value, normalize=False)
            del_gdal_config(name)
        value = pyogrio.get_gdal_config_option(name)
        if value is not None:
            yield functools.partial(pyogrio.set_gdal_config_options, {name: value})
            pyogrio.set_gdal_config_options({name: None})
    # What a server said of a file, 404 too, holds while the file is open, not for ever.
    before = pyogrio.get_gdal_config_option(CURL_NON_CACHED)
    yield functools.partial(pyogrio.set_gdal_config_options, {CURL_NON_CACHED: before})
    pyogrio.set_gdal_config_options({CURL_NON_CACHED: "/vsi"})
    if is_network_enabled():
        yield functools.partial(set_network_enabled, True)
        set_network_enabled(False)
    _find_own_data()


def _find_own_data() -> None:
    """Point rasterio's PROJ to the data it came with, and see whether they are understood."""
    import rasterio
    from rasterio._env import PROJDataFinder, set_proj_data_search_path
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    own = PROJDataFinder().search_wheel()
    if own:
        # A program that used rasterio before may have had it look elsewhere.
        set_proj_data_search_path(own)
    try:
        known = CRS.from_epsg(_PROBE).is_projected
    except CRSError as error:
        reason = " ".join(str(error).split())
        raise LibraryError(
            f"rasterio {rasterio.__version__} does not find data of its own version of PROJ"
            f" ({reason}); unset PROJ_DATA and PROJ_LIB, or install rasterio anew with pip"
        ) from error
    if not known:
        raise LibraryError(
            f"rasterio {rasterio.__version__} takes EPSG:{_PROBE} for no projected system; install"
            " it anew with pip"
        )
