"""Makes `alps_geo/features/cnn_projection.safetensors`: `make_cnn_projection.py IMAGE...`.

The projection turns the layers of EfficientNet-Lite0 into the columns of the features `cnn`: each
cell of a layer scaled to length 1, each layer to unit total variance, then the first principal
components of all of them together, over cells drawn from the images, as many from each, less the
image's mean: what tells places of one scene apart counts, not what tells scenes apart. The shipped
one was made from images that may be used for anything, or with their source named:

dubai.tif                        examples/ of this repository: Humans in the Loop, MBRSC; CC0
m_4709963_se_14_1_20150926.tif   opengeos/data, naip/: NAIP, USDA; public domain
2020.tif                         opengeos/data, landsat/: Landsat, USGS; public domain
OSBS_029.tif                     weecology/DeepForest, src/deepforest/data/: NEON's camera; MIT
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from alps_geo.features.cnn import find_weights
from alps_geo.features.efficientnet import TAPS, EfficientNetLite0
from alps_geo.features.layer_planes import STRIDE, align, normalised_layers, refine
from alps_geo.scenes.grid import Window
from alps_geo.scenes.scene import open_scene
from alps_geo.scenes.statistics import measure_stretch
from alps_geo.settings import SceneSettings

TARGET = Path(__file__).parents[1] / "alps_geo" / "features" / "cnn_projection.safetensors"
CELLS_EACH = 20_000


def main() -> None:
    """Fit the projection, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    parser.add_argument("--columns", type=int, default=48)
    options = parser.parse_args()
    network = EfficientNetLite0.load(find_weights(), torch.device("cpu"))
    drawn = [draw_cells(network, image) for image in sorted(options.images)]
    rows = np.concatenate([part - part.mean(axis=0) for part in drawn])
    tensors = fit(rows, np.mean([part.mean(axis=0) for part in drawn], axis=0), options.columns)
    save_file(tensors, options.output)
    share = float(np.square(tensors["weights"]).sum())
    print(f"{len(rows)} cells; {options.columns} columns keep {share:.2f} of the variance")


def draw_cells(network: EfficientNetLite0, image: str) -> NDArray[np.float64]:
    """Return layers side by side at random cells of an image, shape (n_cells, n_channels)."""
    scene = open_scene(image, SceneSettings())
    scene = scene.with_stretch(measure_stretch([scene]))
    pixels, valid = scene.read(Window(0, 0, scene.grid.height, scene.grid.width))
    aligned, _ = align(pixels, valid, (0, 0))
    parts = [
        refine(cells, TAPS[number][1] // STRIDE).flatten(1).numpy()
        for number, cells in normalised_layers(network, torch.from_numpy(aligned))
    ]
    centres = np.zeros(aligned.shape[1:], bool)
    centres[: valid.shape[0], : valid.shape[1]] = valid
    usable = np.flatnonzero(centres[STRIDE - 1 :: STRIDE, STRIDE - 1 :: STRIDE])
    chosen = np.random.default_rng(0).choice(usable, CELLS_EACH)
    return np.concatenate([part[:, chosen] for part in parts]).T.astype(np.float64)


def fit(
    rows: NDArray[np.float64], mean: NDArray[np.float64], columns: int
) -> dict[str, NDArray[np.float32]]:
    """Return the projection's tensors, as `LayerPlanes` takes them.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_cells, n_channels)
        Cells less their image's mean.
    mean : ndarray of float64, shape (n_channels,)
        Becomes the planes' zero.
    columns : int
    """
    ends = np.cumsum([channels for channels, _ in TAPS.values()])[:-1]
    scales = np.concatenate(
        [
            np.full(part.shape[1], 1 / np.sqrt(part.var(axis=0).sum()))
            for part in np.split(rows, ends, axis=1)
        ]
    )
    sizes, directions = np.linalg.eigh(np.cov(rows * scales, rowvar=False))
    sizes, directions = sizes[::-1][:columns], directions[:, ::-1][:, :columns]
    # A direction has no sign of its own.
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(columns)])
    projection = (directions * scales[:, None]).T
    tensors = {
        "offset": projection @ mean,
        "weights": np.sqrt(sizes / len(TAPS)),
        **{
            f"layer_{number}": part
            for number, part in zip(TAPS, np.split(projection, ends, axis=1), strict=True)
        },
    }
    return {name: np.ascontiguousarray(part, np.float32) for name, part in tensors.items()}


if __name__ == "__main__":
    main()
