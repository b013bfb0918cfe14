"""MobileSAM: SAM's decoder behind a small image encoder, TinyViT, which timm provides.

The checkpoint's tensors keep their official names; here they get the names that timm's modules
have. Where TinyViT halves its grid for the last time, MobileSAM does not, so that the embedding
has SAM's size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from ...errors import ModelError

_PREFIX = "image_encoder."
#: Official names, as patterns, and what timm calls the same.
_RENAMED = (
    (r"^patch_embed\.seq\.0\.", "patch_embed.conv1."),
    (r"^patch_embed\.seq\.2\.", "patch_embed.conv2."),
    (r"^layers\.", "stages."),
    (r"\.c\.weight$", ".conv.weight"),
)
#: Of the classifier that TinyViT was trained with, and tables that are made anew.
_UNUSED = re.compile(r"^(norm_head|head)\.|attention_bias_idxs$")


@dataclass(frozen=True)
class TinySizes:
    """The sizes of a TinyViT.

    Attributes
    ----------
    widths, depths, heads, windows : tuple of int
        One number per stage; the first stage is of convolutions, its heads and window are 1.
    channels : int
        Of the embedding.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]
    channels: int


#: The sizes of the official MobileSAM.
MOBILE_SAM = TinySizes((64, 128, 160, 320), (2, 2, 6, 2), (1, 4, 5, 10), (1, 7, 14, 7), 256)


class TinyEncoder(nn.Module):
    """TinyViT and SAM's neck: images (n, 3, side, side) to embeddings.

    Parameters
    ----------
    sizes : TinySizes
    image_size : int
        Height and width of the images.

    Raises
    ------
    ModelError
        If timm is not installed.
    """

    def __init__(self, sizes: TinySizes, image_size: int) -> None:
        super().__init__()
        self.img_size = image_size
        body = _make_body(sizes)
        self.patch_embed, self.stages = body.patch_embed, body.stages
        self.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.neck = nn.Sequential(
            nn.Conv2d(sizes.widths[-1], sizes.channels, 1, bias=False),
            LayerNorm2d(sizes.channels),
            nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1, bias=False),
            LayerNorm2d(sizes.channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode images."""
        embedding: Tensor = self.neck(self.stages(self.patch_embed(images)))
        return embedding


def _make_body(sizes: TinySizes) -> Any:  # noqa: ANN401 - timm has no types
    try:
        from timm.models.tiny_vit import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            TinyVit,
        )
    except ImportError as error:
        raise ModelError("mobile-sam needs the package timm: pip install 'timm>=1.0'") from error
    return TinyVit(
        num_classes=0,
        embed_dims=sizes.widths,
        depths=sizes.depths,
        num_heads=sizes.heads,
        window_sizes=sizes.windows,
        drop_path_rate=0.0,
    )


def is_mobile(state: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors are those of a MobileSAM."""
    return f"{_PREFIX}patch_embed.seq.0.c.weight" in state


def recognise_tiny(state: Mapping[str, Tensor]) -> TinySizes:
    """Read the sizes of a TinyViT from its tensors, official names.

    Raises
    ------
    KeyError
        If one that is needed is not there.
    """
    widths = [state[f"{_PREFIX}patch_embed.seq.2.c.weight"].shape[0]]
    depths, heads, windows = [], [1], [1]
    stage = 0
    while blocks := _blocks(state, stage):
        depths.append(len(blocks))
        if stage > 0:
            prefix = f"{_PREFIX}layers.{stage}.blocks.0.attn"
            biases = state[f"{prefix}.attention_biases"]
            widths.append(state[f"{prefix}.proj.weight"].shape[0])
            heads.append(biases.shape[0])
            windows.append(math.isqrt(biases.shape[1]))
        stage += 1
    channels = state[f"{_PREFIX}neck.0.weight"].shape[0]
    return TinySizes(tuple(widths), tuple(depths), tuple(heads), tuple(windows), channels)


def _blocks(state: Mapping[str, Tensor], stage: int) -> set[str]:
    prefix = f"{_PREFIX}layers.{stage}.blocks."
    return {key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)}


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a MobileSAM's tensors under the names that `TinyEncoder` has for them."""
    renamed = {}
    for key, value in state.items():
        if not key.startswith(_PREFIX):
            renamed[key] = value
        elif not _UNUSED.search(name := key[len(_PREFIX) :]):
            # A stage's downsampling is its predecessor's last step in the official names.
            name = re.sub(
                r"^layers\.(\d+)\.downsample",
                lambda match: f"layers.{int(match[1]) + 1}.downsample",
                name,
            )
            for pattern, new in _RENAMED:
                name = re.sub(pattern, new, name)
            renamed[_PREFIX + name] = value
    return renamed
