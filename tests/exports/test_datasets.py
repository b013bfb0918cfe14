"""Data sets of patches: every format has the same pixels, classes and patches."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from hypothesis import given
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

import alps_geo
from alps_geo import OutputError, RecordedProgress, Run, RunError, SettingsError
from alps_geo.cli.main import cli
from alps_geo.exports.instances import encode_runs, outline_rings

from .conftest import SMALL, write_scene

PATCHES = {"patch_size": 64, "overlap": 16, "block": 110, "val_share": 0.3}


@pytest.fixture(scope="module")
def folders(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Export the run in every format of patches."""
    folder = tmp_path_factory.mktemp("sets")
    for kind in ("mmseg", "coco", "yolo"):
        alps_geo.export(run, folder / kind, kind, **PATCHES)
    return {kind: folder / kind for kind in ("mmseg", "coco", "yolo")}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "patches.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def labels_of(run: Run, row: dict[str, str]) -> NDArray[np.uint8]:
    """Return what `labels.tif` has where a patch lies, filled up with 255."""
    window = ((int(row["y0"]), int(row["y1"])), (int(row["x0"]), int(row["x1"])))
    path = run.label_paths[run.scenes.index(row["scene"])]
    with rasterio.open(path) as file:
        return file.read(1, window=window, boundless=True, fill_value=255)


def mask_of(folder: Path, row: dict[str, str]) -> NDArray[np.uint8]:
    with Image.open(folder / "ann_dir" / row["split"] / f"{row['name']}.png") as image:
        return np.asarray(image)


def test_masks_hold_the_pixels_of_the_label_raster(run: Run, folders: dict[str, Path]) -> None:
    found = rows(folders["mmseg"])
    assert {row["split"] for row in found} == {"train", "val"}
    assert {row["scene"] for row in found} == {"east", "west"}
    for row in found:
        mask = mask_of(folders["mmseg"], row)
        assert mask.shape == (64, 64)
        assert (mask == labels_of(run, row)).all()
        assert (mask != 255).any()
        assert float(row["covered_fraction"]) == pytest.approx((mask != 255).mean(), abs=1e-6)


def test_masks_have_the_colours_of_the_classes(run: Run, folders: dict[str, Path]) -> None:
    row = rows(folders["mmseg"])[0]
    path = folders["mmseg"] / "ann_dir" / row["split"] / f"{row['name']}.png"
    with Image.open(path) as image:
        assert image.mode == "P"
        palette = image.getpalette()
    for number, color in run.classes["color"].items():
        assert bytes(palette[3 * number : 3 * number + 3]).hex() == color[1:]


def test_images_are_the_scene_as_it_was_labelled(run: Run, folders: dict[str, Path]) -> None:
    row = rows(folders["mmseg"])[-1]
    with Image.open(folders["mmseg"] / "img_dir" / row["split"] / f"{row['name']}.png") as image:
        pixels = np.asarray(image)
    low, high = (np.array(run.record["stretch"][name])[:3] for name in ("low", "high"))
    window = ((int(row["y0"]), int(row["y1"])), (int(row["x0"]), int(row["x1"])))
    with rasterio.open(row["source"]) as file:
        raw = file.read(window=window).transpose(1, 2, 0).astype(float)
    expected = np.clip((raw - low) / (high - low), 0, 1) * 255
    assert np.abs(pixels - expected).max() < 1


def test_lists_and_record_agree_with_the_files(run: Run, folders: dict[str, Path]) -> None:
    folder = folders["mmseg"]
    facts = json.loads((folder / "dataset.json").read_text())
    found = rows(folder)
    for split in ("train", "val"):
        names = (folder / f"{split}.txt").read_text().split()
        assert names == [row["name"] for row in found if row["split"] == split]
        assert sorted(names) == sorted(path.stem for path in (folder / "img_dir" / split).iterdir())
        assert facts["patches"][split] == len(names)
    assert [item["name"] for item in facts["classes"]] == run.classes["name"].tolist()
    assert not (folder / ".alps-geo").exists()


