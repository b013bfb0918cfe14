"""The number of classes that each way of `n_classes=auto` finds, and what it is worth.

    python benchmarks/k.py [DATA] [--scenes NAME …] [-k 8 16 32] [--method stability dp]
                           [--runs DIR] [--seed N …]

DATA has a folder per scene with an `image.tif` and reference classes in `labels.tif`; the default
is ../shared/data beside the repository. Every scene is labelled once by the built-in model (in
DIR, where it is found again), and classed anew with each number and way. Printed are the number,
how sure it is, the time, and mean IoU where each class stands for the reference class that most of
its pixels have (many-to-one), and where each stands for one at most (Hungarian).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import alps_geo

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
SCENES = ("dubai_tile2", "dubai_tile5", "zion_landsat8", "kampala_drone")


def main() -> int:
    """Print a row per scene, seed and number."""
    arguments = _parse()
    with tempfile.TemporaryDirectory() as scratch:
        runs = arguments.runs or Path(scratch)
        print(
            f"{'scene':16}{'asked':>12}{'seed':>6}{'k':>5}{'sure':>7}{'s':>7}{'m2o':>8}{'hung':>8}"
        )
        for scene in arguments.scenes:
            folder = arguments.data / scene
            if not (folder / "labels.tif").is_file():
                print(f"{scene:16}  skipped: no {folder / 'labels.tif'}")
                continue
            out = runs / scene
            options = {"model": "builtin", "bands": (1, 2, 3), "progress": False}
            if not (out / "run.json").is_file():
                alps_geo.label(folder / "image.tif", out, n_classes=16, **options)
            for seed in arguments.seed:
                for asked in [*arguments.method, *arguments.k]:
                    _print_row(scene, out, folder / "labels.tif", asked, seed)
    return 0


def _print_row(scene: str, out: Path, truth: Path, asked: str | int, seed: int) -> None:
    method = {"n_classes": "auto", "k_method": asked} if isinstance(asked, str) else {}
    began = time.perf_counter()
    run = alps_geo.classify(out, **{"n_classes": asked, "seed": seed, **method}, progress=False)
    spent = time.perf_counter() - began
    curve = run.record.get("k_curve")
    sure = "" if curve is None else f"{curve['sure']:.0%}"
    measures = alps_geo.evaluate(run, truth, progress=False).measures
    scores = f"{measures['miou']:8.3f}{measures['miou_hungarian']:8.3f}"
    k = len(run.classes)
    print(f"{scene:16}{asked!s:>12}{seed:6}{k:5}{sure:>7}{spent:7.1f}{scores}", flush=True)
    if curve is not None:
        names = ("k", "score") if "k" in curve else ("scatters", "found")
        listed = zip(*(curve[name] for name in names), strict=True)
        print(f"{'':16}  " + "  ".join(f"{key:g}: {score:.2f}" for key, score in listed))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--scenes", nargs="+", default=SCENES, metavar="NAME")
    parser.add_argument("-k", nargs="+", type=int, default=[8, 16, 32], help="numbers of classes")
    parser.add_argument("--method", nargs="*", default=["stability", "dp"], help="ways to find it")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="keep the runs of scenes here")
    parser.add_argument("--seed", nargs="+", type=int, default=[0], metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
