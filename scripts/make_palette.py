"""Compute the colours of `alps_geo.classes.palette`: run it, and paste what it prints.

Colours are chosen from an sRGB grid so that the smallest CIEDE2000 difference between any two is
as large as can be. The first 12 also stay apart as people with protanopia, deuteranopia and
tritanopia see them (Machado, Oliveira and Fernandes 2009, severity 1). Left out are colours
that look like paper, ink or the grey of unlabelled ground, and glaring ones, which hide the
rest of a map. `--swatch FILE` draws the result as a PNG.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

COUNT = 64
SAFE = 12
GREY = (0x88, 0x88, 0x88)
# Vegetation, water, sand and roof tiles: the largest classes get calm colours that suit land cover.
FIRST = ("#5a9e48", "#245a96", "#e8d48c", "#7c3424")
LIGHTNESS = (30.0, 86.0)
CHROMA = (18.0, 57.0)
FROM_GREY = 14.0

Array = NDArray[np.float64]
VISIONS: dict[str, Array] = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def parse_colors(colors: Sequence[str]) -> Array:
    """Return '#rrggbb' colours as sRGB from 0 to 1, shape (n, 3)."""
    return np.array([list(bytes.fromhex(color[1:])) for color in colors]) / 255


def see(rgb: Array, vision: str) -> Array:
    """Return sRGB colours as someone sees them, in CIELAB, shape (n, 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ VISIONS[vision].T, 0, 1)
    srgb = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab: Array = rgb2lab(srgb[None])[0]
    return lab


def differences(lab: Array, others: Array) -> Array:
    """Return the CIEDE2000 difference of every pair, shape (len(lab), len(others))."""
    delta: Array = deltaE_ciede2000(lab[:, None], others[None])
    return delta


def smallest_difference(colors: Sequence[str], vision: str = "normal") -> float:
    """Return the smallest CIEDE2000 difference between two of the colours."""
    lab = see(parse_colors(colors), vision)
    return float(differences(lab, lab)[np.triu_indices(len(lab), 1)].min())


def list_candidates(step: int) -> Array:
    """Return the colours of an sRGB grid that suit a map, shape (n, 3), from 0 to 1."""
    grid = np.array(list(itertools.product(range(0, 256, step), repeat=3))) / 255
    lab = see(grid, "normal")
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    grey = see(np.array([GREY]) / 255, "normal")
    fits = (lab[:, 0] >= LIGHTNESS[0]) & (lab[:, 0] <= LIGHTNESS[1])
    fits &= (chroma >= CHROMA[0]) & (chroma <= CHROMA[1])
    fits &= differences(lab, grey)[:, 0] >= FROM_GREY
    chosen: Array = grid[fits]
    return chosen


def spread(fixed: Array, candidates: Array, count: int, visions: Sequence[str]) -> Array:
    """Add candidates to the fixed colours until there are `count`, as far apart as can be.

    Farthest point first; then each added colour is moved where that widens its own smallest
    difference, until none moves.
    """
    views = [(see(candidates, vision), vision) for vision in visions]

    def apart(colors: Array) -> Array:
        parts = [differences(lab, see(colors, vision)).min(axis=1) for lab, vision in views]
        return np.asarray(np.min(parts, axis=0))

    colors = fixed
    while len(colors) < count:
        colors = np.vstack([colors, candidates[apart(colors).argmax()]])
    for _ in range(20):
        before = colors.copy()
        for index in range(len(fixed), count):
            colors[index] = candidates[apart(np.delete(colors, index, axis=0)).argmax()]
        if (colors == before).all():
            break
    return order(colors, len(fixed), visions)


def order(colors: Array, start: int, visions: Sequence[str]) -> Array:
    """Sort the colours after the first `start` so that every beginning is spread out."""
    tables = [differences(see(colors, vision), see(colors, vision)) for vision in visions]
    table = np.min(tables, axis=0)
    chosen = list(range(start))
    while len(chosen) < len(colors):
        gap = table[:, chosen].min(axis=1)
        gap[chosen] = -1
        chosen.append(int(gap.argmax()))
    return colors[chosen]


def make_palette() -> list[str]:
    """Return the 64 colours as '#rrggbb'."""
    candidates = list_candidates(step=12)
    safe = spread(parse_colors(FIRST), candidates, SAFE, list(VISIONS))
    colors = spread(safe, candidates, COUNT, ["normal"])
    return ["#" + bytes(row).hex() for row in np.rint(colors * 255).astype(np.uint8)]


def draw_swatch(colors: Sequence[str], path: str) -> None:
    """Write a PNG of the colours, eight in a row."""
    squares = parse_colors(colors).reshape(-1, 8, 3)
    image = np.kron((squares * 255).astype(np.uint8), np.ones((40, 60, 1), np.uint8))
    Image.fromarray(image).save(path)


def main() -> None:
    """Print the palette and how far apart its colours are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swatch", metavar="FILE")
    options = parser.parse_args()
    colors = make_palette()
    lines = [f"# all {COUNT}: {smallest_difference(colors):.1f}"]
    for vision in VISIONS:
        lines.append(f"# first {SAFE}, {vision}: {smallest_difference(colors[:SAFE], vision):.1f}")
    lines += [f'    "{color}",' for color in colors]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.swatch:
        draw_swatch(colors, options.swatch)


if __name__ == "__main__":
    main()
