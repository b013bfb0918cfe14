"""Principal components: the picture of all bands, the same in every tile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from sklearn.decomposition import PCA

import alps_geo
from alps_geo.errors import ModelError, SceneError, SettingsError
from alps_geo.progress import RecordedProgress
from alps_geo.scenes.components import Components
from alps_geo.scenes.grid import Window
from alps_geo.scenes.scene import open_scene
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.scenes.stretch import Stretch
from alps_geo.scenes.survey import measure_blocks
from alps_geo.settings import SceneSettings

SceneFactory = Callable[..., Path]
OPTIONS = {"model": "builtin", "n_classes": 3, "tile_size": 64, "overlap": 16, "bands": "pca"}


def make_pixels(height: int = 96, width: int = 96, bands: int = 5) -> NDArray[np.uint16]:
    """Return bands that say much the same, and one with two halves that no other shows."""
    rng = np.random.default_rng(0)
    base = rng.normal(500, 60, (height, width, 1)) * np.linspace(0.5, 4, bands)
    pixels = base + rng.normal(0, 5, (height, width, bands))
    pixels[:, width // 2 :, -1] += 900
    return np.clip(pixels, 1, 65000).astype(np.uint16)


def test_components_are_those_of_scikit_learn() -> None:
    rows = make_pixels().reshape(-1, 5).astype(float)
    found = Components.measure([rows], [1.0])
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    reference = PCA(3, svd_solver="full").fit(scaled)
    expected = reference.transform(scaled)
    signs = np.sign((found.project(rows.T).T * expected).sum(axis=0))
    np.testing.assert_allclose(found.project(rows.T).T, expected * signs, atol=1e-6)
    assert found.shares == pytest.approx(reference.explained_variance_ratio_)


def test_a_sample_counts_by_the_pixels_that_it_stands_for() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 4))
    whole = Components.measure([rows[:100], rows[100:], rows[100:]], [1.0, 1.0, 1.0])
    weighted = Components.measure([rows[:100], rows[100:]], [1.0, 2.0])
    np.testing.assert_allclose(whole.axes, weighted.axes, atol=1e-9)


def test_a_gap_is_the_mean_of_its_band_and_a_constant_band_says_nothing() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    rows[:, 3], rows[0, 1] = 7, np.nan
    found = Components.measure([rows], [1.0])
    assert [axis[3] for axis in found.axes] == [0, 0, 0]
    filled = np.where(np.isnan(rows), found.mean, rows)
    assert np.array_equal(found.project(rows.T), found.project(filled.T))
    assert np.isfinite(found.axes).all()


def test_components_are_kept_as_json_values() -> None:
    found = Components.measure([make_pixels().reshape(-1, 5).astype(float)], [1.0])
    stretch = Stretch("percentile", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), found)
    assert Stretch.from_dict(stretch.to_dict()) == stretch
    assert "components" not in Stretch("none", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).to_dict()
    with pytest.raises(ModelError, match="three axes need a number for each of 4 bands"):
        Components.from_dict({**found.to_dict(), "mean": [0, 0, 0, 0]})
    with pytest.raises(ModelError, match="need means, axes and shares"):
        Components.from_dict({"mean": [1]})


def test_a_pixel_has_the_same_colour_in_every_window(make_scene: SceneFactory) -> None:
    scene = open_scene(str(make_scene(make_pixels())), SceneSettings(bands="pca"))
    scene = scene.with_stretch(measure_stretch([scene]))
    whole, valid = scene.read(scene.grid.window)
    assert valid.all()
    limits = scene.stretch.to_dict()
    assert np.subtract(limits["high"], limits["low"]) == pytest.approx(
        np.ptp([limits["low"][0], limits["high"][0]])
    )
    assert (np.diff(whole.std(axis=(0, 1))) < 0).all()
    for window in (Window(3, 5, 40, 50), Window(64, 0, 32, 96), Window(10, 90, 1, 1)):
        assert np.array_equal(scene.read(window)[0], whole[window.slices])
    assert measure_blocks(scene) is None
    assert scene.summary()["components"] == 5
    assert "principal components of 5 bands make the picture" in " ".join(scene.messages)
    assert "are used as" not in " ".join(scene.messages)


def test_scenes_share_their_components_and_must_have_the_same_bands(
    make_scene: SceneFactory,
) -> None:
    pixels = make_pixels()
    paths = [make_scene(part, f"{index}.tif") for index, part in enumerate((pixels, pixels[:40]))]
    scenes = [open_scene(str(path), SceneSettings(bands="pca")) for path in paths]
    joint = measure_stretch(scenes)
    assert joint.components is not None
    assert joint != measure_stretch(scenes[:1])
    fewer = open_scene(str(make_scene(pixels[..., :4], "f.tif")), SceneSettings(bands="pca"))
    with pytest.raises(SceneError, match=r"f\.tif: has 4 bands, .* need 5, as the others"):
        measure_stretch([*scenes, fewer])
    grey = open_scene(str(make_scene(pixels[..., 0], "g.tif")), SceneSettings(bands="pca"))
    with pytest.raises(SceneError, match=r"g\.tif: has 1 bands, .* need three or more"):
        measure_stretch([grey])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": "pcb"}, "`bands` must be numbers of bands, or pca"),
        ({"bands": "pca", "stretch_range": (0, 9)}, "`stretch_range` must be left out with"),
        ({"bands": "pca", "stretch": "none"}, "`stretch` cannot be none with `bands=pca`"),
    ],
)
def test_what_has_no_meaning_with_components_is_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        SceneSettings(**options)


def test_masks_see_what_only_one_of_many_bands_shows_and_a_run_goes_on(
    make_scene: SceneFactory, tmp_path: Path, progress: RecordedProgress
) -> None:
    path = make_scene(make_pixels())
    run = alps_geo.label(path, tmp_path / "one", **OPTIONS)
    with rasterio.open(run.label_paths[0]) as file:
        labels = file.read(1)
    left, right = (np.bincount(half[half < 3], minlength=3) for half in np.hsplit(labels, 2))
    assert np.minimum(left, right).sum() < 0.1 * labels.size
    again = alps_geo.label(path, tmp_path / "two", workers=2, **OPTIONS)
    assert again.class_path.read_bytes() == run.class_path.read_bytes()
    with rasterio.open(again.label_paths[0]) as file:
        assert np.array_equal(file.read(1), labels)
    assert run.manifest["stretch"]["components"]["shares"][0] > 0.5
    alps_geo.label(path, tmp_path / "one", progress=progress, **OPTIONS)
    assert any("nothing to do" in text for text in progress.messages)


def test_classes_bring_their_components_along(make_scene: SceneFactory, tmp_path: Path) -> None:
    pixels = make_pixels()
    first = alps_geo.label(make_scene(pixels), tmp_path / "one", **OPTIONS)
    other = make_scene(pixels[:, ::-1], "other.tif")
    options = {"model": "builtin", "classes": first.class_path, "tile_size": 64, "overlap": 16}
    second = alps_geo.label(other, tmp_path / "two", **options)
    assert second.manifest["stretch"] == first.manifest["stretch"]
    with pytest.raises(SceneError, match="made of principal components of all bands, not with"):
        alps_geo.label(other, tmp_path / "three", bands=(3, 2, 1), **options)
    plain = alps_geo.label(other, tmp_path / "four", **{**OPTIONS, "bands": (3, 2, 1)})
    options["classes"] = plain.class_path
    with pytest.raises(SceneError, match="made of three bands, not with `bands=pca`"):
        alps_geo.label(other, tmp_path / "five", bands="pca", **options)
