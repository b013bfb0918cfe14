"""Time and peak memory of runs of growing size: `scale.py SOURCE... [--sides 3000 12000 30000]`.

Makes square scenes of real pixels: the sources' windows, each mirrored and moved at random, so that
no two tiles are alike. Each run is a process of its own, whose resident memory is sampled; a stage's
memory is the largest sample while it ran. `--workers 1`, so that all work is in that process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

PIECE = 750
MB = 1 << 20


def make_scene(sources: list[Path], side: int, target: Path) -> None:
    """Write a square scene of pieces of the sources, piece by piece."""
    rng = np.random.default_rng(side)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "crs": "EPSG:32640"}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw"}
    place = rasterio.Affine(0.3, 0, 320000, 0, -0.3, 2780000)
    size = {"height": side, "width": side, "transform": place, "bigtiff": "if_safer"}
    pieces = [piece for source in sources for piece in read_pieces(source)]
    with rasterio.open(target, "w", **profile, **layout, **size) as scene:
        for row in range(0, side, PIECE):
            for col in range(0, side, PIECE):
                piece = pieces[rng.integers(len(pieces))]
                flips = (slice(None), *(slice(None, None, step) for step in rng.choice([1, -1], 2)))
                height, width = min(PIECE, side - row), min(PIECE, side - col)
                cut = piece[flips][:, :height, :width]
                scene.write(cut, window=Window(col, row, width, height))


def read_pieces(source: Path) -> list[NDArray[np.uint8]]:
    """Return the whole pieces of a source, each of shape (3, PIECE, PIECE)."""
    with rasterio.open(source) as image:
        windows = [
            Window(col, row, PIECE, PIECE)
            for row in range(0, image.height - PIECE + 1, PIECE)
            for col in range(0, image.width - PIECE + 1, PIECE)
        ]
        return [image.read([1, 2, 3], window=window) for window in windows]


def measure(scene: Path, out: Path, model: str) -> dict[str, dict[str, float]]:
    """Label a scene, and return seconds and peak MB of each stage."""
    command = [sys.executable, "-m", "alps_geo.cli", "label", str(scene), "-o", str(out)]
    command += ["--model", model, "--progress", "json"]
    stages: dict[str, dict[str, float]] = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        watched = psutil.Process(process.pid)
        # Without waiting for lines: memory is sampled between them.
        os.set_blocking(process.stdout.fileno(), False)
        stage, began, rest = "start", time.perf_counter(), b""
        while process.poll() is None:
            entry = stages.setdefault(stage, {"seconds": 0.0, "peak_mb": 0.0})
            try:
                entry["peak_mb"] = max(entry["peak_mb"], watched.memory_info().rss / MB)
            except psutil.NoSuchProcess:
                break
            *lines, rest = (rest + (process.stdout.read() or b"")).split(b"\n")
            for event in map(json.loads, filter(None, lines)):
                if event["event"] == "stage":
                    now = time.perf_counter()
                    stages[stage]["seconds"] += now - began
                    stage, began = event["name"], now
                    stages.setdefault(stage, {"seconds": 0.0, "peak_mb": 0.0})
            time.sleep(0.02)
        stages[stage]["seconds"] += time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"labelling {scene} failed with exit code {process.returncode}")
    return stages


def show(side: int, stages: dict[str, dict[str, float]], share: float) -> None:
    """Print a table of one run."""
    total = sum(item["seconds"] for item in stages.values())
    peak = max(item["peak_mb"] for item in stages.values())
    print(f"\n{side} x {side}: {total:.0f} s, {total / side**2 * 1e6:.3f} s/Mpx, peak {peak:.0f} MB")
    print(f"outside of the mask model: {share:.0%}")
    for name, item in stages.items():
        print(f"  {name:10} {item['seconds']:8.1f} s {item['peak_mb']:8.0f} MB")


def main() -> None:
    """Measure each size, and compare the largest with the smallest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--sides", type=int, nargs="+", default=[3000, 12000, 30000])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--folder", type=Path, help="where scenes and runs are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        peaks, speeds = [], []
        for side in options.sides:
            scene, out = folder / f"scale_{side}.tif", folder / f"out_{side}"
            if not scene.exists():
                make_scene(options.sources, side, scene)
            stages = measure(scene, out, options.model)
            record = json.loads((out / "run.json").read_text())
            masks = sum(item["tile_seconds"].get("masks", 0) for item in record["scenes"])
            total = sum(item["seconds"] for item in stages.values())
            show(side, stages, 1 - masks / total)
            peaks.append(max(item["peak_mb"] for item in stages.values()))
            speeds.append(total / side**2)
    print(f"\npeak, largest / smallest: {peaks[-1] / peaks[0]:.2f} (goal 1.25)")
    print(f"time per pixel, largest / smallest: {speeds[-1] / speeds[0]:.2f} (goal 0.85 to 1.15)")


if __name__ == "__main__":
    main()
