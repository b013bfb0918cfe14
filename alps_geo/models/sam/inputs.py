"""Images as SAM's encoder takes them: scaled to its size, normalised, padded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class ImageFrame:
    """Where an image lies in the encoder's square input.

    Attributes
    ----------
    height, width : int
        Of the image.
    side : int
        Of the input.
    used : tuple of int
        Height and width of the scaled image in the input; the rest is padding.
    """

    height: int
    width: int
    side: int
    used: tuple[int, int]

    @classmethod
    def of(cls, sam: Sam, size: tuple[int, int]) -> ImageFrame:
        """Fit an image of (height, width) into a model's input, the long side filling it."""
        side = int(sam.image_encoder.img_size)
        scale = side / max(size)
        height, width = (max(1, int(length * scale + 0.5)) for length in size)
        return cls(*size, side, (height, width))

    def to_input(self, points: NDArray[np.float64], device: torch.device) -> Tensor:
        """Turn points (x, y) of the image into points of the input.

        Parameters
        ----------
        points : ndarray of float64, shape (n, 2)
        device : torch.device
        """
        scaled = points * np.array([self.used[1] / self.width, self.used[0] / self.height])
        # Apple's GPUs know no float64; elsewhere the original's numbers are kept to the last bit.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return torch.as_tensor(scaled, dtype=dtype, device=device)


def scale_image(sam: Sam, image: NDArray[np.uint8]) -> Tensor:
    """Scale an image (height, width, 3) so that its long side fills the model's input.

    Returns
    -------
    Tensor of uint8, shape (1, 3, rows, cols)
        On the model's device.
    """
    frame = ImageFrame.of(sam, image.shape[:2])
    size = (frame.used[1], frame.used[0])
    # As torchvision's resize of a PIL image, which the original calls: antialiased bilinear.
    scaled = Image.fromarray(image)
    if scaled.size != size:
        scaled = scaled.resize(size, Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(scaled))
    if sam.device.type == "cuda":
        # From pinned memory the copy runs beside what the GPU is doing.
        pixels = pixels.pin_memory()
    pixels = pixels.to(sam.device, non_blocking=True)
    return pixels.permute(2, 0, 1)[None].contiguous()


def normalise(sam: Sam, image: NDArray[np.uint8]) -> Tensor:
    """Make the encoder's input of an image, shape (1, 3, side, side)."""
    normed: Tensor = sam.preprocess(scale_image(sam, image))
    return normed


def normalise_as_authors(sam: Sam, image: NDArray[np.uint8]) -> Tensor:
    """Make the input that the authors of ALPS give the encoder for features.

    Blue, green, red, scaled to [0, 1], without the colour statistics SAM was trained with. Theirs
    works for square images only; others are padded here as SAM pads them.
    """
    side = sam.image_encoder.img_size
    scaled = scale_image(sam, image).flip(1).float() / 255
    return functional.pad(scaled, (0, side - scaled.shape[3], 0, side - scaled.shape[2]))
