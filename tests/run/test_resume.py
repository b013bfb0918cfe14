"""A run that is killed at any instant goes on to the result of one that was not."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import geopandas
import pytest
import rasterio
from geopandas.testing import assert_geodataframe_equal

from alps_geo.errors import Cancelled, RunError
from alps_geo.pipeline import label
from alps_geo.progress import NoProgress, RecordedProgress

from ..conftest import draw_landscape

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "n_classes": 4}
KILLS = 20


def run(scene: str, out: str) -> None:
    """Label a scene; the body of a process that may be killed."""
    label(scene, out, **SMALL)


def start(scene: Path, out: Path) -> BaseProcess:
    # Forked from a clean process that has imported everything: seconds are for work alone.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["alps_geo.pipeline", __name__])
    process = context.Process(target=run, args=(str(scene), str(out)))
    process.start()
    return process


def tile_times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "run").glob("*/tiles/[!.]*")}


def all_names(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*")}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a scene of 20 tiles."""
    path = tmp_path_factory.mktemp("scene") / "land.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=300, width=400, dtype="uint8",
        crs="EPSG:32640", transform=rasterio.Affine(2, 0, 320000, 0, -2, 2780000),
    ) as file:  # fmt: skip
        file.write(draw_landscape(300, 400).transpose(2, 0, 1))
    return path


@pytest.mark.slow
def test_a_run_killed_at_random_instants_goes_on_to_the_same_result(
    scene: Path, tmp_path: Path
) -> None:
    for name in ("warm", "whole"):  # the first run of all compiles and fills caches
        began = time.monotonic()
        whole = start(scene, tmp_path / name)
        whole.join()
        assert whole.exitcode == 0
    length = time.monotonic() - began
    expected = geopandas.read_file(tmp_path / "whole" / "labels.gpkg", layer="segments")
    with rasterio.open(tmp_path / "whole" / "labels.tif") as file:
        pixels = file.read(1)
    rng, killed = random.Random(9), 0
    for _ in range(KILLS):
        out = tmp_path / "out"
        process = start(scene, out)
        process.join(rng.uniform(0, length))
        process.kill()
        process.join()
        killed += process.exitcode == -9
        before = tile_times(out)
        again = start(scene, out)
        again.join()
        assert again.exitcode == 0
        assert before.items() <= tile_times(out).items()
        assert all_names(out) == all_names(tmp_path / "whole")
        with rasterio.open(out / "labels.tif") as file:
            assert (file.read(1) == pixels).all()
        assert_geodataframe_equal(
            geopandas.read_file(out / "labels.gpkg", layer="segments"), expected
        )
        shutil.rmtree(out)
    assert killed > KILLS // 2


class Impatient(NoProgress):
    """Cancels at the third tile."""

    def step(self, done: int, total: int) -> None:
        if done == 3:
            raise Cancelled("enough")


def test_results_of_an_earlier_run_do_not_pass_for_those_of_a_stopped_one(
    scene: Path, tmp_path: Path
) -> None:
    other = {**SMALL, "tile_size": 256, "overlap": 64}
    label(scene, tmp_path, **SMALL)
    with pytest.raises(Cancelled, match="enough"):
        label(scene, tmp_path, **other, overwrite=True, progress=Impatient())
    told = RecordedProgress()
    outputs = label(scene, tmp_path, **other, progress=told)
    assert "paint" in told.stages
    assert json.loads(outputs.record_path.read_text())["settings"]["tiles"]["size"] == 256


def test_a_run_killed_before_it_wrote_its_manifest_can_be_started_again(
    scene: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".manifest.0123abcd.part.json").write_text("{")
    assert label(scene, tmp_path, **SMALL).record_path.exists()


def test_the_beginning_of_every_file_that_a_run_writes_is_cleared_away(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: set[Path] = set()
    whole = Path.replace

    def note(self: Path, target: Path) -> Path:
        begun.add(self)
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", note)
    label(scene, tmp_path, **SMALL)
    assert {"classes", "run", "labels", "manifest"} <= {path.name.split(".")[1] for path in begun}
    for path in begun:
        path.write_bytes(b"what kill -9 leaves")
    label(scene, tmp_path, **SMALL)
    assert not [path for path in begun if path.exists()]


def test_a_damaged_manifest_is_refused_and_can_be_overwritten(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"cannot be read: .*; `overwrite`"):
        label(scene, tmp_path, **SMALL)
    assert label(scene, tmp_path, **SMALL, overwrite=True).record_path.exists()


def test_files_of_others_stay(scene: Path, tmp_path: Path) -> None:
    mine = tmp_path / ".mine.part"
    mine.write_text("keep me")
    with pytest.raises(RunError, match="files that are not a run"):
        label(scene, tmp_path, **SMALL, overwrite=True)
    assert mine.exists()
