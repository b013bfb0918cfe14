"""DINOv2: Meta's vision transformers, for features; timm provides them, Meta the weights.

Sources: arXiv 2304.07193; timm's `vit_small_patch14_dinov2` and `vit_base_patch14_dinov2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..errors import ModelError
from .sam.checkpoint import read_state

#: Side of a token in pixels, and of the image that the position embedding was trained for.
PATCH, SIDE = 14, 518
#: Mean and deviation of the training images' colours, from 0 to 255.
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
#: Width and depth -> our name and timm's.
_KNOWN = {
    (384, 12): ("dinov2-s", "vit_small_patch14_dinov2"),
    (768, 12): ("dinov2-b", "vit_base_patch14_dinov2"),
}


def recognise(state: Mapping[str, Tensor]) -> str:
    """Return the name of the DINOv2 network that tensors make up; empty where they are no such.

    Parameters
    ----------
    state : mapping of str to Tensor
        As in Meta's files.
    """
    if not {"mask_token", "pos_embed", "patch_embed.proj.weight"} <= state.keys():
        return ""
    width, patch = state["patch_embed.proj.weight"].shape[::3]
    depth = len([key for key in state if key.endswith(".attn.qkv.weight")])
    plain = patch == PATCH and "register_tokens" not in state
    return _KNOWN.get((width, depth), ("", ""))[0] if plain else ""


class DinoV2:
    """What a DINOv2 network says of every place of an image.

    Parameters
    ----------
    path : Path
        Meta's file, or one with the same tensors.
    name : str
        `dinov2-s` or `dinov2-b`: what the file should hold.
    device : torch.device
    precision : str
        `fp32` or `bf16`.

    Attributes
    ----------
    device : torch.device

    Raises
    ------
    ModelError
        If the file is damaged, or holds something else.
    """

    def __init__(self, path: Path, name: str, device: torch.device, precision: str) -> None:
        # Imported here, because it takes a second, and is in an extra of its own.
        from timm import create_model

        state = dict(read_state(path))
        if recognise(state) != name:
            raise ModelError(f"{path} does not hold {name}; run `download({name})` again")
        # It stands for what is hidden in training.
        del state["mask_token"]
        timms = dict(_KNOWN.values())[name]
        self._network: Any = create_model(timms, pretrained=False, num_classes=0, img_size=SIDE)
        try:
            self._network.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ModelError(f"{path} is not a whole {name} checkpoint: {reason}") from error
        self._network.requires_grad_(False).eval().to(device)
        self.device, self._precision = device, precision

    @torch.inference_mode()
    def tokens(self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the tokens of images, scaled to length 1.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (n, 3, `SIDE`, `SIDE`)
            Red, green and blue.
        valid : ndarray of bool, shape (n, `SIDE`, `SIDE`)
            Other pixels have the mean colour of the training images.

        Returns
        -------
        ndarray of float32, shape (n, width, `SIDE` / `PATCH`, `SIDE` / `PATCH`)
        """
        mean, std = (
            torch.tensor(part, device=self.device).view(-1, 1, 1) for part in (_MEAN, _STD)
        )
        there = torch.from_numpy(valid).to(self.device)[:, None]
        images = (torch.from_numpy(pixels).to(self.device).float() - mean) / std * there
        with self._arithmetic():
            found = self._network.forward_features(images)[:, 1:]
        found = functional.normalize(found.float(), dim=2)
        side = SIDE // PATCH
        planes: NDArray[np.float32] = found.mT.reshape(len(pixels), -1, side, side).cpu().numpy()
        return planes

    def _arithmetic(self) -> AbstractContextManager[None]:
        reduced = self._precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=reduced)
