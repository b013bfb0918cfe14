"""The encoder's attention on a CPU, a head in each core.

PyTorch's fused attention wants relative positions as a mask, of 4096 x 4096 numbers per head where
attention is global, and shares each of its steps among all cores. Here a core takes some queries of
a head at a time: their products with the keys, the positions added and the exponentials in one
compiled pass, and what they read. In bfloat16, global products are rounded to it, as autocast
rounds them. A window is small enough for all its steps, in float32, to stay in a core's cache.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..lanes import Lanes, Workspace
from .kernels import Floats, Numbers, as_numbers, compiled, exp, fill, store, widen
from .products import LANES, ROWS_TOGETHER, set_product

#: Memory of the scores that a core makes at once, in bytes: 128 queries' with 4096 keys in float32.
_SCORES = 2**21
#: Heads that a core takes at once, of a window.
_HEADS = 4
_LOWEST, _ZERO, _ONE = np.float32(-np.inf), np.float32(0), np.float32(1)


class HeadAttention:
    """Attention with relative positions.

    Parameters
    ----------
    lanes : Lanes
    dtype : torch.dtype
        Number type of matrix products; positions and exponentials are in float32.
    """

    def __init__(self, lanes: Lanes, dtype: torch.dtype) -> None:
        self._lanes = lanes
        self._dtype = dtype

    @torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
    def __call__(self, qkv: Tensor, scale: float, by_row: Tensor, by_col: Tensor) -> Tensor:
        """Let queries read.

        Parameters
        ----------
        qkv : Tensor, shape (3, batch, heads, rows * cols, channels)
            Queries, keys and values, in the number type of products.
        scale : float
            Factor on the products of queries and keys.
        by_row, by_col : Tensor of float32, shape (batch, heads, rows, cols, rows or cols)
            What a query adds to the scores of keys in each row, and in each column.

        Returns
        -------
        Tensor, shape (batch, heads, rows * cols, channels)
        """
        dtype = self._dtype
        query, key, value = qkv.flatten(1, 2)
        down, across = (part.flatten(2, 3).flatten(0, 1) for part in (by_row, by_col))
        out = torch.empty_like(value)

        def run(head: int, space: Workspace) -> None:
            """Let the queries of a head read."""
            count, channels = query.shape[1:]
            keys = key[head].t()
            most = max(1, _SCORES // (count * dtype.itemsize))
            for start in range(0, count, most):
                part = slice(start, min(start + most, count))
                size = part.stop - start
                products = space.take("products", size, count, dtype=dtype)
                torch.mm(query[head, part], keys, out=products)
                sums = space.take("sums", size, 1)
                _weigh(
                    as_numbers(products),
                    np.float32(scale),
                    down[head, part].numpy(),
                    across[head, part].numpy(),
                    sums.numpy()[:, 0],
                )
                read = space.take("read", size, channels, dtype=dtype)
                torch.mm(products, value[head], out=read)
                torch.div(read, sums, out=out[head, part])

        for _ in self._lanes.map(run, range(len(query))):
            pass
        return out.view(qkv.shape[1:])


@compiled
def _weigh(
    products: Numbers, scale: np.float32, by_row: Floats, by_col: Floats, sums: Floats
) -> None:
    """Turn products into weights: exponentials of scores, not divided by their sums yet.

    Parameters
    ----------
    products : ndarray of float32, or of bfloat16's bits, shape (n, rows * cols)
        Queries' with keys; changed.
    scale : float32
        Factor on them.
    by_row, by_col : ndarray of float32, shapes (n or more, rows or more) and (n or more, cols)
        What is added in each row and column of keys: minus infinity where there is none.
    sums : ndarray of float32, shape (n,)
        Set to the sums of weights.
    """
    cols = by_col.shape[1]
    rows = products.shape[1] // cols
    largest, scores = np.empty(cols, np.float32), np.empty(rows * cols, np.float32)
    for query in range(len(products)):
        across = by_col[query]
        fill(_LOWEST, largest)
        for row in range(rows):
            line = scores[row * cols : (row + 1) * cols]
            product, down = products[query][row * cols : (row + 1) * cols], by_row[query][row]
            for col in range(cols):
                score = scale * widen(product[col]) + (down + across[col])
                line[col] = score
                largest[col] = score if score > largest[col] else largest[col]
        top = largest.max()
        made, total = products[query], _ZERO
        for key in range(len(scores)):
            weight = exp(scores[key] - top)
            store(weight, made, key)
            total += weight
        sums[query] = total


class WindowAttention:
    """Attention within windows, with relative positions; windows may reach over the edge.

    What is beyond the edge is read too: its keys and values are the projection's bias.

    Parameters
    ----------
    lanes : Lanes
    heads : int
    by_row, by_col : Tensor of float32, shape (size, size, channels)
        A query in a row (column) times this is what it adds to the scores of keys in each.
    """

    def __init__(self, lanes: Lanes, heads: int, by_row: Tensor, by_col: Tensor) -> None:
        self._lanes = lanes
        self._heads = heads
        self._size = len(by_row)
        # Rows of keys are whole vectors.
        missing = -self._size % LANES
        self._by_row, self._by_col = (
            functional.pad(table.transpose(1, 2), (0, missing)).contiguous()
            for table in (by_row, by_col)
        )

    @torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
    def __call__(self, qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
        """Let queries read.

        Parameters
        ----------
        qkv : Tensor of float32 or bfloat16, shape (batch, rows, cols, 3 * heads * channels)
            Queries, keys and values.
        bias : Tensor of the same type, shape (3 * heads * channels,)
        scale : float
            Factor on the products of queries and keys.

        Returns
        -------
        Tensor, shape (batch, rows, cols, heads * channels)
        """
        batch, rows, cols, channels = qkv.shape
        out = qkv.new_empty(batch, rows, cols, channels // 3)
        images = [
            (as_numbers(image), as_numbers(mixed)) for image, mixed in zip(qkv, out, strict=True)
        ]
        beyond, tables = as_numbers(bias), (self._by_row.numpy(), self._by_col.numpy())
        windows = [
            (image, top, left, head)
            for image in images
            for top in range(0, rows, self._size)
            for left in range(0, cols, self._size)
            for head in range(0, self._heads, _HEADS)
        ]

        def run(window: tuple[tuple[Numbers, Numbers], int, int, int], _: Workspace) -> None:
            """Let some heads of a window read."""
            (image, mixed), top, left, first = window
            heads = (first, min(first + _HEADS, self._heads), self._heads)
            _attend(image, beyond, tables, (top, left), heads, np.float32(scale), mixed)

        for _ in self._lanes.map(run, windows):
            pass
        return out


@compiled
def _attend(
    qkv: Numbers,
    bias: Numbers,
    tables: tuple[Floats, Floats],
    corner: tuple[int, int],
    heads: tuple[int, int, int],
    scale: np.float32,
    out: Numbers,
) -> None:
    """Let some heads of a window read.

    Parameters
    ----------
    qkv : ndarray of float32, or of bfloat16's bits, shape (rows, cols, 3 * heads * depth)
    bias : ndarray of the same type, shape (3 * heads * depth,)
        Stands for tokens beyond the edge.
    tables : tuple of ndarray of float32, shape (size, depth, span)
        By row and by column, with keys filled up to whole vectors.
    corner : tuple of int
        First row and column of the window.
    heads : tuple of int
        The first, the one after the last, and how many there are.
    scale : float32
    out : ndarray of the type of qkv, shape (rows, cols, heads * depth)
    """
    by_row, by_col = tables
    first, stop, count = heads
    size, depth, span = by_row.shape
    height = min(size, len(qkv) - corner[0])
    # Products take a few rows at once, of a row or column of queries too.
    tall = size + -size % ROWS_TOGETHER
    queries, read = np.zeros((2, size * tall, depth), np.float32)
    keys = np.zeros((depth, size, span), np.float32)
    values = np.zeros((size, span, depth), np.float32)
    down, across = np.empty((2, size * tall, span), np.float32)
    scores = np.empty((size * tall, size * span), np.float32)
    sums = np.empty(height * size, np.float32)
    rows = len(sums) + -len(sums) % ROWS_TOGETHER
    for head in range(first, stop):
        channels = (head * depth, (count + head) * depth, (2 * count + head) * depth)
        _gather(qkv, bias, corner, channels, queries, keys, values)
        set_product(queries[:rows], keys.reshape(depth, -1), scores[:rows])
        for row in range(height):
            place = row * size
            set_product(queries[place : place + tall], by_row[row], down[place : place + tall])
        for col in range(size):
            set_product(queries[col::size][:tall], by_col[col], across[col::size][:tall])
        across[:, size:] = _LOWEST
        _weigh(scores[: len(sums)], scale, down, across, sums)
        set_product(scores[:rows], values.reshape(-1, depth), read[:rows])
        for row in range(height):
            for col in range(min(size, out.shape[1] - corner[1])):
                query = row * size + col
                share, mixed = _ONE / sums[query], out[corner[0] + row, corner[1] + col]
                for i in range(depth):
                    store(read[query, i] * share, mixed, channels[0] + i)


@compiled
def _gather(
    qkv: Numbers,
    bias: Numbers,
    corner: tuple[int, int],
    channels: tuple[int, int, int],
    queries: Floats,
    keys: Floats,
    values: Floats,
) -> None:
    """Take a head of a window from its queries', keys' and values' first channels.

    Parameters
    ----------
    queries : ndarray of float32, shape (size * size or more, depth)
    keys, values : ndarray of float32, shapes (depth, size, span) and (size, span, depth)
        Places that rows of keys are filled up with are left as they are.
    """
    (top, left), (first, second, third) = corner, channels
    size = len(values)
    for row in range(size):
        for col in range(size):
            inside = top + row < len(qkv) and left + col < qkv.shape[1]
            token = qkv[top + row, left + col] if inside else bias
            query, value = queries[row * size + col], values[row, col]
            for i in range(len(keys)):
                query[i] = widen(token[first + i])
                value[i] = widen(token[third + i])
            for i in range(len(keys)):
                keys[i, row, col] = widen(token[second + i])
