"""How scenes are read: what a user can choose there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .declaration import SettingsPart, check, setting

STRETCHES = ("percentile", "minmax", "none")
#: What stands for principal components in `bands`.
COMPONENTS = "pca"


@dataclass(frozen=True)
class SceneSettings(SettingsPart):
    """How scenes are read."""

    bands: tuple[int, ...] | str = setting(
        (),
        "Bands to use as red, green, blue, counted from 1: three, or one for a grey scene; of four"
        " and more the first three, and all of them count with the features 'bands'. Or pca: the"
        " first three principal components of all bands."
        "  [default: the RGB bands the file declares, else the first three]",
        metavar="R,G,B",
        word=COMPONENTS,
    )
    subdataset: str | None = setting(
        None,
        "Which raster to use of a file that holds several (pages of a TIFF, a Sentinel-2 product,"
        " netCDF, HDF): its number, counted from 1, or a piece of its name or description.",
        metavar="PART",
    )
    stretch: str = setting(
        "percentile",
        "Scaling to 8 bits over the valid pixels of all scenes: the 2nd to 98th percentile of each"
        " band, its minimum to maximum, or none (8-bit values as they are).",
        choices=STRETCHES,
    )
    stretch_percentiles: tuple[float, ...] | None = setting(
        None,
        "Percentiles of each band that become black and white with the percentile stretch; further"
        " apart against hazy, nearer against cloudy scenes.  [default: 2,98]",
        metavar="LOW,HIGH",
    )
    stretch_range: tuple[float, ...] | None = setting(
        None,
        "Pixel values that become black and white, instead of measuring them: one pair for all"
        " bands, or three pairs for red, green and blue.",
        metavar="LOW,HIGH,...",
    )
    nodata: float | None = setting(
        None,
        "Pixels with this value in all bands hold no data, whatever value the file declares.",
        metavar="VALUE",
    )
    nodata_tolerance: float | None = setting(
        None,
        "Pixels this close to the nodata value in all bands hold no data either where they hang"
        " together with the scene's border or a masked area, as collars in JPEG do (from 10 at"
        " quality 95 to 40 at 75). Costs a read of the whole file, remote ones too.",
        metavar="VALUE",
        least=0.0,
    )
    aoi: str | None = setting(
        None, "Label only inside the polygons of this vector file (any CRS).", metavar="FILE"
    )
    full_extent: bool = setting(
        False,
        "With an area of interest: results on the whole scene's grid, instead of on the pixels"
        " around the area.",
    )
    gsd: float | None = setting(
        None, "Resample to this ground sampling distance on read, in metres.", metavar="METRES"
    )

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        self._check_bands()
        self._check_limits()
        # NaN and infinity never hold data; NaN would also differ from itself when a run goes on.
        finite = self.nodata is None or math.isfinite(self.nodata)
        check(finite, "nodata", "must be a finite number, or be left out", self.nodata)
        check(self.gsd is None or self.gsd > 0, "gsd", "must be above 0 metres", self.gsd)

    @property
    def picture_bands(self) -> tuple[int, ...]:
        """The bands that were chosen, of which the first three make the picture; else empty."""
        return () if isinstance(self.bands, str) else self.bands

    @property
    def counted_bands(self) -> tuple[int, ...]:
        """The bands that count as features, in their order; empty where all do."""
        return self.picture_bands if len(self.picture_bands) > 3 else ()

    def _check_bands(self) -> None:
        if isinstance(self.bands, str):
            check(self.bands == COMPONENTS, "bands", "must be numbers of bands, or pca", self.bands)
            limits = self.stretch_range
            rule = f"must be left out with `bands={COMPONENTS}`, whose values have no unit"
            check(limits is None, "stretch_range", rule, limits)
            check(
                self.stretch != "none", "stretch", "cannot be none with `bands=pca`", self.stretch
            )
            return
        number, lowest = len(self.bands), min(self.bands, default=1)
        check(number != 2, "bands", "must name one band, or three or more", number)
        check(lowest >= 1, "bands", "are counted from 1", lowest)
        if number > 3:
            once = len({*self.bands}) == number
            check(once, "bands", "must name each band once, where four or more", self.bands)

    def _check_limits(self) -> None:
        limits, percentiles = self.stretch_range, self.stretch_percentiles
        if limits is not None:
            pairs = list(zip(limits[::2], limits[1::2], strict=False))
            check(
                len(limits) in (2, 6) and all(-math.inf < a < b < math.inf for a, b in pairs),
                "stretch_range",
                "must be one or three pairs of a lower and a higher value",
                limits,
            )
            check(
                percentiles is None,
                "stretch_percentiles",
                "must be left out where `stretch_range` is given",
                percentiles,
            )
            check(
                self.stretch == "percentile",
                "stretch",
                "must be left out where `stretch_range` is given",
                self.stretch,
            )
        elif percentiles is not None:
            check(
                len(percentiles) == 2 and 0 <= percentiles[0] < percentiles[1] <= 100,
                "stretch_percentiles",
                "must be a lower and a higher number from 0 to 100",
                percentiles,
            )
            check(
                self.stretch == "percentile",
                "stretch",
                "must be percentile with `stretch_percentiles`",
                self.stretch,
            )
