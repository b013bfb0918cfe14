"""Time and peak memory of runs of growing size: `scale.py SOURCE... [--sides 3000 12000 30000]`.

Makes square scenes of real pixels: pieces of the sources, mirrored and moved at random, so that no
two tiles are alike. Each run is a process of its own, whose memory is sampled; a stage's memory
is the largest sample while it ran. All work is in that process: `--workers 1`. Seconds are those of
the processor, which other jobs on the machine change less than the clock's.

With `--repeat` the scene repeats itself every three tiles, and the mask model is asked once per
distinct tile: all that is outside of the mask model at full size, in minutes instead of hours. The
time it would have taken for the other tiles is added in proportion to their pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import psutil
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from alps_geo.models import load_model
from alps_geo.models.masks import Embedding, MaskModel, Masks
from alps_geo.pipeline import label
from alps_geo.progress import NoProgress
from alps_geo.scenes.spans import Spans
from alps_geo.settings import Settings

PIECE = 768  # the step from tile to tile
PERIOD = 3
MB = 1 << 20
Stages = dict[str, dict[str, float]]


def make_scene(sources: list[Path], side: int, target: Path, *, repeat: bool) -> None:
    """Write a square scene of pieces of the sources, piece by piece."""
    rng = np.random.default_rng(side if not repeat else 0)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "crs": "EPSG:32640"}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw"}
    place = rasterio.Affine(0.3, 0, 320000, 0, -0.3, 2780000)
    size = {"height": side, "width": side, "transform": place, "bigtiff": "if_safer"}
    pieces = [piece for source in sources for piece in read_pieces(source)]
    chosen: dict[tuple[int, int], NDArray[np.uint8]] = {}
    with rasterio.open(target, "w", **profile, **layout, **size) as scene:
        for row in range(0, side, PIECE):
            for col in range(0, side, PIECE):
                place_of = (row // PIECE % PERIOD, col // PIECE % PERIOD)
                if not repeat or place_of not in chosen:
                    down, right = rng.choice([1, -1], 2)
                    chosen[place_of] = pieces[rng.integers(len(pieces))][:, ::down, ::right]
                height, width = min(PIECE, side - row), min(PIECE, side - col)
                cut = chosen[place_of][:, :height, :width]
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


class WatchedModel:
    """Asks another model, adds up its processor time, and may ask once per distinct tile only.

    What was found is kept on disk, so that it does not count as memory of the run.
    """

    def __init__(self, model: MaskModel, folder: Path | None) -> None:
        self.model, self.folder = model, folder
        self.name, self.checksum = model.name, model.checksum
        # Meanwhile other threads read and write tiles; the built-in model needs this one only.
        self.clock = time.thread_time if model.name == "builtin" else time.process_time
        self.seconds = 0.0
        self.asked = self.shown = 0

    def segment(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> tuple[Masks, Embedding]:
        """Return what the other model finds, or found in the same pixels."""
        self.shown += valid.size
        if self.folder is None:
            return self._ask(pixels, valid)
        path = self.folder / f"{zlib.crc32(pixels.tobytes()):08x}_{pixels.shape[0]}.npz"
        if not path.exists():
            masks, embedding = self._ask(pixels, valid)
            columns = {**vars(masks), **vars(embedding), "offsets": masks.spans.offsets}
            np.savez(path, **{**columns, "spans": masks.spans.values})
        found = np.load(path)
        spans = Spans(found["offsets"], found["spans"])
        masks = Masks(spans, *(found[name] for name in ("predicted_iou", "stability", "points")))
        names = tuple(found["names"].tolist())
        embedding = Embedding(found["values"], float(found["stride"]), names, found["weights"])
        return masks, embedding

    def _ask(self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> tuple[Masks, Embedding]:
        began = self.clock()
        found = self.model.segment(pixels, valid)
        self.seconds += self.clock() - began
        self.asked += valid.size
        return found


class Lines:
    """Prints each stage as a line."""

    def stage(self, name: str) -> None:
        """Print it."""
        print(name, flush=True)

    def step(self, done: int, total: int) -> None:
        """Print nothing."""

    def message(self, text: str) -> None:
        """Print nothing."""

    warning = message


def run_here(scene: Path, out: Path, model: str, features: str, *, repeat: bool) -> None:
    """Label a scene in this process."""
    settings = Settings.from_options(model=model, features=features)
    inner = load_model(settings, NoProgress())
    with tempfile.TemporaryDirectory() as found:
        watched = WatchedModel(inner, Path(found) if repeat else None)
        label(scene, out, settings=settings, progress=Lines(), model=watched)
    facts = {name: getattr(watched, name) for name in ("seconds", "asked", "shown")}
    (out / "model.json").write_text(json.dumps(facts))


def measure(command: list[str]) -> Stages:
    """Run a command that prints stages, and return seconds and peak MB of each."""
    stages: Stages = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        # Not waiting for lines: memory is sampled between them.
        os.set_blocking(process.stdout.fileno(), False)
        watched = psutil.Process(process.pid)
        stage, began = "start", 0.0
        while process.poll() is None:
            entry = stages.setdefault(stage, {"seconds": 0.0, "peak_mb": 0.0})
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                entry["peak_mb"] = max(entry["peak_mb"], watched.memory_info().rss / MB)
                spent = watched.cpu_times()
                now = spent.user + spent.system
            for line in (process.stdout.read() or b"").split():
                stages.setdefault(stage, {"seconds": 0.0, "peak_mb": 0.0})["seconds"] += now - began
                stage, began = line.decode(), now
            time.sleep(0.02)
        stages[stage]["seconds"] += now - began
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return stages


def show(side: int, stages: Stages, model: dict[str, float]) -> tuple[float, float]:
    """Print a table of one run; return peak MB, and seconds per megapixel."""
    peak = max(item["peak_mb"] for item in stages.values())
    outside = sum(item["seconds"] for item in stages.values()) - model["seconds"]
    inside = model["seconds"] * model["shown"] / model["asked"]
    total, megapixels = outside + inside, side**2 / 1e6
    print(f"\n{side} x {side}: {total:.0f} s, {total / megapixels:.3f} s/Mpx, peak {peak:.0f} MB")
    if model["asked"] < model["shown"]:
        print(f"mask model: {model['seconds']:.0f} s for {model['asked'] / model['shown']:.1%}")
    rate = outside / megapixels
    print(f"outside of the mask model: {outside / total:.1%}, {rate:.3f} s/Mpx")
    for name, item in stages.items():
        print(f"  {name:10} {item['seconds']:8.1f} s {item['peak_mb']:8.0f} MB")
    return peak, total / megapixels


def main() -> None:
    """Measure each size, and compare the largest with the smallest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--sides", type=int, nargs="+", default=[3000, 12000, 30000])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--features", default="auto")
    parser.add_argument("--repeat", action="store_true")
    parser.add_argument("--folder", type=Path, help="where scenes and runs are kept")
    parser.add_argument("--here", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        run_here(*options.here, options.model, options.features, repeat=options.repeat)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        peaks, speeds = [], []
        for side in options.sides:
            name = f"{side}_repeat" if options.repeat else str(side)
            scene, out = folder / f"scale_{name}.tif", folder / f"out_{name}"
            if not scene.exists():
                make_scene(options.sources, side, scene, repeat=options.repeat)
            stages = measure([sys.executable, *sys.argv, "--here", str(scene), str(out)])
            peak, speed = show(side, stages, json.loads((out / "model.json").read_text()))
            peaks.append(peak)
            speeds.append(speed)
    print(f"\npeak, largest / smallest: {peaks[-1] / peaks[0]:.2f} (goal 1.25)")
    print(f"time per pixel, largest / smallest: {speeds[-1] / speeds[0]:.2f} (goal 0.85 to 1.15)")


if __name__ == "__main__":
    main()
