"""SAM's image encoder, computed in fewer steps; the weights stay in Meta's module.

Three rewrites, all exact up to the order of float additions:

* Padding tokens of the windowed blocks have keys and values equal to the projection's bias, so
  they are filled in instead of projected, and dropped before the output projection.
* Relative positions become a part of fused attention. On a CPU, `cpu.attention` adds them.
  Elsewhere, and for bfloat16 where a CPU has AMX, they are a mask in windows, and globally 2 x 64
  further channels: q gets [rel_h, rel_w] and k the row and column as one-hot codes, whose product
  is the very same sum.
* Tables of relative positions are laid out once, not for every image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from segment_anything.modeling import ImageEncoderViT, Sam
from segment_anything.modeling.image_encoder import Block, get_rel_pos
from torch import Tensor, nn
from torch.nn import functional

from ...errors import SettingsError
from .lanes import Lanes, runs_in_lanes

if TYPE_CHECKING:
    from .cpu import HeadAttention, WindowAttention


@dataclass(frozen=True)
class _Linear:
    """A linear layer's weights, in the number type that products are computed in."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, layer: nn.Linear, dtype: torch.dtype) -> _Linear:
        """Take over a layer's weights in another precision."""
        bias = None if layer.bias is None else layer.bias.to(dtype)
        return cls(layer.weight.to(dtype), bias)

    def __call__(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.weight, self.bias)


def _own_lanes(device: torch.device, dtype: torch.dtype) -> Lanes | None:
    """Return lanes for the attention of CPUs; None where PyTorch's attention is faster.

    That is on GPUs, and for bfloat16 on CPUs with AMX.
    """
    if not runs_in_lanes(device) or (
        dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported()
    ):
        return None
    return Lanes(device)


class _BlockRunner:
    """One transformer block of the encoder."""

    def __init__(self, block: Block, side: int, dtype: torch.dtype, lanes: Lanes | None) -> None:
        self._block = block
        self._window = block.window_size or side
        self._heads = block.attn.num_heads
        self._dtype = dtype
        self._qkv = _Linear.of(block.attn.qkv, dtype)
        self._proj = _Linear.of(block.attn.proj, dtype)
        self._widen = _Linear.of(block.mlp.lin1, dtype)
        self._narrow = _Linear.of(block.mlp.lin2, dtype)
        size = self._window
        self._scale = float(block.attn.scale)
        # Transposed: a row of q times this gives its bias for every row (column) of keys.
        number = dtype if lanes is None else torch.float32
        by_row = get_rel_pos(size, size, block.attn.rel_pos_h).to(number)
        by_col = get_rel_pos(size, size, block.attn.rel_pos_w).to(number)
        self._rel_rows, self._rel_cols = by_row.transpose(1, 2), by_col.transpose(1, 2)
        self._global: HeadAttention | None = None
        self._windows: WindowAttention | None = None
        if lanes is not None:
            self._compile(lanes, by_row, by_col)

    def _compile(self, lanes: Lanes, by_row: Tensor, by_col: Tensor) -> None:
        # Imported here because a GPU has no use for it.
        from .cpu import HeadAttention, WindowAttention

        if self._block.window_size:
            self._windows = WindowAttention(lanes, self._heads, by_row, by_col)
        else:
            self._global = HeadAttention(lanes, self._dtype)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Run the block on tokens (n, rows, cols, channels), which are changed."""
        block = self._block
        values = block.norm1(tokens).to(self._dtype)
        windowed = block.window_size > 0
        mixed = self._attend_in_windows(values) if windowed else self._attend_globally(values)
        tokens += self._proj(mixed)
        values = block.norm2(tokens).to(self._dtype)
        tokens += self._narrow(block.mlp.act(self._widen(values)))
        return tokens

    def _attend_in_windows(self, values: Tensor) -> Tensor:
        batch, height, width, channels = values.shape
        qkv, bias = self._qkv(values), self._qkv.bias
        if bias is None:
            bias = qkv.new_zeros(3 * channels)
        if self._windows is not None:
            own: Tensor = self._windows(qkv, bias, self._scale)
            return own
        size = self._window
        rows, cols = -(-height // size), -(-width // size)
        padded = values.new_empty(batch, rows * size, cols * size, 3 * channels)
        padded[:, :height, :width] = qkv
        padded[:, height:] = bias
        padded[:, :height, width:] = bias
        windows = padded.view(batch, rows, size, cols, size, 3, self._heads, -1)
        windows = windows.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(1, 3).contiguous()
        query, key, value = windows.flatten(3, 4)
        by_row, by_col = self._relative(windows[0])
        mask = (by_row[..., :, None] + by_col[..., None, :]).flatten(2, 3).flatten(3, 4)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask.flatten(3), scale=self._scale
        )
        mixed = mixed.view(batch, rows, cols, self._heads, size, size, -1)
        mixed = mixed.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows * size, cols * size, -1)
        return mixed[:, :height, :width]

    def _relative(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return each query's bias per row and per column of keys.

        Parameters
        ----------
        query : Tensor, shape (..., heads, height, width, channels)
        """
        by_row = query @ self._rel_rows
        by_col = (query.transpose(-3, -2) @ self._rel_cols).transpose(-3, -2)
        return by_row, by_col

    def _attend_globally(self, values: Tensor) -> Tensor:
        batch, height, width, _ = values.shape
        qkv = self._qkv(values).view(batch, height, width, 3, self._heads, -1)
        qkv = qkv.permute(3, 0, 4, 1, 2, 5).contiguous()
        by_row, by_col = self._relative(qkv[0].to(self._rel_rows.dtype))
        qkv = qkv.flatten(3, 4)
        if self._global is None:
            mixed = self._with_codes(qkv, by_row.flatten(2, 3), by_col.flatten(2, 3))
        else:
            mixed = self._global(qkv, self._scale, by_row, by_col)
        return mixed.transpose(1, 2).reshape(batch, height, width, -1)

    def _with_codes(self, qkv: Tensor, by_row: Tensor, by_col: Tensor) -> Tensor:
        query, key, value = qkv
        height, width = by_row.shape[-1], by_col.shape[-1]
        ones = torch.eye(height, width, dtype=query.dtype, device=query.device)
        if height != width:
            raise ValueError(f"SAM's token grid is square, not {height} x {width}")
        codes = torch.cat([ones.repeat_interleave(width, 0), ones.repeat(height, 1)], dim=1)
        codes = codes.expand(*key.shape[:2], -1, -1)
        channels = value.shape[-1]
        query = torch.cat([query * self._scale, by_row, by_col], dim=-1)
        key = torch.cat([key, codes], dim=-1)
        if query.device.type == "cpu":
            # The fused kernel for CPUs wants values as wide as keys.
            value = functional.pad(value, (0, query.shape[-1] - channels))
        return functional.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :channels]


