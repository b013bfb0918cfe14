"""Arrays as scenes: pixels that a program has in memory, with or without a place on the ground."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from rasterio.crs import CRS
from rasterio.dtypes import check_dtype
from rasterio.errors import CRSError, NotGeoreferencedWarning

from ..errors import SceneError

#: Longest side of an array, in pixels; larger scenes are cut into tiles, for which they are files.
MAX_SIDE = 2048
#: Types that GDAL lacks, and what holds the same values.
_WIDER = {"bool": "uint8", "float16": "float32"}


def write_array(path: Path, array: Any, transform: Affine | None, crs: Any) -> int:  # noqa: ANN401 - NumPy or xarray
    """Write an array as a GeoTIFF, and return its longest side in pixels.

    Parameters
    ----------
    path : Path
    array : array-like or xarray.DataArray, shape (height, width) or (bands, height, width)
        What a masked array masks holds no data. An xarray.DataArray with the accessor `rio` knows
        its place, its CRS and its nodata value.
    transform : affine.Affine, optional
        From (column, row) to ground coordinates.
    crs : anything that rasterio takes for a CRS, optional

    Raises
    ------
    SceneError
        If the array cannot be a scene, or is too large.
    """
    nodata = None
    if hasattr(array, "rio"):
        place = array.rio
        transform = place.transform() if transform is None else transform
        crs = place.crs if crs is None else crs
        nodata = place.nodata if place.encoded_nodata is None else place.encoded_nodata
        array = array.transpose(..., place.y_dim, place.x_dim).to_numpy()
    bands = _to_bands(array)
    count, height, width = bands.shape
    profile = {
        **{"driver": "GTiff", "count": count, "height": height, "width": width},
        # Four bands of bytes would be red, green, blue and alpha otherwise.
        "photometric": "RGB" if count == 3 else "MINISBLACK",
        **({"alpha": "NO"} if count > 3 else {}),
    }
    if nodata is not None and np.can_cast(np.min_scalar_type(nodata), bands.dtype, "same_kind"):
        profile["nodata"] = nodata
    if transform is not None:
        profile["transform"] = transform
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", dtype=bands.dtype, crs=_to_crs(crs), **profile) as file:
            file.write(np.ma.getdata(bands))
            if np.ma.getmask(bands) is not np.ma.nomask:
                file.write_mask(~np.ma.getmaskarray(bands).all(axis=0))
    return int(max(height, width))


def _to_bands(array: ArrayLike) -> NDArray[Any]:
    bands = np.ma.asarray(array) if np.ma.isMaskedArray(array) else np.asarray(array)
    bands = bands[np.newaxis] if bands.ndim == 2 else bands
    if bands.ndim != 3 or not bands.size:
        raise SceneError(
            f"an array must have shape (bands, height, width) or (height, width), not {bands.shape}"
        )
    count, height, width = bands.shape
    if width <= 4 < count:
        raise SceneError(
            f"an array has its bands first: shape (bands, height, width), not {bands.shape}; turn"
            " it with numpy.moveaxis(array, -1, 0)"
        )
    if max(height, width) > MAX_SIDE:
        raise SceneError(
            f"an array in memory is labelled as one tile of at most {MAX_SIDE} x {MAX_SIDE} pixels,"
            f" and this one has {height} x {width}; write it to a GeoTIFF, and use `label()`"
        )
    bands = bands.astype(_WIDER.get(bands.dtype.name, bands.dtype), copy=False)
    if not check_dtype(bands.dtype):
        raise SceneError(f"an array must hold numbers, not {bands.dtype}")
    return bands


def _to_crs(crs: Any) -> CRS | None:  # noqa: ANN401 - whatever rasterio takes
    try:
        return None if crs is None else CRS.from_user_input(crs)
    except CRSError as error:
        raise SceneError(
            f"there is no CRS {crs!r}: {error}; give one such as EPSG:32633"
        ) from error