# pycocotools knows NumPy 1 only.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_gives_the_same_masks_to_its_own_library(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed").COCO
    found = {row["name"]: row for row in rows(folders["mmseg"])}
    seen = 0
    for split in ("train", "val"):
        data = coco(str(folders["coco"] / "annotations" / f"instances_{split}.json"))
        for image in data.loadImgs(data.getImgIds()):
            name = Path(image["file_name"]).stem
            assert (folders["coco"] / "images" / split / image["file_name"]).is_file()
            mask = np.full((64, 64), 255, np.uint8)
            for item in data.loadAnns(data.getAnnIds(imgIds=image["id"])):
                inside = data.annToMask(item).astype(bool)
                assert (mask[inside] == 255).all()
                mask[inside] = item["category_id"]
                left, top, width, height = item["bbox"]
                assert inside.sum() == item["area"]
                assert inside[top : top + height, left : left + width].sum() == item["area"]
                assert 0 <= item["score"] <= 1
            assert (mask == mask_of(folders["mmseg"], found[name])).all()
            seen += 1
    assert seen == len(found)


def fill(ring: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose middle a ring holds, by the rule of even and odd crossings."""
    rows_, cols = (np.arange(side) + 0.5 for side in shape)
    inside = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        crosses = (y0 > rows_) != (y1 > rows_)
        with np.errstate(divide="ignore", invalid="ignore"):
            x = x0 + (rows_ - y0) * (x1 - x0) / (y1 - y0)
        inside ^= crosses[:, np.newaxis] & (cols[np.newaxis] < x[:, np.newaxis])
    return inside


def test_yolos_outlines_give_the_same_masks(run: Run, folders: dict[str, Path]) -> None:
    found = {row["name"]: row for row in rows(folders["mmseg"])}
    paths = sorted((folders["yolo"] / "labels").rglob("*.txt"))
    assert [path.stem for path in paths] == sorted(
        found, key=lambda name: (found[name]["split"], name)
    )
    for path in paths[:6]:
        mask = np.full((64, 64), 255, np.uint8)
        for line in path.read_text().splitlines():
            number, *numbers = line.split()
            ring = np.round(np.array(numbers, float).reshape(-1, 2) * 64)
            assert ring.min() >= 0
            assert len(ring) >= 4
            mask[fill(ring, mask.shape)] = int(number)
        assert (mask == mask_of(folders["mmseg"], found[path.stem])).all()
    text = (folders["yolo"] / "data.yaml").read_text()
    assert 'names:\n  0: "class_00"' in text


@given(arrays.arrays(bool, (9, 11)).filter(np.any))
def test_run_lengths_and_rings_are_the_mask(mask: NDArray[np.bool_]) -> None:
    runs = encode_runs(mask)
    assert sum(runs) == mask.size
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    assert (mask == values.reshape(11, 9).T).all()
    assert (fill(outline_rings(mask), mask.shape) == mask).all()


def test_a_small_scene_is_filled_up(run: Run, tmp_path: Path) -> None:
    alps_geo.export(run, tmp_path / "out", "mmseg", geotiff=True, suffix="_mask", val_share=0.0)
    (row, _) = rows(tmp_path / "out")
    assert (row["y1"], row["x1"]) == ("896", "896")
    with Image.open(tmp_path / "out" / "ann_dir" / "train" / f"{row['name']}_mask.png") as image:
        mask = np.asarray(image)
    assert (mask[220:] == 255).all()
    assert (mask[:, 260:] == 255).all()
    with rasterio.open(tmp_path / "out" / "img_dir" / "train" / f"{row['name']}.tif") as file:
        assert file.crs.to_epsg() == 32640
        assert file.shape == (896, 896)
        assert (file.read()[:, 220:] == 0).all()
        with rasterio.open(row["source"]) as scene:
            assert file.transform == scene.transform


def test_no_patch_is_without_a_label(run: Run, tmp_path: Path) -> None:
    rare = run.classes["area_px"].idxmin()
    alps_geo.export(run, tmp_path / "out", "mmseg", classes=(str(rare),), **PATCHES)
    found = rows(tmp_path / "out")
    assert 0 < len(found) < len(rows_of_all(run, tmp_path))
    for row in found:
        assert set(np.unique(mask_of(tmp_path / "out", row))) <= {rare, 255}
        assert row["classes"] == str(rare)


def rows_of_all(run: Run, tmp_path: Path) -> list[dict[str, str]]:
    alps_geo.export(run, tmp_path / "all", "mmseg", **PATCHES)
    return rows(tmp_path / "all")


def test_splits_by_scene_and_by_file(run: Run, tmp_path: Path) -> None:
    alps_geo.export(run, tmp_path / "a", "mmseg", split="scenes", **PATCHES)
    found = {(row["scene"], row["split"]) for row in rows(tmp_path / "a")}
    assert len(found) == 2
    assert {split for _, split in found} == {"train", "val"}
    chosen = tmp_path / "splits.csv"
    chosen.write_text("east,val\n")
    alps_geo.export(run, tmp_path / "b", "mmseg", split=str(chosen), **PATCHES)
    assert {(row["scene"], row["split"]) for row in rows(tmp_path / "b")} == {("east", "val")}
    for line, said in (
        ("north,val", "names 'north', which is no scene"),
        ("east,test", "'east,test'"),
    ):
        chosen.write_text(f"{line}\n")
        with pytest.raises(SettingsError, match=said):
            alps_geo.export(run, tmp_path / "c", "mmseg", split=str(chosen), **PATCHES)
    with pytest.raises(SettingsError, match="`split` must be blocks, scenes or a file"):
        alps_geo.export(run, tmp_path / "c", "mmseg", split="nowhere.csv")


def test_scenes_too_small_to_split_are_told(
    run: Run, tmp_path: Path, progress: RecordedProgress
) -> None:
    alps_geo.export(run, tmp_path / "out", "mmseg", progress=progress)
    assert "no patch is for validation" in progress.warnings[0]


def test_runs_of_other_classes_do_not_mix(run: Run, tmp_path: Path) -> None:
    other = alps_geo.label(
        write_scene(tmp_path / "north.tif"), tmp_path / "out", **{**SMALL, "n_classes": 3}
    )
    with pytest.raises(RunError, match="has other classes than"):
        alps_geo.export([run, other], tmp_path / "set", "mmseg", **PATCHES)
    same = alps_geo.label(
        write_scene(tmp_path / "east.tif", seed=5), tmp_path / "same", model="builtin",
        tile_size=192, overlap=64, classes=run,
    )  # fmt: skip
    alps_geo.export([run, same], tmp_path / "set", "mmseg", **PATCHES)
    assert {row["scene"] for row in rows(tmp_path / "set")} == {"out_east", "west", "same_east"}


def test_a_set_that_was_not_finished_does_not_look_whole(run: Run, tmp_path: Path) -> None:
    class Full(RecordedProgress):
        def step(self, done: int, total: int) -> None:
            if done == 3:
                raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot write to .*: No space left on device"):
        alps_geo.export(run, tmp_path / "out", "mmseg", progress=Full(), **PATCHES)
    assert not (tmp_path / "out" / "dataset.json").exists()
    with pytest.raises(OutputError, match="is not empty"):
        alps_geo.export(run, tmp_path / "out", "mmseg", **PATCHES)
    alps_geo.export(run, tmp_path / "out", "mmseg", overwrite=True, **PATCHES)
    assert (tmp_path / "out" / "dataset.json").exists()


def test_a_folder_of_others_is_never_emptied(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(OutputError, match=r"is not empty; choose another folder$"):
        alps_geo.export(run, tmp_path, "mmseg", overwrite=True)
    assert (tmp_path / "thesis.docx").exists()


def test_a_scene_that_has_changed_is_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "east.tif")
    out = alps_geo.label(scene, tmp_path / "out", **SMALL)
    write_scene(scene, seed=9)
    with pytest.raises(RunError, match="has changed since"):
        alps_geo.export(out, tmp_path / "set", "mmseg")
    scene.unlink()
    arguments = ["export", str(out.folder), "-o", str(tmp_path / "set"), "--format", "coco"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