def _compile(device: torch.device, dtype: torch.dtype) -> Callable[[_BlockRunner, Tensor], Tensor]:
    """Return what runs a block, compiled when it first runs on tokens of a shape."""
    values = torch.ones(8, 8, device=device, dtype=dtype)
    try:
        torch.compile(lambda values: functional.gelu(values @ values))(values)
    except Exception as error:  # PyTorch raises what the compiler it wants raises.
        cause = getattr(error, "inner_exception", error)
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        needed = {"cpu": "g++", "cuda": "Triton"}.get(device.type, "what it needs")
        raise SettingsError(
            f"torch.compile does not work on {device.type} here ({reason}): install {needed}, or "
            "go on without it"
        ) from error
    compiled: Callable[[_BlockRunner, Tensor], Tensor] = torch.compile(_BlockRunner.__call__)
    return compiled


class ImageEncoder:
    """Turns images into embeddings, with the weights of a `Sam` module.

    Parameters
    ----------
    sam : segment_anything.modeling.Sam
        An encoder that is not Meta's vision transformer runs as it is.
    dtype : torch.dtype
        `float32`, or `bfloat16` for the matrix products and their results; sums of these and
        norms stay in float32.
    compiled : bool
        Compile the blocks of Meta's vision transformer with `torch.compile`; others run as they
        are.

    Raises
    ------
    SettingsError
        If PyTorch finds no compiler for the device.
    """

    def __init__(
        self, sam: Sam, dtype: torch.dtype = torch.float32, *, compiled: bool = False
    ) -> None:
        self._sam = sam
        self._dtype = dtype
        self._runners: list[_BlockRunner] | None = None
        self._run: Callable[[_BlockRunner, Tensor], Tensor] = _BlockRunner.__call__
        encoder = sam.image_encoder
        if isinstance(encoder, ImageEncoderViT) and encoder.blocks[0].attn.use_rel_pos:
            if compiled:
                self._run = _compile(sam.device, dtype)
            side = encoder.img_size // encoder.patch_embed.proj.kernel_size[0]
            lanes = _own_lanes(sam.device, dtype)
            self._runners = [_BlockRunner(block, side, dtype, lanes) for block in encoder.blocks]

    @property
    def side(self) -> int:
        """Height and width of the images that the encoder takes, in pixels."""
        return int(self._sam.image_encoder.img_size)

    def __call__(self, images: Tensor) -> Tensor:
        """Encode normalised, padded images.

        Parameters
        ----------
        images : Tensor of float32, shape (n, 3, side, side)

        Returns
        -------
        Tensor of float32, shape (n, channels, rows, cols)
        """
        encoder = self._sam.image_encoder
        if self._runners is None:
            with torch.autocast(
                images.device.type, self._dtype, enabled=self._dtype != torch.float32
            ):
                plain: Tensor = encoder(images)
            return plain.float()
        tokens = encoder.patch_embed(images)
        if encoder.pos_embed is not None:
            tokens = tokens + encoder.pos_embed
        # From here on channels lie side by side, as every layer wants them.
        tokens = tokens.contiguous()
        for runner in self._runners:
            tokens = self._run(runner, tokens)
        embedding: Tensor = encoder.neck(tokens.permute(0, 3, 1, 2))
        return embedding
