"""The encoder's attention on a CPU, a head in each core.

PyTorch's fused attention wants relative positions as a mask of 4096 x 4096 numbers per head, and
shares each of its steps among all cores. Here a core takes some queries of a head at a time:
their products with the keys, the positions added and the exponentials in one compiled pass, and
what they read. In bfloat16, products are rounded to it, as autocast rounds them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .sam_cpu_kernels import Floats, Numbers, as_numbers, compiled, exp, fill, store, widen
from .sam_lanes import Lanes, Workspace

#: Queries whose scores, with up to 4096 keys each, are made at once.
_QUERIES = 128
_LOWEST = np.float32(-np.inf)


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

    def __call__(self, qkv: Tensor, scale: float, by_row: Tensor, by_col: Tensor) -> Tensor:
        """Let queries read.

        Parameters
        ----------
        qkv : Tensor of float32, shape (3, batch, heads, rows * cols, channels)
            Queries, keys and values.
        scale : float
            Factor on the products of queries and keys.
        by_row, by_col : Tensor of float32, shape (batch, heads, rows, cols, rows or cols)
            What a query adds to the scores of keys in each row, and in each column.

        Returns
        -------
        Tensor, shape (batch, heads, rows * cols, channels)
        """
        dtype = self._dtype
        query, key, value = qkv.to(dtype).flatten(1, 2)
        down, across = (part.flatten(2, 3).flatten(0, 1) for part in (by_row, by_col))
        out = torch.empty_like(value)

        def run(head: int, space: Workspace) -> None:
            """Let the queries of a head read."""
            count, channels = query.shape[1:]
            keys = key[head].t()
            for start in range(0, count, _QUERIES):
                part = slice(start, min(start + _QUERIES, count))
                size = part.stop - start
                products = space.take("products", size, count, dtype=dtype)
                torch.mm(query[head, part], keys, out=products)
                weights = space.take("weights", size, count, dtype=dtype)
                sums = space.take("sums", size)
                _weigh(
                    as_numbers(products),
                    np.float32(scale),
                    down[head, part].numpy(),
                    across[head, part].numpy(),
                    as_numbers(weights),
                    sums.numpy(),
                )
                read = space.take("read", size, channels, dtype=dtype)
                torch.mm(weights, value[head], out=read)
                out[head, part] = read / sums[:, None]

        for _ in self._lanes.map(run, range(len(query))):
            pass
        return out.view(qkv.shape[1:])


@compiled
def _weigh(
    products: Numbers,
    scale: np.float32,
    by_row: Floats,
    by_col: Floats,
    weights: Numbers,
    sums: Floats,
) -> None:
    """Make weights of products: exponentials of scores, not divided by their sums yet."""
    rows, cols = by_row.shape[1], by_col.shape[1]
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
        made, total = weights[query], np.float32(0)
        for key in range(len(scores)):
            weight = exp(scores[key] - top)
            store(weight, made, key)
            total += weight
        sums[query] = total
