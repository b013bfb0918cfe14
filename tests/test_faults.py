"""What may happen while a run works: it ends in one line, keeps finished tiles, and can go on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from alps_geo import Run
from alps_geo.errors import OutputError, ReadError, SceneError
from alps_geo.pipeline import label
from alps_geo.progress import NoProgress, RecordedProgress

from .conftest import SceneFactory, draw_landscape

SMALL = {"tile_size": 128, "overlap": 32, "model": "builtin", "features": "texture", "n_classes": 4}
PROGRAM = [sys.executable, "-m", "alps_geo.cli", "label"]
OPTIONS = [
    "--tile-size", "128", "--overlap", "32", "--model", "builtin",
    "--features", "texture", "-k", "4",
]  # fmt: skip


class AtThirdTile(NoProgress):
    """Does something when three tiles are finished."""

    def __init__(self, action: object) -> None:
        self.action = action

    def step(self, done: int, total: int) -> None:
        if done == 3 and total == 20:
            self.action()  # type: ignore[operator]


def read(outputs: Run) -> np.ndarray:
    with rasterio.open(outputs.label_paths[0]) as file:
        return file.read(1)


def count_tiles(out: Path) -> int:
    return len(list((out / "run").glob("*/tiles/[!.]*")))


@pytest.fixture
def scene(make_scene: SceneFactory) -> Path:
    """Write a scene of 20 tiles."""
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    return make_scene(draw_landscape(300, 400), **layout)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 300 kB, or skip."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_with_room_the_run_goes_on(
    scene: Path, small_disk: Path, tmp_path: Path
) -> None:
    expected = read(label(scene, tmp_path / "whole", **SMALL))
    out, tiles = small_disk / "out", [0]
    for kilobytes in (300, 400, 500, 600, 700, 900):
        remount(small_disk, f"size={kilobytes}k")
        try:
            outputs = label(scene, out, **SMALL)
        except OutputError as error:
            assert "\n" not in str(error)  # noqa: PT017 - any number of tries may fail
            tiles.append(count_tiles(out))
            continue
        assert (read(outputs) == expected).all()
    assert tiles == sorted(tiles)
    remount(small_disk, "size=50m")
    assert (read(label(scene, out, **SMALL)) == expected).all()


def test_a_read_only_folder_is_one_line(scene: Path, small_disk: Path) -> None:
    remount(small_disk, "ro")
    with pytest.raises(OutputError, match=r"cannot write to .*Read-only"):
        label(scene, small_disk / "out", **SMALL)


def test_a_scene_that_vanishes_stops_the_run_which_goes_on_when_it_is_back(
    scene: Path, tmp_path: Path
) -> None:
    expected = read(label(scene, tmp_path / "whole", **SMALL))
    hidden, out = tmp_path / "hidden.tif", tmp_path / "out"
    with pytest.raises(SceneError, match="is not there"):
        label(scene, out, **SMALL, progress=AtThirdTile(lambda: scene.rename(hidden)))
    assert 3 <= count_tiles(out) < 12  # some of 20 were on their way
    hidden.rename(scene)
    assert (read(label(scene, out, **SMALL)) == expected).all()


def test_a_scene_that_changes_stops_the_run_and_its_new_content_is_refused(
    scene: Path, make_scene: SceneFactory, tmp_path: Path
) -> None:
    def change() -> None:
        make_scene(draw_landscape(300, 400, seed=1))

    with pytest.raises(SceneError, match="has changed since the run began"):
        label(scene, tmp_path / "out", **SMALL, progress=AtThirdTile(change), skip_unreadable=True)
    assert 3 <= count_tiles(tmp_path / "out") < 12
    with pytest.raises(Exception, match="holds another run"):
        label(scene, tmp_path / "out", **SMALL)


def spoil_block(path: Path, row: int, col: int) -> None:
    """Overwrite one block of 64 x 64 pixels."""
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"spoilt" * 20)


def test_a_tile_that_cannot_be_read_is_named_and_finished_ones_are_kept(
    scene: Path, tmp_path: Path
) -> None:
    def fail() -> None:
        times = scene.stat().st_atime_ns, scene.stat().st_mtime_ns
        spoil_block(scene, 4, 5)
        os.utime(scene, ns=times)  # as a failing disk does

    with pytest.raises(ReadError, match=r"tile 0000\d_0000\d: .*scene.tif: cannot read"):
        # In other processes, since this one keeps in memory what it read for the stretch.
        label(scene, tmp_path / "out", **SMALL, workers=2, progress=AtThirdTile(fail))
    assert 3 <= count_tiles(tmp_path / "out") < 20


def test_unreadable_tiles_are_skipped_on_request_and_recorded(scene: Path, tmp_path: Path) -> None:
    spoil_block(scene, 4, 5)
    told = RecordedProgress()
    outputs = label(scene, tmp_path / "out", **SMALL, skip_unreadable=True, progress=told)
    facts = json.loads(outputs.record_path.read_text())["scenes"][0]
    assert facts["unreadable_tiles"]
    assert all("cannot read" in reason for reason in facts["unreadable_tiles"].values())
    assert facts["coverage"]["unreadable_px"] > 0
    assert any("could not be read" in text for text in told.warnings)
    pixels = read(outputs)
    assert (pixels[4 * 64 : 5 * 64, 5 * 64 : 6 * 64] == 255).all()
    assert np.count_nonzero(pixels == 255) <= sum(
        facts["coverage"][f"{name}_px"] for name in ("unreadable", "no_mask", "gated", "outside")
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("count", [1, 2], ids=["SIGTERM", "Ctrl-C twice"])
def test_signals_stop_the_program_with_130(scene: Path, tmp_path: Path, count: int) -> None:
    process = subprocess.Popen(
        [*PROGRAM, str(scene), "-o", "out", *OPTIONS],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("tiles: "):
            break
    for _ in range(count):
        process.send_signal(signal.SIGTERM if count == 1 else signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of memory")
def test_too_little_memory_is_one_line(make_scene: SceneFactory, tmp_path: Path) -> None:
    pixels = np.kron(draw_landscape(150, 150), np.ones((40, 40, 1), np.uint8))
    path = make_scene(pixels, compress="lzw")
    result = subprocess.run(
        [*PROGRAM, str(path), "-o", "out", "--tile-size", "8192", *OPTIONS[4:8]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)),
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
