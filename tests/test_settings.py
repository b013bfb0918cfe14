"""Settings: every value is checked where it enters."""

from __future__ import annotations

import json
from dataclasses import Field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alps_geo.errors import SettingsError
from alps_geo.settings import ClassSettings, Settings, all_settings, option_name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bands": (1, 2)}, "`bands` must name one band, or three or more, not 2"),
        ({"bands": (0, 1, 2)}, "`bands` are counted from 1, not 0"),
        ({"stretch": "wild"}, "`stretch` must be one of percentile, minmax, none, not 'wild'"),
        ({"gsd": 0.0}, "`gsd` must be above 0"),
        ({"tile_size": 10}, "`tile_size` must be from 64"),
        ({"overlap": 600}, r"half of `tile_size` \(512\), not 600"),
        ({"stretch_range": (1.0,)}, r"`stretch_range` must be one or three pairs .* not \(1.0,\)$"),
        ({"stretch_range": (5.0, 5.0)}, r"a lower and a higher value, not \(5.0, 5.0\)"),
        ({"stretch_range": (0.0, 1.0, 2.0, 3.0)}, "one or three pairs"),
        ({"stretch_range": (0.0, float("inf"))}, r"one or three pairs .* not \(0.0, inf\)"),
        (
            {"stretch_range": (0.0, 9.0), "stretch": "none"},
            "must be left out where `stretch_range` is given",
        ),
        (
            {"stretch_range": (0.0, 9.0), "stretch_percentiles": (1.0, 99.0)},
            "must be left out where `stretch_range` is given",
        ),
        (
            {"stretch_percentiles": (98.0, 2.0)},
            r"`stretch_percentiles` must be .* not \(98.0, 2.0\)",
        ),
        ({"stretch_percentiles": (2.0, 101.0)}, r"from 0 to 100, not \(2.0, 101.0\)"),
        ({"stretch_percentiles": (2.0, 98.0), "stretch": "minmax"}, "`stretch` must be percentile"),
        ({"nodata": float("nan")}, "`nodata` must be a finite number, or be left out, not nan"),
        ({"nodata_tolerance": -1.0}, "`nodata_tolerance` must be 0 or more, not -1.0"),
        (
            {"nodata_tolerance": float("nan")},
            "`nodata_tolerance` must be 0 or more, not nan",
        ),
        ({"overlap": 33}, "even number"),
        ({"area_threshold": 0.0}, "`area_threshold` must be from 0.001 to 1, not 0.0"),
        ({"area_threshold": 2.0}, "`area_threshold` must be from 0.001 to 1, not 2.0"),
        ({"n_classes": 65536}, "`n_classes` must be from 2 to 65535, not 65536$"),
        ({"min_area_px": 0}, "`min_area_px` must be 1 or more, not 0"),
        ({"points_per_side": 0}, "`points_per_side` must be from 1"),
        ({"pred_iou_thresh": 1.5}, "`pred_iou_thresh` must be from 0 to 1"),
        ({"device": "tpu"}, "`device` must be one of"),
        ({"features": "texture+sky"}, "`features` must be some of auto, texture, sam, cnn.*sky"),
        ({"features": "auto+raster:"}, "raster:FILE, each once, joined by"),
        ({"features": "cnn+cnn"}, "joined by \\+, not 'cnn\\+cnn'"),
        ({"n_classes": 1}, "`n_classes` must be from 2"),
        ({"seed": -1}, "`seed` must be from 0"),
        ({"simplify": -1.0}, "`simplify` must be 0 or more"),
        ({"fill": 999}, "`fill` must be from 0 to 256"),
        ({"workers": 0}, "`workers` must be from 1"),
        ({"colour": 3}, "unknown setting 'colour'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_value_that_cannot_work_is_refused_with_what_would(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_options(**options)


def test_options_find_the_stage_that_owns_them() -> None:
    settings = Settings.from_options(tile_size=512, n_classes=5, overwrite=True)
    assert (settings.tiles.size, settings.tiles.overlap) == (512, 256)
    assert settings.classes.n_classes == 5
    assert settings.run.overwrite


def test_every_setting_has_a_help_text_and_a_name_of_its_own() -> None:
    names = [option_name(item) for _, item in all_settings()]
    assert len(names) == len(set(names))
    assert all(item.metadata["help"].endswith((".", "]")) for _, item in all_settings())


@pytest.mark.parametrize(
    "name", ["subdataset", "stretch_range", "stretch_percentiles", "nodata", "nodata_tolerance"]
)
def test_settings_that_came_later_are_nothing_where_nobody_chose_them(name: str) -> None:
    # Run folders of earlier versions do not have them, and must be gone on with.
    assert getattr(Settings().scene, name) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_classes": 8.5}, "`n_classes` must be a whole number, not 8.5"),
        ({"n_classes": "8"}, "`n_classes` must be a whole number, or auto, not '8'"),
        ({"n_classes": True}, "`n_classes` must be a whole number, not True"),
        ({"gsd": "2"}, "`gsd` must be a number, not '2'"),
        ({"overwrite": 1}, "`overwrite` must be True or False, not 1"),
        ({"aoi": 5}, "`aoi` must be text, not 5"),
        ({"bands": "321"}, "`bands` must be numbers of bands, or pca, not '321'"),
        ({"bands": 3}, "`bands` must be a sequence"),
        ({"bands": (1.5, 2, 3)}, "`bands` must be a whole number, not 1.5"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_value_of_another_type_is_refused_by_name(options: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_options(**options)


def test_values_of_other_libraries_become_what_json_can_hold() -> None:
    settings = Settings.from_options(
        n_classes=np.int64(5),
        gsd=np.float32(2),
        overwrite=np.True_,
        bands=np.array([3, 2, 1]),
        classes=Path("earlier"),
        checkpoint=Path("sam.pth"),
        aoi=Path("area.gpkg"),
        examples=Path("clicks.gpkg"),
    )
    written = json.loads(json.dumps(settings.to_json()))
    assert {"n_classes": 5, "classes": "earlier", "seed": 0}.items() <= written["classes"].items()
    assert written["classes"]["examples"] == ["clicks.gpkg"]
    assert written["scene"]["bands"] == [3, 2, 1]
    assert (written["scene"]["gsd"], written["scene"]["aoi"]) == (2.0, "area.gpkg")
    assert written["model"]["checkpoint"] == "sam.pth"
    assert written["run"]["overwrite"] is True


@pytest.mark.parametrize("item", all_settings(), ids=lambda item: option_name(item[1]))
def test_every_setting_takes_its_own_default(item: tuple[Field[Any], Field[Any]]) -> None:
    part, setting = item
    settings = Settings.from_options(**{option_name(setting): setting.default})
    assert getattr(getattr(settings, part.name), setting.name) == setting.default


def test_settings_have_the_keys_in_files_that_earlier_versions_wrote() -> None:
    written = Settings.from_options(model="builtin", classes="earlier").to_json()
    assert list(written) == ["scene", "tiles", "model", "masks", "classes", "outputs", "run"]
    assert list(written["masks"])[:3] == ["area_threshold", "min_area_px", "points_per_side"]
    assert written["model"]["model"] == "builtin"
    assert ClassSettings.from_json(written["classes"]).file == "earlier"
