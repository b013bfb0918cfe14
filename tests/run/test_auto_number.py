"""`n_classes=auto`, from the command to the record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner

import alps_geo
from alps_geo.cli.main import cli
from alps_geo.errors import SettingsError
from alps_geo.progress import RecordedProgress
from alps_geo.settings import Settings

from ..conftest import SceneFactory, draw_landscape

OPTIONS = {
    "model": "builtin", "features": "texture", "tile_size": 512, "overlap": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecordedProgress]:
    """Label a drawing with as many classes as it has."""
    folder, told = tmp_path_factory.mktemp("auto"), RecordedProgress()
    path = folder / "scene.tif"
    shape = {"count": 3, "height": 500, "width": 700, "dtype": "uint8", "crs": "EPSG:32640"}
    place = rasterio.Affine(2, 0, 320000, 0, -2, 2780000)
    with rasterio.open(path, "w", driver="GTiff", transform=place, **shape) as file:
        file.write(draw_landscape(500, 700).transpose(2, 0, 1))
    alps_geo.label(path, folder / "out", n_classes="auto", progress=told, **OPTIONS)
    return folder, told


def test_label_finds_the_number_and_tells_how_sure_it_is(
    labelled: tuple[Path, RecordedProgress],
) -> None:
    folder, told = labelled
    run = alps_geo.open(folder / "out")
    curve = run.record["k_curve"]
    assert curve["method"] == "stability"
    assert curve["chosen"] == len(run.classes)
    assert len(curve["k"]) == len(curve["score"]) == len(curve["shuffled"])
    page = run.report_path.read_text("utf-8")
    assert "How many classes" in page
    assert 'class="chosen"' in page
    text = f"{curve['chosen']} classes, found by stability; how sure: {curve['sure']:.0%}"
    assert text in told.messages
    assert run.record["settings"]["classes"]["n_classes"] == "auto"
    again = RecordedProgress()
    alps_geo.label(
        folder / "scene.tif", folder / "out", n_classes="auto", progress=again, **OPTIONS
    )
    assert "nothing to do" in again.messages[-1]


def test_classify_finds_the_number_by_either_way_and_the_curve_goes_with_it(
    labelled: tuple[Path, RecordedProgress], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(labelled[0] / "out", tmp_path / "out"))
    labels = (out / "labels.tif").read_bytes()
    command = ["classify", str(out), "-k", "AUTO", "--k-method", "dp", "--progress", "none"]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    curve = json.loads((out / "run.json").read_text())["k_curve"]
    assert curve["method"] == "dp"
    assert f"in {curve['chosen']} classes" in result.stdout
    alps_geo.classify(out, n_classes=5)
    assert "k_curve" not in json.loads((out / "run.json").read_text())
    alps_geo.classify(out, n_classes="auto")
    assert (out / "labels.tif").read_bytes() == labels
    alps_geo.edit_classes(out, undo=True)
    assert len(alps_geo.open(out).classes) == 5


def test_with_few_segments_a_message_says_that_nothing_can_be_found(
    make_scene: SceneFactory, tmp_path: Path, progress: RecordedProgress
) -> None:
    scene = make_scene(draw_landscape(80, 80))
    run = alps_geo.label(scene, tmp_path / "out", n_classes="auto", progress=progress, **OPTIONS)
    facts = run.record["k_curve"]
    assert facts["sure"] == 0
    assert facts["segments"] < 100
    assert any("segments are too few to find the number" in text for text in progress.messages)
    assert len(run.classes) == facts["chosen"]


def test_runs_of_versions_without_the_setting_are_still_finished(
    labelled: tuple[Path, RecordedProgress], tmp_path: Path, progress: RecordedProgress
) -> None:
    out = Path(shutil.copytree(labelled[0] / "out", tmp_path / "out"))
    alps_geo.classify(out, n_classes=5)
    record = json.loads((out / "run.json").read_text())
    del record["settings"]["classes"]["k_method"]
    (out / "run.json").write_text(json.dumps(record))
    alps_geo.label(labelled[0] / "scene.tif", out, n_classes=5, progress=progress, **OPTIONS)
    assert "nothing to do" in progress.messages[-1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("many", "`n_classes` must be a whole number, or auto, not 'many'"),
        (1, "`n_classes` must be from 2 to 65535, not 1"),
        (8.5, "`n_classes` must be a whole number"),
    ],
)
def test_numbers_that_are_none_are_refused(value: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.from_options(n_classes=value)
    with pytest.raises(SettingsError, match="needs a number of classes"):
        alps_geo.ClassModel("auto")  # type: ignore[arg-type]
