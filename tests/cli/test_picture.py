"""The picture of the README, drawn from what a run has written."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_picture.py"


def test_the_picture_shows_scene_label_map_and_legend(small_scene, finished_run, tmp_path):
    target = tmp_path / "picture.png"
    subprocess.run(
        [sys.executable, SCRIPT, small_scene, finished_run[0], target, "--height", "150"],
        check=True,
        timeout=60,
    )
    with Image.open(target) as picture:
        assert picture.width == 2 * 200 + 12
        assert picture.height > 150
        pixels = picture.convert("RGB")
        scene_colors = pixels.crop((0, 0, 200, 150)).getcolors(40000)
        label_colors = pixels.crop((212, 0, 412, 150)).getcolors(40000)
    assert len(label_colors) == 5  # the classes, and nothing between them
    assert len(scene_colors) > 100
