"""Products of small matrices, compiled: sums stay in a core's vector registers to their end.

Compilers make vectors of the innermost loop only, and so carry each partial sum to memory and
back. Here a tile of the result is written out as LLVM's vectors, at almost all that a core can:
with loops over four rows and four terms instead, SAM took a fifth longer on a tile. Matrices may be
parts of others whose rows are contiguous. As of `kernels`, who changes this file must delete what
numba keeps of its callers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from .kernels import Floats, Function, compiled

#: Rows of a result that are made at once: the number of its rows is a multiple.
ROWS_TOGETHER = 4
#: Columns that a vector holds: those of a result beyond a multiple are slow.
LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
# Vectors beside each other in a tile: as many as leave registers for the rest.
_VECTORS = 2
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


def _adder(count: int) -> Function:
    """Return compiled code that adds a tile of a product, `count` vectors wide."""

    def write(
        context: BaseContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Sequence[ir.Value],
    ) -> None:
        """Write the tile's instructions."""
        matrices = [
            (kind, context.make_array(kind)(context, builder, value))
            for kind, value in zip(signature.args[:3], values[:3], strict=True)
        ]
        _write_tile(context, builder, matrices, values[3:], count)

    def add(
        _: object,
        left: types.Array,
        right: types.Array,
        out: types.Array,
        row: types.Integer,
        column: types.Integer,
    ) -> tuple[Signature, Function]:
        """Add a tile of the product of two matrices, from a row and column on."""
        return types.void(left, right, out, row, column), write

    adder: Function = intrinsic(add)
    return adder


def _write_tile(
    context: BaseContext,
    builder: ir.IRBuilder,
    matrices: Sequence[tuple[types.Array, ir.Value]],
    corner: Sequence[ir.Value],
    count: int,
) -> None:
    """Write what adds a tile, `count` vectors wide, of a product."""
    left, right, out = matrices
    row, column = corner

    def move(start: ir.Value, by: int) -> ir.Value:
        """Return a row or column some way on."""
        return builder.add(start, ir.Constant(start.type, by))

    def place(matrix: tuple[types.Array, ir.Value], row: ir.Value, column: ir.Value) -> ir.Value:
        """Return where an element is."""
        return cgutils.get_item_pointer(context, builder, *matrix, [row, column])

    def vectors(matrix: tuple[types.Array, ir.Value], row: ir.Value) -> list[ir.Value]:
        """Return where the vectors of a tile's row are."""
        starts = (place(matrix, row, move(column, number * LANES)) for number in range(count))
        return [builder.bitcast(start, _VECTOR.as_pointer()) for start in starts]

    size = ir.FloatType().get_abi_size(context.target_data)
    rows = [move(row, number) for number in range(ROWS_TOGETHER)]
    targets = [vectors(out, row) for row in rows]
    sums = [
        [cgutils.alloca_once_value(builder, builder.load(target, align=size)) for target in line]
        for line in targets
    ]
    with cgutils.for_range(builder, builder.extract_value(right[1].shape, 0)) as loop:
        others = [builder.load(other, align=size) for other in vectors(right, loop.index)]
        for row, line in zip(rows, sums, strict=True):
            factor = _repeat(builder, builder.load(place(left, row, loop.index)))
            for other, total in zip(others, line, strict=True):
                term = builder.fmul(factor, other, flags=("contract",))
                builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
    for line, ends in zip(sums, targets, strict=True):
        for total, end in zip(line, ends, strict=True):
            builder.store(builder.load(total), end, align=size)


def _repeat(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Return a vector of one number."""
    index = ir.IntType(32)
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(index, 0))
    everywhere = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
    return builder.shuffle_vector(first, nothing, everywhere)


_add_wide, _add_narrow = _adder(_VECTORS), _adder(1)


@compiled
def add_product(left: Floats, right: Floats, out: Floats) -> None:
    """Add a product of matrices: out += left @ right.

    Parameters
    ----------
    left : ndarray of float32, shape (rows, terms)
        Rows are a multiple of `ROWS_TOGETHER`.
    right : ndarray of float32, shape (terms, columns)
    out : ndarray of float32, shape (rows, columns)
    """
    rows, columns = out.shape
    wide, whole = columns - columns % (_VECTORS * LANES), columns - columns % LANES
    # Column by column: these stay in the cache for all rows.
    for column in range(0, wide, _VECTORS * LANES):
        for row in range(0, rows, ROWS_TOGETHER):
            _add_wide(left, right, out, row, column)
    for column in range(wide, whole, LANES):
        for row in range(0, rows, ROWS_TOGETHER):
            _add_narrow(left, right, out, row, column)
    for row in range(rows):
        for column in range(whole, columns):
            for term in range(len(right)):
                out[row, column] += left[row, term] * right[term, column]


@compiled
def set_product(left: Floats, right: Floats, out: Floats) -> None:
    """Make a product of matrices, as `add_product`, whatever `out` held."""
    out[:] = np.float32(0)
    add_product(left, right, out)


@compiled
def add_dots(left: Floats, right: Floats, start: int, out: Floats) -> None:
    """Add the product with a transposed matrix: out += left @ right[:, start:].T.

    Parameters
    ----------
    left : ndarray of float32, shape (rows, columns)
        Rows are a multiple of `ROWS_TOGETHER`.
    right : ndarray of float32, shape (terms, start + columns or more)
        Terms are a multiple of 4.
    start : int
        First column of the right matrix.
    out : ndarray of float32, shape (rows, terms)
    """
    stop = start + left.shape[1]
    for row in range(0, len(left), ROWS_TOGETHER):
        a, b, c, d = left[row], left[row + 1], left[row + 2], left[row + 3]
        for k in range(0, len(right), 4):
            w, x = right[k][start:stop], right[k + 1][start:stop]
            y, z = right[k + 2][start:stop], right[k + 3][start:stop]
            aw = ax = ay = az = bw = bx = by = bz = np.float32(0)
            cw = cx = cy = cz = dw = dx = dy = dz = np.float32(0)
            for i in range(len(a)):
                a_i, b_i, c_i, d_i = a[i], b[i], c[i], d[i]
                w_i, x_i, y_i, z_i = w[i], x[i], y[i], z[i]
                aw += a_i * w_i
                ax += a_i * x_i
                ay += a_i * y_i
                az += a_i * z_i
                bw += b_i * w_i
                bx += b_i * x_i
                by += b_i * y_i
                bz += b_i * z_i
                cw += c_i * w_i
                cx += c_i * x_i
                cy += c_i * y_i
                cz += c_i * z_i
                dw += d_i * w_i
                dx += d_i * x_i
                dy += d_i * y_i
                dz += d_i * z_i
            _add_four(out[row], k, aw, ax, ay, az)
            _add_four(out[row + 1], k, bw, bx, by, bz)
            _add_four(out[row + 2], k, cw, cx, cy, cz)
            _add_four(out[row + 3], k, dw, dx, dy, dz)


@compiled
def _add_four(
    row: Floats, start: int, w: np.float32, x: np.float32, y: np.float32, z: np.float32
) -> None:
    row[start] += w
    row[start + 1] += x
    row[start + 2] += y
    row[start + 3] += z
