"""Damaged copies of real files: labelled or refused in one line; no crash, hang or wrong result.

Each batch of damages runs in a process of its own, with a model that finds little: what matters
here is reading. Every test run tries 50, `python -m tests.test_corruptions` tries 500 and prints
how many came out how.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio

from alps_geo.errors import AlpsGeoError, ReadError, SceneError
from alps_geo.pipeline import label
from alps_geo.scenes.scene import open_scene
from alps_geo.settings import SceneSettings

ODD = Path(__file__).resolve().parents[2] / "shared" / "data" / "odd"
SOURCES = (
    "cog_jpeg_ycbcr_mask.tif",
    "alpha_mostly_empty.tif",
    "band_order_bgra_uint16.tif",
    "bigtiff_rgb.tif",
    "grey_hillshade.tif",
    "naip_4band_5m.tif",
    "nocrs_16bit_rgb.tiff",
    "rgba_alpha.tif",
)
DAMAGES = ("truncate", "flip", "zero", "head", "swap")
SECONDS = 60
BATCH = 25


def damage(content: bytes, seed: int) -> tuple[str, bytes]:
    """Return the kind of damage, and the damaged content."""
    rng = random.Random(seed)
    kind, size = DAMAGES[seed % len(DAMAGES)], len(content)
    spoilt = bytearray(content)
    if kind == "truncate":
        return kind, bytes(spoilt[: rng.randrange(size)])
    if kind == "flip":
        for _ in range(rng.choice([1, 10, 100])):
            spoilt[rng.randrange(size)] ^= 1 << rng.randrange(8)
    if kind == "zero":
        start = rng.randrange(size)
        stop = min(size, start + rng.choice([16, 512, 4096]))
        spoilt[start:stop] = bytes(stop - start)
    if kind == "head":  # the header is where a flipped bit does most
        for _ in range(rng.choice([1, 3, 8])):
            spoilt[rng.randrange(min(size, 600))] ^= 1 << rng.randrange(8)
    if kind == "swap":
        length = size // 8
        one, two = rng.randrange(size - length), rng.randrange(size - length)
        spoilt[one : one + length] = content[two : two + length]
    return kind, bytes(spoilt)


def try_one(path: Path, out: Path) -> str:
    """Label a file, and return how it ended."""
    try:
        scene = open_scene(str(path), SceneSettings())
        # A header that claims thousands of times more pixels is work, not a wrong result.
        if scene.grid.height * scene.grid.width > 4_000_000:
            return "too large to try"
        outputs = label(
            path, out, model="fake", n_classes=2, tile_size=512, overlap=64, skip_unreadable=False
        )
    except ReadError:
        return "refused: cannot be read"
    except SceneError:
        return "refused: no such scene"
    except AlpsGeoError as error:
        return f"refused: {type(error).__name__}"
    with rasterio.open(outputs.label_paths[0]) as file:
        pixels = file.read(1)
    facts = json.loads(outputs.record_path.read_text())["scenes"][0]["coverage"]
    right = pixels.shape == (scene.grid.height, scene.grid.width)
    right &= int(np.count_nonzero(pixels != file.nodata)) == facts["labelled_px"]
    return "labelled" if right else "WRONG"


def run_batch(first: int, count: int) -> None:
    """Try some damages, and print an outcome per line."""
    contents = [(ODD / name).read_bytes() for name in SOURCES if (ODD / name).exists()]
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            kind, content = damage(contents[seed % len(contents)], seed)
            path, began = Path(folder) / f"{seed}.tif", time.monotonic()
            path.write_bytes(content)
            print(f"{seed} {kind} begun", flush=True)
            outcome = try_one(path, Path(folder) / f"out{seed}")
            if time.monotonic() - began > SECONDS:
                outcome = "HANG"
            print(f"{seed} {kind} {outcome}", flush=True)
            path.unlink()


def run_batches(count: int) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Return how many damages of each kind came out how, and what went wrong."""
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong = []
    for first in range(0, count, BATCH):
        command = [sys.executable, "-m", "tests.test_corruptions", str(first), str(BATCH)]
        result = subprocess.run(
            command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=1500
        )
        lines = [line.split(" ", 2) for line in result.stdout.splitlines()]
        ended = [(kind, outcome) for _, kind, outcome in lines if outcome != "begun"]
        outcomes.update(ended)
        wrong += [f"{first}+: {pair}" for pair in ended if pair[1].isupper()]
        if result.returncode or len(ended) != BATCH:
            wrong.append(f"{lines[-1:]} exit code {result.returncode}: {result.stderr[-800:]}")
    return outcomes, wrong


@pytest.mark.slow
def test_damaged_files_are_labelled_or_refused(shared_data: Path) -> None:
    outcomes, wrong = run_batches(50)
    assert wrong == []
    assert sum(outcomes.values()) == 50


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_batch(int(sys.argv[1]), int(sys.argv[2]))
    else:
        found, failures = run_batches(500)
        for (kind, outcome), number in sorted(found.items()):
            print(f"{kind:9} {outcome:28} {number:4}")
        print("\n".join(failures) or "nothing went wrong")
