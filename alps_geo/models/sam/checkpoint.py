"""What a SAM checkpoint file holds: its tensors, its architecture, and the model built from both.

The architecture is read from the tensors' names and shapes, so that any file of Meta's models,
of another depth too, works without being told what it is.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from ...errors import ModelError
from .mobile import MOBILE_SAM, TinyEncoder, TinySizes, is_mobile, recognise_tiny, rename

State = Mapping[str, torch.Tensor]
#: Colour statistics of SAM's training images; checkpoints do not carry them.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
_NAMES = {(768, 12): "sam-vit-b", (1024, 24): "sam-vit-l", (1280, 32): "sam-vit-h"}
_READ_ERRORS = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Architecture:
    """The sizes of a SAM model with a plain vision transformer.

    Attributes
    ----------
    name : str
        `sam-vit-b`, `-l`, `-h`, or `sam-vit-<width>x<depth>` for other sizes.
    image_size, patch_size, window_size : int
        Side of the input in pixels, of a token in pixels, of an attention window in tokens.
    width, depth, heads : int
        Of the encoder.
    global_blocks : tuple of int
        Blocks that attend to the whole image.
    channels, mlp_width : int
        Of the decoder; `channels` is also the length of an embedding.
    decoder_depth : int
        Layers of the decoder's transformer.
    tiny : TinySizes, optional
        Of the encoder of a MobileSAM, which has no width, heads and blocks of its own.
    """

    name: str
    image_size: int
    patch_size: int
    window_size: int
    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    channels: int
    mlp_width: int
    decoder_depth: int
    tiny: TinySizes | None = None


def load_sam(path: Path, *, name: str | None = None) -> tuple[Sam, str]:
    """Read a checkpoint and build its model, on the CPU, ready to run.

    Parameters
    ----------
    path : Path
    name : str, optional
        The model that the file should hold.

    Returns
    -------
    sam : segment_anything.modeling.Sam
    name : str
        What the file holds.

    Raises
    ------
    ModelError
        If the file is missing, damaged, no SAM checkpoint, or holds another model than `name`.
    """
    state = read_state(path)
    found = recognise(state, path)
    if name is not None and found.name != name:
        raise ModelError(
            f"{path} holds {found.name}, not {name}; choose `model={found.name}` or `model=auto`"
        )
    return build_sam(state, found, path), found.name


def read_state(path: Path) -> State:
    """Read a checkpoint's tensors without running any code that the file may hold.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or not a checkpoint.
    """
    if not path.is_file():
        raise ModelError(f"there is no checkpoint file {path}")
    try:
        # torch's reader of other formats fails in every thinkable way on files that are none.
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _READ_ERRORS as error:
        raise ModelError(
            f"{path} cannot be read as a checkpoint: it is damaged, cut short or another kind of"
            " file; download it again"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise ModelError(f"{path} holds no table of tensors, so it is not a SAM checkpoint")
    return content


def recognise(state: State, path: Path) -> Architecture:
    """Tell a SAM architecture from the names and shapes of its tensors.

    Parameters
    ----------
    state : mapping of str to Tensor
    path : Path
        Where they come from, for the error.

    Raises
    ------
    ModelError
        If they are not the tensors of a SAM model.
    """
    try:
        return _recognise(state)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{path} is not a SAM checkpoint that can be used here (vit_b, vit_l, vit_h or"
            f" MobileSAM): {error}"
        ) from error


def _recognise(state: State) -> Architecture:
    return _recognise_mobile(state) if is_mobile(state) else _recognise_plain(state)


def _recognise_mobile(state: State) -> Architecture:
    tiny = recognise_tiny(state)
    official = (tiny.widths, tiny.depths) == (MOBILE_SAM.widths, MOBILE_SAM.depths)
    return Architecture(
        name="mobile-sam" if official else f"mobile-sam-{tiny.widths[-1]}x{sum(tiny.depths)}",
        # The tensors do not tell: TinyViT takes images of any size, MobileSAM those of SAM.
        image_size=1024,
        patch_size=16,
        window_size=0,
        width=0,
        depth=0,
        heads=0,
        global_blocks=(),
        channels=tiny.channels,
        mlp_width=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        decoder_depth=_count(state, "mask_decoder.transformer.layers."),
        tiny=tiny,
    )


def _recognise_plain(state: State) -> Architecture:
    width, _, patch, _ = state["image_encoder.patch_embed.proj.weight"].shape
    side = state["image_encoder.pos_embed"].shape[1]
    depth = _count(state, "image_encoder.blocks.")
    relative = [state[f"image_encoder.blocks.{block}.attn.rel_pos_h"] for block in range(depth)]
    reach = [(table.shape[0] + 1) // 2 for table in relative]
    whole = tuple(block for block in range(depth) if reach[block] == side)
    windows = {size for size in reach if size != side}
    if len(windows) > 1:
        raise ValueError(f"windows of several sizes: {sorted(windows)}")
    return Architecture(
        name=_NAMES.get((width, depth), f"sam-vit-{width}x{depth}"),
        image_size=side * patch,
        patch_size=patch,
        window_size=windows.pop() if windows else 0,
        width=width,
        depth=depth,
        heads=width // relative[0].shape[1],
        global_blocks=whole,
        channels=state["image_encoder.neck.0.weight"].shape[0],
        mlp_width=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        decoder_depth=_count(state, "mask_decoder.transformer.layers."),
    )


def _count(state: State, prefix: str) -> int:
    numbers = {int(key[len(prefix) :].split(".")[0]) for key in state if key.startswith(prefix)}
    if not numbers:
        raise KeyError(f"{prefix}0")
    return max(numbers) + 1


def build_sam(state: State, sizes: Architecture, path: Path) -> Sam:
    """Build a model from its tensors.

    Raises
    ------
    ModelError
        If tensors are missing, or of another shape than the architecture needs.
    """
    if sizes.tiny is None:
        # Parameters made on the meta device cost nothing; the file's tensors take their place.
        with torch.device("meta"):
            sam = assemble(sizes)
    else:
        # TinyViT computes tables when it is made, so it must be made for real; it is small.
        sam, state = assemble(sizes), rename(state)
    try:
        tensors = {
            key: value.float() if value.is_floating_point() else value
            for key, value in state.items()
        }
        sam.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f"{path} is not a whole {sizes.name} checkpoint: {reason}") from error
    sam.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(-1, 1, 1), persistent=False)
    sam.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(-1, 1, 1), persistent=False)
    sam.requires_grad_(False)
    return sam.eval()


def assemble(sizes: Architecture) -> Sam:
    """Return a model of these sizes with random weights."""
    if sizes.tiny is None:
        encoder: torch.nn.Module = _image_encoder(sizes)
    else:
        encoder = TinyEncoder(sizes.tiny, sizes.image_size)
    return Sam(encoder, _prompt_encoder(sizes), _mask_decoder(sizes))


def _image_encoder(sizes: Architecture) -> ImageEncoderViT:
    return ImageEncoderViT(
        depth=sizes.depth,
        embed_dim=sizes.width,
        img_size=sizes.image_size,
        mlp_ratio=4,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=sizes.heads,
        patch_size=sizes.patch_size,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=sizes.global_blocks,
        window_size=sizes.window_size,
        out_chans=sizes.channels,
    )


def _prompt_encoder(sizes: Architecture) -> PromptEncoder:
    side = sizes.image_size // sizes.patch_size
    return PromptEncoder(
        embed_dim=sizes.channels,
        image_embedding_size=(side, side),
        input_image_size=(sizes.image_size, sizes.image_size),
        mask_in_chans=16,
    )


def _mask_decoder(sizes: Architecture) -> MaskDecoder:
    return MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(
            depth=sizes.decoder_depth,
            embedding_dim=sizes.channels,
            mlp_dim=sizes.mlp_width,
            num_heads=8,
        ),
        transformer_dim=sizes.channels,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
